"""Find the floating tensors inside whatever a module returns or receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 4
"""Levels of nesting that are looked into: an LSTM's ``(out, (h, c))`` has two."""


def floating_tensors(value: object, path: str = "", around: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Yield ``(path, tensor)`` for every real floating tensor in tensors, sequences, mappings and dataclasses.

    Args:
        value: what a module returned or received.
        path: where it is in what that is part of.
        around: ``id`` of what it is in, outermost first: a list may contain itself.

    >>> import torch
    >>> [path for path, _ in floating_tensors((torch.ones(1), {"h": torch.ones(1), "n": torch.ones(1).int()}))]
    ['[0]', '[1][h]']
    """
    if isinstance(value, Tensor):
        if _readable(value):
            yield path, value
        return
    if len(around) >= DEEPEST or id(value) in around:
        return
    items: Iterator[tuple[object, object]]
    if isinstance(value, Mapping):
        items = iter(value.items())
    elif isinstance(value, (tuple, list)):
        items = iter(enumerate(value))
    elif is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name, None)) for f in fields(value))
    else:
        return
    for key, item in items:
        yield from floating_tensors(item, f"{path}[{key}]", (*around, id(value)))


def _readable(tensor: Tensor) -> bool:
    return (
        tensor.is_floating_point()
        and tensor.layout == torch.strided
        and not (tensor.is_meta or tensor.is_nested or _wrapped(tensor))
    )


TOO_DEEP = "too deep"
"""What :func:`unreadable` says of a value whose tensors, if it has any, lie below the levels that are looked into."""


def unreadable(value: object, depth: int = 0) -> str:
    """Return, in a word, what keeps the tensors of a value that has no readable one from being measured, or ``""``.

    >>> import torch
    >>> unreadable((None, torch.eye(2).to_sparse())), unreadable(torch.ones(2)), unreadable(torch.ones(2).int())
    ('sparse', '', '')
    >>> unreadable([[[[[torch.ones(2)]]]]])
    'too deep'
    """
    if isinstance(value, (tuple, list)):
        if depth >= DEEPEST:
            return TOO_DEEP if value else ""
        return next(filter(None, (unreadable(item, depth + 1) for item in value)), "")
    return _unreadable_kind(value) if isinstance(value, Tensor) else ""


def _unreadable_kind(tensor: Tensor) -> str:
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_complex():
        return "complex"
    return "sparse" if tensor.layout != torch.strided and tensor.is_floating_point() else ""


@cache
def name_of(dtype: torch.dtype) -> str:
    """Return a number format's name: ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def local(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor that is spread over several (a ``DTensor``); any other as it is.

    Operations on the whole would be collectives, which no hook may start.
    """
    return tensor if type(tensor) in _PLAIN or not hasattr(tensor, "to_local") else tensor.to_local()


_PLAIN = frozenset({Tensor, torch.nn.Parameter})


def _wrapped(tensor: Tensor) -> bool:
    """Say whether ``torch.func`` (vmap, grad) stands between the tensor and its elements: it may not leave its call."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # noqa: SLF001 - no public way to ask


def is_given(tensor: Tensor) -> bool:
    """Say whether a tensor is given to the network rather than made or learned by it.

    Data may ask for a gradient (an equation of motion, an adversarial example): it is then a leaf, but no parameter.
    """
    return not tensor.requires_grad or (tensor.is_leaf and not isinstance(tensor, nn.Parameter))


def first_floating(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Tensor | None:
    """Return the first floating tensor a module was called with, positional arguments first."""
    if args and isinstance(args[0], Tensor) and _readable(args[0]):
        return args[0]
    for _, tensor in floating_tensors(args):
        return tensor
    for _, tensor in floating_tensors(kwargs):
        return tensor
    return None


def bare_tensors(first: Tensor | None, args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[Tensor]:
    """Return the tensors that a module was called with as such, ``first`` before the others.

    Numbers of rows and the like only where nothing floats. What comes inside of a dictionary or another object is left
    out: which of it the module uses is not said by that.
    """
    if len(args) == 1 and args[0] is first and not kwargs:
        return [first] if first is not None else []
    found = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    if first is None:
        return found
    if not any(value is first for value in found):
        return []
    return [first, *(value for value in found if value is not first and value.is_floating_point())]
