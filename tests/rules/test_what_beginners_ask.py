"""Kinds of mistakes that are asked about most, by small trainings, each beside healthy ones that look like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytorch_lightning as pl
import torch
from builders import only
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor, Severity, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor import Finding

    Loss = Callable[[Tensor, Tensor], Tensor]


class Training(pl.LightningModule):
    """Trains a network by a loss with Adam; ``after`` is called with the network and the step after each of them."""

    def __init__(
        self, net: nn.Module, loss: Loss, *, rate: float = 1e-3, after: Callable[[nn.Module, int], None] | None = None
    ) -> None:
        super().__init__()
        self.net, self.loss, self.rate, self.after = net, loss, rate, after

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return self.loss(self.net(batch[0]), batch[1])

    def on_train_batch_end(self, *_: object) -> None:
        if self.after is not None:
            with torch.no_grad():
                self.after(self.net, self.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def said(training: Training, x: Tensor, y: Tensor, steps: int) -> list[Finding]:
    monitor = InitMonitor(sinks=(), strict=True)
    data = DataLoader(TensorDataset(x, y), batch_size=32)
    fit(training, data, monitor, steps=steps, max_epochs=-1)
    return [one for one in monitor.findings if one.severity is not Severity.INFO]


def table() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, 12, generator=generator)
    return x, torch.tanh(x[:, :1] + x[:, 1:2] * x[:, 2:3])


def mlp(*ends: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1), *ends)


# --- a binary cross-entropy below 0 ------------------------------------------------------------------------------


def standardised(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out, (y - y.mean()) / y.std())


def by_hand(out: Tensor, y: Tensor) -> Tensor:
    p, t = out.clamp(1e-6, 1 - 1e-6), (y - y.mean()) / y.std()
    return -(t * p.log() + (1 - t) * (1 - p).log()).mean()


def summed(out: Tensor, y: Tensor) -> Tensor:
    t = (y - y.mean()) / y.std()
    return F.binary_cross_entropy_with_logits(out, t, reduction="sum")


@pytest.mark.parametrize(("loss", "ends"), [(standardised, ()), (by_hand, (nn.Sigmoid(),)), (summed, ())])
def test_an_entropy_below_zero_has_targets_outside(loss: Loss, ends: tuple[nn.Module, ...]) -> None:
    found = said(Training(mlp(*ends), loss, rate=1e-2), *table(), 150)
    finding = next(one for one in found if one.code == "IM802")
    assert finding.severity is Severity.WARNING
    assert "began as a binary cross-entropy" in finding.message
    assert "between 0 and 1" in finding.remedy
    assert float(finding.evidence["farthest_target"]) == pytest.approx(2.0, rel=0.3), "(y - mean) / std reaches 1.5"


def labels(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out, (y > 0).float())


def likelihood(out: Tensor, y: Tensor) -> Tensor:
    """Of a Gaussian with a standard deviation of 0.2, shifted to start at ln 2: it falls below 0 and is right."""
    return (0.04 * (out - y).square() / 0.08).mean() * 3.3 - 0.2


def learned_spread(out: Tensor, y: Tensor) -> Tensor:
    """Its logarithm of a variance follows from the error, as a learned one does; near ln 2 at first."""
    error = (out - y).square().mean()
    return error / (error.detach() + 1e-3) + (error.detach() + 1e-3).log() + 0.5


def similarity(out: Tensor, y: Tensor) -> Tensor:
    """It starts at ln 2, too, and is bounded."""
    return 0.69 - torch.tanh(out).mul(y).mean()


@pytest.mark.untraced
@pytest.mark.parametrize("loss", [labels, likelihood, learned_spread, similarity])
def test_other_losses_below_zero_and_entropies_of_labels_have_none(loss: Loss) -> None:
    assert said(Training(mlp(), loss, rate=3e-3), *table(), 150) == []


# --- recurrent layers on top of each other -----------------------------------------------------------------------


class Reader(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(1, 24, num_layers=layers, batch_first=True), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.lstm(x)[0][:, -1])
        return made


def waves() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(0, 3, (512,), generator=generator)
    phase = 6.28 * torch.rand(512, 1, generator=generator)
    return torch.sin((kind[:, None] + 1) * 0.5 * torch.arange(12.0) + phase)[..., None], kind


def test_eight_lstm_layers_give_every_sample_the_same_and_the_code_of_the_remedy_mends_it() -> None:
    finding = only(said(Training(Reader(8), F.cross_entropy, rate=3e-3), *waves(), 110))
    assert (finding.code, finding.severity, finding.layers) == ("IM702", Severity.WARNING, ("net.lstm[0]",))
    assert "8 recurrent layers" in finding.message
    assert "two layers" in finding.remedy
    mended = Reader(8)
    exec(finding.remedy_code, {"model": nn.ModuleDict({"net": mended}), "torch": torch})  # noqa: S102 - what the user pastes
    assert said(Training(mended, F.cross_entropy, rate=3e-3), *waves(), 110) == []


def test_two_lstm_layers_are_silent() -> None:
    assert said(Training(Reader(2), F.cross_entropy, rate=3e-3), *waves(), 110) == []


# --- a bias whose gradient cancels beside a weight that a parametrization makes -----------------------------------


@pytest.mark.parametrize("factor", [1.0, 0.0])
def test_a_bias_that_a_hinge_cancels_is_not_without_a_gradient_and_a_branch_of_zeros_is(factor: float) -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.1), spectral_norm(nn.Linear(8, 1)))
    beside = nn.Linear(6, 1)
    model = nn.ModuleDict({"critic": critic, "beside": beside})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    with watch(model, optimizer, sinks=(), strict=True, dense_steps=12) as monitor:
        for _ in range(12):
            with monitor.step():
                real, fake = 0.1 * torch.randn(16, 6) + 0.05, 0.1 * torch.randn(16, 6)
                loss = F.relu(1 - factor * critic(real)).mean() + F.relu(1 + factor * critic(fake)).mean()
                loss += (beside(real) - 1).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    told = [one for one in monitor.findings if one.code == "IM602"]
    assert bool(told) is (factor == 0)


# --- a code behind a rectifier, and steps that are too large all along --------------------------------------------


@pytest.mark.untraced
@pytest.mark.parametrize(("width", "advice"), [(2, "Take the activation"), (24, "Let negative inputs pass")])
def test_a_gradient_that_stops_names_the_rectifier_that_went_off(width: int, advice: str) -> None:
    torch.manual_seed(0)
    code = nn.Linear(12, width)
    nn.init.ones_(code.bias)
    net = nn.Sequential(
        nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), code, nn.ReLU(),
        nn.Linear(width, 24), nn.Tanh(), nn.Linear(24, 1),
    )  # fmt: skip

    def switch_off(_: nn.Module, step: int) -> None:
        if step == 20:
            code.bias.sub_(100)

    found = said(Training(net, F.mse_loss, after=switch_off), *table(), 110)
    finding = only(found)  # that the outputs are alike comes of it
    assert finding.code == "IM202"
    assert "net.7 gives 0 for every sample; at step 0 it did not" in finding.message
    assert finding.remedy.startswith(advice)


def bump(out: Tensor, y: Tensor) -> Tensor:
    """What is won near the target; far from it nothing tells where that is."""
    return -(-8 * (out - y).square()).exp().mean()


@pytest.mark.untraced
@pytest.mark.parametrize(("rate", "advice"), [(1.5e-2, "Lower the learning rate"), (1e-3, "Look at step 41")])
def test_what_was_lost_after_steps_that_were_all_large_asks_for_a_lower_rate(rate: float, advice: str) -> None:
    def throw(net: nn.Module, step: int) -> None:
        if step == 41 and isinstance(net, nn.Sequential):
            net.append(Far())

    found = said(Training(mlp(), bump, rate=rate, after=throw), *table(), 110)
    finding = next(one for one in found if one.code == "IM802")
    assert "What was learned is lost" in finding.message
    assert finding.remedy.startswith(advice)


class Far(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 4.0
