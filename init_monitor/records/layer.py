"""What a network is built of: the layers that were called, and the residual additions between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

INPUT = "input"
"""Stands for the network's own input where a layer, a skip or a branch takes it."""

PARAMETER = "parameter"
"""Stands for what the network itself holds: learned queries, tables of positions, constants."""


class Role(str, Enum):
    """What a watched layer is for."""

    WEIGHT = "weight"
    ACTIVATION = "activation"
    NORMALISATION = "normalisation"
    OTHER = "other"

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


@dataclass(frozen=True, slots=True)
class Layer:
    """One watched layer call, as the rules and the reader see it.

    Attributes:
        name: tap name: the ``named_modules()`` path, ``#k`` for the k-th call of several, ``[i]`` for one of
            several output tensors.
        module: the ``named_modules()`` path alone (the code in a remedy addresses this).
        kind: class name of the module, for instance ``"Conv2d"``.
        role: weight, activation, normalisation or other.
        depth: position in execution order, from 0.
        activation: kind of the activation that follows (``"ReLU"``), ``None`` if none was seen.
        normalised: True if a normalisation follows directly.
        inputs: tap names of the layers that what this call received was computed from, with no layer between, in
            execution order: a residual sum comes from the layers that end its branch. :data:`INPUT` before them if it
            received data that no layer computed, :data:`PARAMETER` if nothing but what the network holds. Empty if it is
            not known: then nothing may be concluded from its place.
        fan_in, fan_out: as in ``torch.nn.init``; 0 where they have no meaning.
        weight, bias: qualified parameter names, empty where there is none.
        parameters: qualified names of all parameters the layer owns.
        dtype: format of the output, for instance ``"float32"``.
        flat_below: True if the activation blocks the gradient of every negative input (ReLU).
        piecewise_linear: True if the activation is linear on each side of zero (ReLU, leaky ReLU).
        forward_terms, backward_terms: how many terms each output, and each input gradient, sums: the fans but for groups,
            strides and transposed convolutions; of one part (a gate, a query) where the weight has several; 0 if not known.
        activation_slope: slope below zero of the activation that follows, where its module names one (LeakyReLU).
        one_value: True if it normalises groups of a single value (``LayerNorm(1)``), which leaves nothing of them.
        running: True if it normalises by its running mean and variance, not by the batch: it was in eval mode.
        direct: it received the output of one layer as it is, moved, thinned, pooled or with a parameter added at most.
        derived_from: class of ``torch.nn`` that its class is derived from; empty if it is one of those, or derived from none.
        frequency: what its output is multiplied by before a sine takes it (30 in a SIREN); 0 if none does.
        compared: its output is compared with that of another layer, another call or sample, and not with data (contrastive losses).
        times: tap name of the layer whose output its own is multiplied with, element by element, where what comes of it is compared with
            data (a product of two embeddings); empty if there is none.
        products: how many products ``x * F(x)`` in a row, in the place of sums, what it received went through.
        transformer: True for a linear layer of a transformer block: around attention, or along the stream it writes into.
    """

    name: str
    module: str
    kind: str
    role: Role
    depth: int
    activation: str | None = None
    normalised: bool = False
    inputs: tuple[str, ...] = ()
    fan_in: int = 0
    fan_out: int = 0
    weight: str = ""
    bias: str = ""
    parameters: tuple[str, ...] = ()
    dtype: str = "float32"
    flat_below: bool = False
    piecewise_linear: bool = False
    forward_terms: float = 0.0
    backward_terms: float = 0.0
    activation_slope: float | None = None
    one_value: bool = False
    running: bool = False
    direct: bool = True
    derived_from: str = ""
    transformer: bool = False
    frequency: float = 0.0
    products: int = 0
    compared: bool = False
    times: str = ""

    @property
    def torch_kind(self) -> str:
        """What it is to ``torch.nn``: the class there that its own is, or is derived from; its own name if there is none."""
        return self.derived_from or self.kind

    @property
    def is_embedding(self) -> bool:
        """Whether it looks up rows of a table."""
        return self.torch_kind in {"Embedding", "EmbeddingBag"}

    @property
    def shown(self) -> str:
        """What a person calls it: its name, or for a function where it is called.

        >>> Layer("head", "head", "Linear", Role.WEIGHT, 0).shown
        'head'
        >>> Layer("decoder/leaky_relu#2", "decoder", "leaky_relu", Role.ACTIVATION, 1).shown
        'the 2nd LeakyReLU called in `decoder`'
        >>> Layer("/relu#1", "", "relu", Role.ACTIVATION, 1, inputs=("head",)).shown
        'the ReLU called after `head`'
        """
        owner, slash, call = self.name.rpartition("/")
        if not slash:
            return self.name
        function, _, number = call.partition("#")
        title = _TITLES.get(function.replace("_", ""), function)
        after = self.inputs[0] if self.direct and len(self.inputs) == 1 else PARAMETER
        if not owner and after not in {INPUT, PARAMETER} and "/" not in after:
            return f"the {title} called after `{after}`"
        count = number.partition("[")[0]
        which = "" if count in {"", "1"} else f"{_ordinal(count)} "
        return f"the {which}{title} called in " + (f"`{owner}`" if owner else "the model")


def _ordinal(number: str) -> str:
    ending = "th" if number[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1:], "th")
    return f"{number}{ending}"


_TITLES = {
    title.lower(): title
    for title in (
        "ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "GLU", "Softmax",
        "LogSoftmax", "Softmin", "Softplus", "Softsign", "LogSigmoid", "Hardtanh", "Hardswish", "Hardsigmoid",
    )
}  # fmt: skip
"""Names of activations as torch.nn writes them, where the function is not written alike."""


@dataclass(frozen=True, slots=True)
class Residual:
    """One residual addition of the network: ``owner#k`` adds ``branch`` to ``skip``.

    Attributes:
        name: ``owner#k``; ``owner@c#k`` in the c-th call of a module that is called several times.
        owner: qualified name of the module whose forward adds; empty for the model itself.
        kind: ``"identity"``, or ``"projection"`` if the skip goes through a light affine map.
        skip: where the skip was made: a layer, an earlier residual (its name), ``"input"`` or ``"parameter"``.
        branch: the same for the branch.
        skip_scale: α of ``αx + βF``; NaN if x was multiplied by a tensor.
        branch_scale: β, likewise.
        sum_scale: number by which the sum is multiplied before the next addition of the stream; NaN if a tensor.
        follows: name of the addition before it in the stream: its skip is that sum, but for views, factors, a
            normalisation or an activation; empty for the first.
        nested: it lies inside the branch of another residual addition.
        long: its skip passes over other residual additions of the stream (a global skip, a U-Net's).
        depth: position among the layers: how many of them had been called when it was added.
        layers: tap names of the layers of its block that were called since the skip was made.
        normalised: a normalisation lies between it and the next addition, on the stream itself (post-norm).
        dtype: format of the sum.
        again: a skip that the sum holds was added to it once more, ``x + (x + F(x))``; its ``sum_scale`` is NaN then.
    """

    name: str
    owner: str
    kind: str
    skip: str
    branch: str
    skip_scale: float = 1.0
    branch_scale: float = 1.0
    sum_scale: float = 1.0
    follows: str = ""
    nested: bool = False
    long: bool = False
    depth: int = 0
    layers: tuple[str, ...] = ()
    normalised: bool = False
    dtype: str = "float32"
    again: bool = False
