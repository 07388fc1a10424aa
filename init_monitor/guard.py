"""Keeps the monitor from breaking a training: a failure inside it is reported once, and the monitor is switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from init_monitor.notices import Notices

LETTING_GO = "detaching from the model"
"""The activity of restoring the model: if that fails, it is not tried again."""


class Guard:
    """Contains failures.

    Args:
        notices: reports what failed.
        let_go: leaves the model as it was; called after a failure.

    Attributes:
        off: something failed: nothing is measured from then on.
    """

    def __init__(self, notices: Notices, let_go: Callable[[], None]) -> None:
        self._notices = notices
        self._let_go = let_go
        self.off = False

    def __call__(self, doing: str) -> _Guarded:
        """Turn a failure while ``doing`` something into one warning; the training goes on."""
        return _Guarded(self, doing)

    def failed(self, doing: str, error: Exception) -> None:
        """Switch everything off after a failure."""
        self.off = True
        if doing != LETTING_GO:
            self._let_go()
        self._notices.failed(f"the monitor failed while {doing} and is switched off", error)


class _Guarded:
    """What is done under a guard. A class, as several are entered in every step: a generator takes three times as long."""

    __slots__ = ("_doing", "_guard")

    def __init__(self, guard: Guard, doing: str) -> None:
        self._guard, self._doing = guard, doing

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Report an error (not what is to end the program), and go on."""
        if not isinstance(error, Exception):
            return False
        self._guard.failed(self._doing, error)  # it raises, if strict
        return True
