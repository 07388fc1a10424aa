"""A tap: one output tensor of one call of one layer, and the rows its numbers go to."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.measures import Layout
    from init_monitor.records import Role
    from init_monitor.structure.nonlinearities import Nonlinearity


class TapKey(NamedTuple):
    """What makes a tap: layer name, which call of it within a forward (from 0), which tensor of its output."""

    layer: str
    call: int
    path: str


@dataclass(slots=True, eq=False)
class Tap:
    """One measured stream, known from its first appearance on.

    Attributes:
        key: its identity.
        module: the layer (kept by the model; a tap lives no longer than the capture).
        role: what the layer is for.
        nonlinearity: properties of an activation, else ``None``.
        accumulator: of the device its tensors live on.
        forward, backward, arrived: rows of the output, its gradient and its input; -1 until needed.
        layout: samples and units of its output.
        feeds: the taps whose tensors it received, in order of appearance.
        values_from: the tap whose tensor it received unchanged (its moments are those of the input), or ``None``.
        dtype: format of the output.
        per_distribution: elements of one distribution, for a softmax.
    """

    key: TapKey
    module: nn.Module
    role: Role
    nonlinearity: Nonlinearity | None
    accumulator: Accumulator
    forward: int
    backward: int
    arrived: int = -1
    layout: Layout | None = None
    feeds: dict[TapKey, Tap] = field(default_factory=dict)
    values_from: Tap | None = None
    dtype: str = "float32"
    per_distribution: int = 1


class Origin(NamedTuple):
    """Where a tensor came from: the tap, the tensor's version then, and whether its values are still the tap's."""

    tap: Tap
    version: int
    same_values: bool


class Provenance:
    """Remembers, within one forward, which tap made which tensor, without keeping any tensor alive."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._origins: dict[int, tuple[weakref.ref[Tensor], Origin]] = {}

    def clear(self) -> None:
        """Forget everything, at the end of a forward."""
        self._origins.clear()

    def note(self, tensor: Tensor, tap: Tap, *, same_values: bool = True) -> None:
        """Remember that ``tap`` made ``tensor`` (or, with ``same_values=False``, something derived from it)."""
        origin = Origin(tap, tensor._version, same_values)  # noqa: SLF001 - the only way to see an in-place change
        self._origins[id(tensor)] = (weakref.ref(tensor), origin)

    def find(self, tensor: Tensor) -> Origin | None:
        """Return where a tensor came from, or ``None``. Its values are the tap's if ``same_values`` still holds."""
        entry = self._origins.get(id(tensor))
        # The id of a freed tensor is given to new ones: the weak reference tells.
        if entry is None or entry[0]() is not tensor:
            return None
        origin = entry[1]
        unchanged = origin.same_values and origin.version == tensor._version  # noqa: SLF001
        return Origin(origin.tap, origin.version, unchanged)
