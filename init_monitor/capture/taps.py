"""A tap: one output tensor of one call of one layer, and the rows its numbers go to."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.measures import MOMENTS, Reduction
from init_monitor.structure.fans import Fans
from init_monitor.structure.provenance import version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.measures import Layout
    from init_monitor.records import Role
    from init_monitor.structure.nonlinearities import Nonlinearity
    from init_monitor.structure.sites import MixingSite

NO_FANS = Fans()

NOWHERE = -1
"""The number of a row that was not made."""


class Rows(NamedTuple):
    """Where the numbers of one tensor are: of its values, and of its gradient (``NOWHERE`` if it is not followed)."""

    accumulator: Accumulator
    forward: int = NOWHERE
    backward: int = NOWHERE


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
        module: the layer (kept by the model; a tap lives no longer than the capture), ``None`` for a function.
        owner: path of the module: of the layer, or of the one whose forward called the function.
        kind: class name of the module, or name of the function.
        role: what the layer is for.
        nonlinearity: properties of an activation, else ``None``.
        rows: of the output and its gradient.
        arrived: row of its input; ``NOWHERE`` until needed.
        layout: samples and units of its output.
        laid_out_for: rank of the output, and layout of what it received, that ``layout`` was made for.
        feeds: the taps that what it received was computed from with no layer between, in execution order.
        direct: the tap whose tensor it received, moved, thinned or pooled at most; ``None`` if there was more between.
        source: rows of the tensor it received, if that was measured and not changed since.
        source_is_layer: False if that tensor is a residual sum, whose gradient is never this layer's alone.
        dtype: format of the output.
        per_distribution: elements of one distribution, for a softmax.
        takes_input: it received data that no layer computed.
        takes_own: it received what was computed from parameters and constants.
        products: how many products ``x * F(x)`` in a row lie before it.
        own: what of the model it uses, for a function; a module knows for itself.
        fans: terms that its weight sums.
        one_value: it normalises groups of a single value.
        running: it normalises by its running mean and variance, in eval mode.
        reduction: what is reduced of its output.
        frequency: what its output is multiplied by before a sine takes it; 0 if none does.
        compared: its output is compared with another, or with itself, and not with data.
        times: the tap whose output its own is multiplied with, for an answer that is compared with data; ``None`` if there is none.
    """

    key: TapKey
    module: nn.Module | None
    owner: str
    kind: str
    role: Role
    nonlinearity: Nonlinearity | None
    rows: Rows
    arrived: int = NOWHERE
    layout: Layout | None = None
    laid_out_for: tuple[int, Layout | None] | None = None
    feeds: list[Tap] = field(default_factory=list)
    source: Rows | None = None
    source_is_layer: bool = False
    dtype: str = "float32"
    per_distribution: int = 1
    takes_input: bool = False
    takes_own: bool = False
    products: int = 0
    direct: Tap | None = None
    own: MixingSite | None = None
    fans: Fans = NO_FANS
    one_value: bool = False
    running: bool = False
    reduction: Reduction = MOMENTS
    frequency: float = 0.0
    compared: bool = False
    times: Tap | None = None


class Origin(NamedTuple):
    """Where a tensor came from: its rows, the tap that made it, and whether its values still are what was measured."""

    rows: Rows
    tap: Tap | None
    version: int
    same_values: bool
    tensor: weakref.ref[Tensor]


class Origins:
    """Remembers, within one forward, which tensor was measured where, without keeping any tensor alive."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._origins: dict[int, Origin] = {}

    def clear(self) -> None:
        """Forget everything, at the end of a forward."""
        self._origins.clear()

    def note(self, tensor: Tensor, rows: Rows, tap: Tap | None = None, *, same_values: bool = True) -> None:
        """Remember that a tensor was measured, or, with ``same_values=False``, derived from what was."""
        self._origins[id(tensor)] = Origin(rows, tap, version_of(tensor), same_values, weakref.ref(tensor))

    def find(self, tensor: Tensor) -> Origin | None:
        """Return where a tensor came from, or ``None``; ``same_values`` says whether it is unchanged since."""
        origin = self._origins.get(id(tensor))
        # The id of a freed tensor is given to new ones: the weak reference tells.
        if origin is None or origin.tensor() is not tensor:
            return None
        if not origin.same_values or origin.version == version_of(tensor):
            return origin
        return origin._replace(same_values=False)


def sole_sources(taps: Sequence[Tap], skips: Sequence[Rows]) -> list[bool]:
    """Say of each tap whether the layer that it received from was read by it alone.

    With a second consumer (or a skip) the gradient at the source is a sum, of which this layer made only a part.
    """
    consumers = Counter([*(tap.source for tap in taps if tap.source is not None), *skips])
    return [tap.source is not None and tap.source_is_layer and consumers[tap.source] == 1 for tap in taps]
