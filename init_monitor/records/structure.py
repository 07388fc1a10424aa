"""What was built: the network as it was executed, layer by layer, with its residual additions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from init_monitor.records.outline import outline_text, rendered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from init_monitor.records.layer import Layer, Residual


@dataclass(frozen=True, slots=True)
class Structure:
    """The network as it was executed: layers in execution order, and its residual additions.

    It prints as an outline, and as a tree where rich prints it.
    """

    layers: tuple[Layer, ...] = ()
    residuals: tuple[Residual, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Tap names in execution order."""
        return tuple(layer.name for layer in self.layers)

    def by_name(self) -> dict[str, Layer]:
        """Return the layers keyed by tap name."""
        return {layer.name: layer for layer in self.layers}

    def __len__(self) -> int:
        """Count the watched layers."""
        return len(self.layers)

    def __str__(self) -> str:
        """Return the network as an indented outline."""
        return outline_text(self.layers, self.residuals)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Draw the network as a tree."""
        return rendered(self.layers, self.residuals, console, options)
