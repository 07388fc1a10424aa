"""Code that changes what an attention multiplies without touching its forward: hooks on the layers that make queries and keys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.remedies.addressing import addressed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from init_monitor.analysis.attention_heads import Heads
    from init_monitor.records import Layer, Structure

PARTS = 3
"""Queries, keys and values, in this order as in every common network, where one layer makes all of them."""

SCALED = """def divided(module, args, output):
    return output / {factor}
"""
SCALED_PART = """def divided(module, args, output):  # the queries alone, the first third
    queries, others = output.tensor_split([output.shape[-1] // 3], dim=-1)
    return torch.cat([queries / {factor}, others], dim=-1)
"""
NORMALISED = """def normalised(module, args, output):  # every query and every key gets an rms of 1
    heads = output.unflatten(-1, (-1, {width}))
    return nn.functional.rms_norm(heads, ({width},)).flatten(-2)
"""
NORMALISED_PART = """def normalised(module, args, output):  # queries and keys alone, the first two thirds
    both, values = output.tensor_split([output.shape[-1] * 2 // 3], dim=-1)
    heads = both.unflatten(-1, (-1, {width}))
    return torch.cat([nn.functional.rms_norm(heads, ({width},)).flatten(-2), values], dim=-1)
"""
IMPORTS = "import torch\nfrom torch import nn"


class _Makers(NamedTuple):
    """The layers of one attention that hooks go to: one for queries and one for keys, or one for those and the values."""

    layers: tuple[Layer, ...]
    together: bool


def dividing(found: Sequence[Heads], factor: float, structure: Structure) -> str:
    """Return code that divides the queries, and with them the logits, by ``factor``; empty if their layers are not known.

    What it computes, its gradients included, is what the same division of the logits in the forward gives.
    """
    makers = _all_makers(found, structure)
    if not makers or any(one.attention.normalised for one in found):
        return ""
    template = SCALED_PART if makers[0].together else SCALED
    width = found[0].attention.head_dim
    written = f"{width}**0.5" if math.isclose(factor, math.sqrt(width), rel_tol=1e-5) else f"{factor:.6g}"
    return _code(template.format(factor=written), "divided", [one.layers[0] for one in makers])


def normalising(found: Sequence[Heads], structure: Structure) -> str:
    """Return code that gives every query and key an rms of 1 (QK-norm); empty if their layers are not known."""
    makers, widths = _all_makers(found, structure), {one.attention.head_dim for one in found}
    if not makers or len(widths) > 1:
        return ""
    template = NORMALISED_PART if makers[0].together else NORMALISED
    return _code(template.format(width=widths.pop()), "normalised", [layer for one in makers for layer in one.layers])


def _code(function: str, name: str, layers: Iterable[Layer]) -> str:
    loop, _ = addressed(list({layer.module: layer for layer in layers}.values()), None)
    hook = f"    layer.register_forward_hook({name})"
    imports = IMPORTS if "torch." in function and "nn." in function else IMPORTS.splitlines()["nn." in function]
    head = f"{imports}\n\n\n" if "torch." in function or "nn." in function else ""
    return f"{head}{function}\n\n" + "\n".join([*loop, hook])


def _all_makers(found: Sequence[Heads], structure: Structure) -> list[_Makers]:
    """Return the layers of every attention; none if those of one are not known, or they are made in different ways."""
    makers = [_makers_of(one, structure) for one in found]
    known = [one for one in makers if one is not None]
    alike = len(known) == len(makers) and len({one.together for one in known}) == 1
    return known if alike else []


def _makers_of(heads: Heads, structure: Structure) -> _Makers | None:
    """Return the linear layers that make queries and keys, if each makes nothing else, or the one that makes the values as well."""
    attention, known = heads.attention, structure.by_name()
    layers = tuple(known[name] for name in attention.inputs if name in known)
    width = attention.head_dim
    if not width or not layers or any(layer.torch_kind != "Linear" for layer in layers):
        return None
    if len(layers) == 1:
        together = layers[0].fan_out == PARTS * attention.heads * width
        return _Makers(layers, together=True) if together else None
    single = len(layers) == 2 and layers[0].fan_out == attention.heads * width  # noqa: PLR2004 - queries, keys
    return _Makers(layers, together=False) if single and layers[1].fan_out % width == 0 else None
