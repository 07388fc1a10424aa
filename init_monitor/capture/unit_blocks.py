"""Unit sums on their device: those of one micro-batch joined into few tensors, and added to those of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from init_monitor.measures import UnitSums


@dataclass(slots=True)
class UnitBlock:
    """Unit sums (and extremes) of several rows that arrived together.

    Attributes:
        key: whose they are: the rows, how many units each has, and whether their extremes are kept.
        sums, squares, highs, lows: those of :class:`init_monitor.measures.UnitSums`, flat, one after the other.
    """

    key: tuple[tuple[tuple[int, ...], int, bool], ...]
    sums: Tensor
    squares: Tensor
    highs: Tensor | None
    lows: Tensor | None

    @classmethod
    def of(cls, units: Sequence[tuple[tuple[int, ...], UnitSums]]) -> UnitBlock:
        """Join the unit sums of a micro-batch.

        Args:
            units: rows, and what the units of their tensors did.
        """
        highs = [one.highs.reshape(-1) for _, one in units if one.highs is not None]
        lows = [one.lows.reshape(-1) for _, one in units if one.lows is not None]
        return cls(
            key=tuple((rows, one.sums.shape[1], one.highs is not None) for rows, one in units),
            sums=torch.cat([one.sums.reshape(-1) for _, one in units]),
            squares=torch.cat([one.squares for _, one in units]),
            highs=torch.cat(highs) if highs else None,
            lows=torch.cat(lows) if lows else None,
        )

    def add(self, new: UnitBlock) -> None:
        """Add another micro-batch of the same key, in place."""
        self.sums += new.sums
        self.squares += new.squares
        if self.highs is not None and self.lows is not None and new.highs is not None and new.lows is not None:
            torch.maximum(self.highs, new.highs, out=self.highs)
            torch.minimum(self.lows, new.lows, out=self.lows)
