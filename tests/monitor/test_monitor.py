"""Whatever fails inside the monitor, the training goes on; and it gets along with compiling, copying and pickling."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, fit, loader, mlp
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.overrides import _get_current_function_mode_stack

import init_monitor.capture.capture
import init_monitor.judgement
import init_monitor.monitor
from init_monitor import Finding, InitMonitor, InitMonitorError, InitMonitorWarning, StepRecord, Structure
from init_monitor.capture.accumulator import accumulator_of
from init_monitor.capture.capture import Capture
from init_monitor.capture.forward_probe import ForwardProbe
from init_monitor.capture.parameters import ParameterTaps
from init_monitor.capture.residual import ResidualTaps
from init_monitor.integrations.places import RunPlace, run_place
from init_monitor.measures import MOMENTS, Reduction
from init_monitor.rules.engine import Engine
from init_monitor.sinks import RunStoreSink
from init_monitor.store import read_run
from init_monitor.torch_compat import EagerMode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from init_monitor.sinks.sink import Run


def no_hooks(model: nn.Module) -> bool:
    return not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Validated(Classifier):
    """Also evaluates, between two batches of one optimizer step."""

    def validation_step(self, batch: Any, _batch_idx: int) -> None:
        self(batch[0])


class Listener:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def open(self, run: Run) -> None:
        self.calls.append("open")

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        self.calls.append(f"emit {record.step}")

    def close(self) -> None:
        self.calls.append("close")


def broken(*_args: object, **_kwargs: object) -> None:
    message = "broken on purpose"
    raise ZeroDivisionError(message)


STAGES: list[tuple[Any, str, str]] = [
    (init_monitor.capture.capture, "select", "choosing the layers"),
    (Capture, "open_step", "attaching to the model"),
    (Capture, "begin_batch", "attaching to the model"),
    (EagerMode, "hold", "attaching to the model"),
    (Capture, "end_forward", "ending a forward"),
    (ForwardProbe, "enter", "attaching to the model"),
    (ResidualTaps, "settle", "ending a forward"),
    (Capture, "end_batch", "merging a batch"),
    (Capture, "pause", "ignoring an evaluation"),
    (Capture, "before_optimizer", "measuring the parameters"),
    (Capture, "after_optimizer", "measuring the updates"),
    (Capture, "close_step", "reading the measurements"),
    (Capture, "abort", "detaching from the model"),
    (Engine, "judge", "judging"),
    (init_monitor.judgement, "default_sinks", "making the sinks"),
]
NAMES = [f"{name} ({doing})" for _, name, doing in STAGES]


def train(monitor: InitMonitor) -> tuple[pl.Trainer, Validated]:
    module = Validated(mlp(1, 8))
    data = loader(8, samples=16 * 12, batch=16)
    trainer = pl.Trainer(
        max_steps=6, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", callbacks=[monitor], accumulate_grad_batches=2, val_check_interval=3, limit_val_batches=1,
    )  # fmt: skip
    try:
        trainer.fit(module, data, loader(8, samples=16, batch=16))
    finally:
        assert no_hooks(module)
        assert not _get_current_function_mode_stack()
    return trainer, module


@pytest.mark.parametrize(("place", "name", "doing"), STAGES, ids=NAMES)
def test_a_failure_in_any_stage_is_one_warning_and_the_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, doing: str
) -> None:
    monkeypatch.setattr(place, name, broken)
    monitor = InitMonitor(sinks=None if name == "default_sinks" else ())
    expected = f"the monitor failed while {doing}.* and is switched off: ZeroDivisionError: broken on purpose"
    with pytest.warns(InitMonitorWarning, match=expected) as caught:
        trainer, module = train(monitor)
    assert sum(warning.category is InitMonitorWarning for warning in caught) == 1
    assert len(monitor.notices) == 1
    assert trainer.global_step == 6
    assert len(module.losses) == 12


@pytest.mark.parametrize(("place", "name", "doing"), STAGES, ids=NAMES)
def test_where_warnings_are_errors_the_failure_is_told_on_the_error_stream_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Any, name: str, doing: str
) -> None:
    monkeypatch.setattr(place, name, broken)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InitMonitorWarning)
        trainer, _ = train(InitMonitor(sinks=None if name == "default_sinks" else ()))
    assert trainer.global_step == 6
    assert capsys.readouterr().err.count(f"init_monitor: the monitor failed while {doing}") == 1


@pytest.mark.parametrize(("place", "name", "doing"), STAGES, ids=NAMES)
def test_strict_raises_the_failure_and_leaves_no_hook_either(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, doing: str
) -> None:
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(InitMonitorError, match=f"the monitor failed while {doing}.*broken on purpose") as caught:
        train(InitMonitor(sinks=None if name == "default_sinks" else (), strict=True))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("stage", ["open", "emit", "close"])
def test_a_sink_that_fails_anywhere_is_switched_off_and_the_others_get_everything(stage: str) -> None:
    faulty, fine = Listener(), Listener()
    setattr(faulty, stage, broken)
    monitor = InitMonitor(sinks=(faulty, fine), dense_steps=2)
    with pytest.warns(InitMonitorWarning, match="Listener failed and is switched off: ZeroDivisionError") as caught:
        trainer, _ = train(monitor)
    assert sum(warning.category is InitMonitorWarning for warning in caught) == 1
    assert trainer.global_step == 6
    assert fine.calls == ["open", "emit 0", "emit 1", "close"]
    assert faulty.calls == {"open": [], "emit": ["open"], "close": ["open", "emit 0", "emit 1"]}[stage]


@pytest.mark.parametrize("stage", ["open", "emit", "close"])
def test_strict_raises_what_a_sink_raises_and_still_closes_the_others(stage: str) -> None:
    faulty, fine = Listener(), Listener()
    setattr(faulty, stage, broken)
    with pytest.raises(InitMonitorError, match="Listener failed and is switched off: ZeroDivisionError"):
        train(InitMonitor(sinks=(fine, faulty, also := Listener()), strict=True))
    assert fine.calls[-1] == "close"
    assert also.calls[-1:] == ([] if stage == "open" else ["close"])


def test_a_layer_that_cannot_be_measured_is_left_alone_and_strict_raises_it() -> None:
    class Odd(nn.Module):
        """Returns a tensor that refuses to be looked at."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 10)
            self.odd = Peculiar()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.odd(self.fc(x)).inner
            return output

    class Peculiar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2))

        def forward(self, x: torch.Tensor) -> Any:
            return Raising(x)

    class Raising(dict[str, torch.Tensor]):
        def __init__(self, inner: torch.Tensor) -> None:
            super().__init__(inner=inner)
            self.inner = inner

        def items(self) -> Any:
            message = "not for you"
            raise LookupError(message)

    monitor = InitMonitor(sinks=())
    with pytest.warns(InitMonitorWarning, match=r"measuring 'net.odd' failed and is switched off for it: LookupError"):
        trainer = fit(Classifier(Odd()), loader(8), monitor, steps=3)
    assert trainer.global_step == 3
    assert [record.names for record in monitor.records] == [("net.fc",)] * 3
    module = Classifier(Odd())
    with pytest.raises(InitMonitorError, match="not for you"):
        fit(module, loader(8), InitMonitor(sinks=(), strict=True), steps=3)
    assert no_hooks(module)


@pytest.mark.parametrize(
    ("method", "what"), [("before_step", "the parameters"), ("after_step", "the parameter updates")]
)
def test_parameters_that_cannot_be_measured_cost_nothing_else(
    monkeypatch: pytest.MonkeyPatch, method: str, what: str
) -> None:
    monkeypatch.setattr(ParameterTaps, method, broken)
    monitor = InitMonitor(sinks=())
    with pytest.warns(InitMonitorWarning, match=f"measuring '{what}' failed") as caught:
        trainer, _ = train(monitor)
    assert sum(warning.category is InitMonitorWarning for warning in caught) == 1
    assert trainer.global_step == 6
    assert len(monitor.records) == 6
    for record in monitor.records:
        assert record.layers["net.0"].backward is not None
        assert all(math.isnan(parameter.update_ratio) for parameter in record.parameters.values())


def test_a_gradient_that_cannot_be_measured_costs_its_layer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    kind: type[Any] = type(accumulator_of(torch.device("cpu"), exact=True))
    take = kind.take

    def refuses_large_gradients(
        self: Any,
        row: int,
        tensor: torch.Tensor,
        plan: Reduction = MOMENTS,
        *,
        gradient: bool = False,
        **more: Any,
    ) -> None:
        if gradient and tensor.shape[-1] == 10:
            broken()
        take(self, row, tensor, plan, gradient=gradient, **more)

    monkeypatch.setattr(kind, "take", refuses_large_gradients)
    monitor = InitMonitor(sinks=())
    with pytest.warns(InitMonitorWarning, match=r"measuring 'net.2' failed and is switched off for it"):
        trainer, _ = train(monitor)
    assert trainer.global_step == 6
    assert monitor.records[-1].names == ("net.0", "net.1")


def test_a_callback_whose_fit_never_began_does_nothing() -> None:
    monitor, nothing = InitMonitor(strict=True), cast("Any", None)
    monitor.on_train_batch_start(nothing, nothing, None, 0)
    monitor.on_before_backward(nothing, nothing, nothing)
    monitor.on_after_backward(nothing, nothing)
    monitor.on_before_optimizer_step(nothing, nothing, nothing)
    monitor.on_train_batch_end(nothing, nothing, None, None, 0)
    monitor.on_validation_start(nothing, nothing)
    monitor.on_validation_end(nothing, nothing)
    monitor.on_train_end(nothing, nothing)
    monitor.on_exception(nothing, nothing, ValueError())
    assert (monitor.findings, monitor.records, monitor.notices, monitor.state_dict()) == ([], [], [], {})
    assert monitor.report.verdict == "Nothing was measured yet."


def test_the_run_is_stored_beside_the_first_logger_that_has_a_directory(tmp_path: Path) -> None:
    class Nowhere(CSVLogger):
        log_dir = save_dir = None  # type: ignore[assignment]

    loggers = [Nowhere(tmp_path, "nowhere"), CSVLogger(tmp_path, "somewhere")]
    sinks = (RunStoreSink(),)
    fit(Classifier(mlp(2, 8)), loader(8), InitMonitor(sinks=sinks, strict=True), steps=2, logger=loggers[1:])
    assert len(read_run(tmp_path / "somewhere/version_0").records) == 2
    trainer = SimpleNamespace(loggers=loggers, default_root_dir=str(tmp_path))
    assert run_place(cast("Any", trainer)) == RunPlace(log_dir=tmp_path / "somewhere/version_0")


def test_a_state_that_cannot_be_saved_does_not_spoil_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monitor = InitMonitor(sinks=())
    trainer = fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=2)
    monkeypatch.setattr(Capture, "state_dict", broken)
    with pytest.warns(InitMonitorWarning, match="the monitor failed while saving its state"):
        trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert (tmp_path / "a.ckpt").stat().st_size > 0


def test_a_checkpoint_of_another_kind_is_one_warning() -> None:
    monitor = InitMonitor(sinks=())
    monitor.load_state_dict({"something": "else"})
    with pytest.warns(InitMonitorWarning, match="failed while resuming from a checkpoint"):
        trainer = fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=2)
    assert trainer.global_step == 2


def test_a_checkpoint_before_the_first_sampled_step_after_resuming_loses_no_unit_window() -> None:
    first = InitMonitor(sinks=(), strict=True)
    fit(Classifier(mlp(1, 8)), loader(8), first, steps=3)
    state = first.state_dict()
    assert list(state["units"]) == ["net.1"]
    second = InitMonitor(sinks=(), strict=True, dense_steps=0, every_n_steps=1000)
    second.load_state_dict(pickle.loads(pickle.dumps(state)))  # noqa: S301 - made here
    assert second.state_dict() == state
    fit(Classifier(mlp(1, 8)), loader(8), second, steps=2)
    assert second.records == []
    assert second.state_dict()["units"] == state["units"]


# --- copies and pickles ----------------------------------------------------------------------------------------------


def pickled(monitor: InitMonitor) -> InitMonitor:
    twin: InitMonitor = pickle.loads(pickle.dumps(monitor))  # noqa: S301 - made here
    return twin


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, pickled], ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("given", [(), None], ids=["without sinks", "with the default sinks"])
def test_a_twin_keeps_what_was_found_and_can_watch_a_fit_of_its_own(
    twin_of: Callable[[InitMonitor], InitMonitor], given: Any
) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(dense_steps=2, sinks=given, strict=True)
    fresh = twin_of(monitor)
    assert (fresh.findings, fresh.records, len(fresh.structure)) == ([], [], 0)
    fit(Classifier(mlp(12, 64, nn.init.normal_), lr=1e-30), loader(64), monitor, steps=3)
    assert monitor.findings
    twin = twin_of(monitor)
    assert twin.findings == monitor.findings
    assert [record.step for record in twin.records] == [record.step for record in monitor.records] == [0, 1]
    assert twin.records[0].layers["net.0"].forward == monitor.records[0].layers["net.0"].forward
    assert twin.structure == monitor.structure
    assert twin.report.to_json() == monitor.report.to_json()
    for one in (fresh, twin):
        fit(Classifier(mlp(1, 8)), loader(8), one, steps=1)
        assert [record.step for record in one.records] == [0]
        assert one.findings == []
    assert [record.step for record in monitor.records] == [0, 1]
