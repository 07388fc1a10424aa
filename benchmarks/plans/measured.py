"""Every trial of a choice of pairs, in several processes, kept in a file so that a stopped run goes on."""

from __future__ import annotations

import json
import multiprocessing
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import torch

from benchmarks.plans.pairs import PAIRS
from benchmarks.plans.task import guessing
from benchmarks.plans.trial import LOOKS, RATES, Trial, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from benchmarks.plans.pairs import Pair

SEEDS = (0, 1, 2)
FURTHER = tuple(range(3, 12))
"""Seeds of a pair whose first three differ too much for a median of three, as it is made."""
SPREAD = 2.0
"""Factor between the losses of the three default starts at step 200 from which they do. It does not look at what a plan does."""
TREATMENTS = ("default", "plan", "theory", "LSUV")
AS_MADE = "as made"


class Kept:
    """Losses by trial, in memory and in a file of JSON lines."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.losses: dict[Trial, tuple[float, ...]] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                trial, losses = json.loads(line)
                self.losses[Trial(*trial)] = tuple(losses)

    def add(self, trial: Trial, losses: tuple[float, ...]) -> None:
        """Remember one."""
        self.losses[trial] = losses
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([list(trial), list(losses)]) + "\n")


class Row(NamedTuple):
    """What one pair gave: the median over seeds of the loss at each look, by start and treatment; what guessing costs."""

    pair: Pair
    rate: float
    level: float
    losses: dict[tuple[str, str], tuple[float, ...]]


def measure(pairs: Sequence[Pair], kept: Kept, jobs: int, tell: Callable[[int, int], None]) -> list[Row]:
    """Tune the rate of each pair for its own start, then train it from every start with every treatment."""
    tuning = [Trial(p.name, AS_MADE, "default", 0, rate) for p in pairs for rate in RATES[p.optimizer]]
    _carry_out(tuning, kept, jobs, tell)
    rates = {pair.name: _best(pair, kept) for pair in pairs}
    _carry_out([trial for pair in pairs for trial in _trials(pair, rates[pair.name])], kept, jobs, tell)
    further = {pair.name: _further(pair, rates[pair.name], kept) for pair in pairs}
    _carry_out([trial for trials in further.values() for trial in trials], kept, jobs, tell)
    return [_row(pair, rates[pair.name], kept, further[pair.name]) for pair in pairs]


def _best(pair: Pair, kept: Kept) -> float:
    at = LOOKS.index(200)
    return min(RATES[pair.optimizer], key=lambda rate: kept.losses[Trial(pair.name, AS_MADE, "default", 0, rate)][at])


def _trials(pair: Pair, rate: float) -> Iterable[Trial]:
    for seed in SEEDS:
        for treatment in TREATMENTS:
            yield Trial(pair.name, AS_MADE, treatment, seed, rate)
        for start in pair.faulty:
            for treatment in ("default", "plan"):
                yield Trial(pair.name, start, treatment, seed, rate)


def _further(pair: Pair, rate: float, kept: Kept) -> list[Trial]:
    """Return the trials of further seeds, if the pair needs them."""
    at = LOOKS.index(200)
    first = sorted(kept.losses[Trial(pair.name, AS_MADE, "default", seed, rate)][at] for seed in SEEDS)
    seeds = FURTHER if first[-1] > SPREAD * first[0] else ()
    return [Trial(pair.name, AS_MADE, treatment, seed, rate) for seed in seeds for treatment in TREATMENTS]


def _row(pair: Pair, rate: float, kept: Kept, further: Iterable[Trial]) -> Row:
    grouped: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for trial in (*_trials(pair, rate), *further):
        losses = kept.losses[trial] or kept.losses[trial._replace(treatment="default")]
        grouped.setdefault((trial.start, trial.treatment), []).append(losses)
    return Row(
        pair,
        rate,
        guessing(pair.task()),
        {key: tuple(median(column) for column in zip(*of, strict=True)) for key, of in grouped.items()},
    )


def _carry_out(trials: Iterable[Trial], kept: Kept, jobs: int, tell: Callable[[int, int], None]) -> None:
    wanted = [trial for trial in trials if trial not in kept.losses]
    if not wanted:
        return
    with multiprocessing.get_context("spawn").Pool(jobs, _one_thread) as pool:
        for done, (trial, losses) in enumerate(pool.imap_unordered(_trained, wanted, chunksize=4), 1):
            kept.add(trial, losses)
            tell(done, len(wanted))


def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _trained(trial: Trial) -> tuple[Trial, tuple[float, ...]]:
    return trial, run(next(pair for pair in PAIRS if pair.name == trial.pair), trial)
