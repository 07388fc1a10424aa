"""Deep plain chains of rectifiers, which random weights serve badly, and which of their layers can be drawn in mirrored pairs.

Behind a rectifier with independent weights all samples drift together: of two unrelated inputs the correlation is 0.32 after
one ReLU, 0.9 after twelve and 0.97 after thirty (Cho & Saul 2009, Eq. 6, iterated), and the logarithm of the signal's square
varies from draw to draw by about 5·depth/width (Hanin & Rolnick 2018). Where f(z) - f(-z) is proportional to z, pairs of
units with opposite weights pass the whole signal on: orthogonal weights on those pairs make the network start as an isometry
of any depth (Balduzzi et al. 2017, Section 4; Burkholz & Dubatovka 2019), in a convolution at the kernel's centre (Xiao et al.
2018). ``docs/recipes.md`` has the measurement.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from init_monitor.analysis.activations import activation_called
from init_monitor.records import Role
from init_monitor.records.once import once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.analysis.activations import Activation
    from init_monitor.records import Layer, Structure

LEAST = 12
"""Rectifiers in a row from which on He's weights fall short: behind so many of them nine tenths of the variance are the same in all
samples. With 8 layers of 64 units they learned digits to a loss of 0.055 in 200 steps, where pairs came to 0.023: both will do.
With 13 (twelve rectifiers) it was 0.08 to 0.12 against 0.02, with 32 0.43 to 1.05 against 0.03 (``docs/recipes.md``)."""

_DENSE = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d"})


@once
def mirrored_layers(structure: Structure) -> Mapping[str, bool]:
    """Return the modules of deep plain chains; True for the first of a chain, whose input does not come in pairs."""
    known = structure.by_name()
    inside = {name for residual in structure.residuals for name in residual.layers}
    calls: dict[str, int] = {}
    for layer in structure.layers:
        calls[layer.module] = calls.get(layer.module, 0) + 1
    chain: dict[str, str] = {}
    count: dict[str, int] = {}
    for layer in structure.layers:
        if layer.name in inside or calls[layer.module] > 1 or not _is_plain(layer):
            continue
        before = _feeding(layer, known)
        root = chain.get(before.name, layer.name) if before is not None else layer.name
        chain[layer.name] = root
        count[root] = count.get(root, 0) + 1
    return MappingProxyType({known[name].module: name == root for name, root in chain.items() if count[root] >= LEAST})


def slope_of(layer: Layer) -> float:
    """Return the slope below zero of the activation that follows a layer; 0 for all but leaky rectifiers."""
    if layer.activation_slope is not None:
        return layer.activation_slope
    follows = activation_called(layer.activation)
    return (follows.negative_slope if follows is not None else None) or 0.0


def _is_plain(layer: Layer) -> bool:
    """Say whether a layer mixes units densely, with no normalisation behind it, in front of an activation whose odd part is linear."""
    follows = activation_called(layer.activation)
    dense = layer.role is Role.WEIGHT and layer.torch_kind in _DENSE and bool(layer.weight)
    grouped = bool(layer.forward_terms) and layer.forward_terms != layer.fan_in
    free = not (layer.normalised or layer.transformer or layer.frequency)
    return dense and not grouped and free and follows is not None and follows.odd_part_is_linear


def _feeding(layer: Layer, known: Mapping[str, Layer]) -> Layer | None:
    """Return the weight layer whose activation a layer reads, if it reads nothing else."""
    activation = _only_input(layer, known)
    if activation is None or activation.role is not Role.ACTIVATION or not _passes(activation_called(activation.kind)):
        return None
    return _only_input(activation, known)


def _passes(activation: Activation | None) -> bool:
    return activation is not None and activation.odd_part_is_linear


def _only_input(layer: Layer, known: Mapping[str, Layer]) -> Layer | None:
    return known.get(layer.inputs[0]) if layer.direct and len(layer.inputs) == 1 else None
