"""IM402: a residual branch that adds nothing, and is not beginning to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis import residual_branches
from init_monitor.analysis.rising import RISING_PAIRS, rising_share
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Column, History, Layer, Residual, StepRecord, Structure


class _Silence(NamedTuple):
    """One branch that stays silent: since when, at which ratios, and why it cannot start to contribute (empty if it may)."""

    residual: Residual
    records: Sequence[StepRecord]
    ratios: Column
    stuck: str

    @property
    def steps(self) -> int:
        return self.records[-1].step - self.records[0].step


@dataclass(frozen=True)
class SilentBranch:
    """IM402: Var(branch)/Var(skip) stays near zero long after the start, and is not rising.

    A branch that starts at zero is healthy and is not mentioned until it had time to grow. It is a warning if the branch
    cannot grow: no gradient arrives, its weights get none, or no optimizer changes them. Else it is information.

    **Why.** A branch may start at zero: its last layer gets a gradient, and soon the branch contributes. One that stays silent
    is a block that the network does not have.

    **Example.** A block in which the last *two* layers were set to zero: neither ever gets a gradient.

    **Remedy.** Re-initialise the layers before the last one; pass the parameters to the optimizer; give a factor in front
    of the branch a larger start.

    Attributes:
        silent_ratio: Var(branch)/Var(skip) below which a branch is silent: the rms is a thousandth. bfloat16 keeps 8 binary
            digits, so that a sum in it loses whatever is below 2^-9 = 0.002 of the skip.
        least_records: sampled steps in a row that must show it; fewer have no trend that could be told from chance.
        least_steps: optimizer steps from the first of them to the last. A branch that starts at zero moves with its first
            updates: at the 1e-3 of its size per step that is usually aimed at (and what Adam moves a weight by), it has
            grown after 100.
        rising_pairs: share of growing pairs of ratios from which the branch counts as growing. Noise gives 0.5 with a
            standard deviation of 0.11 for twelve records (Kendall 1938); a branch that grows gives 1, however slowly.
    """

    code: ClassVar[str] = "IM402"
    name: ClassVar[str] = "silent-branch"
    source: ClassVar[str] = (
        "Zhang, Dauphin & Ma 2019, 'Fixup initialization': a branch may start at zero because its last layer gets a"
        " gradient"
    )

    silent_ratio: float = 1e-6
    least_records: int = 8
    least_steps: int = 100
    rising_pairs: float = RISING_PAIRS

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one warning and one piece of information."""
        stretches = self._stretches(history)
        silent = [
            silence
            for residual in history.structure.residuals
            if (silence := self._silence(residual, stretches.get(residual.name, []), history)) is not None
        ]
        for severity, found in (
            (Severity.WARNING, [s for s in silent if s.stuck]),
            (Severity.INFO, [s for s in silent if not s.stuck]),
        ):
            if found:
                yield self._finding(severity, found, history)

    def _stretches(self, history: History) -> dict[str, list[tuple[StepRecord, float]]]:
        """Return for each addition the latest records in which it has been silent without a break, oldest first."""
        stretches: dict[str, list[tuple[StepRecord, float]]] = {name: [] for name in history.last.residual_names}
        silent = dict.fromkeys(stretches)
        for record in reversed(history.records):
            ratios = zip(record.residual_names, record.column(Quantity.RESIDUAL_VARIANCE_RATIO).tolist(), strict=True)
            for name, ratio in ratios:
                if name not in silent:
                    continue
                if ratio >= self.silent_ratio:
                    del silent[name]
                elif record.stepped and not math.isnan(ratio):
                    # A step that changed no parameter gave the branch no chance to grow; NaN says nothing.
                    stretches[name].append((record, ratio))
            if not silent:
                break
        return {name: stretch[::-1] for name, stretch in stretches.items()}

    def _silence(
        self, residual: Residual, stretch: list[tuple[StepRecord, float]], history: History
    ) -> _Silence | None:
        if len(stretch) < self.least_records or stretch[-1][0].step - stretch[0][0].step < self.least_steps:
            return None
        ratios = np.array([ratio for _, ratio in stretch])
        if rising_share(ratios) >= self.rising_pairs:
            return None
        records = [record for record, _ in stretch]
        stuck = _why_stuck(residual, records[-self.least_records :], history.structure)
        return _Silence(residual, records, ratios, stuck)

    def _finding(self, severity: Severity, found: Sequence[_Silence], history: History) -> Finding:
        first = found[0]
        loudest = max(float(s.ratios.max()) for s in found)
        names = [s.residual.name for s in found]
        verb = "adds" if len(found) == 1 else "add"
        message = (
            f"The branch of {phrases.names(names)} {verb} nothing: Var(branch)/Var(skip) has been"
            f" {phrases.number(loudest)} or less for {phrases.count(first.steps, 'step')}, and is not rising."
        )
        message += (
            f" It cannot grow: {first.stuck}."
            if first.stuck
            else " Its weights do learn, but too little to make a difference."
        )
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=tuple(names),
            step=history.last.step,
            message=message,
            evidence={
                "variance_ratio": Figure(loudest, "Var(branch)/Var(skip)"),
                "records": Figure(len(first.records), "sampled steps in a row"),
                "steps": Figure(first.steps, "optimizer steps"),
                "rising_pairs": Figure(max(rising_share(s.ratios) for s in found), "of the pairs of records"),
            },
            expected={
                "variance_ratio": Figure(self.silent_ratio, "Var(branch)/Var(skip), or more"),
                "rising_pairs": Figure(self.rising_pairs, "of the pairs of records, or more"),
            },
            remedy=_remedy(found, history),
            source=self.source,
        )


def _at(record: StepRecord, name: str, quantity: Quantity) -> float:
    return float(record.column(quantity)[record.residual_names.index(name)])


def _of_parameters(records: Sequence[StepRecord], names: set[str], quantity: Quantity) -> Column:
    """Return every finite value that the named parameters had in the records."""
    values = [
        float(value)
        for record in records
        for name, value in zip(record.parameter_names, record.column(quantity), strict=True)
        if name in names and math.isfinite(value)
    ]
    return np.array(values)


def _parameters_of(layers: Sequence[Layer]) -> set[str]:
    return {name for layer in layers for name in (*layer.parameters, layer.weight, layer.bias) if name}


def _why_stuck(residual: Residual, records: Sequence[StepRecord], structure: Structure) -> str:
    """Return why no weight of the branch can change, or an empty string if one can, or nothing is known."""
    arriving = np.array([_at(record, residual.name, Quantity.RESIDUAL_BRANCH_GRADIENT_VAR) for record in records])
    if (arriving == 0).all():
        return "no gradient arrives at it"
    owned = _parameters_of(residual_branches.layers_of(residual, structure))
    gradients = _of_parameters(records, owned, Quantity.WEIGHT_GRADIENT_NORM)
    if not gradients.size:
        return ""  # frozen on purpose, or not measured
    if not gradients.any():
        # What the block holds besides its layers (a factor in front) counts in the loss decrease, where that is known.
        decrease = [_at(record, residual.name, Quantity.RESIDUAL_LOSS_DECREASE) for record in records]
        return "" if any(value > 0 for value in decrease) else "the gradient of its weights is exactly 0"
    everything = set(records[-1].parameter_names)
    moved = _of_parameters(records, everything, Quantity.UPDATE_RATIO)
    if moved.any() and not _of_parameters(records, owned, Quantity.UPDATE_RATIO).any():
        return "its weights get a gradient, but no optimizer changes them"
    return ""


def _remedy(found: Sequence[_Silence], history: History) -> str:
    stuck = found[0].stuck
    if not stuck:
        return (
            "Give the branch a larger start: a larger factor in front of it (layer scale 0.1 instead of 1e-6), a larger"
            " learning rate for that factor, or weights that are not this small. If it is meant to be off, remove it."
        )
    if "no optimizer" in stuck:
        return "Pass the parameters of these branches to the optimizer: build it after the whole model is built."
    if "arrives" in stuck:
        return "Look at what follows: a factor of 0 that cannot learn, or a detach(), lets no gradient into the branch."
    sentence = (
        "Only the last layer of a branch may start at zero: with a second one at zero, or a dead activation before it, no"
        " gradient reaches either. Re-initialise the layers before the last one."
    )
    again = [layer for s in found if s.stuck == stuck for layer in _before_the_end(s, history)]
    norms = [layer for layer in again if layer.role is Role.NORMALISATION]
    weights = [layer for layer in again if layer.role is Role.WEIGHT]
    code = snippets.together(
        snippets.initialise(weights, among=history.structure), snippets.initialise(norms, among=history.structure)
    )
    return snippets.advice(sentence, code)


def _before_the_end(silence: _Silence, history: History) -> list[Layer]:
    """Return the layers of a branch that may not be zero and are; if none is, its weight layers; never its last layer."""
    inner = [x for x in residual_branches.layers_of(silence.residual, history.structure) if x.weight]
    inner = inner[:-1] or inner
    record = history.last
    norms = dict(zip(record.parameter_names, record.column(Quantity.WEIGHT_NORM), strict=True))
    return [x for x in inner if norms.get(x.weight) == 0] or [x for x in inner if x.role is Role.WEIGHT]
