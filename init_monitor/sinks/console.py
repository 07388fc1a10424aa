"""The terminal: the tables when the start of the network is known, a panel per finding, one line at the end."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group
from rich.text import Text

from init_monitor.display.finding_panel import SEVERITY_STYLES, findings_panel
from init_monitor.display.formatting import has_unicode, spelled
from init_monitor.display.layer_table import TABLE_WIDTH, propagation_table
from init_monitor.display.residual_table import residual_table
from init_monitor.display.verdict import verdict_of
from init_monitor.records import TAKEN_BACK, LossCurve, Severity, settled
from init_monitor.records.quantities import Quantity
from init_monitor.records.quoting import printable
from init_monitor.sinks.sink import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure


class ConsoleSink:
    """Prints what a person at the terminal should see, each distinct finding once.

    Everything is rendered to text first and printed whole, above a live progress bar if there is one. In a terminal
    width and colours are the terminal's; elsewhere it is plain text of 100 columns, drawn in ASCII.

    Args:
        quiet: print nothing but warnings and critical findings.
        console: where to print; ``None`` for standard output, looked up when something is printed.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self.quiet = quiet
        self._given = console
        self._begin(Run())

    def _begin(self, run: Run) -> None:
        self._run = run
        self._sampled = 0
        self._first_step = 0
        self._last: tuple[StepRecord, Structure] | None = None
        self._finite: tuple[StepRecord, Structure] | None = None
        self._has_table = False
        self._losses = LossCurve()
        self._findings: dict[tuple[str, Severity, tuple[str, ...]], Finding] = {}

    def open(self, run: Run) -> None:
        """Begin a run."""
        self._begin(run)
        for finding in run.findings:
            self._is_new(finding)

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        """Print what is new."""
        self._first_step = record.step if not self._sampled else self._first_step
        self._sampled += 1
        self._last = (record, structure)
        self._losses.add(record.losses)
        if self._finite is None or _is_finite(record):
            self._finite = self._last
        new = [finding for finding in findings if self._is_new(finding)]
        if self._sampled >= self._run.dense_steps:
            self._print_table()
        self._tell(new)

    def conclude(self, losses: LossStretch, findings: tuple[Finding, ...]) -> None:
        """Print what the losses after the last sampled step show."""
        self._losses.add(losses)
        self._tell([finding for finding in findings if self._is_new(finding)])

    def close(self) -> None:
        """Print the table if the run ended before it was due, and what to think of the run."""
        if self._last is not None:
            self._print_table()
            if not self.quiet:
                for folder in self._run.stored:
                    self._print(Text(f"Stored: init-monitor report {_as_typed(folder)}", style="dim"), whole=True)
                if self._run.unstored and not self._run.stored:
                    self._print(Text(f"Not stored: {self._run.unstored}", style="dim"), whole=True)
                for finding in filter(lambda one: one.takes_back, self._findings.values()):
                    self._print(_taken_back(finding), whole=True)
                self._print(self._verdict(*self._last), whole=True)
        self._begin(Run())

    def _tell(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            # What is taken back needs no panel of its own: a line at the end says so.
            if not finding.takes_back and (not self.quiet or finding.severity >= Severity.WARNING):
                self._print(findings_panel(finding, plain=self._plain()))

    def _is_new(self, finding: Finding) -> bool:
        key = (finding.code, finding.severity, finding.layers)
        return self._findings.setdefault(key, finding) is finding

    def _print_table(self) -> None:
        if self.quiet or self._has_table or self._finite is None:
            return
        self._has_table = True
        # Where everything has become NaN there is nothing to see: the last step with numbers shows how it came to that.
        record, structure = self._finite
        width, plain, findings = self._console().width, self._plain(), self._findings.values()
        content: list[RenderableType] = [propagation_table(record, structure, findings, width=width, plain=plain)]
        if record.residual_names:
            content += [Text(""), residual_table(record, structure, findings, width=width, plain=plain)]
        self._print(Group(*content))

    def _verdict(self, last: StepRecord, structure: Structure) -> Text:
        watched = max([last.step, *self._losses.steps[-1:].tolist()]) - self._first_step + 1
        steps = f"{watched:,} step{'s' if watched != 1 else ''} watched ({self._sampled:,} measured)"
        standing = settled(self._findings.values())
        counts = {severity: sum(f.severity is severity for f in standing) for severity in Severity}
        if not any(counts.values()):
            verdict = verdict_of(self._losses, structure, [last])
            lead = f"healthy so far: {steps}, no findings" if verdict.healthy else f"no findings: {steps}"
            return Text(f"Init Monitor: {lead}; {verdict.words}.", style=verdict.style)
        worst = max(finding.severity for finding in standing)
        named = ", ".join(_counted(counts[severity], severity) for severity in reversed(Severity) if counts[severity])
        return Text(f"Init Monitor: {named} in {steps}.", style=SEVERITY_STYLES[worst])

    def _console(self) -> Console:
        if self._given is not None:
            return self._given
        terminal = bool(sys.stdout and sys.stdout.isatty())
        return Console(width=None if terminal else TABLE_WIDTH, force_jupyter=False, highlight=False)

    def _plain(self) -> bool:
        console = self._console()
        return not has_unicode(console.encoding) or not console.is_terminal

    def _print(self, content: RenderableType, *, whole: bool = False) -> None:
        """Print; ``whole`` lines are not broken at the edge of the terminal, so that they can be copied."""
        console = self._console()
        with console.capture() as capture:
            console.print(content, highlight=False, soft_wrap=whole)
        # Rows are padded to the width of the table: not wanted in a log file.
        lines = [line.rstrip() for line in capture.get().splitlines()]
        text = spelled("\n".join(lines), console.encoding)
        if self._run.write is not None:
            self._run.write(text)
            return
        print(text, file=console.file, flush=True)


MOSTLY = 0.5
"""A step shows the signal if more than this share of its layers have a number."""


def _is_finite(record: StepRecord) -> bool:
    return bool(np.isfinite(record.column(Quantity.VARIANCE)).mean() > MOSTLY) if record.names else True


def _as_typed(folder: Path) -> str:
    """Return a folder as one types it: as seen from where one is, quoted where a shell needs that."""
    with suppress(ValueError, OSError):
        folder = folder.absolute().relative_to(Path.cwd())
    return shlex.quote(printable(str(folder)))


def _taken_back(finding: Finding) -> Text:
    step = f"{finding.evidence[TAKEN_BACK]:.0f}"
    return Text(f"Taken back: {finding.code} {finding.rule} of step {step}: the loss has left it behind.", style="dim")


def _counted(count: int, severity: Severity) -> str:
    plural = {Severity.CRITICAL: "critical findings", Severity.WARNING: "warnings", Severity.INFO: "notes"}
    single = {Severity.CRITICAL: "critical finding", Severity.WARNING: "warning", Severity.INFO: "note"}
    return f"{count} {(single if count == 1 else plural)[severity]}"
