"""Memory to work in, kept between blocks: fresh pages cost more than the arithmetic that is done in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Sizes(NamedTuple):
    """How many elements are worked on at once, on one kind of device.

    Attributes:
        block: small tensors that may wait to be reduced together.
        piece: of a large tensor that are read at once; 0 for all.
        widened: the same where they are copied into a wider format first.
        scratch: each of the two pieces of scratch memory.
    """

    block: int
    piece: int
    widened: int
    scratch: int


NO_ROOM = Sizes(0, 0, 0, 0)
"""Everything at once, in memory that is made for it."""


class Scratch:
    """Two pieces of memory to work in, and how much to read at once.

    Args:
        device: where the memory is.
        sizes: how much of it there is.
    """

    def __init__(self, device: torch.device, sizes: Sizes = NO_ROOM) -> None:
        self.sizes = sizes
        self._device = device
        self._made: Tensor | None = None

    @property
    def _room(self) -> Tensor:
        # A kernel that needs none has none made.
        if self._made is None:
            self._made = torch.empty(2, self.sizes.scratch, dtype=torch.float32, device=self._device)
        return self._made

    def like(self, x: Tensor, which: int) -> Tensor:
        """Return the first or second piece of memory in the shape of ``x``, with any content."""
        if x.dtype != self._room.dtype or x.numel() > self._room.shape[1] or x.device != self._room.device:
            return torch.empty_like(x, memory_format=torch.contiguous_format)
        return self._room[which, : x.numel()].view(x.shape)

    def fitting(self, x: Tensor) -> Sequence[Tensor]:
        """Cut ``x``, ``[G, n]``, between its columns so that each part fits; without memory there is nothing to fit in."""
        columns = self._room.shape[1] // x.shape[0]
        return x.split(columns, 1) if 0 < columns < x.shape[1] and x.dtype == self._room.dtype else (x,)

    def pieces(self, flat: Tensor, *, widened: bool) -> Sequence[Tensor]:
        """Cut a flat tensor into what is read at once; what has to be ``widened`` first is copied by that."""
        step = self.sizes.widened if widened else self.sizes.piece
        return flat.split(step) if 0 < step < flat.numel() else (flat,)
