"""The result as a page of Markdown."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING

import torch

from benchmarks.detection.baseline import RANGES, Check
from benchmarks.detection.efficacy import REACHED, Kind
from benchmarks.detection.scoring import Rate, deciding, names_the_place, score, score_baseline
from benchmarks.detection.split import Half

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.detection.measuring import Result
    from benchmarks.detection.scoring import Judged, Scores

ROWS: tuple[tuple[str, Callable[[Scores], Rate]], ...] = (
    ("recall", lambda scores: scores.recall),
    ("false-positive rate", lambda scores: scores.false_positives),
    ("precision", lambda scores: scores.precision),
    ("symptom accuracy", lambda scores: scores.symptom),
    ("layer accuracy", lambda scores: scores.layer),
    ("layer accuracy, local faults", lambda scores: scores.local),
)


def page(result: Result) -> str:
    """Return the page: numbers first, then every mistake by name."""
    return "\n".join([*_head(result), *_rates(result), *_remedies(result), *_baseline(result), *_mistakes(result), ""])


def _head(result: Result) -> Iterator[str]:
    faulty = sum(not run.case.healthy for run in result.judged)
    architectures = {run.case.architecture for run in result.judged}
    changed = sum(run.outcome.changed for run in (*result.judged, *result.dropped))
    yield "# Detection benchmark"
    yield ""
    yield (
        f"torch {torch.__version__}, Lightning {version('pytorch-lightning')}, Python {platform.python_version()},"
        f" {result.jobs} processes, {result.seconds / 60:.1f} minutes."
    )
    yield (
        f"{faulty} faulty runs, each with its healthy twin, and {len(result.judged) - faulty} healthy runs in all,"
        f" over {len(architectures)} architectures; every label verified without the monitor"
        f" ({len(result.dropped)} runs dropped because theirs was not)."
    )
    yield f"Trainings whose losses the monitor changed by a bit: {changed}."
    yield ""


def _rates(result: Result) -> Iterator[str]:
    columns = [
        ("all", score(result.judged)),
        *((f"{half} half", score(run for run in result.judged if run.half is half)) for half in Half),
        ("baseline, all", score_baseline(result.judged)),
    ]
    yield "| | " + " | ".join(name for name, _ in columns) + " |"
    yield "|:--|" + "--:|" * len(columns)
    for name, rate in ROWS:
        yield f"| {name} | " + " | ".join("–" if not rate(s).of else str(rate(s)) for _, s in columns) + " |"
    critical = [f"{scores.critical_on_healthy}" for _, scores in columns[:-1]]
    yield f"| critical findings on healthy runs | {' | '.join(critical)} | – |"
    yield ""
    yield from _by_seed(result)


def _by_seed(result: Result) -> Iterator[str]:
    """Give the rates of each seed, where there are several."""
    seeds = sorted({run.case.seed for run in result.judged})
    if len(seeds) < 2:  # noqa: PLR2004 - the table above is that of the only one
        return
    columns = [score(run for run in result.judged if run.case.seed == seed) for seed in seeds]
    yield "| | " + " | ".join(f"seed {seed}" for seed in seeds) + " |"
    yield "|:--|" + "--:|" * len(seeds)
    for name, rate in ROWS:
        yield f"| {name} | " + " | ".join("–" if not rate(s).of else str(rate(s)) for s in columns) + " |"
    yield f"| critical findings on healthy runs | {' | '.join(str(s.critical_on_healthy) for s in columns)} |"
    yield ""


def _remedies(result: Result) -> Iterator[str]:
    yield "## Remedies"
    yield ""
    yield "| what the code changes | reached the healthy twin | as expected after it | by code |"
    yield "|:--|--:|--:|:--|"
    for kind in Kind:
        of_kind = [(remedied, right) for remedied, right in result.remedied if remedied.kind is kind]
        tried = Counter(remedied.code for remedied, _ in of_kind)
        reached = Counter(remedied.code for remedied, right in of_kind if right)
        by_code = ", ".join(f"{code} {reached[code]}/{tried[code]}" for code in sorted(tried))
        shown = [remedied.confirmed.holds for remedied, _ in of_kind if remedied.confirmed is not None]
        expected = Rate(sum(shown), len(shown)) if shown else "–"
        yield f"| {kind} | {Rate(sum(reached.values()), len(of_kind))} | {expected} | {by_code or '–'} |"
    yield ""
    yield (
        f"{result.pieces:,} different pieces of code in the findings of all runs, each run as it is copied from the console:"
        f" {len(result.broken)} broke."
    )
    yield ""
    yield from [f"- {case}, {code}: {error}" for case, code, error in result.broken]
    if result.broken:
        yield ""
    other = [
        remedied for remedied, _ in result.remedied if remedied.confirmed is not None and not remedied.confirmed.holds
    ]
    if other:
        yield "Not as expected:"
        yield ""
        yield from [f"- {remedied.case}, remedy of {remedied.code}: {remedied.confirmed}" for remedied in other]
        yield ""
    missed = [remedied for remedied, right in result.remedied if not right]
    if missed:
        yield from _by_luck(result)
        yield "Not reached:"
        yield ""
        for remedied in missed:
            why = (
                remedied.failure.strip().splitlines()[-1] if remedied.failure else f"loss {remedied.end:.3g} at the end"
            )
            anew = _anew(result.anew[remedied.case]) if remedied.case in result.anew else ""
            yield f"- {remedied.case}, remedy of {remedied.code} ({remedied.kind}): {why}{anew}"
        yield ""


def _by_luck(result: Result) -> Iterator[str]:
    """Say how many twins no start but their own reaches: what a remedy draws cannot, either."""
    if result.anew:
        lucky = sum(median(shares) < REACHED for shares in result.anew.values())
        yield (
            f"Of the {len(result.anew)} twins that no initialisation reached, {lucky} are not reached by their own healthy start"
            " either, once it is drawn anew (the median of three draws): there the twin's own draw was a lucky one."
        )
        yield ""


def _anew(shares: Sequence[float]) -> str:
    reached = "yes" if median(shares) >= REACHED else "no"
    parts = ", ".join(f"{share:.2f}" for share in shares)
    return f"; a healthy start drawn anew reaches it: {reached} ({parts} of the decrease)"


def _baseline(result: Result) -> Iterator[str]:
    yield "## The baseline, check by check"
    yield ""
    yield "| check | recall | false-positive rate |"
    yield "|:--|--:|--:|"
    for check in Check:
        alone = score_baseline(result.judged, [check])
        note = ", not in the verdict" if check in RANGES else ""
        yield f"| {check}{note} | {alone.recall} | {alone.false_positives} |"
    everything = score_baseline(result.judged, list(Check))
    yield f"| all of them together | {everything.recall} | {everything.false_positives} |"
    yield ""


def _mistakes(result: Result) -> Iterator[str]:
    faulty = [run for run in result.judged if not run.case.healthy]
    lists = {
        "Missed faults": [(run, _codes(run)) for run in faulty if not run.outcome.flagged],
        "False alarms": [(run, _codes(run)) for run in result.judged if run.case.healthy and run.outcome.flagged],
        "Detected, but by another name": [
            (run, f"{_codes(run)} instead of {', '.join(sorted(run.case.symptoms))}")
            for run in faulty
            if run.outcome.flagged and deciding(run.outcome.told, run.case.symptoms) is None
        ],
        "Right symptom, wrong place": [
            (run, f"{told.code} names {_few(told.layers)} instead of {', '.join(run.case.culprits)}")
            for run in faulty
            if run.case.culprits
            and (told := deciding(run.outcome.told, run.case.symptoms)) is not None
            and not names_the_place(told.layers, run.case.culprits)
        ],
        "Dropped: the label did not verify": [(run, run.evidence.figure) for run in result.dropped],
    }
    for title, found in lists.items():
        yield f"## {title}"
        yield ""
        yield from [f"- {run.case.name} ({run.half}): {why}" for run, why in found] or ["None."]
        yield ""


def _codes(run: Judged) -> str:
    told = sorted({f"{one.code} {one.severity}" for one in run.outcome.told})
    return ", ".join(told) or "nothing was said"


def _few(layers: Sequence[str], most: int = 4) -> str:
    return ", ".join(layers[:most]) + (f" and {len(layers) - most} more" if len(layers) > most else "")
