"""Recipes for one weight, one layer or all layers of a model: each against its formula, and what it must not touch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrizations import weight_norm

from init_monitor import InitMonitorWarning, RecipeError, recipes

if TYPE_CHECKING:
    from collections.abc import Callable

    Recipe = Callable[..., Any]

DRAWING: dict[str, Recipe] = {
    name: getattr(recipes, name)
    for name in (
        "he_normal_",
        "he_uniform_",
        "xavier_normal_",
        "xavier_uniform_",
        "lecun_normal_",
        "orthogonal_",
        "small_output_",
    )
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variance(tensor: torch.Tensor) -> float:
    return float(tensor.detach().double().var(correction=0))


# --- formulas --------------------------------------------------------------------------------------------------------


@given(fan_in=st.integers(150, 400), fan_out=st.integers(150, 400), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_variances_of_xavier_and_he_are_those_of_the_papers(fan_in: int, fan_out: int, seed: int) -> None:
    # The variance of n normal draws scatters by sqrt(2/n): five of them are the tolerance.
    rel = 5 * math.sqrt(2 / (fan_in * fan_out))
    layer = nn.Linear(fan_in, fan_out)
    recipes.xavier_normal_(layer, generator=seeded(seed))
    assert variance(layer.weight) == pytest.approx(2 / (fan_in + fan_out), rel=rel)
    recipes.xavier_uniform_(layer, gain=2.0, generator=seeded(seed))
    assert variance(layer.weight) == pytest.approx(4 * 2 / (fan_in + fan_out), rel=rel)
    recipes.he_normal_(layer, generator=seeded(seed))
    assert variance(layer.weight) == pytest.approx(2 / fan_in, rel=rel)
    recipes.he_uniform_(layer, mode="fan_out", generator=seeded(seed))
    assert variance(layer.weight) == pytest.approx(2 / fan_out, rel=rel)
    recipes.lecun_normal_(layer, generator=seeded(seed))
    assert variance(layer.weight) == pytest.approx(1 / fan_in, rel=rel)


def test_the_xavier_bound_of_1024_to_512_is_a_sixteenth() -> None:
    # Seed 002 prints 0.089 for it; sqrt(6/1536) is 0.0625.
    weight = recipes.xavier_uniform_(torch.empty(512, 1024), generator=seeded())
    assert 0.0624 < float(weight.abs().max()) <= 0.0625
    weight = recipes.he_uniform_(torch.empty(512, 1024), generator=seeded())
    assert 0.0764 < float(weight.abs().max()) <= math.sqrt(6 / 1024)


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (recipes.he_normal_, lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g)),
        (recipes.he_uniform_, lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g)),
        (recipes.xavier_normal_, lambda w, g: nn.init.xavier_normal_(w, generator=g)),
        (recipes.xavier_uniform_, lambda w, g: nn.init.xavier_uniform_(w, generator=g)),
        (recipes.orthogonal_, lambda w, g: nn.init.orthogonal_(w, generator=g)),
    ],
)
@pytest.mark.parametrize("shape", [(20, 30), (8, 4, 3, 3)])
def test_a_seed_draws_what_torch_draws_with_it(ours: Recipe, torchs: Recipe, shape: tuple[int, ...]) -> None:
    assert torch.allclose(ours(torch.empty(shape), generator=seeded(7)), torchs(torch.empty(shape), seeded(7)))


@pytest.mark.parametrize(
    ("nonlinearity", "slope", "squared_gain"),
    [
        ("relu", None, 2.0),
        ("linear", None, 1.0),
        ("leaky_relu", None, 2 / (1 + 0.01**2)),
        ("leaky_relu", 0.2, 2 / (1 + 0.2**2)),
        ("gelu", None, 2.35172),
        ("tanh", None, 1.0),
    ],
)
def test_the_gain_undoes_what_the_activation_takes(nonlinearity: str, slope: float | None, squared_gain: float) -> None:
    assert recipes.he_variance(100, nonlinearity, slope) == pytest.approx(squared_gain / 100, rel=1e-5)
    weight = torch.empty(400, 400)
    recipes.he_normal_(weight, nonlinearity=nonlinearity, negative_slope=slope, generator=seeded())
    assert variance(weight) == pytest.approx(squared_gain / 400, rel=0.02)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(12, 7),
        nn.Conv2d(6, 4, 3, stride=2),
        nn.Conv2d(6, 4, 3, groups=2),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2),
        nn.utils.parametrizations.weight_norm(nn.Linear(12, 7)),
    ],
    ids=str,
)
@pytest.mark.parametrize("recipe", [recipes.xavier_normal_, recipes.xavier_uniform_])
def test_the_mean_of_the_input_is_taken_out_by_the_bias(layer: nn.Module, recipe: Any) -> None:
    recipe(layer, gain=4.8, input_mean=0.5, generator=seeded())
    shape = (2, 12) if hasattr(layer, "in_features") else (2, 6, 9, 9)
    # The sum of a transposed convolution varies with the place in its stride: a kernel of 2 by 2 at a stride of 2 meets
    # each output with one element, so that only the mean over the places is 0.
    out = layer(torch.full(shape, 0.5))
    over = out.mean(dim=(2, 3)) if isinstance(layer, nn.ConvTranspose2d) else out
    torch.testing.assert_close(over, torch.zeros_like(over), atol=1e-5, rtol=0)


def test_without_a_mean_and_without_a_bias_nothing_is_taken_out() -> None:
    layer, bare = nn.Linear(4, 3), nn.Linear(4, 3, bias=False)
    recipes.xavier_normal_(layer)
    assert not layer.bias.any()
    recipes.xavier_normal_(bare, input_mean=0.5)
    assert bare.bias is None
    attention = nn.MultiheadAttention(8, 2)
    recipes.xavier_normal_(attention, input_mean=0.5)
    assert not attention.in_proj_bias.any()


def test_a_transposed_convolution_gets_the_variance_of_the_terms_it_sums() -> None:
    layer = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
    recipes.he_normal_(layer, nonlinearity="linear", generator=seeded())
    x = torch.randn(4, 64, 16, 16, generator=seeded(1))
    # Without padding's edge every output sums 64 channels × 2 × 2 taps.
    inner = layer(x)[:, :, 2:-2, 2:-2]
    assert variance(inner) == pytest.approx(1.0, rel=0.1)
    assert variance(layer.weight) == pytest.approx(1 / (64 * 4), rel=0.05)


def test_an_orthogonal_kernel_has_orthonormal_rows_times_the_gain() -> None:
    layer = recipes.orthogonal_(nn.Conv2d(8, 16, 3), gain=2.0, generator=seeded())
    rows = layer.weight.detach().flatten(1)
    assert torch.allclose(rows @ rows.T, 4 * torch.eye(16), atol=1e-5)
    assert float(layer.get_parameter("bias").detach().abs().max()) == 0


def test_query_key_and_value_of_an_attention_layer_are_matrices_of_their_own() -> None:
    attention = recipes.xavier_normal_(nn.MultiheadAttention(128, 4), generator=seeded())
    for part in (*attention.in_proj_weight.chunk(3), attention.out_proj.weight):
        assert variance(part) == pytest.approx(1 / 128, rel=0.05)
    separate = recipes.xavier_normal_(nn.MultiheadAttention(128, 4, kdim=64, vdim=64), generator=seeded())
    assert variance(separate.k_proj_weight) == pytest.approx(2 / 192, rel=0.05)


def test_the_transposed_linear_layer_of_transformers_is_read_the_right_way_round() -> None:
    class Conv1D(nn.Module):
        def __init__(self, nf: int, nx: int) -> None:
            super().__init__()
            self.nf = nf
            self.weight, self.bias = nn.Parameter(torch.ones(nx, nf)), nn.Parameter(torch.ones(nf))

    layer = recipes.he_normal_(Conv1D(100, 400), generator=seeded())
    assert variance(layer.weight) == pytest.approx(2 / 400, rel=0.05)
    assert float(layer.bias.detach().abs().max()) == 0


def test_the_small_output_starts_a_classifier_near_log_of_the_classes() -> None:
    layer = recipes.small_output_(nn.Linear(256, 10), generator=seeded())
    assert variance(layer.weight) == pytest.approx(0.01**2, rel=0.1)
    loss = nn.functional.cross_entropy(layer(torch.randn(512, 256, generator=seeded(1))), torch.arange(512) % 10)
    assert float(loss.detach()) == pytest.approx(math.log(10), rel=0.02)


@pytest.mark.parametrize(
    ("recipe", "layer", "gates"),
    [
        (recipes.lstm_, nn.LSTM(24, 32, num_layers=2, bidirectional=True), 4),
        (recipes.lstm_, nn.LSTMCell(24, 32), 4),
        (recipes.gru_, nn.GRU(24, 32), 3),
        (recipes.gru_, nn.GRUCell(24, 32), 3),
        (recipes.rnn_, nn.RNN(24, 32), 1),
    ],
)
def test_every_gate_of_a_recurrent_layer_is_initialised_by_itself(recipe: Recipe, layer: nn.Module, gates: int) -> None:
    recipe(layer, generator=seeded())
    for name, parameter in layer.named_parameters():
        parts = parameter.detach().chunk(gates)
        if "weight_hh" in name:
            assert all(torch.allclose(part @ part.T, torch.eye(32), atol=1e-5) for part in parts)
        elif "weight_ih" in name:
            bound = math.sqrt(6 / (parts[0].shape[0] + parts[0].shape[1]))
            assert all(0.95 * bound < float(part.abs().max()) <= bound for part in parts)
        else:
            forget = gates == 4 and "bias_ih" in name
            assert [float(part.mean()) for part in parts] == [float(forget and i == 1) for i in range(gates)]


def test_the_forget_gate_of_an_lstm_starts_open_so_that_its_memory_lasts() -> None:
    layer: Any = recipes.lstm_(nn.LSTM(8, 64), generator=seeded())
    closed = recipes.lstm_(nn.LSTM(8, 64), forget_bias=0.0, generator=seeded())
    state = (torch.zeros(1, 1, 64), torch.ones(1, 1, 64))
    _, (_, memory) = layer(torch.zeros(3, 1, 8), state)
    _, (_, lost) = closed(torch.zeros(3, 1, 8), state)
    # sigmoid(1)³ = 0.39 against sigmoid(0)³ = 0.125 of what was remembered, but for what little is added.
    assert float(memory.mean().detach()) == pytest.approx(0.731**3, abs=0.1)
    assert float(lost.mean().detach()) == pytest.approx(0.125, abs=0.05)


def test_an_lstm_with_a_projection_is_initialised_too() -> None:
    layer: Any = recipes.lstm_(nn.LSTM(24, 32, proj_size=8), generator=seeded())
    assert float(layer.weight_hr_l0.detach().abs().max()) <= math.sqrt(6 / 40)
    columns = layer.weight_hh_l0.detach().chunk(4)[0]
    assert torch.allclose(columns.T @ columns, torch.eye(8), atol=1e-5)


def test_an_embedding_is_standard_normal_but_for_its_padding() -> None:
    table = recipes.embedding_(nn.Embedding(2000, 32, padding_idx=3), std=0.5, generator=seeded())
    assert variance(table.weight[4:]) == pytest.approx(0.25, rel=0.03)
    assert bool((table.weight[3] == 0).all())


def test_a_normalisation_is_as_fresh_ones_are() -> None:
    layer = nn.BatchNorm1d(4)
    layer(torch.randn(8, 4) + 5)
    with torch.no_grad():
        layer.weight.fill_(3)
        layer.bias.fill_(3)
    recipes.normalisation_defaults_(layer)
    fresh = nn.BatchNorm1d(4).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in layer.state_dict().items())
    norm = nn.LayerNorm(4)
    nn.init.zeros_(norm.weight)
    recipes.normalisation_defaults_(nn.Sequential(norm, nn.LayerNorm(4, elementwise_affine=False)))
    assert norm.weight.tolist() == [1.0] * 4


# --- what they keep --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_dtype_layout_and_identity_are_kept(name: str, dtype: torch.dtype) -> None:
    layer: nn.Conv2d = nn.Conv2d(8, 16, 3).to(dtype)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    before = layer.weight
    assert DRAWING[name](layer, generator=seeded()) is layer
    assert layer.weight is before
    assert (layer.weight.dtype, tuple(layer.weight.shape)) == (dtype, (16, 8, 3, 3))
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    # A short format holds the float32 draw, rounded once.
    long = DRAWING[name](nn.Conv2d(8, 16, 3), generator=seeded()).weight
    if dtype != torch.float64:
        assert torch.allclose(layer.weight.detach().float(), long.detach().to(dtype).float(), atol=1e-3)


@pytest.mark.parametrize("name", DRAWING)
def test_nothing_is_recorded_for_autograd_and_gradients_stay(name: str) -> None:
    layer = nn.Linear(6, 4)
    layer(torch.ones(1, 6)).sum().backward()
    gradient = layer.weight.grad
    DRAWING[name](layer)
    assert layer.weight.grad is gradient
    assert layer.weight.grad_fn is None
    assert layer.weight.is_leaf
    assert layer.weight.requires_grad


@pytest.mark.parametrize("name", DRAWING)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=5)
def test_a_generator_decides_alone_and_torchs_own_state_is_left(name: str, seed: int) -> None:
    state = torch.get_rng_state()
    one, other = torch.empty(5, 7), torch.empty(5, 7)
    DRAWING[name](one, generator=seeded(seed))
    DRAWING[name](other, generator=seeded(seed))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_the_global_seed_decides() -> None:
    torch.manual_seed(5)
    one = recipes.he_normal_(torch.empty(4, 4)).clone()
    torch.manual_seed(5)
    assert torch.equal(recipes.he_normal_(torch.empty(4, 4)), one)
    assert not torch.equal(recipes.he_normal_(torch.empty(4, 4)), one)


def test_a_tied_weight_is_drawn_once() -> None:
    tied: Any = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    tied[1].weight = tied[0].weight
    alone: Any = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    recipes.he_normal_(tied, generator=seeded())
    recipes.he_normal_(alone, generator=seeded())
    assert torch.equal(tied[0].weight, alone[0].weight)
    assert torch.equal(tied[2].weight, alone[1].weight)


def test_a_frozen_layer_is_left_alone_unless_asked() -> None:
    model: Any = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[0].requires_grad_(requires_grad=False)
    before = [parameter.detach().clone() for parameter in model[0].parameters()]
    recipes.he_normal_(model)
    assert all(torch.equal(now, then) for now, then in zip(model[0].parameters(), before, strict=True))
    recipes.he_normal_(model, frozen=True)
    assert not torch.equal(model[0].weight, before[0])
    assert float(model[0].bias.abs().max()) == 0
    assert not model[0].weight.requires_grad


def test_layers_of_other_kinds_inside_a_model_are_left_alone() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "rnn": nn.LSTM(4, 4), "fc": nn.Linear(4, 4)})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipes.xavier_uniform_(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_weight_under_weight_norm_is_given_its_value_through_the_parametrization() -> None:
    layer = parametrizations.weight_norm(nn.Linear(400, 300))
    recipes.he_normal_(layer, generator=seeded())
    assert variance(layer.weight) == pytest.approx(2 / 400, rel=0.02)
    plain = recipes.he_normal_(nn.Linear(400, 300), generator=seeded())
    assert torch.allclose(layer.weight, plain.weight, atol=1e-6)


# --- bad input -------------------------------------------------------------------------------------------------------


def frozen_linear() -> nn.Linear:
    return nn.Linear(2, 2).requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: recipes.he_normal_(nn.ReLU()), r"he_normal_: ReLU has no linear, convolutional or attention layer"),
        (lambda: recipes.he_normal_(frozen_linear()), r"frozen \(requires_grad=False, 1 in all\).*frozen=True"),
        (lambda: recipes.he_normal_(frozen_linear().weight), r"parameter is frozen.*frozen=True"),
        (lambda: recipes.he_normal_(torch.empty(3)), r"2 dimensions or more, got shape \(3,\)"),
        (lambda: recipes.he_normal_(torch.empty(2, 2, dtype=torch.int)), r"floating dtype, got torch.int32"),
        (lambda: recipes.he_normal_(nn.LazyLinear(3)), r"weight belongs to a lazy layer.*Run one forward"),
        (lambda: recipes.he_normal_(nn.Linear(2, 2), mode="fan"), r'mode must be "fan_in" or "fan_out", got \'fan\''),
        (
            lambda: recipes.he_normal_(nn.Linear(2, 2), nonlinearity="relo"),
            r'nonlinearity must be "relu" or .*\'relo\'',
        ),
        (lambda: recipes.he_normal_(nn.Linear(2, 2), negative_slope=math.nan), r"negative_slope must be a finite"),
        (lambda: recipes.xavier_normal_(nn.Linear(2, 2), input_mean=math.inf), r"input_mean must be a finite number"),
        (lambda: recipes.xavier_normal_(nn.Linear(2, 2), gain=0.0), r"gain must be a positive finite number, got 0.0"),
        (lambda: recipes.small_output_(nn.Linear(2, 2), std=-1), r"std must be a positive finite number, got -1"),
        (lambda: recipes.small_output_(nn.Sequential(nn.Linear(2, 2))), r"Sequential has no linear"),
        (lambda: recipes.lstm_(nn.GRU(2, 2)), r"lstm_: GRU has no LSTM"),
        (lambda: recipes.gru_(nn.GRU(2, 2).requires_grad_(requires_grad=False)), r"every GRU of GRU is frozen"),
        (lambda: recipes.embedding_(nn.Linear(2, 2)), r"embedding_: Linear has no embedding"),
        (lambda: recipes.normalisation_defaults_(nn.Linear(2, 2)), r"Linear has no normalisation"),
        (lambda: recipes.rescale_factors(0, 4), r"block must be a whole number from 1 to blocks=4, got 0"),
        (lambda: recipes.rescale_factors(1, 0), r"blocks must be a whole number from 1, got 0"),
        (lambda: recipes.fixup_scale(0, 2), r"fixup_scale: blocks must be a whole number from 1, got 0"),
        (lambda: recipes.gpt_std(0), r"gpt_std: additions must be a whole number from 1, got 0"),
        (lambda: recipes.lstm_(nn.LSTM(2, 2), forget_bias=math.inf), r"forget_bias must be a finite number, got inf"),
        (lambda: recipes.he_normal_(nn.Linear(2, 2, device="meta")), r"weight is on the meta device.*to_empty"),
        (lambda: recipes.embedding_(nn.Embedding(2, 2, device="meta")), r"embedding_: weight is on the meta device"),
        (lambda: recipes.he_normal_(nn.Linear(2, 2, dtype=torch.complex64)), r"floating dtype, got torch.complex64"),
        (lambda: recipes.lstm_(weight_norm(nn.LSTM(2, 2), "weight_hh_l0")), r"weight_hh_l0 of .*LSTM is no parameter"),
    ],
)
def test_what_cannot_be_initialised_is_refused_in_words(call: Callable[[], object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        call()


@pytest.mark.parametrize(
    "recipe", [*DRAWING.values(), recipes.lstm_, recipes.embedding_, recipes.normalisation_defaults_]
)
def test_something_that_is_neither_tensor_nor_module_is_a_type_error(recipe: Recipe) -> None:
    with pytest.raises(TypeError, match="got dict"):
        recipe({})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_of_the_old_weight_norm_is_refused_with_what_to_use_instead() -> None:
    layer = nn.utils.weight_norm(nn.Linear(2, 2))
    with pytest.raises(RecipeError, match=r"weight is not a parameter.*parametrizations"):
        recipes.he_normal_(layer)


def test_a_refused_call_changes_nothing() -> None:
    layer = nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    with pytest.raises(RecipeError):
        recipes.he_normal_(layer, mode="both")
    assert torch.equal(layer.weight, before)


# --- fans, parametrizations, sources of random numbers ---------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 4, 64])
def test_a_grouped_or_depthwise_convolution_keeps_the_variance_both_ways(groups: int) -> None:
    layer = recipes.xavier_normal_(nn.Conv2d(64, 64, 3, groups=groups, bias=False), generator=seeded())
    x = torch.randn(16, 64, 12, 12, generator=seeded(1), requires_grad=True)
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=seeded(2)))
    assert x.grad is not None
    # 576 weights of a depthwise layer scatter by sqrt(2/576), 6 %; padding is none, so the inner places are looked at.
    assert variance(y) == pytest.approx(1, rel=0.2)
    assert variance(x.grad[:, :, 2:-2, 2:-2]) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 4), (1, 2)])
def test_he_by_fan_out_keeps_the_gradient_of_a_convolution_with_a_stride(kernel: int, stride: int) -> None:
    layer = recipes.he_normal_(nn.Conv2d(32, 64, kernel, stride, bias=False), mode="fan_out", generator=seeded())
    x = torch.randn(16, 32, 33, 33, generator=seeded(1), requires_grad=True)
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=seeded(2)))
    assert x.grad is not None
    inner = x.grad[:, :, 4:-5, 4:-5][..., : 24 // stride * stride, : 24 // stride * stride]
    assert variance(inner) == pytest.approx(2, rel=0.1)


def test_an_embedding_under_weight_normalisation_is_drawn_and_its_padding_row_as_zero_as_can_be() -> None:
    table = recipes.embedding_(weight_norm(nn.Embedding(200, 64)), std=5.0, generator=seeded())
    assert float(table.weight.detach().std()) == pytest.approx(5, rel=0.05)


def test_a_parametrization_that_does_not_hold_the_scale_is_told() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(64, 64))
    with pytest.warns(InitMonitorWarning, match=r"parametrization of weight does not keep the scale.*the recipe gives"):
        recipes.small_output_(layer, generator=seeded())


@pytest.mark.parametrize("recipe", [*DRAWING.values(), recipes.embedding_, recipes.lstm_])
def test_a_bare_seed_is_no_generator_and_nothing_is_changed(recipe: Recipe) -> None:
    layer = (
        nn.Embedding(4, 4)
        if recipe is recipes.embedding_
        else nn.LSTM(4, 4)
        if recipe is recipes.lstm_
        else nn.Linear(4, 4)
    )
    before = [parameter.clone() for parameter in layer.parameters()]
    with pytest.raises(TypeError, match=r"generator must be a torch.Generator, got int.*manual_seed"):
        recipe(layer, generator=3)
    assert all(map(torch.equal, layer.parameters(), before))


def test_a_frozen_integer_weight_does_not_keep_the_others_from_being_drawn() -> None:
    quantised = nn.Linear(4, 4)
    quantised.weight = nn.Parameter(torch.ones(4, 4, dtype=torch.int8), requires_grad=False)
    model = nn.Sequential(quantised, nn.Linear(64, 64))
    recipes.he_normal_(model, generator=seeded())
    assert bool((quantised.weight == 1).all())
    assert variance(model.get_parameter("1.weight")) == pytest.approx(2 / 64, rel=0.1)
    with pytest.raises(RecipeError, match=r"0.weight must be of a floating dtype, got torch.int8"):
        recipes.he_normal_(model, frozen=True)


def test_the_gain_of_hardswish_is_one_over_its_second_moment() -> None:
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    moment = torch.trapezoid(nn.functional.hardswish(z).square() * density, z)
    assert recipes.he_variance(1.0, "hardswish") == pytest.approx(float(1 / moment), rel=1e-4)
