"""Activations that are called as functions: ``F.relu``, ``torch.tanh``, ``x.clamp_min(0)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.activations import ACTIVATIONS
from init_monitor.structure.derivation import argument
from init_monitor.structure.nodes import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.structure.nodes import Node
    from init_monitor.structure.operations import Operation

_KINDS: dict[str, str] = {name: row.functions[0] for row in ACTIVATIONS for name in row.functions}
_CLAMPS = frozenset({"clamp", "clip", "clamp_min"})

RELU6_CEILING = 6
"""Upper bound of ReLU6 (Krizhevsky 2010)."""


def sine_behind(node: Node) -> tuple[object, float] | None:
    """Return the layer whose output a sine takes, and the number that it was multiplied by before; ``None`` if there is none.

    A frequency that is learned or differs between units is not known; then nothing is said, nor of a sine of no layer's output.

    Args:
        node: its input.
    """
    frequency = 1.0
    while (
        node.maker is None
        and node.kind in {Kind.CARRY, Kind.SCALE}
        and node.main is not None
        and node.factor is not None
    ):
        frequency *= node.factor
        node = node.main
    return None if node.maker is None or not frequency > 0 else (node.maker, frequency)


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
