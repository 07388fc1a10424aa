"""Keeps the monitor from breaking a training: a failure inside it is reported once, and the monitor is switched off."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    @contextmanager
    def __call__(self, doing: str) -> Iterator[None]:
        """Turn a failure while ``doing`` something into one warning; the training goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the promise never to break a training
            self.off = True
            if doing != LETTING_GO:
                self._let_go()
            self._notices.failed(f"the monitor failed while {doing} and is switched off", error)
