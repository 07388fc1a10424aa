"""Whatever mixes with a weight of its own is a layer, whether or not it holds other modules or is called at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from watched import inputs, watch_net, weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor import Structure

pytestmark = pytest.mark.untraced

WIDTH, BATCH = 16, 32


class Dense(nn.Linear):
    """A linear layer that applies its activation itself, as those of molecular libraries do."""

    def __init__(self, width: int, out: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__(width, out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(nn.functional.linear(x, self.weight, self.bias))


class Convolution(nn.Conv2d):
    """A convolution that holds its normalisation and activation, as those of detection libraries do."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3, padding=1)
        self.norm, self.activation = nn.BatchNorm2d(out), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.norm(super().forward(x)))
        return y


class Mixing(nn.Module):
    """A weight of its own beside a normalisation that it holds."""

    def __init__(self, apply: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.norm, self.apply_weight = nn.Parameter(0.1 * torch.randn(shape)), nn.LayerNorm(WIDTH), apply

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.apply_weight(x, self.weight))
        return y


def batch() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(BATCH, WIDTH)


def rows_of_weight(structure: Structure, parameter: str) -> list[str]:
    return [layer.name for layer in structure.layers if layer.weight == parameter or parameter in layer.parameters]


ACTIVATIONS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "nothing": nn.Identity,
    "a module": nn.SiLU,
    "a function": lambda: nn.functional.softplus,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_linear_layer_that_applies_its_activation_is_a_layer(activation: str) -> None:
    given = batch()
    net = nn.Sequential(*(Dense(WIDTH, WIDTH, ACTIVATIONS[activation]()) for _ in range(3)), nn.Linear(WIDTH, 1))
    watch = watch_net(net, given)
    assert [len(rows_of_weight(watch.structure, f"{k}.weight")) for k in range(4)] == [1, 1, 1, 1]
    assert len(weights(watch.structure)) == 4
    layers = watch.structure.by_name()
    for name in weights(watch.structure):
        assert layers[name].fan_in == WIDTH
        assert layers[name].inputs


@pytest.mark.parametrize("activation", ["a module", "a function"])
def test_its_row_tells_of_what_the_activation_is_given(activation: str) -> None:
    given = batch()
    first = Dense(WIDTH, WIDTH, ACTIVATIONS[activation]())
    net = nn.Sequential(first, nn.Linear(WIDTH, 1))
    before = nn.functional.linear(given, first.weight, first.bias).detach().double()
    watch = watch_net(net, given)
    (name,) = rows_of_weight(watch.structure, "0.weight")
    measured = watch.records[0].layers[name].forward
    assert measured.mean == pytest.approx(float(before.mean()), rel=1e-4, abs=1e-6)
    assert measured.variance == pytest.approx(float(before.var(correction=0)), rel=1e-4)
    assert watch.structure.by_name()[name].activation is not None


def test_layers_that_hold_modules_are_judged_like_those_that_hold_none() -> None:
    found = []
    for holding in (False, True):
        torch.manual_seed(0)
        layers = [Dense(WIDTH, WIDTH, nn.Identity()) if holding else nn.Linear(WIDTH, WIDTH) for _ in range(12)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=3 / WIDTH**0.5)  # each multiplies the variance by nine
        watch = watch_net(nn.Sequential(*layers, nn.Linear(WIDTH, 1)), batch(), steps=1)
        found.append({(str(one.severity), one.code, len(one.layers)) for one in watch.findings if one.code == "IM101"})
    assert {severity for severity, _, _ in found[0]} == {"critical"}
    assert found[1] == found[0]


def test_a_convolution_that_holds_its_normalisation_and_activation_is_three_rows() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Convolution(3, 8), Convolution(8, 8), nn.Flatten(), nn.Linear(8 * 36, 1))
    given = torch.randn(4, 3, 6, 6)
    watch = watch_net(net, given)
    assert [len(rows_of_weight(watch.structure, f"{k}.weight")) for k in (0, 1, 3)] == [1, 1, 1]
    first, second, last = weights(watch.structure)
    came = inputs(watch.structure)
    assert came["0.norm"] == (first,)
    assert came["0.activation"] == ("0.norm",)
    assert came[second] == ("0.activation",)
    assert came[last] == ("1.activation",)
    layers = watch.structure.by_name()
    assert layers[first].normalised
    assert layers[first].fan_in == 3 * 9
    before = nn.functional.conv2d(given, torch.zeros(8, 3, 3, 3), padding=1)
    assert watch.records[0].layers[first].forward.count == before.numel()


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...]]] = {
    "linear": (nn.functional.linear, (WIDTH, WIDTH)),
    "matmul": (torch.matmul, (WIDTH, WIDTH)),
    "operator": (lambda x, w: x @ w, (WIDTH, WIDTH)),
    "transposed": (lambda x, w: x @ w.T, (WIDTH, WIDTH)),
    "mm": (torch.mm, (WIDTH, WIDTH)),
    "addmm": (lambda x, w: torch.addmm(torch.zeros(WIDTH), x, w), (WIDTH, WIDTH)),
    "einsum": (lambda x, w: torch.einsum("bi,io->bo", x, w), (WIDTH, WIDTH)),
    "in another format": (lambda x, w: nn.functional.linear(x, w.to(x.dtype)), (WIDTH, WIDTH)),
    "conv1d": (lambda x, w: nn.functional.conv1d(x[:, None], w, padding=1)[:, 0], (1, 1, 3)),
    "conv2d": (lambda x, w: nn.functional.conv2d(x.view(-1, 1, 4, 4), w, padding=1).flatten(1), (1, 1, 3, 3)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_module_that_mixes_with_a_weight_of_its_own_is_a_layer_though_it_holds_others(form: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), Mixing(*FORMS[form]), nn.Linear(WIDTH, 1))
    watch = watch_net(net, batch())
    (own,) = rows_of_weight(watch.structure, "1.weight")
    assert weights(watch.structure) == ["0", own, "2"]
    came = inputs(watch.structure)
    assert came[own] == ("0",)
    assert came["1.norm"] == (own,)
    assert came["2"] == ("1.norm",)


class Tied(nn.Module):
    """Looks words up in a table and compares with the same table at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(10, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, words: Tensor) -> Tensor:
        body: Tensor = self.body(self.table(words))
        return body @ self.table.weight.T


class Lent(nn.Module):
    """Applies the weight of a module that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.lender, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        head: Tensor = self.head(nn.functional.silu(self.body(x) @ self.lender.weight.T + self.lender.bias))
        return head


CALLED: dict[str, tuple[type[nn.Module], str, int]] = {
    "an embedding that is the head too": (Tied, "table.weight", 2),
    "a module that is never called": (Lent, "lender.weight", 1),
}


@pytest.mark.parametrize("case", CALLED)
def test_a_weight_applied_outside_its_module_is_a_layer_or_is_named_in_a_notice(case: str) -> None:
    kind, parameter, times = CALLED[case]
    torch.manual_seed(0)
    given = torch.randint(0, 10, (BATCH, 5)) if kind is Tied else batch()
    watch = watch_net(kind(), given)
    rows = rows_of_weight(watch.structure, parameter)
    assert len(rows) == times or any(parameter.rpartition(".")[0] in notice for notice in watch.notices)


class Scaled(nn.Module):
    """A block with a learned gain per unit, which mixes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.body = nn.Parameter(torch.ones(WIDTH)), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * nn.functional.gelu(self.body(x))


def test_a_block_with_a_gain_of_its_own_stays_a_block() -> None:
    torch.manual_seed(0)
    watch = watch_net(nn.Sequential(Scaled(), Scaled(), nn.Linear(WIDTH, 1)), batch())
    assert weights(watch.structure) == ["0.body", "1.body", "2"]
    assert len(watch.structure.residuals) == 2
