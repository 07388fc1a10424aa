"""Random numbers belong to the user: whatever we import or render leaves every generator as it was.

Importing rich draws from Python's ``random``, and so may any library that is imported, or any text that is rendered, on
behalf of the monitor. A training whose data loader or augmentation draws from the same generator would change.
"""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.segment import Segment

    Drawn = TypeVar("Drawn")


@contextmanager
def kept_randomness() -> Iterator[None]:
    """Put the states of ``random``, numpy's and torch's CPU generator back on the way out; also as a decorator.

    A library that is not imported yet has no state to restore.

    >>> import random
    >>> random.seed(0)
    >>> with kept_randomness():
    ...     drawn = random.random()
    >>> random.random() == drawn
    True
    """
    plain = random.getstate()
    numpy, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    of_numpy = None if numpy is None else numpy.get_state()
    # While torch is still being imported it is there, but has no generator yet.
    of_torch = torch.get_rng_state() if torch is not None and hasattr(torch, "get_rng_state") else None
    try:
        yield
    finally:
        random.setstate(plain)
        if numpy is not None:
            numpy.set_state(of_numpy)
        if torch is not None and of_torch is not None:
            torch.set_rng_state(of_torch)


def rendered(
    draw: Callable[[Drawn, Console, ConsoleOptions], RenderResult],
) -> Callable[[Drawn, Console, ConsoleOptions], list[Segment]]:
    """Make a ``__rich_console__`` finish rendering before the console continues."""

    @wraps(draw)
    def drawn(self: Drawn, console: Console, options: ConsoleOptions) -> list[Segment]:
        with kept_randomness():
            return list(console.render(_Renderable(lambda *given: draw(self, *given)), options))

    return drawn


class _Renderable:
    """Something to render that is drawn by a function."""

    def __init__(self, draw: Callable[[Console, ConsoleOptions], RenderResult]) -> None:
        self._draw = draw

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return self._draw(console, options)
