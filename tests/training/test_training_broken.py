"""Trainings that break: what raised passes through, what cannot be written costs a warning, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, loader, mlp
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from test_training_interrupted import PLAIN
from trainings import Listener, Residual, assert_equal, assert_free, both, quiet, train

from init_monitor import InitMonitor, InitMonitorWarning
from init_monitor.capture.accumulator import accumulator_of
from init_monitor.measures import MOMENTS, Reduction
from init_monitor.store import read_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forked_programs import Forks

# --- what breaks -----------------------------------------------------------------------------------------------------


class Trouble(Exception):  # noqa: N818 - stands for any
    """What the user's code raises."""


class Breaks(Classifier):
    """Raises at one place of its second accumulated step."""

    place = ""
    error: BaseException = Trouble("user code")
    batch_idx = -1

    def _perhaps(self, place: str) -> None:
        # An accumulation of two steps at the fourth batch, and is in the middle of it at the third.
        if self.place == place and self.batch_idx == (3 if "optimizer" in place else 2):
            raise self.error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._perhaps("before the forward")
        with torch.device("cpu"):  # a mode of the user's own on top of the stack
            net: Any = self.net
            hidden = net[:2](x)
            self._perhaps("in the forward")
            output: torch.Tensor = net[2:](hidden)
        output.register_hook(lambda _: self._perhaps("in the backward"))
        return output

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.batch_idx = batch_idx
        return super().training_step(batch, batch_idx)

    def on_before_zero_grad(self, _optimizer: Any) -> None:
        self._perhaps("before zero_grad")

    def on_after_backward(self) -> None:
        self._perhaps("after the backward")

    def on_before_optimizer_step(self, _optimizer: Any) -> None:
        self._perhaps("before the optimizer")

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self._perhaps("after the optimizer")

    def on_train_batch_end(self, *_: Any) -> None:
        self._perhaps("at the end of the batch")

    def validation_step(self, batch: Any, _batch_idx: int) -> None:
        self.net(batch[0])
        self._perhaps("in an evaluation")


PLACES = [
    "before the forward", "in the forward", "in the backward", "before zero_grad", "after the backward",
    "before the optimizer", "after the optimizer", "at the end of the batch", "in an evaluation",
]  # fmt: skip
OTHERS = [(place, error) for place in PLACES[1:3] for error in (KeyboardInterrupt, SystemExit, MemoryError)]


@pytest.mark.parametrize(("place", "error"), [*((place, Trouble) for place in PLACES), *OTHERS])
def test_whatever_the_users_code_raises_wherever_it_passes_through_and_leaves_nothing(
    place: str, error: type[BaseException]
) -> None:
    outcomes = []
    for monitor in (None, InitMonitor(sinks=(listener := Listener(),), strict=True)):
        torch.manual_seed(11)
        module = Breaks(mlp(2, 16), lr=0.05)
        module.place, module.error = place, error("user code")
        handler = signal.getsignal(signal.SIGINT)
        try:
            # In the middle of an accumulation, with an evaluation after each batch: the step is open throughout.
            with pytest.raises((error, SystemExit) if error is KeyboardInterrupt else error):
                pl.Trainer(
                    **PLAIN, max_steps=8, callbacks=[monitor] if monitor else [], accumulate_grad_batches=2,
                    val_check_interval=1, limit_val_batches=1, num_sanity_val_steps=0,
                ).fit(module, loader(16), loader(16))  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored after a Ctrl-C
        del module.error
        assert_free(module)
        outcomes.append(module)
    assert_equal(*outcomes)
    assert len(outcomes[1].losses) in {2, 3, 4}
    assert listener.calls == ["open", "emit", "close"]
    # The same monitor watches the next training as if nothing had been.
    train(lambda: Classifier(mlp(2, 16)), loader(16), monitor, steps=2)
    assert monitor is not None
    assert [record.step for record in monitor.records] == [0, 1]


SIGINT = """
import conftest, os, signal, sys, torch
from models import Classifier, fit, loader, mlp
from init_monitor import InitMonitor
from trainings import assert_free

class Interrupted(Classifier):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if batch_idx == 3:
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        return loss

if __name__ == "__main__":
    # Whoever started the tests may have told them to ignore it: a shell does in the background, Lightning after a Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module, monitor = Interrupted(mlp(2, 16)), InitMonitor()
    try:
        fit(module, loader(16), monitor)
    except BaseException as error:
        print("raised", type(error).__name__)
    assert_free(module)
    print("records", [record.step for record in monitor.records])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "error", "steps"), [("SIGINT", "SystemExit", [0, 1, 2]), ("SIGTERM", "SIGTERM", [0, 1, 2, 3])]
)
def test_a_signal_from_outside_ends_the_run_with_its_closing_line(
    tmp_path: Path, forks: Forks, name: str, error: str, steps: list[int]
) -> None:
    script, here = tmp_path / "train.py", Path(__file__).parents[1]
    script.write_text(SIGINT)
    path = os.pathsep.join((str(here), str(here.parent)))
    done = forks.run(str(script), name, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, timeout=300)
    assert f"raised {error}" in done.stdout, done.stdout + done.stderr[-3000:]
    assert f"records {steps}" in done.stdout
    assert "Init Monitor: " in done.stdout


# --- out of disk -----------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes: writing then fails as on a full disk, also for root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_costs_the_stored_run_and_one_warning(tmp_path: Path) -> None:
    plain = train(lambda: Classifier(Residual()), loader(16, samples=32 * 30), None, steps=30)
    monitor = InitMonitor(dense_steps=1000)
    logger = CSVLogger(tmp_path)
    with (
        pytest.warns(InitMonitorWarning, match=r"cannot be stored in .*run\.jsonl \(File too large\)") as caught,
        full_disk(40_000),
    ):
        watched = train(
            lambda: Classifier(Residual()),
            loader(16, samples=32 * 30),
            monitor,
            steps=30,
            logger=logger,
            log_every_n_steps=30,
        )
    assert sum(warning.category is InitMonitorWarning for warning in caught) == 1
    assert_equal(plain, watched)
    assert len(monitor.records) == 30
    # What had been written before is whole.
    kept = read_run(Path(logger.log_dir)).records
    assert 0 < len(kept) < 30
    assert [record.step for record in kept] == list(range(len(kept)))


def test_a_disk_that_fills_under_the_event_file_costs_one_warning_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    add_event = EventFileWriter.add_event

    def full(self: Any, event: Any) -> None:
        if any(value.tag.startswith("init_monitor") for value in event.summary.value):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add_event(self, event)

    monkeypatch.setattr(EventFileWriter, "add_event", full)
    plain = train(lambda: Classifier(Residual()), loader(16), None, steps=6)
    monitor = InitMonitor()
    with pytest.warns(
        InitMonitorWarning, match=r"event file of TensorBoardLogger could not be written.*No space left"
    ) as caught:
        watched = train(
            lambda: Classifier(Residual()), loader(16), monitor, steps=6, logger=TensorBoardLogger(tmp_path)
        )
    assert sum(warning.category is InitMonitorWarning for warning in caught) == 1
    assert_equal(plain, watched)
    assert len(monitor.records) == 6


# --- a hook that fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backward", [False, True], ids=["of an output", "of a gradient"])
def test_a_measurement_that_fails_switches_its_layer_off_with_one_notice(
    monkeypatch: pytest.MonkeyPatch, *, backward: bool
) -> None:
    kind: type[Any] = type(accumulator_of(torch.device("cpu"), exact=True))
    take = kind.take

    def failing(
        self: Any,
        row: int,
        tensor: torch.Tensor,
        plan: Reduction = MOMENTS,
        *,
        gradient: bool = False,
        **more: Any,
    ) -> None:
        if gradient is backward and tuple(tensor.shape) == (32, 10):
            message = "no number for you"
            raise ArithmeticError(message)
        take(self, row, tensor, plan, gradient=gradient, **more)

    monkeypatch.setattr(kind, "take", failing)
    with pytest.warns(InitMonitorWarning, match=r"measuring 'net.head' failed and is switched off for it") as caught:
        monitor, _ = both(lambda: Classifier(Residual(), lr=0.05), loader(16), quiet(strict=False), steps=5)
    assert sum(warning.category is InitMonitorWarning for warning in caught) == 1
    assert len(monitor.notices) == 1
    assert len(monitor.records) == 5
    names = monitor.records[-1].names
    assert "net.head" not in names
    assert {"net.first", "net.second", "net.norm", "net.relu"} <= set(names)
