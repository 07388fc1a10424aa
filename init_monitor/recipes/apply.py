"""How a plan is applied: each recipe to its own layer alone, or as code that does the same."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from init_monitor.analysis.mirrored_code import FUNCTION, call as mirrored_call
from init_monitor.analysis.recurrent import GATES
from init_monitor.recipes.biases import spread_biases, zero_biases
from init_monitor.recipes.embedding import embedding_
from init_monitor.recipes.mirrored import mirrored_
from init_monitor.recipes.normalisation import normalisation_defaults_
from init_monitor.recipes.recurrent import gru_, lstm_, rnn_
from init_monitor.recipes.siren import siren_
from init_monitor.recipes.variance_scaling import he_normal_, lecun_normal_, xavier_normal_
from init_monitor.recipes.weights import weights_of
from init_monitor.recipes.zero_ends import zero_layer
from init_monitor.structure.layers import modules_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import torch

    from init_monitor.records.plan import LayerPlan

    Action = Callable[[nn.Module, Mapping[str, Any], torch.Generator | None], object]

NAMES_IN_A_LINE = 4
"""Module names on one line of the code."""


HEADER = (
    "import torch",
    "from torch import nn",
    "",
    "",
    "@torch.no_grad()",
    "def initialise(model: nn.Module, generator: torch.Generator | None = None) -> None:",
    '    """Initialise the model. The generator, if one is given, is on its device."""',
)
"""Lines of :func:`code_of` before the first layer."""


IMPORTS = 2
"""How many of these are imports."""


def _plain_normal(module: nn.Module, options: Mapping[str, Any], generator: torch.Generator | None) -> None:
    for weight in weights_of(module, "apply_", frozen=False, recurse=False):
        weight.fill(partial(nn.init.normal_, std=options["std"], generator=generator), generator)
    zero_biases(module, frozen=False, recurse=False)


_ACTIONS: Mapping[str, Action] = {
    "he_normal_": lambda m, o, g: he_normal_(m, **o, generator=g, recurse=False),
    "xavier_normal_": lambda m, o, g: xavier_normal_(m, **o, generator=g, recurse=False),
    "lecun_normal_": lambda m, _, g: lecun_normal_(m, generator=g, recurse=False),
    "small_output_": _plain_normal,
    "gpt_": _plain_normal,
    "mirrored_": lambda m, o, g: mirrored_(m, **o, generator=g, recurse=False),
    "siren_": lambda m, o, g: siren_(m, **o, generator=g, recurse=False),
    "embedding_": lambda m, o, g: embedding_(m, **o, generator=g),
    "lstm_": lambda m, _, g: lstm_(m, generator=g),
    "gru_": lambda m, _, g: gru_(m, generator=g),
    "rnn_": lambda m, _, g: rnn_(m, generator=g),
    "normalisation_defaults_": lambda m, _o, _g: normalisation_defaults_(m),
    "zero_init_residual_": lambda m, _o, _g: zero_layer(m, frozen=False),
}


def in_groups(plans: Iterable[LayerPlan], model: nn.Module) -> dict[tuple[str, ...], list[LayerPlan]]:
    """Return the plans that something is done for, by the statements that do it, in order of first appearance."""
    modules, groups = modules_by_name(model), dict[tuple[str, ...], list["LayerPlan"]]()
    for plan in plans:
        if plan.recipe:
            groups.setdefault(_statements(plan, modules[plan.layer]), []).append(plan)
    return groups


def carry_out(plans: Iterable[LayerPlan], model: nn.Module, generator: torch.Generator | None) -> None:
    """Initialise every planned layer in place, in the order of the code that :func:`code_of` writes."""
    modules = modules_by_name(model)
    for group in in_groups(plans, model).values():
        for plan in group:
            _ACTIONS[plan.recipe](modules[plan.layer], plan.options, generator)
            if plan.bias:
                spread_biases(modules[plan.layer], plan.bias, generator)


def code_of(plans: Sequence[LayerPlan], model: nn.Module) -> str:
    """Return a function ``initialise(model, generator=None)`` that does the same with torch alone."""
    groups = in_groups(plans, model)
    pairs = any(plan.recipe == "mirrored_" for plan in plans)
    lines = [*HEADER[:IMPORTS], "", "", *FUNCTION.splitlines(), *HEADER[IMPORTS:]] if pairs else [*HEADER]
    for statements, group in groups.items():
        lines.append(f"    # {comment_of(group)}")
        lines += [f"    {line}" for line in _loop([plan.layer for plan in group])]
        lines += [f"        {line}" for line in ("layer = model.get_submodule(name)", *statements)]
    if not groups:
        lines.append("    # There is nothing to initialise.")
    return "\n".join(lines) + "\n"


def comment_of(group: Sequence[LayerPlan]) -> str:
    """Return what the code says of a group of layers."""
    first = group[0]
    words = first.reason if len({plan.reason for plan in group}) == 1 else f"{first.place}."
    return f"{first.recipe.rstrip('_')}: {words} {first.source}".replace("\n", " ")


def _loop(names: Sequence[str]) -> list[str]:
    quoted = [f'"{name}"' for name in names]
    if len(quoted) <= NAMES_IN_A_LINE:
        return [f"for name in [{', '.join(quoted)}]:"]
    rows = [quoted[i : i + NAMES_IN_A_LINE] for i in range(0, len(quoted), NAMES_IN_A_LINE)]
    return ["for name in [", *("    " + " ".join(f"{name}," for name in row) for row in rows), "]:"]


def _statements(plan: LayerPlan, module: nn.Module) -> tuple[str, ...]:
    """Return the lines that initialise ``layer``; layers with the same lines share a loop."""
    if plan.recipe == "normalisation_defaults_":
        return ("layer.reset_parameters()",)
    if plan.recipe in {"lstm_", "gru_", "rnn_"}:
        return _recurrent(plan.recipe)
    lines: tuple[str, ...]
    if isinstance(module, nn.MultiheadAttention):
        separate = "(layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)"
        parts = "layer.in_proj_weight.chunk(3)" if plan.parameter.endswith("in_proj_weight") else separate
        lines = (f"for weight in {parts}:", f"    {_draw(plan, module, 'weight')}")
        biased = module._parameters.get("in_proj_bias") is not None  # noqa: SLF001
        return (*lines, "nn.init.zeros_(layer.in_proj_bias)") if biased else lines
    if parametrize.is_parametrized(module, "weight"):
        lines = ("weight = layer.weight.clone()", _draw(plan, module, "weight"), "layer.weight = weight")
    else:
        lines = (_draw(plan, module, "layer.weight"),)
    if plan.recipe == "siren_":
        return lines  # its biases are not zero
    if getattr(module, "padding_idx", None) is not None:
        lines += ("layer.weight[layer.padding_idx].zero_()",)
    return (*lines, _bias(plan)) if isinstance(getattr(module, "bias", None), Tensor) else lines


def _bias(plan: LayerPlan) -> str:
    """Return the line that sets the bias of a layer that has one."""
    if plan.bias:
        return f"nn.init.uniform_(layer.bias, {-plan.bias:.6g}, {plan.bias:.6g}, generator=generator)"
    mean = plan.options.get("input_mean")
    centred = f"layer.bias.copy_(layer.weight.flatten(1).sum(1) * {-mean:.6g})" if isinstance(mean, float) else ""
    return centred or "nn.init.zeros_(layer.bias)"


def _draw(plan: LayerPlan, module: nn.Module, weight: str) -> str:
    options = plan.options
    if plan.recipe == "zero_init_residual_":
        return f"nn.init.zeros_({weight})"
    if "std" in options:
        return f"nn.init.normal_({weight}, std={options['std']:.6g}, generator=generator)"
    if plan.recipe in {"siren_", "mirrored_"}:
        bound = math.sqrt(3 * plan.target_variance)
        uniform = f"nn.init.uniform_({weight}, -{bound:.6g}, {bound:.6g})"
        drawn = mirrored_call(options).format(weight) if plan.recipe == "mirrored_" else uniform
        return f"{drawn.removesuffix(')')}, generator=generator)"
    plain = isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention))
    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001
        # torch.nn.init reads fan_out off the shape, which is wrong with groups or a stride.
        plain &= module.groups == 1 and math.prod(module.stride) == 1
    if plain and plan.recipe == "xavier_normal_":
        gain = f"gain={options['gain']:.6g}, " if "gain" in options else ""
        return f"nn.init.xavier_normal_({weight}, {gain}generator=generator)"
    if plain and options == {"nonlinearity": "relu"}:
        return f'nn.init.kaiming_normal_({weight}, nonlinearity="relu", generator=generator)'
    # torch.nn.init has no gain for this activation, or misreads this weight's shape: the number itself.
    return f"nn.init.normal_({weight}, std={math.sqrt(plan.target_variance):.6g}, generator=generator)"


def _recurrent(recipe: str) -> tuple[str, ...]:
    gates = GATES[recipe.rstrip("_").upper()]
    lines = (
        "for key, parameter in layer.named_parameters():",
        '    for gate in parameter.chunk(1 if "weight_hr" in key else ' + f"{gates}):",
        '        if "weight_hh" in key:',
        "            nn.init.orthogonal_(gate, generator=generator)",
        '        elif "weight" in key:',
        "            nn.init.xavier_uniform_(gate, generator=generator)",
        "        else:",
        "            nn.init.zeros_(gate)",
    )
    if recipe != "lstm_":
        return lines
    return (
        *lines,
        '    if "bias_ih" in key:',
        "        nn.init.ones_(parameter.chunk(4)[1])  # the forget gate",
    )
