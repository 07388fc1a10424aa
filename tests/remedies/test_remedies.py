from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import history, linear, linears, parameter, rectifier
from torch import nn

from init_monitor import check
from init_monitor.records import Layer, Role, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import snippets
from init_monitor.rules import ExplodingActivations


def run(code: str, model: nn.Module) -> None:
    exec(compile(code, "remedy", "exec"), {"model": model})  # noqa: S102 - it is the code a user is asked to paste


def layers_of(model: nn.Module, activation: str | None = "ReLU") -> list[Layer]:
    found = []
    for depth, (path, module) in enumerate(model.named_modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            bias = f"{path}.bias" if path else "bias"
            layer = linear(
                depth,
                path,
                activation=activation,
                kind=type(module).__name__,
                weight=f"{path}.weight" if path else "weight",
                bias=bias if "bias" in dict(module.named_parameters()) else "",
            )
            found.append(layer)
    return found


def test_the_expression_of_every_module_of_a_nested_model_is_that_module() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 3, 3)
            self.parts = nn.ModuleDict({"a": nn.Linear(2, 2), "lambda": nn.Linear(2, 2), "x-y": nn.Linear(2, 2)})
            self.add_module("01", nn.Linear(2, 2))

    model = nn.Module()
    model.layer1 = nn.Sequential(Block(), Block())
    model.net = nn.ModuleList([nn.Linear(2, 2)])
    for path, module in model.named_modules():
        assert eval(snippets.expression(path), {"model": model}) is module  # noqa: S307


@pytest.mark.parametrize("count", [1, 3, 4, 12, 13, 30])
@pytest.mark.parametrize("bias", [True, False])
def test_the_code_gives_every_layer_the_he_variance_however_many_there_are(count: int, *, bias: bool) -> None:
    torch.manual_seed(0)
    model = nn.Module()
    model.net = nn.Sequential(*(nn.Linear(200, 200, bias=bias) for _ in range(count)))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(7.0)
    code = snippets.initialise(layers_of(model))
    run(code, model)
    for layer in model.net:
        assert float(parameter(layer).var()) == pytest.approx(2 / 200, rel=0.05)
        assert not bias or float(parameter(layer, "bias").abs().max()) == 0
    assert ("isinstance" in code) is (count > 12)
    assert ("get_submodule(name)" in code) is (4 <= count <= 12)


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        ("ReLU", 2 / 300),
        ("LeakyReLU", 2 / (1 + 0.01**2) / 300),
        ("GELU", 2.3517 / 300),
        ("ELU", 1.5505 / 300),
        ("SELU", 1 / 300),
        ("Tanh", 2 / 400),
        (None, 2 / 400),
    ],
)
def test_the_variance_fits_the_activation_that_follows(activation: str | None, variance: float) -> None:
    torch.manual_seed(0)
    model = nn.Linear(300, 100)
    run(snippets.initialise(layers_of(model, activation)), model)
    assert float(parameter(model).var()) == pytest.approx(variance, rel=0.05)


def test_convolutions_are_initialised_by_their_fan_in() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(64, 64, 3) for _ in range(2)))
    run(snippets.initialise(layers_of(model)), model)
    assert float(parameter(model[0]).var()) == pytest.approx(2 / (64 * 9), rel=0.05)


def test_the_exception_survives_the_loop_over_the_class() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(200, 200) for _ in range(14)))
    layers = layers_of(model)
    layers[-1] = linear(layers[-1].depth, layers[-1].name, activation=None)
    run(snippets.initialise(layers), model)
    assert float(parameter(model[0]).var()) == pytest.approx(2 / 200, rel=0.05)
    assert float(parameter(model[13]).var()) == pytest.approx(1 / 200, rel=0.05)


def test_two_large_groups_of_one_class_do_not_undo_each_other() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.ModuleDict({"up": nn.Linear(200, 200), "down": nn.Linear(200, 200)}) for _ in range(13)))
    layers = [
        layer if layer.name.endswith("up") else linear(layer.depth, layer.name, activation=None)
        for layer in layers_of(model)
    ]
    run(snippets.initialise(layers), model)
    for block in model:
        assert float(parameter(block["up"]).var()) == pytest.approx(2 / 200, rel=0.05)  # type: ignore[index]
        assert float(parameter(block["down"]).var()) == pytest.approx(1 / 200, rel=0.05)  # type: ignore[index]


def test_a_tied_weight_is_drawn_once_by_the_layer_that_owns_it() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"letters": nn.Linear(200, 200, bias=False), "head": nn.Linear(200, 200, bias=False)})
    model["head"].weight = model["letters"].weight
    owner = linear(0, "letters", activation="ReLU", bias="")
    second = linear(1, "head", activation=None, weight="letters.weight", bias="")
    for layers, among in (([second], Structure((owner, second))), ([second, owner], Structure())):
        code = snippets.initialise(layers, among=among)
        assert code.count("nn.init.") == 1
        run(code, model)
        assert float(parameter(model["letters"]).var()) == pytest.approx(2 / 200, rel=0.05)


def test_layers_of_a_class_of_ones_own_are_found_by_its_name() -> None:
    class MyLinear(nn.Linear):
        pass

    torch.manual_seed(0)
    model = nn.Sequential(*(MyLinear(200, 200) for _ in range(13)))
    code = snippets.initialise(layers_of(model))
    assert "MyLinear" in code
    run(code, model)
    assert float(parameter(model[12]).var()) == pytest.approx(2 / 200, rel=0.05)


def test_a_weight_of_another_name_is_addressed_by_it() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"attn": nn.MultiheadAttention(128, 4)})
    layer = Layer(
        "attn", "attn", "MultiheadAttention", Role.WEIGHT, 0, weight="attn.in_proj_weight", bias="attn.in_proj_bias"
    )
    run(snippets.initialise([layer]), model)
    assert float(parameter(model["attn"], "in_proj_weight").var()) == pytest.approx(2 / (128 + 384), rel=0.05)


def test_recurrent_layers_get_orthogonal_recurrent_weights() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"rnn": nn.LSTM(32, 64)})
    run(snippets.initialise([Layer("rnn", "rnn", "LSTM", Role.WEIGHT, 0)]), model)
    gates = parameter(model["rnn"], "weight_hh_l0").chunk(4)
    assert all(torch.allclose(gate.T @ gate, torch.eye(64), atol=1e-5) for gate in gates)
    bound = (6 / (32 + 64)) ** 0.5
    assert bound * 0.95 < float(parameter(model["rnn"], "weight_ih_l0").abs().max()) <= bound
    forget = parameter(model["rnn"], "bias_ih_l0").chunk(4)[1]
    assert bool((forget == 1).all()), "the forget gate starts open, as in the plan"
    assert float(parameter(model["rnn"], "bias_ih_l0").sum()) == 64
    assert float(parameter(model["rnn"], "bias_hh_l0").abs().max()) == 0


def test_a_layer_called_twice_is_initialised_once() -> None:
    twice = [linear(0, "fc", name="fc#1"), linear(1, "fc", name="fc#2")]
    assert snippets.initialise(twice).count("model.fc.weight") == 1


def test_without_a_weight_to_address_there_is_no_code() -> None:
    assert snippets.initialise([rectifier(0, "act")]) == ""
    assert snippets.advice("Do this.") == "Do this."


def test_the_remedy_of_a_finding_cures_the_model_it_was_found_on() -> None:
    torch.manual_seed(0)
    structure = linears(10)
    past = history(structure, {Quantity.VARIANCE: [512.0 ** (i + 1) for i in range(10)], Quantity.GAIN: 512.0})
    (finding,) = ExplodingActivations().judge(past)
    model = nn.Module()
    model.net = nn.Sequential(*(nn.Linear(512, 512) for _ in range(10)))
    for layer in model.net:
        nn.init.normal_(parameter(layer))
    run(finding.remedy_code, model)
    *hidden, last = model.net
    assert all(float(parameter(x).var()) == pytest.approx(1 / 512, rel=0.05) for x in hidden)
    assert float(parameter(last).std()) == pytest.approx(0.01, rel=0.05), "a wide output starts near zero"
    out = nn.Sequential(*hidden)(torch.randn(256, 512))
    assert 0.3 < float(out.detach().var()) < 3


def test_layers_behind_a_sigmoid_keep_the_variance_and_lose_its_mean() -> None:
    torch.manual_seed(0)
    model = nn.Module()
    model.net = nn.Sequential(*[x for _ in range(8) for x in (nn.Linear(256, 256), nn.Sigmoid())], nn.Linear(256, 10))
    with torch.no_grad():
        for module in model.net:
            if isinstance(module, nn.Linear):
                module.weight.mul_(9)
    structure = check(model.net, torch.randn(64, 256)).structure
    named = [
        replace(x, module=f"net.{x.module}", weight=f"net.{x.weight}", bias=f"net.{x.bias}") for x in structure.layers
    ]
    weights = [layer for layer in named if layer.role is Role.WEIGHT]
    run(snippets.initialise(weights, among=replace(structure, layers=tuple(named))), model)
    x = torch.randn(512, 256)
    for module in model.net:
        x = module(x)
        if isinstance(module, nn.Linear) and module.out_features == 256:
            assert 0.15 < float(x.detach().var()) < 1.5, "Xavier would have left a 16th of it per layer"
            assert abs(float(x.detach().mean())) < 0.2
