"""Two runs side by side: which settings differ, what happened to the findings, where the numbers diverge."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.medians import median
from init_monitor.analysis.pace import weights_of
from init_monitor.randomness import kept_randomness, rendered
from init_monitor.records import Of, StepRecord
from init_monitor.records.quantities import Quantity
from init_monitor.records.quoting import printable
from init_monitor.records.registry import quantities
from init_monitor.store.lines import json_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console, ConsoleOptions, RenderResult

    from init_monitor.records import Finding, Layer
    from init_monitor.store import StoredRun

_SHOWN_LAYERS = 8
"""Layers that are listed per part: those that differ most, or come first. Two networks may differ in a thousand."""

_NOTICED = 0.3
"""Difference of log10 that is listed, a factor of two: batches and seeds alone cause less."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison.

    Attributes:
        part: which part it belongs to.
        what: what is compared.
        first, second: in the first and the second run, as a person reads it.
    """

    part: str
    what: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs that were read back.

    Attributes:
        names: what the two are called.
        runs: the two.
    """

    names: tuple[str, str]
    runs: tuple[StoredRun, StoredRun]

    @property
    def rows(self) -> list[Row]:
        """Everything that differs, and the figures of both."""
        return [*self._settings(), *self._network(), *self._findings(), *self._numbers(), *self._layers()]

    @kept_randomness()
    def to_html(self, path: str | Path | None = None) -> str:
        """Return one self-contained HTML page with this table and the pictures of both, and write it to ``path``."""
        from init_monitor.page.bundle import report_style  # noqa: PLC0415 - printing only
        from init_monitor.page.document import ShownRun, document  # noqa: PLC0415

        body, part = "", ""
        for row in self.rows:
            if row.part != part:
                body += f'<tr><th colspan="3">{html.escape(row.part)}</th></tr>'
                part = row.part
            cells = (html.escape(printable(cell)) for cell in (row.what, row.first, row.second))
            body += f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        heads = "".join(f"<th>{html.escape(printable(name))}</th>" for name in ("", *self.names))
        page = document(
            " and ".join(self.names) + " · Two runs compared",
            [
                ShownRun(name, run.records, run.findings, run.structure, run.losses)
                for name, run in zip(self.names, self.runs, strict=True)
            ],
            before=f'<h1>Two runs compared</h1><div class="wide"><table><thead><tr>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>",
            after="",
            css=report_style(),
            view="compare",
        )
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    @rendered
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print as a table, a line for everything that differs."""
        from rich.table import Table  # noqa: PLC0415 - printing only
        from rich.text import Text  # noqa: PLC0415

        from init_monitor.display.formatting import shown, spelled  # noqa: PLC0415

        def cell(text: str) -> Text:
            # A directory or a layer name may contain control characters or what a terminal cannot print.
            return Text(spelled(shown(text), options.encoding))

        table = Table(box=None, pad_edge=False, title=Text("Two runs compared", style="bold"), title_justify="left")
        for name in ("", *self.names):
            table.add_column(cell(name), overflow="fold")
        part = ""
        for row in self.rows:
            if row.part != part:
                table.add_row(Text(row.part, style="bold"))
                part = row.part
            table.add_row(*map(cell, (f"  {row.what}", row.first, row.second)))
        yield table

    def _settings(self) -> Iterator[Row]:
        for part, taken in (("settings", "settings"), ("versions", "versions")):
            first, second = (_newest(run, taken) for run in self.runs)
            for key in dict.fromkeys((*first, *second)):
                if first.get(key) != second.get(key):
                    yield Row(part, key, *(_word(one, key) for one in (first, second)))

    def _network(self) -> Iterator[Row]:
        first, second = (run.structure.by_name() for run in self.runs)
        yield Row("network", "layers", str(len(first)), str(len(second)))
        differing = []
        for name in dict.fromkeys((*first, *second)):
            words = _described(first.get(name), second.get(name))
            if words[0] != words[1]:
                differing.append(Row("network", name, *words))
        yield from differing[:_SHOWN_LAYERS]
        more = len(differing) - _SHOWN_LAYERS
        if more > 0:
            yield Row("network", f"and {more} more layer{'s' if more > 1 else ''}", "", "")

    def _findings(self) -> Iterator[Row]:
        first, second = (_by_code(run.findings) for run in self.runs)
        for code in sorted({*first, *second}):
            yield Row("findings", code, *(one.get(code, "not found") for one in (first, second)))

    def _numbers(self) -> Iterator[Row]:
        from init_monitor.display.formatting import compact  # noqa: PLC0415 - printing only

        for when, place in (("first sampled step", 0), ("newest step", -1)):
            records = [run.records[place] if run.records else None for run in self.runs]
            yield Row(when, "step", *("none" if one is None else f"{one.step:,}" for one in records))
            for quantity in quantities():
                if not quantity.facts.compared:
                    continue
                values = [_median(one, quantity, run) for one, run in zip(records, self.runs, strict=True)]
                if not np.isnan(values).all():
                    yield Row(when, f"median {quantity.facts.compared}", *(compact(one) for one in values))

    def _layers(self) -> Iterator[Row]:
        """Yield the layers whose variance differs most at the first step, where only initialisation counts."""
        from init_monitor.display.formatting import compact  # noqa: PLC0415 - printing only

        first, second = (
            dict(zip(one.names, one.column(Quantity.VARIANCE).tolist(), strict=True))
            for run in self.runs
            for one in run.records[:1] or (StepRecord(0, 0.0),)
        )
        apart = {
            name: abs(np.log10(second[name]) - np.log10(first[name]))
            for name in first
            if first[name] > 0 and second.get(name, 0) > 0 and np.isfinite((first[name], second[name])).all()
        }
        differing = [name for name in sorted(apart, key=lambda name: -apart[name]) if apart[name] >= _NOTICED]
        for name in differing[:_SHOWN_LAYERS]:
            yield Row("variance at the first sampled step", name, compact(first[name]), compact(second[name]))


def _newest(run: StoredRun, taken: str) -> Mapping[str, object]:
    return dict(getattr(run.headers[-1], taken))


def _word(values: Mapping[str, object], key: str) -> str:
    return json.dumps(json_value(values[key]), ensure_ascii=False) if key in values else "not there"


def _described(*pair: Layer | None) -> tuple[str, str]:
    """Return what each layer is, as far as the two differ: kind, size or format."""
    words = [one.kind if one else "not there" for one in pair]
    if words[0] == words[1]:
        words = [f"{one.kind}, fan_in {one.fan_in}, fan_out {one.fan_out}, {one.dtype}" for one in pair if one]
    return words[0], words[1]


def _by_code(findings: list[Finding]) -> dict[str, str]:
    """Return, for each rule with findings, the severity and since when."""
    words: dict[str, list[Finding]] = {}
    for finding in findings:
        words.setdefault(f"{finding.code} {finding.rule}", []).append(finding)
    return {
        code: f"{max(found, key=lambda one: one.severity.rank).severity} from step {found[0].step:,}"
        for code, found in words.items()
    }


def _median(record: StepRecord | None, quantity: Quantity, run: StoredRun) -> float:
    """Return the median over all layers (weights, residual additions) where the quantity was measured."""
    if record is None:
        return float("nan")
    column = record.column(quantity)
    if quantity.facts.of is Of.PARAMETER:
        # As in the pictures: biases begin at 0, so the relative size of a step means nothing for them.
        weights = weights_of(run.structure)
        column = column[[name in weights for name in record.parameter_names]] if weights else column
    column = column[~np.isnan(column)]
    return median(column) if column.size else float("nan")
