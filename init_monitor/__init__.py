"""Watch the signal flow through a network while it trains: activations forward, gradients backward.

>>> import init_monitor
>>> init_monitor.__version__
'0.1.0.dev0'

This page is a table of contents; nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from init_monitor.randomness import kept_randomness

if TYPE_CHECKING:
    from init_monitor import recipes as recipes
    from init_monitor.before_training import check as check
    from init_monitor.errors import (
        CriticalFindingError as CriticalFindingError,
        InitMonitorError as InitMonitorError,
        InitMonitorWarning as InitMonitorWarning,
        OptionError as OptionError,
        RecipeError as RecipeError,
        StoreError as StoreError,
    )
    from init_monitor.integrations.lightning import InitMonitor as InitMonitor
    from init_monitor.plan import (
        Comparison as Comparison,
        InitPlan as InitPlan,
        recommend as recommend,
    )
    from init_monitor.records import (
        Figure as Figure,
        Finding as Finding,
        History as History,
        Severity as Severity,
        StepRecord as StepRecord,
        Structure as Structure,
    )
    from init_monitor.report import Report as Report
    from init_monitor.rules import DEFAULT_RULES as DEFAULT_RULES
    from init_monitor.rules.rule import Rule as Rule
    from init_monitor.sinks import default_sinks as default_sinks
    from init_monitor.sinks.sink import Run as Run, Sink as Sink
    from init_monitor.standalone import watch as watch
    from init_monitor.width_check import (
        CoordinateCheck as CoordinateCheck,
        coordinate_check as coordinate_check,
    )

__version__ = "0.1.0.dev0"

_CONTENTS = {
    "InitMonitor": "integrations.lightning",
    "watch": "standalone",
    "check": "before_training",
    "recommend": "plan",
    "InitPlan": "plan",
    "Comparison": "plan",
    "coordinate_check": "width_check",
    "CoordinateCheck": "width_check",
    "Report": "report",
    "DEFAULT_RULES": "rules",
    "Rule": "rules.rule",
    "History": "records",
    "default_sinks": "sinks",
    "Sink": "sinks.sink",
    "Run": "sinks.sink",
    "Figure": "records",
    "Finding": "records",
    "Severity": "records",
    "StepRecord": "records",
    "Structure": "records",
    "CriticalFindingError": "errors",
    "InitMonitorError": "errors",
    "InitMonitorWarning": "errors",
    "OptionError": "errors",
    "RecipeError": "errors",
    "StoreError": "errors",
}
_ROOMS = ("recipes",)
"""Packages that are used by their name: ``init_monitor.recipes.he_normal_``."""

__all__ = [  # noqa: PLE0604 - the names are resolved by __getattr__
    *_CONTENTS,
    *_ROOMS,
    "__version__",
]


@kept_randomness()
def __getattr__(name: str) -> object:
    """Import the module that holds ``name`` when it is first asked for (PEP 562)."""
    if name in _ROOMS:
        return import_module(f"init_monitor.{name}")
    try:
        module = _CONTENTS[name]
    except KeyError:
        message = f"module 'init_monitor' has no attribute {name!r}; it has {', '.join(sorted((*_CONTENTS, *_ROOMS)))}"
        raise AttributeError(message) from None
    if name == "InitMonitor":
        # Not remembered: its base class is decided by what has been imported when it is asked for.
        return import_module(f"init_monitor.{module}").decided()
    value = getattr(import_module(f"init_monitor.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List what can be imported from here."""
    return sorted(__all__)
