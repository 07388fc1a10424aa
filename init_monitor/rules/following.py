"""Which findings follow from one that was told before: these are information, since the cause comes first.

A signal that is wrong in one place brings more with it as training goes on: samples become the same, units die, gradients
fade, updates get too large. To a person who has read what was wrong at step 0 these are no news, and their remedies lead away
from the first one. A rule names the codes that its findings may follow from (``follows``). A finding of it then is information if

- such a finding was told at an earlier step, and is at least as severe by now, or in the same judgement of steps that are far too
  large;
- it still stands: the run has not learned since, and the loss is no lower than at its start, or the case is still open, or it is a
  few steps ago only; and
- what it names lies on one path with at least half of the layers named now.

A depth that is far off at step 0 (IM101 to IM202) stands longer: as long as the loss has not halved, the run has only begun to make up
for it, and what goes wrong on the same path on the way comes of it.

Numbers that are not finite (IM601, critical) end what can be measured: as long as they are there, whatever is wrong with the signal
comes of them.

A rule whose findings say that no answer depends on the input (``whatever_the_loss``) makes no exception for a loss that has fallen:
there the case has to be open still. Steps that are far too large (IM603) break the network as a whole. A rule may say otherwise
with ``comes_of(finding, cause, structure)``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.consequences import STEPS, reaches, too_large
from init_monitor.analysis.learning import (
    LONG,
    Learning,
    course_of,
    learning_of,
    learns_well,
    only_undoes_its_start,
    plays,
)
from init_monitor.analysis.paths import INPUT_SCALE
from init_monitor.records import Severity
from init_monitor.remedies.made_by_training import FINE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from init_monitor.records import Finding, History, Structure
    from init_monitor.rules.rule import Rule


BROKEN = "IM601"
"""The code of numbers that are not finite."""

OVER_DEPTH = ("IM101", "IM102", "IM201", "IM202")
"""Codes of a signal and a gradient that grow or fade over depth."""


def follows(rule: Rule) -> tuple[str, ...]:
    """Return the codes that the findings of a rule may follow from; empty for a rule that does not say."""
    return tuple(getattr(rule, "follows", ()))


def began(told: Sequence[Finding]) -> dict[str, int]:
    """Return the step at which each code was first told, as more than information."""
    steps: dict[str, int] = {}
    for one in told:
        if one.severity > Severity.INFO:
            steps.setdefault(one.code, one.step)
    return steps


def is_older(one: Finding, other: Finding, steps: Mapping[str, int]) -> bool:
    """Say whether what a finding says was told before, and before another's: it has become worse in the same judgement."""
    return steps.get(one.code, one.step) < steps.get(other.code, other.step)


def cause_of(
    rule: Rule, finding: Finding, told: Sequence[Finding], history: History, still_open: Collection[str]
) -> Finding | None:
    """Return the finding told before that explains a new one, the earliest of several; ``None`` if there is none.

    Args:
        rule: the rule of the new one.
        finding: the new one, more than information.
        told: what was told before, oldest first.
        history: what was judged.
        still_open: codes of cases that still hold.
    """
    comes_of: Callable[[Finding, Finding, Structure], bool] = getattr(rule, "comes_of", reaches)
    codes = follows(rule)
    known = [one for one in told if one.code in codes and (one.severity >= finding.severity or too_large(one))]
    if finding.severity is Severity.INFO:
        return None
    if codes and BROKEN in still_open:
        broken = (one for one in told if one.code == BROKEN and one.severity is Severity.CRITICAL)
        if (first := next(broken, None)) is not None:
            return first
    if not known:
        return None
    learning, course = learning_of(history), course_of(history.losses)
    # What falls back from where the first steps threw it has not learned, nor has what falls from far above to guessing.
    undone = course.came_back or only_undoes_its_start(history)
    learns = learning is Learning.LEARNS and not undone
    if learns and not getattr(rule, "whatever_the_loss", False):
        return None if finding.code == STEPS else _start_of(finding, known, history, comes_of)
    # A loss that has not fallen is as level as one whose noise is small enough to say so.
    lasting = learning is not Learning.UNKNOWN or (course.last >= course.first and not plays(history.records))
    for one in known:
        recent = one.code in still_open or history.last.step - one.step < LONG
        # The scale of the data does not change, whether or not steps are too large by it.
        stands = one.code in {INPUT_SCALE, *still_open} if learns else lasting or recent
        if stands and comes_of(finding, one, history.structure):
            return one
    return None


def _start_of(
    finding: Finding,
    known: Sequence[Finding],
    history: History,
    comes_of: Callable[[Finding, Finding, Structure], bool],
) -> Finding | None:
    """Return the depth that was far off at step 0 and still stands in a run that learns; ``None`` if there is none."""
    if learns_well(history):
        return None
    over_depth = (one for one in known if one.code in OVER_DEPTH and one.step == 0)
    return next((one for one in over_depth if comes_of(finding, one, history.structure)), None)


def as_consequence(finding: Finding, cause: Finding) -> Finding:
    """Return a finding as information about what followed from another one."""
    return replace(
        finding,
        severity=Severity.INFO,
        message=f"{finding.message} This came with {cause.code} of step {cause.step}, which is to be mended first.",
        remedy=finding.remedy.replace(FINE, ""),
    )
