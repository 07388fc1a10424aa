"""The finding of IM702 about recurrent layers on top of each other through which the differences between samples do not get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.analysis.stacked_recurrent import stacks
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases, snippets
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from init_monitor.analysis.stacked_recurrent import Stack
    from init_monitor.records import History


class _Rule(CitedRule, Protocol):
    @property
    def gone(self) -> float: ...
    @property
    def faint(self) -> float: ...
    @property
    def lasting_records(self) -> int: ...
    @property
    def gone_steps(self) -> int: ...


def found(rule: _Rule, history: History) -> Finding | None:
    """Return the finding about the deepest stack whose output is the same for every sample, if it lasts and nothing is learned."""
    latest = history.records[-rule.lasting_records :]
    span = history.last.step - latest[0].step
    if len(latest) < rule.lasting_records or span < rule.gone_steps or learning_of(history) is Learning.LEARNS:
        return None
    seen = [{one.layer.name: one for one in stacks(record, history.structure)} for record in latest]
    lost = [
        stack
        for name, stack in seen[-1].items()
        if all(name in one and one[name].share <= rule.gone and one[name].left <= rule.faint for one in seen)
    ]
    return _finding(rule, max(lost, key=lambda one: one.layers), len(latest), history) if lost else None


def _finding(rule: _Rule, stack: Stack, records: int, history: History) -> Finding:
    name, depth = stack.layer.module, stack.layers
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=(stack.layer.name,),
        step=history.last.step,
        message=(
            f"What {name} gives is the same for every sample: what differs between them is {phrases.number(stack.share)} of the variance."
            f" Its {depth} recurrent layers let the signal fade below their biases: by their weights, {phrases.number(stack.left)} of"
            " the variance that the first gives is left at the last."
        ),
        evidence={
            "between_sample_share": Figure(stack.share, "of the variance"),
            "left": Figure(stack.left, "of the first layer's variance, by the weights"),
            "records": Figure(records, "sampled steps in a row"),
        },
        expected={"left": Figure(rule.faint, "of the first layer's variance, or more; two layers keep that")},
        remedy=snippets.advice(
            f"Use two layers: gates that are half open let little through, and PyTorch starts the input weights of all of {depth} small"
            " (a variance of 1/(3 · hidden size)). To keep that depth, write the layers one by one with a residual connection around each and a"
            " LayerNorm behind it, or start the input weights larger and the biases at 0.",
            f"for name, parameter in model.get_submodule({name!r}).named_parameters():\n"
            '    if name.startswith("weight_ih"):\n'
            "        torch.nn.init.xavier_uniform_(parameter, gain=3.0)\n"
            '    elif name.startswith("bias"):\n'
            "        torch.nn.init.zeros_(parameter)",
        ),
        source=rule.source,
    )
