"""What gets a gradient and does not learn by it: no optimizer has it, its optimizer never steps, no module registers it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from init_monitor.structure.provenance import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch.optim import Optimizer

DEEPEST = 3
"""Lists and dictionaries within one another that are looked into for what no module registers."""

LONGEST = 1024
"""Items of a list or dictionary up to which it may be one of layers; longer ones hold data."""

LOOKED_AT = 16
"""Parameters whose gradients are compared with those of the step before: zeroing leaves none of them out."""

_REGISTERED = frozenset({"_parameters", "_buffers", "_modules"})


class LeftOut:
    """Keeps, without reading a single element, what is known of tensors that may not learn.

    That a tensor was written in place is told by its version counter, which every optimizer of torch's moves.

    Args:
        model: its modules are searched for what they hold and do not register.
        parameters: of the model, by qualified name.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        self._model = model
        self._parameters = parameters
        self._known = frozenset(map(id, parameters.values()))
        self._versions = {name: version_of(p) for name, p in parameters.items()}
        self._with_gradient: set[str] = set()
        self._stepped: set[int] = set()
        self._leaves: dict[int, tuple[weakref.ref[Tensor], int, str]] = {}
        self._gradients: dict[str, tuple[weakref.ref[Tensor], int]] = {}
        self.held = True
        """Some optimizer holds some parameter of the model, as far as is known."""
        self.kept_gradients = False
        """The gradients of the step before were still there when those of this step were added."""

    def note_step(self, optimizer: object) -> None:
        """Say that an optimizer is about to step, in a measured step or any other."""
        self._stepped.add(id(optimizer))

    def note_leaves(self, leaves: Iterable[weakref.ref[Tensor]]) -> None:
        """Take the tensors that a forward used, that require a gradient, and that no operation made.

        Those that the model holds somewhere without registering them are kept in mind.
        """
        strange: dict[int, Tensor] = {}
        for ref in leaves:
            leaf = ref()
            key = id(leaf)
            if leaf is not None and key not in self._known and key not in self._leaves and leaf.requires_grad:
                strange[key] = leaf
        if not strange:
            return
        named = {id(tensor): name for name, tensor in _unregistered(self._model) if id(tensor) in strange}
        for key, tensor in strange.items():
            # One that is found nowhere (data that requires a gradient) gets no name, and is not looked for again.
            self._leaves[key] = (weakref.ref(tensor), version_of(tensor), named.get(key, ""))

    def look(self) -> None:
        """Look at which parameters have a gradient, just before an optimizer steps."""
        newest: dict[str, tuple[weakref.ref[Tensor], int]] = {}
        before, kept = self._gradients, 0
        for name, parameter in self._parameters.items():
            gradient = parameter.grad
            if gradient is None:
                continue
            self._with_gradient.add(name)
            if len(newest) < LOOKED_AT:
                newest[name] = (weakref.ref(gradient), version_of(gradient))
                was, version = before.get(name, (None, 0))
                # One write since then: what this backward added. To zero it would have been another.
                kept += was is not None and was() is gradient and version_of(gradient) == version + 1
        self.kept_gradients = bool(newest) and kept == len(newest)
        self._gradients = newest

    def facts(self, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
        """Return all that is known of it, as a :class:`~init_monitor.records.StepRecord` has it."""
        return {
            "unoptimized": self.unoptimized(optimizers),
            "unstepped": self.unstepped(optimizers),
            "unregistered": self.unregistered(optimizers),
            "kept_gradients": self.kept_gradients,
            "weight_dtype": self.weight_dtype(),
        }

    def weight_dtype(self) -> str:
        """Return the number format of all trainable weights; empty if they differ, or if an optimizer may hold others of them."""
        held = {p.dtype for p in self._parameters.values() if p.dim() > 1 and p.requires_grad and p.is_floating_point()}
        return str(held.pop()).removeprefix("torch.") if len(held) == 1 and self.held else ""

    def unoptimized(self, optimizers: Iterable[Optimizer]) -> tuple[str, ...]:
        """Return the names of the trainable parameters that none of the optimizers holds; none if they hold none.

        An optimizer that holds no parameter of the model may have its own (flattened, sharded) ones: nothing is known then.
        """
        held = {id(p) for p in _parameters_of(optimizers)}
        self.held = not held or not held.isdisjoint(self._known)
        if not held or not self.held or held >= self._known:
            return ()
        return tuple(name for name, p in self._parameters.items() if p.requires_grad and id(p) not in held)

    def unstepped(self, optimizers: Iterable[Optimizer]) -> tuple[str, ...]:
        """Return the names of the parameters that had a gradient and were never written, and whose optimizers never stepped."""
        given = tuple(optimizers)
        waiting = {id(p) for p in _parameters_of(o for o in given if id(o) not in self._stepped)}
        if not waiting:
            return ()
        waiting -= {id(p) for p in _parameters_of(o for o in given if id(o) in self._stepped)}
        return tuple(
            name
            for name, p in self._parameters.items()
            if id(p) in waiting
            and p.requires_grad
            and name in self._with_gradient
            and version_of(p) == self._versions[name]
        )

    def unregistered(self, optimizers: Iterable[Optimizer]) -> tuple[str, ...]:
        """Return where the tensors are that got a gradient, that no module registers, and that nobody has written."""
        names: list[str] = []
        if not self._leaves:
            return ()
        held = {id(p) for p in _parameters_of(optimizers)}
        for key, (ref, version, name) in list(self._leaves.items()):
            leaf = ref()
            if leaf is None:
                del self._leaves[key]  # its id is free for another
            elif name and key not in held and leaf.grad is not None and version_of(leaf) == version:
                names.append(name)
        return tuple(names)


def _parameters_of(optimizers: Iterable[Optimizer]) -> Iterator[Tensor]:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            yield from group["params"]


def _unregistered(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield, with where it is, every tensor that a module of the model holds in an attribute of its own, a list or a dict."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in _REGISTERED:
                yield from _within(f"{path}.{name}" if path else name, value, DEEPEST)


def _within(name: str, value: object, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        for own, parameter in value.named_parameters():
            yield f"{name}.{own}", parameter
    elif not isinstance(value, (dict, list, tuple)) or not depth or len(value) > LONGEST:
        return
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _within(f"{name}[{key!r}]", item, depth - 1)
    else:
        for position, item in enumerate(value):
            yield from _within(f"{name}[{position}]", item, depth - 1)
