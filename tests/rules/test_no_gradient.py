from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from builders import history, linear, linears, only, record, rectifier
from models import Classifier, fit, loader
from torch import nn

from init_monitor import InitMonitor, Severity, Structure, watch
from init_monitor.records import History
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DeadReLU, NoGradient, VanishingGradients
from init_monitor.rules.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Finding
    from init_monitor.rules.rule import Rule

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
NAN = np.nan
NET = linears(4)


def columns(norms: Any, *, arrived: Any = 1.0, update: Any = None, **more: Any) -> dict[Quantity, Any]:
    """Weight gradients, by default with updates where there is one, and activation gradients everywhere."""
    moved = np.nan_to_num(np.asarray(norms, np.float64)) > 0
    return {
        Quantity.WEIGHT_GRADIENT_NORM: norms,
        Quantity.UPDATE_RATIO: 1e-3 * moved if update is None else update,
        Quantity.WEIGHT_COUNT: 100.0,
        Quantity.TRAINABLE: 1.0,
        Quantity.GRADIENT_VARIANCE: arrived,
    } | {Quantity(name): value for name, value in more.items()}


def past(*norms: Any, structure: Structure = NET, **more: Any) -> History:
    return history(structure, *(columns(one, **more) for one in norms))


def judge(*norms: Any, **more: Any) -> list[Finding]:
    return list(NoGradient().judge(past(*norms, **more)))


def test_parameters_in_no_optimizer_are_told_at_once_with_the_optimizer_to_build() -> None:
    left_out = ("net.1.weight", "net.1.bias")
    given = record(NET, {}, unoptimized=left_out, optimizer="AdamW", learning_rate=3e-4)
    finding = only(NoGradient().judge(History([given], NET)))
    assert (finding.code, finding.rule, finding.severity) == ("IM602", "no-gradient", WARNING)
    assert finding.layers == ("net.1",)
    assert "net.1.weight and net.1.bias are trainable, but no optimizer holds them: they will not" in finding.message
    assert finding.remedy_code.startswith(
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=0.0003)"
    )


def test_what_no_optimizer_holds_and_never_ran_is_information() -> None:
    finding = only(NoGradient().judge(History([record(NET, {}, unoptimized=("teacher.weight",))], NET)))
    assert finding.severity is INFO
    assert finding.layers == ("teacher.weight",)
    assert "teacher.weight is trainable, but no optimizer holds it: it will not learn." in finding.message


def test_a_parameter_of_a_container_that_ran_is_one_that_ran() -> None:
    finding = only(NoGradient().judge(History([record(NET, {}, unoptimized=("net.scale", "position"))], NET)))
    assert (finding.severity, finding.layers) == (WARNING, ("net.scale", "position"))


CUT = linears(4)
CUT = Structure((*CUT.layers[:2], linear(2, "net.2", inputs=("input",)), CUT.layers[3]))
BEFORE = [1.0 if i > 1 else NAN for i in range(4)]


def test_a_cut_graph_is_critical_if_half_of_the_network_is_behind_it() -> None:
    finding = only(judge(*[[NAN, NAN, 1.0, 1.0]] * 8, structure=CUT, arrived=BEFORE))
    assert (finding.severity, finding.layers) == (CRITICAL, ("net.0", "net.1"))
    assert "the graph is cut in between" in finding.message
    assert "detach()" in finding.remedy
    assert finding.evidence["elements"] == 0.5
    small = only(judge(*[[NAN, NAN, 1, 1]] * 8, structure=CUT, arrived=BEFORE, weight_count=[1.0, 1.0, 100.0, 100.0]))
    assert small.severity is WARNING


def test_seven_records_are_not_enough_and_one_gradient_is_enough() -> None:
    none, some = [NAN, NAN, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]
    assert judge(*[none] * 7, structure=CUT) == []
    assert judge(*[none] * 7, some, structure=CUT) == []
    assert judge(some, *[none] * 20, structure=CUT) == []
    assert judge(*[none] * 8, structure=CUT)


def test_an_expert_that_was_not_chosen_yet_gets_more_time() -> None:
    names = ["net.0.weight", "experts.0.weight", "experts.1.weight"]
    for count, severities in ((19, []), (20, [WARNING])):
        given = columns([1.0, 1.0, NAN])
        findings = list(NoGradient().judge(history(NET, *[given] * count, parameter_names=names)))
        assert [finding.severity for finding in findings] == severities


POOLER = linear(3, "pooler", inputs=("net.2",))


@pytest.mark.parametrize(("count", "severity"), [(1.0, INFO), (100.0, INFO), (400.0, WARNING)])
def test_an_output_that_the_loss_does_not_use_matters_by_its_size(count: float, severity: Severity) -> None:
    counts = [100.0, 100.0, 100.0, count]
    net = Structure((*NET.layers[:3], POOLER))
    given = {"structure": net, "arrived": [1.0, 1.0, 1.0, NAN], "weight_count": counts}
    finding = only(judge(*[[1.0, 1.0, 1.0, NAN]] * 8, **given))
    assert (finding.severity, finding.layers) == (severity, ("pooler",))
    assert "the loss does not use their output" in finding.message


def test_a_pooler_beside_a_head_that_cannot_be_traced_is_not_called_detached() -> None:
    layers = (*NET.layers[:2], replace(POOLER, depth=2), linear(3, "head", inputs=()))
    given: dict[str, Any] = {"arrived": [1.0, 1.0, NAN, 1.0], "weight_count": [100.0, 100.0, 1.0, 100.0]}
    assert only(judge(*[[1.0, 1.0, NAN, 1.0]] * 8, structure=Structure(layers), **given)).severity is INFO


def test_a_layer_whose_twin_in_another_block_learns_was_meant_to_learn() -> None:
    given: dict[str, Any] = {"arrived": [1.0, 1.0, 1.0, NAN], "weight_count": [100.0, 100.0, 100.0, 1.0]}
    finding = only(judge(*[[1.0, 1.0, 1.0, NAN]] * 8, **given))
    assert (finding.severity, finding.layers) == (WARNING, ("net.3",))
    assert "the graph is cut" in finding.message


def test_a_gradient_of_exactly_zero_says_that_the_output_does_not_count() -> None:
    # The branch is multiplied by 0; the gradient on the way is not what is measured here.
    finding = only(judge(*[[1.0, 0.0, 1.0, 1.0]] * 8))
    assert (finding.severity, finding.layers) == (WARNING, ("net.1",))
    assert "exactly 0" in finding.message
    assert only(judge(*[[0.0, 0.0, 0.0, 1.0]] * 8)).severity is CRITICAL


@pytest.mark.parametrize("rounding", [1e-30, 1e-12])
def test_a_gradient_at_rounding_level_is_one(rounding: float) -> None:
    assert judge(*[[1.0, rounding, 1.0, 1.0]] * 12) == []


RELU = Structure((*linears(2).layers, rectifier(2, "relu", inputs=("net.1",)), linear(3, "head", inputs=("relu",))))
BEHIND = [[0.0, 0.0, 1.0]] * 8
"""Weight gradients of two layers before a ReLU, and of the head after it."""


def beside(*norms: Any, dead: float, rules: Sequence[Rule] = (DeadReLU(), NoGradient()), **more: Any) -> list[str]:
    """Return the codes that are told about a network whose ReLU has this share of dead units."""
    given = {"dead_fraction": [NAN, NAN, dead, NAN], "unit_samples": 5000.0, "unit_count": 512.0} | more
    found = Engine(rules, strict=True).judge(past(*norms, structure=RELU, **given))
    return [finding.code for finding in found]


@pytest.mark.parametrize(("dead", "codes"), [(0.9, ["IM301"]), (0.7, ["IM301", "IM602"]), (0.1, ["IM602"])])
def test_zeros_behind_units_that_died_are_left_to_the_rule_that_tells_them(dead: float, codes: list[str]) -> None:
    assert beside(*BEHIND, dead=dead) == codes


def test_zeros_behind_dead_units_are_told_where_no_rule_tells_those() -> None:
    assert beside(*BEHIND, dead=0.9, rules=(NoGradient(),)) == ["IM602"]
    assert beside(*BEHIND, dead=0.9, rules=(DeadReLU(warning=0.95, critical=0.99), NoGradient())) == ["IM602"]
    assert beside(*BEHIND, dead=0.9, unit_samples=10.0) == ["IM602"]


def test_no_gradient_at_all_is_not_the_fault_of_dead_units() -> None:
    assert beside(*[[NAN, NAN, 1.0]] * 8, dead=0.9) == ["IM301", "IM602"]


def test_a_layer_after_the_dead_units_is_told_beside_them() -> None:
    found = Engine((DeadReLU(), NoGradient()), strict=True).judge(
        past(
            *[[0.0, 0.0, 0.0, 1.0]] * 8,
            structure=Structure((*RELU.layers[:3], linear(3, "beside", inputs=("relu",)), linear(4, "head"))),
            dead_fraction=[NAN, NAN, 0.9, NAN, NAN],
            unit_samples=5000.0,
            unit_count=512.0,
        )
    )
    dead, rest = found
    assert (dead.layers, rest.layers) == (("relu",), ("beside",))
    assert rest.evidence["elements"] == 0.25


def test_a_gradient_that_stops_is_left_to_the_rule_that_tells_it() -> None:
    zeros = past(*[[0.0, 0.0, 0.0, 1.0]] * 8, arrived=[0.0, 0.0, 0.0, 1.0])
    both = Engine((NoGradient(), VanishingGradients()), strict=True).judge(zeros)
    assert [finding.code for finding in both] == ["IM202"]
    assert [finding.code for finding in NoGradient().judge(zeros)] == ["IM602"]


def test_what_receives_nothing_but_zeros_has_no_gradient_of_its_own() -> None:
    assert judge(*[[1.0, 0.0, 1.0, 1.0]] * 8, input_mean_square=[1.0, 0.0, 1.0, 1.0]) == []


@pytest.mark.parametrize("made", ["norm", "linear"])
def test_a_layer_whose_bias_learns_and_whose_weight_gets_zeros_receives_nothing(made: str) -> None:
    """The queries of a decoder begin as zeros; what stands before its first attention is then there for later blocks alone."""
    torch.manual_seed(0)
    first = nn.LayerNorm(8) if made == "norm" else nn.Linear(8, 8)
    model = nn.ModuleDict({"first": first, "memory": nn.Linear(4, 8), "head": nn.Linear(8, 1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, sinks=(), rules=(NoGradient(),)) as monitor:
        for _ in range(16):
            x = torch.randn(32, 4)
            with monitor.step() as step:
                made_of = model["first"](torch.zeros(32, 8)) + model["memory"](x)
                step.loss = loss = (model["head"](torch.tanh(made_of)) - x[:, :1]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    assert monitor.findings == []


def test_a_module_that_never_ran_matters_by_its_size() -> None:
    names = [*(f"net.{i}.weight" for i in range(4)), "spare.weight"]
    for count, severity in ((1.0, INFO), (100.0, WARNING)):
        given = columns([1.0, 1.0, 1.0, 1.0, NAN], weight_count=[100.0] * 4 + [count])
        finding = only(NoGradient().judge(history(NET, *[given] * 8, parameter_names=names)))
        assert (finding.severity, finding.layers) == (severity, ("spare.weight",))
        assert "not seen to run" in finding.message


def test_frozen_parameters_are_meant_to_rest() -> None:
    assert judge(*[[NAN, NAN, 1.0, 1.0]] * 8, structure=CUT, trainable=[0.0, 0.0, 1.0, 1.0]) == []


def test_what_moved_without_a_measured_gradient_had_a_sparse_one() -> None:
    assert judge(*[[NAN, 1.0, 1.0, 1.0]] * 8, update=1e-3) == []


@pytest.mark.parametrize("norms", [[0.0] * 4, [NAN] * 4])
def test_a_loss_that_is_constant_or_was_not_propagated_says_nothing_about_a_layer(norms: list[float]) -> None:
    assert judge(*[norms] * 12) == []


def test_only_records_that_measured_a_parameter_count_for_it() -> None:
    """Two optimizers that take turns: each parameter is measured when its own optimizer steps."""
    names = [f"net.{i}.weight" for i in range(4)]
    turns: Sequence[tuple[list[str], list[float]]] = [(names[:2], [NAN, 1.0]), (names[2:], [1.0, 1.0])]
    records = [record(NET, columns(turns[i % 2][1]), step=i, parameter_names=turns[i % 2][0]) for i in range(16)]
    assert only(NoGradient().judge(History(records[:15], NET))).layers == ("net.0",)
    assert list(NoGradient().judge(History(records[:13], NET))) == []
    assert list(NoGradient().judge(History([record(NET, {})], NET))) == []


class Net(nn.Module):
    """Two layers, one beside them, a head; and every way to leave one of them without a gradient."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.first, self.second, self.beside = (nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.relu(self.first(x))
        if self.fault == "detached":
            z = z.detach()
        if self.fault == "without grad":
            with torch.no_grad():
                beside = self.beside(z)
        elif self.fault != "unused":
            beside = self.beside(z)
        z = torch.relu(self.second(z))
        if self.fault in {"", "detached"}:
            z = z + beside
        if self.fault == "multiplied by zero":
            z = z + 0 * beside
        output: torch.Tensor = self.head(z)
        return output


def found(module: pl.LightningModule, *, steps: int = 12) -> list[Finding]:
    monitor = InitMonitor(sinks=(), strict=True, rules=(NoGradient(),))
    fit(module, loader(16), monitor, steps=steps)
    return monitor.findings


@pytest.mark.parametrize(
    ("fault", "layers", "words", "severity"),
    [
        ("multiplied by zero", ("beside",), "exactly 0", WARNING),
        ("not used", ("beside",), "the loss does not use", INFO),
        ("unused", ("beside.weight", "beside.bias"), "not seen to run", WARNING),
        ("without grad", ("beside.weight", "beside.bias"), "torch.no_grad()", WARNING),
    ],
)
def test_a_real_training_names_the_branch_and_the_reason(
    fault: str, layers: tuple[str, ...], words: str, severity: Severity
) -> None:
    torch.manual_seed(0)
    finding = only(found(Classifier(Net(fault))))
    assert finding.severity is severity
    assert finding.layers == tuple(f"net.{name}" for name in layers)
    assert words in finding.message


def test_a_real_training_names_what_lies_before_a_detach() -> None:
    torch.manual_seed(0)
    finding = only(found(Classifier(Net("detached"))))
    assert (finding.layers, finding.severity) == (("net.first",), WARNING)
    assert "the graph is cut in between" in finding.message


def test_a_real_training_of_the_same_network_without_fault_is_silent() -> None:
    torch.manual_seed(0)
    assert found(Classifier(Net())) == []


class Forgetful(Classifier):
    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(self.net.parameters(), lr=self.lr)
        self.net.head = nn.Linear(16, 10)
        return optimizer


def test_a_head_that_was_replaced_after_the_optimizer_was_built_is_told() -> None:
    torch.manual_seed(0)
    finding = only(f for f in found(Forgetful(Net())) if f.severity is WARNING)
    assert (finding.step, finding.layers) == (0, ("net.head",))


def test_a_frozen_trunk_and_a_head_of_zeros_are_silent() -> None:
    torch.manual_seed(0)
    frozen = Net()
    frozen.first.requires_grad_(False)  # noqa: FBT003 - torch's own signature
    assert found(Classifier(frozen)) == []
    zeros = Net()
    nn.init.zeros_(zeros.head.weight)
    assert found(Classifier(zeros)) == []


def test_layers_that_are_dropped_now_and_then_and_sparse_gradients_are_silent() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 8, sparse=True)
            self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
            self.head = nn.Linear(8, 2)
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            output: torch.Tensor = self.head(self.experts[self.calls % 3](self.table(x)))
            return output

    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, sinks=(), strict=True, dense_steps=30, rules=(NoGradient(),)) as monitor:
        for _ in range(30):
            with monitor.step():
                loss = model(torch.randint(0, 10, (4,))).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    assert len(monitor.records) == 30
    assert monitor.findings == []


class Copied(pl.LightningModule):
    """A value network and its target, which follows it; the optimizer may hold both."""

    def __init__(self, *, both: bool, grad: bool) -> None:
        super().__init__()
        self.both, self.grad = both, grad
        self.online, self.target = (nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)) for _ in range(2))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        with torch.set_grad_enabled(self.grad):
            wanted = 1 + 0.9 * self.target(batch[0])
        loss: torch.Tensor = (self.online(batch[0]) - wanted.detach()).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters() if self.both else self.online.parameters(), lr=1e-3)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_a_target_network_is_information(both: bool, grad: bool) -> None:  # noqa: FBT001
    torch.manual_seed(0)
    findings = found(Copied(both=both, grad=grad))
    assert [finding.severity for finding in findings] == [INFO]


class Masked(nn.Linear):
    """A layer whose weights are masked: in the product, or by a new parameter at every forward pass."""

    def __init__(self, inputs: int, outputs: int, *, anew: bool) -> None:
        super().__init__(inputs, outputs)
        self.anew = anew
        self.mask = (torch.rand(outputs, inputs) < 0.5).float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        masked = self.weight * self.mask
        if self.anew:
            self.weight = nn.Parameter(masked)
            masked = self.weight
        return nn.functional.linear(x, masked, self.bias)


@pytest.mark.parametrize("anew", [True, False])
def test_parameters_that_are_made_anew_are_not_sent_to_the_optimizer(*, anew: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Masked(16, 32, anew=anew), nn.ReLU(), nn.Linear(32, 10))
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net), loader(16), monitor, steps=4)
    loud = [one for one in monitor.findings if one.severity is not Severity.INFO]
    assert [one.code for one in loud] == ["IM602"] * anew
    if anew:
        assert loud[0].layers == ("net.0",)
        assert "At step 0 an optimizer held what had the same name" in loud[0].message
        assert "nn.Parameter(self.weight * mask)" in loud[0].remedy_sentence


class Thawed(Classifier):
    """Unfreezes a layer at step 2, and hands it to the optimizer or not."""

    def __init__(self, *, added: bool) -> None:
        first = nn.Linear(16, 32)
        super().__init__(nn.Sequential(first, nn.ReLU(), nn.Linear(32, 10)))
        self.added = added
        self.first = [first.requires_grad_(requires_grad=False)]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.01)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        del batch
        if batch_idx == 2:
            first = self.first[0].requires_grad_(requires_grad=True)
            if self.added:
                self.trainer.optimizers[0].add_param_group({"params": list(first.parameters())})


@pytest.mark.parametrize("added", [True, False])
def test_what_was_frozen_before_is_not_called_new(*, added: bool) -> None:
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Thawed(added=added), loader(16), monitor, steps=6)
    loud = [one for one in monitor.findings if one.severity is not Severity.INFO]
    assert [one.code for one in loud] == ["IM602"] * (not added)
    assert all("had the same name" not in one.message for one in loud)
    assert all("Pass all parameters to the optimizer" in one.remedy_sentence for one in loud)
