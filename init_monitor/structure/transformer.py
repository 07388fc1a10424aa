"""Which layers of a network lie in transformer blocks: around attention, and along the stream it writes into."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.analysis.residual_streams import streams
from init_monitor.structure.fans import is_transposed_linear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Structure

_Conv = nn.modules.conv._ConvNd  # noqa: SLF001 - the one common base of all convolutions
_LINEAR: tuple[type[nn.Module], ...] = (nn.Linear, nn.MultiheadAttention)


def linear_layers(structure: Structure, modules: Mapping[str, nn.Module]) -> frozenset[str]:
    """Return the names of the linear layers that lie in transformer blocks.

    A block is the module that holds an attention module and its neighbours. An attention module has ``attention`` or ``attn`` in
    its class name and linear layers in it; where a convolution with a kernel lies next to it, it weights the channels or
    positions of a convolutional network, which is not a transformer. Nor is a network without residual additions.

    Args:
        structure: the network as it was executed.
        modules: every module by its path.
    """
    blocks = _blocks(modules) if structure.residuals else set()
    if not blocks:
        return frozenset()
    along: set[str] = set()
    for stream in streams(structure):
        names = [name for residual in stream.residuals for name in residual.layers]
        if any(_lies_in(name, block) for name in names for block in blocks):
            along.update(names)
    return frozenset(
        layer.name
        for layer in structure.layers
        if _is_linear(modules.get(layer.module))
        and (layer.name in along or any(_lies_in(layer.module, block) for block in blocks))
    )


def _blocks(modules: Mapping[str, nn.Module]) -> set[str]:
    """Return the paths of the modules that hold an attention module."""
    attention = [name for name, module in modules.items() if _is_attention(module)]
    outer = [name for name in attention if not any(_lies_in(name, other) for other in attention if other != name)]
    # An attention module at the top is a block of its own: the network around it is more than its block.
    beside = {name.rpartition(".")[0] or name for name in outer}
    return {block for block in beside if block in modules and not _convolves(modules[block])}


def _is_attention(module: nn.Module) -> bool:
    name = type(module).__name__.casefold()
    return ("attention" in name or "attn" in name) and any(map(_is_linear, module.modules()))


def _is_linear(module: nn.Module | None) -> bool:
    return isinstance(module, _LINEAR) or is_transposed_linear(module)


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(part, _Conv) and math.prod(part.kernel_size) > 1 for part in module.modules())


def _lies_in(name: str, block: str) -> bool:
    return name == block or name.startswith((f"{block}.", f"{block}#"))
