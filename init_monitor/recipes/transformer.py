"""Which layers of a network lie in transformer blocks: around attention, and along the stream it writes into."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.analysis.residual_streams import streams
from init_monitor.recipes.layer_kinds import is_transposed_linear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Layer, Structure

_Conv = nn.modules.conv._ConvNd  # noqa: SLF001 - the one common base of all convolutions


class Transformer:
    """The transformer blocks of a network; false if it has none.

    A block is what holds an attention module beside its other parts. An attention module has ``attention`` or ``attn`` in
    its class name and linear layers in it; where a convolution with a kernel lies next to it, it weighs the channels or
    places of a convolutional network, which is no transformer. Only linear layers of a block belong to it.
    """

    def __init__(self, modules: Mapping[str, nn.Module], structure: Structure) -> None:
        """Find the blocks.

        Args:
            modules: every module by its path.
            structure: the network as it was executed.
        """
        attention = [name for name, module in modules.items() if _is_attention(module)]
        outer = [name for name in attention if not any(_lies_in(name, other) for other in attention if other != name)]
        # An attention module at the top speaks for itself alone: the network around it is more than its block.
        beside = {name: name.rpartition(".")[0] or name for name in outer}
        self._blocks = {block for block in beside.values() if block in modules and not _convolves(modules[block])}
        self._streams: set[str] = set()
        for stream in streams(structure) if self._blocks else ():
            layers = [name for residual in stream.residuals for name in residual.layers]
            if any(_lies_in(name, block) for name in layers for block in self._blocks):
                self._streams.update(layers)
        self._exists = bool(self._blocks) and bool(structure.residuals)

    def __bool__(self) -> bool:
        """Say whether there is a transformer block."""
        return self._exists

    def has(self, layer: Layer, name: str, module: nn.Module) -> bool:
        """Say whether a layer is a linear one of a transformer block.

        Args:
            layer: as it was executed.
            name: path of its module.
            module: the module itself.
        """
        if not self._exists or not (isinstance(module, _LINEAR) or is_transposed_linear(module)):
            return False
        return layer.name in self._streams or any(_lies_in(name, block) for block in self._blocks)


_LINEAR: tuple[type[nn.Module], ...] = (nn.Linear, nn.MultiheadAttention)


def _is_attention(module: nn.Module) -> bool:
    name = type(module).__name__.casefold()
    return ("attention" in name or "attn" in name) and any(
        isinstance(part, _LINEAR) or is_transposed_linear(part) for part in module.modules()
    )


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(part, _Conv) and math.prod(part.kernel_size) > 1 for part in module.modules())


def _lies_in(name: str, block: str) -> bool:
    return name == block or name.startswith((f"{block}.", f"{block}#"))
