"""One paragraph per finding: what, where, how certain, what to do first; code at the left edge, so that it can be copied."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from init_monitor.display.causes import causes, same_remedy, supersedes
from init_monitor.display.finding_panel import SEVERITY_STYLES
from init_monitor.display.formatting import layer_range, shown, shown_name
from init_monitor.records import Severity
from init_monitor.records.evidence import evidence_title, how_sure
from init_monitor.records.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from init_monitor.display.causes import Cause
    from init_monitor.records import Finding

_MARGIN = 2
"""Columns before prose; code has none."""
_RULER = Console(file=io.StringIO(), width=100, color_system=None)
"""Only measures."""
_SENTENCE_END = re.compile(r"(?<=[\w)`×%]{2}[.!?])\s+")
"""Not that of an abbreviation ("e.g. "); the next sentence may begin with the name of a layer."""


_TO_DO = Text.assemble(("To do: ", "bold"))
_A = {Severity.INFO: "information", Severity.WARNING: "a warning", Severity.CRITICAL: "critical"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Something to print.

    Attributes:
        content: for rich.
        whole: its lines are not broken at the edge of the terminal.
        height: lines that it takes.
    """

    content: RenderableType
    whole: bool
    height: int


def tellings(findings: Iterable[Finding], width: int, told: Sequence[Finding] = ()) -> Iterator[list[Piece]]:
    """Report findings in fewer and fewer words, those of one cause together and with one remedy.

    The worst finding and its remedy are always reported. The others lose their numbers first, then all but their
    first sentence, then all but their names.

    Args:
        findings: to tell.
        width: columns of the terminal.
        told: what was printed before; a remedy that was is not printed again.
    """
    by_cause = causes(findings)
    for detail in _DETAILS:
        yield [piece for i, cause in enumerate(by_cause) for piece in _told(cause, detail[min(i, 1)], width, told)]


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much is said of the findings of a cause: sentences of the first, of the others, of the remedy; ``None`` for all."""

    numbers: bool = False
    sentences: int | None = None
    others: int | None = 0
    remedy: int | None = None
    code: int = 12


_NAMES = _Detail(sentences=0, remedy=0)
_DETAILS = (
    (_Detail(numbers=True, others=None), _Detail(numbers=True, others=None)),
    (_Detail(numbers=True, others=1), _Detail(others=1)),
    (_Detail(numbers=True), _Detail(sentences=1, code=6)),
    (_Detail(numbers=True), _Detail(sentences=1, remedy=1, code=2)),
    (_Detail(), _Detail(sentences=0, remedy=1, code=0)),
    (_Detail(sentences=2), _NAMES),
    (_Detail(sentences=2, remedy=1), _NAMES),
    (_Detail(sentences=1, remedy=1), _NAMES),
)
"""Of the worst cause and of the others, from all words to few."""


def _told(cause: Cause, detail: _Detail, width: int, told: Sequence[Finding]) -> Iterator[Piece]:
    for i, finding in enumerate(cause.findings):
        lesser = next((one for one in told if supersedes(finding, one)), None)
        yield _prose(_headline(finding, lesser), width, 0)
        message = _first(finding.message, 1 if lesser is not None else detail.others if i else detail.sentences)
        if message:
            yield _prose(Text(shown(message, lines=True)), width)
        measured = _measured(finding) if detail.numbers and not i and lesser is None else ""
        if measured:
            yield _prose(Text(shown(measured), style="dim"), width)
    remedy = _first(cause.remedy, detail.remedy)
    before = next((one for one in told if same_remedy(one, cause.findings[0])), None)
    if not remedy:
        return
    if before is not None:
        yield _prose(_TO_DO.copy().append(f"as for {before.code} of step {before.step:,}."), width)
        return
    # One empty line less, and the same program.
    lines = [line for line in printable(cause.code, lines=True).splitlines() if line.strip()]
    fits = len(lines) <= detail.code
    yield _prose(
        _TO_DO.copy().append(shown(remedy if fits else f"{remedy} The report has the code.", lines=True)), width
    )
    if lines and fits:
        yield Piece("", whole=True, height=1)
        yield Piece(Text("\n".join(lines), style="cyan"), whole=True, height=len(lines))
        yield Piece("", whole=True, height=1)


def _headline(finding: Finding, lesser: Finding | None) -> Text:
    places = layer_range([shown_name(name) for name in finding.shown_layers])
    was = "" if lesser is None else f" ({_A[lesser.severity]} at step {lesser.step:,})"
    head = Text(f"{finding.severity} {finding.code} {finding.rule}", style=SEVERITY_STYLES[finding.severity])
    return head.append(f" at step {finding.step:,}{was}" + (f": {places}" if places else ""), style="default not bold")


def _first(message: str, sentences: int | None) -> str:
    return message if sentences is None else " ".join(_SENTENCE_END.split(message)[:sentences])


def _measured(finding: Finding) -> str:
    """Return the number behind the finding, the expected one, and what makes it certain; empty if there is none."""
    name = next((name for name in finding.evidence if name in finding.expected), "")
    said = f"{evidence_title(name)} {finding.evidence[name]} (expected: {finding.expected[name]})" if name else ""
    parts = [said, *how_sure(finding, name)] if said else how_sure(finding)
    return f"Measured: {'; '.join(parts)}." if parts else ""


def _prose(text: Text, width: int, margin: int = _MARGIN) -> Piece:
    content = Padding(text, (0, 0, 0, margin)) if margin else text
    return Piece(content, whole=False, height=len(text.wrap(_RULER, width - margin)))


def counted(findings: Sequence[Finding]) -> str:
    """Return findings that only inform, by name."""
    names = dict.fromkeys(f"{finding.code} {finding.rule}" for finding in findings)
    return ", ".join(names)
