"""The protocol of a sink: a place where records and findings go. One file per backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure


@dataclass(frozen=True, slots=True)
class Run:
    """What a sink may need to know about the run it is opened for.

    Attributes:
        loggers: the Trainer's loggers (empty without Lightning), recognised by what they can do.
        log_dir: the directory of the first logger that has one, or ``None``.
        runs_dir: where the run store makes a folder for this run if there is no ``log_dir``; ``None`` to store nothing.
        first_step: the optimizer step it begins with: 0 unless a training is resumed; ``None`` if it is not known.
        dense_steps: how many first steps are all sampled; the start of the network is known after them.
        settings: the monitor's options, as JSON values.
        versions: package versions of the run.
        findings: what is known already: what was found before the training that is now resumed.
        write: prints a finished text above a live progress bar; ``None`` means standard output.
        page: makes the HTML report of the run so far, for a logger that keeps files; ``None`` if nobody can.
        stored: where sinks have stored the run, for the closing line; a sink that stores adds its folder.
        unstored: what to say at the end if none has: how the run could be stored.
    """

    loggers: tuple[object, ...] = ()
    log_dir: Path | None = None
    runs_dir: Path | None = None
    first_step: int | None = None
    dense_steps: int = 10
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    write: Callable[[str], None] | None = None
    page: Callable[[], str] | None = None
    stored: list[Path] = field(default_factory=list)
    unstored: str = ""


@runtime_checkable
class Sink(Protocol):
    """Receives what the monitor measured. Whatever it raises is reported once and the sink is switched off."""

    def open(self, run: Run) -> None:
        """Begin a run. Called once per fit, before the first record, on rank zero only."""

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        """Take one sampled step: its record, the findings that are *new* at it, and the current structure."""

    def close(self) -> None:
        """End the run; called even if it was cut short."""


@runtime_checkable
class ConcludingSink(Protocol):
    """A sink that also takes the optimizer steps after the last sampled one, where their loss is known."""

    def conclude(self, losses: LossStretch, findings: tuple[Finding, ...]) -> None:
        """Take the losses of those steps and the findings that are new by them. Called once, just before ``close``."""
