"""Layers that are no plain modules: a function that mixes with a weight of the model's, wherever it is called from."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone writes it

import init_monitor
from init_monitor.structure.fans import Fans, fans_of
from init_monitor.structure.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

D = 16


class Written(nn.Module):
    """A module with weights of its own, beside child modules, whose forward is handed in."""

    weight: Tensor
    decay: Tensor
    a: Tensor
    b: Tensor

    def __init__(self, write: Callable[[Written, Tensor], Tensor], **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.write = write
        self.activation = nn.ReLU()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape)))

    def forward(self, x: Tensor) -> Tensor:
        return self.write(self, x)


class Dense(nn.Linear):
    """As molecular libraries write it: a Linear that holds its activation."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.activation(F.linear(x, self.weight, self.bias))
        return output


class NormedConv(nn.Conv2d):
    """As detection libraries write it: a convolution that holds its norm and its activation."""

    def __init__(self, into: int, out: int, **options: Any) -> None:
        super().__init__(into, out, 3, **options)
        self.norm, self.activation = nn.BatchNorm2d(out), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.activation(self.norm(super().forward(x)))
        return output


class OverwrittenLeaf(nn.Module):
    """No child module, and an activation that overwrites what the weight made."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(D, D))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(F.linear(x, self.kernel))


class Reference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x))


def monitored(model: nn.Module, *inputs: Tensor, steps: int = 1) -> init_monitor.standalone.Watch:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as monitor:
        for _ in range(steps):
            with monitor.step():
                optimizer.zero_grad()
                model(*inputs).square().mean().backward()
                optimizer.step()
    return monitor


@pytest.mark.parametrize(
    ("write", "shapes", "fans"),
    [
        (lambda m, x: F.linear(x, m.weight), {"weight": (5, D)}, (D, 5)),
        (lambda m, x: x @ m.kernel, {"kernel": (D, 5)}, (D, 5)),
        (lambda m, x: torch.matmul(m.kernel, x.mT), {"kernel": (5, D)}, (D, 5)),
        (lambda m, x: x @ m.kernel.mT, {"kernel": (5, D)}, (D, 5)),
        (lambda m, x: torch.addmm(m.bias, x, m.kernel), {"kernel": (D, 5), "bias": (5,)}, (D, 5)),
        (lambda m, x: torch.einsum("nc,co->no", x, m.kernel), {"kernel": (D, 5)}, (D, 5)),
        (lambda m, x: torch.einsum("nhc,hco->nho", x.view(-1, 2, 8), m.kernel), {"kernel": (2, 8, 5)}, (8, 5)),
        (lambda m, x: F.conv1d(x.unsqueeze(1), m.kernel, stride=2), {"kernel": (5, 1, 4)}, (4, 20)),
        (lambda m, x: F.linear(x, m.kernel / m.kernel.norm()), {"kernel": (5, D)}, (D, 5)),
    ],
)
def test_a_function_with_a_weight_is_a_layer_with_the_fans_of_the_weight(
    write: Callable[[Written, Tensor], Tensor], shapes: dict[str, tuple[int, ...]], fans: tuple[int, int]
) -> None:
    net = nn.Sequential(nn.Linear(D, D), Written(write, **shapes))
    monitor = monitored(net, torch.randn(7, D))
    layer = monitor.structure.layers[1]
    weight = "weight" if "weight" in shapes else "kernel"
    assert layer.role is init_monitor.records.Role.WEIGHT
    assert (layer.name, layer.module) == ("1" if weight == "weight" else "1.kernel", "1")
    assert layer.inputs == ("0",)
    assert (layer.fan_in, layer.fan_out) == fans
    assert f"1.{weight}" in layer.parameters
    assert set(layer.parameters) >= {f"1.{name}" for name in shapes}


def test_what_a_weight_was_computed_from_is_owned_but_is_not_the_weight() -> None:
    net = nn.Sequential(Written(lambda m, x: F.linear(x, m.weight * 0.5), weight=(5, D)))
    (layer,) = monitored(net, torch.randn(7, D)).structure.layers
    assert (layer.weight, layer.parameters) == ("", ("0.weight",))


def test_products_without_a_sum_over_the_weight_are_no_layer() -> None:
    def write(m: Written, x: Tensor) -> Tensor:
        scaled = torch.einsum("nc,ck->nck", x, m.decay)
        return torch.einsum("nck,nk->nc", scaled, x[:, :3]) + x @ (m.a @ m.b)

    net = nn.Sequential(Written(write, decay=(D, 3), a=(D, 2), b=(2, D)))
    names = monitored(net, torch.randn(7, D)).structure.names
    assert len(names) == 1  # x @ (a @ b): a product of weights alone is none either


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 2}, {"bias": False}])
def test_a_convolution_that_holds_its_norm_is_the_layer_before_it(options: dict[str, Any]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), NormedConv(4, 6, **options))
    structure = monitored(net, torch.randn(2, 3, 9, 9)).structure
    assert structure.names == ("0", "1", "1.norm", "1.activation")
    conv = structure.layers[1]
    assert conv.normalised
    assert conv.activation == "ReLU"
    assert Fans(conv.fan_in, conv.fan_out, 0, 0) == fans_of(net[1])._replace(forward=0, backward=0)
    assert (conv.weight, conv.bias) == ("1.weight", "" if options == {"bias": False} else "1.bias")


@pytest.mark.parametrize("unit", [Dense, lambda *_: OverwrittenLeaf()], ids=["holds its activation", "overwrites"])
def test_the_tap_is_what_the_function_made_before_the_activation(unit: Any) -> None:
    torch.manual_seed(0)
    first: Any = unit(D, D)
    net, x = nn.Sequential(first, nn.Linear(D, 3)), torch.randn(40, D)
    weight = first.weight if isinstance(first, nn.Linear) else first.kernel
    before = F.linear(x, weight, getattr(first, "bias", None)).detach().double()
    expected = [before.var(correction=0)] * 2
    monitor = monitored(net, x, steps=2)
    measured = [record.layers["0"].forward.variance for record in monitor.records]
    assert measured == pytest.approx([float(one) for one in expected], rel=1e-4)


def test_the_expected_gain_is_that_of_the_same_linear() -> None:
    torch.manual_seed(0)
    dense, x = Dense(D, D), torch.randn(40, D)
    net = nn.Sequential(dense, nn.Linear(D, 3))
    record = monitored(net, x).records[0]
    assert record.layers["0"].expected_gain == pytest.approx(
        float(D * dense.weight.detach().double().var(correction=0)), rel=1e-3
    )


@pytest.mark.parametrize("kind", ["holds its activation", "own weight", "leaf", "reference"])
def test_twelve_exploding_layers_are_as_critical_as_twelve_linear_ones(kind: str) -> None:
    torch.manual_seed(0)
    units: dict[str, Callable[[], nn.Module]] = {
        "holds its activation": lambda: Dense(D, D),
        "own weight": lambda: Written(lambda m, x: m.activation(x @ m.weight), weight=(D, D)),
        "leaf": OverwrittenLeaf,
        "reference": Reference,
    }
    net = nn.Sequential(*(units[kind]() for _ in range(12)), nn.Linear(D, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=4 / math.sqrt(D))
    found = {f.code: f for f in monitored(net, torch.randn(32, D), steps=2).findings}
    assert found["IM101"].severity is init_monitor.records.Severity.CRITICAL
    assert len(found["IM101"].layers) >= 10


def test_a_tied_head_is_named_by_who_calls_it_and_an_embedding_keeps_its_name() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix = nn.Embedding(20, D), nn.Linear(D, D)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(torch.tanh(self.mix(self.embed(x))), self.embed.weight)

    structure = monitored(Tied(), torch.randint(0, 20, (4, 6))).structure
    assert structure.names == ("embed", "mix", "/tanh#1", "/linear#1")
    head = structure.layers[-1]
    assert (head.weight, head.module, head.fan_in, head.fan_out) == ("embed.weight", "embed", D, 20)
    assert head.shown == "the linear called in the model"


def test_a_module_that_is_never_called_lends_its_name_to_the_function_that_uses_its_weight() -> None:
    class Lends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, 3)
            self.q_bias = nn.Parameter(torch.zeros(D))

        def forward(self, x: Tensor) -> Tensor:
            bias = torch.cat([self.q_bias, torch.zeros(2 * D)])
            q, k, v = F.linear(x, self.qkv.weight, bias).chunk(3, -1)
            output: Tensor = self.out(torch.softmax(q @ k.mT, -1) @ v)
            return output

    assert monitored(Lends(), torch.randn(5, 4, D)).structure.names == ("qkv", "/softmax#1", "out")


def test_a_layer_that_returns_what_its_function_made_is_measured_as_it_returns_it() -> None:
    class Flattens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(D, 5)), nn.Parameter(torch.zeros(5))

        def forward(self, x: Tensor) -> Tensor:
            return torch.addmm(self.bias, x.view(-1, D), self.weight).view(*x.shape[:-1], 5)

    net = nn.Sequential(nn.Linear(D, D), Flattens())
    record = monitored(net, torch.randn(6, 4, D)).records[0]
    assert record.names == ("0", "1")
    assert record.layers["1"].between_sample_share == pytest.approx(record.layers["1"].between_sample_share)
    assert record.layers["1"].between_sample_share < 0.9  # of 6 samples with 4 positions, not of 24 samples


def test_the_probe_names_what_it_saw() -> None:
    net = nn.Sequential(Dense(D, 4), Written(lambda m, x: x @ m.weight, weight=(4, 4)))
    with Probe(net) as probe:
        net(torch.randn(3, D))
    assert [(s.name, s.kind, s.weight, s.bias) for s in probe.mixing_sites] == [
        ("0", "Dense", "0.weight", "0.bias"),
        ("1", "Written", "1.weight", ""),
    ]


def test_a_weight_that_an_unknown_function_takes_is_told_of_once() -> None:
    class Quantiser(nn.Module):
        """Distances to a table of its own, beside a child module."""

        def __init__(self) -> None:
            super().__init__()
            self.codes, self.norm = nn.Parameter(torch.randn(5, D)), nn.LayerNorm(D)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(self.norm(x), self.codes)

    net = nn.Sequential(nn.Linear(D, D), Quantiser())
    with pytest.warns(init_monitor.errors.InitMonitorWarning, match="'1.codes' is used by cdist") as caught:
        monitor = monitored(net, torch.randn(7, D), steps=3)
    assert len([one for one in caught if "cdist" in str(one.message)]) == 1
    assert monitor.structure.names == ("0", "1.norm")


def test_a_bias_of_its_own_that_an_attention_takes_is_not_told_of() -> None:
    class Biased(nn.Module):
        """Attention with a learned bias for every pair of places, as vision transformers have."""

        def __init__(self) -> None:
            super().__init__()
            self.project, self.bias = nn.Linear(D, 3 * D), nn.Parameter(torch.randn(5, 5))

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.project(x).unsqueeze(1).chunk(3, -1)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias).squeeze(1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor = monitored(nn.Sequential(nn.Linear(D, D), Biased()), torch.randn(7, 5, D), steps=3)
    assert not [one for one in caught if "bias" in str(one.message)]
    assert monitor.structure.names[:2] == ("0", "1.project")
    assert len(monitor.structure.attentions) == 1
