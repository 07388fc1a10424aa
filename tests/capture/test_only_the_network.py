# mypy: disable-error-code="no-any-return"
# (a module's call returns Any)
"""Rows are the network's: what a module hands on, what a loss computes and what is sampled is none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone writes it
from trainings import watch_own_loss

import init_monitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.standalone import Watch

D = 8


class Program(nn.Module):
    """A network, a criterion and a training step that is handed in."""

    def __init__(self, loss: Callable[[Program], Tensor], criterion: nn.Module | None = None) -> None:
        super().__init__()
        self.loss, self.criterion = loss, criterion
        self.net = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D))
        self.mean, self.deviation, self.decoder = (nn.Linear(D, D) for _ in range(3))


def watched(model: Program, steps: int = 2) -> Watch:
    return watch_own_loss(model, torch.optim.SGD(model.parameters(), lr=1e-3), steps=steps)


class Adds(nn.Module):
    """Adds one entry to a dictionary, and hands it on whole."""

    def __init__(self, key: str, source: str) -> None:
        super().__init__()
        self.key, self.source, self.scale = key, source, nn.Parameter(torch.ones(D))

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        given[self.key] = given[self.source] * self.scale
        return given


def test_a_module_that_adds_to_a_dictionary_made_what_it_added() -> None:
    model = nn.Sequential(Adds("a", "x"), Adds("b", "a"), Adds("c", "b"))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as monitor, monitor.step():
        model({"x": torch.randn(4, D), "y": torch.randn(4, D)})["c"].sum().backward()
        optimizer.step()
    assert monitor.structure.names == ("0[a]", "1[b]", "2[c]")
    assert [layer.inputs for layer in monitor.structure.layers] == [("input",), ("0[a]",), ("1[b]",)]


class Contrastive(nn.Module):
    """A loss as metric learning writes it: normalised, squashed, compared with centres of its own."""

    def __init__(self, *, centres: bool) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, D)) if centres else None

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = F.normalize(x)
        logits = x @ x.T if self.centres is None else F.linear(x, F.normalize(self.centres))
        return (F.softplus(logits) + F.relu(logits - 0.5) + F.sigmoid(logits)).mean() + labels.float().mean() * 0


class Weighted(nn.Module):
    """A loss around another."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return 2 * torch.relu(self.inner(x, labels))


@pytest.mark.parametrize("centres", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_a_loss_module_is_no_part_of_the_network(*, centres: bool, nested: bool) -> None:
    criterion: nn.Module = Contrastive(centres=centres)
    if nested:
        criterion = Weighted(criterion)

    def loss(program: Program) -> Tensor:
        assert program.criterion is not None
        value: Tensor = program.criterion(program.net(torch.randn(6, D)), torch.zeros(6).long())
        return value

    monitor = watched(Program(loss, criterion))
    assert monitor.structure.names == ("net.0", "net.1", "net.2")
    assert monitor.structure.residuals == ()
    assert all(record.names == ("net.0", "net.1", "net.2") for record in monitor.records)


def test_a_critic_and_a_network_that_return_a_number_are_no_losses() -> None:
    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x).mean()

    def loss(program: Program) -> Tensor:
        assert program.criterion is not None
        value: Tensor = program.criterion(program.net(torch.randn(6, D)))
        return value

    names = watched(Program(loss, Critic())).structure.names
    assert names == ("net.0", "net.1", "net.2", *(f"criterion.layers.{i}" for i in range(3)))


def test_sampling_and_likelihoods_are_no_part_of_the_network() -> None:
    def loss(program: Program) -> Tensor:
        x = torch.rand(16, D)
        h = program.net(x)
        mean, spread = program.mean(h), torch.exp(0.5 * program.deviation(h))
        z = mean + spread * torch.randn_like(spread)
        logits = program.decoder(z)
        likelihood = torch.distributions.Bernoulli(logits=logits).log_prob((x > 0.5).float()).sum(1)
        entropy = F.softplus(-logits) + torch.sigmoid(2 * logits) + F.relu(1 - logits)
        return entropy.sum(1).mean() - likelihood.mean() + torch.relu(mean.square() - 1).mean()

    structure = watched(Program(loss)).structure
    assert structure.names == ("net.0", "net.1", "net.2", "mean", "deviation", "decoder")
    assert structure.residuals == ()


def test_an_adversarial_loss_is_no_activation_of_the_critic() -> None:
    def loss(program: Program) -> Tensor:
        scores = program.net(torch.randn(16, D))
        return F.relu(1 - scores).mean() + F.softplus(scores).mean()

    assert watched(Program(loss)).structure.names == ("net.0", "net.1", "net.2")


def test_what_a_training_step_calls_between_and_behind_layers_is_the_networks() -> None:
    def loss(program: Program) -> Tensor:
        hidden = torch.tanh(program.mean(torch.randn(16, D)) * 2)
        output = torch.sigmoid(program.decoder(hidden))
        return F.binary_cross_entropy(output, torch.ones(16, D))

    assert watched(Program(loss)).structure.names == ("mean", "/tanh#1", "decoder", "/sigmoid#1")


def test_what_is_left_out_changes_nothing_for_the_others() -> None:
    """The same training with and without the monitor, to the bit."""

    def loss(program: Program) -> Tensor:
        assert program.criterion is not None
        value: Tensor = program.criterion(program.net(torch.randn(6, D)), torch.zeros(6).long())
        return value

    ends = []
    for watching in (False, True):
        torch.manual_seed(0)
        model = Program(loss, Contrastive(centres=True))
        if watching:
            watched(model, steps=5)
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
            for _ in range(5):
                optimizer.zero_grad()
                model.loss(model).backward()
                optimizer.step()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_a_residual_addition_keeps_its_place_when_a_row_before_it_turns_out_to_be_none() -> None:
    def loss(program: Program) -> Tensor:
        h = program.mean(torch.randn(16, D))
        dropped = torch.sigmoid(3 * h).sum(1)
        h = h + torch.relu(program.deviation(h))
        return program.decoder(h).square().mean() + dropped.mean()

    structure = watched(Program(loss)).structure
    assert structure.names == ("mean", "deviation", "/relu#1", "decoder")
    (addition,) = structure.residuals
    assert (addition.depth, addition.layers) == (3, ("deviation", "/relu#1"))
