"""Code for weights that a layer computes: what is learned is a length and a direction, or a matrix whose norm is taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.remedies.addressing import expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer

LENGTHS = (".parametrizations.weight.original0", ".weight_g")
MATRICES = (".parametrizations.weight.original", ".weight_orig")
"""Names under weight and spectral normalisation, as a parametrization of torch and in its older form."""

BY_BATCH = (
    "recipes.weight_norm_(model, batch)  # lengths and biases that standardise every unit on a batch of real data"
)


def lines_of(layers: Sequence[Layer]) -> list[str]:
    """Return the lines that initialise those of the layers that compute their weight; none if there are none.

    Weight normalisation is initialised by data (Salimans & Kingma 2016, Section 3), the whole network in one pass. Spectral
    normalisation divides by the largest singular value: of an orthogonal matrix all are 1, so that it keeps the signal's length,
    where of a square Gaussian one it leaves a quarter of the variance.
    """
    computing = {layer.module: layer for layer in layers if not layer.weight}.values()
    code = [BY_BATCH] if any(_named(layer, LENGTHS) for layer in computing) else []
    for layer in computing:
        for name in _named(layer, MATRICES):
            own = name.removeprefix(f"{layer.module}." if layer.module else "")
            code.append(f"nn.init.orthogonal_({expression(layer.module)}.{own})")
    return code


def is_computed(layer: Layer) -> bool:
    """Say whether a layer computes its weight in a way that :func:`lines_of` knows."""
    return not layer.weight and bool(_named(layer, LENGTHS) or _named(layer, MATRICES))


def _named(layer: Layer, ends: tuple[str, ...]) -> list[str]:
    return [name for name in layer.parameters if f".{name}".endswith(ends)]
