"""Trains one case: once without the monitor, which is what its label rests on, and once with it."""

from __future__ import annotations

import logging
import time
import traceback
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from benchmarks.detection.baseline import Baseline
from benchmarks.detection.printed import copied
from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch.utils.data import DataLoader

    from benchmarks.detection.baseline import Check
    from benchmarks.detection.case import Case, Evidence, Training
    from init_monitor.records import Finding
    from init_monitor.records.aim import Aim

DENSE_STEPS = 10
"""The monitor's own default."""

EVERY_N_STEPS = 5
"""A training of 120 steps then has 32 samples, as one of 1,000 steps has with the monitor's own 50."""

END_SHARE = 0.2
"""The loss at the end is the mean over this part of the batches, the last ones."""

START_SHARE = 0.02
"""The loss at the start is the mean over this part of the batches, the first ones: two or three of 120."""


@dataclass(frozen=True, slots=True)
class Told:
    """A finding, reduced to what is scored.

    Attributes:
        code, severity, layers, step, message: as in the finding.
        remedy: the finding's remedy.
        remedy_code: the code of the remedy as it is copied from the console, empty where there is none.
        aim: what it aims at, if it names that.
    """

    code: str
    severity: str
    layers: tuple[str, ...]
    step: int
    message: str
    remedy: str = ""
    remedy_code: str = ""
    aim: Aim | None = None

    @property
    def flags(self) -> bool:
        """It is more than information."""
        return self.severity != "info"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a case.

    Attributes:
        case: its name.
        losses: the training loss of every batch, without the monitor.
        told: what the monitor said, oldest first.
        baseline: the checks of the baseline that fired.
        evidence: what the case's own measurement of the fault says; ``None`` if it has none.
        changed: the losses with the monitor are not bit for bit those without it.
        culprit_share: share of the modules without children that the patterns of the case name.
        notices: what the monitor switched off, in words.
        failure: the traceback of what broke the run; empty if nothing did.
        seconds: computing time of both trainings, of its process.
    """

    case: str
    losses: tuple[float, ...] = ()
    told: tuple[Told, ...] = ()
    baseline: frozenset[Check] = frozenset()
    evidence: Evidence | None = None
    changed: bool = False
    culprit_share: float = 0.0
    notices: tuple[str, ...] = ()
    failure: str = ""
    seconds: float = 0.0

    @property
    def flagged(self) -> bool:
        """The monitor said more than information."""
        return any(told.flags for told in self.told)

    @property
    def start(self) -> float:
        """The loss at the start."""
        return mean_loss(self.losses[: max(1, round(START_SHARE * len(self.losses)))])

    @property
    def end(self) -> float:
        """The loss at the end; infinite if any of it is not finite."""
        return mean_loss(self.losses[-max(1, round(END_SHARE * len(self.losses))) :])


def mean_loss(losses: Sequence[float]) -> float:
    """Return the mean; infinite if there is none, or one that is not finite.

    >>> mean_loss([1.0, 2.0]), mean_loss([1.0, float("nan")]), mean_loss([])
    (1.5, inf, inf)
    """
    total = sum(losses) / len(losses) if losses else float("inf")
    return total if -float("inf") < total < float("inf") else float("inf")


class Batches:
    """A loader that gives a fixed number of batches, restarting as often as needed.

    Args:
        loader: what is looped over.
        count: batches to give.
    """

    def __init__(self, loader: DataLoader[Any], count: int) -> None:
        self.loader = loader
        self.count = count

    def __len__(self) -> int:
        """Count the batches."""
        return self.count

    def __iter__(self) -> Iterator[Any]:
        """Give the batches."""
        left = self.count
        while left:
            for batch in self.loader:
                yield batch
                left -= 1
                if not left:
                    return


def train(
    training: Training,
    steps: int,
    callbacks: Iterable[pl.Callback] = (),
    *,
    options: Mapping[str, Any] | None = None,
) -> tuple[float, ...]:
    """Train quietly and return the loss of every batch.

    Args:
        training: what to train.
        steps: batches.
        callbacks: of the Trainer.
        options: of the Trainer, over those of the training.
    """
    trainer = pl.Trainer(
        **{
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": list(callbacks),
            **training.options,
            **(options or {}),
        }
    )
    trainer.fit(training.module, Batches(training.loader, steps))
    losses: list[float] = training.module.losses  # type: ignore[assignment]
    return tuple(float(loss) for loss in losses)


def run(case: Case) -> Outcome:
    """Train a case twice and say what came of it; whatever breaks is in the outcome."""
    quiet()
    began = time.process_time()
    try:
        plain = case.make()
        baseline = Baseline()
        losses = train(plain, case.steps, [baseline])
        evidence = None if case.pathology is None else case.pathology(plain)
        share = culprit_share(plain.module, case.culprits)
        monitor = InitMonitor(every_n_steps=EVERY_N_STEPS, dense_steps=DENSE_STEPS, sinks=())
        watched = train(case.make(), case.steps, [monitor])
    except Exception:  # noqa: BLE001 - one broken case must not take the others with it; it is reported
        return Outcome(case.name, failure=traceback.format_exc(), seconds=time.process_time() - began)
    return Outcome(
        case.name,
        losses=losses,
        told=tuple(_told(finding) for finding in monitor.findings),
        baseline=baseline.fired,
        evidence=evidence,
        changed=not same_bits(losses, watched),
        culprit_share=share,
        notices=tuple(monitor.notices),
        seconds=time.process_time() - began,
    )


def same_bits(one: Sequence[float], other: Sequence[float]) -> bool:
    """Say whether two runs had the same losses, NaN for NaN.

    >>> same_bits([1.0, float("nan")], [1.0, float("nan")]), same_bits([0.1 + 0.2], [0.3])
    (True, False)
    """
    return [float(loss).hex() for loss in one] == [float(loss).hex() for loss in other]


def culprit_share(module: torch.nn.Module, culprits: Sequence[str]) -> float:
    """Return the share of the modules without children that the patterns name."""
    leaves = [name for name, part in module.named_modules() if name and not any(True for _ in part.children())]
    named = [name for name in leaves if any(fnmatchcase(name, pattern) for pattern in culprits)]
    return len(named) / len(leaves) if leaves else 0.0


def quiet() -> None:
    """Silence Lightning's advice, and let each process compute in one thread so that two do not compete."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _told(finding: Finding) -> Told:
    return Told(
        finding.code,
        str(finding.severity),
        finding.layers,
        finding.step,
        finding.message,
        finding.remedy_sentence,
        copied(finding),
        finding.aim,
    )
