"""A network as a rich tree: layers under their modules, and where residuals are added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from init_monitor.records.outline import PART_STYLES, Entry, outline

if TYPE_CHECKING:
    from init_monitor.records import Structure


def structure_tree(structure: Structure) -> Tree:
    """Return a tree with a leaf per layer (its kind, what follows it) and per residual addition (⊕, its two terms)."""
    root = outline(structure.layers, structure.residuals)
    tree = Tree(_label(root))
    _grow(tree, root)
    return tree


def _grow(tree: Tree, entry: Entry) -> None:
    for one in entry.below:
        _grow(tree.add(_label(one)), one)


def _label(entry: Entry) -> Text:
    label = Text(entry.name, style=PART_STYLES[entry.part])
    return label.append(f"  {entry.note}", style="dim") if entry.note else label
