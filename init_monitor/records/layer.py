"""What a network is built of: the layers that were called, and the residual additions between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

INPUT = "input"
"""Stands for the network's own input where a layer, a skip or a branch takes it."""


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
        inputs: tap names whose output tensor this call received, where known; :data:`INPUT` if it received data that
            no layer computed.
        fan_in, fan_out: as in ``torch.nn.init``; 0 where they have no meaning.
        weight, bias: qualified parameter names, empty where there is none.
        parameters: qualified names of all parameters the layer owns.
        dtype: format of the output, for instance ``"float32"``.
        flat_below: True if the activation blocks the gradient of every negative input (ReLU).
        piecewise_linear: True if the activation is linear on each side of zero (ReLU, leaky ReLU).
        forward_terms, backward_terms: how many terms each output, and each input gradient, sums: the fans but for groups,
            strides and transposed convolutions; 0 where that is not known.
        activation_slope: slope below zero of the activation that follows, where its module names one (LeakyReLU).
        one_value: True if it normalises groups of a single value (``LayerNorm(1)``), which leaves nothing of them.
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
        sum_scale: number by which the sum is multiplied before the next addition of the stream.
        follows: name of the addition before it in the stream: its skip is that sum, but for views, factors, a
            normalisation or an activation; empty for the first.
        nested: it lies inside the branch of another residual addition.
        long: its skip passes over other residual additions of the stream (a global skip, a U-Net's).
        depth: position among the layers: how many of them had been called when it was added.
        layers: tap names of the layers of its block that were called since the skip was made.
        normalised: a normalisation lies between it and the next addition, on the stream itself (post-norm).
        dtype: format of the sum.
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
