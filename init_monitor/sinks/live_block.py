"""One block in a notebook's cell that goes along with a training: what was said so far, and a line that moves."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from init_monitor.display.notebook import NOTEBOOK_WIDTH, block_html, shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from typing_extensions import Self

PERIOD = 1.0
"""Seconds between two movements of the line: more often nobody reads it, and each is a message to the browser."""


class LiveBlock:
    """Shows what it is given below a cell, in place of what it showed before.

    Args:
        width: columns.

    Attributes:
        console: says how wide it is and what it can show; nothing is printed on it.
    """

    def __init__(self, width: int = NOTEBOOK_WIDTH) -> None:
        self.console = Console(
            file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), width=width, force_terminal=True, force_jupyter=False
        )
        self._parts: list[tuple[RenderableType, bool]] = []
        self._handle: Any = None
        self._shown_at = 0.0

    @classmethod
    def here(cls) -> Self | None:
        """Return a block, or ``None`` if this does not run in a notebook."""
        return None if shell() is None else cls()

    def add(self, parts: Sequence[tuple[RenderableType, bool]]) -> None:
        """Show more, below what is shown; each part with whether its lines stay whole."""
        self._parts += parts
        self._show(self._parts)

    def say(self, line: str) -> None:
        """Show a line below all else until the next one, or more, comes; not more often than once in a second."""
        if time.monotonic() - self._shown_at > PERIOD:
            self._show([*self._parts, (Text(line, style="dim"), True)])

    def _show(self, parts: Sequence[tuple[RenderableType, bool]]) -> None:
        from IPython.display import display  # noqa: PLC0415 - in a notebook only

        self._shown_at = time.monotonic()
        plain = Console(file=io.StringIO(), width=NOTEBOOK_WIDTH, color_system=None, force_jupyter=False)
        with plain.capture() as text:
            for part, whole in parts:
                plain.print(part, highlight=False, soft_wrap=whole, crop=False)
        bundle = {"text/html": block_html(parts), "text/plain": text.get()}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)
