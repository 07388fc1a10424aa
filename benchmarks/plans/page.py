"""The tables that a run of all pairs gives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.plans.measured import AS_MADE, TREATMENTS
from benchmarks.plans.trial import LOOKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.plans.measured import Row

AT = LOOKS.index(200)
HEALTHY_WITHIN = 1.5
"""A default start whose loss at step 200 is within this factor of the best of all treatments is healthy."""
LEARNS = 0.9
"""Part of the loss of guessing below which something has been learned."""
SLIGHTLY, CLEARLY = 1.05, 1.15
"""Factors on the loss that are asked about."""
LEARNED = 1e-3
"""Part of the loss of guessing below which all has been learned: what is left there is what a rate that fitted the start throws about, ten
times more in one step than in the next."""
WITHIN = 0.9
"""A faulty start is repaired if its plan gains this part of what the healthy start gains by step 200."""


def ratio(row: Row, treatment: str, look: int = AT) -> float:
    """Return the loss with a treatment by the loss without, both from the network as it is made."""
    return _over(row.losses[AS_MADE, treatment][look], row.losses[AS_MADE, "default"][look])


def ratio_beyond(row: Row, treatment: str) -> float:
    """Return the same with losses below :data:`LEARNED` of guessing as if they were that."""
    least = LEARNED * row.level
    return _over(max(row.losses[AS_MADE, treatment][AT], least), max(row.losses[AS_MADE, "default"][AT], least))


def learns(row: Row) -> bool:
    """Say whether the pair learns anything by step 200, as it is made or with the plan: a tenth below guessing."""
    return min(row.losses[AS_MADE, one][AT] for one in ("default", "plan")) < LEARNS * row.level


def healthy(row: Row) -> bool:
    """Say whether the network learns well as it is made."""
    if row.losses[AS_MADE, "default"][AT] >= LEARNS * row.level:
        return False
    best = min(row.losses[AS_MADE, treatment][AT] for treatment in TREATMENTS)
    return row.losses[AS_MADE, "default"][AT] <= HEALTHY_WITHIN * best


def reached(row: Row, start: str) -> float:
    """Return how much of the healthy start's gain the plan reaches from a faulty one; the best of default and plan is healthy."""
    goal = min(row.losses[AS_MADE, treatment][AT] for treatment in ("default", "plan"))
    level = row.level
    return _over(level - row.losses[start, "plan"][AT], level - goal)


def summary(rows: Sequence[Row]) -> str:
    """Return what the pairs say together."""
    lines = [
        f"{len(rows)} pairs of a network and a task, 3 seeds; medians over the seeds of the loss at step 200, the mean of five within the last ten steps.",
        "",
        '| | plan | textbook plan (`style="theory"`) | LSUV |',
        "|:--|--:|--:|--:|",
    ]
    good = [row for row in rows if healthy(row)]
    poor = [row for row in rows if not healthy(row)]
    for words, limit in (("at most 5 % worse than the default", SLIGHTLY), ("at most 15 % worse", CLEARLY)):
        cells = (_share(good, [ratio(row, one) <= limit for row in good]) for one in TREATMENTS[1:])
        lines.append(f"| {words}, where the default is healthy | {' | '.join(cells)} |")
    cells = (_share(good, [ratio_beyond(row, one) <= CLEARLY for row in good]) for one in TREATMENTS[1:])
    lines.append(
        f"| at most 15 % worse, where losses below a thousandth of guessing count as that | {' | '.join(cells)} |"
    )
    cells = (f"{_geometric(ratio(row, one) for row in poor):.2f}×" for one in TREATMENTS[1:])
    lines.append(
        f"| loss by the default's, geometric mean, where the default is not healthy ({len(poor)}) | {' | '.join(cells)} |"
    )
    unlearned = [row.pair.name for row in rows if not learns(row)]
    starts = [reached(row, start) for row in rows if learns(row) for start in row.pair.faulty]
    lines.append(
        f"| 90 % of the healthy start's gain reached from a faulty start | {_share(starts, [one >= WITHIN for one in starts])} | | |"
    )
    if unlearned:
        lines += [
            "",
            f"Nothing is learned by step 200 from any start, which leaves no gain to reach: {', '.join(unlearned)}.",
        ]
    return "\n".join(lines)


def details(rows: Sequence[Row]) -> str:
    """Return a line per pair."""
    lines = [
        "| pair | optimizer | default at 50 / 200 / 250 | plan | textbook plan | LSUV | faulty starts: loss at 200, with the plan, gain reached |",
        "|:--|:--|--:|--:|--:|--:|:--|",
    ]
    for row in rows:
        columns = (" / ".join(f"{loss:.3g}" for loss in row.losses[AS_MADE, one]) for one in TREATMENTS)
        faults = "; ".join(
            f"{start} {row.losses[start, 'default'][AT]:.3g} → {row.losses[start, 'plan'][AT]:.3g} ({reached(row, start):.0%})"
            for start in row.pair.faulty
        )
        mark = "" if healthy(row) else "\\*"
        lines.append(
            f"| {row.pair.name}{mark} | {row.pair.optimizer} {row.rate:g} | {' | '.join(columns)} | {faults} |"
        )
    return "\n".join([*lines, "", "\\* not healthy: some start reaches two thirds of its loss or less at step 200."])


def _over(a: float, b: float) -> float:
    return math.nan if math.isinf(a) and math.isinf(b) else math.inf if math.isinf(a) or b == 0 else a / b


def _geometric(values: Iterable[float]) -> float:
    known = [math.log(value) for value in values if math.isfinite(value) and value > 0]
    return math.exp(sum(known) / len(known)) if known else math.nan


def _share(of: Sequence[object], right: Sequence[bool]) -> str:
    return f"{sum(right) / len(right):.1%} ({sum(right)}/{len(of)})" if of else "none"
