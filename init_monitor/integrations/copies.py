"""What copies of a callback find, readable from the callback they were copied from.

Libraries copy what they are given, ``Trainer(**copy.deepcopy(arguments))``, and train with the copy. The user holds the
original and asks it for its findings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from init_monitor.monitor import Monitor


class Copies:
    """The relation of one callback to its copies.

    Attributes:
        newest: the monitor of the copy that began to train last; ``None`` if none has.
    """

    def __init__(self, above: tuple[Copies, ...] = ()) -> None:
        """Begin without copies.

        Args:
            above: the same of what this callback is a copy of, the nearest first.
        """
        self.newest: Monitor | None = None
        self._above = above

    def place_of_copy(self) -> Copies:
        """Return the place of a copy of this callback."""
        return Copies((self, *self._above))

    def tell(self, monitor: Monitor) -> None:
        """Note that this callback trains, so that its originals can show what it finds."""
        for one in self._above:
            one.newest = monitor

    def __deepcopy__(self, memo: dict[int, object]) -> Copies:
        """Return the same object: it was made for that copy."""
        return self

    def __reduce__(self) -> tuple[type[Copies], tuple[()]]:
        """Start without copies in another process."""
        return Copies, ()
