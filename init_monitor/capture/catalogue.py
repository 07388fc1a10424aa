"""What several processes reduce together, and in which order: the same list on all of them.

It grows when a layer is seen for the first time, and stays as it is from then on: what a process did not measure in a step
is neutral in its arrays. So their length follows from the network alone, not from how many processes there are.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.capture.taps import TapKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Key = tuple[str | int, ...]
"""A name of a measured tensor that all processes share."""

LAYER = "layer"
"""The first word of the keys of a layer's tensors; then come the parts of its tap's key, and which of them it is."""


class Slot(NamedTuple):
    """Where the units of a tensor go; a tensor whose units differ in number between batches has several.

    Attributes:
        key: of the tensor.
        units: how many there are.
        signs: whether it is kept which signs each of them saw.
    """

    key: Key
    units: int
    signs: bool


class Sizes(NamedTuple):
    """How long the arrays are: of rows, unit slots, units over all slots, units whose signs are kept, and taps."""

    rows: int = 0
    slots: int = 0
    units: int = 0
    signs: int = 0
    taps: int = 0


class Catalogue:
    """A list of measured tensors and of their units.

    Args:
        keys: of the tensors.
        slots: of units of some of them.

    Attributes:
        places: position in ``keys`` by key.
        taps: the taps whose outputs are among the tensors, in that order.
        spans: where the units of each slot are among all units.
        sign_spans: the same among those whose signs are kept; empty for a slot without.
        sizes: see :class:`Sizes`.
    """

    def __init__(self, keys: Iterable[Key], slots: Iterable[Slot] = ()) -> None:
        self.keys = tuple(keys)
        self.slots = tuple(slots)
        self.places = {key: place for place, key in enumerate(self.keys)}
        self.slot_places = {slot: place for place, slot in enumerate(self.slots)}
        self.taps = tuple(TapKey(*key[1:4]) for key in self.keys if key[0] == LAYER and not key[4])  # type: ignore[arg-type]
        self.spans = _spans([slot.units for slot in self.slots])
        self.sign_spans = _spans([slot.units if slot.signs else 0 for slot in self.slots])
        units, signs = (spans[-1].stop if spans else 0 for spans in (self.spans, self.sign_spans))
        self.sizes = Sizes(len(self.keys), len(self.slots), units, signs, len(self.taps))
        self._known: tuple[Catalogue, NDArray[np.intp]] | None = None

    @cached_property
    def encoded(self) -> bytes:
        """The list as bytes, for a process that does not have it."""
        return zlib.compress(json.dumps([self.keys, self.slots]).encode())

    @cached_property
    def digest(self) -> int:
        """A number of 62 bits that two lists share only if they are equal."""
        text = json.dumps([self.keys, self.slots]).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 2

    @classmethod
    def decoded(cls, packed: bytes) -> Catalogue:
        """Read what :attr:`encoded` gave."""
        keys, slots = json.loads(zlib.decompress(packed))
        return cls(map(tuple, keys), (Slot(tuple(key), units, signs) for key, units, signs in slots))

    @classmethod
    def union(cls, catalogues: Sequence[Catalogue]) -> Catalogue:
        """Return everything in any of them, in their order."""
        keys = dict.fromkeys(key for one in catalogues for key in one.keys)
        return cls(keys, dict.fromkeys(slot for one in catalogues for slot in one.slots))

    def covers(self, other: Catalogue) -> bool:
        """Say whether everything in the other is in this."""
        return self is other or self.places_of(other) is not None

    def places_of(self, other: Catalogue) -> NDArray[np.intp] | None:
        """Return where each key of the other is in this; ``None`` if something of it is not there at all."""
        if self._known is None or self._known[0] is not other:
            if not (self.places.keys() >= other.places.keys() and self.slot_places.keys() >= other.slot_places.keys()):
                return None
            self._known = other, np.array([self.places[key] for key in other.keys], np.intp)
        return self._known[1]


def _spans(sizes: Sequence[int]) -> list[slice]:
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
