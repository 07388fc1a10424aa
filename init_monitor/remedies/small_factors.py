"""The finding about outputs that are multiplied with each other and start too small (IM502), and how large to draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.small_factors import IDLE, UNNOTICED, small_factors
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases, snippets
from init_monitor.remedies.addressing import expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import History, Layer
    from init_monitor.remedies.named_rule import CitedRule

NOTICED = "noticed"
"""Evidence of such a finding."""


def found(rule: CitedRule, history: History) -> Finding | None:
    """Return the finding, if the network stands at such a saddle since its start."""
    one = small_factors(history)
    if one is None:
        return None
    names = tuple(layer.name for layer in one.layers)
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=names,
        step=history.last.step,
        message=(
            f"{phrases.names(names)} start so small (an rms of {phrases.number(one.rms)} and less) that the loss does not notice them: if"
            f" every weight changed by its own size, it would change by {phrases.number(one.noticed)} of itself at most, and a step changes it"
            f" by {phrases.number(one.step)}. Where such outputs are multiplied with each other, the gradient of each is as small as the other."
        ),
        evidence={
            NOTICED: Figure(one.noticed, "Σ ‖g‖·‖w‖ over the loss, at most"),
            "noticed_of_a_step": Figure(one.step, "Σ ‖g‖·‖Δw‖ over the loss, at most"),
        },
        expected={NOTICED: Figure(UNNOTICED, "or more"), "noticed_of_a_step": Figure(IDLE, "or more")},
        remedy=snippets.advice(
            "Initialise them larger, so that their product comes near the size of what it is to meet: for a sum over k products of about 1, a"
            " standard deviation of k^(-1/4), half of it to begin gently. Adam gets away from there as well, because its steps do not"
            " shrink with the gradient.",
            _code(one.layers, history),
        ),
        source="Saxe et al. 2014, 'Exact solutions to the nonlinear dynamics of learning in deep linear neural networks', Sec. 2",
    )


def _code(layers: Sequence[Layer], history: History) -> str:
    """Return the lines: of a table the standard deviation is that of what it gives, of other layers it depends on what they receive."""
    tables = [layer for layer in layers if layer.is_embedding and layer.weight]
    others = [layer for layer in layers if not layer.is_embedding]
    return "\n".join(
        [
            *(["from torch import nn\n"] if tables else []),
            *(f"nn.init.normal_({name}, std=0.5 * {name}.shape[-1] ** -0.25)" for name in map(_parameter, tables)),
            *filter(None, [snippets.initialise(others, among=history.structure) if others else ""]),
        ]
    )


def _parameter(layer: Layer) -> str:
    own = layer.weight.removeprefix(f"{layer.module}." if layer.module else "")
    return f"{expression(layer.module)}.{own}"
