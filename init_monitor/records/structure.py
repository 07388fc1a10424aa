"""What was built: the network as it was executed, layer by layer, with its residual additions."""

from __future__ import annotations

import html
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from init_monitor.records.once import Keeping, once
from init_monitor.records.outline import outline_text, rendered
from init_monitor.records.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from init_monitor.records.attention import Attention
    from init_monitor.records.layer import Layer, Residual

_SHORT_OUTLINE = 40
"""Lines of an outline that a notebook shows unfolded."""


@dataclass(frozen=True, repr=False)
class Structure(Keeping):
    """The network as it was executed: layers in execution order, its residual additions, and its attentions.

    It prints as an outline, and as a tree where rich prints it.
    """

    layers: tuple[Layer, ...] = ()
    residuals: tuple[Residual, ...] = ()
    attentions: tuple[Attention, ...] = ()

    @property
    @once
    def names(self) -> tuple[str, ...]:
        """Tap names in execution order."""
        return tuple(layer.name for layer in self.layers)

    @once
    def by_name(self) -> Mapping[str, Layer]:
        """Return the layers keyed by tap name."""
        return MappingProxyType({layer.name: layer for layer in self.layers})

    def calls_of(self, layer: Layer) -> tuple[Layer, ...]:
        """Return the calls of the module that ``layer`` is a call of, itself among them, in execution order.

        They share their weights: a change for one of them is a change for all. For a module that returns
        several tensors they are those of the same tensor; a function without a weight stands for itself.
        """
        if "/" in layer.name:
            return (layer,)
        return tuple(x for x in self.layers if x.module == layer.module and _apart(x) == _apart(layer))

    def __len__(self) -> int:
        """Count the watched layers."""
        return len(self.layers)

    def __str__(self) -> str:
        """Return the network as an indented outline."""
        return outline_text(self.layers, self.residuals)

    def __repr__(self) -> str:
        """Say how large it is, in a line.

        >>> Structure()
        Structure(0 layers, 0 residual additions)
        """
        return f"Structure({len(self.layers)} layers, {len(self.residuals)} residual additions)"

    def _repr_html_(self) -> str:
        """Show the network in a notebook: the outline, folded away where it is long."""
        text = html.escape(printable(str(self), lines=True))
        opened = " open" if text.count("\n") <= _SHORT_OUTLINE else ""
        return f"<details{opened}><summary>{html.escape(repr(self))}</summary><pre>{text}</pre></details>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Draw the network as a tree."""
        return rendered(self.layers, self.residuals, console, options)


def _apart(layer: Layer) -> tuple[str, str]:
    """Return what distinguishes the taps of one module, apart from the call: its weight, and which output it is."""
    call, bracket, path = layer.name.removeprefix(layer.module).partition("[")
    return (call.partition("#")[0], bracket + path)
