"""The finding about a stream that what is added on entering drowns (IM702), and what to do about it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.drowned_entries import OUTWEIGHED, WEIGHS, drowned_entry
from init_monitor.analysis.learning import CLEAR, LONG, Learning, course_of, learning_of
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from init_monitor.records import History
    from init_monitor.remedies.named_rule import CitedRule


def found(rule: CitedRule, history: History) -> Finding | None:
    """Return the finding of ``rule``, if the run began so, is so still, and has not learned all the same."""
    first, last = history.records[0], history.last
    hardly = last.step >= 2 * LONG - 1 and course_of(history.losses).fall < CLEAR
    if first.step > 0 or (learning_of(history) is Learning.LEARNS and not hardly):
        return None
    least = WEIGHS if hardly else OUTWEIGHED
    entry = drowned_entry(history.last, history.structure, least)
    if entry is None or drowned_entry(first, history.structure, least) is None:
        return None
    names = phrases.names([layer.name for layer in entry.layers])
    by = (
        phrases.names([layer.name for layer in entry.by])
        or "a tensor that no layer made (positions, a parameter, the input)"
    )
    times = phrases.number(math.sqrt(entry.factor))
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=tuple(layer.name for layer in (*entry.layers, *entry.by)),
        step=history.last.step,
        message=(
            f"What is added to {names} drowns it: with {by}, the sum that {entry.reads.name} reads first is {times} times as large. What"
            f" tells the samples apart comes from {names}, and is 1/{times} of what the network gets to see."
        ),
        evidence={"sum_over_own": Figure(entry.factor, f"variance of the sum over that of {names}")},
        expected={"sum_over_own": Figure(WEIGHS, "×, or less; about 2 is usual")},
        remedy=snippets.advice(
            f"Bring both to one scale: scale what is added down to the size of {names} (positions from an embedding with a standard deviation"
            " of 0.02, sines, or numbers divided by the largest), or normalise it before it is added.",
            "\n".join(
                f"torch.nn.init.normal_(model.get_submodule({layer.module!r}).weight, std=0.02)" for layer in entry.by
            ),
        ),
        source=rule.source,
    )
