"""IM501: the units of a layer are all the same, and will stay the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from init_monitor.analysis import paths, residual_branches
from init_monitor.analysis.alike_units import (
    UnitWeights,
    beside_others,
    constants_in_a_row,
    mixing_weights,
    pairs_in_a_row,
    three_in_a_row,
)
from init_monitor.records import Figure, Finding, History, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, phrases
from init_monitor.remedies.alike_weights import all_alike

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Column, Layer, StepRecord, Structure


@dataclass(frozen=True)
class Symmetry:
    """IM501: all units of a layer have the same incoming weights, and keep them.

    Told at the first record where the layer after it is constant too, so that every unit gets the same gradient; elsewhere
    once updates moved the layer and its units together: critical. A single constant or zero layer (a head, the end of a
    residual branch) breaks with the first step and is never mentioned, nor a parameter that makes a layer's weight together with one whose
    units differ (a spread for each mean). Layers of zeros in a row are told when they stay, and as a warning at once where three
    follow one another: random biases end that, slowly. Where IM102 says of the same layers that the signal stops there, units that are alike are left to it.

    **Why.** Units with the same weights give the same output, get the same gradient and the same update at every step: a layer of
    512 is worth one. Small constants are no better than zeros. Random biases or dropout break it, slowly.

    **Example.** ``nn.init.constant_(weight, 0.01)`` on every layer.

    **Remedy.** Initialise these layers with random weights (He, Xavier); constants are for biases and normalisations.

    Attributes:
        alike: spread of the units up to which they count as the same. Rounding to float32 leaves 1e-14 of equal units that
            were updated equally; independent weights have about 1.
        constant: Var(w)/E[w²] up to which all elements of a weight are one number: rounding alone.
        least_records: records in a row that must show it where it is not certain at once: the step that breaks a symmetry is
            the first that changes the layer, and the next record is the first that can show it.
        least_move: sum of ‖Δw‖/‖w‖ over those records: units moved apart by a part of it would differ by far more than
            ``alike`` (its square is 1e-6). A layer that has not moved yet may still break.
    """

    code: ClassVar[str] = "IM501"
    name: ClassVar[str] = "symmetry"
    yields_to: ClassVar[tuple[str, ...]] = ("IM102", "IM503")
    follows: ClassVar[tuple[str, ...]] = ("IM102", "IM202", "IM603")
    source: ClassVar[str] = (
        "Goodfellow, Bengio & Courville 2016, 'Deep Learning', Sec. 8.4: initial parameters must break symmetry"
    )

    alike: float = 1e-9
    constant: float = 1e-12
    least_records: int = 4
    least_move: float = 1e-3

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        if (history.last.column(Quantity.WEIGHT_NONFINITE_COUNT) > 0).any():
            return  # NaN everywhere is not equality, and IM601 reports it
        weights = UnitWeights(history.last, self.alike, self.constant)
        if weights.zero:
            yield from self._zeros(weights, history)
            yield from self._empty_chain(history)
        if not weights.symmetric:
            return
        kept = self._kept(weights.symmetric - beside_others(weights, history.structure), history)
        found = constants_in_a_row(weights, history.structure) | kept
        if not found:
            return
        layers = [x for x in history.structure.layers if found.intersection((x.weight, *x.parameters))]
        layers = [layer for layer in layers if layer.name not in history.covered]
        if layers:
            message = self._message(list(dict.fromkeys(layer.name for layer in layers)), certain=not kept)
            spread = max(weights.spread(layer) for layer in layers)
            yield self._finding(layers, message, Figure(spread, "variance between units / (fan_in · E[w²])"), history)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that are left to IM102: those where it says that the signal stops, not that it fades.

        Layers of zeros that keep each other from learning are reported in addition: they stay so. To IM503 all that it names: every
        unit of a normalisation whose mean is taken next gets the same gradient.
        """
        del structure
        if other.code == paths.DEGENERATE:
            return frozenset(finding.layers).intersection(other.layers)
        stops = not other.evidence.get("total_growth", 1.0) and "zero_layers" not in finding.evidence
        return frozenset(finding.layers).intersection(other.layers) if stops else frozenset()

    def _zeros(self, weights: UnitWeights, history: History) -> Iterator[Finding]:
        """Yield the finding about layers of zeros in a row that keep each other's gradient at zero."""
        # Steps that moved nothing count as well: if only these layers are trained, nothing can move.
        records = history.records[-self.least_records :]
        if len(records) < self.least_records:
            return
        stuck = set(weights.zero)
        for record in records:
            stuck &= UnitWeights(record, self.alike, self.constant).zero
        paired = pairs_in_a_row(stuck, history.structure)
        layers = [x for x in history.structure.layers if paired.intersection(mixing_weights(x))]
        if layers:
            names = list(dict.fromkeys(layer.name for layer in layers))
            message = (
                f"The weights of {phrases.names(names)} are all 0 and so are their gradients, in the last"
                f" {phrases.count(len(records), 'sampled step')}: layers of zeros in a row keep each other from learning,"
                " and all their units identical."
            )
            unit = "layers of zeros in a row whose gradient is 0"
            yield replace(
                self._finding(layers, message, Figure(0.0), history),
                evidence={"zero_layers": Figure(len(names), unit)},
                expected={"zero_layers": Figure(0.0, unit)},
            )

    def _empty_chain(self, history: History) -> Iterator[Finding]:
        """Yield the finding about a chain that begins with zeros: nothing of the input passes, and for two steps no gradient."""
        first, structure = history.records[0], history.structure
        if first.step > 0 or len(history.records) > 1:
            return
        empty = UnitWeights(first, self.alike, self.constant).empty
        found = three_in_a_row(empty, structure, residual_branches.weights_at_ends(structure))
        layers = [
            x for x in structure.layers if found.intersection(mixing_weights(x)) and x.name not in history.covered
        ]
        if not layers:
            return
        names = list(dict.fromkeys(layer.name for layer in layers))
        message = (
            f"The weights of {phrases.names(names)} all begin as 0, three layers in a row or more: what passes them is their biases,"
            " the same for every sample, and the first steps hand none of them a gradient. What then grows out of the biases is much"
            " alike in all units."
        )
        unit = "layers of zeros in a row"
        yield replace(
            self._finding(layers, message, Figure(0.0), history),
            severity=Severity.WARNING,
            evidence={"chain_of_zeros": Figure(len(names), unit)},
            expected={"chain_of_zeros": Figure(0.0, unit)},
        )

    def _kept(self, symmetric: frozenset[str], history: History) -> set[str]:
        """Return the parameters whose units are still the same after updates that moved them."""
        records = [r for r in history.records if r.stepped][-self.least_records :]
        if len(records) < self.least_records:
            return set()
        kept = set(symmetric)
        moved = dict.fromkeys(kept, 0.0)
        for record in records:
            here = UnitWeights(record, self.alike, self.constant)
            kept &= here.symmetric
            for name in kept:
                moved[name] += here.update(name)
        return {
            name for name in kept if moved[name] >= self.least_move or (moved[name] == 0 and self._stuck(name, records))
        }

    def _stuck(self, name: str, records: Sequence[StepRecord]) -> bool:
        """Say whether a parameter gets a gradient of exactly zero while others learn (no gradient at all is IM602's)."""
        return all(_at(record, name, Quantity.WEIGHT_GRADIENT_NORM) == 0 for record in records)

    def _message(self, names: Sequence[str], *, certain: bool) -> str:
        lead = f"All units of {phrases.names(names)} have the same weights"
        if certain:
            return (
                f"{lead}, one number throughout: with constant layers in a row every unit gets the same gradient, and no"
                " update tells them apart (random biases or dropout do, slowly)."
            )
        return (
            f"{lead}, still after {phrases.count(self.least_records, 'sampled step')} that changed them: they compute the"
            " same and get the same gradient, so that a layer of many units is worth one."
        )

    def _finding(self, layers: Sequence[Layer], message: str, spread: Figure, history: History) -> Finding:
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.CRITICAL,
            layers=tuple(dict.fromkeys(layer.name for layer in layers)),
            step=history.last.step,
            message=message,
            evidence={"unit_spread": spread},
            expected={"unit_spread": Figure(1.0, spread.unit)},
            remedy=all_alike(affected_layers.constant_too(layers, history), history),
            source=self.source,
        )


def _at(record: StepRecord, name: str, quantity: Quantity) -> float:
    column: Column = record.column(quantity)
    return float(column[record.parameter_names.index(name)])
