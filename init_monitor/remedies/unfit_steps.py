"""Steps that do not fit for a reason of their own: gradients that pile up, a momentum without end, targets out of reach."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis import forces
from init_monitor.analysis.fitting_rate import BY_SIZE
from init_monitor.analysis.learning import LONG, Learning, learning_of, learns_well
from init_monitor.analysis.medians import median
from init_monitor.analysis.optimizers import epsilon_of, optimizer_code
from init_monitor.analysis.pace import judged_weights, pace_of, paces_of, weights_of
from init_monitor.records import Figure, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import (
    far_targets,
    held_by_decay,
    learning_rate,
    made_by_training,
    optimizer_memory,
    phrases,
    snippets,
    unfit_rates,
    weighted_away,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Finding, History, StepRecord

    MakeFinding = Callable[[History, Severity, str, Mapping[str, Figure]], Finding]

AT_STEP, PILED_UP = "at_step", "gradient_growth"
"""Evidence of the finding about one step that is alone (which it was), and of gradients that are never zeroed."""

LOST = (
    "Look at what the loss is divided by or multiplied with: a batch that is divided by twice, a weight of the loss, a temperature"
    " whose square is missing, a half-precision gradient that was never scaled; or a clip to a norm far below the gradient's."
)
"""What to do about a gradient that was lost before it arrived."""

PILED = 2.0
"""Factor by which gradients that are never zeroed have grown when it is told: a sum of ten that agree is ten times one."""

PILED_RECORDS = 5
"""Sampled steps in which those of the step before were seen to be there still."""

PILED_WITHIN = 100
"""Optimizer steps since the first record in which it is told; later records lie too far apart to see it."""

REPLACES = 1.0
"""‖Δw‖/‖w‖ of a step at which it replaces the weight: what a gradient that stays the same comes to with momentum."""

ALONE = 100.0
"""Factor of one step that is alone over the median step after it: a schedule falls step by step, and a first step of Adam is a few
times one. The steps right after it may be large, too: they go by the gradients of what it made."""

DROPPED = 10.0
"""Factor by which the learning rate of such a step was larger for that to be its cause."""

WON = 1e-3
"""Part of its first loss at which a player has nothing left to win, and its opponent has no slope to go by."""

STOPPED = 1e-5
"""‖Δw‖/‖w‖ of one step at which a hundred thousand steps, all in one direction, replace the weight once."""


def found(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the first that holds of a run that no step of has been too large or too small by itself.

    Args:
        history: what was measured.
        judged: names of the weights that count.
        make: makes a finding of history, severity, message and evidence.
    """
    return (
        _decayed(history, make)
        or _alone(history, judged, make)
        or unfit_rates.never_recovered(history, judged, make)
        or unfit_rates.creeps(history, judged, make)
        or _won(history, judged, make)
        or _never_forgets(history, judged, make)
        or far_targets.found(history, make)
        or weighted_away.found(history, judged, make)
        or optimizer_memory.found(history, judged, make)
        or held_by_decay.found(history, make)
    )


def at_once(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return what holds whatever the size of the steps: gradients that pile up, a rate that is multiplied with itself."""
    return _piled_up(history, make) or unfit_rates.squared(history, judged, make)


def _piled_up(history: History, make: MakeFinding) -> Finding | None:
    """Return the finding about gradients that are never zeroed, and have grown by it."""
    kept = [record for record in history.records if record.kept_gradients]
    if len(kept) < PILED_RECORDS or history.last.step > history.records[0].step + PILED_WITHIN:
        return None
    began = history.records[0].step
    first, last = (_gradient_of(record) for record in (history.records[0], kept[-1]))
    if not last >= PILED * first > 0:
        return None
    message = (
        f"The gradients are not zeroed: in {len(kept)} of the sampled steps those of the steps before were still there, and the"
        f" new ones were added to them. They have become {phrases.times(last / first)} as large since step {began}, and every step"
        " goes by the sum of all of them."
    )
    measured = {"gradient_growth": Figure(last / first, f"× at step {kept[-1].step}")}
    return replace(
        make(history, Severity.WARNING, message, measured),
        expected={"gradient_growth": Figure(1.0, "×, or less")},
        remedy=snippets.advice(
            "Zero the gradients in every step: call optimizer.zero_grad() before backward.",
            snippets.IN_ORDER,
        ),
    )


def swallowed(record: StepRecord) -> str:
    """Return what swallows most of a step."""
    adds = epsilon_of(record.optimizer) is not None
    return "its eps is far larger than the gradient" if adds else "the gradient is clipped to next to nothing"


def whole_steps(history: History, short: float) -> str:
    """Return what to do where ``short`` is left of the step that rate and gradient give."""
    if epsilon_of(history.last.optimizer) is not None:
        return smaller_epsilon(history, short)
    norm = _gradient_of(history.records[0])
    return snippets.advice(
        f"Clip at a typical gradient norm (it was {phrases.number(norm)} at step {history.records[0].step}), or not at all; if a loss scale"
        " is divided out by hand, do it once.",
        learning_rate.CLIP,
    )


def smaller_epsilon(history: History, short: float) -> str:
    """Return what to do where an epsilon far above the gradient swallows Adam's steps, of which ``short`` is left."""
    record, epsilon = history.last, epsilon_of(history.last.optimizer) or 0.0
    pace = pace_of(record, judged_weights(history), history.structure)
    # A rate that was raised to make up for the epsilon would be far too large without it.
    full = pace.high / short if pace is not None else math.nan
    rate = record.learning_rate * min(1.0, BY_SIZE / full) if full > 0 else record.learning_rate
    rate = float(f"{rate:.1g}") if rate < record.learning_rate else record.learning_rate
    lower = f", at a rate of {rate:g}" if rate < record.learning_rate else ""
    return snippets.advice(
        f"Leave eps at its default of {epsilon:g}{lower}: it is there to keep a division by 0 away. A clip to a norm far below the"
        " gradient's acts the same; there raise the norm.",
        optimizer_code(record.optimizer, rate, f", eps={epsilon:g}"),
    )


def _alone(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about one step far larger than all that followed, since which the loss has stood still."""
    paces = paces_of(history.records, judged, history.structure)
    largest = max(paces, key=lambda pace: pace.low if math.isfinite(pace.low) else -1.0, default=None)
    if largest is None or not largest.low >= BY_SIZE or learning_of(history) is not Learning.LEVEL:
        return None
    step = largest.record.step
    after = [pace.high for pace in paces if pace.record.step > step]
    later = median(after) if after else math.nan
    if history.last.step - step < LONG - 1 or not 0 < later * ALONE <= largest.low:
        return None
    message = (
        f"Step {step} changed the median layer by {phrases.part(largest.low)} its own size,"
        f" {phrases.times(largest.low / later)} as much as the median step after it, and the"
        " loss has not fallen since."
    )
    measured = {
        "update_ratio": Figure(largest.low, f"‖Δw‖/‖w‖ at step {step}"),
        "at_step": Figure(step, "the step at which it was that large"),
    }
    began, now = largest.record.learning_rate, history.last.learning_rate
    remedy = snippets.advice(
        f"Look at what made step {step} so large: a learning rate that a schedule begins with, a loss that is summed there, a batch unlike"
        " the others. Clip the gradient, and begin anew with weights from before it.",
        learning_rate.CLIP,
    )
    if began >= DROPPED * now > 0:
        message += f" Its learning rate was {phrases.number(began)}, and is {phrases.number(now)} now."
        remedy = learning_rate.as_it_began(history, largest.record, largest.low)
    return replace(
        make(history, Severity.WARNING, message, measured),
        expected={"update_ratio": Figure(BY_SIZE, "‖Δw‖/‖w‖ per step, or less")},
        remedy=remedy,
    )


def _decayed(history: History, make: MakeFinding) -> Finding | None:
    """Return the finding about weight decay that has taken most of the weights, or of what normalisations scale by, from a loss that stands."""
    if history.records[0].step > 0 or learning_of(history) is not Learning.LEVEL:
        return None
    sets = {"weights": weights_of(history.structure), "scales of the normalisations": _scales_of(history)}
    lost = {what: forces.shrinking(history, names) for what, names in sets.items() if names}
    what = max(lost, key=lambda one: lost[one] if lost[one] > 0 else 0.0, default="")
    decay = forces.decay_of(history, sets[what]) if what else None
    if decay is None or not lost[what] >= made_by_training.SHRUNK or decay.explained < made_by_training.MOSTLY:
        return None
    began, factor = history.records[0].step, lost[what]
    message = (
        f"Weight decay outweighs the loss, which has not left its level: the {what} have become {phrases.times(factor)} smaller than at"
        f" step {began}, and nothing restores them."
    )
    return replace(
        make(history, Severity.WARNING, message, {"shrinking": Figure(factor, f"× since step {began}")}),
        expected={"shrinking": Figure(1.0, "×, about")},
        remedy=made_by_training.of_decay(decay, history),
    )


def _scales_of(history: History) -> frozenset[str]:
    """Return the weights that normalisations scale by."""
    layers = history.structure.layers
    return frozenset(layer.weight for layer in layers if layer.role is Role.NORMALISATION and layer.weight)


def _never_forgets(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about a momentum that adds up gradients for longer than the run, and comes to steps that are far too large."""
    last, steps = history.last, history.last.step + 1
    if epsilon_of(last.optimizer) is not None or not made_by_training.HEAVY <= last.momentum < 1 or steps < LONG:
        return None
    memory = 1 / (1 - last.momentum)
    paces = paces_of(history.records, judged, history.structure)
    pulls = [pace.pull for pace in paces if math.isfinite(pace.pull)]
    final = last.learning_rate * median(pulls) * memory if pulls else math.nan
    if not final >= REPLACES or memory < steps or learns_well(history):
        return None
    message = (
        f"{last.optimizer} with a momentum of {last.momentum:g} adds up the gradients of {phrases.number(memory)} steps, and the run"
        f" has had {steps}: each step still goes by the first ones, and grows. A gradient that stays as it is comes to steps of"
        f" {phrases.part(final)} the size of the weights."
    )
    return replace(
        make(history, Severity.WARNING, message, {"final_update": Figure(final, "‖Δw‖/‖w‖ per step, in the end")}),
        expected={"final_update": Figure(REPLACES, "‖Δw‖/‖w‖ per step, or less")},
        remedy="Take a momentum of 0.9 (that adds up 10 steps), or lower the learning rate by as much as the momentum raises it.",
    )


def _won(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about a part that has stopped because the player against it has nothing left to win."""
    first, latest = history.records[0], history.records[-2:]
    if first.step > 0 or len(latest) < len("ab") or latest[-1].step - latest[0].step < LONG - 1:
        return None
    winners = [
        name
        for name, began in first.loss_by_optimizer.items()
        if all(abs(record.loss_by_optimizer.get(name, math.inf)) <= WON * abs(began) for record in latest)
    ]
    if not winners:
        return None
    before, *now = (_largest_by_part(record, judged) for record in (first, *latest))
    stopped = [
        part for part, moved in before.items() if moved > STOPPED and all(x.get(part, 1.0) < STOPPED for x in now)
    ]
    if not stopped or len(stopped) == len(before):
        return None
    share = max(now[-1][part] for part in stopped)
    message = (
        f"{phrases.names(stopped)} {'has' if len(stopped) == 1 else 'have'} stopped: no weight there changes by more than"
        f" {phrases.part(share)} its size per step. The player against it ({winners[0]}) has brought its loss down to a thousandth, and"
        " where it is sure there is no slope left to learn by."
    )
    return replace(
        make(history, Severity.WARNING, message, {"update_ratio": Figure(share, "‖Δw‖/‖w‖ per step, at most")}),
        layers=tuple(stopped),
        expected={"update_ratio": Figure(STOPPED, "‖Δw‖/‖w‖ per step, or more")},
        remedy=(
            "Give the part that stopped a loss term that has a slope where the other is sure (the non-saturating -log D instead of"
            " log(1 - D)), and lower the learning rate of the other, or let it step less often."
        ),
    )


def _largest_by_part(record: StepRecord, judged: frozenset[str]) -> dict[str, float]:
    """Return the largest ‖Δw‖/‖w‖ of each part of the model: what is below one name of its own."""
    largest: dict[str, float] = {}
    for name, moved in zip(record.parameter_names, record.column(Quantity.UPDATE_RATIO).tolist(), strict=True):
        if name in judged and not math.isnan(moved):
            part = name.partition(".")[0]
            largest[part] = max(largest.get(part, 0.0), moved)
    return largest


def _gradient_of(record: StepRecord) -> float:
    """Return the norm of all gradients together."""
    return float(np.sqrt(np.nansum(record.column(Quantity.WEIGHT_GRADIENT_NORM) ** 2)))
