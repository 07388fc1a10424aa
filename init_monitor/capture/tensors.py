"""Find the floating tensors inside whatever a module returns or receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 4
"""Levels of nesting that are looked into: an LSTM's ``(out, (h, c))`` has two."""


def floating_tensors(value: object, path: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield ``(path, tensor)`` for every real floating tensor in tensors, sequences, mappings and dataclasses.

    >>> import torch
    >>> [path for path, _ in floating_tensors((torch.ones(1), {"h": torch.ones(1), "n": torch.ones(1).int()}))]
    ['[0]', '[1][h]']
    """
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.layout == torch.strided and not value.is_meta and not _wrapped(value):
            yield path, value
        return
    if depth >= DEEPEST:
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
        yield from floating_tensors(item, f"{path}[{key}]", depth + 1)


def unreadable(value: object) -> str:
    """Return, in a word, what keeps the tensors of a value that has no readable one from being measured, or ``""``.

    >>> import torch
    >>> unreadable((None, torch.eye(2).to_sparse())), unreadable(torch.ones(2)), unreadable(torch.ones(2).int())
    ('sparse', '', '')
    """
    if isinstance(value, (tuple, list)):
        return next(filter(None, map(unreadable, value)), "")
    if not isinstance(value, Tensor):
        return ""
    if value.is_nested:
        return "nested"
    if value.is_quantized:
        return "quantised"
    if value.is_complex():
        return "complex"
    return "sparse" if value.layout != torch.strided and value.is_floating_point() else ""


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
    for _, tensor in floating_tensors(args):
        return tensor
    for _, tensor in floating_tensors(kwargs):
        return tensor
    return None
