"""Whether the monitor's answer to a program is right, and if not, why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.detection.scoring import names_the_place
from benchmarks.field.case import SEVERITIES, SILENCE
from benchmarks.field.remedy import Remedy, initialises, kinds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.detection.running import Told
    from benchmarks.field.case import Answer, Case
    from benchmarks.field.running import Outcome


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with the outcomes of its programs.

    Attributes:
        case: the case.
        faulty: the outcome of the program with the mistake.
        fixed: of the one without; ``None`` where there is none.
        wrong: why the answer to ``faulty`` is not right; empty if it is.
        alarms: what is wrong about what was said of ``fixed``; empty if that is nothing.
    """

    case: Case
    faulty: Outcome
    fixed: Outcome | None
    wrong: tuple[str, ...]
    alarms: tuple[str, ...]

    @property
    def right(self) -> bool:
        """The answer to the program with the mistake is right."""
        return not self.wrong


def judge(case: Case, faulty: Outcome, fixed: Outcome | None) -> Judged:
    """Judge what was said of both programs of a case."""
    answer = SILENCE if case.answer is None else case.answer
    return Judged(
        case,
        faulty,
        fixed,
        _broke(faulty) or tuple(mistakes(answer, faulty.told)),
        () if fixed is None else _broke(fixed) or tuple(mistakes(SILENCE, fixed.told)),
    )


def mistakes(answer: Answer, told: Sequence[Told]) -> Iterator[str]:
    """Say what is wrong with the answer: nothing if it is right.

    Args:
        answer: the right answer.
        told: what was said, oldest first.
    """
    loud = [one for one in told if one.flags]
    if answer.silence:
        yield from [f"said {_named(one)}" for one in loud]
        return
    yield from _missing(answer, told)
    allowed = answer.codes | answer.tolerated
    yield from [f"beside it {_named(one)}" for one in loud if one.code not in allowed]
    if Remedy.INITIALISE not in answer.remedies:
        yield from [
            f"{_named(one)} sends to other initial weights"
            for one in loud
            if one.code in allowed and initialises(one.remedy, one.remedy_code)
        ]


def _missing(answer: Answer, told: Sequence[Told]) -> Iterator[str]:
    """Say what the right answer lacks: its code, its severity, its time, its remedy or its place, the first of these."""
    steps: tuple[tuple[str, list[Told]], ...]
    right = [one for one in told if one.code in answer.codes]
    loud = [one for one in right if SEVERITIES.index(one.severity) >= SEVERITIES.index(answer.severity)]
    timely = [one for one in loud if one.step <= answer.by]
    mending = [one for one in timely if kinds_of(one.remedy, one.remedy_code) & answer.remedies]
    placed = [one for one in mending if not answer.layers or names_the_place(one.layers, answer.layers)]
    wanted = " or ".join(sorted(answer.codes))
    steps = (
        (f"{wanted} was not said", right),
        (f"only {_all(right)}, not {answer.severity}", loud),
        (f"late: {_all(loud)}, not by step {answer.by}", timely),
        (f"{_all(timely)} does not advise: {', '.join(sorted(str(kind) for kind in answer.remedies))}", mending),
        (f"{_all(mending)} names {_layers(mending)} instead of {', '.join(answer.layers)}", placed),
    )
    yield from [why for why, found in steps if not found][:1]


def _named(one: Told) -> str:
    return f"{one.code} {one.severity} at step {one.step}"


def _all(told: Sequence[Told]) -> str:
    return ", ".join(_named(one) for one in told[:3])


def _layers(told: Sequence[Told], most: int = 3) -> str:
    names = list(dict.fromkeys(name for one in told for name in one.layers))
    return ", ".join(names[:most]) + (" …" if len(names) > most else "") if names else "no layer"


def _broke(outcome: Outcome) -> tuple[str, ...]:
    return (f"broke: {outcome.failure.strip().splitlines()[-1]}",) if outcome.failure else ()
