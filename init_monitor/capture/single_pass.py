"""A rehearsal: one forward and one backward of a network that does not train; everything is restored afterwards."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer

from init_monitor.capture.capture import Capture
from init_monitor.capture.scope import Scope
from init_monitor.capture.step_facts import StepFacts
from init_monitor.capture.tensors import floating_tensors
from init_monitor.errors import InitMonitorError, InitMonitorWarning
from init_monitor.randomness import kept_randomness
from init_monitor.structure.layers import modules_by_name
from init_monitor.torch_compat import eager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from init_monitor.records import StepRecord, Structure

COTANGENT_SEED = 0
"""Seed of the stand-in for a loss gradient, drawn from a generator of its own."""

ORTHOGONAL = 1e-5
"""Part of the products of weights and gradients up to which their sum is rounding, in float32: what float32 adds up to 0 of thousands
of elements. Of weights and gradients that have nothing to do with each other, a hundredth is left."""

EVERY_LAYER = 1 << 20
"""Layers that a rehearsal measures at most: it happens once, so none is left out."""


class Rehearsal(NamedTuple):
    """What one forward (and backward) showed.

    Attributes:
        structure: the network.
        record: what was measured.
        loss: of the batch; NaN where noise stood in for it.
        scale_free: paths of the modules whose output could have any scale without a change of the loss.
    """

    structure: Structure
    record: StepRecord
    loss: float = math.nan
    scale_free: frozenset[str] = frozenset()


def rehearse(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None = None,
    *,
    caller: str,
    backward: bool = True,
) -> Rehearsal:
    """Run a network once in train mode and measure every layer; weights, gradients, buffers and random state stay.

    Args:
        model: any module.
        batch: a tensor, or ``(input, target)``, or a mapping of keyword arguments.
        loss_fn: see :func:`loss_of`.
        caller: what the user called, for error texts.
        backward: back-propagate as well; without it no gradient is measured.

    Raises:
        InitMonitorError: there is nothing to back-propagate from, or ``loss_fn`` returned no single number.
        TypeError: ``model`` is no module.
    """
    if not isinstance(model, nn.Module):
        message = f"{caller} needs a torch.nn.Module as its model, got {type(model).__name__}."
        raise TypeError(message)

    def failed(name: str, error: Exception) -> None:
        warnings.warn(f"init_monitor: measuring {name!r} failed: {error}", InitMonitorWarning, stacklevel=2)

    def unseen(cause: str) -> None:
        message = f"init_monitor: residuals and functional activations are not fully seen. {cause}"
        warnings.warn(message, InitMonitorWarning, stacklevel=2)

    capture = Capture(model, Scope(max_layers=EVERY_LAYER), failed, unseen)
    seen, free = math.nan, frozenset[str]()
    with untouched(model), torch.enable_grad(), eager():
        model.train()
        capture.open_step()
        try:
            output, target = forward(model, batch)
            capture.end_forward()
            if backward:
                loss = loss_of(output, target, loss_fn, caller)
                if loss.requires_grad:
                    loss.backward()
                    free = _scale_free(model)
                if loss_fn is not None or getattr(output, "loss", None) is loss:
                    seen = float(loss.detach())
            with torch.no_grad():
                capture.measure_parameters()
                capture.end_batch()
                record = capture.record(capture.close_step(), StepFacts(step=0))
        except BaseException:
            capture.abort()
            raise
    return Rehearsal(capture.structure, record, seen, free)


def forward(model: nn.Module, batch: Any) -> tuple[object, object]:  # noqa: ANN401
    """Call a model with a batch and return its output and the batch's target, ``None`` if it has none."""
    if isinstance(batch, Mapping):
        return model(**batch), None
    if isinstance(batch, (tuple, list)):
        return model(batch[0]), (batch[1] if len(batch) > 1 else None)
    return model(batch), None


def loss_of(output: object, target: object, loss_fn: Callable[..., Tensor] | None, caller: str) -> Tensor:
    """Return one number to back-propagate from.

    Args:
        output: of the model.
        target: of the batch, ``None`` if it has none.
        loss_fn: ``loss_fn(output, target)``, or ``loss_fn(output)`` without a target. Without it the gradient that
            enters at the output is standard normal noise over its size, as of a mean loss.
        caller: what the user called, for error texts.

    Raises:
        InitMonitorError: ``loss_fn`` returned no single number, or the output has no floating tensor.
    """
    if loss_fn is not None:
        loss: object = loss_fn(output) if target is None else loss_fn(output, target)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            shape = f" of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else ""
            message = (
                f"{caller}: loss_fn returned {type(loss).__name__}{shape}, expected a tensor with one"
                " number. Reduce it, for instance with .mean()."
            )
            raise InitMonitorError(message)
        return loss
    own = getattr(output, "loss", None)
    if isinstance(own, torch.Tensor):
        return own
    tensors = [tensor for _, tensor in floating_tensors(output)]
    if not tensors:
        message = (
            f"{caller}: the forward returned {type(output).__name__} without a floating tensor, so there is"
            " nothing to go back from. Give loss_fn=."
        )
        raise InitMonitorError(message)
    total = torch.zeros((), device=tensors[0].device)
    for tensor in tensors:
        generator = torch.Generator().manual_seed(COTANGENT_SEED)
        noise = torch.randn(tensor.shape, generator=generator).to(tensor)
        total = total + (tensor * noise).sum().to(total.device) / max(1, tensor.numel())
    return total


def _scale_free(model: nn.Module) -> frozenset[str]:
    """Return the modules along whose parameters the gradient has no part, so that a factor on them all changes nothing.

    What does not depend on the scale of x has a gradient that is orthogonal to x (Euler's theorem on homogeneous functions), and a
    layer's output has the scale of its weight and bias together.
    """
    free = set[str]()
    for name, module in modules_by_name(model).items():
        own = [
            p
            for p in module.parameters(recurse=False)
            if p.is_floating_point() and p.grad is not None and not p.grad.is_sparse
        ]
        if not any(p.dim() > 1 for p in own):
            continue
        products = [(p.detach() * p.grad).double() for p in own if p.grad is not None]
        along, size = sum(float(x.sum()) for x in products), sum(float(x.abs().sum()) for x in products)
        if abs(along) <= ORTHOGONAL * size > 0:
            free.add(name)
    return frozenset(free)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Restore gradients, buffers, modes and random state on exit."""
    modes = {module: module.training for module in model.modules()}
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    # By module and name: a forward may replace a buffer by another tensor. A lazy one has no values yet.
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modes
        for name, buffer in module.named_buffers(recurse=False)
        if not isinstance(buffer, UninitializedBuffer)
    ]
    for parameter in gradients:
        parameter.grad = None
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with kept_randomness(), torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            for parameter, gradient in gradients.items():
                parameter.grad = gradient
            with torch.no_grad():
                for module, name, buffer, value in buffers:
                    buffer.copy_(value)
                    setattr(module, name, buffer)
