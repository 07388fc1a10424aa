"""``check``: one batch, measured before any training, that leaves the model as it was."""

from __future__ import annotations

import copy
import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, mlp
from test_standalone import batches, explosive, no_hooks, sgd, train
from torch import nn

import init_monitor
from init_monitor import CriticalFindingError, InitMonitorError, Severity

if TYPE_CHECKING:
    from collections.abc import Callable


# --- check -----------------------------------------------------------------------------------------------------------


class Restless(nn.Module):
    """Changes everything a forward can change: running means, a replaced buffer, modes, three random generators."""

    calls: torch.Tensor
    cache: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop, self.head = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", None)
        self.register_buffer("cache", torch.zeros(3), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        self.cache = torch.ones(x.shape[0])
        random.random()  # noqa: S311 - not for secrets
        np.random.rand()  # noqa: NPY002 - what user code may do
        output: torch.Tensor = self.head(self.drop(self.norm(self.fc(x)).relu()))
        return output


def test_check_leaves_weights_gradients_buffers_modes_and_random_state_as_they_were() -> None:
    torch.manual_seed(0)
    model = Restless()
    model.eval()
    model.norm.train()
    model(torch.randn(4, 8)).sum().backward()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = {name: p.grad for name, p in model.named_parameters()}
    values = {name: g.clone() for name, g in gradients.items() if g is not None}
    buffers = dict(model.named_buffers())
    modes = {name: module.training for name, module in model.named_modules()}
    generators = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    report = init_monitor.check(model, torch.randn(16, 8, generator=torch.Generator().manual_seed(1)), strict=True)
    assert report.records[0].layers["norm"].forward.count == 16 * 8
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in state)
    assert all(p.grad is gradients[name] for name, p in model.named_parameters())
    assert all(torch.equal(g, values[name]) for name, g in gradients.items() if g is not None)
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    assert model.cache.shape == (4,)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert random.getstate() == generators[1]
    assert str(np.random.get_state()) == generators[2]  # noqa: NPY002
    assert no_hooks(model)


def test_check_puts_everything_back_after_an_error_too() -> None:
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 4), nn.Linear(5, 2)).eval()
    with pytest.raises(RuntimeError, match="shapes"):
        init_monitor.check(model, torch.randn(4, 8))
    assert not model.training
    norm = model[0]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 0
    assert no_hooks(model)


def test_a_lazy_model_is_checked_in_the_forward_that_gives_it_its_shapes() -> None:
    model = nn.Sequential(nn.LazyLinear(6), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(2))
    report = init_monitor.check(model, torch.randn(16, 5), strict=True)
    assert report.structure.names == ("0", "1", "2", "3")
    assert [layer.fan_in for layer in report.structure.layers] == [5, 0, 0, 6]


def oracle(model: nn.Module, batch: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
    """Variance of ∂loss/∂output of each layer, by autograd on a copy."""
    model = copy.deepcopy(model).train()
    outputs: dict[str, torch.Tensor] = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda _m, _a, out, name=name: outputs.__setitem__(name, out))
    gradients = torch.autograd.grad(loss(model(batch)), list(outputs.values()))
    return {name: float(g.double().var(correction=0)) for name, g in zip(outputs, gradients, strict=True)}


def backward_variances(report: init_monitor.Report) -> dict[str, float]:
    return {layer.name: layer.backward.variance for layer in report.records[0] if layer.backward is not None}


def test_with_a_loss_the_gradients_are_those_of_that_loss() -> None:
    torch.manual_seed(0)
    model, (x, y) = mlp(2, 8), next(batches(1))
    report = init_monitor.check(model, (x, y), nn.functional.cross_entropy)
    expected = oracle(model, x, lambda out: nn.functional.cross_entropy(out, y))
    assert backward_variances(report) == pytest.approx(expected, rel=1e-5)
    for name, parameter in report.records[0].parameters.items():
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), model.get_parameter(name))
        assert parameter.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-5)


def test_double_precision_is_measured_in_double_precision() -> None:
    torch.manual_seed(0)
    model, x = mlp(3, 8).double(), 1e9 + torch.randn(64, 8, dtype=torch.float64)
    report = init_monitor.check(model, x, lambda out: out.square().mean())
    expected = oracle(model, x, lambda out: out.square().mean())
    assert backward_variances(report) == pytest.approx(expected, rel=1e-9)
    first = report.records[0].layers["0"].forward
    assert first.variance == pytest.approx(float(model[0](x).detach().var(correction=0)), rel=1e-9)


class Repeats(nn.Module):
    """A layer whose output is one column, shown as many."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1].expand(-1, 20_000)


def test_a_large_output_without_memory_of_its_own_is_measured_whole() -> None:
    model = nn.Sequential(nn.Linear(8, 8), Repeats())
    x = torch.randn(32, 8)
    layer = init_monitor.check(model, x, strict=True).records[0].layers["1"].forward
    assert layer.count == 32 * 20_000
    assert layer.variance == pytest.approx(float(model[0](x)[:, 0].detach().var(correction=0)), rel=1e-4)


def test_a_loss_of_the_output_alone_needs_no_target() -> None:
    torch.manual_seed(0)
    model, x = mlp(2, 8), torch.randn(16, 8)
    for batch in (x, [x], (x,)):
        report = init_monitor.check(model, batch, lambda out: out.square().mean())
        assert backward_variances(report) == pytest.approx(oracle(model, x, lambda out: out.square().mean()), rel=1e-5)


def test_without_a_loss_standard_noise_over_its_size_enters_at_the_output() -> None:
    torch.manual_seed(0)
    model, x = mlp(2, 64), torch.randn(512, 64)
    report = init_monitor.check(model, (x, torch.zeros(512)))
    last = report.records[0].layers["4"].backward
    assert last is not None
    assert last.count == 512 * 10
    assert last.variance * (512 * 10) ** 2 == pytest.approx(1, rel=0.1)
    assert backward_variances(report) == backward_variances(init_monitor.check(model, x))


class Wordy(nn.Module):
    """Takes keywords and returns its own loss, as language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(1, 8)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        logits = self.net(x)
        if labels is None:
            return {"logits": logits, "tokens": torch.ones(3, dtype=torch.int64)}
        return WithLoss(nn.functional.cross_entropy(logits, labels), logits)


class WithLoss:
    def __init__(self, loss: torch.Tensor, logits: torch.Tensor) -> None:
        self.loss, self.logits = loss, logits


def test_a_mapping_is_keywords_and_the_models_own_loss_is_used() -> None:
    torch.manual_seed(0)
    model, (x, y) = Wordy(), next(batches(1))
    report = init_monitor.check(model, {"x": x, "labels": y})
    expected = oracle(model.net, x, lambda out: nn.functional.cross_entropy(out, y))
    assert backward_variances(report) == pytest.approx({f"net.{k}": v for k, v in expected.items()}, rel=1e-5)
    assert len(backward_variances(init_monitor.check(model, {"x": x}))) == 3


def test_an_output_to_go_back_from_is_needed() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.fc(x).argmax(1)
            return output

    model = Counts()
    with pytest.raises(InitMonitorError, match=r"returned Tensor without a floating tensor.*Give loss_fn="):
        init_monitor.check(model, torch.ones(2, 8))
    assert no_hooks(model)


def test_a_loss_must_be_one_number() -> None:
    with pytest.raises(
        InitMonitorError, match=r"loss_fn returned Tensor of shape \(2, 10\), expected a tensor with one"
    ):
        init_monitor.check(mlp(1, 8), torch.ones(2, 8), lambda out: out)
    with pytest.raises(InitMonitorError, match="loss_fn returned float, expected"):
        init_monitor.check(mlp(1, 8), torch.ones(2, 8), lambda out: float(out.detach().mean()))  # type: ignore[arg-type,return-value]


class Keywords(nn.Module):
    """Whole numbers in; a layer called by keyword; outputs nested deeper than anyone looks."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc, self.deep = nn.Embedding(5, 4), nn.Linear(4, 4), Deep()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        nested = self.deep(self.fc(input=self.embed(tokens)))
        output: torch.Tensor = nested[0][0][0][0][0]
        return output


class Deep(nn.Module):
    """Returns a tensor in the fifth level of lists, and a sparse one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    def forward(self, x: torch.Tensor) -> Any:
        return [[[[[x]]]], torch.eye(2).to_sparse()]


def test_whole_numbers_keywords_and_deep_nests_are_no_obstacle() -> None:
    report = init_monitor.check(Keywords(), torch.randint(0, 5, (16, 3)), strict=True)
    (record,) = report.records
    assert record.names == ("embed", "fc")
    assert math.isnan(record.layers["embed"].gain)
    assert record.layers["fc"].gain > 0
    assert report.structure.by_name()["fc"].inputs == ("embed",)


def test_more_calls_than_max_layers_are_told_once() -> None:
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(8, 8), shared, nn.Linear(8, 8), shared, nn.Linear(8, 10), shared)
    optimizer = sgd(model)
    m = init_monitor.watch(model, optimizer, sinks=(), max_layers=4, include=("*",))
    with pytest.warns(init_monitor.InitMonitorWarning, match="max_layers=4 calls of layers are measured per step"), m:
        train(m, model, optimizer, 3)
    assert len(m.notices) == 1
    assert [len(record.names) for record in m.records] == [4, 4, 4]
    assert m.report.settings["include"] == ["*"]


def test_where_nothing_can_be_chosen_check_says_that_nothing_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("init_monitor.capture.capture.select", broken)
    with pytest.warns(init_monitor.InitMonitorWarning, match="the monitor failed while choosing the layers"):
        report = init_monitor.check(mlp(1, 8), torch.ones(2, 8))
    assert report.verdict == "Nothing was measured yet."


def test_a_frozen_network_is_measured_forward() -> None:
    report = init_monitor.check(mlp(1, 8).requires_grad_(requires_grad=False), torch.ones(2, 8), strict=True)
    assert [layer.backward for layer in report.records[0]] == [None, None, None]


def test_a_normal_0_1_network_is_reported_exploding_before_it_trains() -> None:
    report = init_monitor.check(explosive(), torch.randn(64, 256))
    exploding = next(finding for finding in report.findings if finding.code == "IM101")
    assert exploding.severity is Severity.CRITICAL
    assert exploding.evidence["growth_per_layer"] == pytest.approx(128, rel=0.15)
    assert "critical" in report.verdict
    with pytest.raises(CriticalFindingError, match="IM101"):
        init_monitor.check(explosive(), torch.randn(64, 256), on_critical="raise")


def test_a_lightning_module_is_checked_by_its_forward() -> None:
    torch.manual_seed(0)
    module = Classifier(mlp(2, 8))
    report = init_monitor.check(module, next(batches(1)), nn.functional.cross_entropy, strict=True)
    assert isinstance(module, pl.LightningModule)
    assert module.losses == []
    assert report.structure.names == ("net.0", "net.1", "net.2", "net.3", "net.4")
    assert report.verdict == "No finding in 1 sampled step of 5 layers; the loss is not known."


def test_without_an_optimizer_step_there_is_no_update_to_report() -> None:
    (record,) = init_monitor.check(mlp(1, 8), torch.randn(16, 8)).records
    assert record.step == 0
    assert len(record.parameters) == 4
    for parameter in record.parameters.values():
        assert math.isnan(parameter.update_ratio)
        assert parameter.norm > 0
        assert parameter.gradient_norm > 0


def test_check_works_under_no_grad_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with torch.no_grad():
        report = init_monitor.check(mlp(1, 8), torch.randn(16, 8))
        assert not torch.is_grad_enabled()
    assert len(backward_variances(report)) == 3
    assert capsys.readouterr().out == ""
