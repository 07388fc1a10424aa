"""The finding of IM303 about a judge whose sigmoid has gone to its bounds, so that the player who learns through it gets nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.learning import LONG, plays
from init_monitor.analysis.rectifiers import ends_network, feeding
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from init_monitor.records import History, Layer, StepRecord

LEFT = 0.01
"""Part of its first gradient that the player has left, and of its first loss the judge: where two play on, neither is lost."""

FADING = 0.1
"""The same of the player in each of the sampled steps before that are looked at: it fades, and was not only small once."""

REMEDY = (
    "Leave the sigmoid out and give the judge's answer as it is to F.binary_cross_entropy_with_logits; let the player who learns through it"
    " minimise -log D (the judge's loss with the other label) in place of log(1 - D), which has no slope where the judge is sure. Then"
    " lower the judge's learning rate, or let it step less often."
)


class _Rule(CitedRule, Protocol):
    @property
    def late_share(self) -> float: ...
    @property
    def late_records(self) -> int: ...


def found(rule: _Rule, history: History) -> Iterator[Finding]:
    """Yield the finding of ``rule`` about a player that has lost because the sigmoid that judges it passes nothing any more."""
    first, latest = history.records[0], history.records[1:][-rule.late_records :]
    if first.step > 0 or history.last.step < LONG or len(latest) < rule.late_records or not plays(history.records):
        return
    if not _has_lost(first, latest[-1]):
        return
    judges = [
        layer
        for layer in history.structure.layers
        if layer.role is Role.ACTIVATION
        and layer.kind.casefold() == "sigmoid"
        and ends_network(layer, history.structure)
    ]
    shares = [one.layer_table.at(layer.name, Quantity.SATURATED_FRACTION) for layer in judges for one in latest]
    fed = [one for layer in judges if (one := feeding(layer, history.structure)) is not None]
    if not shares or not min(shares) >= rule.late_share or not fed:
        return
    began, *since = (_slopes(record, fed) for record in (first, *latest))
    lost = {
        part: since[-1].get(part, math.inf) / most
        for part, most in began.items()
        if since[-1].get(part, math.inf) <= LEFT * most
        and all(one.get(part, math.inf) <= FADING * most for one in since)
    }
    if not lost:
        return
    rest = max(lost.values())
    yield Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=tuple(layer.name for layer in fed),
        step=history.last.step,
        message=(
            f"The sigmoid behind {phrases.names(list(dict.fromkeys(layer.module for layer in fed)))} has gone to its bounds, 0 and 1, for"
            f" {phrases.percent(min(shares))} of what it judges, and {phrases.names(list(lost))}, which learns through it, has"
            f" {phrases.part(rest)} the gradient left that it began with and is worse off than at the start: it has lost, and gets no slope to"
            " come back by."
        ),
        evidence={
            "saturated_fraction": Figure(min(shares), "of the elements"),
            "gradient_left": Figure(rest, "of the gradient at step 0"),
            "records": Figure(len(latest), "sampled steps in a row"),
        },
        expected={"saturated_fraction": Figure(rule.late_share, "of the elements, or less")},
        remedy=REMEDY,
        source="Goodfellow et al. 2014, 'Generative adversarial nets', section 3: log(1 - D) saturates where D is sure",
    )


def _has_lost(first: StepRecord, last: StepRecord) -> bool:
    """Say whether the loss of one optimizer has all but gone and that of another is above where it began."""
    began, now = first.loss_by_optimizer, last.loss_by_optimizer
    won = any(abs(now.get(name, math.inf)) <= LEFT * abs(value) and now[name] < value for name, value in began.items())
    return won and any(now.get(name, -math.inf) > value for name, value in began.items())


def _slopes(record: StepRecord, judged_by: Collection[Layer]) -> dict[str, float]:
    """Return the largest gradient norm of each part of the model (what is below one name of its own) other than the judges'."""
    own = {layer.module.partition(".")[0] for layer in judged_by}
    largest: dict[str, float] = {}
    for name, norm in record.parameter_table.by_name(Quantity.WEIGHT_GRADIENT_NORM).items():
        part = name.partition(".")[0]
        if part not in own and norm > 0:
            largest[part] = max(largest.get(part, 0.0), norm)
    return largest
