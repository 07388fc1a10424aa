"""What is measured at the ends of a network: log Z of its logits, and which rows of its tables were ever looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from init_monitor.capture.taps import Tap
from init_monitor.measures import MOMENTS_ONLY
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

NOWHERE = -1
"""The number of a row that does not exist."""


class EndTaps:
    """Measures the ends of a network in sampled steps.

    Args:
        hooks: measures the layers.
        names: qualified names of the parameters by their ``id``.

    Attributes:
        logits: where log Z of each layer's output goes that a cross entropy got.
        tables: where the share of each table's rows goes that were looked up.
    """

    def __init__(self, hooks: LayerHooks, names: Mapping[int, str]) -> None:
        """Start with nothing seen."""
        self._hooks, self._names = hooks, names
        self._seen: dict[str, Tensor] = {}
        self._touched: set[str] = set()
        self._off = False
        self.logits: dict[TapKey, Place] = {}
        self.tables: dict[str, Place] = {}

    def is_watched(self) -> bool:
        """Say whether the ends are looked at now."""
        return not (self._off or self._hooks.paused) and is_training_signal()

    def failed(self, error: Exception) -> None:
        """Look at nothing from now on."""
        self._off = True
        self._touched.clear()
        self._hooks.switch_off("the logits and tables", error)

    def looked_up(self, table: Tensor, rows: Tensor) -> None:
        """Note the rows of a table that were looked up."""
        name = self._names.get(id(table))
        if name is None:
            return
        seen = self._seen.get(name)
        if seen is None or seen.device != table.device or len(seen) != len(table):
            seen = self._seen[name] = torch.zeros(len(table), dtype=torch.bool, device=table.device)
        seen.index_fill_(0, rows.reshape(-1).to(device=seen.device, dtype=torch.int64), True)  # noqa: FBT003 - the value
        self._touched.add(name)

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
        if not self._touched:
            return
        try:
            with unseen():
                for name in sorted(self._touched):
                    seen = self._seen[name]
                    accumulator = self._hooks.accumulator(seen.device)
                    known = self.tables.get(name)
                    if known is None or known[0] is not accumulator:
                        known = self.tables[name] = accumulator, accumulator.new_row()
                    share = seen.to(torch.float32).mean().reshape(1)
                    accumulator.take(known[1], share, MOMENTS_ONLY, lasting=True)
                self._touched.clear()
        except Exception as error:  # noqa: BLE001 - must not reach the user's training
            self.failed(error)


def log_partitions(places: Mapping[TapKey, Place], taps: Sequence[Tap], reader: Reader) -> Column:
    """Return the mean of log Z of each tap's output, NaN where no cross entropy got it."""
    at = [places.get(tap.key, (tap.rows.accumulator, NOWHERE)) for tap in taps]
    return reader.column(reader.index(at), "mean")


def rows_looked_up(places: Mapping[str, Place], names: Sequence[str], reader: Reader) -> Column:
    """Return the share of each parameter's rows that were looked up; NaN for what is no table.

    The share only grows within a step of several batches: the largest is the last. Of several processes, that of the one that
    has looked up most.
    """
    column = np.full(len(names), np.nan)
    known = [i for i, name in enumerate(names) if name in places]
    column[known] = reader.column(reader.index(places[names[i]] for i in known), "abs_max")
    return column
