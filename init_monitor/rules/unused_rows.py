"""IM704: rows of a table that no index reaches, so that they are never trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis.medians import median
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases
from init_monitor.remedies.addressing import expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History, Layer, StepRecord


@dataclass(frozen=True)
class UnusedRows:
    """IM704: an embedding that every lookup takes the same row of; or most of whose rows no index reaches.

    One row alone, or one beside the padding, is a warning: the table then says nothing about a sample. Rows that are not reached are information, and only once
    no new one has come for as long as it took to reach the others: a rare token that has not come yet is no fault. Positions and types of tokens, which
    are looked up in order, do not count. So is a padding index that stands between other tokens, as no padding does: its row gets no gradient.

    **Why.** Only rows that are looked up get a gradient. Indices that are shifted, cut off or cast to the wrong type raise no error as
    long as they stay within the table, and the loss falls by what else the network sees.

    **Example.** Features between 0 and 1 that are cast to integers: every lookup is row 0. A vocabulary of 50,000 for data with 3,000
    tokens. ``padding_idx=0`` where 0 is a token as others.

    **Remedy.** Look at the smallest, the largest and the number of different indices; give the table as many rows as the data has
    tokens, or leave rows that are held for later as they are; use an index for padding that is no token.

    Attributes:
        least_rows: rows of a table from which one row alone is a warning: types of tokens and flags have a few, of which a data set
            may use one.
        share: share of the rows that are reached, up to which the rest is told: the table has twice the rows it needs.
        in_order: share of the lookups of the same row as the one before, or of one beside it, from which they are positions: of 64
            tokens of equal frequency 5 % are such, of positions all but those at the ends.
        records: sampled steps in a row that must show it.
        quiet: of the sampled steps, the last half must have reached no new row, and be at least this many: by the rule of three what
            has not come among n lookups comes in less than 3/n of them (95 %).
        alone: share of the padding between two other rows from which it is a token: of the runs that padding comes in, none is.
        with_padding: rows that are looked up where the padding is one of them and all other lookups are of one row.
    """

    code: ClassVar[str] = "IM704"
    name: ClassVar[str] = "unused-rows"
    yields_to: ClassVar[tuple[str, ...]] = ("IM702",)
    source: ClassVar[str] = (
        "PyTorch documentation, torch.nn.Embedding: the row of padding_idx gets no gradient; Hanley & Lippman-Hand 1983 (rule of three)"
    )

    least_rows: int = 16
    share: float = 0.5
    in_order: float = 0.5
    records: int = 8
    quiet: int = 10
    alone: float = 0.5
    with_padding: int = 2

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most two findings per table."""
        if len(history.records) < self.records:
            return
        seen: set[str] = set()
        for layer in history.structure.layers:
            if layer.is_embedding and layer.weight and layer.weight not in seen:
                seen.add(layer.weight)
                yield from self._of(layer, history)

    def _of(self, layer: Layer, history: History) -> Iterator[Finding]:
        latest = history.records[-self.records :]
        table = _Table.of(latest[-1], layer.weight)
        ordered, alone = (
            median([record.parameter_table.at(layer.weight, quantity) for record in latest])
            for quantity in (Quantity.WEIGHT_ROWS_IN_ORDER, Quantity.WEIGHT_PADDING_ALONE)
        )
        # A single lookup is not in order with anything.
        one = table.first == table.last and ordered >= 1
        # The share of the padding that stands alone is known where there is padding: of two rows it is one.
        beside = table.used == self.with_padding and alone < self.alone and ordered >= self.in_order
        if table.rows >= self.least_rows and (one or beside):
            yield self._only(layer, table, history, padded=beside)
        elif table.share <= self.share and ordered < self.in_order and self._is_closed(layer.weight, history):
            yield self._unreached(layer, table, history)
        if alone >= self.alone:
            yield self._padding(layer, alone, history)

    def _is_closed(self, weight: str, history: History) -> bool:
        """Say whether rows came, and none has come for as long as that took."""
        half = len(history.records) // 2
        began, then, now = (
            history.records[i].parameter_table.at(weight, Quantity.WEIGHT_ROWS_USED) for i in (0, half, -1)
        )
        return half >= self.quiet and began < then == now

    def _only(self, layer: Layer, table: _Table, history: History, *, padded: bool) -> Finding:
        message = (
            f"Every lookup in {layer.name} was row {table.first:,.0f} of {table.rows:,.0f}: it gives the same for every sample, and no"
            " other row is trained."
        )
        if padded:
            message = (
                f"Every lookup in {layer.name} but those of the padding was one and the same row: of {table.rows:,.0f} rows only"
                f" {table.first:,.0f} and {table.last:,.0f} came. It tells nothing of a sample but its length."
            )
        return self._finding(
            layer,
            Severity.WARNING,
            message,
            {"rows_looked_up": Figure(int(table.used), "rows"), "rows": Figure(table.rows, "rows")},
            "Look at the indices that the data holds: numbers between 0 and 1 that are cast to integers are all 0, tokens that a vocabulary"
            f" does not know (capitals, another tokenizer) are all one. {_LOOK}",
            history,
        )

    def _unreached(self, layer: Layer, table: _Table, history: History) -> Finding:
        used, quiet = int(table.used), len(history.records) - len(history.records) // 2
        tied = [x.name for x in history.structure.layers if x.weight == layer.weight and x.module != layer.module]
        keep = "They keep their initial values, but for weight decay."
        if tied:
            keep = f"As classes of {tied[0]}, which shares the weight, the others are only pushed away."
        advice = f"Give it {table.last + 1:,.0f} rows, if the data has no other tokens"
        if table.first > table.rows * self.share:
            advice = f"Subtract {table.first:,.0f} from the indices, if nothing else uses the rows before"
        return self._finding(
            layer,
            Severity.INFO,
            f"Of the {table.rows:,.0f} rows of {layer.name} {used:,} have been looked up, from row {table.first:,.0f} to row"
            f" {table.last:,.0f}, and no further one in the last {phrases.count(quiet, 'sampled step')}. {keep}",
            {"rows_looked_up": Figure(used, "rows"), "rows": Figure(table.rows, "rows")},
            f"{advice}; rows that are held for other data can stay. {_LOOK}",
            history,
        )

    def _padding(self, layer: Layer, alone: float, history: History) -> Finding:
        return self._finding(
            layer,
            Severity.INFO,
            f"The padding index of {layer.name} stands between two other tokens in {phrases.percent(alone)} of its lookups, which padding"
            " does not: its row gets no gradient.",
            {"padding_between_tokens": Figure(alone, "of its lookups")},
            "If it is a token as others, leave padding_idx out, or let it be an index that is no token. If it stands for what is"
            f" missing, and is to be zero, this is as it should be. {expression(layer.module)}.padding_idx says which it is.",
            history,
        )

    def _finding(  # noqa: PLR0913, PLR0917 - the parts of a finding
        self, layer: Layer, severity: Severity, message: str, evidence: dict[str, Figure], remedy: str, history: History
    ) -> Finding:
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=(layer.name,),
            step=history.last.step,
            message=message,
            evidence=evidence,
            expected={},
            remedy=remedy,
            source=self.source,
        )


_LOOK = "What they are: print(indices.min(), indices.max(), indices.unique().numel())."


class _Table(NamedTuple):
    """What was looked up of a table so far; NaN where it was not looked up."""

    share: float
    rows: float
    first: float
    last: float

    @property
    def used(self) -> float:
        """How many rows were looked up; NaN like the share."""
        return float(np.rint(self.share * self.rows))

    @classmethod
    def of(cls, record: StepRecord, weight: str) -> _Table:
        return cls(*(record.parameter_table.at(weight, quantity) for quantity in _READ))


_READ = (
    Quantity.WEIGHT_ROWS_USED,
    Quantity.WEIGHT_ROWS,
    Quantity.WEIGHT_ROW_FIRST,
    Quantity.WEIGHT_ROW_LAST,
)
