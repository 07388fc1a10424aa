"""Where records and findings go: one module per backend. This page is a table of contents; it imports none of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from init_monitor.randomness import kept_randomness
from init_monitor.sinks.sink import Run as Run, Sink as Sink

if TYPE_CHECKING:
    from init_monitor.sinks.console import ConsoleSink as ConsoleSink
    from init_monitor.sinks.loggers import LoggerSink as LoggerSink
    from init_monitor.sinks.run_store import RunStoreSink as RunStoreSink
    from init_monitor.sinks.tensorboard import TensorBoardSink as TensorBoardSink

_CONTENTS = {
    "ConsoleSink": "console",
    "TensorBoardSink": "tensorboard",
    "LoggerSink": "loggers",
    "RunStoreSink": "run_store",
}

__all__ = [  # noqa: PLE0604 - the names are resolved by __getattr__
    *_CONTENTS,
    "Run",
    "Sink",
    "default_sinks",
]


@kept_randomness()
def default_sinks(*, quiet: bool = False, verbose: bool = False, per_layer_scalars: bool = False) -> tuple[Sink, ...]:
    """Return fresh sinks for one monitor: console, TensorBoard, every other logger, run store.

    Args:
        quiet: print nothing but warnings and critical findings.
        verbose: print every layer and all that a finding knows.
        per_layer_scalars: also write one TensorBoard scalar per layer and quantity.
    """
    from init_monitor.sinks.console import ConsoleSink  # noqa: PLC0415 - rich and protobuf only when used
    from init_monitor.sinks.loggers import LoggerSink  # noqa: PLC0415
    from init_monitor.sinks.run_store import RunStoreSink  # noqa: PLC0415
    from init_monitor.sinks.tensorboard import TensorBoardSink  # noqa: PLC0415

    return (
        ConsoleSink(quiet=quiet, verbose=verbose),
        TensorBoardSink(per_layer_scalars=per_layer_scalars),
        LoggerSink(),
        RunStoreSink(),
    )


@kept_randomness()
def __getattr__(name: str) -> object:
    """Import the module that holds ``name`` when it is first asked for (PEP 562)."""
    try:
        module = _CONTENTS[name]
    except KeyError:
        message = f"module 'init_monitor.sinks' has no attribute {name!r}; it has {', '.join(sorted(__all__))}"
        raise AttributeError(message) from None
    return getattr(import_module(f"init_monitor.sinks.{module}"), name)
