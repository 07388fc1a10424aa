"""Mirrored pairs: that they are an isometry, that every way to draw them is one, and that deep networks learn from them."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from init_monitor import check, recipes, recommend
from init_monitor.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "leaky": lambda: nn.LeakyReLU(0.1),
    "softplus": nn.Softplus,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain(depth: int, width: int, activation: str, *, ends: tuple[int, int] = (16, 4)) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(ends[0], width), ACTIVATIONS[activation]()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(width, ends[1]))


def layers_of(net: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [module for module in net.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def mirror(net: nn.Sequential, activation: str, seed: int = 0) -> None:
    generator = seeded(seed)
    for i, layer in enumerate(layers_of(net)[:-1]):
        recipes.mirrored_(layer, first=i == 0, slope=0.1 if activation == "leaky" else 0.0, generator=generator)
    recipes.xavier_normal_(net[-1], generator=generator)


def he(net: nn.Sequential, activation: str, seed: int = 0) -> None:
    generator = seeded(seed)
    for i, layer in enumerate(layers_of(net)[:-1]):
        if activation == "softplus":  # what keeps the variance behind it: 1/Var(softplus), centred
            recipes.xavier_normal_(layer, gain=1.92, input_mean=0.806 if i else 0.0, generator=generator)
            continue
        if activation == "leaky":
            recipes.he_normal_(layer, nonlinearity="leaky_relu", negative_slope=0.1, generator=generator)
        else:
            recipes.he_normal_(layer, nonlinearity=activation, generator=generator)
    recipes.xavier_normal_(net[-1], generator=generator)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("depth", "width"), [(8, 32), (20, 64), (60, 32)])
def test_a_chain_of_any_depth_keeps_all_distances_between_samples(activation: str, depth: int, width: int) -> None:
    net = chain(depth, width, activation).double()
    mirror(net, activation)
    x = torch.randn(24, 16, generator=seeded(1)).double()
    u = net[:-2](x).detach()  # the pre-activations of the last rectifier
    ratio = torch.pdist(u) / torch.pdist(x)
    assert float(ratio.std() / ratio.mean()) < 1e-6
    gain = float(ratio.mean()) ** 2 * 16 / width
    assert gain == pytest.approx(2 / 1.01 if activation == "leaky" else 2.0, rel=1e-6)


def test_with_hes_weights_they_all_but_vanish_which_is_what_the_pairs_are_for() -> None:
    net = chain(40, 64, "relu").double()
    he(net, "relu")
    x = torch.randn(24, 16, generator=seeded(1)).double()
    u = net[:-2](x).detach()
    assert float(torch.pdist(u).median() / u.norm(dim=1).median()) < 0.6


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (48, 32), (32, 48), (33, 31), (1, 1), (2, 1), (1, 8)])
@pytest.mark.parametrize("first", [True, False])
def test_the_variance_is_that_of_hes_initialisation_whatever_the_shape(rows: int, columns: int, *, first: bool) -> None:
    layer = recipes.mirrored_(nn.Linear(columns, rows), first=first, generator=seeded())
    assert layer.weight.isfinite().all()
    assert not layer.bias.any()
    if min(rows, columns) > 30:
        assert float(layer.weight.detach().square().mean()) == pytest.approx(2 / columns, rel=0.1)
    half = rows // 2
    assert torch.equal(layer.weight[:half], -layer.weight[half : 2 * half])


def test_a_kernel_has_its_weights_at_the_centre_but_for_the_first() -> None:
    first = recipes.mirrored_(nn.Conv2d(4, 16, 3), first=True, generator=seeded())
    assert (first.weight != 0).all()
    later = recipes.mirrored_(nn.Conv2d(16, 16, (3, 5)), generator=seeded())
    centre = later.weight[:, :, 1, 2].detach().clone()
    with torch.no_grad():
        later.weight[:, :, 1, 2] = 0
    assert not later.weight.any()
    assert float(centre.square().mean()) == pytest.approx(2 / 16)


def test_a_deep_convolutional_chain_does_not_lose_its_signal_to_the_padding() -> None:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(17):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    net, x = nn.Sequential(*layers), torch.randn(8, 3, 2, 2, generator=seeded(1))
    for low, high in ((0.9, 1.1), (0.0, 1e-3)):
        generator = seeded()
        for i, layer in enumerate(layers_of(net)):
            if low:
                recipes.mirrored_(layer, first=i == 0, generator=generator)
            else:
                recipes.he_normal_(layer, generator=generator)
        total = net(x).detach().square().mean() / net[:2](x).detach().square().mean()
        assert low <= float(total) <= high


def test_the_recipe_the_plan_its_code_and_the_code_of_a_finding_draw_the_same() -> None:
    net = chain(14, 25, "leaky")
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=1e-2, generator=seeded())
    batch = torch.randn(32, 16, generator=seeded(1))
    finding = next(one for one in check(net, batch).findings if "recipes.mirrored_(" in one.remedy_code)
    plan = recommend(net, batch)
    assert {one.recipe for one in plan.layers[:-1]} == {"mirrored_"}
    applied, coded, pasted = copy.deepcopy(net), copy.deepcopy(net), copy.deepcopy(net)
    recommend(applied, batch).apply_(generator=seeded(5))
    space: dict[str, object] = {}
    exec(plan.to_code(), space)  # noqa: S102 - it is code to paste
    space["initialise"](coded, seeded(5))  # type: ignore[operator]
    assert all(torch.equal(a, b) for a, b in zip(applied.parameters(), coded.parameters(), strict=True))
    exec(finding.remedy_code, {"model": pasted})  # noqa: S102
    for layer in layers_of(pasted)[:-1]:
        assert torch.equal(layer.weight[:12], -layer.weight[12:24])
        assert layer.weight.square().mean() > 1e-2
    assert not check(pasted, batch).findings
    assert not check(applied, batch).findings


@pytest.mark.parametrize("slope", [-0.1, 1.0, math.nan])
def test_a_slope_that_is_none_of_a_rectifier_is_refused(slope: float) -> None:
    layer = nn.Linear(4, 4)
    before = layer.weight.clone()
    with pytest.raises(RecipeError, match="slope of a rectifier"):
        recipes.mirrored_(layer, slope=slope)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_is_found_wrong_with_a_network_of_such_layers(activation: str) -> None:
    net = chain(20, 64, activation)
    mirror(net, activation)
    x = torch.randn(64, 16, generator=seeded(1))
    assert not check(net, x).findings
    assert not any(plan.recipe for plan in recommend(net, x).layers)


def final_loss(net: nn.Sequential, x: Tensor, y: Tensor, steps: int) -> float:
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    generator, losses = seeded(2), []
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=generator)
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-10:]) / 10


@pytest.mark.parametrize(
    ("activation", "depth", "width"),
    [("relu", 24, 48), ("gelu", 24, 48), ("silu", 32, 32), ("leaky", 40, 32), ("softplus", 24, 64)],
)
def test_deep_chains_of_several_depths_and_widths_learn_much_faster_from_it(
    activation: str, depth: int, width: int
) -> None:
    x = torch.randn(512, 16, generator=seeded(3))
    y = (x @ torch.randn(16, 4, generator=seeded(4))).argmax(1)
    ends = {}
    for draw in (he, mirror):
        net = chain(depth, width, activation)
        draw(net, activation)
        ends[draw] = final_loss(net, x, y, steps=60)
    assert ends[mirror] < 0.6 * ends[he]
