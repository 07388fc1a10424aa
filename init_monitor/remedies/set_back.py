"""The finding of IM802 about a loss that is set back to where it began at regular intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.learning import plays
from init_monitor.analysis.medians import median
from init_monitor.analysis.set_backs import SetBack, set_back
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases
from init_monitor.remedies.named_rule import CitedRule
from init_monitor.remedies.odd_losses import promised

if TYPE_CHECKING:
    from init_monitor.records import History

REMEDY = (
    "Look for what undoes the steps at these intervals, by its end of an epoch or its callbacks: averaged weights (EMA, SWA) that are"
    " copied into the network for an evaluation and not put back after it, load_state_dict() of an early checkpoint, a reset_parameters()"
    " or an apply() of an initialiser that runs again. Where weights are exchanged for a look, keep a copy and put it back."
)


class _Rule(CitedRule, Protocol):
    @property
    def set_backs(self) -> int: ...


LEAST_PROMISE = 0.5
"""Part of a fall that the steps before a set-back must be able to make, to first order: they make at most all of it. Batches that are
always in one order, from hard to easy, give the same curve to a network that hardly moves."""


def found(rule: _Rule, history: History) -> Finding | None:
    """Return the finding of ``rule`` about a loss that is set back over and over."""
    if history.records[0].step > 0 or plays(history.records):
        return None
    seen = set_back(history.losses, rule.set_backs)
    if seen is None or not _can_fall(history, seen):
        return None
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=(),
        step=max(history.last.step, int(history.losses.steps[-1])),
        message=(
            f"What is learned is undone every {seen.every} steps: the loss falls from {phrases.number(seen.top)} to"
            f" {phrases.number(seen.bottom)} and is then back where the training began, at once, {seen.times} times so far, the last time"
            f" before step {seen.last}. Steps of training do not do that: something puts the weights back."
        ),
        evidence={
            "set_backs": Figure(seen.times, f"times, every {seen.every} steps"),
            "loss_before": Figure(seen.bottom, "right before one"),
            "loss_after": Figure(seen.top, "right after one"),
        },
        expected={"set_backs": Figure(0.0, "times")},
        remedy=REMEDY,
        source=rule.source,
    )


def _can_fall(history: History, seen: SetBack) -> bool:
    promises = [promised(record) for record in history.records if record.stepped]
    return bool(promises) and median(promises) * seen.every >= LEAST_PROMISE * (seen.top - seen.bottom)
