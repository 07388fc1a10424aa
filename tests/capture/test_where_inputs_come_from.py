# mypy: disable-error-code="no-any-return"
# (a module's call returns Any)
"""What each layer's input was computed from: nothing is lost on the way, and nothing is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone writes it
from trainings import watch_own_loss

from init_monitor.analysis.segments import segments
from init_monitor.records import INPUT, PARAMETER, Role, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.records import Structure
    from init_monitor.standalone import Watch

D = 8


class Net(nn.Module):
    """A trunk of tanh layers whose training step, with its loss, is handed in."""

    def __init__(self, loss: Callable[[Net], Tensor], into: int = D) -> None:
        super().__init__()
        self.loss = loss
        self.first, self.second, self.last = nn.Linear(into, D), nn.Linear(D, D), nn.Linear(D, 1)
        self.other = nn.Linear(D, D)
        self.queries = nn.Parameter(torch.randn(4, D))

    def trunk(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return output


def trained(model: Net, *, steps: int = 1, lr: float = 1e-3) -> Watch:
    return watch_own_loss(model, torch.optim.Adam(model.parameters(), lr=lr), steps=steps)


def inputs_of(structure: Structure) -> dict[str, tuple[str, ...]]:
    return {layer.name: layer.inputs for layer in structure.layers if layer.role is Role.WEIGHT}


def pinn(net: Net) -> Tensor:
    """A differential equation inside, a condition at the edge: two calls that have nothing to do with one another."""
    x, t = (torch.rand(32, 1, requires_grad=True) for _ in range(2))
    u = net.trunk(torch.cat([x, t], 1))
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    edge = torch.rand(32, 1)
    at_edge = net.trunk(torch.hstack([edge, torch.zeros_like(edge)]))
    return (slope - 0.1 * bend).square().mean() + (at_edge - torch.sin(3 * edge)).square().mean()


def test_the_inputs_of_a_network_that_is_differentiated_are_its_input() -> None:
    structure = trained(Net(pinn, 2)).structure
    known = inputs_of(structure)
    assert known["first#1"] == known["first#2"] == (INPUT,)
    assert all(known.values())
    chains = [[layer.name for layer in part.layers] for part in segments(structure)]
    assert chains == [[f"{name}#{call}" for name in ("first", "second", "last")] for call in (1, 2)]


def test_no_signal_is_said_to_stop_in_a_run_that_learns() -> None:
    torch.manual_seed(0)
    monitor = trained(Net(pinn, 2), steps=60, lr=1e-2)
    assert not [f for f in monitor.findings if f.code in {"IM102", "IM701"} or f.severity is Severity.CRITICAL]


def test_a_critic_reads_the_generator_where_it_is_given_its_picture_and_data_where_that_is_detached() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.judge = nn.Linear(4, D), nn.Linear(D, 1)

        def loss(self, _: object) -> Tensor:
            real, fake = torch.randn(16, D), self.make(torch.randn(16, 4))
            share = torch.rand(16, 1)
            mixed = (share * real + (1 - share) * fake.detach()).requires_grad_()
            (slope,) = torch.autograd.grad(self.judge(mixed).sum(), mixed, create_graph=True)
            penalty = (slope.norm(2, dim=1) - 1).square().mean()
            loss: Tensor = self.judge(fake).mean() - self.judge(real).mean() + penalty
            return loss

    known = inputs_of(trained(Pair()).structure)  # type: ignore[arg-type]
    assert known == {"make": (INPUT,), "judge#1": (INPUT,), "judge#2": ("make",), "judge#3": (INPUT,)}


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        (lambda _, a, x: torch.cat([a, x], 0), (INPUT, "first")),
        (lambda _, a, x: torch.stack([a, x], 1), (INPUT, "first")),
        (lambda _, a, x: torch.hstack([a[:, :4], x[:, :4]]), (INPUT, "first")),
        (lambda _, a, __: F.pad(a[:, :4], (0, 4)), ("first",)),
        (lambda _, a, __: a[torch.arange(5)], ("first",)),
        (lambda _, a, __: a[torch.ones(5, dtype=torch.bool)], ("first",)),
        (lambda _, a, __: torch.einsum("nc,nm->mc", a, F.one_hot(torch.arange(5), 5).float()), (INPUT, "first")),
        (lambda _, a, __: torch.zeros(5, D).index_add(0, torch.arange(5), a), (INPUT, "first")),
        (lambda net, a, x: torch.tanh(a) + net.other(x), ("/tanh#1", "other")),
        (lambda _, a, x: a * 3 - x.mean(0), (INPUT, "first")),
        (lambda net, _, __: net.queries, (PARAMETER,)),
        (lambda net, a, __: a.detach() + net.queries.sum(), (INPUT,)),
    ],
)
def test_what_a_layer_received_comes_from_all_that_it_was_computed_from(
    combine: Callable[[Net, Tensor, Tensor], Tensor], expected: tuple[str, ...]
) -> None:
    def loss(net: Net) -> Tensor:
        x = torch.randn(5, D)
        return net.second(combine(net, net.first(x), x)).square().mean() + net.last(net.first(x)).mean()

    known = inputs_of(trained(Net(loss)).structure)
    assert known["second"] == tuple("first#1" if name == "first" else name for name in expected)


def test_a_residual_sum_comes_from_the_end_of_its_branch() -> None:
    def loss(net: Net) -> Tensor:
        x = net.first(torch.randn(5, D))
        x = x + net.second(x)
        x = x + net.other(x)
        return net.last(x).square().mean()

    known = inputs_of(trained(Net(loss)).structure)
    assert known == {"first": (INPUT,), "second": ("first",), "other": ("first", "second"), "last": ("other",)}


def test_only_what_receives_the_very_output_of_a_layer_follows_it_directly() -> None:
    def loss(net: Net) -> Tensor:
        x = net.first(torch.randn(5, D))
        total = torch.relu(x.view(5, 2, 4).flatten(1)) + torch.tanh(x + net.other(x))
        return net.last(net.second(total)).square().mean()

    layers = trained(Net(loss)).structure.by_name()
    assert layers["first"].activation == "relu"
    assert layers["other"].activation is None
    assert layers["/relu#1"].direct
    assert not layers["/tanh#1"].direct
    assert layers["/tanh#1"].inputs == ("first", "other")


def test_a_table_of_positions_is_what_the_network_holds_and_words_are_its_input() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.mix = nn.Embedding(9, D), nn.Embedding(6, D), nn.Linear(D, 1)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.mix(self.words(x) + self.places(torch.arange(x.shape[1])))
            return output

        def loss(self, _: object) -> Tensor:
            return self(torch.randint(0, 9, (3, 6))).square().mean()

    known = inputs_of(trained(Words()).structure)  # type: ignore[arg-type]
    assert known == {"words": (INPUT,), "places": (PARAMETER,), "mix": ("words", "places")}


def test_where_nothing_is_known_no_chain_is_claimed() -> None:
    """With the probe off (it failed), activations as functions lose the way: each layer stands for itself."""

    def loss(net: Net) -> Tensor:
        return net.trunk(torch.randn(5, D)).square().mean()

    model = Net(loss)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("init_monitor.structure.probe.Probe._watches", lambda _: False)
        structure = trained(model).structure
    assert inputs_of(structure) == {"first": (INPUT,), "second": (), "last": ()}
    assert [len(part.layers) for part in segments(structure)] == [1, 1, 1]


def test_mixed_input_is_not_judged_as_the_scale_of_the_input() -> None:
    """Only a layer that gets nothing but data says something about the data."""

    def loss(net: Net) -> Tensor:
        x = torch.randn(64, D)
        return net.second(100 * net.first(x) + x).mean() + net.last(net.first(x)).mean()

    assert not [f for f in trained(Net(loss), steps=4).findings if f.code == "IM701"]
