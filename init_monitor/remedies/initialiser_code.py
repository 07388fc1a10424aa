"""An initialiser as lines of torch code for one layer: for its weight and for its bias."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, cast

from init_monitor.analysis import mirrored_code
from init_monitor.analysis.activations import activation_called
from init_monitor.analysis.gains import variance_gains
from init_monitor.analysis.initialiser import fans_of
from init_monitor.analysis.recurrent import GATES

if TYPE_CHECKING:
    from init_monitor.analysis.initialiser import Initialiser
    from init_monitor.records import Layer

ZERO = "nn.init.zeros_({0})"
ONE = "nn.init.ones_({0})"

_CONSTANT = {"zero_init_residual_": ZERO, "normalisation_defaults_": ONE}


class Lines(NamedTuple):
    """Code for one layer.

    Attributes:
        weight: with ``{0}`` for the weight.
        bias: with ``{0}`` for the bias and ``{1}`` for the weight; empty where it is to stay.
        whole: ``weight`` takes the layer, and does all of it.
    """

    weight: str
    bias: str = ZERO
    whole: bool = False


def lines_of(chosen: Initialiser, layer: Layer) -> Lines:
    """Return the code that draws what ``chosen`` does; :func:`recurrent_lines` writes that of a recurrent layer."""
    lines = _lines_of(chosen, layer)
    if not chosen.bias:
        return lines
    return lines._replace(bias=f"nn.init.uniform_({{0}}, {-chosen.bias:.6g}, {chosen.bias:.6g})")


def _lines_of(chosen: Initialiser, layer: Layer) -> Lines:
    """Return the code with the biases that the recipe sets.

    ``torch.nn.init`` reads the fans off the shape of the weight. Where a layer sums other numbers of terms (groups, a
    stride, a transposed convolution), and for activations that it has no gain for, the standard deviation is written out.
    """
    options = chosen.options
    if chosen.recipe in _CONSTANT:
        return Lines(_CONSTANT[chosen.recipe])
    if chosen.recipe in {"siren_", "mirrored_"} or "std" in options:
        return _written_out(chosen)
    mean = cast("float", options.get("input_mean", 0.0))
    bias = f"{{0}}.data = {{1}}.data.flatten(1).sum(1) * {-mean:.4g}" if mean else ZERO
    if not _fans_are_those_of_the_shape(layer):
        return Lines(f"nn.init.normal_({{0}}, std={math.sqrt(chosen.variance):.6g})", bias)
    if chosen.recipe == "xavier_normal_":
        gain = cast("float", options.get("gain", 1.0))
        return Lines(f"nn.init.xavier_normal_({{0}}{'' if gain == 1 else f', gain={gain:.4g}'})", bias)
    if chosen.recipe == "lecun_normal_":
        return Lines('nn.init.kaiming_normal_({0}, nonlinearity="linear")')
    return Lines(_he(str(options["nonlinearity"]), cast("float | None", options.get("negative_slope"))))


def _written_out(chosen: Initialiser) -> Lines:
    if chosen.recipe == "mirrored_":
        return Lines(f"recipes.{mirrored_code.call(chosen.options, 'mirrored_')}", whole=True)
    if "std" in chosen.options:
        return Lines(f"nn.init.normal_({{0}}, std={chosen.options['std']:.6g})")
    bound = math.sqrt(3 * chosen.variance)
    return Lines(f"nn.init.uniform_({{0}}, -{bound:.6g}, {bound:.6g})", "")


def _he(nonlinearity: str, slope: float | None) -> str:
    if nonlinearity == "relu":
        return 'nn.init.kaiming_normal_({0}, nonlinearity="relu")'
    known = activation_called(nonlinearity)
    gains = None if known is None else variance_gains(known, slope)
    gain = 2.0 if gains is None else gains.forward
    if known is not None and known.negative_slope is not None:
        # A random slope (RReLU) counts with its root mean square.
        slope = math.sqrt(2 / gain - 1) if slope is None else slope
        return f'nn.init.kaiming_normal_({{0}}, a={slope:.4g}, nonlinearity="leaky_relu")'
    # torch.nn.init has no gain for it. One output sums as many terms as weight[0] has elements.
    return f"nn.init.normal_({{0}}, std=({gain:.5g} / {{0}}[0].numel()) ** 0.5)"


def _fans_are_those_of_the_shape(layer: Layer) -> bool:
    return fans_of(layer) == (layer.fan_in, layer.fan_out)


def recurrent_lines(layer: Layer, module: str) -> list[str]:
    """Return the code for a recurrent layer, gate by gate.

    Args:
        layer: the layer; its class says how many gates it has.
        module: the expression for its module.
    """
    gates = GATES[layer.torch_kind]
    lines = [
        f"for name, parameter in {module}.named_parameters():",
        f"    for gate in parameter.data.chunk({gates}):",
        '        if "weight_hh" in name:',
        "            nn.init.orthogonal_(gate)",
        '        elif "weight_ih" in name:',
        "            nn.init.xavier_uniform_(gate)",
        "        else:",
        "            nn.init.zeros_(gate)",
    ]
    if layer.torch_kind.startswith("LSTM"):
        lines += ['    if "bias_ih" in name:', "        nn.init.ones_(parameter.data.chunk(4)[1])  # the forget gate"]
    return lines
