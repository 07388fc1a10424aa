"""Recipes where depth or the form of a block decides: each formula against what is measured, and the plan for such a network."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import recipes
from init_monitor.analysis.activations import activation_called


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variance(tensor: Tensor) -> float:
    return float(tensor.detach().double().var(correction=0))


class Siren(nn.Module):
    """Sines of ``frequency`` times a linear layer (Sitzmann et al. 2020), called as a function."""

    def __init__(self, frequency: float = 30.0, depth: int = 4, *, fitting: bool = True, way: str = "before") -> None:
        super().__init__()
        self.frequency, self.way = frequency, way
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(2, 128), *(nn.Linear(128, 128) for _ in range(depth))])
        self.out = nn.Linear(128, 1)
        if fitting:
            recipes.siren_(self, frequency=frequency)
            recipes.siren_(self.layers[0], frequency=frequency, first=True)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = (layer(x) * self.frequency).sin() if self.way == "after" else torch.sin(self.frequency * layer(x))
        output: Tensor = self.out(x)
        return output


def coordinates(count: int = 2048) -> Tensor:
    return torch.rand(count, 2, generator=seeded(1)) * 2 - 1


def received_by_sines(model: Siren) -> list[float]:
    """Return the variance of what each sine but the first gets."""
    got, x = [], coordinates()
    for layer in model.layers:
        x = model.frequency * layer(x)
        got.append(variance(x))
        x = torch.sin(x)
    return got[1:]


@pytest.mark.parametrize("frequency", [10.0, 30.0])
def test_what_every_sine_of_a_siren_gets_has_variance_one(frequency: float) -> None:
    model = Siren(frequency, depth=8)
    for layer in model.layers:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    assert received_by_sines(model) == pytest.approx([1.0] * 8, rel=0.4)  # of two coordinates


@pytest.mark.parametrize("way", ["before", "after"])
def test_a_siren_is_recognised_by_its_functions_and_kept_as_it_is(way: str) -> None:
    model = Siren(way=way)
    report = init_monitor.check(model, coordinates())
    assert [layer.frequency for layer in report.structure.layers if layer.weight] == [30.0] * 5 + [0.0]
    assert [finding.code for finding in report.findings] == []
    assert [plan.layer for plan in init_monitor.recommend(model, coordinates()).layers if plan.recipe] == []


@pytest.mark.parametrize("fault", ["torch's own", "tiny", "N(0, 1)"])
def test_a_plan_repairs_a_siren(fault: str) -> None:
    model = Siren(fitting=False)
    for layer in model.layers[1:]:
        if fault != "torch's own":
            nn.init.normal_(layer.weight, std=1e-4 if fault == "tiny" else 1.0)  # type: ignore[arg-type]
    biases = [layer.bias.clone() for layer in model.layers]  # type: ignore[operator]
    plan = init_monitor.recommend(model, coordinates())
    assert {one.recipe for one in plan.layers} == {"siren_"}
    plan.apply_(generator=seeded())
    # Without biases it would be an odd function; U(±1/sqrt(128)) times 30 adds 30²/(3 · 128) = 2.3.
    assert all(torch.equal(layer.bias, was) for layer, was in zip(model.layers, biases, strict=True))  # type: ignore[arg-type]
    assert received_by_sines(model) == pytest.approx([1 + 30**2 / (3 * 128)] * 4, rel=0.35)
    assert [f.code for f in init_monitor.check(model, coordinates()).findings] == []


def test_the_code_of_a_finding_repairs_a_siren_too() -> None:
    model = Siren(fitting=False)
    for layer in model.layers[1:]:
        nn.init.normal_(layer.weight, std=1e-4)  # type: ignore[arg-type]
    finding = next(one for one in init_monitor.check(model, coordinates()).findings if one.remedy_code)
    exec(finding.remedy_code, {"model": model})  # noqa: S102 - what a user is asked to run
    after = init_monitor.check(model, coordinates())
    assert after.findings == ()
    shown = after.confirm(finding)
    assert shown is not None
    assert shown.holds


class Encoded(nn.Module):
    """Sines of the input, and of a layer's output times a tensor: neither is a SIREN's."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bands", torch.tensor([1.0, 2.0, 4.0, 8.0]))
        self.first, self.second = nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        bands: Any = self.bands
        x = torch.sin(torch.cat([x * bands[0], x * bands[1], x * bands[2], x * bands[3]], -1))
        output: Tensor = self.second(torch.sin(self.first(x) * bands))
        return output


def test_a_sine_of_coordinates_or_of_several_frequencies_is_no_siren() -> None:
    report = init_monitor.check(Encoded(), coordinates())
    assert [layer.frequency for layer in report.structure.layers] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "gate"), [("SwiGLU", F.silu), ("GEGLU", F.gelu), ("ReGLU", F.relu), ("GLU", torch.sigmoid)]
)
def test_the_product_of_a_gated_layer_has_the_gates_mean_square_times_the_variance_of_the_other_half(
    name: str, gate: Any
) -> None:
    a, b = torch.randn(2, 400_000, generator=seeded(), dtype=torch.float64)
    known = activation_called(name)
    assert known is not None
    assert variance(gate(a) * 1.7 * b) == pytest.approx(1.7**2 * known.moments.mean_square, rel=0.02)


class Gated(nn.Module):
    """A gated feed-forward part as in LLaMA."""

    def __init__(self, width: int = 256, hidden: int = 688) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return output


def test_a_gated_layer_drawn_to_keep_the_variance_takes_the_product_into_account() -> None:
    model, x = Gated(), torch.randn(4096, 256, generator=seeded())
    recipes.lecun_normal_(model, generator=seeded(1))
    # E[silu(z)²] = 0.3558 of the product is left for the last layer, which has to make up for it.
    nn.init.normal_(model.down.weight, std=math.sqrt(1 / (688 * 0.355776)), generator=seeded(2))
    assert variance(model(x)) == pytest.approx(1.0, rel=0.1)


class PostNorm(nn.Module):
    """``LN(alpha · x + F(x))``, ``depth`` times, with an attention-like and a feed-forward part."""

    def __init__(self, depth: int, alpha: float, beta: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.alpha = alpha
        self.first = nn.ModuleList(nn.Linear(64, 64, bias=False) for _ in range(2 * depth))
        self.second = nn.ModuleList(nn.Linear(64, 64, bias=False) for _ in range(2 * depth))
        for layer in (*self.first, *self.second):
            nn.init.xavier_normal_(layer.weight, gain=beta)

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.first, self.second, strict=True):
            x = F.layer_norm(self.alpha * x + second(F.relu(first(x))), (64,))
        return x


def update_of(depth: int, *, scaled: bool) -> float:
    """Return how far one step of SGD moves the output of a post-norm network, in parts of its size."""
    alpha, beta = ((2 * depth) ** 0.25, (8 * depth) ** -0.25) if scaled else (1.0, 1.0)
    model = PostNorm(depth, alpha, beta)
    x, target = torch.randn(2, 64, 64, generator=seeded())
    before = model(x)
    F.mse_loss(before, target, reduction="sum").backward()
    with torch.no_grad():
        for weight in model.parameters():
            assert weight.grad is not None
            weight.sub_(weight.grad, alpha=1e-6)
        moved = (model(x) - before).norm() / before.norm()
    return float(moved)


def test_deepnorms_factors_bound_the_first_update_of_a_post_norm_network_at_any_depth() -> None:
    """Wang et al. 2022, Table 1 (encoder): alpha = (2N)^¼ on the skip, gain (8N)^-¼ in the branch."""
    plain = update_of(48, scaled=False) / update_of(6, scaled=False)
    scaled = update_of(48, scaled=True) / update_of(6, scaled=True)
    assert scaled < 2
    assert plain > 2 * scaled


@pytest.mark.parametrize("groups", [1, 4])
def test_a_transposed_convolution_keeps_the_variance_with_groups_and_strides(groups: int) -> None:
    layer = nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1, groups=groups)
    recipes.he_normal_(layer, generator=seeded())
    x = torch.randn(64, 32, 16, 16, generator=seeded(1)).relu() * math.sqrt(2)
    inner = layer(x).detach()[..., 2:-2, 2:-2]
    assert float(inner.square().mean()) == pytest.approx(2.0, rel=0.1)  # He's 2 · E[x²], of which a ReLU leaves half


def test_logits_of_normalised_queries_and_keys_are_bounded_whatever_the_weights() -> None:
    """With an RMS norm on both, |q · k|/sqrt(d) is at most sqrt(d): no start makes such attention sharp beyond that."""
    width = 64
    x = torch.randn(8, 32, width, generator=seeded())
    for scale in (1.0, 1000.0):
        weights = scale * torch.randn(2, width, width, generator=seeded(1)) / math.sqrt(width)
        plain = (x @ weights[0]) @ (x @ weights[1]).mT / math.sqrt(width)
        q, k = (F.rms_norm(x @ weight, (width,)) for weight in weights)
        normed = q @ k.mT / math.sqrt(width)
        assert float(normed.abs().max()) <= math.sqrt(width) * 1.0001
        assert variance(normed) == pytest.approx(1.0, rel=0.1)
        assert variance(plain) == pytest.approx(scale**4, rel=0.5)


def test_a_weight_under_a_norm_gets_no_code_that_writes_past_its_parametrization() -> None:
    for parametrization in (nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm):
        torch.manual_seed(0)
        model = nn.Sequential()
        for _ in range(8):
            layer = nn.Linear(64, 64)
            nn.init.normal_(layer.weight, std=1.0)
            model.extend([parametrization(layer), nn.ReLU()])
        model.append(nn.Linear(64, 10))
        for finding in init_monitor.check(model, torch.randn(64, 64)).findings:
            assert not any(f"model[{2 * i}].weight" in finding.remedy_code for i in range(8))
            assert "isinstance(layer, nn.Linear)" not in finding.remedy_code


def test_a_hook_that_divides_the_branch_stands_in_for_deepnorms_factor_of_the_skip() -> None:
    torch.manual_seed(0)
    alpha, norm, branch = 2.7, nn.LayerNorm(32).double(), nn.Linear(32, 32).double()
    x = torch.randn(16, 32).double()
    results = []
    for hooked in (False, True):
        if hooked:
            branch.register_forward_hook(lambda module, args, output: output / alpha)
        out = norm(x + branch(x) if hooked else alpha * x + branch(x))
        (gradient,) = torch.autograd.grad(out.pow(3).sum(), branch.weight)
        results.append((out.detach(), gradient))
    (plain, first), (by_hook, second) = results
    assert torch.allclose(plain, by_hook, atol=1e-4)
    assert torch.allclose(first, second, rtol=1e-3, atol=1e-3)
