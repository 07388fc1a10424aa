"""Losses whose shape is odd, by small trainings: what a ratio, a learned number or a lost slope makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from builders import linears, only, record
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor, Severity
from init_monitor.analysis.loss_weights import free_loss_weight
from init_monitor.records import History, LossStretch
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor import Finding

NET = linears(3)


class Program(pl.LightningModule):
    """Trains a network on what a function makes of it and the batch; ``s`` are learned numbers beside it."""

    def __init__(
        self, net: nn.Module, loss: Callable[[Program, Tensor, Tensor], Tensor], optimizer: str, rates: Sequence[float]
    ) -> None:
        super().__init__()
        self.net, self.loss, self.optimizer, self.rates = net, loss, optimizer, rates
        self.s = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.net(x)
        return made

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return self.loss(self, *batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [
            {"params": self.net.parameters(), "lr": self.rates[0]},
            {"params": [self.s], "lr": self.rates[1]},
        ]
        made: torch.optim.Optimizer = getattr(torch.optim, self.optimizer)(groups, lr=self.rates[0])
        return made


def said(program: Program, steps: int, *, batch: int = 32) -> list[Finding]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, 12, generator=generator)
    data = TensorDataset(x, torch.tanh(x[:, :1] + x[:, 1:2] * x[:, 2:3]))
    monitor = InitMonitor(sinks=(), strict=True)
    fit(program, DataLoader(data, batch_size=batch), monitor, steps=steps, max_epochs=-1)
    return [one for one in monitor.findings if one.severity is not Severity.INFO]


def net(activation: type[nn.Module], width: int = 24) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 1))


# --- a ratio -----------------------------------------------------------------------------------------------------


def overlap(program: Program, x: Tensor, y: Tensor) -> Tensor:
    """The Tversky loss of raw scores, whose denominator may be anything."""
    score, mask = program.forward(x), (y > 0.8).float()
    return 1 - (score * mask).sum() / (0.3 * score + 0.1 * mask).sum()


def test_a_ratio_of_raw_scores_jumps_both_ways_and_one_of_probabilities_does_not() -> None:
    found = said(Program(net(nn.GELU), overlap, "AdamW", (1e-3, 0.0)), 220, batch=8)
    finding = only([one for one in found if one.code == "IM802"])
    assert (finding.code, finding.severity) == ("IM802", Severity.WARNING)
    assert "jumps both ways" in finding.message
    assert "sigmoid" in finding.remedy
    assert float(finding.evidence["lowest"]) < 0 < float(finding.evidence["highest"])

    def of_probabilities(program: Program, x: Tensor, y: Tensor) -> Tensor:
        score, mask = program.forward(x).sigmoid(), (y > 0.8).float()
        return 1 - (score * mask).sum() / (0.3 * score + 0.7 * mask).sum()

    assert said(Program(net(nn.GELU), of_probabilities, "AdamW", (1e-3, 0.0)), 220, batch=8) == []


# --- faster and faster -------------------------------------------------------------------------------------------


def weighted(sign: float) -> Callable[[Program, Tensor, Tensor], Tensor]:
    """An error, and a penalty whose weight exp(s) is learned; with sign -1 along with it, and not against it."""

    def loss(program: Program, x: Tensor, y: Tensor) -> Tensor:
        out = program.forward(x)
        spare = out.square().mean() - 0.5
        weight = program.s.exp()
        return F.mse_loss(out, y) + (weight.detach() * spare - sign * weight * spare.detach()).sum()

    return loss


def entropy(wanted: float) -> Callable[[Program, Tensor, Tensor], Tensor]:
    """A choice among six by their worth, and a learned weight of its entropy, which is to become ``wanted``."""

    def loss(program: Program, x: Tensor, _: Tensor) -> Tensor:
        log_p = F.log_softmax(program.forward(x), dim=1)
        entropies = -(log_p.exp() * log_p).sum(1)
        weight = program.s.exp()
        wins = (log_p.exp() * x[:, :6]).sum(1)
        return (weight * (entropies.detach() - wanted) - weight.detach() * entropies - wins).mean()

    return loss


def test_an_entropy_that_cannot_be_reached_makes_its_weight_grow_without_end_and_one_that_can_does_not() -> None:
    choice = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 6))
    found = said(Program(choice, entropy(2.5), "Adam", (3e-3, 3e-2)), 320)  # ln 6 is 1.79
    finding = only([one for one in found if one.code == "IM802"])
    assert "faster and faster" in finding.message
    assert "cannot be reached" in finding.remedy
    choice = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 6))
    assert said(Program(choice, entropy(0.8), "Adam", (3e-3, 3e-2)), 320) == []


def test_a_weight_that_is_minimised_along_with_its_term_makes_the_loss_fall_ever_faster() -> None:
    found = said(Program(net(nn.SiLU), weighted(-1.0), "Adam", (3e-3, 2e-2)), 320)
    finding = only([one for one in found if one.code == "IM802"])
    assert "faster and faster" in finding.message
    assert "sign" in finding.remedy
    assert said(Program(net(nn.SiLU), weighted(1.0), "Adam", (3e-3, 2e-2)), 320) == []


# --- lost, and no slope left -------------------------------------------------------------------------------------


def bump(program: Program, x: Tensor, y: Tensor) -> Tensor:
    """What is won near the target; far from it nothing tells where that is."""
    out = program.forward(x)
    thrown = 3.0 if program.global_step == 150 else 0.0
    return -(-8 * (out - y).square()).exp().mean() - thrown * out.mean() * 10


def test_what_is_thrown_to_where_no_slope_is_left_is_told_with_the_step() -> None:
    found = said(Program(net(nn.Tanh), bump, "Adam", (1e-2, 0.0)), 260)
    assert "IM802" not in {one.code for one in found}, "one step of Adam is of the same size as any other"
    found = said(Program(net(nn.Tanh), bump, "SGD", (0.3, 0.0)), 260)
    finding = next(one for one in found if one.code == "IM802")
    assert "What was learned is lost" in finding.message
    assert "since step 151 it is back" in finding.message
    assert "no slope to come back by" in finding.message
    assert float(finding.evidence["gradient_left"]) <= 0.03


# --- the same number at every step -------------------------------------------------------------------------------


def preferred(reference: Callable[[Program, Tensor], Tensor]) -> Callable[[Program, Tensor, Tensor], Tensor]:
    """How far the first half of a batch is preferred to the second, more than a reference prefers it."""

    def loss(program: Program, x: Tensor, _: Tensor) -> Tensor:
        with torch.no_grad():
            before = reference(program, x).squeeze(1)
        gained = program.forward(x).squeeze(1) - before
        return -F.logsigmoid(2 * (gained[:16] - gained[16:])).mean()

    return loss


def test_a_network_compared_with_itself_is_told_and_one_with_a_copy_of_itself_is_not() -> None:
    found = said(Program(net(nn.ReLU), preferred(lambda program, x: program.forward(x)), "Adam", (3e-3, 0.0)), 110)
    finding = only([one for one in found if one.code == "IM802"])
    assert finding.severity is Severity.WARNING
    assert "0.693 at every one of" in finding.message
    assert "copy.deepcopy(model)" in finding.remedy
    held = net(nn.ReLU)
    assert said(Program(net(nn.ReLU), preferred(lambda _, x: held(x)), "Adam", (3e-3, 0.0)), 110) == []


def test_a_loss_over_its_own_value_is_a_whole_number_by_design() -> None:
    def over_itself(program: Program, x: Tensor, y: Tensor) -> Tensor:
        error = F.mse_loss(program.forward(x), y)
        return error / error.detach()

    assert said(Program(net(nn.ReLU), over_itself, "Adam", (3e-3, 0.0)), 110) == []


def test_a_loss_that_stays_because_nothing_moves_it_is_not_one_of_these() -> None:
    def clipped(program: Program, x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(program.forward(x).clamp(5.5, 6), torch.full_like(y, 3.3))

    found = said(Program(net(nn.ReLU), clipped, "Adam", (3e-3, 0.0)), 110)
    assert "IM802" not in {one.code for one in found}


# --- a learned number that makes the loss small ------------------------------------------------------------------


def scaled(*, kept: bool) -> Callable[[Program, Tensor, Tensor], Tensor]:
    def loss(program: Program, x: Tensor, y: Tensor) -> Tensor:
        error = (program.forward(x) - y).abs().mean()
        value = (-program.s).exp() * error
        return (value + program.s if kept else value).sum()

    return loss


def test_a_loss_that_its_learned_weight_makes_small_is_told_by_the_steps_that_go_with_it() -> None:
    finding = only(said(Program(net(nn.ReLU), scaled(kept=False), "SGD", (5e-2, 5.0)), 220))
    assert (finding.code, finding.severity) == ("IM603", Severity.WARNING)
    assert "s with it" in finding.message
    assert "weight of each loss term" in finding.remedy
    assert float(finding.evidence["loss_fallen"]) >= 10
    assert said(Program(net(nn.ReLU), scaled(kept=True), "SGD", (5e-2, 5e-2)), 220) == []


@pytest.mark.parametrize(
    ("count", "slope", "known"), [(1, 1.0, True), (4, 0.6, True), (1, 0.9, False), (4, 0.4, False), (64, 0.6, False)]
)
def test_a_slope_between_the_loss_and_its_part_by_the_root_of_the_count_is_that_of_its_weights(
    count: int, slope: float, *, known: bool
) -> None:
    """‖∂L/∂s‖ of L = Σ exp(-s_i) L_i lies between L / √n and L, whatever the L_i are."""
    losses = np.geomspace(4.0, 0.1, 10)
    records = [
        record(
            NET,
            {
                Quantity.WEIGHT_COUNT: [576.0, count],
                Quantity.WEIGHT_MEAN: [0.0, 0.1 * i],
                Quantity.WEIGHT_GRADIENT_NORM: [0.5, slope * loss],
            },
            parameter_names=("net.0.weight", "s"),
            step=10 * i,
            losses=LossStretch.of([(10 * i, float(loss))]),
        )
        for i, loss in enumerate(losses)
    ]
    found = free_loss_weight(History(records, NET))
    assert (found is not None) is known
    if found is not None:
        assert found.name == "s"
        assert found.fallen == pytest.approx(40.0)
        assert free_loss_weight(History(records[:7], NET)) is None
