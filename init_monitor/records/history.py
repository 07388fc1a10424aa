"""The window of records that rules judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from init_monitor.records.losses import LossCurve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records.step import StepRecord
    from init_monitor.records.structure import Structure


@dataclass(frozen=True, slots=True)
class History:
    """The window of records that rules judge, oldest first, with the network they were measured on.

    Attributes:
        records: at least one, oldest first.
        structure: the network.
        losses: the training loss of every optimizer step so far, also of those after the last record.
        covered: layers for which rules that the judging one yields to have spoken; empty unless the engine asks again.
    """

    records: Sequence[StepRecord]
    structure: Structure
    covered: frozenset[str] = field(default_factory=frozenset)
    losses: LossCurve = field(default_factory=LossCurve)

    @property
    def last(self) -> StepRecord:
        """The newest record."""
        return self.records[-1]
