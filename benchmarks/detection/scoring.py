"""The shares of faulty and healthy runs that the monitor and the baseline judged correctly."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from benchmarks.detection.baseline import MEANING, RANGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.detection.baseline import Check
    from benchmarks.detection.case import Case, Evidence
    from benchmarks.detection.running import Outcome, Told
    from benchmarks.detection.split import Half

Z = 1.959964
"""Two-sided 95 % of a normal distribution."""

LOCAL = 0.5
"""A fault is local if its culprits are a smaller share of the layers: naming every layer is then a wrong answer."""

RANK = ("info", "warning", "critical")

_CALL = re.compile(r"(@\d+)?(#\d+)?(\[[^\]]*\])*$")
"""The suffix of a tap or residual name after the path: which call, which addition, which of several outputs."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with its outcome, and the evidence for its label."""

    case: Case
    outcome: Outcome
    evidence: Evidence
    half: Half


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95 % interval.

    >>> print(Rate(9, 10))
    90.0 % (59.6–98.2 %, 9/10)
    """

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927), which holds for shares near 0 and 1 too."""
        if not self.of:
            return 0.0, 1.0
        square = Z * Z
        middle = (self.value + square / (2 * self.of)) / (1 + square / self.of)
        half = (
            Z * math.sqrt(self.value * (1 - self.value) / self.of + square / (4 * self.of**2)) / (1 + square / self.of)
        )
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        """Percent, interval and counts."""
        if not self.of:
            return "– (0/0)"
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f}–{100 * high:.1f} %, {self.hits}/{self.of})"


@dataclass(frozen=True, slots=True)
class Scores:
    """How one monitor did on a set of runs.

    Attributes:
        recall: faulty runs that it flagged.
        false_positives: healthy runs that it flagged.
        precision: flagged runs that are faulty.
        symptom: detected faulty runs with a flagging finding whose code names the fault.
        layer: of these, those with a place whose deciding finding names it (see :func:`names_the_place`).
        local: the same among local faults.
        critical_on_healthy: critical findings on healthy runs, in all.
    """

    recall: Rate
    false_positives: Rate
    precision: Rate
    symptom: Rate
    layer: Rate = Rate(0, 0)
    local: Rate = Rate(0, 0)
    critical_on_healthy: int = 0


def score(judged: Iterable[Judged]) -> Scores:
    """Return how the monitor did."""
    runs = list(judged)
    faulty = [run for run in runs if not run.case.healthy]
    healthy = [run for run in runs if run.case.healthy]
    detected = [run for run in faulty if run.outcome.flagged]
    false = [run for run in healthy if run.outcome.flagged]
    decided = [(run, told) for run in detected if (told := deciding(run.outcome.told, run.case.symptoms)) is not None]
    placed = [(run, names_the_place(told.layers, run.case.culprits)) for run, told in decided if run.case.culprits]
    local = [right for run, right in placed if run.outcome.culprit_share < LOCAL]
    return Scores(
        recall=Rate(len(detected), len(faulty)),
        false_positives=Rate(len(false), len(healthy)),
        precision=Rate(len(detected), len(detected) + len(false)),
        symptom=Rate(len(decided), len(detected)),
        layer=Rate(sum(right for _, right in placed), len(placed)),
        local=Rate(sum(local), len(local)),
        critical_on_healthy=sum(told.severity == "critical" for run in healthy for told in run.outcome.told),
    )


def score_baseline(judged: Iterable[Judged], checks: Iterable[Check] | None = None) -> Scores:
    """Return how the baseline did, or some of its checks alone."""
    runs = list(judged)
    counted = set(MEANING) - RANGES if checks is None else set(checks)
    faulty = [run for run in runs if not run.case.healthy]
    healthy = [run for run in runs if run.case.healthy]
    detected = [run for run in faulty if run.outcome.baseline & counted]
    false = sum(bool(run.outcome.baseline & counted) for run in healthy)
    named = sum(any(MEANING[check] & run.case.symptoms for check in run.outcome.baseline & counted) for run in detected)
    return Scores(
        recall=Rate(len(detected), len(faulty)),
        false_positives=Rate(false, len(healthy)),
        precision=Rate(len(detected), len(detected) + false),
        symptom=Rate(named, len(detected)),
    )


def deciding(told: Sequence[Told], symptoms: frozenset[str]) -> Told | None:
    """Return the finding that a person who looks for the right one reads first.

    Of the flagging findings whose code names the fault: the most severe one, of these the oldest.
    """
    right = [one for one in told if one.flags and one.code in symptoms]
    return max(right, key=lambda one: RANK.index(one.severity), default=None)


def names_the_place(layers: Sequence[str], culprits: Sequence[str]) -> bool:
    """Say whether a finding's layers are the place: at least one culprit, and at least half of them culprits."""
    right = sum(is_culprit(layer, culprits) for layer in layers)
    return right > 0 and 2 * right >= len(layers)


def is_culprit(name: str, culprits: Sequence[str]) -> bool:
    """Say whether a layer, a parameter or a residual addition is meant by one of the patterns.

    >>> is_culprit("net.3#2", ["net.3"]), is_culprit("net.3.weight", ["net.3"]), is_culprit("net.30", ["net.3"])
    (True, True, False)
    """
    path = _CALL.sub("", name)
    meant = {name, path, path.rpartition(".")[0]} - {""}
    return any(fnmatchcase(one, pattern) for one in meant for pattern in culprits)
