"""Models and loops that are rarer than a Sequential, but that people do train: the monitor copes, and changes nothing."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, fit, loader, mlp
from torch import nn
from trainings import both

import init_monitor
from init_monitor import InitMonitor, InitMonitorWarning
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable


def trained(make: Callable[[], nn.Module], monitor: InitMonitor | None, *shape: int) -> Classifier:
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, lazy modules are a feature under development
        module = Classifier(make())
        fit(module, loader(*shape, samples=48, batch=8), monitor, steps=6)
    return module


def test_layers_without_a_shape_yet_are_measured_from_their_first_forward_on() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(10))

    monitor = InitMonitor(sinks=(), strict=True)
    watched, plain = trained(make, monitor, 12), trained(make, None, 12)
    assert monitor.notices == []
    assert [(layer.kind, layer.fan_in) for layer in monitor.structure.layers if layer.fan_in] == [
        ("Linear", 12),
        ("Linear", 16),
    ]
    assert watched.losses == plain.losses


def test_check_takes_a_model_that_has_no_shapes_yet() -> None:
    model = nn.Sequential(nn.LazyConv1d(8, 1), nn.LazyBatchNorm1d(), nn.ReLU())
    report = init_monitor.check(model, torch.randn(4, 5, 6), strict=True)
    assert len(report.structure.layers) == 3


def test_what_torchscript_compiled_is_named_once_and_the_rest_is_measured() -> None:
    def make() -> nn.Module:
        return nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU())), nn.Linear(8, 10))

    monitor = InitMonitor(sinks=(), include=["net.1", "net.0.0"])
    watched, plain = trained(make, monitor, 8), trained(make, None, 8)
    assert monitor.structure.names == ("net.1",)
    assert len(monitor.records) == 6
    (notice,) = (text for text in monitor.notices if "TorchScript" in text)
    assert "'net.0'" in notice
    assert "(3 modules)" in notice
    assert watched.losses == plain.losses


class PerSample(nn.Module):
    """One layer under vmap, one differentiated by torch.func, one called as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head, self.bend = nn.Linear(8, 8), nn.Linear(8, 10), nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slope = torch.func.vmap(torch.func.grad(lambda v: self.bend(self.inner(v)).sum()))(x)
        out: torch.Tensor = self.head(torch.vmap(self.inner)(x) + slope)
        return out


def test_tensors_inside_torch_func_are_left_alone_and_the_others_are_measured() -> None:
    monitor = InitMonitor(sinks=(), strict=True)
    watched, plain = trained(PerSample, monitor, 8), trained(PerSample, None, 8)
    assert monitor.structure.names == ("net.head",)
    assert not any("switched off" in notice for notice in monitor.notices)
    assert watched.losses == plain.losses


class ReEvaluating(Classifier):
    """Evaluates its loss up to five times per step."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=4)


def test_what_an_optimizer_evaluates_again_is_one_step_of_several_batches() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    module = ReEvaluating(mlp(1, 8))
    fit(module, loader(8, samples=64, batch=16), monitor, steps=4)
    assert monitor.structure.names == ("net.0", "net.1", "net.2")
    evaluations = len(module.losses) // 4
    assert evaluations > 1
    assert monitor.records[0].layers["net.0"].forward.count == evaluations * 16 * 8


def test_a_watched_loop_measures_the_gradient_that_a_closure_computes() -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=1)
    batch, seen = torch.randn(16, 8), []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(batch).square().mean()
        loss.backward()
        assert model.weight.grad is not None
        seen.append(float(model.weight.grad.norm()))
        return loss

    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watch:
        for _ in range(2):
            with watch.step():
                optimizer.step(closure)
    measured = [record.parameters["weight"].gradient_norm for record in watch.records]
    assert measured == pytest.approx(seen, rel=1e-5)


def test_a_model_can_be_copied_and_pickled_in_the_middle_of_a_watched_step() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watch, watch.step():
        first = model[0](torch.randn(4, 8))
        for copied in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
            copied[2](torch.randn(4, 8))
            for hook in copied._forward_pre_hooks.values():
                hook(copied, ())  # a forward of a copy must not count as one of the model
        (first + model[0](torch.randn(4, 8))).sum().backward()
        optimizer.step()
    assert {name for name in watch.structure.names if name.startswith("0")} == {"0#1", "0#2"}


def test_two_monitors_of_different_layers_share_a_trainer_and_its_checkpoint(tmp_path: Any) -> None:
    def monitors() -> list[InitMonitor]:
        return [InitMonitor(sinks=(), strict=True, include=pattern) for pattern in (None, "net.0", ["net.1", "net.2"])]

    first, again = monitors(), monitors()
    options: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    trainer = pl.Trainer(max_epochs=1, callbacks=list(first), **options)
    trainer.fit(Classifier(mlp(1, 8)), loader(8, samples=96))
    assert [len(monitor.structure) for monitor in first] == [3, 1, 2]
    assert first[0].state_key == "InitMonitor"
    trainer.save_checkpoint(tmp_path / "three.ckpt")
    pl.Trainer(max_steps=5, callbacks=list(again), **options).fit(
        Classifier(mlp(1, 8)), loader(8, samples=96), ckpt_path=tmp_path / "three.ckpt"
    )
    assert [[record.step for record in monitor.records] for monitor in again] == [[3, 4]] * 3


class Adapted(nn.Module):
    """A layer with a low-rank layer beside it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.down, self.up = layer, nn.Linear(8, 2), nn.Linear(2, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(x) + self.up(self.down(x))
        return output


class Rebuilt(Classifier):
    """Puts an adapter around its first layer and a new layer in the place of another while it trains."""

    def on_train_batch_start(self, _batch: Any, batch_idx: int) -> None:
        net: Any = self.net
        if batch_idx == 1:
            net[0] = Adapted(net[0])
            self.optimizers().add_param_group({"params": [*net[0].down.parameters(), *net[0].up.parameters()]})  # type: ignore[union-attr]
        if batch_idx == 2:
            net[2] = nn.Linear(8, 10)
            self.optimizers().add_param_group({"params": net[2].parameters()})  # type: ignore[union-attr]


def test_layers_that_come_while_training_are_measured_from_the_next_sampled_step_on() -> None:
    monitor, module = both(lambda: Rebuilt(mlp(1, 8)), loader(8, samples=160), steps=5)
    before, after = monitor.records[0], monitor.records[-1]
    assert before.names == ("net.0", "net.1", "net.2")
    assert after.names == ("net.0.layer", "net.0.down", "net.0.up", "net.1", "net.2")
    assert {"net.0.down.weight", "net.2.weight"} <= set(after.parameter_names)
    assert after.column(Quantity.WEIGHT_VARIANCE)[after.parameter_names.index("net.2.weight")] == pytest.approx(
        module.net[2].weight.detach().var(correction=0).item(), rel=0.05
    )
    assert monitor.notices == []


@dataclass
class Parts:
    """An output with a field that is never filled."""

    signal: torch.Tensor
    rest: int = field(init=False)


class InParts(nn.Linear):
    """Returns its output in a dataclass."""

    def forward(self, x: torch.Tensor) -> Parts:  # type: ignore[override]
        return Parts(super().forward(x))


def test_a_dataclass_that_is_not_filled_is_read_as_far_as_it_is() -> None:
    model = InParts(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watch, watch.step():
        model(torch.randn(4, 8)).signal.sum().backward()
        optimizer.step()
    assert watch.records[0].names == ("model[signal]",)


class Refuses(nn.Linear):
    """Takes no hooks."""

    def register_forward_hook(self, *_: Any, **__: Any) -> Any:
        message = "no hooks here"
        raise RuntimeError(message)


def test_a_module_that_refuses_hooks_is_left_out_alone() -> None:
    with pytest.warns(InitMonitorWarning, match=r"measuring 'net\.2' failed .* no hooks here"):
        monitor, _ = both(
            lambda: Classifier(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), Refuses(8, 8), nn.Linear(8, 10))),
            loader(8, samples=96), InitMonitor(sinks=()), steps=3,
        )  # fmt: skip
    assert [record.names for record in monitor.records] == [("net.0", "net.1", "net.3")] * 3
    assert len(monitor.notices) == 1
