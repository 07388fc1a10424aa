"""Everything that can go wrong, by name.

Errors are raised for bad input before a training starts. While a training runs the monitor never raises
for reasons of its own: what fails inside it becomes one :class:`InitMonitorWarning` and is switched off, unless
``strict=True`` asked for the error.
"""

from __future__ import annotations


class InitMonitorError(Exception):
    """Base of every error that init_monitor raises."""


class OptionError(InitMonitorError, ValueError):
    """An argument has a value that cannot be used; the message says what, expected against got."""


class RecipeError(InitMonitorError, ValueError):
    """An initialisation cannot be applied; nothing was changed. The message says where, expected against got."""


class StoreError(InitMonitorError):
    """A run on disk cannot be read; the message says which file, what is wrong and what to do."""


class CriticalFindingError(InitMonitorError):
    """Raised out of a training when a critical finding appears and ``on_critical="raise"``."""


class InitMonitorWarning(UserWarning):
    """Part of the monitor was switched off, or an option has no effect. The training goes on."""
