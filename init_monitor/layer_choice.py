"""Which layers of a model are watched, given the options, and what the user is told about that choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.capture.capture import Capture
from init_monitor.capture.scope import Scope
from init_monitor.errors import InitMonitorError
from init_monitor.options import Measure
from init_monitor.structure.probe import STOPPED

if TYPE_CHECKING:
    from torch import nn

    from init_monitor.notices import Notices
    from init_monitor.options import Options

TOO_MANY_CALLS = (
    "max_layers={} calls of layers are measured per step; further calls are not. "
    "Raise max_layers, or choose with include= and exclude=."
)


def capture_of(model: nn.Module, options: Options, notices: Notices) -> Capture:
    """Choose which layers of a model to watch; nothing is attached to it yet.

    Args:
        model: the module to watch.
        options: what was asked for.
        notices: says what cannot be measured, now or later.
    """
    scope = Scope(
        include=options.include,
        exclude=options.exclude,
        max_layers=options.max_layers,
        exact=options.measure == Measure.EXACT.value,
        window=options.window,
        every_n_steps=options.every_n_steps,
    )

    def layer_failed(name: str, error: Exception) -> None:
        notices.failed(f"measuring {name!r} failed and is switched off for it", error)

    def not_probed(cause: str) -> None:
        if notices.strict and STOPPED in cause:
            raise InitMonitorError(cause)
        notices.tell(f"residuals and functional activations are not fully seen. {cause} Modules are still measured.")

    capture = Capture(model, scope, layer_failed, not_probed, notices.tell)
    for notice in capture.notices:
        notices.tell(notice)
    return capture
