"""The HTML report: one file with the page, its style and its numbers, which needs no network and no server."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from init_monitor.analysis.pace import weights_of
from init_monitor.page.bundle import explorer_style, script, style
from init_monitor.page.loss_line import loss_line
from init_monitor.page.payload import encoded
from init_monitor.page.printable import printable_finding, printable_records, printable_structure
from init_monitor.page.run_verdict import run_verdict
from init_monitor.page.series import assembled, merged_names, thinned
from init_monitor.page.shown_finding import shown_finding
from init_monitor.page.stored_plan import stored_plan
from init_monitor.records import LossCurve, Structure
from init_monitor.records.facts_json import facts_json
from init_monitor.records.quoting import printable
from init_monitor.records.registry import vectors
from init_monitor.records.tags import SCHEMA_VERSION
from init_monitor.store import structure_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.page.series import Series
    from init_monitor.records import Finding, StepRecord
    from init_monitor.records.quantities import Quantity

BUDGET = 12 * 2**20
"""Bytes of numbers in a file, before base64: what a mail server takes and a browser reads in a moment. If a run has
more, steps are left out."""

LEAST_COLUMNS = 50
"""Steps that are kept however many layers there are: fewer would not show the course of a training."""
MOST_COLUMNS = 1_000
"""Steps that a screen has pixels for."""

ROOT = "init-monitor-page"
DATA = "init-monitor-data"


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run as the page shows it.

    Attributes:
        name: what it is called.
        records: sampled steps, oldest first.
        findings: oldest first.
        structure: the network.
        losses: the training loss of every optimizer step, where known.
    """

    name: str
    records: Sequence[StepRecord]
    findings: Sequence[Finding] = ()
    structure: Structure = field(default_factory=Structure)
    losses: LossCurve = field(default_factory=LossCurve)


def document(  # noqa: PLR0913 - a page has many parts, all named
    title: str, runs: Sequence[ShownRun], *, before: str, after: str, css: str, view: str = "overview"
) -> str:
    """Return the file.

    Args:
        title: of the browser's window.
        runs: what the page shows; without a record in any of them the page is left out.
        before: HTML above the page.
        after: HTML below it.
        css: style of both.
        view: where the page opens.
    """
    runs = [_printable(run) for run in runs]
    plots = _plots(runs, view) if any(run.records for run in runs) else ""
    head = f'<meta charset="utf-8"><title>{html.escape(printable(title))}</title><style>{css}</style>'
    # Control characters that are still in these parts are written out, too.
    before, after = printable(before, lines=True), printable(after, lines=True)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n'
        f'<body><main class="report">{before}</main>{plots}<main class="report">{after}</main></body></html>\n'
    )


def _printable(run: ShownRun) -> ShownRun:
    return ShownRun(
        printable(run.name),
        printable_records(run.records),
        [printable_finding(finding) for finding in run.findings],
        printable_structure(run.structure),
        run.losses,
    )


def embedded(runs: Sequence[ShownRun]) -> dict[str, Any]:
    """Return what the page reads: the runs, their outlines, and every matrix as base64."""
    series = {run.name: dict(_series(run)) for run in runs}
    rows = sum(len(one.names) for quantities in series.values() for one in quantities.values())
    columns = min(max(BUDGET // (4 * max(rows, 1)), LEAST_COLUMNS), MOST_COLUMNS)
    return {
        "v": SCHEMA_VERSION,
        "quantities": [facts_json(quantity) for quantity in vectors()],
        "runs": [
            {
                "name": run.name,
                "step": run.records[-1].step if run.records else 0,
                "time": run.records[-1].time if run.records else 0.0,
                "quantities": [str(quantity) for quantity in series[run.name]],
                "verdict": run_verdict(run.findings, looked=bool(run.records)),
            }
            for run in runs
        ],
        "outlines": {run.name: _outline(run) for run in runs},
        "recipes": {run.name: stored_plan(run.structure) for run in runs},
        "series": {
            run.name: {
                str(quantity): _base64(run, quantity, one, columns) for quantity, one in series[run.name].items()
            }
            for run in runs
        },
    }


def _plots(runs: Sequence[ShownRun], view: str) -> str:
    # In a script "</script>" would end it, wherever it stands; "<" has another form in JSON.
    text = json.dumps(embedded(runs), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    start = (
        f'initMonitorPage.renderReport(document.getElementById("{ROOT}"), '
        f'document.getElementById("{DATA}").textContent, "{view}");'
    )
    return (
        f'<style>{style()}{explorer_style()}</style><div class="plots"><div id="{ROOT}"></div></div>'
        f'<script type="application/json" id="{DATA}">{text}</script>'
        f"<script>{script()}{start}</script>"
    )


def _series(run: ShownRun) -> Iterator[tuple[Quantity, Series]]:
    for quantity in vectors():
        points = []
        for record in run.records:
            # What float32 cannot hold becomes infinite, as in TensorBoard.
            table = record.table(quantity.facts.of)
            with np.errstate(over="ignore"):
                column = table.column(quantity).astype(np.float32)
            points.append((record.step, table.names, column))
        series = assembled(points)
        if series.values.size and not np.isnan(series.values).all():
            yield quantity, series


def _base64(run: ShownRun, quantity: Quantity, series: Series, columns: int) -> str:
    steps = {finding.step for finding in run.findings}
    thin = thinned(series, columns, steps, worst=quantity.facts.keeps_largest)
    return base64.b64encode(encoded(thin, run=run.name, quantity=str(quantity))).decode("ascii")


def _outline(run: ShownRun) -> dict[str, Any]:
    last = run.records[-1] if run.records else None
    return {
        "run": run.name,
        "step": last.step if last else 0,
        "time": last.time if last else 0.0,
        "names": list(merged_names(dict.fromkeys(one.names for one in run.records))),
        "parameter_names": list(merged_names(dict.fromkeys(one.parameter_names for one in run.records))),
        "residual_names": list(merged_names(dict.fromkeys(one.residual_names for one in run.records))),
        "head_names": list(merged_names(dict.fromkeys(one.head_names for one in run.records))),
        "weights": sorted(weights_of(run.structure)),
        **structure_json(run.structure),
        "findings": [shown_finding(finding) for finding in run.findings],
        "looked": bool(run.records),
        "losses": loss_line(run.losses),
        "quantities": [],
        "notices": [],
    }
