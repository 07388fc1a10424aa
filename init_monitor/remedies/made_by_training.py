"""Whether a layer was wrong from the start or became so in training: the remedies differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis import forces, turning
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.analysis.pace import weights_of
from init_monitor.analysis.segments import log_of
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import learning_rate, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Collection

    from init_monitor.records import Column, History, Layer, StepRecord

OVERTURNED = 10.0
"""A weight whose norm has grown by this factor is no longer the one it was initialised with: nine tenths of it are
updates."""

ORDERLY = 5.0
"""Factor by which a gain may have been off at the start for the weights to have been in order. Three times the standard
deviation, which is nine times the variance, makes a network explode."""

MOST_OF_ALL = 3.0
"""What training took of a gain that was small at the start, over what was missing then: three quarters of all that is missing."""

MOSTLY = 0.5
"""Fraction of the shrinking, in logarithm, that weight decay has to account for to be its cause: most of it."""

HEAVY = 0.97
"""Momentum from which a single gradient acts on for more than thirty steps; 0.9 is usual, 0.95 in use."""

SHRUNK = 3.0
"""Factor from which the weights themselves have shrunk, rather than their response to the input."""

USUAL_DECOUPLED = 0.01
"""Weight decay that torch gives AdamW (Loshchilov & Hutter 2019): at a rate of 0.001 it takes 1e-5 of a weight per step."""

USUAL_DECAY = 1e-4
"""Weight decay of the ResNets (He et al. 2016): at a rate of 0.1 it takes 1e-5 of a weight per step."""

FEW_SUMS = 4
"""Residual additions from which a network is deep enough for its norms to matter: two transformer layers."""

SLOWER = "Lower the learning rate"
FINE = " The initial weights were fine."


def made_by_training(first: Column, now: Column, healthy: Column, position: int, *, direction: int) -> bool:
    """Say whether what the weights give a signal was in order at the first record and is off at the last.

    At least half of the deviation, in logarithm, must have arisen since the first record: a gain that was a little off
    at the start and became hopeless counts as made by training, one that was hopeless at the start does not, unless training took
    nearly all of what was left (an output layer starts small in many a healthy network).

    Args:
        first: gain that the weights gave at the first record of the window, by position.
        now: the same at the last one.
        healthy: the gain each layer needs.
        position: of the layer to look at.
        direction: 1 for a gain that is too large, -1 for one that is too small.
    """
    logs = [float(log_of(np.asarray([column[position]]))[0]) for column in (first, now, healthy)]
    if any(math.isnan(value) for value in logs):
        return False
    before, after, wanted = (direction * value for value in logs)
    if before - wanted > math.log(ORDERLY) and (direction > 0 or after - before < MOST_OF_ALL * (before - wanted)):
        return False
    return after > wanted and after - before > (after - wanted) / 2


def growth(history: History, layer: Layer) -> float:
    """Return how many times larger the weight of ``layer`` is than at the first record of the window; NaN if unknown."""
    first, now = (_norm(record, layer.weight) for record in (history.records[0], history.last))
    return now / first if first > 0 else math.nan


def told(history: History, *, direction: int, weights: bool = True) -> str:
    """Return the sentence that says so, about the weights or about the signal."""
    if not weights:
        return f"At step {history.records[0].step} it did not: training caused this."
    made = "large" if direction > 0 else "small"
    return f"At step {history.records[0].step} its weights were fine: training made them too {made}."


def remedy(history: History, *, direction: int, weights: Collection[str] = ()) -> str:
    """Return what to do about it, in a sentence and in code, by its cause.

    Args:
        history: what was measured.
        direction: 1 for something that became too large, -1 for what faded.
        weights: names of the parameters it is about; those of all weight layers if empty.
    """
    if direction < 0:
        return _for_what_faded(history, weights)
    rate = learning_rate.rate_of_the_start(history)
    if history.last.momentum >= HEAVY:
        return _lighter(history, rate.value)
    if math.isnan(rate.value):
        also = signs(history)
        slower = SLOWER.lower() if also else SLOWER
        return snippets.advice(f"{also}{slower} (or warm it up), and clip the gradient.{FINE}", learning_rate.CLIP)
    return learning_rate.advice(SLOWER, history, rate, FINE)


def signs(history: History) -> str:
    """Return the sentences to put before a lower learning rate where the loss climbed from its start; else nothing."""
    steps = turning.climbed(history)
    if not steps:
        return ""
    return (
        f"Look at the sign of each term of the loss first: it has risen over {steps} steps without ever having been clearly below its start, where a"
        " rate that is too large throws it up within a few, so something is trained to make it larger. A gradient reversal belongs between"
        " the shared part and the head of an adversary, not behind that head. If the signs are right: "
    )


def _lighter(history: History, advised: float) -> str:
    """Return the remedy for a momentum that adds up steps for too long, with the rate that was advised, if one was."""
    last = history.last
    steps = phrases.number(1 / (1 - last.momentum)) if last.momentum < 1 else "all"
    rate = min(last.learning_rate, advised) if advised > 0 else last.learning_rate
    slower = f", and lower the learning rate to {rate:g}" if rate < last.learning_rate else ""
    code = optimizer_code(
        last.optimizer, rate, ", momentum=0.9" if last.optimizer in {"SGD", "RMSprop"} else ", betas=(0.9, 0.999)"
    )
    return snippets.advice(
        f"Take a momentum of 0.9, as is usual: that of {last.momentum:g} adds up {steps} steps{slower}. Clip the gradient, too.{FINE}",
        f"{code}\n{learning_rate.CLIP}".strip(),
    )


def _for_what_faded(history: History, weights: Collection[str]) -> str:
    """Return the remedy for what became too small: what else writes to the weights, the decay, the steps, or the loss."""
    outside = forces.outside_of(history, weights)
    if outside is not None and outside.to < 1:
        return _left_alone(outside)
    decay = forces.decay_of(history, weights)
    if decay is not None and decay.explained >= MOSTLY:
        return of_decay(decay, history)
    rate = learning_rate.rate_of_the_start(history)
    if learning_rate.all_were_small(history):
        return _less_of_a_term(history, weights)
    if math.isnan(rate.value):
        return f"Lower the learning rate or the weight decay.{FINE}"
    return learning_rate.advice(SLOWER, history, rate)


def _left_alone(outside: forces.Outside) -> str:
    """Return the remedy where something other than the optimizer makes the weights small."""
    return (
        f"Something other than the optimizer changes the weights: after step {outside.step} their norm is"
        f" {phrases.times(outside.to)} what it was before, and the step itself changed them by {phrases.part(outside.moved)} their"
        f" size. Look for what writes to them after the step: clamp_, mul_, copy_, .data, a projection that is too narrow.{FINE} To"
        " bound a critic, use a gradient penalty or spectral normalisation instead of clipped weights, or clip them to a wider range."
    )


def less_decay(history: History, ratio: float) -> str:
    """Return the remedy for steps that change the weights by ``ratio`` where weight decay causes them; else nothing."""
    decay = forces.decay_of(history)
    if decay is None or decay.explained < MOSTLY or not decay.per_step >= MOSTLY * ratio:
        return ""
    return of_decay(decay, history)


def of_decay(decay: forces.Decay, history: History) -> str:
    """Return the remedy against weight decay that outweighs the gradient, in a sentence and in code."""
    last = history.last
    if math.isfinite(decay.per_step):
        does = f"takes {phrases.percent(min(decay.per_step, 1.0))} off each weight per step"
    else:
        does = f"is {phrases.part(decay.of_the_gradient)} the gradient of the loss, to which it is added"
    beside = (
        f" (decay · ‖w‖ is {phrases.times(decay.of_the_gradient)} ‖gradient‖)" if math.isfinite(decay.per_step) else ""
    )
    return lower_decay(
        f"Lower the weight decay: the {decay.value:g} of {last.optimizer or 'the optimizer'} {does}{beside}, more than the"
        f" loss gives back.{FINE}",
        history,
    )


def lower_decay(sentence: str, history: History) -> str:
    """Return a sentence with the decay that is usual, and the code for it."""
    last = history.last
    usual = USUAL_DECOUPLED if any(name in last.optimizer.casefold() for name in forces.DECOUPLED) else USUAL_DECAY
    code = optimizer_code(last.optimizer, last.learning_rate).replace(")  #", f", weight_decay={usual:g})  #")
    return snippets.advice(f"{sentence} {usual:g} is usual, with none on biases and normalisations.", code)


def _is_post_norm(history: History) -> bool:
    """Say whether most of at least four residual additions are normalised on the stream itself."""
    additions = [one for one in history.structure.residuals if not (one.nested or one.long)]
    return len(additions) >= FEW_SUMS and 2 * sum(one.normalised for one in additions) > len(additions)


def _less_of_a_term(history: History, weights: Collection[str]) -> str:
    """Return the remedy where neither a step nor the decay was too large: the loss itself rewards it."""
    if forces.shrinking(history, weights or weights_of(history.structure)) < SHRUNK and _is_post_norm(history):
        return (
            "Warm the learning rate up from 0 over the first few hundred steps, and take a smaller one: blocks that normalise after each sum"
            " (post-norm) lose the gradient in their first steps at a rate that others bear. Or normalise before each branch instead"
            f" (pre-norm; norm_first=True in torch's layers; Xiong et al. 2020).{FINE}"
        )
    if forces.shrinking(history, weights or weights_of(history.structure)) >= SHRUNK:
        term = "a penalty on the weights (L1, L2) is the first to look at"
    else:
        term = "the KL term of a VAE, a sparsity or consistency penalty are the first to look at"
    return (
        "No step was too large and no weight decay explains it, so the loss itself rewards it: a term that a signal of 0"
        f" satisfies outweighs the rest; {term}. Give that term a smaller weight, or raise it slowly from 0, and sum or average"
        f" both terms over the same elements. Else look at the data, for targets that do not depend on the input, or try a"
        f" smaller learning rate.{FINE}"
    )


def _norm(record: StepRecord, weight: str) -> float:
    if weight not in record.parameter_names:
        return math.nan
    return float(record.column(Quantity.WEIGHT_NORM)[record.parameter_names.index(weight)])
