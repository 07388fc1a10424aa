"""The terminal: few lines while nothing new happens; with ``verbose`` every table, and a panel per finding."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from init_monitor.display.attention_table import attention_table
from init_monitor.display.brief_findings import counted, tellings
from init_monitor.display.brief_table import FEWER_KINDS, MOST_KINDS, brief_table
from init_monitor.display.causes import causes, supersedes
from init_monitor.display.finding_panel import SEVERITY_STYLES, findings_panel
from init_monitor.display.formatting import has_unicode, spelled
from init_monitor.display.layer_table import TABLE_WIDTH, propagation_table
from init_monitor.display.residual_table import residual_table
from init_monitor.display.verdict import verdict_of
from init_monitor.records import TAKEN_BACK, LossCurve, Severity, settled
from init_monitor.records.quantities import Quantity
from init_monitor.records.quoting import printable
from init_monitor.sinks.file_writer import writer_source
from init_monitor.sinks.live_block import LiveBlock
from init_monitor.sinks.sink import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure

    Part = tuple[RenderableType, bool]


MOST_LINES = 25
"""Lines of a run in which nothing new happens after its start: a screen."""
_CLOSING_LINES = 2
"""Where the run is stored, and the verdict."""
MOST_NEWS = 12
"""Lines for something new later."""
PATIENCE = 10.0
"""Seconds that a critical finding waits for the end of the start, to be printed with everything else found there."""


class ConsoleSink:
    """Prints what a person at the terminal should see, each distinct finding once.

    A run takes at most :data:`MOST_LINES` lines until something new happens: when the start of the network is known, one
    table of the kinds of layers with what was found so far, and a verdict at the end. Code stands at the left edge and is
    never broken, so that it can be copied.

    Everything is rendered to text first and printed whole, above a live progress bar if there is one. In a terminal
    width and colours are the terminal's; elsewhere it is plain text of 100 columns, drawn in ASCII. In a notebook all of a
    run stands in one block, which goes along with the training.

    Args:
        quiet: print nothing but warnings and critical findings.
        verbose: print every layer, every residual addition, and everything that a finding knows, information included.
        console: where to print; ``None`` for standard output, looked up when something is printed.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, console: Console | None = None) -> None:
        self.quiet = quiet
        self.verbose = verbose
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
        self._waiting: list[Finding] = []
        self._told: list[Finding] = []
        self._block: LiveBlock | None = None
        self._began = time.monotonic()
        self._said_more = False
        self._owes_gap = False

    def open(self, run: Run) -> None:
        """Begin a run."""
        self._begin(run)
        self._block = None if self._given is not None else LiveBlock.here()
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
        self._tell(new, table=self._sampled >= self._run.dense_steps)
        if self._block is not None and not self.quiet:
            self._block.say(f"Init Monitor: watching, {self._steps()} so far.")

    def conclude(self, losses: LossStretch, findings: tuple[Finding, ...]) -> None:
        """Print what the losses after the last sampled step show."""
        self._losses.add(losses)
        self._tell([finding for finding in findings if self._is_new(finding)], table=True)

    def close(self) -> None:
        """Print the table if the run ended before it was due, and the verdict on the run."""
        if self._last is not None:
            self._tell((), table=True)
            if not self.quiet:
                self._print(self._kept())
                if self._run.unstored and not self._run.stored:
                    self._print([(Text(f"Not stored: {self._run.unstored}", style="dim"), True)])
                for finding in filter(lambda one: one.takes_back, self._findings.values()):
                    self._print([(_taken_back(finding), True)])
                self._print([(self._verdict(*self._last), True)])
        self._begin(Run())

    def _tell(self, findings: Sequence[Finding], *, table: bool) -> None:
        """Print findings, after the table if it is due and was not printed yet."""
        # A finding that is taken back needs no text of its own: a line at the end says so.
        told = [one for one in findings if not one.takes_back and (not self.quiet or one.severity >= Severity.WARNING)]
        if self.verbose:
            if table:
                self._print([(part, False) for part in self._tables()])
            for finding in told:
                self._print([(findings_panel(finding, plain=self._plain(), whole=True), False)])
            return
        self._waiting += [one for one in told if one.severity >= Severity.WARNING]
        if table or self._has_table or self.quiet or self._cannot_wait():
            self._tell_briefly()

    def _cannot_wait(self) -> bool:
        """Say whether something critical has waited long for the end of the start: a step may take minutes."""
        if all(one.severity < Severity.CRITICAL for one in self._waiting):
            return False
        return time.monotonic() - self._began > PATIENCE

    def _tell_briefly(self) -> None:
        new, self._waiting = self._waiting, []
        new = [one for one in new if not any(supersedes(other, one) for other in new)]
        due, width = self._due(), self._console().width
        chosen: list[Part] = []
        end: list[Part] = []
        room = MOST_LINES - _CLOSING_LINES if due else MOST_NEWS
        more = self._more(new, start=due is not None) if new and not self._said_more and not self.quiet else []
        # What a finding says comes first: where there is more then waits for the end of the run.
        tries = list(product((MOST_KINDS, *FEWER_KINDS) if due else (0,), (more, []) if more else ([],)))
        tables: dict[int, _Measured] = {}
        for pieces in tellings(new, width, self._told):
            told = self._measured([(piece.content, piece.whole) for piece in pieces])
            for kinds, end in tries:
                if kinds not in tables:
                    tables[kinds] = self._measured([] if due is None else [(self._brief_table(*due, kinds), False)])
                table, lines = tables[kinds]
                gap = [("", True)] if new and (table or (self._told and not self._owes_gap)) else []
                chosen = [*table, *gap, *told.parts, *end]
                if lines + told.lines + len(self._rendered([*gap, *end])) <= room:
                    break
            else:
                continue
            break
        self._said_more = self._said_more or bool(end)
        self._has_table = self._has_table or due is not None
        self._told += new
        self._print(chosen)

    def _is_new(self, finding: Finding) -> bool:
        key = (finding.code, finding.severity, finding.layers)
        return self._findings.setdefault(key, finding) is finding

    def _due(self) -> tuple[StepRecord, Structure] | None:
        # If everything has become NaN, the last step with numbers shows what led to it.
        return None if self.quiet or self._has_table or not self._finite or not self._finite[0].names else self._finite

    def _tables(self) -> list[RenderableType]:
        due = self._due()
        if due is None:
            return []
        self._has_table = True
        record, structure = due
        width, plain, findings = self._console().width, self._plain(), self._findings.values()
        content: list[RenderableType] = [propagation_table(record, structure, findings, width=width, plain=plain)]
        if record.residual_names:
            content += [Text(""), residual_table(record, structure, findings, width=width, plain=plain)]
        if record.head_names:
            content += [Text(""), attention_table(record, structure, findings, width=width, plain=plain)]
        return content

    def _brief_table(self, record: StepRecord, structure: Structure, kinds: int) -> RenderableType:
        width, plain, findings = self._console().width, self._plain(), self._findings.values()
        return brief_table(record, structure, findings, width=width, plain=plain, kinds=kinds)

    def _more(self, findings: Sequence[Finding], *, start: bool) -> list[Part]:
        """Return where more is said of these findings; at the start of a run also where it goes."""
        return _line("More", [*_explained(findings), *(self._places() if start else ())])

    def _kept(self) -> list[Part]:
        """Return where the run is to be found from now on."""
        rest = [] if self._said_more or self.verbose else _explained(self._told)
        if self._run.stored:
            return _line("Stored", [*self._places(), *(f"More: {one}" for one in rest)])
        return _line("More", [*rest, *self._places()])

    def _places(self) -> list[str]:
        tab = ["TensorBoard, tab Init Monitor"] if any(map(writer_source, self._run.loggers)) else []
        return [*(f"init-monitor report {_as_typed(folder)}" for folder in self._run.stored), *tab]

    def _steps(self) -> str:
        last = -1 if self._last is None else self._last[0].step
        ran = max([last, *self._losses.steps[-1:].tolist()]) - self._first_step + 1
        return f"{ran:,} step{'s' if ran != 1 else ''} ({self._sampled:,} of them measured)"

    def _verdict(self, last: StepRecord, structure: Structure) -> Text:
        steps = self._steps()
        standing = settled(self._findings.values())
        counts = {severity: sum(f.severity is severity for f in standing) for severity in Severity}
        verdict = verdict_of(self._losses, structure, [last])
        if not any(counts.values()):
            return Text(f"Init Monitor: {verdict.sentence(steps)}", style=verdict.style)
        worst = max(finding.severity for finding in standing)
        named = ", ".join(_counted(counts[severity], severity) for severity in reversed(Severity) if counts[severity])
        notes = counted([finding for finding in standing if finding.severity is Severity.INFO])
        named += f" ({notes})" if notes and not self.verbose else ""
        style = verdict.style if worst is Severity.INFO and verdict.beside_findings else SEVERITY_STYLES[worst]
        return Text(f"Init Monitor: {named} in {steps}{verdict.beside_findings}.", style=style)

    def _console(self) -> Console:
        if self._given is not None:
            return self._given
        if self._block is not None:
            return self._block.console
        terminal = bool(sys.stdout and sys.stdout.isatty())
        return Console(width=None if terminal else TABLE_WIDTH, force_jupyter=False, highlight=False)

    def _plain(self) -> bool:
        console = self._console()
        return not has_unicode(console.encoding) or not console.is_terminal

    def _measured(self, parts: list[Part]) -> _Measured:
        return _Measured(parts, len(self._rendered(parts)))

    def _rendered(self, parts: Sequence[Part]) -> list[str]:
        console, lines = self._console(), list[str]()
        for content, whole in parts:
            with console.capture() as capture:
                console.print(content, highlight=False, soft_wrap=whole, crop=False)
            # Rows are padded to the width of the table: not wanted in a log file.
            lines += [line.rstrip() for line in capture.get().splitlines()]
        return lines

    def _print(self, parts: Sequence[Part]) -> None:
        """Print in one go; ``whole`` parts are not broken at the edge of the terminal, so that they can be copied."""
        if self._block is not None:
            self._block.add(parts)
            return
        lines = self._rendered(parts)
        if not lines:
            return
        # An empty line at the end gets lost above some bars: it goes before what comes next.
        lines = ["", *lines] if self._owes_gap else lines
        self._owes_gap = not lines[-1]
        lines = lines[:-1] if self._owes_gap else lines
        console = self._console()
        text = spelled("\n".join(lines), console.encoding)
        if self._run.write is not None:
            self._run.write(text)
            return
        print(text, file=console.file, flush=True)


def _line(lead: str, ways: Sequence[str]) -> list[Part]:
    return [(Text(f"{lead}: {' | '.join(ways)}", style="dim"), True)] if ways else []


def _explained(findings: Sequence[Finding]) -> list[str]:
    """Return the command that explains the worst of them."""
    return [f"init-monitor explain {cause.findings[0].code}" for cause in causes(findings)[:1]]


class _Measured(NamedTuple):
    """Parts, and how many lines they take."""

    parts: list[Part]
    lines: int


MOSTLY = 0.5
"""A step shows the signal if more than this share of its layers have a number."""


def _is_finite(record: StepRecord) -> bool:
    return bool(np.isfinite(record.column(Quantity.VARIANCE)).mean() > MOSTLY) if record.names else True


def _as_typed(folder: Path) -> str:
    """Return a folder as it can be typed: relative to the working directory, quoted for a shell."""
    with suppress(ValueError, OSError):
        folder = folder.absolute().relative_to(Path.cwd())
    return shlex.quote(printable(str(folder)))


def _taken_back(finding: Finding) -> Text:
    step = f"{finding.evidence[TAKEN_BACK]:.0f}"
    return Text(
        f"Taken back: {finding.code} {finding.rule} of step {step}: the loss has left that behind.", style="dim"
    )


def _counted(count: int, severity: Severity) -> str:
    plural = {Severity.CRITICAL: "critical findings", Severity.WARNING: "warnings", Severity.INFO: "notes"}
    single = {Severity.CRITICAL: "critical finding", Severity.WARNING: "warning", Severity.INFO: "note"}
    return f"{count} {(single if count == 1 else plural)[severity]}"
