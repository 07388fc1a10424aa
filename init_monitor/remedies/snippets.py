"""Code to paste: what a finding asks to change, written for the modules of the user's model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.attention_parts import parts_of
from init_monitor.analysis.initialiser_choice import choice_for
from init_monitor.analysis.mirrored_chains import LEAST
from init_monitor.analysis.recurrent import GATES
from init_monitor.records import Structure
from init_monitor.remedies import computed_weights
from init_monitor.remedies.addressing import addressed, expression
from init_monitor.remedies.initialiser_code import ZERO, Lines, lines_of, recurrent_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from init_monitor.records import Layer

__all__ = ["ZERO", "advice", "expression", "initialise", "together"]

ONE_LINE_EACH = 3
"""Up to this many layers get a line each, which a person can check one by one."""

BLANK = "\n"
HEAD = f"from torch import nn\n{BLANK}"
RECIPES = "from init_monitor import recipes\n"
PAIRS = f" Behind {LEAST} rectifiers in a row kaiming_normal_ leaves all samples alike; mirrored_ does not."
IN_ORDER = """# in each step of the loop:
# optimizer.zero_grad()
# loss.backward()
# optimizer.step()"""
NOTHING = Structure()
"""A network of which nothing is known."""


def initialise(layers: Iterable[Layer], recipe: str = "", *, among: Structure = NOTHING) -> str:
    """Return code that re-initialises the weights of ``layers`` and zeroes their biases, and touches nothing else.

    Args:
        layers: weight layers; several calls of one module count once, layers without a known weight not at all.
        recipe: the initialiser for all of them, with ``{}`` for the weight; chosen per layer if empty.
        among: the network, which says where each layer stands and which others of its class are to be left alone.

    Returns:
        Lines of Python that need ``model``, or an empty string if no layer has a weight to address.
    """
    meant = _owning([part for layer in layers for part in parts_of(layer)], among)
    weights = {(x.module, x.weight): x for x in reversed(meant) if x.weight or x.torch_kind in GATES}
    recurrent = [layer for layer in weights.values() if layer.torch_kind in GATES and not recipe]
    groups: dict[tuple[Lines, str, str], list[Layer]] = {}
    for layer in sorted(weights.values(), key=lambda one: one.depth):
        if layer not in recurrent:
            lines = Lines(recipe) if recipe else lines_of(choice_for(layer, among), layer)
            groups.setdefault((lines, _own_name(layer, layer.weight), layer.kind), []).append(layer)
    computed = [] if recipe else computed_weights.lines_of(meant)
    if not weights:
        return _with_import(["\n".join(computed)]) if computed else ""
    few = len(weights) <= ONE_LINE_EACH
    code: list[str] = []
    named = {module for module, _ in weights}
    every = [part for layer in among.layers for part in parts_of(layer)]
    healthy = {layer.module: layer.kind for layer in every if layer.module not in named}
    # A filter by class touches every layer of that class: the largest group goes first, the others come after, by name.
    filtered: set[str] = set()
    for (lines, weight, kind), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        if few or len(group) == 1:
            code += [line for layer in group for line in _one(layer, lines, weight)]
        else:
            by_class = not recipe and kind not in filtered
            code += _loop(
                group, lines, weight, [x for x, other in healthy.items() if other == kind] if by_class else None
            )
            filtered.add(kind)
    for layer in recurrent:
        code += recurrent_lines(layer, expression(layer.module))
    return _with_import(["\n".join(code + computed)])


def _owning(layers: Sequence[Layer], among: Structure) -> tuple[Layer, ...]:
    """Return for each layer the one whose module its weight is a parameter of: a tied weight is written once, and by its name."""
    owners = {
        x.weight: x for x in reversed((*layers, *among.layers)) if x.weight and _own_name(x, x.weight) != x.weight
    }
    return tuple(dict.fromkeys(owners.get(layer.weight, layer) for layer in layers))


def together(*codes: str) -> str:
    r"""Join pieces of code, importing once.

    >>> together("", "from torch import nn\n\na = 1", "from torch import nn\n\nb = 2").splitlines()
    ['from torch import nn', '', 'a = 1', 'b = 2']
    """
    bodies = [code.removeprefix(RECIPES).removeprefix(HEAD).removeprefix(BLANK) for code in codes if code]
    return _with_import(bodies) if bodies else ""


def _with_import(bodies: Iterable[str]) -> str:
    """Return code below the imports that it needs."""
    body = "\n".join(bodies)
    named = "recipes." in body
    alone = named and "nn." not in body
    return f"{RECIPES if named else ''}{BLANK if alone else HEAD}{body}"


def advice(sentence: str, code: str = "") -> str:
    """Join a sentence and its code the way a finding carries them."""
    sentence += PAIRS if "recipes.mirrored_(" in code else ""
    return f"{sentence}\n\n{code}" if code else sentence


def _own_name(layer: Layer, parameter: str) -> str:
    """Return the name of a parameter within its module."""
    return parameter.removeprefix(f"{layer.module}." if layer.module else "")


def _one(layer: Layer, lines: Lines, weight: str) -> list[str]:
    module = expression(layer.module)
    if lines.whole:
        return [lines.weight.format(module)]
    code = [lines.weight.format(f"{module}.{weight}")]
    if layer.bias and lines.bias:
        code.append(lines.bias.format(f"{module}.{_own_name(layer, layer.bias)}", f"{module}.{weight}"))
    return code


def _loop(group: Sequence[Layer], lines: Lines, weight: str, spared: Sequence[str] | None) -> list[str]:
    biases = {_own_name(layer, layer.bias) for layer in group} - {""}
    code, indent = addressed(group, spared)
    if lines.whole:
        return [*code, indent + lines.weight.format("layer")]
    code.append(indent + lines.weight.format(f"layer.{weight}"))
    for bias in sorted(biases) if lines.bias else ():
        filled = lines.bias.format(f"layer.{bias}", f"layer.{weight}")
        code += [f"{indent}if layer.{bias} is not None:", f"{indent}    {filled}"]
    return code


def standardise(layer: Layer, mean: float, std: float) -> str:
    """Return code that standardises the input of ``layer``, without changing the forward.

    Args:
        layer: a layer that takes the network's input as its first argument.
        mean: of that input.
        std: its standard deviation, positive.
    """
    return "\n".join(
        [
            f"{expression(layer.module)}.register_forward_pre_hook(",
            f"    lambda module, args: ({standardised('args[0]', mean, std)}, *args[1:])",
            ")",
        ]
    )


def standardised(name: str, mean: float, std: float) -> str:
    """Return the expression that standardises ``name``.

    >>> standardised("x", 33.0, 79.0)
    '(x - 33) / 79'
    """
    sign = "-" if mean >= 0 else "+"
    return f"({name} {sign} {abs(mean):.4g}) / {std:.4g}"
