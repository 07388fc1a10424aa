"""Weight and spectral normalisation: what standardises every unit, and the code of findings about such layers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from init_monitor import check, recipes
from init_monitor.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEW, OLD = nn.utils.parametrizations.weight_norm, nn.utils.weight_norm
SPECTRAL = [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm]


@pytest.fixture(autouse=True)
def _without_the_warning_of_the_old_form() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain(wrap: Callable[..., Any], std: float, depth: int = 12, width: int = 48) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(width, width)
        nn.init.normal_(layer.weight, std=std)
        layers += [wrap(layer), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def batch() -> Tensor:
    return 3.0 + torch.randn(256, 48, generator=seeded(1))


@pytest.mark.parametrize("wrap", [NEW, OLD])
def test_every_unit_has_mean_0_and_variance_1_through_the_whole_depth(wrap: Callable[..., Any]) -> None:
    net = chain(wrap, 1.0, depth=30)
    last = net[-1].weight.detach().clone() if isinstance(net[-1], nn.Linear) else None
    variances = recipes.weight_norm_(net, batch(), generator=seeded())
    assert list(variances) == [str(2 * i) for i in range(30)]
    signal = batch()
    for i, module in enumerate(list(net.children())[:-1]):
        signal = module(signal).detach()
        if i % 2 == 0:
            assert torch.allclose(signal.mean(0), torch.zeros(48), atol=1e-4)
            assert torch.allclose(signal.std(0, correction=0), torch.ones(48), atol=1e-4)
    assert last is not None
    assert torch.equal(last, net[-1].get_parameter("weight"))


@pytest.mark.parametrize("wrap", [NEW, OLD])
def test_a_convolution_is_standardised_by_channel_and_a_gain_scales(wrap: Callable[..., Any]) -> None:
    net = nn.Sequential(wrap(nn.Conv2d(3, 8, 3)), nn.ReLU())
    x = torch.randn(16, 3, 9, 9, generator=seeded(1))
    recipes.weight_norm_(net, x, gain=2.0, generator=seeded())
    out = net[0](x).detach()
    assert torch.allclose(out.mean((0, 2, 3)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(out.std((0, 2, 3), correction=0), torch.full((8,), 2.0), atol=1e-3)


def test_without_a_bias_the_mean_stays_and_the_rest_has_variance_1() -> None:
    net = nn.Sequential(NEW(nn.Linear(48, 16, bias=False)))
    recipes.weight_norm_(net, batch(), generator=seeded())
    out = net(batch()).detach()
    assert torch.allclose(out.std(0, correction=0), torch.ones(16), atol=1e-4)
    assert float(out.mean(0).abs().max()) > 0.1


def test_one_seed_gives_one_network_and_torchs_own_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    nets = [chain(NEW, std) for std in (0.1, 1.0)]
    torch.set_rng_state(state)
    for net in nets:
        recipes.weight_norm_(net, batch(), generator=seeded(7))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.allclose(a, b) for a, b in zip(*(list(net[:-1].parameters()) for net in nets), strict=True))


def test_what_cannot_be_done_is_said_and_nothing_is_changed() -> None:
    with pytest.raises(RecipeError, match="under weight normalisation"):
        recipes.weight_norm_(nn.Linear(4, 4), torch.ones(2, 4))
    net = chain(NEW, 1.0)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    with pytest.raises(RecipeError, match="gives the same for the whole batch"):
        recipes.weight_norm_(net, torch.ones(8, 48))
    assert all(map(torch.equal, before, net.parameters()))
    frozen = chain(NEW, 1.0).requires_grad_(requires_grad=False)
    with pytest.raises(RecipeError, match="nothing to initialise"):
        recipes.weight_norm_(frozen, batch())
    assert recipes.weight_norm_(frozen, batch(), frozen=True)


@pytest.mark.parametrize("std", [0.02, 1.0])
@pytest.mark.parametrize("wrap", [NEW, OLD])
def test_the_code_of_a_finding_mends_a_weight_normalised_network(wrap: Callable[..., Any], std: float) -> None:
    net, x = chain(wrap, std), batch()
    finding = next(one for one in check(net, x).findings if one.remedy_code)
    assert "recipes.weight_norm_(model, batch)" in finding.remedy_code
    exec(finding.remedy_code, {"model": net, "batch": x})  # noqa: S102 - it is the code a user is asked to paste
    assert not check(net, x).findings


@pytest.mark.parametrize("wrap", SPECTRAL)
def test_under_spectral_normalisation_orthogonal_weights_keep_what_gaussian_ones_lose(
    wrap: Callable[..., Any],
) -> None:
    net, x = chain(wrap, 0.02, depth=8), torch.randn(256, 48, generator=seeded(1))
    lost = float(net[:-1](x).detach().var(0).mean())
    finding = next(one for one in check(net, x).findings if "orthogonal_" in one.remedy_code)
    exec(finding.remedy_code, {"model": net, "batch": x})  # noqa: S102
    kept = float(net[:-1](x).detach().var(0).mean())
    assert kept > 20 * lost
