"""A plan of initialisation as a table, and the signal before and after it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.text import Text

from init_monitor.display.formatting import compact, has_unicode, shortened, shown, shown_name, spelled
from init_monitor.display.row_folding import folded
from init_monitor.display.table_style import PLAIN, UNICODE, blank_table, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

    from init_monitor.records import StepRecord
    from init_monitor.records.plan import LayerPlan

_NORMALISATIONS = "normalisation_defaults_"
_NAME = 26
"""Characters of a layer's name that are shown."""
_KIND = 12
"""Characters of its kind."""
_GAP = 2
_LISTED = 3
"""This many of the parameters that are left alone are named."""


def plan_table(
    layers: Sequence[LayerPlan], left: Sequence[str], verdict: str, console: Console, options: ConsoleOptions
) -> Iterator[Segment]:
    """Draw a row per layer: its variance now, what it should be, the recipe and the reason with its source.

    Args:
        layers: the plans; normalisations, which differ only in their names, share one row.
        left: parameters that are left alone.
        verdict: the line below.
        console: draws.
        options: of the console.
    """
    drawing = UNICODE if has_unicode(options.encoding) else PLAIN
    table = blank_table(f"Initialisation of {len(layers):,} layer{'s' * (len(layers) != 1)}", drawing, _GAP)
    for header in ("layer", "kind", "Var(W) now", "target", "recipe", "why"):
        is_number = header in {"Var(W) now", "target"}
        table.add_column(words(header), justify="right" if is_number else "left", no_wrap=True)
    alike = [plan for plan in layers if plan.recipe == _NORMALISATIONS]
    rows = [plan for plan in layers if plan.recipe != _NORMALISATIONS or plan is alike[0]]
    notes = {note: number for number, note in enumerate(dict.fromkeys(map(_note, rows)), 1)}
    misfits = frozenset(i for i, plan in enumerate(rows) if not plan.fits)
    for run in folded(len(rows), [misfits]):
        if len(run) > 1:
            table.add_row(words(f"{drawing.dots} {len(run)} more layers"), *[words("")] * 5)
            continue
        plan = rows[run[0]]
        together = len(alike) > 1 and plan is alike[0]
        name = f"{len(alike)} normalisations" if together else shown_name(plan.layer or "the model")
        table.add_row(
            words(shortened(name, _NAME, drawing.dots)),
            words("" if together else shortened(shown_name(plan.kind), _KIND, drawing.dots), "dim"),
            words(_number(plan.current_variance), "" if plan.fits else "yellow"),
            words(_number(plan.target_variance)),
            words(plan.recipe or "left as it is", "" if plan.recipe else "dim"),
            words(f"({notes[_note(plan)]})"),
        )
    lines = [f"({number}) {note}" for note, number in notes.items()]
    if left:
        named = ", ".join(shown_name(name) for name in left[:_LISTED]) + (
            f" {drawing.dots}" if len(left) > _LISTED else ""
        )
        lines.append(
            f"Left unchanged, because they belong to no layer that ran or that a recipe knows: {named} ({len(left):,} in all)."
        )
    yield from _drawn([table, Text(""), *map(Text, (*lines, verdict))], console, options)


def _note(plan: LayerPlan) -> str:
    return shown(f"{plan.reason} [{plan.source}]" if plan.source else plan.reason)


def comparison_table(
    before: StepRecord, after: StepRecord, console: Console, options: ConsoleOptions
) -> Iterator[Segment]:
    """Draw a row per layer: standard deviation of output and gradient, before and after.

    Args:
        before: measured with the weights as they are.
        after: measured with the planned ones.
        console: draws.
        options: of the console.
    """
    drawing = UNICODE if has_unicode(options.encoding) else PLAIN
    table = blank_table("Signal propagation before and after", drawing, 2)
    table.add_column(words("layer"), no_wrap=True)
    for header in ("std", "std then", "grad std", "grad std then"):
        table.add_column(words(header), justify="right", no_wrap=True)
    old, new = before.layers, after.layers
    names = [name for name in before.names if name in new]
    for run in folded(len(names), []):
        if len(run) > 1:
            table.add_row(words(f"{drawing.dots} {len(run)} more layers"), *[words("")] * 4)
            continue
        name = names[run[0]]
        forward = [one.forward.std for one in (old[name], new[name])]
        backward = [math.nan if one.backward is None else one.backward.std for one in (old[name], new[name])]
        cells = [words(compact(number)) for number in (*forward, *backward)]
        table.add_row(words(shortened(shown_name(name), _NAME, drawing.dots)), *cells)
    yield from _drawn([table], console, options)


def _number(value: float) -> str:
    return "" if math.isnan(value) else compact(value)


def _drawn(parts: Sequence[RenderableType], console: Console, options: ConsoleOptions) -> Iterator[Segment]:
    for part in parts:
        for text, style, control in console.render(part, options):
            yield Segment(spelled(text, options.encoding), style, control)
