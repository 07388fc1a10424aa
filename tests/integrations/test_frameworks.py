"""Fabric's loop and the Hugging Face Trainer, run for real: what is recorded, under which names, and that nothing changes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from models import mlp
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import init_monitor
from init_monitor import CriticalFindingError, InitMonitorError, InitMonitorWarning, OptionError
from init_monitor.integrations.huggingface import STATE_FILE, InitMonitorCallback
from init_monitor.store import read_run
from init_monitor.structure.wrappers import own_module, own_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from init_monitor.records import StepRecord
    from init_monitor.standalone import Watch

EXAMPLES = Path(__file__).parents[2] / "examples"
WIDTH, CLASSES = 16, 10


@pytest.fixture(autouse=True)
def _quiet_frameworks() -> Iterator[None]:
    """Their own warnings are not what is tested; the monitor's still fail a test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", InitMonitorWarning)
        yield


def hooks_on(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def same_record(one: StepRecord, other: StepRecord, rtol: float, *, but: str = "") -> None:
    assert one.names == other.names
    kept = [name != but for name in one.names]
    for quantity, column in one.columns.items():
        # A normalised mean is 0 up to rounding: on the scale of the values, which is 1.
        atol = 1e-7 if quantity.endswith("mean") else 1e-14
        np.testing.assert_allclose(
            column[kept], other.columns[quantity][kept], rtol=rtol, atol=atol, err_msg=str(quantity)
        )
    for quantity, column in one.parameter_columns.items():
        theirs = other.parameter_columns[quantity]
        np.testing.assert_allclose(column, theirs, rtol=rtol, atol=1e-9, err_msg=str(quantity))


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the examples ----------------------------------------------------------------------------------------------------


def test_the_example_of_fabric_finds_its_vanishing_signal(capsys: pytest.CaptureFixture[str]) -> None:
    monitor = example("fabric").main(["--steps", "4"])
    assert {finding.code for finding in monitor.findings} >= {"IM102"}
    assert "vanishing-activations" in capsys.readouterr().out
    assert len(monitor.records) == 4
    assert monitor.notices == []


def test_the_example_of_the_hugging_face_trainer_finds_nothing_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    monitor = example("huggingface").main(["--steps", "6"])
    assert [record.step for record in monitor.records] == [0, 1, 2, 3, 4]
    assert len(monitor.structure.residuals) == 12
    assert monitor.findings == []
    assert monitor.notices == []
    assert "no findings in 6 steps (5 of them measured)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fabric", "huggingface"])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 100


# --- Fabric ----------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    """A residual block, a functional activation and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.stem(x))
        output: torch.Tensor = self.head(x + self.branch(x))
        return output


def fabric_loop(
    *, precision: str = "32-true", pieces: int = 2, watched: bool = True, compiled: bool = False
) -> tuple[Watch | None, list[float], nn.Module]:
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    torch.manual_seed(0)
    net = Net()
    given: Any = torch.compile(net, backend="eager") if compiled else net
    model, optimizer = fabric.setup(given, torch.optim.AdamW(net.parameters(), lr=1e-2))
    generator = torch.Generator().manual_seed(1)
    losses = []

    def step() -> None:
        x = torch.randn(32, WIDTH, generator=generator)
        y = torch.randint(0, CLASSES, (32,), generator=generator)
        for part, (xs, ys) in enumerate(zip(x.chunk(pieces), y.chunk(pieces), strict=True)):
            with fabric.no_backward_sync(model, enabled=part < pieces - 1):
                loss = nn.functional.cross_entropy(model(xs).float(), ys)
                fabric.backward(loss / pieces)
            losses.append(loss.item())
        fabric.clip_gradients(model, optimizer, max_norm=10.0)
        optimizer.step()
        optimizer.zero_grad()

    if not watched:
        for _ in range(4):
            step()
        return None, losses, net
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    with init_monitor.watch(model, optimizer, scaler=scaler, sinks=(), strict=True) as monitor:
        for _ in range(4):
            with monitor.step():
                step()
    assert hooks_on(net) == 0
    return monitor, losses, net


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_what_fabric_wraps_has_the_names_the_user_gave_and_is_not_changed(precision: str, *, compiled: bool) -> None:
    monitor, losses, net = fabric_loop(precision=precision, compiled=compiled)
    _, plain_losses, plain = fabric_loop(precision=precision, compiled=compiled, watched=False)
    assert monitor is not None
    record = monitor.records[-1]
    assert monitor.structure.names == ("stem", "/relu#1", "branch", "head")
    assert [residual.name for residual in monitor.structure.residuals] == ["#1"]
    assert set(record.parameter_names) == {n for n, _ in net.named_parameters()}
    assert record.optimizer == "AdamW"
    assert record.unoptimized == ()
    assert all(parameter.update_ratio > 0 for parameter in record.parameters.values())
    assert losses == plain_losses
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), plain.parameters(), strict=True))


def test_accumulation_under_fabric_is_one_step_of_several_batches() -> None:
    whole, parts = fabric_loop(pieces=1)[0], fabric_loop(pieces=4)[0]
    assert whole is not None
    assert parts is not None
    same_record(whole.records[0], parts.records[0], rtol=1e-4)


def test_the_loss_scale_is_divided_out_of_the_gradients() -> None:
    recorded = []
    for enabled in (False, True):
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1, enabled=enabled)
        with init_monitor.watch(net, optimizer, scaler=scaler, sinks=(), strict=True) as monitor:
            for seed in range(3):
                with monitor.step():
                    x = torch.randn(32, WIDTH, generator=torch.Generator().manual_seed(seed))
                    optimizer.zero_grad()
                    scaler.scale(net(x).square().mean()).backward()
                    scaler.step(optimizer)
                    scaler.update()
        recorded.append(monitor.records)
    assert [record.loss_scaled for record in recorded[0]] == [False] * 3
    assert [record.loss_scaled for record in recorded[1]] == [True] * 3
    for plain, scaled in zip(*recorded, strict=True):
        same_record(plain, scaled, rtol=1e-4)


def test_a_watched_loop_goes_on_where_its_state_was_saved() -> None:
    def run(steps: int, state: dict[str, Any] | None) -> tuple[Watch, dict[str, Any]]:
        torch.manual_seed(0)
        model = mlp(12, 64, nn.init.normal_)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)
        with init_monitor.watch(model, optimizer, dense_steps=2, every_n_steps=2, sinks=()) as monitor:
            if state is not None:
                monitor.load_state_dict(state)
            for _ in range(steps):
                with monitor.step():
                    optimizer.zero_grad()
                    model(torch.randn(8, 64)).square().mean().backward()
                    optimizer.step()
        return monitor, monitor.state_dict()

    first, state = run(3, None)
    second, _ = run(4, json.loads(json.dumps(state)))
    assert [record.step for record in first.records] == [0, 1, 2]
    assert [record.step for record in second.records] == [4, 6]
    assert first.findings != []
    # Known ones are kept, and none is told again.
    assert [(f.code, f.step) for f in second.findings] == [(f.code, f.step) for f in first.findings]


# --- what is looked through ------------------------------------------------------------------------------------------


class Inner(torch.optim.SGD):
    """An optimizer with an attribute called optimizer that is none."""

    optimizer = "sgd"


def test_only_wrappers_are_looked_through() -> None:
    class Task(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module: nn.Module = nn.Linear(2, 2)

    class DistributedDataParallel(Task):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    task = Task()
    assert own_module(task) is task
    assert own_module(DistributedDataParallel(DistributedDataParallel(task))) is task
    parallel = nn.DataParallel(task)
    assert own_module(parallel) is parallel  # it calls copies of the module, not the module
    optimizer = Inner(task.parameters())
    assert own_optimizer(optimizer) is optimizer


# --- Hugging Face ----------------------------------------------------------------------------------------------------


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Rows of consecutive numbers."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = (index + torch.arange(8)) % 32
        return {"input_ids": ids, "labels": ids}


class Losses(TrainerCallback):
    """Keeps what the Trainer logs."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.losses += [logs["loss"]] if "loss" in logs else []


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config: Any = GPT2Config(  # type: ignore[call-arg] # it takes more than it says
        vocab_size=32,
        n_positions=8,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        loss_type="ForCausalLM",
    )
    make: Any = GPT2LMHeadModel  # some versions have no types
    model: GPT2LMHeadModel = make(config)
    return model


def hugging_face(
    root: Path, *callbacks: TrainerCallback, resume: str | None = None, model: nn.Module | None = None, **options: Any
) -> tuple[nn.Module, list[float], int]:
    settings: dict[str, Any] = {
        "output_dir": str(root),
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 1,
    }
    losses = Losses()
    trainer = Trainer(
        model=gpt2() if model is None else model,
        args=TrainingArguments(**(settings | options)),
        train_dataset=Rows(),
        eval_dataset=Rows(),
        callbacks=[losses, *callbacks],
    )
    trainer.train(resume_from_checkpoint=resume)
    assert trainer.model is not None
    return trainer.model, losses.losses, trainer.state.global_step


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bf16": True},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"eval_strategy": "steps", "eval_steps": 1, "eval_on_start": True},
        {"torch_compile": True, "torch_compile_backend": "eager"},
    ],
    ids=["plain", "bf16", "accumulation", "checkpointing", "reentrant", "evaluation", "compiled"],
)
def test_the_hugging_face_trainer_is_watched_and_not_changed(tmp_path: Path, options: dict[str, Any]) -> None:
    monitor = InitMonitorCallback(sinks=(), strict=True, dense_steps=2, every_n_steps=2)
    watched, losses, _ = hugging_face(tmp_path / "watched", monitor, **options)
    plain, plain_losses, _ = hugging_face(tmp_path / "plain", **options)
    assert len(losses) == 4
    assert losses == plain_losses
    theirs = plain.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in watched.state_dict().items())
    assert [record.step for record in monitor.records] == [0, 1, 2]
    assert monitor.notices == []
    record = monitor.records[0]
    assert record.layers["transformer.h.0.mlp.c_fc"].forward.count == 8 * 8 * 64
    assert record.optimizer == "AdamW"
    assert [r.name for r in monitor.structure.residuals] == [f"transformer.h.{i}#{k}" for i in (0, 1) for k in (1, 2)]
    assert all(p.update_ratio > 0 for p in record.parameters.values() if p.norm)
    assert hooks_on(watched) == hooks_on(plain)  # for checkpoints the Trainer puts one on itself


def test_accumulated_batches_are_the_same_step_as_the_whole_batch(tmp_path: Path) -> None:
    whole, parts = (InitMonitorCallback(sinks=(), strict=True) for _ in range(2))
    still: dict[str, Any] = {"max_grad_norm": 0.0, "max_steps": 2}
    model = gpt2().train(mode=False)  # not dropout's numbers, which differ between one batch and two
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    state = {name: value.clone() for name, value in model.state_dict().items()}
    hugging_face(tmp_path / "whole", whole, model=model, **still)
    model.load_state_dict(state)
    hugging_face(
        tmp_path / "parts", parts, model=model, gradient_accumulation_steps=4, per_device_train_batch_size=2, **still
    )
    # The positions are embedded once per batch, whatever its size: four batches, four times.
    same_record(whole.records[0], parts.records[0], rtol=2e-4, but="transformer.wpe")


def test_a_resumed_training_goes_on_with_its_steps_and_does_not_repeat_a_finding(tmp_path: Path) -> None:
    def loud() -> GPT2LMHeadModel:
        model = gpt2()
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and parameter.dim() > 1:
                nn.init.zeros_(parameter)
        return model

    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}
    first = InitMonitorCallback(sinks=(), strict=True)
    hugging_face(tmp_path, first, model=loud(), max_steps=2, **saving)
    assert (tmp_path / "checkpoint-2" / STATE_FILE).is_file()
    assert first.findings != []
    again = InitMonitorCallback(sinks=(), strict=True)
    hugging_face(tmp_path, again, model=loud(), resume=str(tmp_path / "checkpoint-2"), **saving)
    assert [record.step for record in again.records] == [2, 3]
    assert [(f.code, f.step) for f in again.findings] == [(f.code, f.step) for f in first.findings]


def test_a_state_that_cannot_be_read_is_said_and_the_training_goes_on(tmp_path: Path) -> None:
    hugging_face(tmp_path, InitMonitorCallback(sinks=()), max_steps=2, save_strategy="steps", save_steps=2)
    (tmp_path / "checkpoint-2" / STATE_FILE).write_text("{", encoding="utf-8")
    monitor = InitMonitorCallback(sinks=())
    with pytest.warns(InitMonitorWarning, match="cannot be read"):
        hugging_face(tmp_path, monitor, resume=str(tmp_path / "checkpoint-2"))
    assert [record.step for record in monitor.records] == [2, 3]


def test_a_state_that_cannot_be_saved_is_said_and_the_training_goes_on(tmp_path: Path) -> None:
    class Blocking(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE).mkdir()

    monitor = InitMonitorCallback(sinks=())
    with pytest.warns(InitMonitorWarning, match="could not be saved"):
        hugging_face(tmp_path, Blocking(), monitor, max_steps=2, save_strategy="steps", save_steps=2)
    assert len(monitor.records) == 2


def test_records_go_to_the_run_store_to_tensorboard_and_to_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = InitMonitorCallback()
    hugging_face(tmp_path, monitor, report_to=["tensorboard"])
    run = read_run(tmp_path)
    assert [record.step for record in run.records] == [0, 1, 2, 3]
    assert list((tmp_path / "runs" / "init_monitor").glob("events.out.tfevents.*"))
    out = capsys.readouterr().out
    assert f"\nStored: init-monitor report {tmp_path} | TensorBoard, tab Init Monitor\n" in out
    assert "\nInit Monitor: no findings in 4 steps (4 of them measured)" in out
    assert monitor.report.records == tuple(monitor.records)


def test_a_critical_finding_stops_the_training_if_that_was_asked_for(tmp_path: Path) -> None:
    def broken() -> GPT2LMHeadModel:
        model = gpt2()
        nn.init.constant_(model.get_parameter("transformer.h.0.mlp.c_fc.weight"), float("nan"))
        return model

    monitor = InitMonitorCallback(sinks=(), on_critical="stop")
    _, _, steps = hugging_face(tmp_path, monitor, model=broken())
    assert steps == 1
    raising = InitMonitorCallback(sinks=(), on_critical="raise")
    model = broken()
    with pytest.raises(CriticalFindingError, match="IM601"):
        hugging_face(tmp_path, raising, model=model)
    assert hooks_on(model) == 0


def failing(model: nn.Module) -> None:
    def fail(*_: object) -> None:
        message = "no more memory"
        raise ValueError(message)

    model.get_submodule("transformer.h.1").register_forward_hook(fail)


@pytest.mark.parametrize("managed", [True, False], ids=["with", "without"])
def test_an_exception_of_the_training_leaves_a_model_that_trains_again(tmp_path: Path, *, managed: bool) -> None:
    model = gpt2()
    failing(model)
    monitor = InitMonitorCallback(sinks=(), strict=True)
    with pytest.raises(ValueError, match="no more memory"), monitor if managed else contextlib.nullcontext():
        hugging_face(tmp_path, monitor, model=model)
    if managed:
        assert hooks_on(model) == 1
    model.get_submodule("transformer.h.1")._forward_hooks.clear()
    hugging_face(tmp_path, monitor, model=model)
    assert [record.step for record in monitor.records] == [0, 1, 2, 3]
    assert hooks_on(model) == 0


def test_an_epoch_that_ends_within_a_step_gives_that_step_up(tmp_path: Path) -> None:
    class Leaving(TrainerCallback):
        left = False

        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_epoch_stop = state.global_step == 1 and not self.left
            self.left = self.left or control.should_epoch_stop

    monitor = InitMonitorCallback(sinks=(), strict=True)
    options: dict[str, Any] = {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "max_steps": -1}
    watched, _, _ = hugging_face(tmp_path, Leaving(), monitor, **options)
    assert len(monitor.records) >= 2
    assert [record.step for record in monitor.records] == list(range(len(monitor.records)))
    assert {record.layers["lm_head"].forward.count for record in monitor.records} == {16 * 8 * 32}
    assert hooks_on(watched) == 0


def test_the_adapter_is_idle_before_a_training_and_refuses_what_it_does_not_know() -> None:
    monitor = InitMonitorCallback()
    assert (monitor.findings, monitor.records, monitor.notices) == ([], [], [])
    assert len(monitor.structure) == 0
    assert monitor.report.records == ()
    monitor.close()
    with pytest.raises(TypeError, match="every_n_step"):
        InitMonitorCallback(every_n_step=3)
    with pytest.raises(OptionError, match="dense_steps"):
        InitMonitorCallback(dense_steps=-1)


def test_strict_raises_what_fails_inside(tmp_path: Path) -> None:
    class Failing:
        code, name = "IM999", "failing"

        def judge(self, history: object) -> list[Any]:
            message = "no"
            raise ZeroDivisionError(message)

    with pytest.raises(InitMonitorError, match="ZeroDivisionError"):
        hugging_face(tmp_path, InitMonitorCallback(sinks=(), strict=True, rules=(Failing(),)))


def test_without_transformers_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "init_monitor.integrations.huggingface")
    with pytest.raises(ImportError, match="pip install transformers accelerate"):
        importlib.import_module("init_monitor.integrations.huggingface")
