"""One choice of initialiser: a finding and a plan say the same of every layer, and the code to paste draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from builders import parameter
from torch import nn

import init_monitor
from init_monitor.analysis.activations import ACTIVATIONS, Activation, Shape
from init_monitor.analysis.initialiser_choice import choice_for
from init_monitor.recipes.apply import code_of
from init_monitor.records import Role
from init_monitor.remedies import snippets

if TYPE_CHECKING:
    from init_monitor import InitPlan
    from init_monitor.records import Layer

WIDTH = 160
ARGUMENTS: dict[str, tuple[float, ...]] = {"Threshold": (0.1, 0.0)}
MODULES = [one for one in ACTIVATIONS if hasattr(nn, one.name)]


def made(one: Activation) -> nn.Module:
    kind = getattr(nn, one.name)
    module: nn.Module = kind(dim=-1) if one.shape is Shape.DISTRIBUTION else kind(*ARGUMENTS.get(one.name, ()))
    return module


def network(*activations: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for activation in activations:
        out = 2 * WIDTH if isinstance(activation, nn.GLU) else WIDTH
        parts += [nn.Linear(WIDTH, out), activation]
    return nn.Sequential(*parts, nn.Linear(WIDTH, WIDTH))


def looked_at(model: nn.Module, x: torch.Tensor | None = None) -> tuple[InitPlan, list[Layer]]:
    plan = init_monitor.recommend(model, torch.randn(8, WIDTH) if x is None else x, style="theory")
    return plan, [layer for layer in plan.structure.layers if layer.role is Role.WEIGHT]


def run(code: str, model: nn.Module) -> None:
    exec(compile(code, "remedy", "exec"), {"model": model})  # noqa: S102 - it is the code a user is asked to paste


def agree(model: nn.Module, x: torch.Tensor | None = None) -> None:
    plan, layers = looked_at(model, x)
    found = {layer.layer: layer for layer in plan.layers}
    for layer in layers:
        planned, chosen = found[layer.module], choice_for(layer, plan.structure)
        assert (chosen.recipe, chosen.options, chosen.source) == (planned.recipe, planned.options, planned.source)
        assert chosen.variance == pytest.approx(planned.target_variance, rel=1e-9)
        assert chosen.reason == planned.reason
    run(snippets.initialise(layers, among=plan.structure), model)
    pasted = {layer.module: values_of(model, layer.module) for layer in layers}
    namespace: dict[str, object] = {}
    exec(compile(code_of(plan.layers, model), "plan", "exec"), namespace)  # noqa: S102 - the plan's own code
    namespace["initialise"](model, torch.Generator().manual_seed(1))  # type: ignore[operator]
    written = {layer.module: values_of(model, layer.module) for layer in layers}
    plan.apply_(generator=torch.Generator().manual_seed(1))
    for layer in layers:
        target = found[layer.module].target_variance
        weight, bias = pasted[layer.module]
        within = max(0.03, 5 * (2 / weight.numel()) ** 0.5)
        assert float(weight.var(correction=0)) == pytest.approx(target, rel=within)
        again, shift = values_of(model, layer.module)
        torch.testing.assert_close(written[layer.module], (again, shift), rtol=1e-4, atol=1e-5)
        if "input_mean" in found[layer.module].options:
            mean = found[layer.module].options["input_mean"]
            assert isinstance(mean, float)
            for one, other in ((weight, bias), (again, shift)):
                torch.testing.assert_close(other, -mean * one.flatten(1).sum(1), rtol=1e-3, atol=1e-3)
        else:
            assert not bias.any()
            assert not shift.any()


def values_of(model: nn.Module, path: str) -> tuple[torch.Tensor, torch.Tensor]:
    module = model.get_submodule(path)
    return parameter(module).detach().clone(), parameter(module, "bias").detach().clone()


@pytest.mark.parametrize("one", MODULES, ids=[one.name for one in MODULES])
def test_a_finding_and_the_plan_agree_before_and_behind_every_activation(one: Activation) -> None:
    agree(network(made(one), made(one)))


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.7])
def test_they_agree_on_a_slope_that_is_not_torchs_own(slope: float) -> None:
    model = network(nn.LeakyReLU(slope), nn.LeakyReLU(slope))
    agree(model)
    assert looked_at(model)[0].layers[0].target_variance == pytest.approx(2 / (1 + slope**2) / WIDTH)


@pytest.mark.parametrize("follows", [nn.ReLU, nn.Tanh, nn.GELU])
def test_behind_a_sigmoid_what_follows_counts_too(follows: type[nn.Module]) -> None:
    agree(network(nn.Sigmoid(), follows()))


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(32, 32, 3),
        nn.Conv2d(32, 64, 3, stride=2),
        nn.Conv2d(32, 32, 3, groups=32),
        nn.ConvTranspose2d(32, 16, 3, stride=2),
        nn.Conv2d(32, 64, 5, groups=4, stride=2),
    ],
    ids=str,
)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.SiLU, nn.Sigmoid])
def test_they_agree_on_convolutions_whose_fans_the_shape_does_not_show(
    convolution: nn.Module, activation: type[nn.Module]
) -> None:
    torch.manual_seed(0)
    last = nn.LazyConv2d(24, 3)
    model = nn.Sequential(nn.Conv2d(8, 32, 3), activation(), convolution, activation(), last, nn.Flatten())
    x = torch.randn(2, 8, 16, 16)
    model(x)
    agree(model, x)


@pytest.mark.parametrize(("answers", "recipe"), [(12, "xavier_normal_"), (4 * WIDTH, "small_output_")])
def test_they_agree_on_the_output_layer_which_starts_small_if_it_is_wide(answers: int, recipe: str) -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, answers))
    plan, layers = looked_at(model)
    assert choice_for(layers[1], plan.structure).recipe == plan.layers[1].recipe == recipe
    agree(model)


@pytest.mark.parametrize(("activation", "options"), [(nn.Sigmoid, {"gain"}), (nn.Softplus, set())])
def test_without_a_bias_no_mean_is_taken_out(activation: type[nn.Module], options: set[str]) -> None:
    model = nn.Sequential(
        nn.Linear(WIDTH, WIDTH), activation(), nn.Linear(WIDTH, WIDTH, bias=False), activation(), nn.Linear(WIDTH, 4)
    )
    plan, layers = looked_at(model)
    assert set(plan.layers[1].options) == options
    assert choice_for(layers[1], plan.structure).options == plan.layers[1].options
    plan.apply_()
    assert float(parameter(model[2]).var()) == pytest.approx(plan.layers[1].target_variance, rel=0.05)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_gets_the_same_from_both(kind: type[nn.Module]) -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = kind(32, 64), nn.Linear(64, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.rnn(x)[0])
            return out

    model = Tagger()
    plan, layers = looked_at(model, torch.randn(5, 2, 32))
    recurrent = [layer for layer in layers if layer.module == "rnn"]
    assert choice_for(recurrent[0], plan.structure).recipe == plan.layers[0].recipe
    run(snippets.initialise(recurrent, among=plan.structure), model)
    pasted = {name: value.detach().clone() for name, value in model.rnn.named_parameters()}
    plan.apply_()
    for name, value in model.rnn.named_parameters():
        if name.startswith("bias"):
            assert torch.equal(pasted[name], value.detach())
        else:
            assert float(pasted[name].var()) == pytest.approx(float(value.detach().var()), rel=0.1)
