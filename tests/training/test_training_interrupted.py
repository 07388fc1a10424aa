"""Trainings that stop, go on, start again, or break: what was known goes on, and nothing is left behind."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, fit, loader, mlp
from pytorch_lightning.callbacks import BatchSizeFinder, Callback, EarlyStopping, LearningRateFinder, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.tuner.tuning import Tuner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from trainings import Listener, Residual, assert_equal, assert_free, quiet

from init_monitor import InitMonitor
from init_monitor.records.quantities import FINDINGS_TAG, Quantity, vector_tag
from init_monitor.store import read_run

PLAIN: dict[str, Any] = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
}


def exploding() -> Classifier:
    return Classifier(mlp(12, 64, nn.init.normal_), lr=1e-30)


# --- resuming --------------------------------------------------------------------------------------------------------
SCHEDULE: dict[str, Any] = {"dense_steps": 3, "every_n_steps": 5}


def logged_steps(directory: str) -> list[int]:
    reader = EventAccumulator(directory, size_guidance={"tensors": 0})
    reader.Reload()
    # Files of one second are read by the writers' numbers as words, the tenth before the ninth: by when each event was written.
    events = sorted(reader.Tensors(vector_tag(Quantity.VARIANCE)), key=lambda event: event.wall_time)
    return [event.step for event in events]


@pytest.mark.parametrize(("stop", "steps"), [(7, [10, 15]), (8, [10, 15]), (10, [10, 15]), (2, [2, 5, 10, 15])])
def test_a_resumed_training_goes_on_where_it_stopped(tmp_path: Path, stop: int, steps: list[int]) -> None:
    """An epoch has 8 batches: step 8 is at its end, the others in the middle, step 2 within the dense start."""

    def resumed(monitor: InitMonitor | None, logger: Any = False) -> Classifier:  # noqa: FBT002 - as Lightning has it
        torch.manual_seed(1)
        module = exploding()
        trainer = pl.Trainer(**(PLAIN | {"logger": logger}), max_steps=16, callbacks=[monitor] if monitor else [])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's note on resuming within an epoch
            trainer.fit(module, data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
        assert_free(module)
        return module

    data = loader(64, samples=8 * 8, batch=8)
    first = InitMonitor(strict=True, **SCHEDULE)
    torch.manual_seed(11)
    trainer = fit(exploding(), data, first, steps=stop, logger=TensorBoardLogger(tmp_path, "run", version=0))
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert first.findings
    plain = resumed(None)
    logger = TensorBoardLogger(tmp_path, "run", version=0)
    second = InitMonitor(strict=True, **SCHEDULE)
    assert_equal(plain, resumed(second, logger))
    assert [record.step for record in second.records] == steps
    # One axis without a gap or a repetition, in the event files and in the run store.
    before = [record.step for record in first.records]
    assert logged_steps(logger.log_dir) == before + steps
    assert [record.step for record in read_run(Path(logger.log_dir)).records] == before + steps
    # Known findings are kept and not made again.
    found = [(f.code, f.severity, f.layers) for f in second.findings]
    assert found[: len(first.findings)] == [(f.code, f.severity, f.layers) for f in first.findings]
    assert len(found) == len(set(found))
    stored = [(f.code, f.severity, f.layers) for f in read_run(Path(logger.log_dir)).findings]
    assert stored == found
    # What a reader of the event file finds at its end is all of them.
    reader = EventAccumulator(logger.log_dir, size_guidance={"tensors": 0})
    reader.Reload()
    last = json.loads(reader.Tensors(FINDINGS_TAG)[-1].tensor_proto.string_val[0])
    assert [finding["code"] for finding in last["findings"]] == [code for code, _, _ in found]


def test_the_unit_window_goes_on_after_a_resume(tmp_path: Path) -> None:
    data, first, second = loader(16, samples=4 * 32), quiet(), quiet()
    trainer = fit(Classifier(mlp(1, 16)), data, first, steps=4)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    trainer = pl.Trainer(**PLAIN, max_steps=8, callbacks=[second])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Classifier(mlp(1, 16)), data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    units = second.records[-1].layers["net.1"].units
    assert units is not None
    assert units.samples == 8 * 32


def test_a_checkpoint_written_while_training_brings_the_state_along(tmp_path: Path) -> None:
    """ModelCheckpoint saves inside the loop, between the monitor's own calls."""
    torch.manual_seed(0)
    monitor = quiet(**SCHEDULE)
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=6, save_top_k=-1, filename="{step}")
    fit(exploding(), loader(64, samples=64), monitor, steps=7, callbacks=[monitor, saving], enable_checkpointing=True)
    second = quiet(**SCHEDULE)
    trainer = pl.Trainer(**PLAIN, max_steps=12, callbacks=[second])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(exploding(), loader(64, samples=64), ckpt_path=tmp_path / "step=6.ckpt", weights_only=True)
    assert [record.step for record in second.records] == [10]
    told = [(f.code, f.step, f.layers, f.message) for f in monitor.findings]
    assert told
    assert [(f.code, f.step, f.layers, f.message) for f in second.findings] == told


class Sharded(SingleDeviceStrategy):
    """Restores like the strategies that shard a model: only after everything was set up."""

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        return True


def test_a_state_that_is_restored_late_is_restored_all_the_same(tmp_path: Path) -> None:
    first, second, data = quiet(**SCHEDULE), quiet(**SCHEDULE), loader(64, samples=8 * 8, batch=8)
    trainer = fit(exploding(), data, first, steps=8)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert first.findings
    trainer = pl.Trainer(
        **(PLAIN | {"accelerator": "auto"}), max_steps=12, callbacks=[second], strategy=Sharded(torch.device("cpu"))
    )
    trainer.fit(exploding(), data, ckpt_path=tmp_path / "half.ckpt")
    assert [record.step for record in second.records] == [10]
    assert [(f.code, f.step) for f in second.findings] == [(f.code, f.step) for f in first.findings]


# --- several fits, tuners, early ends --------------------------------------------------------------------------------


def test_one_trainer_that_fits_twice_is_two_runs_on_one_axis() -> None:
    outcomes = []
    for monitor in (None, InitMonitor(sinks=(listener := Listener(),), strict=True, **SCHEDULE)):
        torch.manual_seed(11)
        module, data = Classifier(Residual(), lr=0.05), loader(16)
        trainer = fit(module, data, monitor, steps=-1, max_epochs=1)
        assert_free(module)
        trainer.fit_loop.max_epochs = 2
        trainer.fit(module, data)
        assert_free(module)
        outcomes.append(module)
    assert_equal(*outcomes)
    assert len(outcomes[1].losses) == 16
    # A run begins with a look, whatever the schedule says.
    assert listener.steps == [0, 1, 2, 5, 8, 10, 15]
    assert listener.calls.count("open") == listener.calls.count("close") == 2


class Tunable(Classifier):
    """Has what tuners change: a learning rate and a batch size."""

    def __init__(self) -> None:
        super().__init__(Residual(), lr=0.05)
        self.batch_size = 8

    def train_dataloader(self) -> Any:
        return loader(16, samples=512, batch=self.batch_size)


def tune_learning_rate(trainer: pl.Trainer, module: Tunable) -> list[float]:
    found = Tuner(trainer).lr_find(module, num_training=20, early_stop_threshold=None)
    assert found is not None
    return list(found.results["loss"])


def tune_batch_size(trainer: pl.Trainer, module: Tunable) -> list[float]:
    return [float(Tuner(trainer).scale_batch_size(module, init_val=2, max_trials=3, steps_per_trial=2) or 0)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tune", [tune_learning_rate, tune_batch_size])
@pytest.mark.parametrize("before", [False, True], ids=["fresh", "after a fit"])
def test_a_tuner_leaves_no_trace_of_its_trials(tune: Any, tmp_path: Path, *, before: bool) -> None:
    outcomes, results, listener = [], [], Listener()
    for monitor in (None, InitMonitor(sinks=(listener,), strict=True, **SCHEDULE)):
        torch.manual_seed(11)
        module = Tunable()
        callbacks: list[Callback] = [] if monitor is None else [monitor]
        trainer = pl.Trainer(
            **(PLAIN | {"logger": CSVLogger(tmp_path)}), max_steps=8, callbacks=callbacks, default_root_dir=tmp_path
        )
        if before:
            trainer.fit(module)
        told, known = list(listener.calls), [] if monitor is None else [r.step for r in monitor.records]
        results.append(tune(trainer, module))
        assert_free(module)
        assert listener.calls == told
        if monitor is not None:
            assert [record.step for record in monitor.records] == known
        trainer.fit_loop.epoch_loop.max_steps = 16 if before else 8
        trainer.fit(module)
        assert_free(module)
        outcomes.append(module)
        if monitor is not None:
            assert [record.step for record in monitor.records] == ([8, 10, 15] if before else [0, 1, 2, 5])
    assert results[0] == results[1]
    assert_equal(*outcomes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", [True, False], ids=["before the tuner", "after the tuner"])
@pytest.mark.parametrize(
    "finder",
    [
        lambda: LearningRateFinder(num_training_steps=10, early_stop_threshold=None),
        lambda: BatchSizeFinder(init_val=2, max_trials=2, steps_per_trial=1),
    ],
    ids=["learning rate", "batch size"],
)
def test_a_tuner_at_the_start_of_a_fit_is_not_watched_and_the_fit_is(
    finder: Any, tmp_path: Path, *, first: bool
) -> None:
    outcomes = []
    for monitor in (None, InitMonitor(sinks=(listener := Listener(),), strict=True, **SCHEDULE)):
        torch.manual_seed(11)
        module, tuner = Tunable(), finder()
        callbacks = [tuner] if monitor is None else [monitor, tuner] if first else [tuner, monitor]
        pl.Trainer(**PLAIN, max_steps=8, callbacks=callbacks, default_root_dir=tmp_path).fit(module)
        assert_free(module)
        outcomes.append(module)
    assert_equal(*outcomes)
    assert listener.calls == ["open", "emit", "emit", "emit", "emit", "close"]
    assert listener.steps == [0, 1, 2, 5]


def test_a_training_that_stops_early_ends_the_run_in_order() -> None:
    class Logged(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("never_better", 1.0)
            return loss

    outcomes = []
    for monitor in (None, InitMonitor(sinks=(listener := Listener(),), strict=True)):
        torch.manual_seed(11)
        module = Logged(mlp(1, 16), lr=0.05)
        callbacks: list[Callback] = [EarlyStopping("never_better", patience=1, check_on_train_epoch_end=True)]
        trainer = fit(
            module, loader(16, samples=64), None, steps=100, callbacks=callbacks + ([monitor] if monitor else [])
        )
        assert trainer.global_step == 4
        outcomes.append(module)
    assert_equal(*outcomes)
    assert listener.steps == [0, 1, 2, 3]
    assert listener.calls[-1] == "close"


def test_a_time_limit_within_an_accumulation_leaves_no_open_step() -> None:
    class Stops(Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.fit_loop.epoch_loop.batch_idx == 4

    outcomes = []
    for monitor in (None, InitMonitor(sinks=(listener := Listener(),), strict=True)):
        torch.manual_seed(11)
        module = Classifier(Residual(), lr=0.05)
        callbacks = [Stops()] if monitor is None else [Stops(), monitor]
        fit(module, loader(16), None, steps=100, callbacks=callbacks, accumulate_grad_batches=2)
        assert_free(module)
        outcomes.append(module)
    assert_equal(*outcomes)
    assert len(outcomes[0].losses) == 5
    assert listener.steps == [0, 1]
