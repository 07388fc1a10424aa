"""Normalisation layers as newly created: weight 1, bias 0, running mean 0, running variance 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from init_monitor.recipes.fill import fill
from init_monitor.recipes.layer_kinds import is_frozen_parameter
from init_monitor.recipes.refusals import check_values, nothing
from init_monitor.structure.layers import NORMALISATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.recipes.recurrent import Recurrent as Module


def normalisation_defaults_(target: Module, *, frozen: bool = False) -> Module:
    """Set every normalisation to weight 1 and bias 0 and forget its running statistics: nothing is drawn.

    This applies to torch's own normalisations and classes derived from them; another class may use its weight
    differently (1 + weight, for instance) and is left alone. Sources: Ioffe & Szegedy 2015, Algorithm 1; Ba et al. 2016.

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> layer = recipes.normalisation_defaults_(nn.BatchNorm1d(3))
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])

    Args:
        target: a normalisation, or a module that contains some.
        frozen: set parameters that do not require a gradient, too.

    Returns:
        ``target``.

    Raises:
        RecipeError: ``target`` has no normalisation with a weight, or all of them are frozen.
    """
    if not isinstance(target, nn.Module):
        message = f"normalisation_defaults_ takes a normalisation or a model, got {type(target).__name__}."
        raise TypeError(message)
    layers = [(path, module) for path, module in target.named_modules() if isinstance(module, NORMALISATIONS)]
    parts = {module: _parts(path, module) for path, module in layers}
    chosen = [
        module for module, own in parts.items() if frozen or not own or not all(map(is_frozen_parameter, own.values()))
    ]
    if not chosen:
        nothing("normalisation_defaults_", target, "normalisation", len(layers))
    for module in chosen:
        for name, parameter in parts[module].items():
            if frozen or not is_frozen_parameter(parameter):
                fill(parameter, _VALUES[name])
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:  # noqa: SLF001
            module.reset_running_stats()
    return target


def _parts(path: str, module: nn.Module) -> dict[str, nn.Parameter]:
    own = {name: parameter for name, parameter in module.named_parameters(recurse=False) if name in _VALUES}
    for name, parameter in own.items():
        check_values(parameter, f"{path}.{name}".lstrip("."), "normalisation_defaults_")
    return own


_VALUES: dict[str, Callable[[Tensor], object]] = {"weight": nn.init.ones_, "bias": nn.init.zeros_}
