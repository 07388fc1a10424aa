"""Why the output of a layer is the first that is not finite, and what to do about it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.dtypes import format_of
from init_monitor.analysis.learning import starts_far_above
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import made_by_training, phrases, snippets, turned_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Column, History, Layer, StepRecord

_UNDEFINED_SOMEWHERE = ("log", "sqrt", "div", "reciprocal", "pow", "exp", "norm", "acos", "asin")
"""Parts of class names whose functions have arguments without a finite value (0, negatives, large numbers)."""

_SUMS_TO_ONE = ("softmax", "attention")
"""Parts of class names of functions that divide by a sum of exponentials."""


class Cause(NamedTuple):
    """Why, what to do, and code to paste, where there is some."""

    why: str
    sentence: str
    code: str = ""


_ALL_MASKED = Cause(
    "A softmax of finite numbers is finite: in some row every position is masked (-inf throughout, which gives 0/0), or a logit is"
    " infinite.",
    "Let the mask leave at least one position in each row (an empty sample has none), or set the result of such rows to 0"
    " (torch.where on the mask), and fill with a large negative number instead of -inf.",
)

_INPUT = Cause(
    "It is the first watched layer: most likely the network's input already holds such elements.",
    "Check the batch before it enters the network.",
    "assert all(x.isfinite().all() for x in batch if x.is_floating_point())  # batch: what the loader yields",
)

_FIRST = Cause(
    "It is the first watched layer: the network's input already holds such elements, or it divides by 0 itself (by the standard"
    " deviation of a constant column).",
    "Check the batch before it enters the network; where the layer divides, add a small eps to what it divides by.",
    _INPUT.code,
)

_BETWEEN = Cause(
    "The outputs of the watched layers before it are finite: it arose in this layer or in an operation just before it.",
    "Look at what runs between these two layers: a division, a logarithm, a root, a mask that hides everything, a number that is too large.",
)


def cause_of(i: int, history: History, layer: Layer | None, near: float) -> Cause:
    """Return why the output of a layer is the first that is not finite.

    Args:
        i: its row in the record.
        history: up to now.
        layer: which; ``None`` if the structure does not have it.
        near: a finite element within this factor of the format's largest number has neighbours that overflow.
    """
    record = history.last
    if layer is not None and (weight := _broken_parameter(record, layer)):
        return _of_weight(weight, history)
    index = {name: k for k, name in enumerate(record.names)}
    fed = [index[name] for name in (layer.inputs if layer else ()) if name in index]
    reached = record.column(Quantity.ABS_MAX)[[*fed, i]]
    grown = made_by_training.growth(history, layer) if layer is not None else 0.0
    grown = grown if np.isfinite(reached).any() else 0.0
    if near_overflow(reached, layer, near) or grown > made_by_training.OVERTURNED:
        return _overflow(reached, grown, layer, history, near)
    if layer is not None and (exponents := _exponents(layer, fed, record)):
        return exponents
    return _operation(layer, first=not fed and i == 0)


def _exponents(layer: Layer, fed: list[int], record: StepRecord) -> Cause | None:
    """Return the cause where a layer before it gives numbers whose exponential is past its format."""
    limit = math.log(format_of(layer.dtype).largest)
    over = [(record.names[k], float(record.column(Quantity.ABS_MAX)[k])) for k in fed]
    over = [(name, value) for name, value in over if limit < value < math.inf]
    if layer.role is not Role.WEIGHT or not over:
        return None
    name, value = max(over, key=lambda pair: pair[1])
    return Cause(
        f"{name}, which comes before it, gives numbers up to {phrases.number(value)}: an exponential of those is past every"
        f" {layer.dtype} number (it ends at exp({phrases.number(limit)})).",
        f"If an exponential follows {name}, bound what goes into it: clamp it (a log variance to -10 … 10), or start its weights at 0."
        " Else look at what runs between these two layers: a division, a logarithm, a root.",
    )


ANOMALY = "import torch\n\ntorch.autograd.set_detect_anomaly(True)"
"""Lets autograd name the operation whose derivative is not finite."""

_SUMMED = Cause(
    "The gradients of all watched layers are finite: it arose in the sum over samples and positions.",
    "Clip the gradient, lower the learning rate, or accumulate in float32.",
)


def of_weight_gradients(names: Sequence[str], history: History) -> Cause:
    """Return why only gradients of parameters are not finite.

    That of a layer's weight is a sum of products of what it receives and the gradient it gets, and both are finite; a parameter of no
    layer, or whose layer is far from the end of its format, has it from an operation outside the layers.
    """
    record, structure = history.last, history.structure
    owners = {name: layer for layer in structure.layers for name in (layer.weight, layer.bias) if name}
    owned = [owners[name] for name in names if name in owners]
    if len(owned) == len(names) and any(_may_overflow(layer, record) for layer in owned):
        return _SUMMED
    shown = phrases.names(names)
    where = (
        f"{shown} belong{'s' if len(names) == 1 else ''} to no watched layer, and all of these have finite gradients: an operation"
        f" between {shown} and the layer that follows has no finite derivative there"
        if len(owned) < len(names)
        else "What its layer receives and the gradient it gets are far from the end of their format: something else uses the parameter as"
        " well (a penalty of the weights), and has no finite derivative there"
    )
    return Cause(
        f"{where}: the root, a power below 1 or the logarithm of 0, a division by 0.",
        "Make what goes into that operation safe, as in x.clamp(min=1e-6) ** 0.5 or sqrt(x + 1e-12). torch.where around its result does not"
        " spare it: the value that is not chosen still has a gradient of 0 times infinity, which is NaN; put the torch.where, or a clamp,"
        " inside. Let autograd name the operation in one short run.",
        ANOMALY,
    )


def of_loss(record: StepRecord) -> Cause:
    """Return why a loss is not finite though every output is, and what to do."""
    what = "NaN" if math.isnan(record.loss) else "infinite"
    return Cause(
        f"It is the last watched layer, and what it gives is finite: the loss itself is {what}, by an operation in it.",
        "Look in the loss for an exponential, cosh or square of numbers that are too large, a logarithm or root of 0 or less, a division by 0,"
        " and write it in its stable form (log_softmax, logsumexp, softplus, log1p, a small eps); scale targets that are far larger than 1."
        " Clipping does not help. Autograd names the operation in one short run.",
    )


def _may_overflow(layer: Layer, record: StepRecord) -> bool:
    """Say whether the products that make a weight's gradient may add up to more than their format holds; so if that is unknown."""
    table = record.layer_table
    largest, rows = table.at(layer.name, Quantity.GRADIENT_ABS_MAX), table.at(layer.name, Quantity.COUNT)
    received = float(np.nanmax(record.column(Quantity.ABS_MAX), initial=1.0))
    bound = largest * received * rows
    return not bound < format_of(layer.dtype).largest


def near_overflow(values: Column, layer: Layer | None, factor: float) -> bool:
    """Say whether a finite number comes within a factor of the largest of the layer's format."""
    finite = values[np.isfinite(values)]
    largest = format_of(layer.dtype if layer else "float32").largest
    return bool(finite.size) and float(finite.max()) * factor >= largest


def _of_weight(weight: str, history: History) -> Cause:
    if since := turned_loss.before(history):
        return _of_the_start(Cause(f"Its parameter {weight} is not finite. {since.why}", *since.remedy), history)
    return Cause(
        f"Its parameter {weight} is not finite: an earlier update broke it.",
        "Go back to a checkpoint from before, lower the learning rate, clip the gradient.",
        f"broken = [name for name, p in model.named_parameters() if not p.isfinite().all()]\nprint(broken)  # {weight}",
    )


def _overflow(reached: Column, grown: float, layer: Layer | None, history: History, near: float) -> Cause:
    dtype = layer.dtype if layer else "float32"
    limit = phrases.number(format_of(dtype).largest)
    why = f"The numbers around it reach {phrases.number(float(np.nanmax(reached)))}, and {dtype} ends at {limit}: it overflowed."
    if grown > made_by_training.OVERTURNED:
        first = history.records[0].step
        why += f" Its weights are {phrases.times(grown)} as large as at step {first}: the updates are too large."
        loss, mean = _large_loss(history, near)
        sentence, _, code = made_by_training.remedy(history, direction=1).partition("\n\n")
        if (start := starts_far_above(history)) > 0:
            why += f" The first loss was {phrases.number(start)} already: the output was far too large to begin with."
            sentence = (
                f"Mend what makes the output so large at step 0 first. {sentence.replace(made_by_training.FINE, '')}"
            )
        return Cause(why + loss, f"{sentence}{mean}", code)
    return Cause(
        why,
        "Make the signal smaller (initialisation, normalisation), or use a format with more range (bfloat16, float32).",
        snippets.initialise([layer], among=history.structure)
        if layer is not None and layer.role is Role.WEIGHT
        else "",
    )


def _of_the_start(cause: Cause, history: History) -> Cause:
    """Return a cause that is the size of the steps, with what comes before it where the first loss was far above guessing."""
    start = starts_far_above(history)
    if not start > 0:
        return cause
    return Cause(
        f"{cause.why} The first loss was {phrases.number(start)} already: the output was far too large to begin with.",
        f"Mend what makes the output so large at step 0 first. {cause.sentence.replace(made_by_training.FINE, '')}",
        cause.code,
    )


def _operation(layer: Layer | None, *, first: bool) -> Cause:
    kind = layer.kind.casefold() if layer else ""
    if any(part in kind for part in _SUMS_TO_ONE):
        return _ALL_MASKED
    if any(part in kind for part in _UNDEFINED_SOMEWHERE):
        return Cause(
            f"What it receives is finite; {layer.kind if layer else 'it'} has no finite value for some of it (zero, negative, too"
            " large).",
            "Keep its argument away from such values: add a small constant, or clamp it.",
        )
    if first:
        return _INPUT if layer is None or layer.role is Role.WEIGHT else _FIRST
    return _BETWEEN


def _large_loss(history: History, near: float) -> tuple[str, str]:
    """Return what to say, and to do, where a loss is as large as half precision can hold; empty if none was."""
    limit = format_of("float16").largest
    finite = history.losses.values[np.isfinite(history.losses.values)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    if largest * near < limit or not any(layer.dtype == "float16" for layer in history.structure.layers):
        return "", ""
    return (
        f" The loss was {phrases.number(largest)}, and float16 ends at {phrases.number(limit)}.",
        " Take the mean of the loss over its elements, not the sum (reduction), and compute it in float32.",
    )


def _broken_parameter(record: StepRecord, layer: Layer) -> str:
    broken = np.nan_to_num(record.column(Quantity.WEIGHT_NONFINITE_COUNT), nan=0.0) > 0
    mine = (name for name, bad in zip(record.parameter_names, broken, strict=True) if bad)
    return next((name for name in mine if name in {layer.weight, layer.bias}), "")
