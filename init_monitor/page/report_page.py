"""The HTML of a report around the pictures."""

from __future__ import annotations

import html
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from init_monitor.display.causes import same_remedy
from init_monitor.page.bundle import report_style
from init_monitor.page.document import document
from init_monitor.page.loss_line import loss_picture, loss_words
from init_monitor.page.printable import printable_finding
from init_monitor.records.finding_html import finding_html, shown
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
        before=findings_html(
            verdict, run.findings, loss_words(run.losses), about=_about(run, versions) + loss_picture(run.losses)
        ),
        after=tables_html(tables) + details_html(run.structure, settings, versions),
        css=report_style(),
    )


def findings_html(verdict: str, findings: Sequence[Finding], loss: str = "", *, about: str = "") -> str:
    """Return the heading, the verdict, what the loss did, and a section per finding.

    Args:
        verdict: in a sentence.
        findings: to show.
        loss: what it did, in words.
        about: HTML of what was run, below the heading.
    """
    parts = ["<h1>Signal propagation</h1>", about, f"<p><strong>{shown(verdict)}</strong></p>"]
    parts += [f"<p>{shown(loss)}</p>"] if loss else []
    for i, finding in enumerate(findings):
        before = next((one for one in findings[:i] if finding.remedy_code and same_remedy(one, finding)), None)
        mended_by = "" if before is None else before.code
        parts.append(finding_html(printable_finding(finding), mended_by=mended_by))
    return "".join(parts)


def _about(run: ShownRun, versions: Mapping[str, str]) -> str:
    """Return what was run, when, and by which programs."""
    lines = [f"<strong>{shown(run.name)}</strong>"]
    if run.records:
        first, last = (_when(record.time) for record in (run.records[0], run.records[-1]))
        lines.append(shown(first if first == last else f"{first} to {last}"))
        steps, layers = len(run.records), len(run.records[-1].names)
        lines.append(
            f"{steps:,} measured step{'s' * (steps != 1)} up to step {run.records[-1].step:,}, {layers:,} layers"
        )
    programs = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    lines += [shown(programs)] if programs else []
    return "".join(f'<p class="about">{line}</p>' for line in lines)


def _when(seconds: float) -> str:
    """Return a time as UTC: a report is read elsewhere."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"


def tables_html(tables: Sequence[TextTable]) -> str:
    """Return the tables, each under its title."""
    return "".join(
        f"<h2>{shown(table.title)}</h2>{table_html(table.columns, table.rows, table.kind)}"
        + (f"<p>{shown(table.caption)}</p>" if table.caption else "")
        for table in tables
    )


def details_html(structure: Structure, settings: Mapping[str, object], versions: Mapping[str, str]) -> str:
    """Return the collapsed part: the network, the monitor's settings, the versions of the packages."""
    parts = []
    if len(structure):
        parts.append(f"<details><summary>Network</summary><pre>{shown(str(structure))}</pre></details>")
    for title, values in (("Settings", settings), ("Versions", versions)):
        rows = [(str(key), json.dumps(json_value(value), ensure_ascii=False)) for key, value in values.items()]
        if rows:
            table = table_html((title.lower(), "value"), rows, "settings")
            parts.append(f"<details><summary>{title}</summary>{table}</details>")
    return "".join(parts)


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    """Return one table; on a narrow screen the table scrolls, not the page."""
    head = "".join(f"<th>{shown(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(printable(cell))}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>'
