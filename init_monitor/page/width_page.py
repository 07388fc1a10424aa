"""A coordinate check as one HTML file: the plot, the table, what each layer needs."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from init_monitor.display.width_plot import width_svg
from init_monitor.display.width_table import COLUMNS, slope_text, table_title
from init_monitor.page.bundle import report_style
from init_monitor.page.report_page import table_html
from init_monitor.records.finding_html import shown

if TYPE_CHECKING:
    from init_monitor.width_check import CoordinateCheck


def width_page(check: CoordinateCheck) -> str:
    """Return the file; it loads nothing from anywhere."""
    rows = [
        (
            layer.layer,
            layer.kind,
            *(slope_text(size) for size in (layer.start, layer.change, layer.own)),
            check.verdict_of(layer),
        )
        for layer in check.layers
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Coordinate check</title>'
        f"<style>{report_style()}</style></head>\n"
        f'<body><main class="report"><h1>Coordinate check</h1><p><strong>{shown(check.verdict)}</strong></p>'
        f"{width_svg(check.widths, check.layers)}"
        f"<h2>Powers of the width</h2><p>{html.escape(table_title(check))}.</p>{table_html((*COLUMNS, 'what it needs'), rows, 'layers')}"
        "</main></body></html>\n"
    )
