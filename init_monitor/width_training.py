"""One network trained for a few steps on one batch, and the sizes of its outputs and of what each step changes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from init_monitor.capture.single_pass import forward, loss_of
from init_monitor.capture.tensors import floating_tensors
from init_monitor.records import Role
from init_monitor.structure.fans import is_matrix
from init_monitor.structure.layers import role_of, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

OUTPUT = "output"
"""What the row of the network's own output is called."""
EVERY_LAYER = 1 << 20
NAMED = "coordinate_check(make, widths)"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Root mean squares of one layer in one training: see :class:`init_monitor.analysis.width_growth.LayerGrowth`."""

    start: float
    after: float
    change: float
    own: float
    given: float
    taken: float


@dataclass(slots=True)
class _Call:
    """A layer's call in one forward: what it took and what it made, both copied."""

    module: nn.Module | None
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    output: Tensor


@dataclass(slots=True)
class _Course:
    """What one layer showed over the steps, as sums of squares."""

    start: float = math.nan
    taken: float = math.nan
    after: float = math.nan
    change: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    given: list[float] = field(default_factory=list)

    def sizes(self) -> Sizes:
        change, own, given = (_root_mean(squares) for squares in (self.change, self.own, self.given))
        return Sizes(math.sqrt(self.start), math.sqrt(self.after), change, own, given, math.sqrt(self.taken))


def train(  # noqa: PLR0913 - what a training consists of
    model: nn.Module,
    optimizer: Optimizer,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None,
    *,
    steps: int,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Sizes]:
    """Train on one batch and return the sizes by layer, in execution order, the output last.

    Every forward starts from the same random state, so that dropout takes the same elements out: what changes is the training.

    Args:
        model: trained in place.
        optimizer: of its parameters.
        batch: a tensor, ``(input, target)`` or a mapping.
        loss_fn: as :func:`init_monitor.check` takes it.
        steps: optimizer steps.
        include: see :class:`init_monitor.InitMonitor`; a container that is named is watched, too.
        exclude: likewise.
        seed: of the random state of every forward.
    """
    model.train()
    chosen = select(model, include, exclude, EVERY_LAYER).layers
    watched = {name: module for name, module in chosen.items() if include or role_of(module) is Role.WEIGHT}
    courses: dict[str, _Course] = {}
    before: dict[str, _Call] = {}
    for step in range(steps + 1):
        torch.manual_seed(seed)
        calls: dict[str, _Call] = {}
        handles = _hooked(watched, calls)
        try:
            with torch.set_grad_enabled(step < steps):
                output, target = forward(model, batch)
        finally:
            for handle in handles:
                handle.remove()
        for _, tensor in floating_tensors(output):
            calls[OUTPUT] = _Call(None, (), {}, _copied(tensor))
            break
        for name, call in calls.items():
            _followed(courses.setdefault(name, _Course()), call, before.get(name), seed)
        before = calls
        if step < steps:
            loss = loss_of(output, target, loss_fn, NAMED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: course.sizes() for name, course in _output_last(courses)}


def grown_side(shapes: Sequence[tuple[tuple[int, ...], bool]]) -> str:
    """Say which sides of a weight grow from one width to the next: ``hidden``, ``input``, ``output`` or ``fixed``.

    >>> grown_side([((64, 8), False), ((128, 8), False)])
    'input'

    Args:
        shapes: of the weight at two or more widths, each with whether its first dimension is what it takes (a table of
            embeddings, a transposed convolution).
    """
    made = {shape[1] if turned else shape[0] for shape, turned in shapes}
    took = {shape[0] if turned else math.prod(shape[1:]) for shape, turned in shapes}
    return {(True, True): "hidden", (True, False): "input", (False, True): OUTPUT, (False, False): "fixed"}[
        (len(made) > 1, len(took) > 1)
    ]


def weight_shape(module: nn.Module) -> tuple[tuple[int, ...], bool] | None:
    """Return the shape of the first weight of a layer that mixes units, and whether it starts with what it takes."""
    turned = isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.modules.conv._ConvTransposeNd))  # noqa: SLF001
    found = (tuple(parameter.shape) for parameter in module.parameters() if is_matrix(parameter.shape))
    shape = next(found, None)
    return None if shape is None else (shape, turned or type(module).__name__ == "Conv1D")


def _hooked(watched: dict[str, nn.Module], calls: dict[str, _Call]) -> list[RemovableHandle]:
    def hook(name: str, module: nn.Module) -> RemovableHandle:
        def keep(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: object) -> None:
            # What follows may write into the output, and what came before into the input: both are copied now.
            tensor = next((tensor for _, tensor in floating_tensors(output)), None)
            if tensor is None:
                return
            number = sum(known.partition("#")[0] == name for known in calls)
            took = tuple(_copied(one) for one in arguments), {key: _copied(one) for key, one in keywords.items()}
            calls[f"{name}#{number + 1}" if number else name] = _Call(module, *took, _copied(tensor))

        return module.register_forward_hook(keep, with_kwargs=True)

    return [hook(name, module) for name, module in watched.items()]


def _followed(course: _Course, now: _Call, before: _Call | None, seed: int) -> None:
    """Add what a forward showed; ``before`` is the same call in the forward before the step."""
    course.after = _square(now.output)
    if before is None:
        course.start = course.after
        course.taken = _mean([_square(one) for one in _inputs(now)])
        return
    if before.output.shape != now.output.shape:
        return  # it returned something else this time
    course.change.append(_square(now.output - before.output))
    pairs = [(a, b) for a, b in zip(_inputs(now), _inputs(before), strict=False) if a.shape == b.shape]
    course.given.append(_mean([_square(a - b) for a, b in pairs]))
    if now.module is None:
        return
    # The layer as it is now on what it took before the step.
    torch.manual_seed(seed)
    with torch.no_grad():
        again = now.module.forward(*before.arguments, **before.keywords)
    tensor = next((tensor for _, tensor in floating_tensors(again)), None)
    if tensor is not None:
        course.own.append(_square(tensor - before.output))


def _inputs(call: _Call) -> list[Tensor]:
    return [tensor for _, tensor in floating_tensors((call.arguments, call.keywords))]


def _copied(value: Any) -> Any:  # noqa: ANN401 - whatever a layer takes
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in {tuple, list}:
        return type(value)(map(_copied, value))
    return value


def _square(tensor: Tensor) -> float:
    """Return the mean square; 0 for no elements, in double precision because a square overflows before its root does."""
    return float(tensor.double().square().mean()) if tensor.numel() else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _root_mean(squares: list[float]) -> float:
    return math.sqrt(_mean(squares))


def _output_last(courses: dict[str, _Course]) -> Iterator[tuple[str, _Course]]:
    yield from ((name, course) for name, course in courses.items() if name != OUTPUT)
    if OUTPUT in courses:
        yield OUTPUT, courses[OUTPUT]
