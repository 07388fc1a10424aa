"""What an optimizer does to the scale of a gradient: some divide it out, down to their epsilon."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EPSILON: Mapping[str, float] = MappingProxyType(
    {
        "adafactor": 1e-15,
        "adagrad": 1e-10,
        "adadelta": 1e-3,
        "adam": 1e-8,  # also AdamW, NAdam, RAdam, Adamax, and their 8-bit and fused versions
        "rmsprop": 1e-8,
        "lamb": 1e-6,
        "lion": 0.0,
        "rprop": 0.0,
        "signsgd": 0.0,
    }
)
"""Optimizers that divide each gradient by its own size, by a part of their class name, with the default of what they
add to that size (as a gradient rms: the root where epsilon is added to squares). Below it, nothing is rescaled."""

_IN_TORCH = frozenset(
    {
        "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD",
    }
)  # fmt: skip
"""Optimizers of torch.optim that need nothing but parameters and a learning rate."""


def epsilon_of(optimizer: str) -> float | None:
    """Return the gradient rms below which ``optimizer`` rescales no more; ``None`` if it does not rescale at all.

    Of several (comma-separated) the largest counts; if one of them does not rescale, the answer is ``None``.

    >>> epsilon_of("AdamW"), epsilon_of("Lion"), epsilon_of("SGD"), epsilon_of("Adam, SGD")
    (1e-08, 0.0, None, None)
    """
    found = []
    for name in optimizer.casefold().split(","):
        epsilon = next((value for key, value in EPSILON.items() if key in name), None)
        if epsilon is None:
            return None
        found.append(epsilon)
    return max(found)


def optimizer_code(optimizer: str, rate: float, more: str = "") -> str:
    """Return code that rebuilds the optimizer over every parameter of ``model``; empty if it is not torch's own.

    ``more`` is written after the rate: ``", eps=1e-4"``.

    >>> print(optimizer_code("SGD", 0.01))
    import torch
    <BLANKLINE>
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # keep its other arguments
    >>> optimizer_code("Shampoo", 0.01)
    ''
    """
    if optimizer not in _IN_TORCH or not rate > 0:
        return ""
    made = f"optimizer = torch.optim.{optimizer}(model.parameters(), lr={rate:g}{more})"
    return f"import torch\n\n{made}  # keep its other arguments"
