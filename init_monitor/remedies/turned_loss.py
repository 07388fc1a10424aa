"""What to say and do where the loss is not finite, or rises, depending on how that happened."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.dtypes import FORMATS
from init_monitor.analysis.optimizers import epsilon_of, optimizer_code
from init_monitor.analysis.stillness import has_no_gradient
from init_monitor.analysis.turning import broken_weights, lead_up, lost_epsilon
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import learning_rate, phrases

if TYPE_CHECKING:
    from init_monitor.analysis.turning import LeadUp
    from init_monitor.records import History

_ANOMALY = "import torch\n\ntorch.autograd.set_detect_anomaly(True)  # for one short run: it names the operation"


class Turned(NamedTuple):
    """How the loss came to its first value that is not finite, in sentences, and the remedy with its code."""

    why: str
    remedy: tuple[str, str]


def turned(first: int, history: History) -> Turned:
    """Return what led to step ``first``, from which on the loss is not finite, and what to do about it."""
    came = lead_up(history.losses, first)
    return Turned(_told(came, first, history), _remedy(came, first, history))


def before(history: History) -> Turned | None:
    """Return what broke weights that are not finite, where it is known.

    It is the optimizer's eps, if that is 0 in the format of the weights; the update after a loss that was not finite, at a
    step that was not measured; or one after a finite loss whose gradient was not.
    """
    if dtype := lost_epsilon(history):
        return _without_epsilon(history, dtype)
    first = history.losses.first_nonfinite
    if first is None or first > history.last.step:
        return None
    at = next((record for record in history.records if record.step == first), None)
    if at is not None:
        # Its weights are those that the update before left.
        return _by_the_update_before(first, history) if broken_weights(at) else None
    found = turned(first, history)
    return found._replace(why=f"The loss is not finite since step {first}. {found.why}")


def _by_the_update_before(first: int, history: History) -> Turned | None:
    """Return what broke the weights that step ``first`` began with: the gradient of the step before, whose loss was finite."""
    came = lead_up(history.losses, first)
    if not came.known or came.rose or _is_measured(first - 1, history):
        return None
    why = (
        f"The loss of step {first - 1} was finite ({phrases.number(came.before)}), and the update of that step broke the weights: its"
        " gradient was not finite."
    )
    return Turned(why, _look_at(f"the batch of step {first - 1}", history))


def _of_nothing(first: int, history: History) -> bool:
    """Say whether the loss of a step averages over nothing: it is NaN although all numbers are finite, and nothing hangs on it."""
    at = next((record for record in history.records if record.step == first), None)
    if at is None or not at.parameter_names or not has_no_gradient(at):
        return False
    spread = at.layer_table.column(Quantity.ABS_MAX)
    return bool(np.isfinite(spread[~np.isnan(spread)]).all() and np.isfinite(spread).any() and not broken_weights(at))


def _is_measured(step: int, history: History) -> bool:
    return any(record.step == step for record in history.records)


def _without_epsilon(history: History, dtype: str) -> Turned:
    record = history.last
    epsilon = epsilon_of(record.optimizer) or 0.0
    smallest = phrases.number(FORMATS[dtype].smallest)
    why = (
        f"The gradient of the step before was finite; the step of {record.optimizer} caused it: its eps of {phrases.number(epsilon)} is 0"
        f" in {dtype}, which ends at {smallest}, and a gradient that is (or squares to) 0 is divided by 0."
    )
    sentence = (
        f"Give the optimizer an eps that {dtype} can hold (1e-4), or keep the weights in float32 and compute in half precision"
        ' (precision="16-mixed" or "bf16-mixed").'
    )
    code = optimizer_code(record.optimizer, record.learning_rate, ", eps=1e-4")
    return Turned(why, (sentence, code))


def also_broken(first: int, history: History) -> str:
    """Return the sentence about weights that are not finite at a later step; empty if there are none."""
    weights = broken_weights(history.last) if history.last.step > first else ()
    if not weights:
        return ""
    return f" At step {history.last.step} {phrases.names(weights)} {'holds' if len(weights) == 1 else 'hold'} NaN or infinity."


def _told(came: LeadUp, first: int, history: History) -> str:
    if _of_nothing(first, history):
        return "What the network gave is finite, and its gradient is exactly 0: the loss is a mean over nothing, 0 divided by 0."
    if not came.known:
        return "No loss was finite before."
    if came.rose:
        return f"It rose before, to {phrases.number(came.before)}: the steps were too large."
    earlier = (
        "" if _is_measured(first - 1, history) else f", or the gradient of step {first - 1} was not finite already"
    )
    return (
        f"It was {phrases.number(came.before)} just before and not rising: the batch of step {first} made it, or an operation"
        f" on the way from the output to the loss{earlier}."
    )


def _remedy(came: LeadUp, first: int, history: History) -> tuple[str, str]:
    if came.rose:
        back = " Go back to a checkpoint from before: weights that are NaN stay NaN."
        remedy = learning_rate.advice("Lower the learning rate", history, learning_rate.before_it_rose(history), back)
        sentence, _, code = remedy.partition("\n\n")
        return sentence, code
    if _of_nothing(first, history):
        return (
            (
                "Look at the targets: cross-entropy leaves out those of ignore_index (-100 by default), and here that is all of them; or"
                " a mask leaves nothing over, or the batch is empty. Where that may happen, divide by the count, but at least by 1."
            ),
            (
                "# where the loss is made:\n"
                '# loss = F.cross_entropy(logits, targets, reduction="sum") / (targets != -100).sum().clamp(min=1)'
            ),
        )
    if not came.known:
        return _look_at("the batches", history)
    if _is_measured(first - 1, history):
        return _look_at(f"the batch of step {first}", history)
    return _look_at(f"the batches of steps {first - 1} and {first}", history)


def _look_at(where: str, history: History) -> tuple[str, str]:
    sentence = (
        f"Look at {where} (missing values, no labels, an empty sample) and at what the loss divides by, or takes the logarithm"
        " or the root of (at 0 a root and a norm have no slope): clamp that away from 0, or add an eps. NaN weights stay NaN: go back"
        " to a checkpoint."
    )
    if any(layer.dtype == "float16" for layer in history.structure.layers):
        sentence += " In float16 a sum ends at 65,504: take the mean, and compute the loss in float32."
    return sentence, _ANOMALY


def rising(history: History) -> str:
    """Return what to do about a loss that rises for good."""
    rate = history.last.learning_rate
    now = f" (it is {rate:g} now)" if math.isfinite(rate) else ""
    also = " Look at whether a schedule raises it, and zero the gradients in every step."
    return learning_rate.advice(f"Lower the learning rate{now}", history, learning_rate.before_it_rose(history), also)
