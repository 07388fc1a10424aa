"""How pasted code addresses the modules of the user's model: one by one, by a loop over names, or by class."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer

NAMES_IN_A_LIST = 12
"""Up to this many layers are listed by name, which still fits the screen. More are addressed by their class or, where other
layers of the class must stay as they are, by the pattern of their names."""

EXCEPTIONS = 3
"""Where nearly all layers of a class are meant, up to this many of them are excluded by name."""

NAMES_IN_A_LINE = 4

IN_NN = frozenset(
    {
        "Linear", "Bilinear", "Embedding", "Conv1d", "Conv2d", "Conv3d",
        "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    }
)  # fmt: skip


def expression(path: str) -> str:
    """Return the Python expression for the module at ``path`` of ``model``.

    >>> expression("net.3"), expression("layer1.0.conv1"), expression("blocks.a-b.fc"), expression("")
    ('model.net[3]', 'model.layer1[0].conv1', 'model.get_submodule("blocks.a-b.fc")', 'model')
    """
    written = "model"
    for part in path.split(".") if path else ():
        if part.isascii() and part.isdigit() and str(int(part)) == part:
            written += f"[{part}]"
        elif part.isidentifier() and not keyword.iskeyword(part):
            written += f".{part}"
        else:
            return f'model.get_submodule("{path}")'
    return written


def addressed(group: Sequence[Layer], spared: Sequence[str] | None) -> tuple[list[str], str]:
    """Return the lines that go through the layers of a group, and the indent inside.

    Args:
        group: layers of one class.
        spared: the layers of that class that must not be touched; ``None`` if they are not known.
    """
    kind, names = group[0].kind, [layer.module for layer in group]
    if len(names) <= NAMES_IN_A_LIST or spared is None or len(spared) > EXCEPTIONS:
        return [*_by_name(names), "    layer = model.get_submodule(name)"], "    "
    test = f"isinstance(layer, nn.{kind})" if kind in IN_NN else f'type(layer).__name__ == "{kind}"'
    if not spared:
        return ["for layer in model.modules():", f"    if {test}:"], "        "
    left_out = ", ".join(f'"{name}"' for name in spared)
    return ["for name, layer in model.named_modules():", f"    if {test} and name not in {{{left_out}}}:"], "        "


def _by_name(modules: Sequence[str]) -> list[str]:
    """Return the head of a loop over module paths: a pattern with a running number, or the list of them."""
    if len(modules) <= NAMES_IN_A_LIST:
        listed = ", ".join(f'"{module}"' for module in modules)
        return [f"for name in [{listed}]:"]
    for number in re.finditer(r"(?<![^.])\d+(?![^.])", modules[0]):
        if pattern := _pattern(modules, modules[0][: number.start()]):
            return [f"for name in [{pattern}]:"]
    rows = [modules[i : i + NAMES_IN_A_LINE] for i in range(0, len(modules), NAMES_IN_A_LINE)]
    return ["for name in [", *("    " + " ".join(f'"{module}",' for module in row) for row in rows), "]:"]


def _pattern(modules: Sequence[str], before: str) -> str:
    """Return what gives all module paths by the number that follows ``before``; empty if they are not every part of every one.

    >>> _pattern([f"net.{i}.{part}" for i in (2, 3, 4) for part in ("query", "key")], "net.")
    'f"net.{i}.{part}" for i in range(2, 5) for part in ("query", "key")'
    """
    found = [re.fullmatch(rf"{re.escape(before)}(\d+)(.*)", module) for module in modules]
    places = [(int(one[1]), one[2]) for one in found if one is not None]
    numbers, parts = list(dict.fromkeys(i for i, _ in places)), list(dict.fromkeys(part for _, part in places))
    first = numbers[0] if numbers else 0
    every = [f"{before}{i}{part}" for i in range(first, first + len(numbers)) for part in parts]
    if every != list(modules) or len(numbers) == 1 or any("{" in text for text in (before, *parts)):
        return ""
    counted = f"range({first}, {first + len(numbers)})" if first else f"range({len(numbers)})"
    if len(parts) == 1:
        return f'f"{before}{{i}}{parts[0]}" for i in {counted}'
    dot = "." if all(part.startswith(".") for part in parts) else ""
    listed = ", ".join(f'"{part.removeprefix(dot)}"' for part in parts)
    return f'f"{before}{{i}}{dot}{{part}}" for i in {counted} for part in ({listed})'
