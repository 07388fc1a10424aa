"""The finding of IM702 about a layer of the program's own that turns whatever it receives into next to nothing (a radial unit, far away)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from init_monitor.records import History, Layer, StepRecord

NOTHING = 1e-12
"""Mean square of an output over that of what its layer receives from which it is nothing: a millionth in rms, which the first bias behind
it drowns, and which no learning rate makes up for."""

REMEDY = (
    "Bring what its exponential (or other bounded function) takes near 0. Radial units want centres drawn from the data and a width of the"
    " order of the distances between samples, which for standardised columns is about the root of twice their number; or divide by the"
    " sum over the units (a softmax of minus the squared distances), which is never nothing. Or normalise what the layer receives."
)


class _Rule(CitedRule, Protocol):
    @property
    def records(self) -> int: ...
    @property
    def gone(self) -> float: ...
    @property
    def gone_steps(self) -> int: ...
    @property
    def varies(self) -> float: ...


def found(rule: _Rule, history: History) -> Finding | None:
    """Return the finding of ``rule`` if the latest records show it, from ``gone_steps`` on, in a run that has learned nothing."""
    latest = history.records[-rule.records :]
    if len(latest) < rule.records or history.last.step - history.records[0].step < rule.gone_steps:
        return None
    ends = [layer for layer in ends_of(history.structure) if layer.weight]
    made = _read(ends, history)
    if not made or learning_of(history) is Learning.LEARNS:
        return None
    if not all(_is_lost(ends, made, record, rule) for record in latest):
        return None
    table, worst = history.last.layer_table, made[0]
    given, received = (
        math.sqrt(table.at(worst.name, one)) for one in (Quantity.MEAN_SQUARE, Quantity.INPUT_MEAN_SQUARE)
    )
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=tuple(layer.name for layer in made),
        step=history.last.step,
        message=(
            f"{worst.shown} ({worst.kind}) receives numbers of an rms of {phrases.number(received)} and gives {phrases.number(given)}:"
            f" next to nothing, whatever comes in. The biases behind it drown that, so that {phrases.names([one.shown for one in ends])}"
            f" {'gives' if len(ends) == 1 else 'give'} the same for every sample, and nothing of the loss comes back through it."
        ),
        evidence={
            "given": Figure(given, "rms of what it gives"),
            "received": Figure(received, "rms of what it receives"),
        },
        expected={"given": Figure(received * math.sqrt(NOTHING), "or far more")},
        remedy=REMEDY,
        source=rule.source,
    )


def _read(ends: list[Layer], history: History) -> list[Layer]:
    """Return the layers that the outputs of the network are made from; none if one of these is made from anything else."""
    known = history.structure.by_name()
    if any(not layer.inputs or any(name not in known for name in layer.inputs) for layer in ends):
        return []
    return list({name: known[name] for layer in ends for name in layer.inputs}.values())


def _is_lost(ends: list[Layer], made: list[Layer], record: StepRecord, rule: _Rule) -> bool:
    table = record.layer_table

    def nothing(layer: Layer) -> bool:
        given, received = (table.at(layer.name, one) for one in (Quantity.MEAN_SQUARE, Quantity.INPUT_MEAN_SQUARE))
        return 0 < given <= NOTHING * received and table.at(layer.name, Quantity.BETWEEN_SAMPLE_SHARE) >= rule.varies

    return all(nothing(layer) for layer in made) and all(
        table.at(layer.name, Quantity.BETWEEN_SAMPLE_SHARE) <= rule.gone for layer in ends
    )
