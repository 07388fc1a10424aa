"""Activations that are called as functions: ``F.relu``, ``torch.tanh``, ``x.clamp_min(0)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.activations import ACTIVATIONS
from init_monitor.structure.derivation import argument

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.structure.operations import Operation

_KINDS: dict[str, str] = {name: row.functions[0] for row in ACTIVATIONS for name in row.functions}
_CLAMPS = frozenset({"clamp", "clip", "clamp_min"})

RELU6_CEILING = 6
"""Upper bound of ReLU6 (Krizhevsky 2010)."""


def activation_of(operation: Operation, args: Sequence[object], kwargs: Mapping[str, object]) -> str | None:
    """Return the kind of activation that a call is, as torch.nn.functional names it, or ``None``."""
    kind = _KINDS.get(operation.name)
    if kind is not None or operation.name not in _CLAMPS:
        return kind
    low = argument(args, kwargs, 1, "min")
    high = None if operation.name == "clamp_min" else argument(args, kwargs, 2, "max")
    if not isinstance(low, (int, float)) or low != 0:
        return None
    if high is None:
        return "relu"
    return "relu6" if isinstance(high, (int, float)) and high == RELU6_CEILING else None
