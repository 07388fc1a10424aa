"""What a run showed, for a person: printed, in a notebook, as Markdown, HTML, JSON or a DataFrame."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from init_monitor.randomness import kept_randomness, rendered
from init_monitor.records import Severity, Structure
from init_monitor.records.quantities import LAYER_QUANTITIES, PARAMETER_QUANTITIES, RESIDUAL_QUANTITIES, SCHEMA_VERSION
from init_monitor.store.lines import finding_json, json_value, structure_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from init_monitor.records import Finding, StepRecord
    from init_monitor.records.quantities import Quantity

COLUMNS = ("layer", "mean", "std", "max |x|", "gradient std", "dead %", "status")

STYLE = """
body{margin:0;color:#1c1e21;background:#fff}
.report{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}
.report table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.report th,.report td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e3e5e8}
.report th:first-child,.report td:first-child,.layers :is(th,td):last-child,.residuals :is(th,td):nth-child(2),
.settings :is(th,td){text-align:left}
.wide{overflow-x:auto}
.report pre{background:#f4f5f7;padding:.8rem;overflow:auto;font-size:13px}
.report section{border-left:4px solid #888;padding:.1rem 1rem;margin:1.2rem 0}
.report .critical{border-color:#b3261e}.report .warning{border-color:#b26a00}.report .info{border-color:#1a66b3}
.report summary{cursor:pointer;font-size:1.3rem;font-weight:600;margin:1.5rem 0 .5rem}
.plots{border-block:1px solid #d3d7dd;height:min(100vh,60rem)}.plots .im{height:100%}
@media(prefers-color-scheme:dark){body{color:#e4e6ea;background:#17191c}.report pre{background:#24272b}
.report th,.report td{border-color:#33373c}.plots{border-color:#454a52}}
@media print{.plots{display:none}}
"""
"""Of what stands around the pictures; they have their own."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run so far: the records that are still in the window, every finding, and the network.

    Attributes:
        records: sampled steps, oldest first.
        findings: oldest first.
        structure: the network at the last sampled step.
        settings: the monitor's options.
        versions: of the packages that the run used, if they are known.
    """

    records: tuple[StepRecord, ...] = ()
    findings: tuple[Finding, ...] = ()
    structure: Structure = field(default_factory=Structure)
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        records: Sequence[StepRecord],
        findings: Sequence[Finding],
        structure: Structure,
        settings: Mapping[str, object],
        versions: Mapping[str, str] = MappingProxyType({}),
    ) -> Report:
        """Make a report of what a monitor holds."""
        return cls(tuple(records), tuple(findings), structure, dict(settings), dict(versions))

    @property
    def verdict(self) -> str:
        """One sentence: what to think of this network."""
        if not self.records:
            return "Nothing was measured yet."
        counts = {severity: sum(f.severity is severity for f in self.findings) for severity in Severity}
        named = [f"{counts[s]} {s}" for s in (Severity.CRITICAL, Severity.WARNING, Severity.INFO) if counts[s]]
        steps = f"{len(self.records)} sampled step{'s' if len(self.records) != 1 else ''}"
        if not named:
            return f"Healthy: no finding in {steps} of {len(self.records[-1].names)} layers."
        return f"{' and '.join(named)} finding{'s' if len(self.findings) != 1 else ''} in {steps}."

    @kept_randomness()
    def to_markdown(self) -> str:
        """Return the findings and the last step's signal propagation as Markdown."""
        from init_monitor.display.markdown import escaped, finding_markdown  # noqa: PLC0415 - printing only

        lines = ["# Signal propagation", "", self.verdict, ""]
        for finding in self.findings:
            lines += [finding_markdown(finding, level=2), ""]
        if self.records:
            lines += [f"## Layers at step {self.records[-1].step}", ""]
            lines += [f"| {' | '.join(map(escaped, COLUMNS))} |", f"|:--{'|--:' * (len(COLUMNS) - 2)}|:--|"]
            lines += [f"| {' | '.join(map(escaped, row))} |" for row in self._rows()]
        columns, residuals, growth = self._residuals()
        if residuals:
            lines += ["", f"## Residual additions at step {self.records[-1].step}", ""]
            lines += [f"| {' | '.join(map(escaped, columns))} |", f"|:--|:--{'|--:' * (len(columns) - 2)}|"]
            lines += [f"| {' | '.join(map(escaped, row))} |" for row in residuals]
            lines += ["", escaped(growth)] if growth else []
        return "\n".join(lines) + "\n"

    @kept_randomness()
    def to_html(self, path: str | Path | None = None, *, name: str = "this run") -> str:
        """Return one self-contained HTML page (nothing is loaded from anywhere), and write it to ``path`` if given.

        It holds the findings, the same pictures as the tab in TensorBoard, the layers at the last step, the network, and
        the settings of the monitor.

        Args:
            path: of the file.
            name: what the pictures call the run.
        """
        from init_monitor.page.document import ShownRun, document  # noqa: PLC0415 - printing only

        page = document(
            # What the browser's tab is called: one may have the reports of several runs open.
            f"{name} · Signal propagation",
            [ShownRun(name, self.records, self.findings, self.structure)],
            before=self._html_findings(),
            after=self._html_tables() + self._html_details(),
            css=STYLE,
        )
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    @kept_randomness()
    def to_json(self, path: str | Path | None = None) -> str:
        """Return the report as strict JSON (NaN and infinities as strings), and write it to ``path`` if given."""
        text = json.dumps(
            {
                "schema": SCHEMA_VERSION,
                "verdict": self.verdict,
                "settings": json_value(dict(self.settings)),
                "versions": json_value(dict(self.versions)),
                "structure": structure_json(self.structure),
                "findings": [finding_json(finding) for finding in self.findings],
                "layers": _json_table("layer", LAYER_QUANTITIES, self._long_rows()),
                "parameters": _json_table("parameter", PARAMETER_QUANTITIES, self._parameter_rows()),
                "residuals": _json_table("residual", RESIDUAL_QUANTITIES, self._residual_rows()),
            },
            indent=1,
            allow_nan=False,
        )
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @kept_randomness()
    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per sampled step and layer, one column per quantity.

        Raises:
            ImportError: if pandas is not installed.
        """
        return _dataframe("to_dataframe", self._long_rows(), ["step", "layer", *map(str, LAYER_QUANTITIES)])

    @kept_randomness()
    def to_residual_dataframe(self) -> pd.DataFrame:
        """Return one row per sampled step and residual addition, one column per residual quantity.

        Raises:
            ImportError: if pandas is not installed.
        """
        columns = ["step", "residual", *map(str, RESIDUAL_QUANTITIES)]
        return _dataframe("to_residual_dataframe", self._residual_rows(), columns)

    @rendered
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as the console sink does, in what the console has: the table, a panel per finding, the verdict."""
        from rich.console import Group  # noqa: PLC0415 - printing only
        from rich.segment import Segment  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        from init_monitor.display.formatting import has_unicode, spelled  # noqa: PLC0415
        from init_monitor.display.layer_table import findings_panel, propagation_table  # noqa: PLC0415
        from init_monitor.display.residual_table import residual_table  # noqa: PLC0415

        plain = not has_unicode(options.encoding)
        parts: list[RenderableType] = []
        if self.records:
            table = propagation_table(
                self.records[-1], self.structure, self.findings, width=options.max_width, plain=plain
            )
            parts.append(table)
            if self.records[-1].residual_names:
                residuals = residual_table(
                    self.records[-1], self.structure, self.findings, width=options.max_width, plain=plain
                )
                parts += [Text(""), residuals]
        parts += [findings_panel(finding, plain=plain) for finding in self.findings]
        parts.append(Text(self.verdict))
        for text, style, control in console.render(Group(*parts), options):
            yield Segment(spelled(text, options.encoding), style, control)

    @kept_randomness()
    def __str__(self) -> str:
        """Return the report as plain text."""
        from io import StringIO  # noqa: PLC0415 - printing only

        from rich.console import Console  # noqa: PLC0415

        out = StringIO()
        Console(file=out, width=100, color_system=None, force_terminal=False).print(self)
        return out.getvalue()

    @kept_randomness()
    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        return self._html_body()

    def _rows(self) -> list[tuple[str, ...]]:
        from init_monitor.display.formatting import compact  # noqa: PLC0415
        from init_monitor.display.layer_status import status_of  # noqa: PLC0415 - printing only
        from init_monitor.display.layer_table import dead_cell  # noqa: PLC0415

        known, rows = self.structure.by_name(), []
        for layer in self.records[-1]:
            forward, backward = layer.forward, layer.backward
            numbers = (compact(number) for number in (forward.mean, forward.std, forward.abs_max))
            gradient = "none" if backward is None else compact(backward.std)
            status = status_of(layer, known.get(layer.name), self.findings)
            rows.append((layer.name, *numbers, gradient, dead_cell(layer), status.word))
        return rows

    def _long_rows(self) -> list[tuple[Any, ...]]:
        return [
            (record.step, name, *(float(record.column(quantity)[i]) for quantity in LAYER_QUANTITIES))
            for record in self.records
            for i, name in enumerate(record.names)
        ]

    def _parameter_rows(self) -> list[tuple[Any, ...]]:
        return [
            (record.step, name, *(float(record.column(quantity)[i]) for quantity in PARAMETER_QUANTITIES))
            for record in self.records
            for i, name in enumerate(record.parameter_names)
        ]

    def _residual_rows(self) -> list[tuple[Any, ...]]:
        return [
            (record.step, name, *(float(record.column(quantity)[i]) for quantity in RESIDUAL_QUANTITIES))
            for record in self.records
            for i, name in enumerate(record.residual_names)
        ]

    def _residuals(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
        """Columns and rows of the last step's residual additions, and how the stream grows with them."""
        from init_monitor.display.residual_rows import (  # noqa: PLC0415 - printing only
            RESIDUAL_COLUMNS,
            residual_cells,
            stream_growth,
        )

        if not self.records:
            return RESIDUAL_COLUMNS, [], ""
        last = self.records[-1]
        rows = [tuple(cells[column] for column in RESIDUAL_COLUMNS) for cells in residual_cells(last, self.structure)]
        growth = stream_growth(last, self.structure)
        return RESIDUAL_COLUMNS, rows, "" if growth is None else f"{growth}."

    def _html_body(self) -> str:
        return self._html_findings() + self._html_tables()

    def _html_findings(self) -> str:
        parts = ["<h1>Signal propagation</h1>", f"<p>{html.escape(self.verdict)}</p>"]
        for finding in self.findings:
            figures = "".join(
                f"<li>{html.escape(f'{name}: {figure}{_expected(finding, name)}')}</li>"
                for name, figure in finding.evidence.items()
            )
            layers = f"<p>Layers: {html.escape(', '.join(finding.layers))}</p>" if finding.layers else ""
            code = f"<pre>{html.escape(finding.remedy_code)}</pre>" if finding.remedy_code else ""
            parts.append(
                f'<section class="{finding.severity}"><h2>{html.escape(f"{finding.code} {finding.rule}")}'
                f" <small>{finding.severity}, step {finding.step}</small></h2>"
                f"<p>{html.escape(finding.message)}</p>{layers}"
                f"<ul>{figures}</ul><p>{html.escape(finding.remedy_sentence)}</p>{code}"
                f"<p><small>{html.escape(finding.source)}</small></p></section>"
            )
        return "".join(parts)

    def _html_tables(self) -> str:
        parts = []
        if self.records:
            parts.append(f"<h2>Layers at step {self.records[-1].step}</h2>")
            parts.append(_html_table(COLUMNS, self._rows()))
        columns, residuals, growth = self._residuals()
        if residuals:
            parts.append(f"<h2>Residual additions at step {self.records[-1].step}</h2>")
            parts.append(f"{_html_table(columns, residuals, 'residuals')}<p>{html.escape(growth)}</p>")
        return "".join(parts)

    def _html_details(self) -> str:
        parts = []
        if len(self.structure):
            parts.append(f"<details><summary>Network</summary><pre>{html.escape(str(self.structure))}</pre></details>")
        for title, values in (("Settings", self.settings), ("Versions", self.versions)):
            rows = [(str(key), json.dumps(json_value(value), ensure_ascii=False)) for key, value in values.items()]
            if rows:
                table = _html_table((title.lower(), "value"), rows, "settings")
                parts.append(f"<details><summary>{title}</summary>{table}</details>")
        return "".join(parts)


def _expected(finding: Finding, name: str) -> str:
    return f" (expected {finding.expected[name]})" if name in finding.expected else ""


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "layers") -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    # On a narrow screen the table is moved, not the page.
    return f'<div class="wide">{table}</div>'


def _dataframe(method: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> pd.DataFrame:
    try:
        import pandas as pd  # noqa: PLC0415 - optional
    except ImportError as error:
        message = f"Report.{method}() needs pandas: pip install pandas."
        raise ImportError(message) from error
    return pd.DataFrame(rows, columns=list(columns))


def _json_table(what: str, quantities: Sequence[Quantity], rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    return {"columns": ["step", what, *map(str, quantities)], "rows": [json_value(row) for row in rows]}
