"""A network of one's own for the explorer: its signal as it is, and with the textbook's recipes switched on one by one.

The page runs no Python, so it is measured here: as it is, with each switch on alone, and with all up to each. Other sets the page
estimates, from the nearest of these by the recursion of the variances (``page/explorer/propagated.js``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from init_monitor.analysis.mirrored_code import FUNCTION
from init_monitor.capture.single_pass import rehearse, untouched
from init_monitor.measured_plan import carried_out
from init_monitor.page.recipe_facts import act_of, addition_facts, layer_facts, number, sums_of
from init_monitor.randomness import kept_randomness
from init_monitor.recipes.apply import HEADER, IMPORTS, comment_of, in_groups
from init_monitor.recipes.assignment import assign
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    from init_monitor.capture.single_pass import Rehearsal
    from init_monitor.records import Structure
    from init_monitor.records.plan import LayerPlan

MOST_SWITCHES = 32
"""Each is two forwards and backwards of the network; of more layers, neighbours share a switch."""
MOST_ROWS = 400
"""Layers that the page shows: of more, those with a recipe and the first of the others."""

NAMED = "explore"


@kept_randomness()
def explored_network(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None = None,
    *,
    name: str = "your network",
) -> dict[str, Any]:
    """Measure a network for the explorer; weights, buffers and random state are what they were before.

    Args:
        model: any module.
        batch: as :func:`init_monitor.check` takes it.
        loss_fn: likewise.
        name: what the page calls it.

    Returns:
        JSON values: ``name``, ``layers`` (rows in execution order), ``additions``, ``switches`` (each with its layers, recipe,
        variances, reason and code), and ``moments``: ``base``, ``single`` (one per switch) and ``first`` (that switch and all before it), each a
        list of ``[mean, std, largest, gradient std, finite]`` per layer, ``null`` where it was not measured; ``sums`` likewise.

    Raises:
        InitMonitorError: the network does not run, or there is nothing to go back from.
    """

    def measured() -> Rehearsal:
        return rehearse(model, batch, loss_fn, caller=NAMED)

    base = measured()
    with untouched(model):
        plans = [plan for plan in assign(model, base.structure) if plan.recipe]
    switches = list(_switches(plans))
    rows = _rows(base.structure, plans)
    single, first = [], []
    for k, switch in enumerate(switches):
        with carried_out(switch, model):
            single.append(measured())
        with carried_out([plan for one in switches[: k + 1] for plan in one], model):
            first.append(measured() if k else single[0])
    acts = _acts(switches)
    pairs = any(plan.recipe == "mirrored_" for plan in plans)
    additions = [one for one in base.structure.residuals if not one.long]
    added = [one.name for one in additions]
    return {
        "name": name,
        "header": [*HEADER[:IMPORTS], *(["", "", *FUNCTION.splitlines()] if pairs else []), *HEADER[IMPORTS:]],
        "layers": [_layer(base, row, acts) for row in rows],
        "additions": [addition_facts(one) for one in additions],
        "switches": [
            {
                "layers": [plan.layer for plan in switch],
                "recipe": _alike([plan.recipe.rstrip("_") for plan in switch]),
                "reason": _alike([plan.reason for plan in switch]),
                "current": number(switch[0].current_variance),
                "target": number(switch[0].target_variance),
                "code": [
                    {
                        "names": [plan.layer for plan in group],
                        "comment": comment_of(group),
                        "statements": list(statements),
                    }
                    for statements, group in in_groups(switch, model).items()
                ],
            }
            for switch in switches
        ],
        "moments": {
            "base": _moments(base, rows),
            "single": [_moments(one, rows) for one in single],
            "first": [_moments(one, rows) for one in first],
        },
        "sums": {
            "base": sums_of(base.record, added),
            "single": [sums_of(one.record, added) for one in single],
            "first": [sums_of(one.record, added) for one in first],
        },
    }


def _switches(plans: Sequence[LayerPlan]) -> list[Sequence[LayerPlan]]:
    size = math.ceil(len(plans) / MOST_SWITCHES)
    return [plans[i : i + size] for i in range(0, len(plans), size)] if plans else []


def _rows(structure: Structure, plans: Sequence[LayerPlan]) -> list[str]:
    planned = {plan.layer for plan in plans}
    names = [layer.name for layer in structure.layers]
    if len(names) <= MOST_ROWS:
        return names
    wanted = {layer.name for layer in structure.layers if layer.module in planned}
    others = [name for name in names if name not in wanted]
    kept = {*list(wanted)[:MOST_ROWS], *others[: max(0, MOST_ROWS - len(wanted))]}
    return [name for name in names if name in kept]


def _acts(switches: Sequence[Sequence[LayerPlan]]) -> dict[str, list[dict[str, Any]]]:
    """Return what the switches do to each module."""
    acts: dict[str, list[dict[str, Any]]] = {}
    for k, switch in enumerate(switches):
        for plan in switch:
            act = act_of(k, plan, plan.current_variance, plan.target_variance)
            acts.setdefault(plan.layer, []).append(act)
    return acts


def _layer(base: Rehearsal, row: str, acts: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    layer = base.structure.by_name()[row]
    # An attention calls its output projection as a function.
    own = [*acts.get(layer.module, ()), *acts.get(f"{layer.module}.out_proj".lstrip("."), ())]
    bias = base.record.parameter_table.at(layer.bias, Quantity.WEIGHT_VARIANCE)
    return layer_facts(layer, own, base.structure, bias=bias)


def _moments(rehearsal: Rehearsal, rows: Sequence[str]) -> list[list[float | bool | None] | None]:
    layers = rehearsal.record.layers
    found: list[list[float | bool | None] | None] = []
    for row in rows:
        if row not in layers:
            found.append(None)
            continue
        layer = layers[row]
        forward, backward = layer.forward, layer.backward
        found.append(
            [
                number(forward.mean),
                number(forward.std),
                number(forward.abs_max),
                None if backward is None else number(backward.std),
                not forward.nonfinite_count,
            ]
        )
    return found


def _alike(words: Sequence[str]) -> str:
    known = list(dict.fromkeys(words))
    return known[0] if len(known) == 1 else f"{known[0]} and others"
