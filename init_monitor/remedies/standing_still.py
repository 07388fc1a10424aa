"""Why a network does not move, and what to do about it, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.activations import Shape, activation_called
from init_monitor.analysis.dtypes import format_of
from init_monitor.analysis.medians import median
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.stillness import Still, expected_updates, is_output
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import made_by_training, phrases, snippets, unfit_steps

if TYPE_CHECKING:
    from init_monitor.records import History, Layer, StepRecord


class Cause(NamedTuple):
    """Why, in sentences, and the remedy, with its code."""

    why: str
    remedy: str


SCHEDULE = """# at the end of configure_optimizers:
# return {
#     "optimizer": optimizer,
#     "lr_scheduler": {"scheduler": schedule, "interval": "step"},  # Lightning's default is "epoch"
# }"""

SPENT = snippets.advice(
    "Look at what the schedule counts: one made for epochs ends after as many batches if it is stepped with every batch"
    ' ("interval": "step"). Give it the number of steps of the whole training, or let it count epochs; ReduceLROnPlateau lowers the'
    ' learning rate of a loss that falls if its mode is "max".',
    SCHEDULE.replace(
        '"step"},  # Lightning\'s default is "epoch"', '"epoch"},  # or "step", for one made for all steps'
    ),
)

WARM_UP = "Shorten the warm-up: give the schedule as many steps as this training can spare for it, some hundreds. "

_FROZEN = Cause(
    "All of them have requires_grad=False: probably only a part was to be frozen, and the pattern matches everything.",
    snippets.advice(
        "Unfreeze what should learn: set requires_grad of its parameters to True, before the optimizer is built. A loss that"
        " needed requires_grad_() has no trainable parameter behind it.",
        "print([name for name, p in model.named_parameters() if p.requires_grad])  # what is trainable",
    ),
)

_UNCONNECTED = Cause(
    "The loss is not connected with the network: it was made from numbers or from detached tensors.",
    "Compute the loss from the tensors that the network returns. Look for .item(), .detach(), .data, .numpy(), argmax,"
    " torch.tensor(...) or torch.no_grad() between output and loss; requires_grad_() on the loss only hides the error.",
)

_NO_RATE = Cause(
    "Either it was set to 0 (an integer division, an int() around it), or a schedule holds it there: a warm-up from 0 that moves"
    " once per epoch stays at 0 for the whole first epoch.",
    snippets.advice(
        'Give a schedule that counts steps "interval": "step" (by default Lightning moves it once per epoch), let it start above'
        " 0, or set the learning rate.",
        SCHEDULE,
    ),
)

_ZEROED = Cause(
    "It reaches the layers: between backward and step the gradients are zeroed.",
    snippets.advice(
        "Zero the gradients before backward or after the step, never between the two: call zero_grad(), backward() and step() in"
        " this order.",
        snippets.IN_ORDER,
    ),
)

_UNDONE = Cause(
    "Each step moves them, and by the next one something has put them back.",
    "Look for what writes the weights between two steps: load_state_dict() or copy_() in the wrong direction (from a target network"
    " or an average of the weights onto the network), or a checkpoint that is loaded in every step.",
)

_UNDERFLOW = Cause(
    "In float16 what is below 6e-8 becomes 0, and the gradient of a mean over a batch is soon there.",
    'Keep the weights in float32 and let a gradient scaler multiply the loss (precision="16-mixed"), use bfloat16, which reaches down'
    " as far as float32 does, or look at what makes the loss so small: a weight or a division of the loss.",
)

_AFTER_ALL = Cause(
    "It is 0 at the last layer already: what computes the loss from the network's output lets no gradient through.",
    "Look between the output and the loss. If there is a clamp or another activation, remove it. A softmax or a cross-entropy over"
    " one output is the same whatever goes in: give it a logit per class, or use a sigmoid (binary_cross_entropy_with_logits)"
    " and check dim. round, argmax and comparisons are not differentiable. Or a factor of 0, or a loss that is 0 by its margin.",
)


def cause_of(still: Still, place: Layer | None, history: History) -> Cause:
    """Return why a network does not move.

    Args:
        still: how it stands still.
        place: the layer where its gradient ends, if it ends at one.
        history: up to now.
    """
    if still is Still.BLOCKED:
        return _blocked(place, history) if place is not None else _UNDERFLOW if _is_half(history) else _AFTER_ALL
    if still is Still.SHRUNK:
        return _shrunk(history)
    if still is Still.UNMOVED:
        return _unmoved(history)
    return _CAUSES[still]


_CAUSES = {
    Still.FROZEN: _FROZEN,
    Still.UNCONNECTED: _UNCONNECTED,
    Still.NO_RATE: _NO_RATE,
    Still.ZEROED: _ZEROED,
    Still.UNDONE: _UNDONE,
}


def _is_half(history: History) -> bool:
    """Say whether the network computes in float16, without a gradient scaler."""
    half = any(layer.dtype == "float16" and layer.weight for layer in history.structure.layers)
    return half and not history.last.loss_scaled


def died(place: Layer | None, history: History) -> Cause:
    """Return why a network that learned at first gets no gradient any more.

    Args:
        place: the layer where the gradient ends, or that is off for everything, if there is one.
        history: up to now.
    """
    if place is None:
        return _AFTER_ALL
    cause = _blocked(place, history)
    if is_output(place, history.structure) or place.role is not Role.ACTIVATION:
        return cause
    remedy, _, code = made_by_training.remedy(history, direction=1).partition("\n\n")
    return Cause(
        cause.why,
        snippets.advice(f"{remedy} If it dies again, use an activation that lets negative inputs pass.", code),
    )


def _blocked(place: Layer, history: History) -> Cause:
    """Return why the gradient ends at a layer."""
    at_end = is_output(place, history.structure)
    named = _named(place)
    activation = activation_called(place.kind)
    table = history.last.layer_table
    zeros = table.at(place.name, Quantity.ZERO_FRACTION) == 1
    constant = table.at(place.name, Quantity.VARIANCE) == 0
    if activation is not None and activation.shape is Shape.DISTRIBUTION and constant:
        return Cause(
            f"It ends at {named}, whose output is constant: a softmax over a single element is 1 for every input.",
            "Remove the softmax and use a sigmoid with the one output (binary_cross_entropy_with_logits does both), or give the"
            " network an output per class; otherwise take the softmax over the dimension that has several elements (dim=).",
        )
    if place.role is Role.NORMALISATION:
        return Cause(
            f"It ends at {named}, which normalises groups of one value each: its output does not depend on its input.",
            "Normalise over more than one value (another number of groups, another dimension), or remove the normalisation.",
        )
    if place.role is Role.WEIGHT and history.last.parameter_table.by_name(Quantity.WEIGHT_NORM).get(place.weight) == 0:
        return Cause(
            f"It ends at {named}, whose weights are all 0: nothing passes it, forward or back.",
            "Initialise it with random weights. Of two layers whose product is to start at 0 (an adapter) only one may be 0: the"
            " gradient of each is a product with the other.",
        )
    if "Dropout" in place.kind and zeros:
        return Cause(
            f"It ends at {named}, which drops everything.", "Lower p of this dropout: it is the share that is dropped."
        )
    off = (
        "is off for everything: what it receives is negative for every sample"
        if zeros
        else "is at its bound for everything"
    )
    why = f"It ends at {named}, which {off if activation is not None or zeros or constant else 'lets none through'}."
    if at_end:
        return Cause(
            why,
            f"Take it away: {named} is on the output of the network. Let the last layer output any number, and scale the targets"
            " to it, not the output to the targets.",
        )
    return Cause(
        why,
        f"Look at what {named} receives: a bias far from 0, an input or a weight that is far too large or negative throughout. Scale"
        " the input, set the bias to 0, or use another activation there (LeakyReLU).",
    )


def _named(layer: Layer) -> str:
    return f"{layer.name} ({layer.kind})" if layer.module == layer.name else layer.shown


def _shrunk(history: History) -> Cause:
    record = history.last
    moved, wanted = record.column(Quantity.UPDATE_RATIO), expected_updates(record)
    inside = (wanted > 0) & np.isfinite(moved)
    norms = record.column(Quantity.WEIGHT_GRADIENT_NORM)
    norm = float(np.sqrt(np.nansum(norms**2)))
    share = float(np.max(moved[inside] / wanted[inside])) if inside.any() else 0.0
    why = (
        f"A step is {phrases.part(share) if share > 0 else '0 of'} what rate and gradient give: between backward and step the gradient,"
        f" of norm {phrases.number(norm)}, is clipped (or divided) to almost nothing"
    )
    if epsilon_of(record.optimizer) is not None:
        return Cause(f"{why}, or the optimizer's eps is far larger.", unfit_steps.smaller_epsilon(history, share))
    sentence = "Clip at a typical gradient norm, for instance 1, or not at all; if a loss scale is divided out by hand, do it once."
    return Cause(f"{why}.", snippets.advice(sentence, "trainer = pl.Trainer(gradient_clip_val=1.0)"))


def not_stepped(record: StepRecord) -> Cause:
    """Return why no optimizer steps, in manual optimisation, as far as the gradients tell."""
    counts = (Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT, Quantity.GRADIENT_NONFINITE_COUNT)
    if any((np.nan_to_num(record.column(one)) > 0).any() for one in counts):
        return Cause(
            "The gradients are not finite, and the program leaves out the step of each such batch.",
            "If the loss is multiplied for half precision, divide its scale by 2 after each batch that overflows, as a gradient scaler"
            " does (precision='16-mixed'), or use bfloat16, which needs none; else look for what is not finite in the loss.",
        )
    return Cause(
        "In manual optimisation the program has to step.",
        snippets.advice(
            "Call .step() of the optimizer that self.optimizers() gives, after backward: look at the condition that it stands behind"
            " (a count of batches that never comes).",
            "optimizer = self.optimizers()\noptimizer.zero_grad()\nself.manual_backward(loss)\noptimizer.step()",
        ),
    )


def _unmoved(history: History) -> Cause:
    record = history.last
    wanted = expected_updates(record)
    wanted = wanted[np.isfinite(wanted) & (wanted > 0)]
    dtypes = {layer.dtype for layer in history.structure.layers if layer.weight}
    spacing = max((format_of(dtype).spacing for dtype in dtypes), default=0.0)
    if wanted.size and median(wanted) < spacing:
        return Cause(
            f"An update would be {phrases.part(median(wanted))} the size of a weight, and {' and '.join(sorted(dtypes))} tells"
            f" numbers apart to {phrases.number(spacing)} of their size: it is rounded away.",
            "Raise the learning rate, or keep the weights in float32 and compute in half precision"
            ' (precision="bf16-mixed").',
        )
    return Cause(
        "The optimizer's step changes none of them.",
        "Give the optimizer the parameters of this model and let it step: look at an optimizer_step that does not call"
        " optimizer.step(closure=...), at a clip norm that is far too small, at gradients that are set to 0 before the step, and"
        " at what writes the weights back after it (load_state_dict).",
    )
