"""Residual additions and functional activations, measured in real networks against autograd and float64."""

from __future__ import annotations

import copy
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from models import Block, Classifier, add, fit, loader
from torch import nn
from torch.utils.checkpoint import checkpoint

import init_monitor
from init_monitor import InitMonitor, InitMonitorWarning
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.standalone import Watch

WIDTH, BLOCKS = 512, 20


def halved(x: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = (x + f) * 0.5**0.5
    return total


def rescaled(k: int, blocks: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """RescaleNet, α and β of Shao et al. 2020 with c = L."""
    alpha, beta = math.sqrt((k - 1 + blocks) / (k + blocks)), math.sqrt(1 / (k + blocks))
    return lambda x, f: alpha * x + beta * f


def fit_one_step(net: nn.Module, width: int, samples: int = 256) -> InitMonitor:
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net, lr=0.1), loader(width, samples=samples, batch=samples), monitor, steps=1)
    return monitor


def geometric_mean(values: list[float]) -> float:
    finite = [value for value in values if not math.isnan(value)]
    assert len(finite) >= len(values) - 1
    return math.exp(sum(map(math.log, finite)) / len(finite))


def test_an_unnormalised_he_network_doubles_per_block_forward_and_backward() -> None:
    torch.manual_seed(0)
    monitor = fit_one_step(nn.Sequential(*[Block(WIDTH, add) for _ in range(BLOCKS)], nn.Linear(WIDTH, 10)), WIDTH)
    residuals = monitor.records[0].residuals
    assert [residual.name for residual in residuals] == [f"net.{i}#1" for i in range(BLOCKS)]
    assert geometric_mean([residual.growth for residual in residuals]) == pytest.approx(2, abs=0.15)
    assert geometric_mean([residual.backward_growth for residual in residuals]) == pytest.approx(2, abs=0.15)
    assert geometric_mean([residual.variance_ratio for residual in residuals]) == pytest.approx(1, abs=0.15)
    assert np.median([abs(residual.correlation) for residual in residuals]) < 3 / math.sqrt(WIDTH)


def test_a_factor_of_one_over_root_two_keeps_the_variance() -> None:
    torch.manual_seed(0)
    monitor = fit_one_step(nn.Sequential(*[Block(WIDTH, halved) for _ in range(BLOCKS)], nn.Linear(WIDTH, 10)), WIDTH)
    residuals = monitor.records[0].residuals
    assert geometric_mean([residual.growth for residual in residuals]) == pytest.approx(1, abs=0.1)
    assert geometric_mean([residual.backward_growth for residual in residuals]) == pytest.approx(1, abs=0.1)
    assert monitor.structure.residuals[0].sum_scale == pytest.approx(0.5**0.5)
    assert residuals[0].variance_ratio == pytest.approx(1, abs=0.2)


def test_rescalenet_keeps_the_variance_over_fifty_blocks() -> None:
    torch.manual_seed(0)
    blocks = 50
    net = nn.Sequential(*[Block(WIDTH, rescaled(k, blocks)) for k in range(1, blocks + 1)], nn.Linear(WIDTH, 10))
    monitor = fit_one_step(net, WIDTH)
    record = monitor.records[0]
    variance = record.column(Quantity.RESIDUAL_SUM_VAR)
    assert len(variance) == blocks
    assert np.all(np.abs(variance - 1) < 0.25)
    assert monitor.structure.residuals[9].skip_scale == pytest.approx(math.sqrt(59 / 60))
    assert monitor.structure.residuals[9].branch_scale == pytest.approx(math.sqrt(1 / 60))
    # The skip is x itself: what it was multiplied by is taken out.
    assert record.residuals[9].skip_var == pytest.approx(record.residuals[8].sum_var, rel=1e-4)
    assert record.residuals[9].skip_gradient_var == pytest.approx(record.residuals[8].sum_gradient_var, rel=1e-4)


FORMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "plain": add,
    "reversed": lambda x, f: f + x,
    "in place": lambda x, f: f.add_(x),
    "alpha": lambda x, f: torch.add(x, f, alpha=0.5),
    "scaled branch": lambda x, f: x + 0.1 * f,
    "lerp": lambda x, f: torch.lerp(x, f, 0.25),
    "scaled sum": halved,
    "alpha x + beta f": lambda x, f: 0.8 * x + 0.6 * f,
    "tensor on the skip": lambda x, f: torch.tensor(0.8) * x + f,
    "tensor on the sum": lambda x, f: (x + f) * torch.tensor(3.0),
}
FACTORS = {
    "alpha": (1, 0.5, 1), "scaled branch": (1, 0.1, 1), "lerp": (0.75, 0.25, 1), "alpha x + beta f": (0.8, 0.6, 1),
    "scaled sum": (1, 1, 0.5**0.5), "tensor on the skip": (0.8, 1, 1), "tensor on the sum": (1, 1, 3.0),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_number_of_a_block_agrees_with_autograd_in_float64(form: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 24), *[Block(24, FORMS[form]) for _ in range(3)], nn.Linear(24, 5))
    x, y = torch.randn(64, 12), torch.randint(0, 5, (64,))
    report = init_monitor.check(net, (x, y), nn.functional.cross_entropy, strict=True)
    middle, structure = report.records[0].residuals[1], report.structure.residuals[1]

    alpha, beta, gamma = FACTORS.get(form, (1, 1, 1))
    wide = copy.deepcopy(net).double()
    h = wide[1](wide[0](x.double()))
    h.retain_grad()
    block = wide[2]
    assert isinstance(block, Block)
    f = block.second(block.first(h.relu()).relu())
    term = beta * f
    term.retain_grad()
    total = gamma * (alpha * h + term)
    total.retain_grad()
    nn.functional.cross_entropy(wide[4](wide[3](total)), y).backward()
    assert h.grad is not None
    assert term.grad is not None
    assert total.grad is not None

    def variance(t: torch.Tensor) -> float:
        return float(t.detach().var(correction=0))

    expected = {
        "skip_var": variance(h),
        "branch_var": variance(term),
        "sum_var": variance(total),
        "variance_ratio": variance(term) / variance(h),
        "growth": variance(total) / variance(h),
        "correlation": float(torch.corrcoef(torch.stack((h.detach().flatten(), f.detach().flatten())))[0, 1]),
        "covariance": float(
            torch.cov(torch.stack((alpha * h.detach().flatten(), term.detach().flatten())), correction=0)[0, 1]
        ),
        "skip_gradient_var": variance(h.grad),
        "branch_gradient_var": variance(term.grad),
        "sum_gradient_var": variance(total.grad),
        "backward_growth": variance(h.grad) / variance(total.grad),
    }
    for name, value in expected.items():
        measured = getattr(middle, name)
        if name == "skip_gradient_var" and form == "in place" and math.isnan(measured):
            continue
        tolerance = 2e-6 * variance(h) if name == "covariance" else 1e-5
        assert measured == pytest.approx(value, rel=1e-4, abs=tolerance if "gradient" not in name else 0), name
    known = (math.nan if form == "tensor on the skip" else alpha, beta)
    assert (structure.skip_scale, structure.branch_scale) == pytest.approx(known, nan_ok=True)
    assert math.isnan(structure.sum_scale) == (form == "tensor on the sum")
    assert structure.kind == "identity"
    assert structure.owner == "2"


def test_the_loss_decrease_of_a_block_is_what_a_small_sgd_step_takes_off_the_loss() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 24), *[Block(24, add) for _ in range(3)], nn.Linear(24, 5))
    module = Classifier(copy.deepcopy(net), lr=1e-4)
    data = loader(12, samples=64, batch=64, classes=5)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(module, data, monitor, steps=1)
    x, y = next(iter(data))
    before = nn.functional.cross_entropy(net(x), y)
    before.backward()
    for residual in monitor.records[0].residuals:
        index = int(residual.name.removeprefix("net.").partition("#")[0])
        norm = sum(float(p.grad.double().square().sum()) for p in net[index].parameters() if p.grad is not None)
        assert residual.loss_decrease == pytest.approx(1e-4 * norm, rel=1e-4)
        moved = copy.deepcopy(net).double()
        with torch.no_grad():
            for parameter, original in zip(moved[index].parameters(), net[index].parameters(), strict=True):
                assert original.grad is not None
                parameter.sub_(original.grad, alpha=1e-4)
            after = nn.functional.cross_entropy(moved(x.double()), y)
            taken = float(nn.functional.cross_entropy(copy.deepcopy(net).double()(x.double()), y)) - float(after)
        assert residual.loss_decrease == pytest.approx(taken, rel=0.05)


class Functional(nn.Module):
    """Every activation is a function; a ReLU module is used twice beside."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(16, 16) for _ in range(4))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.a(x))
        x = self.relu(self.b(x)).clamp_min(0)
        x = torch.tanh(self.c(x) * 100)
        x = self.relu(self.d(x))
        return torch.relu_(x + 0.0)


def test_functional_activations_are_taps_like_modules() -> None:
    torch.manual_seed(0)
    model, x = Functional(), torch.randn(2048, 16)
    with torch.no_grad():
        model.a.bias[:5] = -100
    report = init_monitor.check(model, x, strict=True)
    record, structure = report.records[0], report.structure.by_name()
    assert record.names == ("a", "/relu#1", "b", "relu#1", "/relu#2", "c", "/tanh#1", "d", "relu#2", "/relu#3")
    assert structure["/relu#1"].inputs == ("a",)
    assert structure["/relu#1"].flat_below
    units = record.layers["/relu#1"].units
    assert units is not None
    assert units.dead_fraction == pytest.approx(5 / 16)
    assert units.samples == 2048
    assert structure["a"].activation == "relu"
    assert structure["b"].activation == "ReLU"
    assert structure["c"].activation is None  # it was multiplied first
    assert structure["d"].activation == "ReLU"
    saturated = torch.tanh(100 * model.c(model.relu(model.b(torch.relu(model.a(x)))))).detach().abs() >= math.sqrt(0.95)
    assert record.layers["/tanh#1"].saturated_fraction == pytest.approx(float(saturated.double().mean()))


class Residuals(nn.Module):
    def __init__(self, *, long: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(16, add) for _ in range(4)])
        self.take = 4
        self.long = long

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks[: self.take]:
            x = block(x)
        return x


class TwoSums(nn.Module):
    """A block whose second addition begins where a module inside it added, as FastViT's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mixer = Block(width, add)
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.mixer(x)
        summed: torch.Tensor = x + self.down(torch.relu(self.up(x)))
        return summed


def test_a_block_that_begins_at_the_sum_of_a_module_inside_has_only_its_own_layers() -> None:
    net = nn.Sequential(nn.Linear(8, 8), TwoSums(8), TwoSums(8), nn.Linear(8, 10))
    monitor = fit_one_step(net, 8)
    assert [(one.name, one.skip, one.layers) for one in monitor.structure.residuals][1::2] == [
        (f"net.{i}#1", f"net.{i}.mixer#1", (f"net.{i}.up", f"net.{i}/relu#1", f"net.{i}.down")) for i in (1, 2)
    ]


def test_the_structure_is_rebuilt_when_another_branch_is_taken_and_only_then() -> None:
    model = Residuals()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    structures = []
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as monitor:
        for take, batch in ((4, 8), (4, 32), (2, 8), (4, 8)):
            model.take = take
            with monitor.step():
                model(torch.randn(batch, 16)).square().mean().backward()
                optimizer.step()
            structures.append(monitor.structure)
            assert len(monitor.structure.residuals) == take
            assert len(monitor.records[-1].residuals) == take
    assert structures[0] is structures[1]
    assert structures[1] is not structures[2]


def test_accumulated_batches_give_the_residuals_of_the_whole_batch() -> None:
    records = []
    for accumulate, batch in ((1, 64), (4, 16)):
        torch.manual_seed(0)
        monitor = InitMonitor(sinks=(), strict=True)
        fit(Classifier(nn.Sequential(Residuals(), nn.Linear(16, 10))), loader(16, batch=batch), monitor, steps=2,
            accumulate_grad_batches=accumulate)  # fmt: skip
        records.append(monitor.records[-1])
    for quantity, column in records[0].residual_columns.items():
        np.testing.assert_allclose(records[1].column(quantity), column, rtol=1e-4, atol=1e-6, err_msg=str(quantity))


def test_autocast_is_seen_through() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    net = nn.Sequential(Residuals(), nn.Linear(16, 10))
    fit(Classifier(net), loader(16), monitor, steps=2, precision="bf16-mixed")
    assert len(monitor.records[0].residuals) == 4
    assert all(1.5 < residual.growth < 3 for residual in monitor.records[0].residuals)
    assert monitor.structure.by_name()["net.1"].dtype == "bfloat16"


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_blocks_are_measured_once_and_with_their_gradients(*, reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner, self.head = nn.Linear(16, 16), Residuals(), nn.Linear(16, 4)
            self.checkpointed = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            for block in self.inner.blocks:
                x = checkpoint(block, x, use_reentrant=reentrant) if self.checkpointed else block(x)
            output: torch.Tensor = self.head(x)
            return output

    torch.manual_seed(0)
    model, x = Checkpointed(), torch.randn(32, 16)
    inside = init_monitor.check(model, x, strict=True)
    model.checkpointed = False
    plain = init_monitor.check(model, x, strict=True)
    assert inside.records[0].names == plain.records[0].names
    assert inside.structure.residuals == plain.structure.residuals
    for quantity, column in plain.records[0].residual_columns.items():
        np.testing.assert_allclose(
            inside.records[0].column(quantity), column, rtol=1e-4, atol=1e-6, err_msg=str(quantity)
        )
    for quantity in (Quantity.COUNT, Quantity.VARIANCE):
        np.testing.assert_allclose(inside.records[0].column(quantity), plain.records[0].column(quantity), rtol=1e-5)


def test_a_compiled_model_is_seen_on_sampled_steps() -> None:
    torch.manual_seed(0)
    model = Residuals()
    compiled = torch.compile(model, backend="eager")
    assert isinstance(compiled, nn.Module)
    compiled(torch.randn(8, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with init_monitor.watch(compiled, optimizer=optimizer, sinks=(), strict=True) as monitor, monitor.step():
        compiled(torch.randn(8, 16)).square().mean().backward()
        optimizer.step()
    assert monitor.records[0].residual_names == ("blocks.0#1", "blocks.1#1", "blocks.2#1", "blocks.3#1")


class UsesVmap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.inner.weight, self.inner.bias
        y: torch.Tensor = torch.vmap(lambda row: nn.functional.linear(row, weight, bias) + row)(x)
        output: torch.Tensor = y + self.inner(y)
        return output


def three_steps(model: nn.Module) -> Watch:
    """Watch three steps of a loop without Lightning."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
        for _ in range(3):
            with monitor.step():
                model(torch.randn(8, 16)).square().mean().backward()
                optimizer.step()
    return monitor


def from_us(caught: pytest.WarningsRecorder) -> int:
    return sum(warning.category is InitMonitorWarning for warning in caught)


def test_what_runs_inside_vmap_is_one_notice_and_the_rest_is_measured() -> None:
    with pytest.warns(InitMonitorWarning, match="vmap") as caught:
        monitor = three_steps(UsesVmap())
    assert from_us(caught) == 1
    assert all(record.names == ("inner",) for record in monitor.records)


def test_torchscript_parts_degrade_to_module_taps() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fast, self.head = scripted, nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.head(x + self.fast(x))
            return output

    model = Net()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InitMonitorWarning)
        with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
            for _ in range(2):
                with monitor.step():
                    model(torch.randn(8, 8)).square().mean().backward()
                    optimizer.step()
    assert len(monitor.notices) <= 1
    assert all("head" in record.names for record in monitor.records)


def test_a_probe_that_fails_is_one_notice_and_modules_are_still_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        message = "cannot tell"
        raise RuntimeError(message)

    monkeypatch.setattr("init_monitor.structure.additions.judge", broken)
    with pytest.warns(InitMonitorWarning, match="cannot tell") as caught:
        monitor = three_steps(Residuals())
    assert from_us(caught) == 1
    assert len(monitor.records) == 3
    assert all("blocks.3.second" in record.names for record in monitor.records)
