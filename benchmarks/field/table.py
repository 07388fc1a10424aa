"""The result as pages of Markdown: every case for the results, and a score for the documentation."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from benchmarks.detection.scoring import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.field.judging import Judged
    from benchmarks.field.measuring import Result
    from benchmarks.field.running import Outcome

HEAD = ("case", "right answer", "faulty", "fixed", "before", "now", "fixed before", "fixed now", "said of faulty")
RIGHT, WRONG, SILENT, ALARM, NONE = "right", "wrong", "silent", "alarm", "–"


@dataclass(frozen=True, slots=True)
class Marks:
    """How a case was judged once: the program with the mistake, and the one without."""

    faulty: str = NONE
    fixed: str = NONE


def marks_of(judged: Judged) -> Marks:
    """Return the marks of a case; of a program whose right answer is not known, only the repaired version has one."""
    fixed = NONE if judged.fixed is None else ALARM if judged.alarms else SILENT
    return Marks(NONE if judged.case.answer is None else RIGHT if judged.right else WRONG, fixed)


def before_of(text: str) -> dict[str, Marks]:
    """Return the marks in the columns "before" of a page that was written earlier; none if it has no such table."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    table = [row for row in rows if len(row) == len(HEAD) and row[0] != HEAD[0] and not row[0].startswith(":")]
    faulty, fixed = HEAD.index("before"), HEAD.index("fixed before")
    return {row[0]: Marks(row[faulty], row[fixed]) for row in table}


def page(result: Result, before: Mapping[str, Marks]) -> str:
    """Return the page: the score first, then every case.

    Args:
        result: what came out.
        before: the marks of the first run, which later ones keep; this run's if it is empty.
    """
    return "\n".join([*_head(result), *score(result, before), *_table(result, before), *_reasons(result), ""])


def summary(result: Result, before: Mapping[str, Marks]) -> str:
    """Return what the documentation shows: the score, and what is judged wrongly now."""
    return "\n".join([*_head(result), *score(result, before), *_reasons(result), *_unjudged(result), ""])


def _head(result: Result) -> Iterator[str]:
    silent, mistaken = (sum(kind(one) for one in result.judged) for kind in (_silent, _mistaken))
    fixed = sum(one.fixed is not None for one in result.judged)
    yield "# Field benchmark"
    yield ""
    yield (
        f"torch {torch.__version__}, Lightning {version('pytorch-lightning')}, Python {platform.python_version()},"
        f" {_computing(result) / 60:.1f} minutes of one core in all."
    )
    yield (
        f"{len(result.judged)} programs: {mistaken} with a mistake that shows in the signal, {silent}"
        f" that should get no finding; and {fixed} repaired versions."
    )
    yield ""


def _computing(result: Result) -> float:
    return sum(run.seconds for one in result.judged for run in (one.faulty, one.fixed) if run is not None)


def score(result: Result, before: Mapping[str, Marks]) -> Iterator[str]:
    """Give the table of scores, before and now."""
    yield "| | before | now |"
    yield "|:--|--:|--:|"
    groups: tuple[tuple[str, list[Judged]], ...] = (
        ("mistakes answered rightly", [one for one in result.judged if _mistaken(one)]),
        ("rightly silent", [one for one in result.judged if _silent(one)]),
        ("both", list(result.judged)),
    )
    for name, group in groups:
        yield f"| {name} | {_rate(_then(group, before), RIGHT)} | {_rate([marks_of(o).faulty for o in group], RIGHT)} |"
    fixed = [one for one in result.judged if one.fixed is not None]
    earlier = [(before.get(one.case.name) or (Marks() if before else marks_of(one))).fixed for one in fixed]
    yield f"| repaired versions without a warning | {_rate(earlier, SILENT)} | {_rate([marks_of(o).fixed for o in fixed], SILENT)} |"
    yield ""


def _then(group: Sequence[Judged], before: Mapping[str, Marks]) -> list[str]:
    return [(before.get(one.case.name) or (Marks() if before else marks_of(one))).faulty for one in group]


def _rate(marks: Sequence[str], good: str) -> Rate:
    counted = [mark for mark in marks if mark != NONE]
    return Rate(sum(mark == good for mark in counted), len(counted))


def _table(result: Result, before: Mapping[str, Marks]) -> Iterator[str]:
    yield "## Every case"
    yield ""
    yield "Loss of the first batch → mean of the last tenth; in brackets what the case measures, where that is not the loss."
    yield ""
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + ":--|" * len(HEAD)
    for one in result.judged:
        now = marks_of(one)
        then = before.get(one.case.name, Marks()) if before else now
        cells = (
            *(one.case.name, _wanted(one), _numbers(one, one.faulty), _numbers(one, one.fixed)),
            *(then.faulty, now.faulty, then.fixed, now.fixed, said(one.faulty)),
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _reasons(result: Result) -> Iterator[str]:
    wrong = [(one, one.wrong) for one in result.judged if one.wrong and one.case.answer is not None]
    alarms = [(one, one.alarms) for one in result.judged if one.alarms]
    for title, found in (("Not answered rightly", wrong), ("Repaired versions with a warning", alarms)):
        yield f"## {title}"
        yield ""
        yield from [f"- {one.case.name}: {'; '.join(why)}" for one, why in found] or ["None."]
        yield ""


def _unjudged(result: Result) -> Iterator[str]:
    """Give what was said of programs whose right answer is not known."""
    unknown = [one for one in result.judged if one.case.answer is None]
    if unknown:
        yield "## Said of programs whose right answer is not known here"
        yield ""
        yield from [f"- {one.case.name}: {said(one.faulty)}" for one in unknown]
        yield ""


def _silent(one: Judged) -> bool:
    return one.case.answer is not None and one.case.answer.silence


def _mistaken(one: Judged) -> bool:
    return one.case.answer is not None and not one.case.answer.silence


def _wanted(one: Judged) -> str:
    answer = one.case.answer
    if answer is None:
        return "not known here"
    if answer.silence:
        return "silence"
    remedies = " or ".join(sorted(str(kind) for kind in answer.remedies))
    return f"{' or '.join(sorted(answer.codes))} by step {answer.by}: {remedies}"


def _numbers(one: Judged, outcome: Outcome | None) -> str:
    if outcome is None:
        return NONE
    score_ = "" if one.case.score is None else f" ({outcome.score:.3g})"
    return f"{_short(outcome.first)} → {_short(outcome.last)}{score_}"


def _short(number: float) -> str:
    return f"{number:.3g}" if math.isfinite(number) else str(number)


def said(outcome: Outcome, most: int = 6) -> str:
    """Return what was said in a few words, the most severe first."""
    if outcome.failure:
        return "broke"
    order = ("critical", "warning", "info")
    told = sorted(outcome.told, key=lambda one: (order.index(one.severity), one.step))
    words = [f"{one.code} {one.severity} ({one.step})" for one in told[:most]]
    return ", ".join(words) + (f" and {len(told) - most} more" if len(told) > most else "") or "nothing"
