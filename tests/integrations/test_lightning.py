"""The callback under a real Trainer: what it records, what it survives, and what it says to bad input."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, fit, loader, mlp
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from trainings import Listener

from init_monitor import (
    CriticalFindingError,
    Finding,
    History,
    InitMonitor,
    InitMonitorError,
    InitMonitorWarning,
    OptionError,
    Severity,
    StepRecord,
    Structure,
)
from init_monitor.store import read_run

if TYPE_CHECKING:
    from collections.abc import Iterable


def no_hooks_of(module: nn.Module) -> bool:
    return not (module._forward_hooks or module._forward_pre_hooks)


def no_hooks(model: nn.Module) -> bool:
    return all(map(no_hooks_of, model.modules()))


def from_us(caught: pytest.WarningsRecorder) -> int:
    """Count the monitor's warnings among Lightning's."""
    return sum(warning.category is InitMonitorWarning for warning in caught)


def test_the_dense_start_and_then_every_so_many_steps_are_recorded() -> None:
    monitor = InitMonitor(dense_steps=3, every_n_steps=4, sinks=(listener := Listener(),), strict=True)
    module = Classifier(mlp(2, 8))
    fit(module, loader(8, samples=16 * 14, batch=16), monitor, steps=14)
    assert [record.step for record in monitor.records] == [0, 1, 2, 4, 8, 12]
    assert listener.steps == [0, 1, 2, 4, 8, 12]
    assert listener.calls[0] == "open"
    assert listener.calls[-1] == "close"
    assert no_hooks(module)
    assert monitor.structure.names == ("net.0", "net.1", "net.2", "net.3", "net.4")
    assert listener.structure is monitor.structure
    last = monitor.records[-1]
    assert last.optimizer == "SGD"
    assert last.learning_rate == pytest.approx(1e-2)
    assert last.parameters["net.0.weight"].update_ratio > 0


class Looks(Classifier):
    """Notes which modules carry a hook while a step is under way, and that none does between the steps."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.seen: list[list[str]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.append([name for name, module in self.net.named_modules() if not no_hooks_of(module)])
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, *_: Any) -> None:
        assert no_hooks(self)


@pytest.mark.parametrize("batch", [16, 4096])
def test_an_unsampled_step_carries_no_hook(batch: int) -> None:
    """Without a rectifier, or where a sampled step shows enough of one for a verdict."""
    module = Looks(mlp(1, 8, activation=nn.Tanh if batch == 16 else nn.ReLU))
    monitor = InitMonitor(dense_steps=1, every_n_steps=3, sinks=())
    fit(module, loader(8, samples=batch * 6, batch=batch), monitor, steps=6)
    assert [bool(hooked) for hooked in module.seen] == [True, False, False, True, False, False]


def test_an_unsampled_step_that_is_looked_at_carries_one_hook_per_rectifier() -> None:
    module = Looks(mlp(2, 8))
    monitor = InitMonitor(dense_steps=1, every_n_steps=3, sinks=())
    fit(module, loader(8, samples=16 * 6, batch=16), monitor, steps=6)
    assert [hooked for step, hooked in enumerate(module.seen) if step % 3] == [["1", "3"]] * 4


def test_a_normal_0_1_network_is_reported_exploding_at_the_first_step() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    net = mlp(10, 512, nn.init.normal_, activation=None)
    fit(Classifier(net, lr=1e-30), loader(512, samples=64, batch=64), monitor, steps=1)
    found = {finding.rule: finding for finding in monitor.findings}
    exploding = found["exploding-activations"]
    assert exploding.code == "IM101"
    assert exploding.step == 0
    assert exploding.severity is Severity.CRITICAL
    assert exploding.evidence["growth_per_layer"] == pytest.approx(512, rel=0.1)
    assert set(exploding.layers) >= {f"net.{i}" for i in range(10)}
    assert "kaiming" in exploding.remedy or "xavier" in exploding.remedy


def test_the_relu_version_explodes_at_half_the_rate_with_the_same_local_gain() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(mlp(10, 512, nn.init.normal_), lr=1e-30), loader(512, samples=64, batch=64), monitor, steps=1)
    exploding = next(f for f in monitor.findings if f.code == "IM101")
    assert exploding.evidence["growth_per_layer"] == pytest.approx(256, rel=0.1)
    gains = [layer.gain for layer in monitor.records[0] if not math.isnan(layer.gain)]
    assert gains[:10] == pytest.approx([512] * 10, rel=0.15)


def test_fifty_xavier_relu_layers_vanish_by_a_half_per_layer() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(mlp(50, 256, nn.init.xavier_normal_)), loader(256, samples=128, batch=128), monitor, steps=1)
    found = {finding.code: finding for finding in monitor.findings}
    assert found["IM102"].evidence["growth_per_layer"] == pytest.approx(0.5, abs=0.05)
    assert found["IM102"].step == 0
    assert "IM101" not in found


@pytest.mark.parametrize("depth", [10, 50])
def test_a_he_network_is_clean(depth: int) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    net = mlp(depth, 512, nn.init.kaiming_normal_)
    fit(Classifier(net, lr=1e-3), loader(512, samples=64 * 3, batch=64), monitor, steps=3)
    assert monitor.findings == []


@pytest.mark.slow
def test_the_published_dead_relu_reference_is_measured_by_the_callback() -> None:
    """Shao et al. 2020, Fig. 3a: He, 1024 wide, 4096 standard normal inputs, no training; THEORY of this project."""
    torch.manual_seed(0)
    net = mlp(50, 1024, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"))
    # Units are read going forward: the way back through 50 layers would take twice as long.
    net.requires_grad_(requires_grad=False)
    net[-1].requires_grad_()
    monitor = InitMonitor(sinks=(), dense_steps=8, strict=True)
    fit(Classifier(net, lr=0.0), loader(1024, samples=4096, batch=512), monitor, steps=8)
    units = {layer.name: layer.units for layer in monitor.records[-1] if layer.units is not None}
    linear = {}
    for depth in (5, 10, 15, 20, 30, 40, 50):
        layer = units[f"net.{2 * depth - 1}"]
        assert layer.count == 1024
        assert layer.samples == 4096
        linear[depth] = layer.linear_fraction
    reference = {5: 0.017, 10: 0.146, 15: 0.26, 20: 0.368, 30: 0.49, 40: 0.57, 50: 0.64}
    for depth, share in reference.items():
        assert linear[depth] == pytest.approx(share, abs=0.06), linear


def test_activations_and_gradients_do_not_depend_on_accumulation() -> None:
    records = []
    for accumulate, batch in ((1, 64), (4, 16)):
        torch.manual_seed(0)
        monitor = InitMonitor(sinks=(), strict=True)
        module = Classifier(mlp(2, 16))
        fit(module, loader(16, samples=256, batch=batch), monitor, steps=4, accumulate_grad_batches=accumulate)
        assert [record.step for record in monitor.records] == [0, 1, 2, 3]
        records.append(monitor.records[-1])
    one, four = records
    for name, layer in one.layers.items():
        other = four.layers[name]
        assert other.forward.count == layer.forward.count
        assert other.forward.variance == pytest.approx(layer.forward.variance, rel=1e-5)
        assert other.backward is not None
        assert layer.backward is not None
        assert other.backward.variance == pytest.approx(layer.backward.variance, rel=1e-5)
        assert other.units == layer.units


def test_sanity_check_and_validation_are_not_training_signal() -> None:
    class Loud(Classifier):
        def validation_step(self, batch: Any, _batch_idx: int) -> None:
            with torch.enable_grad():
                self(batch[0] * 1e6)

    data = loader(8, samples=16 * 4, batch=16)
    monitor = InitMonitor(sinks=(), strict=True)
    trainer = pl.Trainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", callbacks=[monitor], num_sanity_val_steps=2, val_check_interval=1, inference_mode=False,
        accumulate_grad_batches=2,
    )  # fmt: skip
    trainer.fit(Loud(mlp(1, 8)), data, data)
    assert [record.step for record in monitor.records] == [0, 1]
    for record in monitor.records:
        assert record.layers["net.0"].forward.count == 2 * 16 * 8
        assert record.layers["net.0"].forward.abs_max < 1e3


@pytest.mark.parametrize("options", [{"fast_dev_run": True}, {"overfit_batches": 1}, {"limit_train_batches": 2}])
def test_short_runs_work(options: dict[str, Any], tmp_path: Path) -> None:
    monitor = InitMonitor(strict=True)
    fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=2, root=tmp_path, **options)
    assert monitor.records
    assert monitor.notices == []


def test_without_a_logger_nothing_but_the_run_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = InitMonitor(strict=True)
    fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=2, root=tmp_path)
    place = tmp_path / "init_monitor_logs" / "version_0"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [place / "init_monitor" / "run.jsonl"]
    assert "net.0" in capsys.readouterr().out


def test_two_fits_in_a_row_are_two_runs() -> None:
    monitor = InitMonitor(sinks=(listener := Listener(),), dense_steps=2, strict=True)
    module = Classifier(mlp(1, 8))
    trainer = fit(module, loader(8), monitor, steps=2)
    trainer.fit_loop.epoch_loop.max_steps = 4
    trainer.fit(module, loader(8))
    assert listener.calls.count("open") == listener.calls.count("close") == 2
    fit(module, loader(8), monitor, steps=1)
    assert [record.step for record in monitor.records] == [0]
    assert no_hooks(module)


class Fails(Classifier):
    """Raises in the third training step."""

    error: BaseException = RuntimeError("user code")

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        if batch_idx == 2:
            raise self.error
        return loss


def test_an_exception_of_the_user_passes_through_and_leaves_nothing() -> None:
    monitor, module = InitMonitor(sinks=(listener := Listener(),), strict=True), Fails(mlp(1, 8))
    with pytest.raises(RuntimeError, match="user code"):
        fit(module, loader(8), monitor)
    assert no_hooks(module)
    assert listener.calls[-1] == "close"
    assert [record.step for record in monitor.records] == [0, 1]
    copy.deepcopy(module)


def test_ctrl_c_leaves_nothing() -> None:
    module = Fails(mlp(1, 8))
    module.error = KeyboardInterrupt()
    monitor = InitMonitor(sinks=(listener := Listener(),), strict=True)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(module, loader(8), monitor)
    assert no_hooks(module)
    assert listener.calls[-1] == "close"


def exploding() -> Classifier:
    torch.manual_seed(0)
    return Classifier(mlp(12, 256, nn.init.normal_), lr=1e-30)


def test_on_critical_warn_goes_on() -> None:
    monitor = InitMonitor(sinks=(), on_critical="warn", strict=True)
    trainer = fit(exploding(), loader(256), monitor, steps=4)
    assert trainer.global_step == 4
    assert any(finding.severity is Severity.CRITICAL for finding in monitor.findings)


def test_on_critical_stop_ends_the_training_after_the_step() -> None:
    trainer = fit(exploding(), loader(256), InitMonitor(sinks=(), on_critical="stop", strict=True), steps=4)
    assert trainer.global_step == 1


def test_on_critical_raise_raises_with_the_finding_in_words() -> None:
    module = exploding()
    with pytest.raises(CriticalFindingError, match="IM101 exploding-activations at step 0") as caught:
        fit(module, loader(256), InitMonitor(sinks=(), on_critical="raise"), steps=4)
    assert isinstance(caught.value, InitMonitorError)
    assert no_hooks(module)


def test_a_resumed_run_goes_on_and_repeats_no_finding(tmp_path: Path) -> None:
    data, first = loader(256), InitMonitor(sinks=(), strict=True)
    trainer = fit(exploding(), data, first, steps=4, root=tmp_path)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert first.findings
    second = InitMonitor(sinks=(listener := Listener(),), strict=True)
    trainer = pl.Trainer(
        max_steps=6, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", callbacks=[second],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(exploding(), data, ckpt_path=tmp_path / "half.ckpt", weights_only=False)
    assert [record.step for record in second.records] == [4, 5]
    known = {(f.code, f.severity) for f in first.findings}
    assert not {(f.code, f.severity) for f in listener.found} & known
    carried = second.findings[: len(first.findings)]
    assert [(f.code, f.step, f.layers, f.message) for f in carried] == [
        (f.code, f.step, f.layers, f.message) for f in first.findings
    ]


def test_two_optimizers_are_both_measured_around_their_steps() -> None:
    class Gan(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.g, self.d = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))

        def training_step(self, batch: Any, _batch_idx: int) -> None:
            for optimizer, sign in zip(self.optimizers(), (1.0, -1.0), strict=True):
                self.toggle_optimizer(optimizer)
                optimizer.zero_grad()
                self.manual_backward(sign * self.d(self.g(batch[0])).mean())
                optimizer.step()
                self.untoggle_optimizer(optimizer)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.g.parameters()), torch.optim.SGD(self.d.parameters(), lr=0.1)

    monitor = InitMonitor(sinks=(), strict=True)
    fit(Gan(), loader(4, samples=96), monitor, steps=6)
    assert [record.step for record in monitor.records] == [0, 1, 2]
    record = monitor.records[0]
    assert record.names == ("g#1", "d.0#1", "d.1#1", "d.2#1", "g#2", "d.0#2", "d.1#2", "d.2#2")
    assert record.optimizer == "Adam, SGD"
    assert all(parameter.update_ratio > 0 for parameter in record.parameters.values())


def test_the_gradient_scaler_is_divided_out() -> None:
    """A scaler multiplies the loss by a power of two; the reported gradients are those of the loss itself."""
    records = []
    for precision in ("32-true", "scaled"):
        torch.manual_seed(0)
        monitor = InitMonitor(sinks=(), strict=True)
        module = Classifier(mlp(2, 16))
        plugins = []
        if precision == "scaled":
            plugins = [ScaledOnCpu()]
        fit(module, loader(16), monitor, steps=3, plugins=plugins)
        records.append(monitor.records)
    for plain, scaled in zip(*records, strict=True):
        assert scaled.loss_scaled
        assert not plain.loss_scaled
        for name, layer in plain.layers.items():
            ours, theirs = scaled.layers[name].backward, layer.backward
            assert ours is not None
            assert theirs is not None
            assert ours.variance == pytest.approx(theirs.variance, rel=1e-5)
        for name, parameter in plain.parameters.items():
            assert scaled.parameters[name].gradient_norm == pytest.approx(parameter.gradient_norm, rel=1e-5)


class ScaledOnCpu(pl.plugins.MixedPrecision):
    """Full precision with a real gradient scaler: the arithmetic is that of the run without, times 2^k."""

    def __init__(self) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2))

    def autocast_context_manager(self) -> Any:
        return torch.autocast("cpu", enabled=False)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps must be a whole number of at least 1, got 0"),
        ({"every_n_steps": 2.5}, "every_n_steps must be a whole number of at least 1, got 2.5"),
        ({"dense_steps": -1}, "dense_steps must be a whole number of at least 0, got -1"),
        ({"window": 0}, "window must be a whole number of at least 1"),
        ({"max_layers": True}, "max_layers must be a whole number"),
        ({"measure": "fast"}, 'measure must be "exact" or "staged", got \'fast\''),
        ({"on_critical": "panic"}, 'on_critical must be "warn" or "stop" or "raise"'),
        ({"include": 3}, "include must be None, an fnmatch pattern or a sequence of patterns, got 3"),
        ({"strict": "yes"}, "strict must be True or False"),
        ({"rules": (object(),)}, r"rules must be a sequence of objects with code, name and judge\(history\)"),
        ({"sinks": [Listener]}, "sinks must be a sequence of objects with open"),
        ({"sinks": 3}, "sinks must be a sequence"),
    ],
)
def test_a_bad_option_is_refused_with_what_was_expected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        InitMonitor(**options)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="every_n_step"):
        InitMonitor(every_n_step=3)  # type: ignore[call-arg]


def test_a_pattern_that_matches_nothing_is_one_warning_with_near_names() -> None:
    monitor = InitMonitor(sinks=(), include="net.1*", exclude="nett.3")
    with pytest.warns(InitMonitorWarning, match=r"exclude pattern 'nett.3' matches no layer.*net.3") as caught:
        trainer = fit(Classifier(mlp(2, 8)), loader(8), monitor, steps=2)
    assert from_us(caught) == 1
    assert trainer.global_step == 2
    assert monitor.structure.names == ("net.1",)


def test_a_pattern_that_leaves_nothing_to_watch_does_not_stop_the_training() -> None:
    monitor = InitMonitor(sinks=(), include="encoder.*")
    with pytest.warns(InitMonitorWarning, match="include pattern 'encoder.*' matches no layer"):
        trainer = fit(Classifier(mlp(2, 8)), loader(8), monitor, steps=2)
    assert trainer.global_step == 2


class BrokenRule:
    code, name = "X001", "broken"

    def judge(self, history: History) -> Iterable[Finding]:
        message = f"cannot judge {len(history.records)}"
        raise ValueError(message)


class CountingRule:
    """The custom rule of the documentation: ten lines."""

    code, name = "X002", "second-step"

    def judge(self, history: History) -> Iterable[Finding]:
        if history.last.step >= 1:
            yield Finding(self.name, self.code, Severity.INFO, history.last.names[:1], history.last.step, "second step")


def test_a_rule_that_raises_is_one_warning_and_the_others_go_on() -> None:
    monitor = InitMonitor(sinks=(), rules=(BrokenRule(), CountingRule()))
    with pytest.warns(InitMonitorWarning, match="X001.*cannot judge 1") as caught:
        trainer = fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=4)
    assert from_us(caught) == 1
    assert trainer.global_step == 4
    assert [(finding.code, finding.step) for finding in monitor.findings] == [("X002", 1)]


class BrokenSink(Listener):
    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        super().emit(record, findings, structure)
        message = "disk on fire"
        raise OSError(message)


def test_a_sink_that_raises_is_one_warning_and_the_others_lose_nothing() -> None:
    broken, fine = BrokenSink(), Listener()
    monitor = InitMonitor(sinks=(broken, fine))
    with pytest.warns(
        InitMonitorWarning, match="BrokenSink failed and is switched off: OSError: disk on fire"
    ) as caught:
        trainer = fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=4)
    assert from_us(caught) == 1
    assert trainer.global_step == 4
    assert broken.steps == [0]
    assert fine.steps == [0, 1, 2, 3]


def test_strict_raises_what_would_have_been_a_warning() -> None:
    with pytest.raises(InitMonitorError, match="disk on fire"):
        fit(Classifier(mlp(1, 8)), loader(8), InitMonitor(sinks=(BrokenSink(),), strict=True), steps=4)


class BrokenLogger(CSVLogger):
    """Refuses only the monitor's scalars, as a logger with a schema does."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if any(name.startswith("init_monitor") for name in metrics):
            message = "unknown metric"
            raise ValueError(message)
        super().log_metrics(metrics, step)


def test_a_logger_that_raises_is_one_warning_and_the_others_lose_nothing(tmp_path: Path) -> None:
    loggers = [BrokenLogger(tmp_path, "broken"), CSVLogger(tmp_path, "fine"), TensorBoardLogger(tmp_path, "board")]
    monitor = InitMonitor()
    with pytest.warns(InitMonitorWarning, match="unknown metric") as caught:
        trainer = fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=3, logger=loggers)
    assert from_us(caught) == 1
    assert trainer.global_step == 3
    assert "init_monitor_summary" in (tmp_path / "fine/version_0/metrics.csv").read_text()
    assert list((tmp_path / "board/version_0").glob("events*"))
    assert [record.step for record in read_run(tmp_path / "broken/version_0").records] == [0, 1, 2]


def test_a_log_directory_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    """A file where the directory should be: unlike permissions, it also stops the superuser."""
    logger = TensorBoardLogger(tmp_path, "run")
    blocked = Path(logger.log_dir) / "init_monitor"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    monitor = InitMonitor()
    with pytest.warns(InitMonitorWarning, match="init_monitor") as caught:
        trainer = fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=3, logger=logger)
    assert from_us(caught) == 1
    assert trainer.global_step == 3
    assert len(monitor.records) == 3
    assert list(Path(logger.log_dir).glob("events*"))
