"""What the textbook's recipes are for a network that was trained elsewhere: from its stored structure alone.

The tab shows it on the numbers of the run. Nothing is stored for it: places and fans are in the structure, the variances of the
weights among the quantities. What only the modules know (frozen weights, gates that were set on purpose) is not seen here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from init_monitor.analysis.attention_parts import parts_of
from init_monitor.analysis.initialiser_choice import choice_for
from init_monitor.analysis.recurrent import GATES
from init_monitor.page.recipe_facts import WARNS, act_of, addition_facts, layer_facts, number
from init_monitor.records import Role
from init_monitor.remedies.initialiser_code import lines_of, recurrent_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.analysis.initialiser import Initialiser
    from init_monitor.records import Layer, Structure

HEADER = (
    "import torch",
    "from torch import nn",
    "",
    "",
    "@torch.no_grad()",
    "def initialise(model: nn.Module) -> None:",
    '    """Initialise the layers that were chosen."""',
)
"""Lines before the first layer."""

_MADE_UP = ("parametrizations.", "weight_g", "weight_v", "weight_orig")
"""In names of parameters that a weight is computed from: what is drawn into them is not the weight."""


@dataclass(frozen=True, slots=True)
class _Switch:
    """A module, with the initialiser of each of its weights."""

    module: str
    chosen: Initialiser
    parts: list[Layer] = field(default_factory=list)


def stored_plan(structure: Structure) -> dict[str, Any]:
    """Return what ``explorer/own_view.js`` shows of a network, without its numbers.

    Args:
        structure: as it was stored.

    Returns:
        JSON values as :func:`init_monitor.explored_network.explored_network` returns them, but for ``moments`` and ``sums``; an act
        names its ``parameter`` in place of the variance, and ``left`` holds the modules that no recipe is known for.
    """
    switches: dict[str, _Switch] = {}
    left: dict[str, None] = {}
    done: set[str] = set()
    for layer in structure.layers:
        if layer.role not in {Role.WEIGHT, Role.NORMALISATION} or not layer.parameters:
            continue
        for part in parts_of(layer):
            if (part.weight or part.module) in done:
                continue
            done.add(part.weight or part.module)
            chosen = _chosen(part, structure)
            if chosen is None:
                left[part.module] = None
            else:
                switches.setdefault(part.module, _Switch(part.module, chosen)).parts.append(part)
    numbered = {module: k for k, module in enumerate(switches)}
    return {
        "header": _header(switches.values()),
        "layers": [_facts(layer, switches, numbered, structure) for layer in structure.layers],
        "additions": [addition_facts(one) for one in structure.residuals if not one.long],
        "switches": [_json(switch) for switch in switches.values()],
        "warns": WARNS,
        "left": [module for module in left if module not in switches],
    }


def _header(switches: Iterable[_Switch]) -> list[str]:
    """Return the first lines of the code; some recipes are more than calls of torch, and are imported."""
    needed = any("recipes." in line for one in switches for part in one.parts for line in _statements(part, one.chosen))
    return [*(["from init_monitor import recipes"] if needed else []), *HEADER]


def _chosen(part: Layer, structure: Structure) -> Initialiser | None:
    """Return the initialiser of a weight; ``None`` where none is known, or it could not be drawn."""
    if any(piece in part.weight for piece in _MADE_UP):
        return None
    if not part.weight and part.torch_kind not in GATES:
        return None
    chosen = choice_for(part, structure)
    drawn = "std" in chosen.options or not math.isnan(chosen.variance) or part.role is Role.NORMALISATION
    return chosen if chosen.recipe and (drawn or part.torch_kind in GATES) else None


def _facts(
    layer: Layer, switches: dict[str, _Switch], numbered: dict[str, int], structure: Structure
) -> dict[str, Any]:
    acts, seen = [], set()
    for part in parts_of(layer):
        # Of an attention that is called with separate weights, each part has the same switch and the same variance.
        switch = switches.get(part.module)
        if switch is not None and part.module not in seen:
            seen.add(part.module)
            chosen = switch.chosen
            act = act_of(numbered[part.module], chosen, math.nan, chosen.variance)
            acts.append(act | {"parameter": switch.parts[0].weight})
    return layer_facts(layer, acts, structure)


def _json(switch: _Switch) -> dict[str, Any]:
    chosen = switch.chosen
    statements = [line for part in switch.parts for line in _statements(part, chosen)]
    comment = f"{chosen.recipe.rstrip('_')}: {chosen.reason} {chosen.source}".replace("\n", " ").strip()
    return {
        "layers": [switch.module],
        "recipe": chosen.recipe.rstrip("_"),
        "reason": chosen.reason,
        "parameter": switch.parts[0].weight,
        "current": None,
        "target": 0.0 if chosen.recipe == "zero_init_residual_" else number(chosen.variance),
        "code": [{"names": [switch.module], "comment": comment, "statements": statements}],
    }


def _statements(part: Layer, chosen: Initialiser) -> list[str]:
    if part.torch_kind in GATES:
        return recurrent_lines(part, "layer")
    own = part.module + "." if part.module else ""
    weight = f"layer.{part.weight.removeprefix(own)}"
    lines = lines_of(chosen, part)
    code = [lines.weight.format(weight)]
    if part.bias and lines.bias:
        code.append(lines.bias.format(f"layer.{part.bias.removeprefix(own)}", weight))
    return code
