"""Which parts of a network ran, what each of them owns, and why a part that ran gets no gradient."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.records import INPUT
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from init_monitor.records import Layer, StepRecord, Structure

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
"""A number in a path: the place in a list of layers or blocks."""


LEAST_COPIED = 2
"""The fewest layers of a copy: a single layer of the same size as another is not a copy."""


class Why(str, Enum):
    """Why a parameter does not learn."""

    LEFT_OUT = "left out"
    DETACHED = "detached"
    CUT = "cut"
    LOOSE = "loose"
    UNUSED = "unused"
    NEVER_CHOSEN = "never chosen"


@once
def _owners(structure: Structure) -> Mapping[str, Layer]:
    """Return the layer that owns each parameter; the first of several."""
    return {name: layer for layer in reversed(structure.layers) for name in parameters_of(layer)}


@once
def _containers(structure: Structure) -> frozenset[str]:
    """Return the modules around the layers that ran: they may use parameters of their own (a position embedding)."""
    modules = {layer.module for layer in structure.layers}
    return frozenset(path for module in modules for path in _above(module))


class Executed:
    """Which modules of the network ran, and which layers received a gradient."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._owner = _owners(structure)
        self._containers = _containers(structure)

    def runs(self, parameter: str) -> bool:
        """Say whether the module that owns ``parameter`` was seen to run."""
        return parameter in self._owner or parameter.rpartition(".")[0] in self._containers

    def why(self, parameter: str, record: StepRecord, *, zero: bool) -> Why:
        """Return why a parameter that got no gradient got none; ``zero`` if it got one of zeros."""
        if not self.runs(parameter):
            return Why.UNUSED
        if zero:
            return Why.CUT
        owner = self._owner.get(parameter)
        if owner is None:
            return Why.LOOSE
        cut = self._is_followed(owner, record) or has_learning_twin(parameter, record)
        return Why.DETACHED if cut else Why.LOOSE

    def _is_followed(self, layer: Layer, record: StepRecord) -> bool:
        """Say whether something that gets a gradient comes, or may come, after a layer that gets none.

        A detached tensor is traced back to no layer, like data: whatever takes data may take it from here.
        """
        arrived = dict(zip(record.names, np.isfinite(record.column(Quantity.GRADIENT_VARIANCE)).tolist(), strict=True))
        reached = {layer.name}
        for after in self._structure.layers[layer.depth + 1 :]:
            known = reached.intersection(after.inputs)
            if known:
                reached.add(after.name)
            if arrived.get(after.name, False) and after.module != layer.module and (known or INPUT in after.inputs):
                return True
        return False


def _above(module: str) -> Iterator[str]:
    """Yield a module path and all paths above it, down to the model itself.

    >>> list(_above("net.0"))
    ['net.0', 'net', '']
    """
    yield module
    while module:
        module = module.rpartition(".")[0]
        yield module


def has_learning_twin(parameter: str, record: StepRecord) -> bool:
    """Say whether the corresponding parameter of another block gets a gradient: then this one was meant to as well."""
    pattern = _NUMBER.sub("*", parameter)
    norms = record.column(Quantity.WEIGHT_GRADIENT_NORM)
    return any(
        norm > 0 and name != parameter and _NUMBER.sub("*", name) == pattern
        for name, norm in zip(record.parameter_names, norms, strict=True)
    )


def are_copies(parameters: Sequence[str], record: StepRecord) -> bool:
    """Say whether parameters are copies of others that learn: ``target.0.weight`` of ``online.0.weight``, element for element.

    Target networks, baselines and averaged weights are such copies; the optimizer does not hold them, or they get no gradient.
    A copy has several layers; the blocks of a list, which differ by their number, are not copies of each other.
    """
    groups: dict[str, list[list[str]]] = {}
    for name in parameters:
        groups.setdefault(name.partition(".")[0], []).append(name.split("."))
    counts = record.parameter_table.by_name(Quantity.WEIGHT_COUNT)
    norms = record.parameter_table.by_name(Quantity.WEIGHT_GRADIENT_NORM)
    return bool(groups) and all(_is_copy(paths, counts, norms) for paths in groups.values())


def _is_copy(paths: Sequence[list[str]], counts: Mapping[str, float], norms: Mapping[str, float]) -> bool:
    if len({tuple(path[:-1]) for path in paths}) < LEAST_COPIED:
        return False
    shared = [parts[0] for parts in zip(*(path[:-1] for path in paths), strict=False) if len(set(parts)) == 1]
    known = [name.split(".") for name in norms]
    for level, own in enumerate(shared):
        beside = {path[level] for path in known if path[:level] == shared[:level] and len(path) > level + 1} - {own}
        for other in beside if not own.isdigit() else ():
            pairs = [(".".join(path), ".".join([*path[:level], other, *path[level + 1 :]])) for path in paths]
            # A copy that no optimizer holds is not measured, so only its names can be compared.
            if all(norms.get(of, 0.0) > 0 and counts.get(copy, counts[of]) == counts[of] for copy, of in pairs):
                return True
    return False


def parameters_of(layer: Layer) -> tuple[str, ...]:
    """Return the names of all parameters of a layer; the weight and the bias may come twice."""
    return tuple(name for name in (layer.weight, layer.bias, *layer.parameters) if name)


def owners_of(parameters: Iterable[str], structure: Structure) -> tuple[str, ...]:
    """Return the layers that own the parameters, in execution order; a parameter of no layer is returned itself."""
    wanted = dict.fromkeys(parameters)
    owning = [layer for layer in structure.layers if any(name in wanted for name in parameters_of(layer))]
    owned = {name for layer in owning for name in parameters_of(layer)}
    return (*dict.fromkeys(layer.name for layer in owning), *(name for name in wanted if name not in owned))
