"""The base class of the callback: ``Callback`` of the Lightning that runs it.

``pytorch_lightning`` and ``lightning.pytorch`` are two packages with a ``Callback`` each, and both are installed wherever
``lightning`` is. Which of them a program uses may not be known when the monitor is imported, since alphabetical order
puts that import first. So the base is decided late: the class takes the ``Callback`` of each package that was imported so
far, when it is defined, when it is asked for, and when an instance is made. Nothing is imported that the program did
not ask for, unless it makes an instance before it imported any.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

_PACKAGES = ("pytorch_lightning", "lightning.pytorch")


class Undecided:
    """Stands in for ``Callback`` until a package is imported."""


def require_lightning() -> None:
    """Raise ImportError if neither package is installed."""
    if not _installed():
        message = "InitMonitor needs PyTorch Lightning: pip install pytorch-lightning. Without it: init_monitor.watch."
        raise ImportError(message)


def adopt(callback: type) -> None:
    """Let a class derive from the ``Callback`` of each package that was imported so far."""
    modules = [sys.modules.get(name) for name in _PACKAGES]
    # In the middle of its own import a package may not have it yet.
    found = [getattr(module, "Callback", None) for module in modules]
    missing = [base for base in found if isinstance(base, type) and not issubclass(callback, base)]
    if missing:
        kept = [base for base in callback.__bases__ if base is not Undecided]
        callback.__bases__ = (*kept, *missing)


def decide(callback: type) -> None:
    """Do so, and import what is installed if the program has imported neither package."""
    adopt(callback)
    if Undecided in callback.__bases__:
        for name in _installed():
            with suppress(ImportError):
                import_module(name)
        adopt(callback)


def _installed() -> list[str]:
    # A package that is imported is there, wherever it came from.
    return [name for name in _PACKAGES if sys.modules.get(name) or find_spec(name.partition(".")[0]) is not None]
