"""Libraries copy the callbacks they are given, and users import in the order that isort gives."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from watched import codes, trainer_of

from init_monitor import InitMonitor

if TYPE_CHECKING:
    from pathlib import Path

    from forked_programs import Forks

WIDTH = 16


class Exploding(pl.LightningModule):
    """Twelve layers, each of which multiplies the variance by nine."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(WIDTH, WIDTH) for _ in range(12)]
        self.net = nn.Sequential(*layers)
        for layer in layers:
            nn.init.normal_(layer.weight, std=3 / WIDTH**0.5)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss: torch.Tensor = self.net(batch[0]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-12)


def library(arguments: dict[str, object], directory: Path) -> pl.Trainer:
    """Train as a library does that keeps the Trainer's arguments for later fits: it copies them first."""
    torch.manual_seed(0)
    trainer = trainer_of(directory, logger=False, **copy.deepcopy(arguments))
    trainer.fit(Exploding(), DataLoader(TensorDataset(torch.randn(64, WIDTH)), batch_size=16))
    return trainer


def the_copy(trainer: pl.Trainer) -> InitMonitor:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    (found,) = [callback for callback in callbacks if isinstance(callback, InitMonitor)]
    return found


def test_what_a_copy_finds_is_found_by_the_users_own_monitor(tmp_path: Path) -> None:
    monitor = InitMonitor(sinks=(), strict=True)
    copied = the_copy(library({"callbacks": [monitor]}, tmp_path))
    assert copied is not monitor
    assert ("critical", "IM101") in codes(copied.findings)
    assert codes(monitor.findings) == codes(copied.findings)
    assert [record.step for record in monitor.records] == [record.step for record in copied.records]
    assert monitor.structure == copied.structure
    assert monitor.report.findings == copied.report.findings


def test_each_copy_keeps_its_own_findings_and_the_original_has_those_of_the_last(tmp_path: Path) -> None:
    monitor = InitMonitor(sinks=(), strict=True)
    first = the_copy(library({"callbacks": [monitor]}, tmp_path))
    before = [record.step for record in first.records]
    second = the_copy(library({"callbacks": [monitor]}, tmp_path))
    assert second is not first
    assert [record.step for record in first.records] == before
    assert monitor.records == second.records


def test_a_copy_of_a_monitor_that_has_trained_keeps_what_it_found(tmp_path: Path) -> None:
    monitor = InitMonitor(sinks=(), strict=True)
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(64, WIDTH)), batch_size=16)
    trainer_of(tmp_path, callbacks=[monitor], logger=False).fit(Exploding(), loader)
    assert codes(copy.deepcopy(monitor).findings) == codes(monitor.findings) != []


PROGRAM = """
from init_monitor import InitMonitor
import {package} as pl
import torch

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)
    def training_step(self, batch, _):
        return self.net(batch[0]).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

monitor = InitMonitor(sinks=(), strict=True)
assert isinstance(monitor, pl.Callback), type(monitor).__mro__
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(16, 4)), batch_size=4)
pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
           enable_model_summary=False, callbacks=[monitor]).fit(Module(), data)
assert [record.step for record in monitor.records] == [0, 1, 2, 3], monitor.records
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_init_monitor_may_be_imported_before_lightning(package: str, forks: Forks, tmp_path: Path) -> None:
    program = PROGRAM.format(package=package)
    ended = forks.run("-c", program, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
