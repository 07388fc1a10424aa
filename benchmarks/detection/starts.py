"""How a network begins, rightly and wrongly: what the cases do to weights and biases before training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[[nn.Module], None]
    Fill = Callable[[Tensor], object]

WEIGHTED = (nn.Linear, nn.Conv2d)


def weight_layers(net: nn.Module) -> Iterator[nn.Linear | nn.Conv2d]:
    """Give the linear and convolutional layers of a network in the order they were made."""
    for module in net.modules():
        if isinstance(module, WEIGHTED):
            yield module


def everywhere(fill: Fill) -> Start:
    """Return what fills every weight with ``fill`` and every bias with 0."""

    def start(net: nn.Module) -> None:
        for layer in weight_layers(net):
            fill(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    return start


def default(net: nn.Module) -> None:
    """Leave what PyTorch put there."""


def normal(std: float) -> Start:
    """Return what fills every weight with N(0, std²)."""
    return everywhere(lambda weight: nn.init.normal_(weight, std=std))


he = everywhere(lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))
xavier = everywhere(nn.init.xavier_normal_)
zero = everywhere(nn.init.zeros_)


def one_value(value: float) -> Fill:
    """Return what gives all of a weight one value."""
    return lambda weight: nn.init.constant_(weight, value)


def constant(value: float) -> Start:
    """Return what gives every weight one value."""
    return everywhere(one_value(value))


def he_times(factor: float) -> Start:
    """Return He's initialisation times a factor."""

    def start(net: nn.Module) -> None:
        he(net)
        for layer in weight_layers(net):
            layer.weight.data *= factor

    return start


def centred_sigmoid(net: nn.Module) -> None:
    """Start a sigmoid network so that each layer passes its signal on.

    σ(z) is ½ + z/4 near 0: gain 4 keeps the variance (Glorot & Bengio 2010), and a bias of −½Σw takes out the mean ½.
    """
    for position, layer in enumerate(weight_layers(net)):
        nn.init.xavier_normal_(layer.weight, gain=4.0 if position else 1.0)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
            if position:
                layer.bias.data -= 0.5 * layer.weight.data.sum(dim=1)


def then(first: Start, *others: Start) -> Start:
    """Return one start after the other."""

    def start(net: nn.Module) -> None:
        for one in (first, *others):
            one(net)

    return start


def scaled(path: str, factor: float) -> Start:
    """Return what multiplies the weight of one layer."""

    def start(net: nn.Module) -> None:
        _layer(net, path).weight.data *= factor

    return start


def refilled(path: str, fill: Fill) -> Start:
    """Return a function that refills the weight of one layer."""
    return lambda net: (fill(_layer(net, path).weight), None)[1]


def biased(path: str, value: float, share: float = 1.0) -> Start:
    """Return what sets the bias of the first ``share`` of the units of one layer."""

    def start(net: nn.Module) -> None:
        bias = _layer(net, path).bias
        assert bias is not None, f"{path} has no bias to set"  # noqa: S101 - a mistake in a case, not in its use
        bias.data[: math.ceil(share * len(bias))] = value

    return start


def _layer(net: nn.Module, path: str) -> nn.Linear | nn.Conv2d | nn.BatchNorm2d:
    layer = net.get_submodule(path)
    assert isinstance(layer, (*WEIGHTED, nn.BatchNorm2d)), f"{path} is a {type(layer).__name__}"  # noqa: S101 - a mistake in a case, not in its use
    return layer
