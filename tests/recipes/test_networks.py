"""Recipes for a whole network: residual additions are found by running it, and the formulas hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings, strategies as st
from models import Block, add, mlp
from torch import nn

import init_monitor
from init_monitor import InitMonitorWarning, RecipeError, recipes

if TYPE_CHECKING:
    from collections.abc import Callable

    Sum = Callable[..., torch.Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variance(tensor: torch.Tensor) -> float:
    return float(tensor.detach().double().var(correction=0))


def weight(layer: nn.Module) -> torch.Tensor:
    found = layer.get_parameter("weight")
    return found.detach()


def stack(blocks: int, width: int = 128) -> nn.Sequential:
    return nn.Sequential(*(Block(width, add) for _ in range(blocks)))


class ScaledBlock(nn.Module):
    """A pre-activation block whose forward scales its addition."""

    def __init__(self, width: int, total: Sum, **place: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.total, self.place = total, place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.second(torch.relu(self.first(torch.relu(x))))
        out: torch.Tensor = self.total(x, branch, **self.place)
        return out


def scaled(blocks: int, total: Sum, width: int = 128) -> nn.Sequential:
    return nn.Sequential(*(ScaledBlock(width, total, block=k + 1, blocks=blocks) for k in range(blocks)))


class PostActivation(nn.Module):
    """x + relu(fc(x)): a ReLU ends the branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.fc(x))


class Language(nn.Module):
    """A small pre-norm transformer."""

    def __init__(self, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True, norm_first=True, dropout=0.0)
        self.body = nn.TransformerEncoder(layer, blocks, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 50, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(self.embed(tokens)))
        return logits


TOKENS = torch.arange(48).view(3, 16)


# --- zero-initialised ends -------------------------------------------------------------------------------------------


@given(blocks=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_with_zeroed_ends_a_residual_network_is_the_identity(blocks: int, seed: int) -> None:
    model = stack(blocks, 16)
    x = torch.randn(4, 16, generator=seeded(seed))
    ends = recipes.zero_init_residual_(model, x)
    assert ends == tuple(f"{i}.second" for i in range(blocks))
    assert torch.equal(model(x), x)


def test_zeroed_ends_get_a_gradient_and_the_layers_before_them_keep_their_weights() -> None:
    model = stack(2, 16)
    before = weight(model[0].get_submodule("first")).clone()
    recipes.zero_init_residual_(model, torch.randn(4, 16))
    assert torch.equal(weight(model[0].get_submodule("first")), before)
    model(torch.randn(8, 16)).square().sum().backward()
    gradient = model[0].get_parameter("second.weight").grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0


def test_the_structure_of_a_report_serves_instead_of_a_batch() -> None:
    model, x = stack(2, 16), torch.randn(4, 16)
    structure = init_monitor.check(model, x).structure
    assert recipes.zero_init_residual_(model, structure) == ("0.second", "1.second")
    with pytest.raises(RecipeError, match=r"has a layer '0' that Linear has not"):
        recipes.zero_init_residual_(nn.Linear(2, 2), structure)


def test_a_normalisation_that_ends_a_branch_is_zeroed_instead_of_the_convolution_before_it() -> None:
    class Basic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

    model = nn.Sequential(Basic(), Basic())
    assert recipes.zero_init_residual_(model, torch.randn(4, 4, 8, 8)) == ("0.bn2", "1.bn2")
    assert float(weight(model[0].get_submodule("bn2")).abs().max()) == 0
    assert float(weight(model[0].get_submodule("conv2")).abs().max()) > 0


def test_the_projection_of_an_attention_layer_ends_its_branch() -> None:
    model = Language()
    ends = recipes.zero_init_residual_(model, TOKENS)
    assert ends[:2] == ("body.layers.0.self_attn.out_proj", "body.layers.0.linear2")
    assert len(ends) == 6


def test_a_branch_that_ends_in_a_relu_is_left_alone_and_said_so() -> None:
    model = nn.Sequential(PostActivation(8), Block(8, add))
    with pytest.warns(InitMonitorWarning, match=r"left 1 of 2 branches alone.*0#1"):
        assert recipes.zero_init_residual_(model, torch.randn(2, 8)) == ("1.second",)
    with pytest.raises(RecipeError, match=r"none of the 2 residual branches ends in a layer.*rescale_residual_"):
        recipes.zero_init_residual_(nn.Sequential(PostActivation(8), PostActivation(8)), torch.randn(2, 8))


def test_a_frozen_end_is_left_alone_unless_asked() -> None:
    model = stack(2, 8).requires_grad_(requires_grad=False)
    before = weight(model[0].get_submodule("second")).clone()
    recipes.zero_init_residual_(model, torch.randn(2, 8))
    assert torch.equal(weight(model[0].get_submodule("second")), before)
    recipes.zero_init_residual_(model, torch.randn(2, 8), frozen=True)
    assert float(weight(model[0].get_submodule("second")).abs().max()) == 0


# --- RescaleNet ------------------------------------------------------------------------------------------------------


@given(blocks=st.integers(1, 300), data=st.data())
def test_the_factors_of_rescalenet_keep_the_variance_and_give_every_block_the_same_say(
    blocks: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, blocks))
    alpha, beta = recipes.rescale_factors(k, blocks)
    assert alpha**2 + beta**2 == pytest.approx(1)
    assert 1 / beta**2 == pytest.approx(k + blocks)
    after = math.prod(recipes.rescale_factors(i, blocks)[0] for i in range(k + 1, blocks + 1))
    assert beta * after == pytest.approx(1 / math.sqrt(2 * blocks))


@pytest.mark.parametrize("spread", ["even", "last"])
def test_the_fixed_weight_variant_draws_the_variance_of_the_corrected_formula(spread: str) -> None:
    blocks, width = 4, 256
    model = scaled(blocks, recipes.fixed_weight_sum, width)
    done = recipes.rescale_residual_(model, torch.randn(8, width), spread=spread, generator=seeded())
    for k, (block, scale) in enumerate(zip(model, done, strict=True), 1):
        share = blocks / (k + blocks)
        assert scale.factor**2 == pytest.approx(share)
        assert (scale.number, scale.blocks) == (k, blocks)
        first, last = (share**0.5, share**0.5) if spread == "even" else (1.0, share)
        # Two layers: exponent 1/N with N = 2, not the 2/N that is printed in A.4.
        assert variance(weight(block.get_submodule("first"))) == pytest.approx(2 / width * first, rel=0.03)
        assert variance(weight(block.get_submodule("second"))) == pytest.approx(2 / width * last, rel=0.03)


def test_a_forward_that_scales_both_terms_needs_plain_he() -> None:
    model = scaled(4, recipes.rescaled_sum)
    done = recipes.rescale_residual_(model, torch.randn(8, 128), generator=seeded())
    assert [scale.factor for scale in done] == pytest.approx([1.0] * 4)
    assert [(scale.alpha, scale.beta) for scale in done] == [
        pytest.approx(recipes.rescale_factors(k, 4)) for k in range(1, 5)
    ]


def test_a_plain_addition_gets_weights_that_make_it_rescalenet_up_to_a_factor_on_the_output() -> None:
    blocks, width = 6, 64
    plain, scaling = stack(blocks, width), scaled(blocks, recipes.rescaled_sum, width)
    x = torch.randn(32, width, generator=seeded(1))
    recipes.rescale_residual_(plain, x, spread="last", generator=seeded())
    recipes.rescale_residual_(scaling, x, spread="last", generator=seeded())
    # Same draws: the branches are homogeneous, so α on the way only scales, in all by the product of the α.
    product = math.prod(recipes.rescale_factors(k, blocks)[0] for k in range(1, blocks + 1))
    assert product == pytest.approx(math.sqrt(0.5))
    assert torch.allclose(plain(x) * product, scaling(x), atol=1e-4)


def test_a_branch_that_begins_with_its_weights_keeps_the_variance_too() -> None:
    class Bare(ScaledBlock):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.total(x, self.second(torch.relu(self.first(x))), **self.place)
            return out

    model = nn.Sequential(*(Bare(256, recipes.rescaled_sum, block=k + 1, blocks=20) for k in range(20)))
    x = torch.randn(256, 256, generator=seeded(1))
    recipes.rescale_residual_(model, x, generator=seeded())
    assert variance(weight(model[0].get_submodule("first"))) == pytest.approx(1 / 256, rel=0.03)
    assert variance(model(x)) == pytest.approx(1.0, rel=0.2)


def test_what_rescaling_cannot_do_is_refused_with_the_reason() -> None:
    class Normed(ScaledBlock):
        def __init__(self) -> None:
            super().__init__(8, add)
            self.norm = nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = x + self.norm(self.second(torch.relu(self.first(x))))
            return out

    x = torch.randn(4, 8)
    with pytest.raises(RecipeError, match=r"branch of 0#1 is normalised after its last weights.*zero_init_residual_"):
        recipes.rescale_residual_(nn.Sequential(Normed(), Normed()), x)
    shared = Block(8, add)
    with pytest.raises(RecipeError, match=r"'0.first' is in the branches of both"):
        recipes.rescale_residual_(nn.Sequential(shared, shared), x)
    with pytest.raises(RecipeError, match=r"no residual addition x \+ F\(x\) was seen in 3 layers.*he_normal_"):
        recipes.rescale_residual_(mlp(1, 8), x)
    with pytest.raises(RecipeError, match=r'spread must be "last" or "even", got \'first\''):
        recipes.rescale_residual_(stack(2, 8), x, spread="first")


# --- GPT and Fixup ---------------------------------------------------------------------------------------------------


def test_gpt_draws_002_and_shrinks_what_writes_into_the_stream_by_the_root_of_its_additions() -> None:
    model = Language(width=128)
    writers = recipes.gpt_(model, TOKENS, generator=seeded())
    assert len(writers) == 6
    assert recipes.gpt_std(6) == pytest.approx(0.02 / math.sqrt(6))
    for name, module in model.named_modules():
        if name in writers:
            assert variance(weight(module)) == pytest.approx(0.02**2 / 6, rel=0.05)
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            assert variance(weight(module)) == pytest.approx(0.02**2, rel=0.05)
        elif isinstance(module, nn.MultiheadAttention):
            assert variance(module.in_proj_weight) == pytest.approx(0.02**2, rel=0.05)


def test_gpt_needs_a_stream() -> None:
    with pytest.raises(RecipeError, match=r"gpt_: no residual branch was seen that ends in a layer with weights"):
        recipes.gpt_(mlp(2, 8), torch.randn(2, 8))


@pytest.mark.parametrize(("blocks", "layers", "scale"), [(16, 2, 0.25), (16, 3, 0.5), (9, 1, 1.0)])
def test_the_scale_of_fixup_is_that_of_the_paper(blocks: int, layers: int, scale: float) -> None:
    assert recipes.fixup_scale(blocks, layers) == pytest.approx(scale)


def test_fixup_zeroes_ends_and_output_and_scales_the_rest_of_the_branches() -> None:
    width = 256
    model = nn.Sequential(nn.Linear(width, width), *stack(4, width), nn.Linear(width, 10))
    ends = recipes.fixup_(model, torch.randn(4, width), generator=seeded())
    assert ends == ("1.second", "2.second", "3.second", "4.second", "5")
    assert all(float(weight(model.get_submodule(name)).abs().max()) == 0 for name in ends)
    assert variance(weight(model[0])) == pytest.approx(2 / width, rel=0.03)
    # L = 4 branches of m = 2 layers: L^(-1/2) on the standard deviation.
    assert variance(weight(model[2].get_submodule("first"))) == pytest.approx(2 / width / 4, rel=0.03)


def test_fixup_refuses_a_branch_that_cannot_start_at_zero() -> None:
    with pytest.raises(RecipeError, match=r"branch of 0#1 does not end in a layer.*front of the next block"):
        recipes.fixup_(nn.Sequential(PostActivation(8)), torch.randn(2, 8))


# --- LSUV ------------------------------------------------------------------------------------------------------------


@given(tolerance=st.sampled_from([0.3, 0.1, 0.01, 0.001]), seed=st.integers(0, 99), scale=st.floats(0.01, 100))
@settings(max_examples=10)
def test_after_lsuv_every_layers_output_has_variance_one_within_the_tolerance(
    tolerance: float, seed: int, scale: float
) -> None:
    model = mlp(4, 32, activation=nn.Tanh)
    x = scale * torch.randn(64, 32, generator=seeded(seed))
    told = recipes.lsuv_(model, x, tolerance=tolerance, generator=seeded(seed))
    layers = init_monitor.check(model, x).records[0].layers
    assert list(told) == ["0", "2", "4", "6", "8"]
    for name, value in told.items():
        assert abs(value - 1) < tolerance
        assert layers[name].forward.variance == pytest.approx(value, rel=1e-4)


def test_lsuv_without_orthogonal_weights_only_scales_what_is_there() -> None:
    model = mlp(2, 16)
    before = weight(model[0]).clone()
    recipes.lsuv_(model, torch.randn(64, 16), orthogonal=False)
    ratio = weight(model[0]) / before
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio))


def test_lsuv_reaches_layers_that_are_reparametrized() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 16))
    x = torch.randn(128, 16, generator=seeded())
    recipes.lsuv_(model, x, tolerance=0.01)
    assert variance(model(x)) == pytest.approx(1, abs=0.01)


def test_lsuv_leaves_buffers_modes_gradients_and_random_state() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 8)).eval()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    recipes.lsuv_(model, torch.randn(32, 8, generator=seeded()), generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert not model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("model", "batch", "words"),
    [
        (mlp(2, 8), torch.zeros(4, 8), r"output of '0' has variance 0 .*Give a batch of real data"),
        (mlp(2, 8), torch.full((4, 8), math.nan), r"variance nan"),
        (
            nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))),
            torch.randn(64, 8),
            r"output of '2' has variance .* after 10 corrections, expected 1 within 0.1",
        ),
    ],
)
def test_when_lsuv_fails_the_weights_are_what_they_were(model: nn.Module, batch: torch.Tensor, words: str) -> None:
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(RecipeError, match=words):
        recipes.lsuv_(model, batch)
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zero_init_residual_", "rescale_residual_", "gpt_", "fixup_", "lsuv_"])
def test_a_recipe_for_networks_says_when_the_model_is_none(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}.* needs a torch.nn.Module as its model, got dict"):
        getattr(recipes, name)({}, torch.ones(2, 2))


@pytest.mark.parametrize("name", ["rescale_residual_", "gpt_", "fixup_", "lsuv_"])
def test_a_generator_makes_a_network_repeatable_and_leaves_torchs_state(name: str) -> None:
    x = torch.randn(32, 16, generator=seeded(2))
    one, other = stack(2, 16), stack(2, 16)
    state = torch.get_rng_state()
    for model in (one, other):
        getattr(recipes, name)(model, x, generator=seeded(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# --- what must not become zero twice, or at all ----------------------------------------------------------------------


class OwnFactor(nn.Module):
    """A block whose forward multiplies the branch by a parameter: ReZero, LayerScale."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.factor = nn.Parameter(torch.full((width,), start))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.factor * self.second(torch.relu(self.first(x)))
        return out


def test_a_branch_with_a_factor_of_its_own_is_zeroed_with_a_warning() -> None:
    model = nn.Sequential(OwnFactor(8, 0.0), OwnFactor(8, 0.0))
    with pytest.warns(InitMonitorWarning, match=r"multiplies 2 of 2 branches by a tensor.*two zeros in a row"):
        assert recipes.zero_init_residual_(model, torch.randn(4, 8)) == ("0.second", "1.second")


def test_fixup_does_not_zero_an_output_layer_that_is_the_embedding_too() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.block, self.head = nn.Embedding(20, 16), Block(16, add), nn.Linear(16, 20, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.block(self.embed(tokens)))
            return out

    model = Tied()
    assert recipes.fixup_(model, torch.arange(8).view(2, 4), generator=seeded()) == ("block.second",)
    assert float(model.embed.weight.detach().abs().max()) > 0


def test_what_is_frozen_is_not_among_the_modules_that_were_set_to_zero() -> None:
    model = stack(2, 8)
    model[0].requires_grad_(requires_grad=False)
    assert recipes.zero_init_residual_(model, torch.randn(2, 8)) == ("1.second",)
