"""Wrappers that frameworks put around a model and its optimizers, recognised by what they hold, not by their package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.optim import Optimizer

if TYPE_CHECKING:
    from torch import nn

DEEPEST = 8
"""Nested wrappers that are looked through; no framework uses more than three."""

_INSIDE = ("_original_module", "module")
"""Where Fabric and where DistributedDataParallel keep the module they were given."""

_DISTRIBUTED = "DistributedDataParallel"


def own_module(model: nn.Module) -> nn.Module:
    """Return the user's module inside the wrappers of Fabric's ``setup`` and of DistributedDataParallel.

    The names of its layers are then those the user gave, and it is called whenever the wrapper is. DataParallel, which
    calls copies of it instead, is left as it is.

    >>> from torch import nn
    >>> plain = nn.Linear(2, 2)
    >>> own_module(plain) is plain
    True
    """
    for _ in range(DEEPEST):
        # named_children() leaves out the second name of one module, and Fabric has one module by two names.
        children = {name: child for name, child in model._modules.items() if child is not None}  # noqa: SLF001
        fabric = "_forward_module" in children and "_original_module" in children
        if not fabric and type(model).__name__ != _DISTRIBUTED:
            break
        model = next(children[name] for name in _INSIDE if name in children)
    return model


def own_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return the torch optimizer inside the wrappers of Fabric and of Accelerate: the one whose ``step`` is run."""
    for _ in range(DEEPEST):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            break
        optimizer = inner
    return optimizer
