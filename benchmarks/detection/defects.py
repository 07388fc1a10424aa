"""What can be wrong with a network before it trains: each defect changes the one it is given, in place."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Defect = Callable[[nn.Module], None]


def weights(net: nn.Module, patterns: tuple[str, ...]) -> Iterator[nn.Parameter]:
    """Yield the parameters of two dimensions or more whose names match a pattern; all of them without a pattern."""
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1 and any(fnmatchcase(name, pattern) for pattern in patterns or ("*",)):
            yield parameter


def none(net: nn.Module) -> None:
    """Leave the network as it is."""


def gaussian(std: float, *patterns: str) -> Defect:
    """Draw weights from N(0, std²)."""

    def change(net: nn.Module) -> None:
        for weight in weights(net, patterns):
            nn.init.normal_(weight, std=std)

    return change


def constant(value: float, *patterns: str) -> Defect:
    """Set weights to one number."""

    def change(net: nn.Module) -> None:
        for weight in weights(net, patterns):
            nn.init.constant_(weight, value)

    return change


def scaled(factor: float, *patterns: str) -> Defect:
    """Multiply weights."""

    def change(net: nn.Module) -> None:
        for weight in weights(net, patterns):
            weight.data.mul_(factor)

    return change


def biased(value: float, *layers: str) -> Defect:
    """Set the biases of layers to one number."""

    def change(net: nn.Module) -> None:
        for layer in layers:
            bias = net.get_submodule(layer).bias
            if not isinstance(bias, nn.Parameter):
                message = f"{layer} has no bias to set"
                raise TypeError(message)
            nn.init.constant_(bias, value)

    return change
