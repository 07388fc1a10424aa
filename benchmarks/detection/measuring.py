"""Trains all cases over several processes and judges them: labels first, then the monitor, then its remedies."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.detection import labels, running
from benchmarks.detection.case import Evidence
from benchmarks.detection.cases import all_cases
from benchmarks.detection.efficacy import (
    Kind,
    Remedied,
    drawn_anew,
    reached,
    remedy_of,
    share_of,
    try_remedy,
    why_it_does_not_run,
)
from benchmarks.detection.scoring import Judged
from benchmarks.detection.split import halves
from benchmarks.detection.variation import VARIATIONS, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.detection.case import Case
    from benchmarks.detection.running import Outcome, Told
    from benchmarks.detection.split import Half


@dataclass(frozen=True, slots=True)
class Result:
    """All results.

    Attributes:
        judged: the verified cases.
        dropped: the others, which count in no number.
        remedied: what came of the remedies of runs that did not reach their twin, with whether they do then.
        seconds: wall time of it all.
        jobs: processes.
        pieces: how many different pieces of code the findings of all runs have.
        broken: of these, the ones that raise when they are run: case, code of the finding, and error.
        anew: by case whose initialisation remedy did not reach its twin, the parts of the twin's decrease that the twin reaches
            from starts drawn anew, least first.
    """

    judged: tuple[Judged, ...]
    dropped: tuple[Judged, ...]
    remedied: tuple[tuple[Remedied, bool], ...]
    seconds: float
    jobs: int
    pieces: int = 0
    broken: tuple[tuple[str, str, str], ...] = ()
    anew: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@cache
def _cases() -> dict[str, Case]:
    return {case.name: case for case in repeated_cases(len(VARIATIONS))}


def repeated_cases(seeds: int) -> tuple[Case, ...]:
    """Return every case with each of this many seeds, the first of which is the case as it is."""
    return tuple(repeated(case, seed) for seed in range(seeds) for case in all_cases())


def _run(name: str) -> Outcome:
    """Run a case by name, because its factory cannot be sent to another process."""
    return running.run(_cases()[name])


def _remedy(name: str, told: Told) -> Remedied:
    return try_remedy(_cases()[name], told)


def _anew(name: str) -> tuple[float, ...]:
    return drawn_anew(_cases()[name])


def _check_code(name: str, told: Told) -> tuple[str, str, str]:
    return name, told.code, why_it_does_not_run(_cases()[name], told)


def chosen(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """Return the cases whose name contains or matches one of the patterns, with the twins they need."""
    names = {case.name for case in cases if any(part in case.name or fnmatchcase(case.name, part) for part in only)}
    names |= {case.twin for case in cases if case.name in names and case.twin}
    return [case for case in cases if case.name in names]


def judge(
    cases: Sequence[Case], outcomes: Mapping[str, Outcome], half: Mapping[str, Half]
) -> tuple[list[Judged], list[Judged]]:
    """Verify the labels; return the cases whose label holds, and those whose does not or whose twin's does not.

    Args:
        cases: the cases.
        outcomes: by name of the case.
        half: by architecture.
    """
    held: list[Judged] = []
    dropped: list[Judged] = []
    sound: set[str] = set()
    for case in sorted(cases, key=lambda one: not one.healthy):
        outcome, twin = outcomes[case.name], outcomes.get(case.twin)
        evidence = labels.verify(outcome, twin)
        if evidence.holds and not case.healthy and case.twin not in sound:
            evidence = Evidence(holds=False, figure=f"its twin {case.twin} is not verified")
        if evidence.holds:
            sound.add(case.name)
        (held if evidence.holds else dropped).append(Judged(case, outcome, evidence, half[case.architecture]))
    return held, dropped


def measure(
    cases: Sequence[Case], jobs: int, *, remedies: bool = True, tell: Callable[[Outcome, int], None] = lambda *_: None
) -> Result:
    """Train everything and judge it.

    Args:
        cases: what to train; the twins must be among them.
        jobs: processes to spread it over.
        remedies: apply the remedies and train again.
        tell: told each outcome as it comes, and how many there are by then.
    """
    began = time.perf_counter()
    outcomes: dict[str, Outcome] = {}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_run, case.name) for case in cases}
        for done in as_completed(waiting):
            outcome = done.result()
            outcomes[outcome.case] = outcome
            tell(outcome, len(outcomes))
        held, dropped = judge(cases, outcomes, halves(case.architecture for case in all_cases()))
        trials = [
            (outcomes[run.case.twin], pool.submit(_remedy, run.case.name, told))
            for run in (held if remedies else [])
            if not run.case.healthy
            and not reached(run.outcome, outcomes[run.case.twin])
            and (told := remedy_of(run.outcome.told, run.case.symptoms)) is not None
        ]
        codes = {
            (name, told.remedy_code): told
            for name, outcome in (outcomes.items() if remedies else ())
            for told in outcome.told
            if told.remedy_code
        }
        checks = [pool.submit(_check_code, name, told) for (name, _), told in codes.items()]
        broken = tuple(found for check in checks if (found := check.result())[2])
        remedied = [(trial.result(), reached(trial.result(), twin)) for twin, trial in trials]
        short = {
            tried.case: twin
            for (tried, right), (twin, _) in zip(remedied, trials, strict=True)
            if tried.kind is Kind.NETWORK and not right
        }
        starts = {twin.case: pool.submit(_anew, twin.case) for twin in short.values()}
        anew = {
            case: tuple(sorted(share_of(end, twin) for end in starts[twin.case].result()))
            for case, twin in short.items()
        }
    seconds = time.perf_counter() - began
    return Result(tuple(held), tuple(dropped), tuple(remedied), seconds, jobs, len(codes), broken, anew)
