"""Layers of the user's own class with N(0, 1) weights and no factor in the forward: the factor is missing, not the initialisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.activations import activation_called
from init_monitor.analysis.gains import variance_gains
from init_monitor.analysis.recurrent import GATES
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import snippets
from init_monitor.remedies.addressing import IN_NN, addressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import History, Layer, Structure

UNIT = 1.2
"""Factor by which Var(W) may differ from 1: that of 100 standard normal weights does by 1.3 at most, of 1,000 by 1.1 (95 %)."""

UNSCALED = 2.0
"""Factor by which the measured growth may differ from that of the weights alone: with He's factor it would by fan_in/2."""

FEWEST = 16
"""Inputs above which weights from N(0, 1) are far from any initialisation, whose variance is 2/16 there at most."""

SENTENCE = (
    "Multiply the output of these layers by the root of gain/fan_in in their forward: they are of a class of its own whose weights"
    " start from N(0, 1), and no factor follows, which equalised learning rates need (Karras et al. 2018, Section 4.1). A learning"
    " rate for weights of that size is far too large for smaller ones. The code does the same by hooks."
)


def advice(layers: Sequence[Layer], history: History) -> str:
    """Return the remedy for layers that lack their factor, sentence and code; empty unless all of them do."""
    record = history.records[0]
    if not layers or not all(map(_is_own, layers)) or not _multiply_alone(layers, history):
        return ""
    variances = dict(zip(record.parameter_names, record.column(Quantity.WEIGHT_VARIANCE).tolist(), strict=True))
    if not all(1 / UNIT < variances.get(layer.weight, math.nan) < UNIT for layer in layers):
        return ""
    groups: dict[tuple[float, int], list[Layer]] = {}
    for layer in {layer.module: layer for layer in layers}.values():
        groups.setdefault((_gain(layer, history.structure), layer.fan_in), []).append(layer)
    lines = []
    for (gain, fan_in), group in groups.items():
        loop, indent = addressed(group, None)
        factor = f"({gain:.4g} / {fan_in}) ** 0.5"
        lines += [*loop, f"{indent}layer.register_forward_hook(lambda module, args, output: output * {factor})"]
    return snippets.advice(SENTENCE, "\n".join(lines))


def _is_own(layer: Layer) -> bool:
    torchs = layer.torch_kind in IN_NN or layer.torch_kind in GATES or layer.torch_kind == "MultiheadAttention"
    return layer.role is Role.WEIGHT and not torchs and bool(layer.weight) and layer.fan_in > FEWEST


def _multiply_alone(layers: Sequence[Layer], history: History) -> bool:
    """Say whether each next layer receives what weights from N(0, 1) alone make of the input of the one before."""
    table, structure = history.records[0].layer_table, history.structure
    feeds = {one.inputs[0]: one.name for one in structure.layers if len(one.inputs) == 1}
    growths = []
    for layer in layers:
        after = feeds.get(feeds.get(layer.name, ""), "")
        given, handed = (
            table.at(name, Quantity.INPUT_MEAN_SQUARE) if name else math.nan for name in (layer.name, after)
        )
        growths.append(handed / given * _gain(layer, structure) / layer.fan_in if given > 0 else math.nan)
    known = [growth for growth in growths if growth == growth]  # noqa: PLR0124 - not NaN
    return bool(known) and all(1 / UNSCALED < growth < UNSCALED for growth in known)


def _gain(layer: Layer, structure: Structure) -> float:
    """Return the gain that what takes the output needs: a multiplication in between hides it from the layer itself."""
    takes = [one.kind for one in structure.layers if one.inputs == (layer.name,) and one.role is Role.ACTIVATION]
    known = activation_called(layer.activation or next(iter(takes), None))
    gains = None if known is None else variance_gains(known, layer.activation_slope)
    return 1.0 if gains is None else gains.forward
