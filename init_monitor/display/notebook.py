"""What rich draws, as HTML for a notebook: the colours are text, and the background is the notebook's own."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from init_monitor.randomness import kept_randomness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

NOTEBOOK_WIDTH = 110
"""Columns: what fits beside the prompt of a cell on a laptop."""

_FRAME = (
    '<pre class="init-monitor" style="white-space:pre;overflow-x:auto;line-height:1.35;margin:0;'
    "font-family:Menlo,Consolas,'DejaVu Sans Mono',monospace\">{code}</pre>"
)


@kept_randomness()
def html_of(*parts: RenderableType, width: int = NOTEBOOK_WIDTH, whole: bool = False) -> str:
    """Return what rich draws of each part, one below the other, as one block of HTML.

    Args:
        parts: to draw.
        width: columns.
        whole: do not break lines of text.
    """
    console = _console(width)
    for part in parts:
        console.print(part, highlight=False, soft_wrap=whole, crop=False)
    return _exported(console)


def block_html(parts: Sequence[tuple[RenderableType, bool]], width: int = NOTEBOOK_WIDTH) -> str:
    """Return parts, each with whether its lines stay whole, as one block of HTML."""
    console = _console(width)
    for part, whole in parts:
        console.print(part, highlight=False, soft_wrap=whole, crop=False)
    return _exported(console)


def shell() -> Any | None:  # noqa: ANN401 - IPython ships no types that say more
    """Return the shell of the notebook that this runs in, or ``None`` anywhere else (a terminal's IPython included)."""
    ipython = sys.modules.get("IPython")
    running = None if ipython is None else ipython.get_ipython()
    return running if getattr(running, "kernel", None) is not None else None


def _console(width: int) -> Console:
    return Console(
        file=io.StringIO(), record=True, width=width, color_system="truecolor", force_jupyter=False, force_terminal=True
    )


def _exported(console: Console) -> str:
    return console.export_html(inline_styles=True, code_format=_FRAME)
