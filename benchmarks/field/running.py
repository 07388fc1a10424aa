"""Trains one program under ``InitMonitor()`` and records what it said and how the loss went."""

from __future__ import annotations

import math
import os
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from benchmarks.detection.running import Told, quiet
from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.field.case import Case, Program

TAIL = 0.1
"""The loss at the end is the mean over this part of the batches, the last ones."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a program.

    Attributes:
        case, version: which program.
        first, last: the loss of the first batch and at the end.
        score: what the case measures, or the loss at the end; lower is better.
        batches: how many were trained on.
        told: what the monitor said, oldest first.
        failure: the traceback of what broke the run; empty if nothing did.
        seconds: computing time.
    """

    case: str
    version: str
    first: float = math.nan
    last: float = math.nan
    score: float = math.nan
    batches: int = 0
    told: tuple[Told, ...] = ()
    failure: str = ""
    seconds: float = 0.0

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Outcome:
        """Make one from the JSON values of another."""
        told = tuple(Told(**{**one, "layers": tuple(one["layers"])}) for one in values["told"])
        return cls(**{**values, "told": told})


class Losses(pl.Callback):
    """Keeps what each training step returned."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:  # noqa: ANN401, ARG002 - Lightning's signature
        """Keep the loss of a batch, which Lightning has detached."""
        outputs = args[0]
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            self.values.append(float(loss.detach()))


def train(program: Program, steps: int, *callbacks: pl.Callback) -> list[float]:
    """Train a program quietly on the CPU for this many optimizer steps; return the loss of every batch."""
    losses = Losses()
    trainer = pl.Trainer(
        **{
            "accelerator": "cpu",
            "max_steps": steps,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [*callbacks, losses],
            **program.options,
        }
    )
    trainer.fit(program.module, program.loader)
    return losses.values


def run(case: Case, version: str, *, watched: bool = True) -> Outcome:
    """Train one program of a case; whatever breaks is in the outcome.

    Args:
        case: the case.
        version: "faulty" or "fixed".
        watched: under the monitor with default options, as after a fresh installation.
    """
    quiet()
    os.environ["LIGHTNING_DISABLE_TIPS"] = "1"
    began = time.process_time()
    monitor = InitMonitor(sinks=()) if watched else None
    try:
        pl.seed_everything(case.seed, verbose=False)
        program = case.make(version)
        losses = train(program, case.steps, *([monitor] if monitor is not None else []))
        score = _score(case, program, tail(losses))
    except Exception:  # noqa: BLE001 - one broken case must not take the others with it; it is reported
        return Outcome(case.name, version, failure=traceback.format_exc(), seconds=time.process_time() - began)
    return Outcome(
        case.name,
        version,
        first=losses[0] if losses else math.nan,
        last=tail(losses),
        score=score,
        batches=len(losses),
        told=told_by(monitor) if monitor is not None else (),
        seconds=time.process_time() - began,
    )


def told_by(monitor: InitMonitor) -> tuple[Told, ...]:
    """Return a monitor's findings, reduced to what is judged."""
    return tuple(
        Told(
            finding.code,
            str(finding.severity),
            tuple(finding.layers),
            finding.step,
            finding.message,
            finding.remedy_sentence,
            finding.remedy_code,
        )
        for finding in monitor.findings
    )


def tail(losses: list[float]) -> float:
    """Return the mean of the last tenth; NaN if it holds one, or of nothing.

    >>> tail([5.0] * 18 + [1.0, 2.0]), tail([])
    (1.5, nan)
    """
    last = losses[-max(1, round(TAIL * len(losses))) :]
    return sum(last) / len(last) if last else math.nan


def _score(case: Case, program: Program, last: float) -> float:
    if case.score is None:
        return last
    program.module.eval()
    with torch.no_grad():
        return float(case.score(program.module, program.loader))
