"""Which module calls are losses: what is computed in them is no part of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from init_monitor.records import Role
from init_monitor.structure.layers import role_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import nn


_NESTING = 4
"""Levels of an output that are looked into: a list may go down thousands, or contain itself."""


def is_loss(module: nn.Module, output: object, known: Collection[int]) -> bool:
    """Return True for a module that makes single numbers, and has no trainable layer inside that could be a network's.

    A weight of its own (class centres, proxies) does not make a loss a network. A critic is a network, because it
    consists of layers; a network with frozen weights that compares pictures is a loss.

    Args:
        module: that was called.
        output: what it returned.
        known: ``id`` of the modules that turned out to be losses in this forward: one may wrap another.
    """
    if isinstance(output, Tensor) and output.dim():
        return False
    return _numbers_only(output) and not any(
        role_of(inner) is Role.WEIGHT and any(p.requires_grad for p in inner.parameters())
        for inner in module.modules()
        if inner is not module and id(inner) not in known
    )


def _numbers_only(output: object, nesting: int = _NESTING) -> bool:
    if isinstance(output, Tensor):
        return output.dim() == 0 and output.is_floating_point()
    values = tuple(output.values()) if isinstance(output, Mapping) else output
    if not nesting or not isinstance(values, (tuple, list)) or not values:
        return False
    return all(_numbers_only(value, nesting - 1) for value in values)
