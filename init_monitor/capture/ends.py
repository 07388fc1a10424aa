"""What is measured at the ends of a network: log Z of its logits, and which rows of its tables were ever looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from init_monitor.capture.taps import Tap
from init_monitor.measures import MOMENTS_ONLY
from init_monitor.records.quantities import Quantity
from init_monitor.torch_compat import is_training_signal, unseen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.capture.reader import Reader
    from init_monitor.capture.taps import TapKey
    from init_monitor.records import Column

    Place = tuple[Accumulator, int]
    Places = tuple[Accumulator, tuple[int, ...]]

_PAIR = 2

_NUMBERS: Mapping[Quantity, str] = {
    Quantity.WEIGHT_ROWS_USED: "abs_max",
    Quantity.WEIGHT_ROW_LAST: "abs_max",
    Quantity.WEIGHT_ROW_FIRST: "abs_max",  # counted from the end
    Quantity.WEIGHT_ROWS_IN_ORDER: "mean",
    Quantity.WEIGHT_PADDING_ALONE: "mean",
    Quantity.WEIGHT_ROWS: "abs_max",
}
"""What is measured of a table, and how it is read from what the batches of a step brought together."""

NOWHERE = -1
"""The number of a row that does not exist."""


class EndTaps:
    """Measures the ends of a network in sampled steps.

    Args:
        hooks: measures the layers.
        names: qualified names of the parameters by their ``id``.

    Attributes:
        logits: where log Z of each layer's output goes that a cross entropy got.
        tables: where what was looked up of each table's rows goes.
    """

    def __init__(self, hooks: LayerHooks, names: Mapping[int, str]) -> None:
        """Start with nothing seen."""
        self._hooks, self._names = hooks, names
        self._seen: dict[str, Tensor] = {}
        self._numbers: dict[str, Tensor] = {}
        self._orders: dict[str, Tensor] = {}
        """Of the tables that were looked up in this forward: how its last lookup went through them."""
        self._off = False
        self.logits: dict[TapKey, Place] = {}
        self.tables: dict[str, Places] = {}

    def is_watched(self) -> bool:
        """Say whether the ends are looked at now."""
        return not (self._off or self._hooks.paused) and is_training_signal()

    def failed(self, error: Exception) -> None:
        """Look at nothing from now on."""
        self._off = True
        self._orders.clear()
        self._hooks.switch_off("the logits and tables", error)

    def looked_up(self, table: Tensor, rows: Tensor, padding: int | None) -> None:
        """Note the rows of a table that were looked up."""
        name = self._names.get(id(table))
        if name is None:
            return
        seen = self._seen.get(name)
        if seen is None or seen.device != table.device or len(seen) != len(table):
            seen = self._seen[name] = torch.zeros(len(table), dtype=torch.bool, device=table.device)
            self._numbers[name] = torch.arange(len(table), device=table.device)
        rows = rows.detach().to(device=seen.device, dtype=torch.int64)
        seen.index_fill_(0, rows.reshape(-1), True)  # noqa: FBT003 - the value
        self._orders[name] = torch.stack([_in_order(rows), _alone(rows, padding)])

    def log_odds(self, maker: object, rows: Tensor) -> None:
        """Measure log Z of a few rows of logits."""
        if not isinstance(maker, Tap):
            return
        known = self.logits.get(maker.key)
        accumulator = self._hooks.accumulator(rows.device)
        if known is None or known[0] is not accumulator:
            known = self.logits[maker.key] = accumulator, accumulator.new_row()
        wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
        accumulator.take(known[1], rows.to(wide).logsumexp(-1), MOMENTS_ONLY, lasting=True)

    def end_forward(self) -> None:
        """Count the rows that were looked up so far."""
        if not self._orders:
            return
        try:
            with unseen():
                for name in sorted(self._orders):
                    seen, numbers = self._seen[name], self._numbers[name]
                    accumulator = self._hooks.accumulator(seen.device)
                    known = self.tables.get(name)
                    if known is None or known[0] is not accumulator:
                        rows = tuple(accumulator.new_row() for _ in _NUMBERS)
                        known = self.tables[name] = accumulator, rows
                    count = len(seen)
                    # What is reached from either end, so that the largest of several batches is the last.
                    ends = torch.stack([(seen * numbers).amax(), (seen * (count - 1 - numbers)).amax()])
                    share = seen.to(torch.float32).mean().reshape(1)
                    told = torch.cat([share, ends.to(torch.float32), self._orders[name], share.new_full((1,), count)])
                    accumulator.take_each(known[1], [1] * len(_NUMBERS), told, MOMENTS_ONLY)
                self._orders.clear()
        except Exception as error:  # noqa: BLE001 - must not reach the user's training
            self.failed(error)


def _in_order(rows: Tensor) -> Tensor:
    """Return the share of lookups, along the last dimension, of the same row as before or one beside it; 0 of a single one."""
    if not rows.dim() or rows.shape[-1] < _PAIR or not rows.numel():
        return torch.zeros((), device=rows.device)
    return (rows.diff(dim=-1).abs() <= 1).to(torch.float32).mean()


def _alone(rows: Tensor, padding: int | None) -> Tensor:
    """Return the share of the padding that stands between two other rows; NaN where there is none."""
    if padding is None or not rows.dim() or rows.shape[-1] <= _PAIR:
        return torch.full((), torch.nan, device=rows.device)
    is_padding = rows == padding
    alone = is_padding[..., 1:-1] & ~is_padding[..., :-2] & ~is_padding[..., 2:]
    return alone.sum() / is_padding.sum()


def log_partitions(places: Mapping[TapKey, Place], taps: Sequence[Tap], reader: Reader) -> Column:
    """Return the mean of log Z of each tap's output, NaN where no cross entropy got it."""
    at = [places.get(tap.key, (tap.rows.accumulator, NOWHERE)) for tap in taps]
    return reader.column(reader.index(at), "mean")


def rows_looked_up(places: Mapping[str, Places], names: Sequence[str], reader: Reader) -> dict[Quantity, Column]:
    """Return what was looked up of each parameter's rows; NaN for what is no table.

    What was reached only grows within a step of several batches: the largest is the last. Of several processes, that of the one
    that has looked up most.
    """
    known = [(i, places[name]) for i, name in enumerate(names) if name in places]
    found: dict[Quantity, Column] = {}
    for place, (quantity, moment) in enumerate(_NUMBERS.items()):
        column = found[quantity] = np.full(len(names), np.nan)
        index = reader.index((accumulator, rows[place]) for _, (accumulator, rows) in known)
        column[[i for i, _ in known]] = reader.column(index, moment)
    found[Quantity.WEIGHT_ROW_FIRST] = found[Quantity.WEIGHT_ROWS] - 1 - found[Quantity.WEIGHT_ROW_FIRST]
    return found
