"""The training loss of every optimizer step: from Lightning, a loop of one's own, and what is kept of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings, strategies as st
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import init_monitor
from init_monitor import InitMonitor
from init_monitor.capture.losses import LossMeter
from init_monitor.records import LossCurve, LossStretch
from init_monitor.sinks import RunStoreSink
from init_monitor.store import read_run

if TYPE_CHECKING:
    from pathlib import Path

QUIET: dict[str, Any] = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False,
    "enable_model_summary": False, "log_every_n_steps": 1,
}  # fmt: skip


class Plain(pl.LightningModule):
    """Learns a line; remembers the loss of each batch."""

    def __init__(self, break_at: int = -1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.seen: list[float] = []
        self.break_at = break_at

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self.net(x), y)
        if 0 <= self.break_at <= len(self.seen):
            loss = loss * torch.nan
        self.seen.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def batches(count: int, size: int = 8) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count * size, 4, generator=generator)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=size)


def fit(module: pl.LightningModule, monitor: InitMonitor, count: int = 24, **options: Any) -> None:
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(max_epochs=1, callbacks=[monitor], **(QUIET | options))
    trainer.fit(module, batches(count))


def test_every_optimizer_step_has_its_loss_measured_or_not() -> None:
    module, monitor = Plain(), InitMonitor(every_n_steps=10, dense_steps=2, sinks=())
    fit(module, monitor)
    np.testing.assert_array_equal(monitor.losses, np.array(module.seen, np.float32))
    np.testing.assert_array_equal(monitor.loss_steps, np.arange(24))
    assert [record.step for record in monitor.records] == [0, 1, 10, 20]
    assert [record.loss for record in monitor.records] == [np.float32(module.seen[i]) for i in (0, 1, 10, 20)]
    assert monitor.records[2].losses.steps.tolist() == list(range(2, 11))


def test_accumulated_batches_count_as_their_mean_also_in_the_smaller_group_at_the_end() -> None:
    module, monitor = Plain(), InitMonitor(sinks=())
    fit(module, monitor, count=10, accumulate_grad_batches=4)
    expected = [np.mean(module.seen[i : i + 4]) for i in (0, 4, 8)]
    np.testing.assert_allclose(monitor.losses, expected, rtol=1e-6)


class ByHand(pl.LightningModule):
    """Two networks with an optimizer each, stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 1), nn.Linear(4, 1)
        self.automatic_optimization = False
        self.seen: list[tuple[float, float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        losses: list[float] = []
        for net, optimizer in zip((self.a, self.b), self.optimizers(), strict=True):
            loss = nn.functional.mse_loss(net(x), y * (1 + len(losses)))
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            losses.append(loss.item())
        self.seen.append((losses[0], losses[1]))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(self.a.parameters(), lr=0.01), torch.optim.Adam(self.b.parameters(), lr=0.01)]


def test_losses_of_several_optimizers_are_summed_and_told_apart() -> None:
    module, monitor = ByHand(), InitMonitor(sinks=())
    fit(module, monitor, count=6)
    np.testing.assert_allclose([record.loss for record in monitor.records], np.sum(module.seen, axis=1), rtol=1e-6)
    for record, (first, second) in zip(monitor.records, module.seen, strict=True):
        assert record.loss_by_optimizer == pytest.approx({"SGD": first, "Adam": second})


def test_a_loss_that_turns_is_looked_at_in_the_step_after_it_and_once() -> None:
    monitor = InitMonitor(every_n_steps=50, dense_steps=3, sinks=())
    fit(Plain(break_at=13), monitor, count=40)
    assert [record.step for record in monitor.records] == [0, 1, 2, 14]
    assert np.isnan(monitor.losses[13:]).all()
    assert np.isfinite(monitor.losses[:13]).all()
    assert len(monitor.losses) == 40


def test_the_losses_after_the_last_record_are_there_when_the_fit_is_over(tmp_path: Path) -> None:
    module, monitor = Plain(), InitMonitor(every_n_steps=50, dense_steps=3, sinks=[RunStoreSink()])
    fit(module, monitor, count=9, logger=CSVLogger(tmp_path))
    np.testing.assert_array_equal(monitor.losses, np.array(module.seen, np.float32))
    (file,) = tmp_path.rglob("run.jsonl*")
    stored = read_run(file)
    np.testing.assert_allclose(stored.losses.values, module.seen, rtol=1e-6)
    np.testing.assert_array_equal(stored.losses.steps, np.arange(9))


def test_a_loop_of_ones_own_says_its_loss_or_it_is_seen_going_backward() -> None:
    told, seen = loop(tell=True), loop(tell=False)
    assert told[0] == pytest.approx(told[1])
    assert len(told[0]) == 12
    # Without being told, only sampled steps are known: 0, 1, 2 and 10.
    assert seen[0] == pytest.approx([seen[1][i] for i in (0, 1, 2, 10)])


def loop(*, tell: bool) -> tuple[list[float], list[float]]:
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    with init_monitor.watch(net, optimizer, sinks=(), every_n_steps=10, dense_steps=3, strict=True) as m:
        for x, y in batches(12):
            with m.step() as step:
                loss = nn.functional.mse_loss(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                if tell:
                    step.loss = loss
    return m.losses.tolist(), losses


def test_a_scaled_loss_is_told_unscaled() -> None:
    net, scaler = nn.Linear(4, 1), torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    with init_monitor.watch(net, optimizer, scaler=scaler, sinks=(), strict=True) as m:
        for x, y in batches(4):
            with m.step():
                loss = nn.functional.mse_loss(net(x), y)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                losses.append(loss.item())
    np.testing.assert_allclose(m.losses, losses, rtol=1e-6)


def test_an_optimizer_that_evaluates_several_times_has_one_loss() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
    evaluated: list[list[float]] = []
    with init_monitor.watch(net, optimizer, sinks=(), strict=True) as m:
        for x, y in batches(3):
            evaluated.append([])

            def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(net(x), y)
                loss.backward()
                evaluated[-1].append(loss.item())
                return loss

            with m.step():
                optimizer.step(closure)
    np.testing.assert_allclose(m.losses, [values[-1] for values in evaluated], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_a_step_without_a_loss_leaves_no_trace_and_no_complaint() -> None:
    class Skips(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx % 2 else super().training_step(batch, batch_idx)

    module, monitor = Skips(), InitMonitor(sinks=(), strict=True)
    fit(module, monitor, count=6)
    np.testing.assert_array_equal(monitor.losses, np.array(module.seen, np.float32))


@given(st.lists(st.floats(allow_nan=True, width=32), max_size=70), st.integers(2, 12))
@settings(max_examples=60, deadline=None)
def test_a_thinned_curve_keeps_the_first_and_the_newest_and_what_it_keeps_is_true(
    values: list[float], most: int
) -> None:
    curve = LossCurve(most)
    for start in range(0, len(values), 3):
        curve.add(LossStretch.of((i, values[i]) for i in range(start, min(start + 3, len(values)))))
    assert len(curve) <= most + 1
    assert curve.seen == len(values)
    steps = curve.steps.tolist()
    np.testing.assert_array_equal(curve.values, np.array([values[step] for step in steps], np.float32))
    if values:
        assert (steps[0], steps[-1]) == (0, len(values) - 1)
    broken = [i for i, value in enumerate(values) if not np.isfinite(value)]
    assert curve.first_nonfinite == (broken[0] if broken else None)


def test_a_step_that_is_run_again_counts_once() -> None:
    curve = LossCurve()
    curve.add(LossStretch.of([(0, 3.0), (1, 2.0), (2, 9.0)]))
    curve.add(LossStretch.of([(2, 1.5), (3, 1.0)]))
    assert curve.steps.tolist() == [0, 1, 2, 3]
    assert curve.values.tolist() == [3.0, 2.0, 1.5, 1.0]


def test_what_is_no_single_number_is_no_loss() -> None:
    meter = LossMeter()
    for no_loss in (torch.ones(2), torch.ones((), dtype=torch.complex64), None, "1.0", True, {"loss": 1.0}):
        meter.note(no_loss)
    meter.end_step(0)
    assert len(meter.read()) == 0


def test_losses_that_wait_on_a_device_are_read_with_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("init_monitor.capture.losses.waits", lambda _: True)
    monkeypatch.setattr("init_monitor.capture.losses.LONGEST_WAIT", 3)
    meter = LossMeter()
    for step in range(5):
        meter.note(torch.tensor(float(step)), torch.tensor(0.5))
        meter.note(torch.tensor([10.0]))
        meter.end_step(step)
    waiting = meter.waiting()
    assert waiting is not None
    assert not meter.has_turned()
    assert meter.read(waiting.tolist()).values.tolist() == [10.0, 10.5, 11.0, 11.5, 12.0]
    assert len(meter.read_now()) == 0


def test_the_report_has_the_losses(tmp_path: Path) -> None:
    module, monitor = Plain(), InitMonitor(sinks=())
    fit(module, monitor, count=5)
    page = json.loads(monitor.report.to_json(tmp_path / "report.json") or (tmp_path / "report.json").read_text())
    assert page["losses"]["steps"] == list(range(5))
    assert page["losses"]["values"] == pytest.approx(module.seen, rel=1e-6)
