"""What people's reports showed that the rules did not see: each kind by a small training, or by exact numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from builders import linear, only, parameter, record, rectifier
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Severity
from init_monitor.records import INPUT, History, LossCurve, LossStretch, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DEFAULT_RULES, DeadReLU, InputScale, Saturation, VanishingActivations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor import Finding


def trained(
    model: nn.Module,
    loss: Callable[[nn.Module, Tensor], Tensor],
    steps: int,
    *,
    rate: float = 0.1,
    rules: Sequence[init_monitor.rules.rule.Rule] = DEFAULT_RULES,
    data: Callable[[], Tensor] = lambda: torch.randn(32, 8),
) -> list[Finding]:
    """Train by plain gradient descent under a monitor; return what it said."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), rules=rules) as monitor:
        for _ in range(steps):
            with monitor.step() as step:
                value = loss(model, data())
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                step.loss = value
    return monitor.findings


def curve(*losses: float) -> LossCurve:
    known = LossCurve()
    known.add(LossStretch.of(enumerate(losses)))
    return known


# --- a network that dies on the way (IM604) -----------------------------------------------------------------------


def rectified(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.ReLU())
    nn.init.constant_(parameter(model[2], "bias"), 0.5)
    return model


def test_a_network_that_learned_and_has_had_no_gradient_since_is_told_from_where_on() -> None:
    """The targets are below what a rectifier gives: it is pushed off for everything within a few steps, and stays so."""
    finding = only(
        [f for f in trained(rectified(0), lambda m, x: (m(x) + 1).square().mean(), 120) if f.code == "IM604"]
    )
    assert finding.severity is Severity.CRITICAL
    assert "Nothing learns any more: since step" in finding.message
    assert finding.layers == ("3",)
    assert "output of the network" in finding.remedy_sentence


def test_a_loss_that_is_met_needs_no_gradient_any_more() -> None:
    """All margins are kept after some steps, so the loss is 0, and so is every gradient: the task is done."""
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    said = trained(model, lambda m, x: F.relu(1 - m(x)).mean(), 120, data=lambda: torch.rand(32, 8))
    assert [f for f in said if f.code == "IM604"] == []


# --- weights of zero that wake, and those that cannot (IM102) -------------------------------------------------------


class Gated(nn.Module):
    """Experts mixed by a gate that starts at zero and gets a gradient; the signal runs through the experts."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.gate = nn.Linear(8, 4), nn.Linear(4, 3, bias=False)
        self.experts = nn.Linear(8, 3)
        nn.init.zeros_(self.key.weight)
        nn.init.zeros_(self.key.bias)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = (self.gate(self.key(x)).softmax(1) * self.experts(x)).sum(1)
        return mixed


class Adapted(nn.Module):
    """A frozen layer with an adapter beside it whose two factors are both zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.down, self.up = nn.Linear(8, 8), nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))  # type: ignore[no-any-return]


def test_a_gate_that_starts_at_zero_and_gets_a_gradient_is_no_stopped_signal() -> None:
    torch.manual_seed(0)
    assert trained(Gated(), lambda m, x: (m(x) - x[:, 0]).square().mean(), 12, rules=(VanishingActivations(),)) == []


def test_what_a_layer_beside_it_carries_on_is_not_said_to_be_lost() -> None:
    torch.manual_seed(0)
    model = Adapted()
    finding = trained(model, lambda m, x: (m(x) - x).square().mean(), 3, rules=(VanishingActivations(),))[0]
    assert finding.severity is Severity.WARNING
    assert "what runs beside it still does" in finding.message


# --- a rectifier on the logits (IM301) -------------------------------------------------------------------------------

CLASSES = 10
LOGITS = Structure(
    (
        linear(0, "net.0", activation="ReLU", width=CLASSES, inputs=(INPUT,)),
        rectifier(1, "net.1", inputs=("net.0",)),
    )
)


def rectified_logits(*, mean: float = 0.0, zeros: float = 0.8, losses: Sequence[float] = (2.3,) * 80) -> list[Finding]:
    """Records of a rectifier that ends a network, with a gradient of this mean behind it."""
    columns = {
        Quantity.COUNT: 32.0 * CLASSES,
        Quantity.ZERO_FRACTION: [0.0, zeros],
        Quantity.GRADIENT_VARIANCE: 1e-4,
        Quantity.GRADIENT_MEAN_SQUARE: 1e-4 + mean**2,
        Quantity.GRADIENT_ABS_MAX: 1 / 32,
        Quantity.DEAD_FRACTION: [math.nan, 0.0],
        Quantity.UNIT_SAMPLES: [math.nan, 2000.0],
        Quantity.UNIT_COUNT: [math.nan, float(CLASSES)],
        Quantity.ALL_POSITIVE_FRACTION: [math.nan, 0.0],
    }
    known = curve(*losses)
    records = [record(LOGITS, columns, step=step, losses=LossStretch.of([(step, losses[step])])) for step in (0, 9, 60)]
    return list(DeadReLU().judge(History(records, LOGITS, losses=known)))


def test_a_rectifier_before_a_cross_entropy_is_told_by_its_zeros() -> None:
    finding = only(rectified_logits())
    assert (finding.code, finding.severity, finding.layers) == ("IM301", Severity.WARNING, ("net.1",))
    assert "is on the logits that net.0 makes: 80 % of them are 0" in finding.message
    assert finding.remedy.startswith("Take this activation away")


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": 1e-3},  # the gradient of another loss does not add up to 0 over the outputs
        {"zeros": 0.4},
        {"losses": tuple(np.linspace(2.3, 0.3, 80))},  # it learns well
        {"losses": (9.0,) * 80},  # it does not begin with what guessing costs
    ],
)
def test_other_losses_and_networks_that_learn_well_may_end_with_a_rectifier(changes: dict[str, float]) -> None:
    assert rectified_logits(**changes) == []  # type: ignore[arg-type]


# --- an output at its bound for everything (IM303) -------------------------------------------------------------------

TANH = Structure(
    (
        linear(0, "net.0", activation="Tanh", inputs=(INPUT,)),
        replace(rectifier(1, "net.1", kind="Tanh", inputs=("net.0",)), flat_below=False, piecewise_linear=False),
    )
)


def at_its_bound(losses: Sequence[float]) -> list[Finding]:
    def seen(step: int, share: float, passing: float) -> object:
        columns = {
            Quantity.SATURATED_FRACTION: [math.nan, share],
            Quantity.MEAN_SQUARE: [400.0, 1.0],
            Quantity.VARIANCE: [400.0, 1e-12],
            Quantity.GRADIENT_MEAN_SQUARE: [passing, 1.0],
            Quantity.INPUT_MEAN_SQUARE: 1.0,
        }
        return record(TANH, columns, step=step)

    records = [seen(0, 0.0, 0.9), *[seen(step, 1.0, 1e-12) for step in range(7, 10)]]
    return list(Saturation().judge(History(records, TANH, losses=curve(*losses))))  # type: ignore[arg-type]


def test_an_output_at_its_bound_for_everything_is_told_where_the_loss_is_not_below_its_start() -> None:
    finding = only(at_its_bound([3.0, *[20.0] * 12]))
    assert (finding.code, finding.severity) == ("IM303", Severity.CRITICAL)
    assert at_its_bound(list(np.linspace(3.0, 0.5, 13))) == [], "it became sharp by learning"


# --- the input of a recurrent network by hand (IM701) ----------------------------------------------------------------


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.Linear(1 + 6, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 6)
        for one in x.unbind(1):
            state = torch.tanh(self.cell(torch.cat((one[:, None], state), 1)))
        return self.out(state)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("scale", "told"), [(1.0, False), (300.0, True)])
def test_the_first_call_of_a_recurrent_network_by_hand_is_not_its_input(scale: float, *, told: bool) -> None:
    """The first number of every sequence is nearly nothing, and the state beside it is 0."""

    def sequences() -> Tensor:
        x = scale * torch.randn(32, 8)
        x[:, 0] *= 1e-5 / scale
        return x

    torch.manual_seed(0)
    said = trained(ByHand(), lambda m, x: m(x).square().mean(), 6, rules=(InputScale(),), rate=1e-3, data=sequences)
    assert bool(said) is told


# --- one cause, one panel --------------------------------------------------------------------------------------------


def test_a_rectifier_that_stops_the_whole_network_is_not_called_linear_beside_it() -> None:
    """Far below zero from the start: IM604 says so at step 7, and nothing else has to when more positions were seen."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1), nn.ReLU())
    nn.init.constant_(parameter(model[2], "bias"), -50.0)
    said = trained(model, lambda m, x: (m(x) - 1).square().mean(), 60)
    assert {finding.code for finding in said if finding.severity > Severity.INFO} == {"IM604"}
