"""A plan keeps what is healthy, changes what is measured to be off, and drops a change that does not help."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

import init_monitor
from init_monitor.analysis.initialiser import stream_std
from init_monitor.analysis.start_faults import FAR, start_faults
from init_monitor.capture.single_pass import rehearse
from init_monitor.errors import OptionError
from init_monitor.measured_plan import KEPT
from init_monitor.recipes.weight_scale import default_variance


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stack(depth: int, activation: type[nn.Module] = nn.ReLU, width: int = 64) -> Any:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


class Added(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + cast("Tensor", self.body(x))


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.read(x).chunk(3, -1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return cast("Tensor", self.write(mixed))


def pre_norm_transformer(blocks: int = 3, width: int = 32) -> Any:
    body: list[nn.Module] = []
    for _ in range(blocks):
        feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        body += [Added(nn.Sequential(nn.LayerNorm(width), Attention(width))), Added(feed)]
    return nn.Sequential(nn.Linear(8, width), *body, nn.LayerNorm(width), nn.Linear(width, 10))


def pre_activation_resnet(blocks: int = 4) -> nn.Sequential:
    def unit() -> list[nn.Module]:
        return [nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False)]

    body = [Added(nn.Sequential(*unit(), *unit())) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(1, 8, 3), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


class Memory(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.core: Any
        self.core, self.head = kind(8, 32, batch_first=True), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.head(self.core(x)[0][:, -1]))


HEALTHY: dict[str, tuple[Any, tuple[int, ...]]] = {
    "pre-norm transformer": (pre_norm_transformer, (16, 6, 8)),
    "pre-activation ResNet": (pre_activation_resnet, (16, 1, 8, 8)),
    "torch's encoder": (lambda: nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True), (8, 5, 16)),
    "LSTM": (lambda: Memory(nn.LSTM), (16, 7, 8)),
    "GRU": (lambda: Memory(nn.GRU), (16, 7, 8)),
    "two layers": (lambda: stack(1), (32, 64)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_healthy_as_it_is_is_kept(name: str) -> None:
    make, shape = HEALTHY[name]
    torch.manual_seed(0)
    model, x = make(), torch.randn(shape, generator=seeded(1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plan = init_monitor.recommend(model, x)
    assert [layer.layer for layer in plan.layers if layer.recipe] == []
    assert any(layer.reason == KEPT for layer in plan.layers)
    plan.apply_(generator=seeded())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert "nothing to initialise" in plan.to_code()
    textbook = init_monitor.recommend(model, x, style="theory")
    assert any(layer.recipe for layer in textbook.layers)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh])
def test_a_stack_that_fades_gets_the_textbook(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = stack(8, activation), torch.randn(64, 64, generator=seeded(1))
    plan, textbook = init_monitor.recommend(model, x), init_monitor.recommend(model, x, style="theory")
    assert [layer.recipe for layer in plan.layers] == [layer.recipe for layer in textbook.layers]
    assert all("falls by" in layer.reason for layer in plan.layers)
    signal = plan.compare(x)
    assert signal.range_of(signal.after, backward=True) < signal.range_of(signal.before, backward=True) / 100


def test_one_weight_far_from_every_usual_one_is_changed_alone() -> None:
    torch.manual_seed(0)
    model, x = pre_norm_transformer(), torch.randn(16, 6, 8, generator=seeded(1))
    with torch.no_grad():
        model[3].body[1].write.weight.mul_(30)
    plan = init_monitor.recommend(model, x)
    assert [layer.layer for layer in plan.layers if layer.recipe] == ["3.body.1.write"]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_weights_are_looked_at_too(kind: Any) -> None:
    torch.manual_seed(0)
    model, x = Memory(kind), torch.randn(16, 7, 8, generator=seeded(1))
    with torch.no_grad():
        model.core.weight_hh_l0.mul_(30)
    assert [layer.layer for layer in init_monitor.recommend(model, x).layers if layer.recipe] == ["core"]


def test_layers_of_one_number_are_drawn() -> None:
    model, x = stack(3), torch.randn(32, 64, generator=seeded(1))
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.fill_(0.05)
    plan = init_monitor.recommend(model, x)
    assert all(layer.recipe for layer in plan.layers)


def test_zeros_that_are_a_healthy_start_stay() -> None:
    torch.manual_seed(0)
    model, x = pre_norm_transformer(), torch.randn(16, 6, 8, generator=seeded(1))
    with torch.no_grad():
        for block in model[1:7]:
            end = block.body[-1].write if isinstance(block.body[-1], Attention) else block.body[-1]
            end.weight.zero_()
            end.bias.zero_()
        model[-1].weight.zero_()
    assert [layer.layer for layer in init_monitor.recommend(model, x).layers if layer.recipe] == []


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(50, 64), nn.LayerNorm(64)
        self.head = nn.Linear(64, 50, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.head(self.norm(self.table(x))))


def test_logits_as_large_as_the_square_root_of_the_width_are_made_smaller() -> None:
    torch.manual_seed(0)
    model, x = Tied(), torch.randint(0, 50, (16, 9), generator=seeded(1))
    (table,) = (layer for layer in init_monitor.recommend(model, x).layers if layer.recipe)
    assert (table.layer, table.options) == ("table", {"std": stream_std(64)})
    assert "The output starts with a standard deviation of 1" in table.reason


def test_a_change_that_does_not_help_is_dropped_and_the_reason_says_so() -> None:
    """The squares that the forward takes make every signal fade, whatever the weights."""

    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(1e-3 * x)
            return x

    torch.manual_seed(0)
    model, x = cast("Any", Squares()), torch.randn(32, 16, generator=seeded(1))
    with torch.no_grad():
        for layer in model.layers:
            nn.init.xavier_normal_(layer.weight, generator=seeded(2))
            layer.bias.zero_()
    plan = init_monitor.recommend(model, x)
    assert [layer.recipe for layer in plan.layers] == [""] * 4
    assert all("tried and measured" in layer.reason for layer in plan.layers)


@settings(max_examples=15, deadline=None)
@given(
    depth=st.integers(1, 8),
    scale=st.floats(-2, 2),
    width=st.sampled_from([8, 32]),
    activation=st.sampled_from([nn.ReLU, nn.Tanh, nn.GELU]),
)
def test_a_plan_never_leaves_more_off_than_it_found(
    depth: int, scale: float, width: int, activation: type[nn.Module]
) -> None:
    torch.manual_seed(depth)
    model, x = stack(depth, activation, width), torch.randn(32, width, generator=seeded(1))
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(10**scale)

    def off() -> float:
        seen = rehearse(model, x, caller="test")
        return sum(min(fault.off, 100.0) for fault in start_faults(seen.record, seen.structure))

    before = off()
    init_monitor.recommend(model, x).apply_(generator=seeded(3))
    assert off() <= before + FAR * (depth > 0) * 0.5


def test_weights_gradients_modes_and_random_state_stay() -> None:
    torch.manual_seed(0)
    model, x = stack(8), torch.randn(64, 64, generator=seeded(1))
    kept, state = {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state()
    init_monitor.recommend(model, x)
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_default_variance_is_torchs_own() -> None:
    torch.manual_seed(0)
    for module in (nn.Linear(300, 200), nn.Conv2d(16, 32, 3), nn.Embedding(500, 64)):
        assert math.isclose(float(module.weight.detach().var()), default_variance(module), rel_tol=0.05)
    cell: Any = nn.LSTM(64, 64)
    assert math.isclose(float(cell.weight_hh_l0.detach().var()), default_variance(cell), rel_tol=0.05)


def test_a_style_that_there_is_not_is_refused() -> None:
    with pytest.raises(OptionError, match=r'"measured" or "theory", got "textbook"|got \'textbook\''):
        init_monitor.recommend(stack(1), torch.randn(4, 64), style="textbook")  # type: ignore[arg-type]


class Adapted(nn.Module):
    """A frozen layer with a low-rank correction beside it, whose second factor starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(32, 32).requires_grad_(requires_grad=False)
        self.down, self.up = nn.Linear(32, 4, bias=False), nn.Linear(4, 32, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.base(x) + 2.0 * self.up(self.down(x)))


class Modulated(nn.Module):
    """A branch whose shift, scale and gate come from a layer that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.body = nn.LayerNorm(32, elementwise_affine=False), nn.Linear(32, 32)
        self.modulation = nn.Linear(32, 96)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(x).chunk(3, -1)
        return cast("Tensor", x + gate * self.body(self.norm(x) * (1 + scale) + shift))


class Routed(nn.Module):
    """Experts behind a router that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.head = nn.Linear(32, 4), nn.Linear(32, 10)
        self.experts = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        nn.init.zeros_(self.router.weight)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(x).softmax(-1)
        mixed = torch.stack([expert(x) for expert in self.experts], -1) @ weights[..., None]
        return cast("Tensor", self.head(torch.relu(mixed.squeeze(-1))))


@pytest.mark.parametrize("kind", [Adapted, Modulated, Routed])
def test_zeros_that_get_a_gradient_are_a_start(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    plan = init_monitor.recommend(nn.Sequential(nn.Linear(8, 32), kind()), torch.randn(32, 8, generator=seeded(1)))
    assert [layer.layer for layer in plan.layers if layer.recipe] == []


def test_zeros_in_a_row_are_drawn() -> None:
    torch.manual_seed(0)
    model, x = stack(3), torch.randn(32, 64, generator=seeded(1))
    with torch.no_grad():
        model[2].weight.zero_()
        model[4].weight.zero_()
    changed = [layer.layer for layer in init_monitor.recommend(model, x).layers if layer.recipe]
    assert {"2", "4"} <= set(changed)


@pytest.mark.parametrize(("depth", "changed"), [(4, False), (12, True)])
def test_under_dropout_a_start_may_fade_further(depth: int, changed: bool) -> None:  # noqa: FBT001 - a case of the table
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2))]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    plan = init_monitor.recommend(model, torch.randn(64, 64, generator=seeded(1)))
    assert any(layer.recipe for layer in plan.layers) == changed


class Summed(nn.Module):
    """A tied table whose rows are added to those of the places."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places, self.norm = nn.Embedding(50, 64), nn.Embedding(9, 64), nn.LayerNorm(64)
        self.head = nn.Linear(64, 50, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.head(self.norm(self.table(x) + self.places(torch.arange(x.shape[1])))))


def test_embeddings_that_are_added_are_made_smaller_together() -> None:
    torch.manual_seed(0)
    plan = init_monitor.recommend(Summed(), torch.randint(0, 50, (16, 9), generator=seeded(1)))
    assert [layer.layer for layer in plan.layers if layer.recipe] == ["table", "places"]


def test_recurrent_weights_of_one_number_are_drawn() -> None:
    model, x = Memory(nn.LSTM), torch.randn(16, 7, 8, generator=seeded(1))
    with torch.no_grad():
        model.core.weight_hh_l0.fill_(0.05)
    assert [layer.layer for layer in init_monitor.recommend(model, x).layers if layer.recipe] == ["core"]
