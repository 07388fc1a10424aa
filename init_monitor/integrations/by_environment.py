"""A monitor in every Trainer of a program whose code nobody wants to touch: ``INIT_MONITOR=1 python train.py``.

Lightning asks the entry points of its group ``callbacks_factory`` for callbacks each time a Trainer is made. Ours gives
none unless the environment asks for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from init_monitor.errors import OptionError

if TYPE_CHECKING:
    from init_monitor.integrations.lightning import InitMonitor

VARIABLE = "INIT_MONITOR"

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})


def callbacks_asked_for() -> list[InitMonitor]:
    """Return a monitor if the environment variable asks for one.

    Raises:
        OptionError: it says neither yes nor no.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted in _NO:
        return []
    if wanted not in _YES:
        message = f"The environment variable {VARIABLE} must be 1 (watch every Trainer) or 0, got {wanted!r}."
        raise OptionError(message)
    from init_monitor.integrations.unasked import decided  # noqa: PLC0415 - torch only where it is wanted

    return [decided()()]
