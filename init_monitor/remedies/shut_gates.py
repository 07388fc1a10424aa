"""What to say and do about recurrent layers whose gates their biases hold (IM303)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.recurrent import GATES
from init_monitor.analysis.shut_gates import SATURATED, SHUT, shut_gates
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases, snippets
from init_monitor.remedies.addressing import expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.analysis.shut_gates import Shut
    from init_monitor.records import History
    from init_monitor.remedies.named_rule import CitedRule


def told_shut(rule: CitedRule, history: History) -> Iterator[Finding]:
    """Yield a finding for each recurrent layer whose initial biases hold its gates."""
    for one in shut_gates(history.records[0], history.structure):
        layer, numbers = one.layer, phrases.number
        gated = GATES[layer.torch_kind] > 1
        what = (
            "all its gates open and its tanh saturated" if one.open else "gates shut" if gated else "its tanh saturated"
        )
        effect = (
            "what it receives hardly changes them"
            if one.open or not gated
            else "nothing passes a shut gate, and hardly a gradient"
        )
        yield Finding(
            rule=rule.name,
            code=rule.code,
            severity=Severity.WARNING,
            layers=(layer.name,),
            step=history.last.step,
            message=(
                f"The biases of {layer.module} ({layer.kind}) hold {what} from the start: their mean is {numbers(one.mean)}, and their rms that"
                f" of {numbers(one.rms)} in a single gate; {effect}."
            ),
            evidence={"bias_mean": Figure(one.mean), "bias_rms": Figure(one.rms, "as if of one gate")},
            expected={
                "bias_mean": Figure(SATURATED, "or less, and 0 or more"),
                "bias_rms": Figure(SHUT, "or less, unless of the forget gate"),
            },
            remedy=snippets.advice(
                "Start these biases at 0, before training, and that of a forget gate at 1.", _code(one)
            ),
            source="Gers, Schmidhuber & Cummins 2000, 'Learning to forget'; Jozefowicz et al. 2015, Section 2.2",
        )


def _code(one: Shut) -> str:
    lines = [
        snippets.HEAD.rstrip("\n"),
        "",
        f"for name, parameter in {expression(one.layer.module)}.named_parameters():",
        '    if "bias" in name:',
        "        nn.init.zeros_(parameter)",
    ]
    if one.layer.torch_kind.startswith("LSTM"):
        lines += ['    if "bias_ih" in name:', "        nn.init.ones_(parameter.data.chunk(4)[1])  # the forget gate"]
    return "\n".join(lines)
