"""The finding about what training took away at the end of a network, or from a code (IM702), and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import made_by_training, phrases, snippets
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from init_monitor.analysis.lost_samples import Loss
    from init_monitor.records import History

APART = (
    " If representations are compared with each other, something has to keep them apart: negatives, a reachable"
    " margin, a stop-gradient with a predictor, or a term for their variance."
)

LESS = (
    "A term of the loss that a code of 0 satisfies outweighs the rest: the KL term of a VAE, a sparsity or consistency penalty. Give"
    " that term a smaller weight, or raise it slowly from 0, and sum or average both terms over the same elements (a mean over pixels"
    " beside a sum over the code is the usual mistake). The initial weights were fine."
)

OUTWEIGHED = 10.0
"""What the loss asks of a code, over what comes back through its reader, from which the loss is what empties it."""


class _Rule(CitedRule, Protocol):
    @property
    def lost_factor(self) -> float: ...


def finding(rule: _Rule, lost: Loss, history: History) -> Finding:
    """Return the finding of ``rule`` about what was lost."""
    names = phrases.names([layer.shown for layer in lost.layers])
    step = history.records[0].step
    if lost.into is None:
        message = (
            f"Training has made all samples alike to {names}, the end of the network: what differs between them has a"
            f" variance of {phrases.number(lost.now)}, and had one of {phrases.number(lost.before)} at step {step}. The"
            " output is the same for every input."
        )
    else:
        message = (
            f"{lost.into.shown} receives almost nothing from {names}: of the variance it receives {phrases.number(lost.share)} is"
            f" theirs, the rest is noise or data of another kind. At step {step} their variance was"
            f" {phrases.number(lost.before)}, now it is {phrases.number(lost.now)}: training has emptied this code."
        )
    evidence = {
        "variance_between_samples": Figure(lost.now),
        "at_first": Figure(lost.before, f"at step {step}"),
        "share": Figure(lost.share, "of the variance"),
    }
    if lost.into is not None and lost.outweighed >= OUTWEIGHED:
        message += (
            f" The gradient that reached it was up to {phrases.times(lost.outweighed)} what came back through {lost.into.shown}: a term"
            " of the loss acts on the code itself, and outweighs what the decoder needs of it."
        )
        evidence["outweighed"] = Figure(lost.outweighed, "x the gradient through the layer that reads it")
        remedy = LESS
    else:
        remedy = _by_cause(lost, history)
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=tuple(layer.name for layer in lost.layers),
        step=history.last.step,
        message=message,
        evidence=evidence,
        expected={"variance_between_samples": Figure(lost.before / rule.lost_factor, "or more")},
        remedy=remedy,
        source=rule.source,
    )


def _by_cause(lost: Loss, history: History) -> str:
    """Return the remedy by what moved the weights."""
    sentence, _, code = made_by_training.remedy(history, direction=-1).partition("\n\n")
    decayed = made_by_training.less_decay(history, 0.0)
    return snippets.advice(sentence + (APART if lost.into is None and not decayed else ""), code)
