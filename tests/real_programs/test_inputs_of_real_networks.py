"""What a layer takes its input from is known, through everything real programs put between two layers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from watched import codes, inputs, watch_fit, watch_loop, watch_net, weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH, BATCH = 16, 32


def tanh_net(depth: int = 3, width: int = WIDTH, given: int = 2) -> nn.Sequential:
    sizes = [given] + [width] * depth
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(sizes):
        layers += [nn.Linear(into, out), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def slope(net: nn.Module, points: Tensor) -> Tensor:
    """Return the derivative of a network by its input, itself differentiable."""
    return torch.autograd.grad(net(points).sum(), points, create_graph=True)[0]


def test_an_input_that_requires_a_gradient_is_an_input() -> None:
    torch.manual_seed(0)
    net, points = tanh_net(), torch.rand(BATCH, 2, requires_grad=True)
    watch = watch_loop(net, lambda _: (slope(net, points) - 1).square().mean())
    assert inputs(watch.structure)["0"] == ("input",)


class Physics(pl.LightningModule):
    """Learns a function from its slope inside and its values on the border: two calls of one network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tanh_net(depth=6)

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        inside = batch.clone().requires_grad_()
        border = batch.sign()
        loss: Tensor = (slope(self.net, inside) - 1).square().mean() + self.net(border).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def test_two_calls_of_one_network_are_two_chains_that_both_begin_at_the_input(tmp_path: Path) -> None:
    torch.manual_seed(0)
    monitor = watch_fit(Physics(), [torch.rand(BATCH, 2) * 2 - 1 for _ in range(12)], tmp_path)
    came = inputs(monitor.structure)
    for call in (1, 2):
        assert came[f"net.0#{call}"] == ("input",)
        for k in range(1, 13):
            assert came[f"net.{k}#{call}"] == (f"net.{k - 1}#{call}",)
    assert [finding for finding in codes(monitor.findings) if finding[0] != "info"] == []


def test_a_critic_that_is_given_mixtures_of_real_and_false_begins_a_chain_each_time() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"maker": tanh_net(), "critic": tanh_net(given=1)})
    maker, critic = model["maker"], model["critic"]

    def loss_of(_: int) -> Tensor:
        real, false, share = torch.rand(BATCH, 1), maker(torch.randn(BATCH, 2)), torch.rand(BATCH, 1)
        mixed = (share * real + (1 - share) * false.detach()).requires_grad_()
        penalty = (slope(critic, mixed).norm(dim=1) - 1).square().mean()
        loss: Tensor = critic(false).mean() - critic(real).mean() + 10 * penalty
        return loss

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model

        def forward(self) -> Tensor:
            return loss_of(0)

    step = Step()
    watch = watch_loop(step, lambda _: step(), steps=12)
    came = inputs(watch.structure)
    # The order of the calls: the mixture (the penalty is computed first), the false ones, the real ones.
    assert came["parts.critic.0#1"] in {
        ("input",),
        ("parts.maker.6", "input"),
        ("input", "parts.maker.6"),
        ("parts.maker.6",),
    }
    assert came["parts.critic.0#2"] == ("parts.maker.6",)
    assert came["parts.critic.0#3"] == ("input",)
    assert [finding for finding in codes(watch.findings) if finding[0] != "info"] == []


class ForceField(nn.Module):
    """Energy of points from their distances; the forces are its derivative by the places, taken inside the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)
        self.register_buffer("centres", torch.linspace(0.5, 3, WIDTH))
        self.centres: Tensor

    def forward(self, place: Tensor) -> tuple[Tensor, Tensor]:
        place.requires_grad_()
        one, other = torch.tensor([(i, j) for i in range(6) for j in range(6) if i != j]).T
        distance = (place[other] - place[one]).norm(dim=1)
        features = torch.exp(-((distance[:, None] - self.centres) ** 2))
        energy = self.last(nn.functional.silu(self.second(nn.functional.silu(self.first(features))))).sum()
        return energy, -torch.autograd.grad(energy, place, create_graph=True)[0]


def test_a_force_field_knows_the_inputs_of_all_its_layers() -> None:
    torch.manual_seed(0)
    net, place = ForceField(), torch.randn(6, 3)
    watch = watch_loop(net, lambda _: sum(part.square().mean() for part in net(place.clone())))
    came = inputs(watch.structure)
    assert came["first"] == ("input",)
    assert came["second"] == ("/silu#1",)
    assert came["last"] == ("/silu#2",)


class Two(nn.Module):
    """Two layers on the data, something that puts their outputs together, and a head."""

    def __init__(self, join: Callable[[Tensor, Tensor, Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(width, 1)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.join(self.a(x), self.b(x), x))
        return y


def one_hot(count: int) -> Tensor:
    return nn.functional.one_hot(torch.arange(BATCH) % count, count).float()


PLACE = torch.arange(BATCH).flip(0)

JOINS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], int, set[str]]] = {
    "cat": (lambda a, b, _: torch.cat((a, b), 1), 2 * WIDTH, {"a", "b"}),
    "cat by name": (lambda a, b, _: torch.cat(tensors=[a, b], dim=1), 2 * WIDTH, {"a", "b"}),
    "concatenate": (lambda a, b, _: torch.concatenate((a, b), 1), 2 * WIDTH, {"a", "b"}),
    "hstack": (lambda a, b, _: torch.hstack((a, b)), 2 * WIDTH, {"a", "b"}),
    "vstack": (lambda a, b, _: torch.vstack((a, b)), WIDTH, {"a", "b"}),
    "stack": (lambda a, b, _: torch.stack((a, b), 1), WIDTH, {"a", "b"}),
    "stack and mean": (lambda a, b, _: torch.stack((a, b)).mean(0), WIDTH, {"a", "b"}),
    "with the data": (lambda a, _, x: torch.cat((a, x), 1), 2 * WIDTH, {"a", "input"}),
    "with a category": (lambda a, _b, _x: torch.cat((a, one_hot(4)), 1), WIDTH + 4, {"a", "input"}),
    "pad": (lambda a, _b, _x: nn.functional.pad(a, (2, 2)), WIDTH + 4, {"a"}),
    "rows by number": (lambda a, _b, _x: a[PLACE], WIDTH, {"a"}),
    "rows by mask": (lambda a, _b, _x: a[PLACE > 3], WIDTH, {"a"}),
    "index_select": (lambda a, _b, _x: a.index_select(0, PLACE), WIDTH, {"a"}),
    "gather": (lambda a, _b, _x: a.gather(0, PLACE[:, None].expand(-1, WIDTH)), WIDTH, {"a"}),
    "rows by one-hots": (lambda a, _b, _x: one_hot(BATCH) @ a, WIDTH, {"a", "input"}),
    "sum of neighbours": (lambda a, _b, _x: torch.zeros(4, WIDTH).index_add(0, PLACE % 4, a), WIDTH, {"a"}),
    "scattered in place": (
        lambda a, _b, _x: torch.zeros(4, WIDTH).scatter_reduce_(0, (PLACE % 4)[:, None].expand(-1, WIDTH), a, "sum"),
        WIDTH,
        {"a"},
    ),
    "product": (lambda a, b, _: a * torch.sigmoid(b), WIDTH, {"a", "b", "/sigmoid#1"}),
    "sum": (lambda a, b, _: a + b, WIDTH, {"a", "b"}),
    "where": (lambda a, b, x: torch.where(x > 0, a, b), WIDTH, {"a", "b", "input"}),
    "einsum": (lambda a, b, _: torch.einsum("ni,mi->nm", a, b), BATCH, {"a", "b"}),
    "attention": (
        lambda a, b, _: nn.functional.scaled_dot_product_attention(a[None, None], b[None, None], b[None, None])[0, 0],
        WIDTH,
        {"a", "b"},
    ),
}
PASSED_ON = {
    name for name in JOINS if name.startswith(("cat", "conc", "hstack", "vstack", "pad", "rows by n", "rows by m"))
}
PASSED_ON |= {"stack", "with the data", "index_select", "gather"}
"""Each element of the result is one that a layer made: the origins are known. The others compute: nothing wrong may be
said of them, and nothing may be."""


@pytest.mark.parametrize("join", JOINS)
def test_what_was_put_together_has_several_inputs(join: str) -> None:
    torch.manual_seed(0)
    put, width, origins = JOINS[join]
    watch = watch_net(Two(put, width), torch.randn(BATCH, WIDTH))
    came = inputs(watch.structure)
    assert came["a"] == came["b"] == ("input",)
    if join in PASSED_ON:
        assert set(came["head"]) == origins
    assert set(came["head"]) <= origins


def test_a_category_beside_a_layers_output_leaves_its_origin_known() -> None:
    torch.manual_seed(0)
    put, width, _ = JOINS["with a category"]
    watch = watch_net(Two(put, width), torch.randn(BATCH, WIDTH))
    assert "a" in inputs(watch.structure)["head"]


class Again(nn.Module):
    """Uses its data again after it was added to something."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.log1p(x.abs())
        first = self.a(x) + x
        product: Tensor = first * self.b(x)
        return product


def test_data_that_is_used_again_after_an_addition_is_still_the_input() -> None:
    torch.manual_seed(0)
    came = inputs(watch_net(Again(), torch.randn(BATCH, WIDTH)).structure)
    assert came["a"] == came["b"] == ("input",)


class Stream(nn.Module):
    """Two additions in a row, and what uses their sums again."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g, self.head, self.gate = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = x + nn.functional.relu(self.f(x))
        y = x + nn.functional.relu(self.g(x))
        out: Tensor = self.head(y) * torch.sigmoid(self.gate(x))
        return out


def test_a_sum_that_no_layer_made_has_known_origins_when_it_is_used_again() -> None:
    torch.manual_seed(0)
    watch = watch_net(Stream(), torch.randn(BATCH, WIDTH))
    came = inputs(watch.structure)
    first = {"input", "/relu#1", "#1"}
    assert came["g"]
    assert set(came["g"]) <= first
    assert came["gate"]
    assert set(came["gate"]) <= first
    assert came["head"]
    assert set(came["head"]) <= first | {"/relu#2", "#2"}
    assert {one.name for one in watch.structure.residuals} == {"#1", "#2"}


class Opaque(torch.autograd.Function):
    """Arithmetic that no mode sees."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


def stack_of_layers(depth: int, gain: float) -> nn.ModuleList:
    """Return layers before a relu, each of which multiplies the variance by ``gain`` squared over two."""
    layers = [nn.Linear(WIDTH, WIDTH) for _ in range(depth)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=gain / WIDTH**0.5)
        nn.init.zeros_(layer.bias)
    return nn.ModuleList(layers)


class Branches(nn.Module):
    """One branch that fades and one that carries what is learned; where the second begins, no mode sees."""

    def __init__(self) -> None:
        super().__init__()
        self.fading, self.carrying = stack_of_layers(8, 0.3), stack_of_layers(4, 2**0.5)
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for layer in self.fading:
            x = layer(x).relu()
        y = Opaque.apply(y)  # type: ignore[no-untyped-call]
        for layer in self.carrying:
            y = layer(y).relu()
        head: Tensor = self.head(torch.cat((x, y), 1))
        return head


def test_a_layer_whose_input_is_unknown_is_put_behind_nothing_and_the_other_branch_keeps_the_loss_falling() -> None:
    torch.manual_seed(0)
    net, x, y = Branches(), torch.randn(256, WIDTH), torch.randn(256, WIDTH)
    target, losses = y[:, :1], []

    def loss_of(_: int) -> Tensor:
        loss: Tensor = (net(x, y) - target).square().mean()
        losses.append(float(loss.detach()))
        return loss

    watch = watch_loop(net, loss_of, steps=60, rate=0.05, dense_steps=10, every_n_steps=10)
    assert losses[-1] < losses[0] / 2
    assert inputs(watch.structure)["carrying.0"] in {(), ("input",)}
    blamed = {layer for finding in watch.findings if finding.severity != "info" for layer in finding.layers}
    assert not {name for name in blamed if not name.startswith(("fading", "/relu"))}
    # Something of the input reaches the loss: through the other branch.
    assert not [finding.code for finding in watch.findings if finding.severity == "critical"]


@pytest.mark.parametrize("gain", [0.3, 4.0])
def test_the_same_is_found_whether_or_not_the_input_requires_a_gradient(gain: float) -> None:
    found = []
    for requires in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential()
        for layer in stack_of_layers(8, gain):
            net.extend((layer, nn.ReLU()))
        net.append(nn.Linear(WIDTH, 1))
        given = torch.randn(256, WIDTH, requires_grad=requires)
        watch = watch_net(net, given, steps=3)
        found.append([(finding.code, finding.severity, finding.step, finding.layers) for finding in watch.findings])
    assert {code for code, *_ in found[0]} & {"IM101", "IM102"}
    assert found[1] == found[0]


class Variables(nn.Module):
    """Takes a dict of variables, embeds each, and gives a dict on."""

    def __init__(self) -> None:
        super().__init__()
        self.of_price, self.of_time = nn.Linear(1, WIDTH), nn.Linear(1, WIDTH)

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"price": self.of_price(given["price"]), "time": self.of_time(given["time"])}


class Selecting(nn.Module):
    """Weighs the variables that a dict brings, and forecasts from their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.weigh, self.lstm = (
            Variables(),
            nn.Linear(2 * WIDTH, 2),
            nn.LSTM(WIDTH, WIDTH, batch_first=True),
        )
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        embedded = list(self.embed(given).values())
        share = torch.softmax(self.weigh(torch.cat(embedded, -1)), -1).unsqueeze(-2)
        chosen = (torch.stack(embedded, -1) * share).sum(-1)
        sequence, _ = self.lstm(chosen)
        head: Tensor = self.head(sequence)
        return head


def test_variables_in_a_dict_are_followed_through_selection_and_a_recurrent_layer() -> None:
    torch.manual_seed(0)
    given = {"price": torch.randn(4, 7, 1), "time": torch.randn(4, 7, 1)}
    watch = watch_net(Selecting(), given)
    came = inputs(watch.structure)
    assert came["embed.of_price"] == came["embed.of_time"] == ("input",)
    assert set(came["weigh"]) == {"embed.of_price", "embed.of_time"}
    assert {"embed.of_price", "embed.of_time"} <= set(came["lstm[0]"])
    assert came["head"] == ("lstm[0]",)
    assert all(came[name] for name in weights(watch.structure))
