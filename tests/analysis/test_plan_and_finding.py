"""What a finding prints for a layer is what ``recommend`` gives it, wherever in a network the layer stands."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from zoo_models import QUICK, zoo

import init_monitor
from init_monitor.analysis.initialiser_choice import choice_for
from init_monitor.recipes.planned_weight import weight_of
from init_monitor.records.plan import Place
from init_monitor.remedies import snippets

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor import InitPlan
    from init_monitor.records import Layer
    from init_monitor.records.plan import LayerPlan

ZOO = zoo()
WIDTH, CLASSES, WORDS, TIME, SAMPLES = 96, 5, 50, 6, 4


def mlp(activation: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, WIDTH), activation(), nn.Linear(WIDTH, WIDTH), activation(), nn.Linear(WIDTH, CLASSES)
    )


class Residual(nn.Module):
    """x + factor · F(x), without a normalisation."""

    def __init__(self, factor: float | None = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        self.first, self.second, self.scale = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), scale
        self.factor = nn.Parameter(torch.full((WIDTH,), 1e-4)) if factor is None else factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = (x + self.factor * self.second(torch.relu(self.first(x)))) * self.scale
        return out


class Transformer(nn.Module):
    def __init__(self, width: int = WIDTH, *, tied: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True, norm_first=True, dropout=0.0)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, WORDS, bias=not tied)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.blocks(self.words(words)))
        return out


class Own(nn.Embedding):
    """A class of one's own that is an embedding."""


class Recurrent(nn.Module):
    def __init__(self, kind: Callable[[int, int], nn.Module], table: type[nn.Embedding] = nn.Embedding) -> None:
        super().__init__()
        self.words, self.rnn, self.head = table(WORDS, WIDTH), kind(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.rnn(self.words(words))[0])
        return out


class Pictures(nn.Module):
    """A stem, a residual block that ends in a normalisation, a strided and a grouped convolution, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.branch = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16)
        )
        self.down = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2), nn.SiLU(), nn.Conv2d(32, 32, 3, groups=8), nn.ReLU())
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        out: torch.Tensor = self.head(self.down(torch.relu(x + self.branch(x))).mean((2, 3)))
        return out


def residuals(*blocks: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(20, WIDTH), *blocks, nn.Linear(WIDTH, CLASSES))


def rows() -> Any:
    return torch.randn(8, 20)


def words() -> Any:
    return torch.randint(WORDS, (SAMPLES, TIME))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    **{
        f"mlp of {one.__name__}": (partial(mlp, one), rows)
        for one in (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.SELU, nn.GELU, nn.Softplus)
    },
    "a reconstruction": (lambda: nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 200)), rows),
    "residual": (lambda: residuals(Residual(), Residual(), Residual()), rows),
    "residual with a factor of its own": (lambda: residuals(Residual(None), Residual(None)), rows),
    "residual whose sums are scaled": (lambda: residuals(*[Residual(scale=0.5**0.5) for _ in range(3)]), rows),
    "pre-norm transformer": (Transformer, words),
    "wide transformer": (lambda: Transformer(768), words),
    "transformer whose head is tied": (lambda: Transformer(tied=True), words),
    "pictures": (Pictures, lambda: torch.randn(4, 3, 12, 12)),
    **{f"recurrent {kind.__name__}": (partial(Recurrent, kind), words) for kind in (nn.LSTM, nn.GRU, nn.RNN)},
    "recurrent with an embedding of its own class": (lambda: Recurrent(nn.LSTM, Own), words),
    **{name: (ZOO[name].build, ZOO[name].batch) for name in QUICK if not name.startswith("tv.")},
}

EVERY_PLACE = {
    "mlp of ReLU": {Place.HIDDEN, Place.OUTPUT},
    "residual": {Place.HIDDEN, Place.RESIDUAL_END, Place.OUTPUT},
    "pre-norm transformer": {Place.EMBEDDING, Place.HIDDEN, Place.NORMALISATION, Place.RESIDUAL_END, Place.OUTPUT},
    "pictures": {Place.HIDDEN, Place.NORMALISATION, Place.RESIDUAL_END, Place.OUTPUT},
    "recurrent LSTM": {Place.EMBEDDING, Place.RECURRENT, Place.OUTPUT},
}


def planned(name: str) -> tuple[nn.Module, InitPlan, list[tuple[Layer, LayerPlan]]]:
    """Return a network, its plan, and the layers that the plan has a recipe for."""
    torch.manual_seed(0)
    make, batch = NETWORKS[name]
    model, given = make(), batch()
    plan = init_monitor.recommend(
        model, given[""] if isinstance(given, dict) and "" in given else given, style="theory"
    )
    called: dict[str, Layer] = {}
    for layer in plan.structure.layers:
        called.setdefault(layer.module, layer)
    return model, plan, [(called[one.layer], one) for one in plan.layers if one.layer in called and one.recipe]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_finding_chooses_for_every_layer_what_the_plan_recommends(name: str) -> None:
    _, plan, both = planned(name)
    assert both
    for layer, one in both:
        chosen = choice_for(layer, plan.structure)
        assert (chosen.recipe, dict(chosen.options)) == (one.recipe, dict(one.options)), one
        assert (chosen.reason, chosen.source) == (one.reason, one.source), one
        assert chosen.variance == pytest.approx(one.target_variance, rel=1e-9, nan_ok=True), one


@pytest.mark.parametrize("name", EVERY_PLACE)
def test_among_these_networks_is_every_place(name: str) -> None:
    assert {one.place for _, one in planned(name)[2]} == EVERY_PLACE[name]


@pytest.mark.parametrize("name", [name for name in NETWORKS if "." not in name])
def test_the_code_of_a_finding_draws_what_the_plan_draws(name: str) -> None:
    """One layer at a time, and all of them by one piece of code."""
    model, plan, both = planned(name)
    together = copy.deepcopy(model)
    run(snippets.initialise([layer for layer, _ in both], among=plan.structure), together)
    plan.apply_(generator=torch.Generator().manual_seed(1))
    for layer, one in both:
        alone = copy.deepcopy(model)
        for parameter in alone.parameters():
            nn.init.constant_(parameter, 9.0)
        run(snippets.initialise([layer], among=plan.structure), alone)
        for network in (alone, together):
            same_draw(network.get_submodule(one.layer), model.get_submodule(one.layer), one)


def same_draw(pasted: nn.Module, applied: nn.Module, one: LayerPlan) -> None:
    weight, target = written(pasted), written(applied)
    if one.place is Place.NORMALISATION or one.target_variance == 0:
        assert torch.equal(weight, target), one
    else:
        scatter = 6 * math.sqrt(2 / weight.numel())
        assert float(weight.var(correction=0)) == pytest.approx(float(target.var(correction=0)), rel=2 * scatter), one
        assert float(weight.mean()) == pytest.approx(float(target.mean()), abs=scatter * float(target.std())), one
    for name, value in pasted.named_parameters(recurse=False):
        if "bias" in name and "input_mean" not in one.options:
            assert torch.equal(value, applied.get_parameter(name)), (one, name)


def test_the_code_writes_the_output_projection_of_an_attention_too() -> None:
    model, plan, both = planned("pre-norm transformer")
    attention = next(layer for layer, _ in both if layer.kind == "MultiheadAttention")
    code = snippets.initialise([attention], among=plan.structure)
    by_name = {one.layer: one for one in plan.layers}
    assert "out_proj.weight" in code
    run(code, model)
    for path in (attention.module, f"{attention.module}.out_proj"):
        weight = written(model.get_submodule(path))
        assert float(weight.var()) == pytest.approx(by_name[path].target_variance, rel=0.1)


def written(module: nn.Module) -> torch.Tensor:
    _, weight = weight_of(module)
    assert weight is not None
    return weight.detach()


def run(code: str, model: nn.Module) -> None:
    exec(compile(code, "remedy", "exec"), {"model": model})  # noqa: S102 - it is the code a user is asked to paste
