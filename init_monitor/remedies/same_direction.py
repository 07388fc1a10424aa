"""The finding of IM702 about representations that a loss compares with each other, and that all point one way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.same_direction import one_direction
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from init_monitor.records import History

REMEDY = (
    "Something has to keep representations apart. Of two views: detach() the one that is the target (a stop-gradient) and put a predictor"
    " before the other, or add a term for their variance. Of pairs: negatives as well (those of the batch, by F.cross_entropy(a @ b.T,"
    " torch.arange(len(a)))), and labels that the loss knows: CosineEmbeddingLoss and MarginRankingLoss want 1 and -1, for them a"
    " label of 0 is no negative. Not all targets may be 1. A smaller learning rate only delays it."
)


class _Rule(CitedRule, Protocol):
    @property
    def records(self) -> int: ...
    @property
    def gone_steps(self) -> int: ...
    @property
    def one_way(self) -> float: ...
    @property
    def turned(self) -> float: ...
    @property
    def satisfied(self) -> float: ...


def found(rule: _Rule, history: History) -> Finding | None:
    """Return the finding of ``rule``, if all latest records show it, of which the last is ``gone_steps`` from the start."""
    first, latest = history.records[0], history.records[1:][-rule.records :]
    if first.step > 0 or len(latest) < rule.records or history.last.step < rule.gone_steps:
        return None
    seen = one_direction(
        [first, *latest], history.structure, share=rule.one_way, factor=rule.turned, left=rule.satisfied
    )
    if seen is None:
        return None
    one = len(seen.layers) == 1
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=tuple(layer.name for layer in seen.layers),
        step=history.last.step,
        message=(
            f"Training has turned all samples into one direction: of what {phrases.names([layer.shown for layer in seen.layers])}"
            f" {'gives' if one else 'give'}, and the loss compares with each other, {phrases.percent(seen.now)} of the variance lies between"
            f" samples, and {phrases.percent(seen.before)} did at step {first.step}. The loss is satisfied by that: the gradient there is"
            f" {phrases.part(math.sqrt(seen.left))} what it was."
        ),
        evidence={
            "between_sample_share": Figure(seen.now, "of the variance"),
            "at_first": Figure(seen.before, f"at step {first.step}"),
            "gradient_left": Figure(math.sqrt(seen.left), "of the gradient's rms at step 0"),
        },
        expected={"between_sample_share": Figure(seen.before, "of the variance, or more")},
        remedy=REMEDY,
        source=rule.source,
    )
