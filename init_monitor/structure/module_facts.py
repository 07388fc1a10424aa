"""What only the modules can say about an executed network: which torch class a layer derives from, what attends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.records import Role
from init_monitor.structure.fans import terms_of_a_part
from init_monitor.structure.layers import modules_by_name
from init_monitor.structure.transformer import linear_layers

if TYPE_CHECKING:
    from torch import nn

    from init_monitor.records import Layer, Structure


def with_module_facts(structure: Structure, model: nn.Module) -> Structure:
    """Return the structure with the facts that a layer's class and the modules around it give.

    Args:
        structure: the network as it was executed.
        model: the network; only read.
    """
    modules = modules_by_name(model)
    linear = linear_layers(structure, modules)
    return replace(
        structure,
        layers=tuple(
            _described(layer, modules.get(layer.module), in_transformer=layer.name in linear)
            if layer.role is Role.WEIGHT and "/" not in layer.name
            else layer
            for layer in structure.layers
        ),
    )


def torch_class_of(module: nn.Module) -> str:
    """Return the class of ``torch.nn`` that a module's class is derived from, empty if it is one itself or from none."""
    own = [kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules.")]
    return "" if own[:1] in (["Module"], [type(module).__name__]) else own[0]


def _described(layer: Layer, module: nn.Module | None, *, in_transformer: bool) -> Layer:
    if module is None:
        return layer
    forward, backward = terms_of_a_part(module)
    return replace(
        layer,
        derived_from=torch_class_of(module),
        forward_terms=layer.forward_terms or forward,
        backward_terms=layer.backward_terms or backward,
        transformer=in_transformer,
    )
