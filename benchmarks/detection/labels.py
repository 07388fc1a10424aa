"""Whether a label is right, by what happened without the monitor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.detection.case import Evidence

if TYPE_CHECKING:
    from benchmarks.detection.running import Outcome

FAULTY_PROGRESS = 0.75
"""A run is measurably worse if it brings the loss down by less than this part of what its twin does. The twins bring it
down smoothly enough that a seed moves their progress by a few percent only."""

HEALTHY_PROGRESS = 0.05
"""A healthy run trains if it brings its loss down by at least this part: a random one does not, over 100 batches."""


def progress(outcome: Outcome, twin: Outcome) -> float:
    """Return what a run achieved of its twin's decrease of the loss: 1 is as much, 0 nothing, −∞ if it ended as NaN.

    Counted from where the twin started: a faulty run may start anywhere.
    """
    decrease = twin.start - twin.end
    return (twin.start - outcome.end) / decrease if decrease > 0 and math.isfinite(decrease) else math.nan


def verify(outcome: Outcome, twin: Outcome | None = None) -> Evidence:
    """Return the evidence for or against the label of a case.

    Args:
        outcome: of its trainings; what counts is the one without the monitor.
        twin: outcome of its healthy twin; ``None`` for a healthy case.
    """
    if outcome.failure:
        return Evidence(holds=False, figure=f"it broke: {outcome.failure.strip().splitlines()[-1]}")
    if outcome.evidence is not None:
        return outcome.evidence
    if twin is None:
        return _trains(outcome)
    if twin.failure or not math.isfinite(twin.end):
        return Evidence(holds=False, figure=f"its twin {twin.case} did not train")
    share = progress(outcome, twin)
    return Evidence(
        holds=share < FAULTY_PROGRESS,
        figure=f"loss {twin.start:.3g} to {outcome.end:.3g}, its twin's to {twin.end:.3g}: {share:.0%} of the decrease",
    )


def _trains(outcome: Outcome) -> Evidence:
    finite = all(math.isfinite(loss) for loss in outcome.losses)
    fell = finite and outcome.start - outcome.end >= HEALTHY_PROGRESS * abs(outcome.start)
    return Evidence(holds=fell, figure=f"loss {outcome.start:.3g} to {outcome.end:.3g}")
