"""What the user is told about the monitor itself: each thing once, as a warning that never breaks the training."""

from __future__ import annotations

import sys
import warnings

from init_monitor.errors import InitMonitorError, InitMonitorWarning
from init_monitor.records.quoting import printable


class Notices:
    """Tells what was switched off or has no effect.

    Args:
        strict: raise failures instead.

    Attributes:
        told: everything, in words, oldest first.
        strict: see above.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.told: list[str] = []
        self._causes: set[str] = set()

    def tell(self, message: str, *, aloud: bool = True) -> None:
        """Report something once; if not ``aloud``, only record it."""
        # It may name a layer, and goes to a terminal.
        message = printable(message, lines=True)
        if message in self.told:
            return
        self.told.append(message)
        if not aloud:
            return
        try:
            warnings.warn(f"init_monitor: {message}", InitMonitorWarning, stacklevel=3)
        except InitMonitorWarning:  # warnings are errors in this process, but the training must go on
            sys.stderr.write(f"init_monitor: {message}\n")

    def failed(self, what: str, error: Exception) -> None:
        """Report that a part of the monitor failed and what follows.

        Args:
            what: failed, and that it is switched off.
            error: why.

        Raises:
            InitMonitorError: if strict.
        """
        cause = f"{type(error).__name__}: {error}"
        message = f"{what}: {cause}"
        if self.strict:
            raise error if isinstance(error, InitMonitorError) else InitMonitorError(message) from error
        # What fails in every layer fails for one reason: it is reported for the first, and recorded for the others.
        told = cause in self._causes
        self._causes.add(cause)
        self.tell(f"{message} (the training goes on; strict=True raises this)", aloud=not told)
