"""What a remedy that changes the network aims at: a number that ``check`` shows once its code has been run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.aims import chains_of, measured_by_layer, streams_of, total_over
from init_monitor.analysis.forward_profile import Signal
from init_monitor.analysis.recurrent import GATES
from init_monitor.analysis.residual_streams import Measured
from init_monitor.analysis.start_faults import FAR, LOGITS, UNDER_DROPOUT
from init_monitor.records.aim import Aim, Measure
from init_monitor.records.plan import FITS_WITHIN
from init_monitor.remedies.odd_parameters import PRODUCT

if TYPE_CHECKING:
    from init_monitor.records import Finding, History

CHANGES = ("init.", "recipes.", ".data", "register_forward_pre_hook")
"""One of these is in every piece of code that changes a network before it trains."""

NEAR_ONE = 3.0
"""Factor by which a standardised input's standard deviation may differ from 1: sparse and skewed columns, single batches."""

_BY_EVIDENCE = {
    "saturated_fraction": Measure.SATURATED,
    "dead_fraction": Measure.DEAD,
    "between_sample_share": Measure.SAMPLES,
}
_OVER_DEPTH = {
    "IM101": Measure.GROWTH, "IM102": Measure.GROWTH, "IM502": Measure.GROWTH, "IM302": Measure.GROWTH,
    "IM201": Measure.GRADIENT_GROWTH, "IM202": Measure.GRADIENT_GROWTH,
}  # fmt: skip


def aimed(finding: Finding, history: History) -> Finding:
    """Return the finding with what its remedy aims at, in its sentence too; as it is if its code does not change the network."""
    if finding.aim is not None or not any(part in finding.remedy_code for part in CHANGES):
        return finding
    aim = _aim(finding, history)
    if aim is None:
        return finding
    sentence, blank, code = finding.remedy.partition("\n\n")
    return replace(finding, aim=aim, remedy=f"{sentence} check(model, batch) then shows: {aim}.{blank}{code}")


def _aim(finding: Finding, history: History) -> Aim | None:
    for name, measure in _BY_EVIDENCE.items():
        if name in finding.evidence and name in finding.expected:
            bound = float(finding.expected[name])
            low, high = (bound, math.inf) if measure is Measure.SAMPLES else (-math.inf, bound)
            shown = _showing(measure, finding.layers, bound, history)
            return Aim(measure, shown, low, high) if shown else None
    if PRODUCT in finding.evidence:
        return None
    if finding.code == "IM701":
        return Aim(Measure.INPUT, finding.layers, 1 / NEAR_ONE, NEAR_ONE)
    if finding.code == "IM703":
        return Aim(Measure.OUTPUT, finding.layers, -math.inf, LOGITS)
    return _of_growth(finding, history)


def _of_growth(finding: Finding, history: History) -> Aim | None:
    """Return the aim of a finding about growth or fading, or about weights; ``None`` where no number is known to show it."""
    names, structure = frozenset(finding.layers), history.structure
    if finding.code == "IM401":
        return _over_blocks(names, history)
    named = [layer for layer in structure.layers if layer.name in names]
    if "noticed" in finding.evidence:
        return None  # how large factors have to be depends on what their product is to meet
    if finding.code == "IM502" and named and all(layer.torch_kind in GATES for layer in named):
        return None  # what a gated state passes on depends on what it receives, not on its weights alone
    over = _OVER_DEPTH.get(finding.code)
    aim = None if over is None else _over_depth(over, names, history)
    if aim is None and finding.code in {"IM501", "IM502"}:
        values = measured_by_layer(Measure.WEIGHT, names, history.last, structure)
        known = tuple(name for name, value in values.items() if math.isfinite(value))  # not where zeros are wanted
        return Aim(Measure.WEIGHT, known, 1 / FITS_WITHIN, FITS_WITHIN) if known else None
    return aim


def _showing(measure: Measure, names: tuple[str, ...], bound: float, history: History) -> tuple[str, ...]:
    """Return what shows an aim: what is named, or the activations beyond the bound where something lies between; else nothing."""
    values = measured_by_layer(measure, names, history.last, history.structure)
    if measure is Measure.SAMPLES or any(math.isfinite(value) for value in values.values()):
        return names
    every = measured_by_layer(measure, history.structure.names, history.last, history.structure)
    return tuple(name for name, value in every.items() if value > bound)


def _over_depth(measure: Measure, names: frozenset[str], history: History) -> Aim | None:
    """Return the aim for the chain that is furthest off: over it, the variance keeps its order of magnitude, and the next."""
    chains = chains_of(names, history.structure, backward=measure is Measure.GRADIENT_GROWTH)
    if not chains:
        return None
    signal = Signal(history.last, history.structure)
    worst = max(chains, key=lambda segment: abs(total_over(measure, signal, segment)))
    drops = any("dropout" in layer.kind.casefold() for layer in history.structure.layers)
    per_layer = FAR * (UNDER_DROPOUT if drops else 1.0) / worst.depth
    return Aim(measure, tuple(layer.name for layer in worst.layers), math.exp(-per_layer), math.exp(per_layer))


def _over_blocks(names: frozenset[str], history: History) -> Aim | None:
    found = streams_of(names, history.structure)
    if not found:
        return None
    worst = max(found, key=lambda stream: _total(Measured(history.last).forward(stream).steady_total))
    additions = tuple(residual.name for residual in worst.residuals)
    return Aim(Measure.BLOCK_GROWTH, additions, -math.inf, math.exp(FAR / max(worst.blocks, 1)))


def _total(growth: float) -> float:
    return growth if math.isfinite(growth) else 0.0
