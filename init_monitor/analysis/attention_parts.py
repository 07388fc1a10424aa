"""The weights of ``nn.MultiheadAttention``, as layers of their own: it calls none of them as a module."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from init_monitor.records import Layer

_PROJECTION = "out_proj"
_INTO = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def parts_of(layer: Layer) -> tuple[Layer, ...]:
    """Return a layer for each weight of an attention, the output projection last; any other layer alone."""
    projection = projection_of(layer)
    if projection is None:
        return (layer,)
    own = [_own(layer, name) for name in _INTO if _path(layer, name) in layer.parameters]
    # The three parts share one bias: the first writes it.
    return (*own[:1], *(replace(one, bias="") for one in own[1:]), projection)


def projection_of(layer: Layer) -> Layer | None:
    """Return the output projection of an attention; ``None`` for any other layer."""
    written = _path(layer, _PROJECTION)
    if f"{written}.weight" not in layer.parameters:
        return None
    named = [f"{written}.{name}" for name in ("weight", "bias")]
    return replace(
        layer,
        name=written,
        module=written,
        kind="Linear",
        derived_from="",
        weight=named[0],
        bias=named[1] if named[1] in layer.parameters else "",
        parameters=tuple(name for name in named if name in layer.parameters),
    )


def _own(layer: Layer, name: str) -> Layer:
    bias = _path(layer, "in_proj_bias")
    return replace(layer, weight=_path(layer, name), bias=bias if bias in layer.parameters else "")


def _path(layer: Layer, name: str) -> str:
    return f"{layer.module}.{name}" if layer.module else name
