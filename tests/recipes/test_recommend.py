"""`recommend`: the guideline table of seed 002 rule by rule, and the plan as table, code, deed and comparison."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from models import Block, add, mlp
from rich.console import Console
from test_networks import TOKENS, Language, OwnFactor, ScaledBlock
from torch import nn

import init_monitor
from init_monitor import InitMonitorError, recipes
from init_monitor.analysis.initialiser import stream_std
from init_monitor.records.plan import LayerPlan, Place

if TYPE_CHECKING:
    from init_monitor import InitPlan


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planned(model: nn.Module, batch: Any) -> dict[str, LayerPlan]:
    return {plan.layer: plan for plan in init_monitor.recommend(model, batch, style="theory").layers}


def variance(tensor: torch.Tensor) -> float:
    return float(tensor.detach().double().var(correction=0))


# --- the table of seed 002 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "squared_gain"), [(nn.ReLU(), 2.0), (nn.LeakyReLU(), 2 / 1.0001), (nn.PReLU(), 2 / (1 + 0.25**2))]
)
def test_linear_before_a_relu_or_its_relatives_gets_he(activation: nn.Module, squared_gain: float) -> None:
    plan = planned(nn.Sequential(nn.Linear(300, 200), activation, nn.Linear(200, 5)), torch.randn(8, 300))["0"]
    assert (plan.recipe, plan.place) == ("he_normal_", Place.HIDDEN)
    assert plan.target_variance == pytest.approx(squared_gain / 300, rel=1e-3)
    assert type(activation).__name__ in plan.reason
    assert "He et al. 2015" in plan.source


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Sigmoid(), nn.Identity()])
def test_linear_before_tanh_sigmoid_or_nothing_gets_xavier(activation: nn.Module) -> None:
    plan = planned(nn.Sequential(nn.Linear(300, 200), activation, nn.Linear(200, 5)), torch.randn(8, 300))["0"]
    assert plan.recipe == "xavier_normal_"
    assert plan.target_variance == pytest.approx(2 / 500)
    assert "Glorot" in plan.source


@pytest.mark.parametrize("slope", [0.01, 0.3])
def test_a_convolution_before_a_relu_or_a_leaky_one_gets_he(slope: float) -> None:
    x = torch.randn(2, 3, 8, 8)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.LeakyReLU(slope), nn.Conv2d(4, 2, 1))
    plans = planned(net, x)
    assert [plans[name].recipe for name in ("0", "2")] == ["he_normal_"] * 2
    assert plans["0"].target_variance == pytest.approx(2 / 27)
    assert plans["2"].target_variance == pytest.approx(2 / (1 + slope**2) / 36)


def test_batch_and_layer_norm_get_weight_1_and_bias_0() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.LayerNorm(6), nn.Linear(6, 2))
    x = torch.randn(8, 6)
    plans = planned(model, x)
    for name in ("1", "3"):
        assert (plans[name].recipe, plans[name].place) == ("normalisation_defaults_", Place.NORMALISATION)
        nn.init.constant_(model.get_submodule(name).get_parameter("weight"), 7.0)
    init_monitor.recommend(model, x, style="theory").apply_()
    assert model.get_parameter("1.weight").tolist() == model.get_parameter("3.weight").tolist() == [1.0] * 6
    assert plans["0"].scale_free
    assert "behind a normalisation" in plans["0"].reason


def test_an_embedding_gets_a_standard_normal() -> None:
    model = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(32, 5))
    plan = planned(model, torch.arange(8).view(2, 4))["0"]
    assert (plan.recipe, plan.place, plan.target_variance) == ("embedding_", Place.EMBEDDING, 1.0)


@pytest.mark.parametrize(("kind", "recipe"), [(nn.LSTM, "lstm_"), (nn.GRU, "gru_"), (nn.RNN, "rnn_")])
def test_lstm_and_gru_get_orthogonal_recurrent_and_xavier_input_weights(kind: type[nn.Module], recipe: str) -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = kind(16, 32), nn.Linear(32, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.rnn(x)[0])
            return out

    model, x = Tagger(), torch.randn(5, 2, 16)
    plan = planned(model, x)["rnn"]
    assert (plan.recipe, plan.parameter) == (recipe, "rnn.weight_ih_l0")
    assert plan.target_variance == pytest.approx(2 / 48)
    init_monitor.recommend(model, x, style="theory").apply_(generator=seeded())
    gate = model.get_parameter("rnn.weight_hh_l0").detach()[:32]
    assert torch.allclose(gate @ gate.T, torch.eye(32), atol=1e-5)
    assert variance(model.get_parameter("rnn.weight_ih_l0")) == pytest.approx(2 / 48, rel=0.1)


@pytest.mark.parametrize("end", [None, nn.Softmax(dim=-1), nn.LogSoftmax(dim=-1)])
def test_a_wide_output_layer_before_softmax_or_nothing_gets_small_weights(end: nn.Module | None) -> None:
    tail = [] if end is None else [end]
    plan = planned(nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 100), *tail), torch.randn(8, 6))["2"]
    assert (plan.recipe, plan.place) == ("small_output_", Place.OUTPUT)
    assert plan.target_variance == pytest.approx(0.01**2)


def test_a_narrow_output_layer_gets_what_keeps_the_gradient_and_so_does_one_that_xavier_makes_smaller_still() -> None:
    narrow = planned(nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 10)), torch.randn(8, 6))["2"]
    assert (narrow.recipe, narrow.place, narrow.target_variance) == ("xavier_normal_", Place.OUTPUT, 2 / 74)
    plan = planned(nn.Linear(100, 20_000), torch.randn(2, 100))[""]
    assert (plan.recipe, plan.place) == ("xavier_normal_", Place.OUTPUT)
    assert plan.target_variance < 0.01**2


def test_the_last_layer_of_a_residual_block_starts_at_zero() -> None:
    class ResidualBlock(nn.Module):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = x + self.layers(x)
            return out

    model, x = nn.Sequential(ResidualBlock(16), ResidualBlock(16)), torch.randn(4, 16)
    plans = planned(model, x)
    assert [plans[f"{i}.layers.2"].place for i in (0, 1)] == [Place.RESIDUAL_END] * 2
    assert plans["0.layers.2"].target_variance == 0
    assert plans["0.layers.0"].recipe == "he_normal_"
    init_monitor.recommend(model, x, style="theory").apply_()
    assert torch.equal(model(x), x)


@pytest.mark.parametrize(("width", "std"), [(768, 0.02), (16, math.sqrt(2 / (5 * 16)))])
def test_a_transformer_gets_small_weights_and_what_writes_into_its_stream_less_by_the_root_of_its_additions(
    width: int, std: float
) -> None:
    plans = planned(Language(blocks=3, width=width), TOKENS)
    assert plans["body.layers.1.linear1"].options == {"std": std}
    assert plans["body.layers.1.self_attn"].options == {"std": std}
    assert ("of only 16 units" in plans["body.layers.1.linear1"].reason) == (width == 16)
    for writer in ("self_attn.out_proj", "linear2"):
        plan = plans[f"body.layers.1.{writer}"]
        assert plan.place is Place.RESIDUAL_END
        assert plan.target_variance == pytest.approx(std**2 / 6)
        assert "6 additions" in plan.reason
    assert plans["embed"].target_variance == pytest.approx(std**2)
    assert plans["head"].recipe == ("small_output_" if width == 16 else "xavier_normal_")


# --- beyond the table ------------------------------------------------------------------------------------------------


def test_selu_gets_lecun_and_gelu_the_gain_of_its_own() -> None:
    net = nn.Sequential(nn.Linear(100, 100), nn.SELU(), nn.Linear(100, 100), nn.GELU(), nn.Linear(100, 2))
    plans = planned(net, torch.randn(8, 100))
    assert plans["0"].recipe == "lecun_normal_"
    assert plans["0"].target_variance == pytest.approx(0.01)
    assert plans["2"].target_variance == pytest.approx(0.023517, rel=1e-4)


def test_a_tied_weight_is_planned_once_and_small() -> None:
    model = Language()
    model.head.weight = model.embed.weight
    plan = init_monitor.recommend(model, TOKENS, style="theory")
    plans = {one.layer: one for one in plan.layers}
    assert plans["embed"].options == {"std": stream_std(64)}
    assert plans["head"].recipe == ""
    assert "tied to embed.weight" in plans["head"].reason
    assert plan.left == ()


def test_a_frozen_layer_is_in_the_plan_but_left_as_it_is() -> None:
    model = mlp(1, 8)
    model[0].requires_grad_(requires_grad=False)
    before = model.get_parameter("0.weight").clone()
    plan = init_monitor.recommend(model, torch.randn(4, 8), style="theory")
    assert (plan.layers[0].recipe, plan.layers[0].fits) == ("", True)
    assert "frozen" in plan.layers[0].reason
    plan.apply_()
    assert torch.equal(model.get_parameter("0.weight"), before)


def test_what_no_recipe_knows_is_named_and_left() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.ones(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.kernel

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift, self.mixer, self.fc = nn.Parameter(torch.zeros(8)), Mixer(), nn.Linear(8, 2)
            self.unused = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(self.mixer(x + self.shift))
            return out

    plan = init_monitor.recommend(Net(), torch.randn(4, 8), style="theory")
    assert plan.left == ("shift", "mixer.kernel", "unused.weight", "unused.bias")
    assert "Mixer is not a layer that a recipe knows" in plan.layers[0].reason
    assert "shift, mixer.kernel, unused.weight … (4 in all)" in " ".join(str(plan).split())


def test_where_the_forward_scales_the_addition_the_branch_gets_the_variance_of_the_skip() -> None:
    model = nn.Sequential(*(ScaledBlock(256, recipes.halved_sum) for _ in range(12)))
    x = torch.randn(128, 256, generator=seeded())
    init_monitor.recommend(model, x, style="theory").apply_(generator=seeded())
    assert variance(model(x)) == pytest.approx(1, rel=0.35)


def test_a_variance_fits_within_a_factor_of_one_and_a_half() -> None:
    def plan(now: float, target: float) -> LayerPlan:
        return LayerPlan("a", "Linear", Place.HIDDEN, "a.weight", now, target, "he_normal_")

    assert plan(1.0, 1.4).fits
    assert plan(1.4, 1.0).fits
    assert not plan(1.0, 1.6).fits
    assert not plan(1.6, 1.0).fits
    assert not plan(1.0, 0.0).fits
    assert plan(0.0, 0.0).fits
    assert plan(math.nan, 1.0).fits


# --- what can be done with a plan ------------------------------------------------------------------------------------


def attention() -> tuple[nn.Module, torch.Tensor]:
    return Language(), TOKENS


def tower() -> tuple[nn.Module, torch.Tensor]:
    layers = [
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 2, stride=2),
        nn.GELU(),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 4, 3)),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(4 * 14 * 14, 16),
        nn.SELU(),
        nn.Linear(16, 5),
    ]
    return nn.Sequential(*layers), torch.randn(2, 3, 8, 8)


def recurrent() -> tuple[nn.Module, torch.Tensor]:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 8, padding_idx=0)
            self.lstm, self.gru, self.rnn = nn.LSTM(8, 12, proj_size=6), nn.GRU(6, 7), nn.RNN(7, 5)
            self.head = nn.Linear(5, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.rnn(self.gru(self.lstm(self.embed(tokens))[0])[0])[0])
            return out

    return Reader(), TOKENS


def residual() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.Linear(8, 8), Block(8, add), Block(8, add), nn.Linear(8, 2)), torch.randn(4, 8)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("made", [attention, tower, recurrent, residual])
def test_the_code_does_what_apply_does_draw_for_draw(made: Any) -> None:
    model, batch = made()
    plan = init_monitor.recommend(model, batch, style="theory")
    copied = copy.deepcopy(model)
    names: dict[str, Any] = {}
    exec(compile(plan.to_code(), "plan", "exec"), names)  # noqa: S102 - it is the code a user is asked to paste
    names["initialise"](copied, seeded(4))
    assert plan.apply_(generator=seeded(4)) is plan
    for (name, ours), pasted in zip(model.state_dict().items(), copied.state_dict().values(), strict=True):
        assert torch.allclose(ours, pasted, rtol=1e-4, atol=1e-7), name


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("made", [attention, tower, recurrent, residual])
def test_after_apply_every_layer_has_the_variance_it_was_to_have(made: Any) -> None:
    model, batch = made()
    init_monitor.recommend(model, batch, style="theory").apply_(generator=seeded(4))
    for plan in init_monitor.recommend(model, batch, style="theory").layers:
        if not math.isnan(plan.target_variance):
            # Small weights scatter: at most 3 standard deviations of a variance of n draws.
            scatter = 3 * math.sqrt(2 / model.get_parameter(_held(model, plan.parameter)).numel())
            assert plan.current_variance == pytest.approx(plan.target_variance, rel=scatter, abs=1e-12), plan.layer


def _held(model: nn.Module, name: str) -> str:
    """The name of the parameter itself where a parametrization computes the weight."""
    known = dict(model.named_parameters())
    return name if name in known else f"{name.removesuffix('.weight')}.parametrizations.weight.original1"


@pytest.mark.parametrize("made", [attention, tower, residual])
def test_neither_recommending_nor_comparing_touches_anything(made: Any) -> None:
    model, batch = made()
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    plan = init_monitor.recommend(model, batch, style="theory")
    plan.compare(batch)
    assert str(plan)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_generator_alone_decides_what_apply_draws() -> None:
    model, batch = residual()
    plan, state = init_monitor.recommend(model, batch, style="theory"), torch.get_rng_state()
    plan.apply_(generator=seeded(1))
    first = [parameter.detach().clone() for parameter in model.parameters()]
    plan.apply_(generator=seeded(1))
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), first, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def exploding() -> tuple[InitPlan, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(64, 128)
    return init_monitor.recommend(mlp(10, 128, nn.init.normal_), x, style="theory"), x


def test_the_comparison_shows_the_explosion_cured() -> None:
    plan, x = exploding()
    comparison = plan.compare(x)
    # N(0, 1) weights: 64-fold per ReLU layer, ten of them; afterwards the output layer sets the range.
    assert comparison.range_of(comparison.before) > 64**9
    assert comparison.range_of(comparison.after) < 1e4
    hidden = [layer.forward.variance for layer in list(comparison.after.record)[:-1]]
    assert max(hidden) / min(hidden) < 10
    assert comparison.range_of(comparison.after, backward=True) < comparison.range_of(comparison.before, backward=True)
    text = str(comparison)
    assert "Signal propagation before and after" in text
    assert len(text.splitlines()) >= 22


def test_the_range_of_a_signal_leaves_out_branches_that_a_plan_starts_at_zero() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(16, 16), *(Block(16, add) for _ in range(6))), torch.randn(64, 16)
    comparison = init_monitor.recommend(model, x, style="theory").compare(x)
    ends = [one.forward.variance for one in comparison.after.record if one.forward.variance == 0]
    assert len(ends) == 6
    assert comparison.range_of(comparison.after) < 10
    assert comparison.range_of(comparison.after, backward=True) < math.inf
    silent = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    nn.init.zeros_(silent.get_parameter("0.weight"))
    nn.init.zeros_(silent.get_parameter("0.bias"))
    comparison = init_monitor.recommend(silent, x, style="theory").compare(x)
    assert comparison.range_of(comparison.before) == math.inf


def test_the_table_says_what_is_how_it_should_be_and_why() -> None:
    plan, _ = exploding()
    text = str(plan)
    assert len(plan) == 11
    assert len(plan.misfits) == 11
    assert plan.verdict.startswith("0 of 11 layers have the weight variance they need; 11 would be changed")
    assert "he_normal_" in text
    assert "0.0156" in text
    assert "(1) ReLU follows, which takes 50% of the mean square away. [He et al. 2015, Eq. 10]" in text
    assert "0 of 11 layers" in text


def test_the_table_is_ascii_where_the_terminal_is() -> None:
    import io

    plan, x = exploding()
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", write_through=True), width=90)
    console.print(plan)
    console.print(plan.compare(x))
    assert raw.getvalue().isascii()
    assert b"he_normal_" in raw.getvalue()


def test_a_deep_network_is_folded_to_a_screen() -> None:
    model = mlp(100, 4)
    model(torch.randn(2, 4))
    recipes.he_normal_(model)
    text = str(init_monitor.recommend(model, torch.randn(8, 4), style="theory"))
    assert "more layers" in text
    assert len(text.splitlines()) < 60


def test_a_network_without_weights_has_nothing_to_plan() -> None:
    plan = init_monitor.recommend(nn.Sequential(nn.ReLU(), nn.Tanh()), torch.randn(4, 4, requires_grad=True))
    assert len(plan) == 0
    assert plan.verdict == "There is no layer that a recipe could initialise."
    assert "nothing to initialise" in plan.to_code()
    exec(compile(plan.to_code(), "plan", "exec"), {})  # noqa: S102 - it is the code a user is asked to paste
    assert str(plan)


def test_a_plan_takes_what_check_takes_as_a_batch() -> None:
    x, y = torch.randn(8, 6), torch.randint(0, 3, (8,))
    model = mlp(1, 6, classes=3)
    plan = init_monitor.recommend(model, (x, y), nn.functional.cross_entropy, style="theory")
    assert [one.recipe for one in plan.layers] == ["he_normal_", "xavier_normal_"]
    with pytest.raises(TypeError, match=r"recommend\(model, batch\) needs a torch.nn.Module as its model, got int"):
        init_monitor.recommend(3, x, style="theory")  # type: ignore[arg-type]
    with pytest.raises(InitMonitorError, match=r"recommend\(model, batch\): loss_fn returned Tensor of shape \(8, 3\)"):
        init_monitor.recommend(model, x, lambda out: out, style="theory")


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_is_planned_by_the_names_of_the_model_itself() -> None:
    model = torch.compile(mlp(1, 6, classes=3), backend="eager")
    plan = init_monitor.recommend(model, torch.randn(8, 6), style="theory")  # type: ignore[arg-type]
    assert [one.layer for one in plan.layers] == ["0", "2"]
    plan.apply_()


# --- a good default is not mended into something worse ---------------------------------------------------------------


@pytest.mark.parametrize("start", [0.0, 1e-6])
def test_a_branch_that_a_factor_of_its_own_starts_small_keeps_its_weights_so_that_both_can_learn(start: float) -> None:
    model, x = (
        nn.Sequential(nn.Linear(8, 8), OwnFactor(8, start), OwnFactor(8, start), nn.Linear(8, 2)),
        torch.randn(32, 8),
    )
    plan = init_monitor.recommend(model, x, style="theory")
    end = {one.layer: one for one in plan.layers}["1.second"]
    assert (end.place, end.recipe) == (Place.RESIDUAL_END, "xavier_normal_")
    assert "LayerScale, ReZero" in end.reason
    plan.apply_(generator=seeded())
    model(x).square().sum().backward()
    for block in (1, 2):
        gradient = model.get_parameter(f"{block}.factor").grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0


def test_an_end_that_is_zero_beside_a_factor_of_its_own_is_left_at_zero() -> None:
    model, x = nn.Sequential(OwnFactor(8, 1.0), nn.Linear(8, 2)), torch.randn(4, 8)
    nn.init.zeros_(model.get_parameter("0.second.weight"))
    plan = {one.layer: one for one in init_monitor.recommend(model, x, style="theory").layers}["0.second"]
    assert (plan.recipe, plan.fits) == ("", True)


def test_a_gate_whose_bias_was_chosen_is_left_but_constant_weights_are_not() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2))
    nn.init.constant_(model.get_parameter("0.bias"), 1.0)
    plan = planned(model, torch.randn(4, 8))["0"]
    assert plan.recipe == ""
    assert "as in a gate" in plan.reason
    nn.init.constant_(model.get_parameter("0.weight"), 1.0)
    assert planned(model, torch.randn(4, 8))["0"].recipe == "xavier_normal_"


def test_spectral_normalisation_sets_the_scale_itself_and_recommending_moves_none_of_its_buffers() -> None:
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 2))
    x, before = torch.randn(8, 16), {name: value.clone() for name, value in model.state_dict().items()}
    plan = init_monitor.recommend(model, x, style="theory")
    plan.compare(x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert plan.layers[0].recipe == ""
    assert "parametrization sets the scale" in plan.layers[0].reason


def test_a_weight_that_holds_no_floating_numbers_is_left_and_said_so() -> None:
    class Quantised(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.weight.float() / 127).T

    class Real(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.real

    quantised = Quantised(4, 4, bias=False)
    quantised.weight = nn.Parameter(torch.ones(4, 4, dtype=torch.int8), requires_grad=False)
    model = nn.Sequential(nn.Linear(4, 4, dtype=torch.complex64), Real(), quantised, nn.Linear(4, 2))
    plan = init_monitor.recommend(model, torch.randn(8, 4, dtype=torch.complex64), style="theory")
    assert plan.left == ("0.weight", "0.bias")
    assert [(one.layer, one.recipe) for one in plan.layers] == [("2", ""), ("3", "xavier_normal_")]
    assert "torch.int8" in plan.layers[0].reason


class ChannelAttention(nn.Module):
    """Weighs the channels of a feature map; linear layers, and no transformer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 4), nn.Linear(4, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.up(torch.relu(self.down(x.mean(dim=(2, 3))))))
        return x * gate[:, :, None, None]


def test_attention_over_channels_does_not_make_a_convolutional_network_a_transformer() -> None:
    class Convolutional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.attn, self.last = nn.Conv2d(8, 8, 3, padding=1), ChannelAttention(8), nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = x + self.last(self.attn(torch.relu(self.conv(x))))
            return out

    plans = planned(
        nn.Sequential(Convolutional(), Convolutional(), nn.Flatten(), nn.Linear(512, 3)), torch.randn(2, 8, 8, 8)
    )
    assert plans["0.conv"].recipe == "he_normal_"
    assert plans["0.last"].recipe == "zero_init_residual_"
    assert not any("transformer" in plan.reason for plan in plans.values())


class Attention(nn.Module):
    """Self-attention from linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        out: torch.Tensor = self.out(nn.functional.scaled_dot_product_attention(q, k, v))
        return out


def test_a_post_norm_transformer_whose_parts_add_for_themselves_is_a_transformer_throughout() -> None:
    class AddNorm(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.dense, self.norm = nn.Linear(width, 16), nn.LayerNorm(16)

        def forward(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.norm(self.dense(h) + x)
            return out

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.first = Attention(16), AddNorm(16)
            self.wide, self.second = nn.Linear(16, 64), AddNorm(64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(self.attention(x), x)
            out: torch.Tensor = self.second(nn.functional.gelu(self.wide(x)), x)
            return out

    plans = planned(
        nn.Sequential(nn.Embedding(20, 16), Layer(), Layer(), nn.Linear(16, 20)), torch.arange(8).view(2, 4)
    )
    for name in ("attention.qkv", "wide", "first.dense", "second.dense"):
        plan = plans[f"1.{name}"]
        assert (plan.recipe, plan.options["std"]) == ("gpt_", recipes.width_std(16))
        assert plan.reason.startswith("It lies in a transformer block")


def test_the_code_draws_for_groups_and_strides_what_apply_draws() -> None:
    layers = [nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 4, 1), nn.Flatten()]
    model, x = nn.Sequential(*layers, nn.Linear(64, 3)), torch.randn(2, 3, 16, 16)
    plan, copied = init_monitor.recommend(model, x, style="theory"), copy.deepcopy(model)
    # 9 terms in and 9 out, not the 144 that the shape suggests; 48 in, and 256/16 out of each input.
    assert [one.target_variance for one in plan.layers[:2]] == pytest.approx([2 / (48 + 16), 2 / 18])
    names: dict[str, Any] = {}
    exec(compile(plan.to_code(), "plan", "exec"), names)  # noqa: S102 - it is the code a user is asked to paste
    names["initialise"](copied, seeded(4))
    plan.apply_(generator=seeded(4))
    assert all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(model.parameters(), copied.parameters(), strict=True)
    )


def test_a_normalisation_of_its_own_class_is_left_for_a_reason_that_is_true() -> None:
    class MyRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / x.square().mean(-1, keepdim=True).sqrt() * (1 + self.weight)

    plan = planned(nn.Sequential(nn.Linear(8, 8), MyRMSNorm(), nn.Linear(8, 2)), torch.randn(4, 8))["1"]
    assert plan.recipe == ""
    assert "not known whether its weight starts at 1 or at 0" in plan.reason
