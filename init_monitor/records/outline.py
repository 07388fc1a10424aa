"""A network as an outline to read: layers under their modules, what follows each, and where residuals are added.

Only words here: :class:`~init_monitor.records.Structure` prints itself with them, and a display makes a tree of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records.quoting import clipped, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from init_monitor.records.layer import Layer, Residual

_ACTIVATION = "activation"
"""The role of a layer that is an activation itself: nothing follows it that its line would have to name."""

_FUNCTION = re.compile(r"(@\d+)?/(?=[^/]+$)")
"""What follows the module's path in the name of an activation that its forward called as a function."""

_DEEPEST = 50
"""Levels of nested modules that are drawn; a deeper path is shown as one name."""

_ASCII = str.maketrans({"⊕": "+", "←": "<-", "→": "->", "×": "x"})


class Part(Enum):
    """What a line of the outline is about; an aside is a residual addition outside the main stream."""

    MODULE = "module"
    LAYER = "layer"
    RESIDUAL = "residual"
    ASIDE = "aside"


PART_STYLES = {Part.MODULE: "bold", Part.LAYER: "", Part.RESIDUAL: "cyan", Part.ASIDE: "dim"}
"""How a display that has colours writes the names."""


@dataclass(slots=True)
class Entry:
    """One line of the outline and what is below it.

    Attributes:
        part: what it is about.
        name: name below its parent; without control characters.
        note: what is said about it.
        below: its children, in execution order.
    """

    part: Part
    name: str
    note: str = ""
    below: list[Entry] = field(default_factory=list)


class Line(NamedTuple):
    """One line of text: what leads to it from above, then name and note."""

    guide: str
    name: str
    note: str
    part: Part


def outline(layers: Sequence[Layer], residuals: Sequence[Residual]) -> Entry:
    """Return the network as a tree: modules by path, in them layers and residual additions in execution order."""
    modules = {"": Entry(Part.MODULE, "network", _counted(len(layers), len(residuals)))}
    for path, entry in _in_order(layers, residuals):
        _module(modules, path).below.append(entry)
    root = modules[""]
    root.below = [_joined(entry) for entry in root.below]
    return root


def outline_lines(layers: Sequence[Layer], residuals: Sequence[Residual], *, plain: bool = False) -> Iterator[Line]:
    """Return the outline line by line.

    Args:
        layers: of the network, in execution order.
        residuals: its residual additions, likewise.
        plain: in ASCII (except for names that are not), indented by two spaces instead of drawn.
    """
    root = outline(layers, residuals)
    yield Line("", root.name, root.note, root.part)
    for line in _lines_below(root, "", plain=plain):
        yield line._replace(name=line.name.translate(_ASCII), note=line.note.translate(_ASCII)) if plain else line


def outline_text(layers: Sequence[Layer], residuals: Sequence[Residual]) -> str:
    """Return the outline as plain text, in ASCII where the names are: it can be printed anywhere."""
    return "\n".join(
        f"{guide}{name}{note and ': '}{note}" for guide, name, note, _ in outline_lines(layers, residuals, plain=True)
    )


def rendered(
    layers: Sequence[Layer], residuals: Sequence[Residual], console: Console, options: ConsoleOptions
) -> Iterator[Text]:
    """Return the outline as rich draws text; the console itself makes it, so that nothing of rich is needed here."""
    for guide, name, note, part in outline_lines(layers, residuals, plain=options.ascii_only):
        text = console.render_str(guide, markup=False, emoji=False, highlight=False)
        text.append(name, style=PART_STYLES[part])
        if note:
            text.append(f"  {note}", style="dim")
        yield text


def _counted(layers: int, residuals: int) -> str:
    if not layers and not residuals:
        return "nothing was measured yet"
    words = f"{layers} layer{'' if layers == 1 else 's'}"
    return f"{words}, {residuals} residual addition{'' if residuals == 1 else 's'}" if residuals else words


def _in_order(layers: Sequence[Layer], residuals: Sequence[Residual]) -> Iterator[tuple[str, Entry]]:
    """Each layer and residual addition with the path of the module it belongs below, in execution order."""
    waiting = sorted(residuals, key=lambda residual: residual.depth, reverse=True)
    for position, layer in enumerate(layers):
        while waiting and waiting[-1].depth <= position:
            residual = waiting.pop()
            yield residual.owner, _residual_entry(residual)
        path, own = _place(layer)
        yield path, _layer_entry(layer, own)
    while waiting:
        residual = waiting.pop()
        yield residual.owner, _residual_entry(residual)


def _place(layer: Layer) -> tuple[str, str]:
    """Path of the module that a layer is in, and its name there."""
    function = _FUNCTION.match(layer.name.removeprefix(layer.module))
    if function is not None:
        return layer.module, layer.name[len(layer.module) + function.end() :]
    parent = layer.module.rpartition(".")[0]
    return parent, layer.name.removeprefix(f"{parent}.")


def _layer_entry(layer: Layer, own: str) -> Entry:
    follows = ["normalised"] if layer.normalised else []
    if layer.activation is not None and layer.role != _ACTIVATION:
        follows.append(layer.activation)
    return Entry(Part.LAYER, _shown(own), _shown(" → ".join((layer.kind, *follows))))


def _residual_entry(residual: Residual) -> Entry:
    notes = [
        f"{residual.kind}: skip ← {residual.skip}{_scaled(residual.skip_scale)}",
        f"branch ← {residual.branch}{_scaled(residual.branch_scale)}",
    ]
    if residual.again:
        notes.append("the skip once more")
    elif residual.sum_scale != 1:
        notes.append(f"sum{_scaled(residual.sum_scale)}")
    notes += [word for word in ("nested", "long") if getattr(residual, word)]
    if residual.normalised:
        notes.append("then normalised")
    part = Part.ASIDE if residual.nested or residual.long else Part.RESIDUAL
    return Entry(part, _shown(f"⊕ {residual.name}"), _shown(", ".join(notes)))


def _scaled(factor: float) -> str:
    if factor == 1:
        return ""
    return " × a tensor" if math.isnan(factor) else f" × {factor:.3g}"


def _module(modules: dict[str, Entry], path: str) -> Entry:
    """Return the entry of a module, made with those above it if it is new."""
    found = modules.get(path)
    if found is None:
        above, _, own = path.rpartition(".") if path.count(".") < _DEEPEST else ("", "", path)
        found = modules[path] = Entry(Part.MODULE, _shown(own))
        _module(modules, above).below.append(found)
    return found


def _joined(entry: Entry) -> Entry:
    """Write modules that hold nothing but one other module on one line."""
    while entry.part is Part.MODULE and len(entry.below) == 1 and entry.below[0].part is Part.MODULE:
        only = entry.below[0]
        entry = Entry(Part.MODULE, f"{entry.name}.{only.name}", below=only.below)
    entry.below = [_joined(one) for one in entry.below]
    return entry


def _lines_below(entry: Entry, lead: str, *, plain: bool) -> Iterator[Line]:
    for one in entry.below:
        is_last = one is entry.below[-1]
        branch, onward = ("  ", "  ") if plain else ("└── ", "    ") if is_last else ("├── ", "│   ")
        yield Line(lead + branch, one.name, one.note, one.part)
        yield from _lines_below(one, lead + onward, plain=plain)


def _shown(text: str) -> str:
    return clipped(printable(text))
