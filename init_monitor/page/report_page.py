"""The HTML of a report around the pictures."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

from init_monitor.page.bundle import report_style
from init_monitor.page.document import document
from init_monitor.page.loss_line import loss_words
from init_monitor.page.printable import printable_finding
from init_monitor.records.evidence import figure_rows, measured_at
from init_monitor.records.quoting import printable
from init_monitor.store import json_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.display.step_tables import TextTable
    from init_monitor.page.document import ShownRun
    from init_monitor.records import Finding, Structure


def report_page(
    run: ShownRun,
    verdict: str,
    tables: Sequence[TextTable],
    settings: Mapping[str, object],
    versions: Mapping[str, str],
) -> str:
    """Return the file: findings, pictures, the tables of the last step, the network, settings and versions."""
    return document(
        # The title of the browser tab: several reports may be open.
        f"{run.name} · Signal propagation",
        [run],
        before=findings_html(verdict, run.findings, loss_words(run.losses)),
        after=tables_html(tables) + details_html(run.structure, settings, versions),
        css=report_style(),
    )


def findings_html(verdict: str, findings: Sequence[Finding], loss: str = "") -> str:
    """Return the heading, the verdict, what the loss did, and a section per finding."""
    parts = ["<h1>Signal propagation</h1>", f"<p>{_text(verdict)}</p>"]
    parts += [f"<p>{_text(loss)}</p>"] if loss else []
    for finding in map(printable_finding, findings):
        figures = "".join(f"<li>{_text(_figure(*row))}</li>" for row in figure_rows(finding))
        layers = f"<p>Layers: {_text(', '.join(finding.shown_layers))}</p>" if finding.layers else ""
        code = f"<pre>{_text(finding.remedy_code)}</pre>" if finding.remedy_code else ""
        parts.append(
            f'<section class="{finding.severity}"><h2>{_text(f"{finding.code} {finding.rule}")}'
            f" <small>{finding.severity}, step {finding.step}</small></h2>"
            f"<p>{_text(finding.message)}</p>{layers}"
            f"{_measured(finding, figures)}<p>{_text(finding.remedy_sentence)}</p>{code}"
            f"<p><small>{_text(finding.source)}</small></p></section>"
        )
    return "".join(parts)


def tables_html(tables: Sequence[TextTable]) -> str:
    """Return the tables, each under its title."""
    return "".join(
        f"<h2>{_text(table.title)}</h2>{table_html(table.columns, table.rows, table.kind)}"
        + (f"<p>{_text(table.caption)}</p>" if table.caption else "")
        for table in tables
    )


def details_html(structure: Structure, settings: Mapping[str, object], versions: Mapping[str, str]) -> str:
    """Return the collapsed part: the network, the monitor's settings, the versions of the packages."""
    parts = []
    if len(structure):
        parts.append(f"<details><summary>Network</summary><pre>{_text(str(structure))}</pre></details>")
    for title, values in (("Settings", settings), ("Versions", versions)):
        rows = [(str(key), json.dumps(json_value(value), ensure_ascii=False)) for key, value in values.items()]
        if rows:
            table = table_html((title.lower(), "value"), rows, "settings")
            parts.append(f"<details><summary>{title}</summary>{table}</details>")
    return "".join(parts)


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    """Return one table; on a narrow screen the table scrolls, not the page."""
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(printable(cell))}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def _text(text: str) -> str:
    return html.escape(printable(text, lines=True))


def _measured(finding: Finding, figures: str) -> str:
    head = measured_at(finding)
    return f"<p>{head[:1].upper()}{head[1:]}:</p><ul>{figures}</ul>" if figures else ""


def _figure(title: str, measured: str, expected: str) -> str:
    return f"{title}: {measured or 'nothing'}" + (f" (expected {expected})" if expected else "")
