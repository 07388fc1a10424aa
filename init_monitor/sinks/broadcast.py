"""All sinks of a run as one: each is called in turn, and one that fails is dropped."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from init_monitor.randomness import kept_randomness
from init_monitor.sinks.sink import ConcludingSink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure
    from init_monitor.sinks.sink import Run, Sink


class Broadcast:
    """Passes a run on to several sinks.

    Args:
        on_failure: told ``(what, error)`` when a sink failed; it may raise.
    """

    def __init__(self, on_failure: Callable[[str, Exception], None]) -> None:
        self._on_failure = on_failure
        self._sinks: list[Sink] = []

    @kept_randomness()
    def open(self, sinks: Sequence[Sink], run: Run) -> None:
        """Begin a run with these sinks."""
        for sink in sinks:
            self._sinks.append(sink)
            self._tell(sink, sink.open, run)

    @kept_randomness()
    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        """Pass on one sampled step."""
        for sink in tuple(self._sinks):
            self._tell(sink, sink.emit, record, findings, structure)

    @kept_randomness()
    def conclude(self, losses: LossStretch, findings: tuple[Finding, ...]) -> None:
        """Pass on the steps after the last sampled one, to sinks that take them."""
        for sink in tuple(self._sinks):
            if isinstance(sink, ConcludingSink):
                self._tell(sink, sink.conclude, losses, findings)

    @kept_randomness()
    def close(self) -> None:
        """End the run. Whatever fails (and raises, if strict), every sink gets its turn."""
        with ExitStack() as leaving:
            for sink in reversed(self._sinks):
                leaving.callback(self._tell, sink, sink.close)
            self._sinks = []

    def _tell(self, sink: Sink, say: Callable[..., None], *words: object) -> None:
        try:
            say(*words)
        except Exception as error:  # noqa: BLE001 - a logger that fails must not take the training with it
            if sink in self._sinks:
                self._sinks.remove(sink)
            self._on_failure(f"{type(sink).__name__} failed and is switched off", error)
