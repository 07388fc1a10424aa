"""Code to paste: what a finding asks to change, written for the very modules of the model at hand."""

from __future__ import annotations

import keyword
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from init_monitor.analysis.gains import gains_around
from init_monitor.records import INPUT, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from init_monitor.records import Layer

ONE_LINE_EACH = 3
"""Up to so many layers get a line of their own: a person checks them one by one."""

NAMES_IN_A_LIST = 12
"""Up to so many are named in a list, which still fits the screen; beyond, the class of the layers is addressed, or, for
a recipe that other layers of the class must not get, the pattern of their names."""

EXCEPTIONS = 3
"""Up to so many layers of a class are left out by name where all others of it are meant."""

NAMES_IN_A_LINE = 4

IMPORT = "from torch import nn"

_IN_NN = frozenset(
    {
        "Linear", "Bilinear", "Embedding", "Conv1d", "Conv2d", "Conv3d",
        "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    }
)  # fmt: skip
_GATES = MappingProxyType({"RNN": 1, "RNNCell": 1, "GRU": 3, "GRUCell": 3, "LSTM": 4, "LSTMCell": 4})
"""Gates whose weights a recurrent module keeps one above the other in one parameter."""
_SIGMOIDS = frozenset({"sigmoid", "hardsigmoid"})

XAVIER = "nn.init.xavier_normal_({})"
KAIMING = 'nn.init.kaiming_normal_({}, nonlinearity="relu")'
KAIMING_LEAKY = 'nn.init.kaiming_normal_({}, a=0.01, nonlinearity="leaky_relu")'
LECUN = 'nn.init.kaiming_normal_({}, nonlinearity="linear")'
SMALL = "nn.init.normal_({}, std=0.01)"
"""A wide output (a reconstruction, a vocabulary) that starts near zero has nothing to unlearn: Xavier's would give each of
many numbers a variance near 1, and the first steps are spent on taking it out."""
AFTER_SIGMOID = "nn.init.xavier_normal_({}, gain=4)"
"""A sigmoid is z/4 + 1/2 near 0: four times the weights keep the variance (Glorot & Bengio 2010, Sec. 2) ..."""
CENTRED = "{}.data = {}.data.flatten(1).sum(1) / -2"
"""... and a bias of minus half their sum takes the constant 1/2 out."""
ZERO = "nn.init.zeros_({})"
ONE = "nn.init.ones_({})"


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


def recipe_for(layer: Layer) -> str:
    """Return the initialiser that ``layer`` needs by the activation that follows, with ``{}`` for its weight.

    >>> from init_monitor.records import Layer, Role
    >>> recipe_for(Layer("fc", "fc", "Linear", Role.WEIGHT, 0, activation="ReLU"))
    'nn.init.kaiming_normal_({}, nonlinearity="relu")'
    """
    activation = (layer.activation or "").replace("_", "").casefold()
    if activation in {"leakyrelu", "rrelu"}:
        return KAIMING_LEAKY
    if activation in {"selu", "elu", "celu"}:
        return LECUN
    gains = gains_around(layer.activation, flat_below=layer.flat_below)
    return XAVIER if gains is None or gains.forward == 1 else KAIMING


def initialise(layers: Iterable[Layer], recipe: str = "", *, among: Iterable[Layer] = ()) -> str:
    """Return code that initialises the weights of ``layers`` anew and zeroes their biases, and touches no other.

    Args:
        layers: weight layers; several calls of one module count once, layers without a known weight not at all.
        recipe: the initialiser for all of them, with ``{}`` for the weight; chosen per layer if empty.
        among: the layers of the network, so that the healthy ones of the same class are left alone.

    Returns:
        Lines of Python that need ``model``, or an empty string if no layer has a weight to address.
    """
    modules = {layer.module: layer for layer in reversed(tuple(layers)) if layer.weight or layer.kind in _GATES}
    recurrent = [layer for layer in modules.values() if layer.kind in _GATES and not recipe]
    among = tuple(among)
    known = {layer.name: layer for layer in among}
    groups: dict[tuple[str, str, str], list[Layer]] = {}
    for layer in sorted(modules.values(), key=lambda one: one.depth):
        if layer not in recurrent:
            chosen = recipe or _recipe_among(layer, known)
            groups.setdefault((chosen, _weight_of(layer), layer.kind), []).append(layer)
    if not modules:
        return ""
    few = len(modules) <= ONE_LINE_EACH
    lines = [IMPORT, ""]
    healthy = {layer.module: layer.kind for layer in among if layer.module not in modules}
    # A filter by class touches every layer of that class: the large groups go first, the exceptions come after.
    for (chosen, weight, kind), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        if few or len(group) == 1:
            lines += [line for layer in group for line in _one(layer, chosen, weight)]
        else:
            spared = None if recipe else [module for module, other in healthy.items() if other == kind]
            lines += _loop(group, chosen, weight, spared)
    for layer in recurrent:
        lines += _recurrent(layer)
    return "\n".join(lines)


def together(*codes: str) -> str:
    r"""Join pieces of code, importing once.

    >>> together("", "from torch import nn\n\na = 1", "from torch import nn\n\nb = 2").splitlines()
    ['from torch import nn', '', 'a = 1', 'b = 2']
    """
    head = f"{IMPORT}\n\n"
    bodies = [code.removeprefix(head) for code in codes if code]
    return head + "\n".join(bodies) if bodies else ""


def advice(sentence: str, code: str = "") -> str:
    """Join a sentence and its code the way a finding carries them."""
    return f"{sentence}\n\n{code}" if code else sentence


def _weight_of(layer: Layer) -> str:
    prefix = f"{layer.module}." if layer.module else ""
    return layer.weight.removeprefix(prefix)


def _one(layer: Layer, recipe: str, weight: str) -> list[str]:
    module = expression(layer.module)
    lines = [recipe.format(f"{module}.{weight}")]
    if layer.bias:
        prefix = f"{layer.module}." if layer.module else ""
        lines.append(_bias(recipe, f"{module}.{layer.bias.removeprefix(prefix)}", f"{module}.{weight}"))
    return lines


def _bias(recipe: str, bias: str, weight: str) -> str:
    return CENTRED.format(bias, weight) if recipe == AFTER_SIGMOID else ZERO.format(bias)


def _recipe_among(layer: Layer, known: Mapping[str, Layer]) -> str:
    """Return the initialiser that a layer needs by what comes before it, after it, or not any more."""
    last = max((x for x in known.values() if x.role is Role.WEIGHT), key=lambda x: x.depth, default=None)
    ends = layer == last and INPUT not in layer.inputs and layer.activation is None and not layer.normalised
    if ends and layer.kind == "Linear" and layer.fan_out >= layer.fan_in:
        return SMALL
    return AFTER_SIGMOID if _after_sigmoid(layer, known) else recipe_for(layer)


def _after_sigmoid(layer: Layer, known: Mapping[str, Layer]) -> bool:
    return layer.direct and any(
        known[name].kind.replace("_", "").casefold() in _SIGMOIDS for name in layer.inputs if name in known
    )


def _loop(group: Sequence[Layer], recipe: str, weight: str, spared: Sequence[str] | None) -> list[str]:
    biases = {layer.bias.removeprefix(f"{layer.module}.") for layer in group} - {""}
    lines, indent = _addressed(group, spared)
    lines.append(indent + recipe.format(f"layer.{weight}"))
    for bias in sorted(biases):
        filled = _bias(recipe, f"layer.{bias}", f"layer.{weight}")
        lines += [f"{indent}if layer.{bias} is not None:", f"{indent}    {filled}"]
    return lines


def _addressed(group: Sequence[Layer], spared: Sequence[str] | None) -> tuple[list[str], str]:
    """Return the lines that go through the layers of a group, and the indent inside.

    Args:
        group: layers of one class.
        spared: the layers of that class that must not be touched; ``None`` if they are not known.
    """
    kind, names = group[0].kind, [layer.module for layer in group]
    if len(names) <= NAMES_IN_A_LIST or spared is None or len(spared) > EXCEPTIONS:
        return [*_by_name(names), "    layer = model.get_submodule(name)"], "    "
    test = f"isinstance(layer, nn.{kind})" if kind in _IN_NN else f'type(layer).__name__ == "{kind}"'
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
        before, first, after = modules[0][: number.start()], int(number[0]), modules[0][number.end() :]
        if list(modules) == [f"{before}{first + i}{after}" for i in range(len(modules))] and "{" not in before + after:
            numbers = f"range({first}, {first + len(modules)})" if first else f"range({len(modules)})"
            return [f'for name in [f"{before}{{i}}{after}" for i in {numbers}]:']
    rows = [modules[i : i + NAMES_IN_A_LINE] for i in range(0, len(modules), NAMES_IN_A_LINE)]
    return ["for name in [", *("    " + " ".join(f'"{module}",' for module in row) for row in rows), "]:"]


def _recurrent(layer: Layer) -> list[str]:
    return [
        f"for name, parameter in {expression(layer.module)}.named_parameters():",
        f"    for gate in parameter.data.chunk({_GATES[layer.kind]}):",
        '        if "weight_hh" in name:',
        "            nn.init.orthogonal_(gate)",
        '        elif "weight_ih" in name:',
        "            nn.init.xavier_uniform_(gate)",
        "        else:",
        "            nn.init.zeros_(gate)",
    ]
