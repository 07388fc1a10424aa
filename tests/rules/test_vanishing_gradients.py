from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from builders import history, linears, measure, only
from gradients_over_depth import LAYERS, backward, judge, past, updates
from models import Block, add
from torch import nn
from torch.nn.functional import cross_entropy

import init_monitor
from init_monitor.analysis.residual_correction import on_the_stream
from init_monitor.records import Finding, LossCurve, LossStretch, Severity
from init_monitor.records.quantities import Quantity

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


def test_xavier_relu_layers_vanish_backward_by_half_per_layer_and_he_layers_do_not() -> None:
    torch.manual_seed(0)

    def network(initialise: Any) -> nn.Sequential:
        modules: list[nn.Module] = []
        for i in range(30):
            modules += [nn.Linear(256, 256), nn.ReLU()][: 2 if i < 29 else 1]
            initialise(modules[2 * i].weight)
            nn.init.zeros_(modules[2 * i].bias)  # type: ignore[arg-type]
        return nn.Sequential(*modules)

    finding = only(judge(measure(network(nn.init.xavier_normal_), torch.randn(256, 256))))
    assert (finding.code, finding.severity) == ("IM202", WARNING)
    assert finding.evidence["growth_per_layer"] == pytest.approx(0.5, rel=0.1)
    assert finding.expected["worst_gain"] == 2.0
    assert judge(measure(network(nn.init.kaiming_normal_), torch.randn(256, 256))) == []


def test_pooling_that_spreads_the_gradient_over_more_elements_is_not_vanishing() -> None:
    # A quarter per layer and element, over four times as many elements each: the same energy everywhere.
    count = {Quantity.GRADIENT_COUNT: [4.0 ** (LAYERS - i) for i in range(LAYERS)]}
    assert judge(past(0.25, columns=count)) == []
    assert len(judge(past(0.25))) == 1


@pytest.mark.parametrize(("rms", "severity"), [(2e-7, INFO), (5e-8, WARNING), (2e-9, WARNING), (5e-10, CRITICAL)])
def test_a_gradient_as_small_as_adams_epsilon_is_not_rescaled_any_more(rms: float, severity: Severity) -> None:
    # Warning below ten epsilons (1e-7), critical below a tenth (1e-9).
    finding = only(judge(past(1 / 16, optimizer="Adam", columns=updates(1e-3, rms))))
    assert finding.severity is severity
    assert ("epsilon of Adam" in finding.message) is (severity is not INFO)


@pytest.mark.parametrize(("far", "near", "severity"), [(1e-6, 1e-6, INFO), (1e-6, 1e-4, WARNING), (0.5, 1e-3, WARNING)])
def test_under_warm_up_the_updates_are_compared_with_those_near_the_output(
    far: float, near: float, severity: Severity
) -> None:
    ratio = [far] * 6 + [near] * 4
    assert only(judge(past(1 / 16, optimizer="AdamW", columns=updates(ratio)))).severity is severity


@pytest.mark.parametrize(("ratio", "severity"), [(1e-3, INFO), ([1e-8] * 5 + [1e-3] * 5, CRITICAL), (0.0, CRITICAL)])
def test_under_sgd_all_updates_must_be_in_range_to_excuse_the_norm(ratio: Any, severity: Severity) -> None:
    assert only(judge(past(1 / 16, optimizer="SGD", columns=updates(ratio)))).severity is severity


def test_a_step_that_was_not_taken_measures_no_update() -> None:
    finding = only(judge(past(1 / 16, optimizer="Adam", stepped=False, columns=updates(0.0))))
    assert "update_ratio" not in finding.evidence
    assert finding.severity is CRITICAL


def test_float16_gradients_below_its_smallest_number_are_critical_unless_the_loss_is_scaled() -> None:
    # The rms at the input is 1e-6 · 4^-9 = 3.8e-12, far below 2^-24; rescaled updates do not bring it back.
    fields: dict[str, Any] = {"last": 1e-12, "optimizer": "Lion", "dtype": "float16", "columns": updates(1e-3)}
    finding = only(judge(past(1 / 16, **dict(fields))))
    assert (finding.severity, "float16" in finding.message) == (CRITICAL, True)
    assert only(judge(past(1 / 16, **dict(fields), loss_scaled=True))).severity is INFO


def test_a_gradient_of_exactly_zero_is_critical_once_it_lasts() -> None:
    columns = {Quantity.GRADIENT_VARIANCE: [0.0] * 4 + [1.0] * 6}
    # Behind a head of zeros the very first gradient is 0, and only the first.
    assert judge(history(linears(LAYERS), columns)) == []
    finding = only(judge(history(linears(LAYERS), columns, columns)))
    assert (finding.code, finding.severity) == ("IM202", CRITICAL)
    assert finding.layers == ("net.0", "net.1", "net.2", "net.3")
    assert "exactly 0" in finding.message
    assert judge(history(linears(LAYERS), {Quantity.GRADIENT_VARIANCE: 1.0}, columns)) == []


class Modulated(nn.Module):
    """Blocks that a condition shifts and gates, through weights of 0 at the start, and a head of zeros behind them."""

    def __init__(self, gate: float) -> None:
        super().__init__()
        self.condition = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU())
        self.enter, self.head, self.gate = nn.Linear(8, 16), nn.Linear(16, 1), gate
        self.modulations = nn.ModuleList(nn.Linear(16, 32) for _ in range(3))
        self.branches = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        for layer in (*self.modulations, self.head):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        c, h = self.condition(x[:, :4]), self.enter(x)
        for modulation, branch in zip(self.modulations, self.branches, strict=True):
            shift, gate = (self.gate * modulation(c)).chunk(2, 1)
            h = h + gate * torch.relu(branch(h + shift))
        out: torch.Tensor = self.head(h)
        return out


@pytest.mark.parametrize("warm", [False, True], ids=["", "from a rate of 0"])
@pytest.mark.parametrize("gate", [1.0, 0.0], ids=["zeros that learn", "a factor of 0"])
def test_modulations_of_zeros_below_a_head_of_zeros_pass_no_gradient_for_two_steps(*, gate: float, warm: bool) -> None:
    torch.manual_seed(0)
    model = Modulated(gate)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 5) if warm else 1.0)
    with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
        for _ in range(12):
            x = torch.randn(64, 8)
            with monitor.step() as step:
                step.loss = loss = (model(x) - x[:, :1] * x[:, 4:5]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    told = [finding.code for finding in monitor.findings if finding.severity > Severity.INFO]
    assert bool(told) == (gate == 0), monitor.findings


def test_no_gradient_anywhere_is_not_vanishing() -> None:
    columns = {Quantity.GRADIENT_VARIANCE: 0.0}
    assert judge(history(linears(LAYERS), columns, columns)) == []
    assert judge(history(linears(LAYERS), {})) == []


def test_frozen_first_layers_without_a_gradient_are_left_out() -> None:
    variance = [math.nan] * 4 + backward(16.0, count=6)
    finding = only(judge(history(linears(LAYERS), {Quantity.GRADIENT_VARIANCE: variance})))
    assert finding.evidence["growth_per_layer"] == pytest.approx(16)


class ScaledBranches(nn.Module):
    """A pre-norm transformer in miniature whose branches are scaled by 1e-5, as layer scale does at the start."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 32), nn.Linear(32, 10)
        self.norms = nn.ModuleList([nn.LayerNorm(32) for _ in range(blocks)])
        self.ups = nn.ModuleList([nn.Linear(32, 64) for _ in range(blocks)])
        self.downs = nn.ModuleList([nn.Linear(64, 32) for _ in range(blocks)])
        self.scales = nn.ParameterList([nn.Parameter(torch.full((32,), 1e-5)) for _ in range(blocks)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for norm, up, down, scale in zip(self.norms, self.ups, self.downs, self.scales, strict=True):
            x = x + scale * down(nn.functional.gelu(up(norm(x))))
        output: torch.Tensor = self.head(x)
        return output


def test_a_gradient_that_passes_beside_nearly_silent_branches_has_not_vanished() -> None:
    torch.manual_seed(0)
    report = init_monitor.check(ScaledBranches(8), (torch.randn(64, 16), torch.randint(0, 10, (64,))), cross_entropy)
    record = report.records[0]
    inside = record.layers["downs.3"].backward
    at_head = record.layers["stem"].backward
    assert inside is not None
    assert at_head is not None
    assert inside.variance < 1e-8 * at_head.variance
    assert report.findings == ()
    beside = on_the_stream(record, report.structure)
    places = {layer.name: i for i, layer in enumerate(report.structure.layers)}
    assert beside[places["downs.3"]] == pytest.approx(math.log(record.residuals[3].sum_gradient_var))
    assert math.isnan(beside[places["stem"]])
    assert math.isnan(beside[places["head"]])


@pytest.mark.parametrize(("branched", "severity"), [(False, CRITICAL), (True, WARNING)])
def test_beside_skip_connections_only_updates_make_a_faint_gradient_critical(
    *, branched: bool, severity: Severity
) -> None:
    torch.manual_seed(0)
    chain = [nn.Linear(16, 16, bias=False) for _ in range(8)]
    for layer in chain:
        nn.init.normal_(layer.weight, std=0.01)
    net = nn.Sequential(*([Block(16, add)] if branched else []), *chain)
    report = init_monitor.check(net, torch.randn(64, 16))
    assert [finding.severity for finding in report.findings if finding.code == "IM202"] == [severity]


@pytest.mark.parametrize(
    ("optimizer", "ratio", "rms", "said", "unsaid"),
    [
        # Weights that are replaced beside a gradient that has faded: the reason stands beside it.
        ("Adam", 0.147, 1e-3, "Adam rescales even a faint gradient", "as small as the epsilon"),
        ("Adam", 0.147, 1e-9, "already shortens these steps", "no longer compensates for it"),
        ("Adam", 1e-7, 1e-10, "no longer compensates for it", "rescales a gradient"),
        ("SGD", [1e-3] * 5 + [0.5] * 5, 1e-3, "those of the other layers by 0.5", "rescales"),
    ],
)
def test_a_faint_gradient_is_not_told_beside_weights_that_move_without_the_reason(
    optimizer: str, ratio: Any, rms: float, said: str, unsaid: str
) -> None:
    faint = backward(1 / 16)
    elsewhere = (
        ratio if isinstance(ratio, list) else [ratio] * (len(faint) // 2) + [1e-3] * (len(faint) - len(faint) // 2)
    )
    finding = only(judge(past(1 / 16, optimizer=optimizer, columns=updates(elsewhere, rms))))
    assert finding.severity > Severity.INFO
    assert said in finding.message
    assert unsaid not in finding.message


def test_updates_that_are_enough_by_size_are_a_warning_where_nothing_came_of_them() -> None:
    fading = past(0.1, columns=updates(1e-3), optimizer="Adam")
    steps = np.arange(100)
    noise = 0.01 * np.random.default_rng(0).normal(size=100)

    def finding(values: Any) -> Finding:
        curve = LossCurve()
        curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
        return only(judge(replace(fading, losses=curve)))

    learns, level, unknown = finding(2 * 0.97**steps + noise), finding(2 + noise), finding([])
    assert [one.severity for one in (learns, level, unknown)] == [INFO, WARNING, INFO]
    assert "which is enough to learn" in learns.message
    assert "The loss has not left its level" in level.message
    assert "Initialise" in level.remedy or "Add" in level.remedy or "Use" in level.remedy
    assert "enough to learn" not in unknown.message
    assert unknown.remedy.startswith("See whether the loss falls")
