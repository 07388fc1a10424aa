"""Trains all programs over several processes; results are kept, so that a stopped run can continue."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.field import running
from benchmarks.field.held_out import cases_in
from benchmarks.field.judging import judge
from benchmarks.field.programs import all_cases
from benchmarks.field.running import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.field.case import Case
    from benchmarks.field.judging import Judged

    Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that came out.

    Attributes:
        judged: the cases, in their order.
    """

    judged: tuple[Judged, ...]


def known_cases(directory: str = "") -> tuple[Case, ...]:
    """Return the cases of the benchmark, or those of a directory."""
    return cases_in(Path(directory)) if directory else all_cases()


@cache
def _by_name(directory: str) -> dict[str, Case]:
    return {case.name: case for case in known_cases(directory)}


def _run(directory: str, name: str, version: str) -> Outcome:
    """Run a program by name, because what makes it does not cross to another process."""
    return running.run(_by_name(directory)[name], version)


def chosen(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """Return the cases whose name contains or matches one of the patterns."""
    return [case for case in cases if any(part in case.name or fnmatchcase(case.name, part) for part in only)]


def measure(
    cases: Sequence[Case],
    jobs: int,
    *,
    directory: str = "",
    state: Path | None = None,
    tell: Callable[[Outcome, int], None] = lambda *_: None,
) -> Result:
    """Train everything and judge it.

    Args:
        cases: what to train.
        jobs: processes to spread it over.
        directory: where the cases are from; empty for those of the benchmark.
        state: a file of outcomes to continue from, and to add to.
        tell: told each outcome as it comes, and how many there are by then.
    """
    wanted = [(case.name, version) for case in cases for version in case.versions]
    outcomes = {key: outcome for key, outcome in kept(state).items() if key in set(wanted)}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_run, directory, *key) for key in wanted if key not in outcomes]
        for done in as_completed(waiting):
            outcome = done.result()
            outcomes[outcome.case, outcome.version] = outcome
            _keep(state, outcome)
            tell(outcome, len(outcomes))
    judged = tuple(judge(case, outcomes[case.name, "faulty"], outcomes.get((case.name, "fixed"))) for case in cases)
    return Result(judged)


def kept(state: Path | None) -> dict[Key, Outcome]:
    """Return the outcomes that a file holds; a last line that was cut short is left out."""
    if state is None or not state.exists():
        return {}
    found: dict[Key, Outcome] = {}
    for line in state.read_text(encoding="utf-8").splitlines():
        try:
            outcome = Outcome.read(json.loads(line))
        except json.JSONDecodeError:
            continue
        found[outcome.case, outcome.version] = outcome
    return found


def _keep(state: Path | None, outcome: Outcome) -> None:
    if state is None:
        return
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(outcome)) + "\n")
