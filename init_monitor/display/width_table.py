"""A coordinate check as a table: a row per layer with its powers of the width and what it needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.text import Text

from init_monitor.display.formatting import has_unicode, shortened, shown, shown_name, spelled
from init_monitor.display.row_folding import folded
from init_monitor.display.table_style import PLAIN, UNICODE, blank_table, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from init_monitor.analysis.width_growth import Growth
    from init_monitor.width_check import CoordinateCheck

COLUMNS = ("layer", "grows", "start", "per step", "own update")
"""Name, which sides of its weight grow, and three powers of the width."""
_NAME = 26
_GAP = 2


def width_table(check: CoordinateCheck, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
    """Draw the table, a sentence per layer that needs something, and one about all.

    Args:
        check: to draw.
        console: draws.
        options: of the console.
    """
    drawing = UNICODE if has_unicode(options.encoding) else PLAIN
    table = blank_table("Powers of the width", drawing, _GAP)
    for header in COLUMNS:
        table.add_column(words(header), justify="left" if header in {"layer", "grows"} else "right", no_wrap=True)
    off = {layer.layer for layer in check.off}
    marked = frozenset(i for i, layer in enumerate(check.layers) if layer.layer in off)
    for run in folded(len(check), [marked]):
        if len(run) > 1:
            table.add_row(words(f"{drawing.dots} {len(run)} more layers"), *[words("")] * 4)
            continue
        layer = check.layers[run[0]]
        table.add_row(
            words(shortened(shown_name(layer.layer), _NAME, drawing.dots), "yellow" if layer.layer in off else ""),
            words(layer.kind, "dim"),
            *(_cell(size, check.tolerance) for size in (layer.start, layer.change, layer.own)),
        )
    lines = [f"{shown_name(layer.layer)}: {check.verdict_of(layer)}." for layer in check.off]
    lines = [f"{table_title(check)}.", *lines]
    parts: list[RenderableType] = [table, Text(""), *(Text(shown(line)) for line in (*lines, check.verdict))]
    for part in parts:
        for text, style, control in console.render(part, options):
            yield Segment(spelled(text, options.encoding), style, control)


def table_title(check: CoordinateCheck) -> str:
    """Return what the powers were measured on."""
    widths = ", ".join(map(str, check.widths))
    return (
        f"Over widths {widths} ({check.steps} step{'s' * (check.steps != 1)} of {check.optimizer},"
        f" {check.seeds} seed{'s' * (check.seeds != 1)})"
    )


def slope_text(size: Growth) -> str:
    """Return a slope and its standard error: ``0.98 ± 0.01``; what is 0 at every width has none."""
    if math.isnan(size.slope):
        return "0" if size.is_zero else ""
    return f"{size.slope:.2f}" + ("" if math.isnan(size.error) else f" ± {size.error:.2f}")


def _cell(size: Growth, tolerance: float) -> Text:
    return words(slope_text(size), "yellow" if size.is_off(tolerance) else "")
