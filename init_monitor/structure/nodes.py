"""What the probe's graph is made of: calls of modules, and versions of tensors.

A :class:`Node` is one version of one tensor. Nodes point to nodes, never to tensors.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple


class Traits(NamedTuple):
    """What is known of a module, whatever it is called with: see the attributes of the same names of :class:`Frame`."""

    built_in_activation: bool = False
    trainable: bool = False
    open: bool = True
    mixes: bool = False


_NONE = Traits()


class Frame:
    """One call of one module: where it is in the model, and the call it was made from.

    Attributes:
        name: qualified name of the module, empty for the model itself and for code outside every module.
        parent: the call that made this one, ``None`` outside every module.
        call: which call of that module it is, from 1; 0 outside every module.
        depth: calls around this one.
        built_in_activation: True for an activation module of torch.nn (its call is tapped as a module).
        trainable: True if the module owns parameters, its own or its children's.
        mixes: True if one of these parameters is a weight that mixes units.
        open: True if the functions that use its weights are to be watched: its class is not one of torch's own.
    """

    __slots__ = ("built_in_activation", "call", "depth", "mixes", "name", "open", "parent", "trainable")

    def __init__(self, name: str, parent: Frame | None = None, call: int = 0, traits: Traits = _NONE) -> None:
        self.name = name
        self.parent = parent
        self.call = call
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.built_in_activation, self.trainable, self.open, self.mixes = traits

    def contains(self, other: Frame) -> bool:
        """Return True if ``other`` is this call or was made from within it."""
        inner: Frame | None = other
        while inner is not None and inner.depth > self.depth:
            inner = inner.parent
        return inner is self


class Kind(Enum):
    """How a value was made; all but SOURCE, JOIN, PRODUCT and OTHER come from one value (``Node.main``)."""

    SOURCE = auto()
    """No parents: an input, a parameter, a constant, a detached value."""
    CARRY = auto()
    """The same elements: view, copy, cast, dropout, padding, a number added."""
    SLICE = auto()
    """Some of the elements."""
    SCALE = auto()
    """A multiple by a number, a parameter or a constant."""
    BIAS = auto()
    """A parameter or constant added to it or concatenated with it."""
    JOIN = auto()
    """Several values added, concatenated or chosen between."""
    RESIDUAL = auto()
    """A residual addition; ``main`` is its skip."""
    POOL = auto()
    """A reduction over, or an interpolation between, positions that changes their number."""
    NORM = auto()
    ACTIVATION = auto()
    """An elementwise nonlinearity."""
    AFFINE = auto()
    """Linear in one value: linear, convolution, product with a parameter matrix."""
    PRODUCT = auto()
    """A product of several values, summed over what they share: linear in each (the logits of an attention)."""
    OTHER = auto()
    """Anything else; taken for nonlinear."""

    # Each member is one object: Enum's own hash is computed in Python, and sets of kinds are searched all the time.
    __hash__ = object.__hash__


class Node:
    """One version of one tensor.

    Attributes:
        index: order of creation; a parent's is always smaller.
        operation: name of the torch function.
        kind: how it was made.
        parents: the values it was made from.
        main: the one value that it carries on, where there is one.
        frame: the module call that made it.
        factor: the number it was multiplied by, ``None`` if by a tensor.
        stream: True if it depends on an input of the model.
        param: True if it depends on a parameter.
        trainable: True if it is a layer's work: the operation took a parameter, or something made of parameters only.
        dense: True for a convolution that mixes channels over more than one position.
        site: number of the residual addition that made it, -1 for all others.
        size: how many elements it has; 0 if that was not looked at.
        maker: what stands for the layer call that made it, ``None`` if no watched layer did.
        ends: see :mod:`init_monitor.structure.origins`; ``None`` until asked for.
        parameter: ``id`` of the parameter that it is, 0 for all others.
        uses: how many values were made from it, and how many modules passed it on.
        products: for a product ``x * F(x)``, how many of them lie in a row up to it; 0 for all others.
    """

    __slots__ = (
        "dense",
        "ends",
        "factor",
        "frame",
        "index",
        "kind",
        "main",
        "maker",
        "operation",
        "param",
        "parameter",
        "parents",
        "products",
        "site",
        "size",
        "slices",
        "stream",
        "trainable",
        "uses",
    )

    def __init__(self, index: int, operation: str, kind: Kind, parents: tuple[Node, ...], frame: Frame) -> None:
        self.index = index
        self.operation = operation
        self.kind = kind
        self.parents = parents
        self.frame = frame
        self.main: Node | None = None
        self.factor: float | None = 1.0
        self.dense = False
        self.site = -1
        self.size = self.parameter = self.uses = self.products = 0
        self.maker: object = None
        self.ends: frozenset[Node] | None = None
        self.slices: dict[object, Node] | None = None
        self.stream = self.param = self.trainable = False
        for parent in parents:
            self.stream = self.stream or parent.stream
            self.param = self.param or parent.param
