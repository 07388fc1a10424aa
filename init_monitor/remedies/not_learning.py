"""What is said of tensors that get a gradient while nobody moves them: unregistered ones, and those of an optimizer that rests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.records import Figure, Severity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from init_monitor.records import Finding, History

    MakeFinding = Callable[[Severity, Sequence[str], History, str], Finding]

RESTS = 40
"""Optimizer steps without one of an optimizer whose parameters get a gradient: the second network of an adversarial pair waits
for five or ten of the other's, a part that joins in later gets no gradient before."""


def found(history: History, least: int, make: MakeFinding) -> Iterator[Finding]:
    """Yield what the latest records show of it.

    Args:
        history: what was measured.
        least: records in a row that must show it.
        make: makes a finding of severity, names, history and message.
    """
    records = history.records[-least:]
    if len(records) < least:
        return
    outside = [name for name in records[-1].unregistered if all(name in record.unregistered for record in records)]
    if outside:
        yield _outside(outside, history, make)
    resting = [name for name in records[-1].unstepped if all(name in record.unstepped for record in records)]
    # What the records themselves span: a run that was resumed may have stepped it before.
    if resting and records[-1].step - history.records[0].step >= RESTS:
        yield _resting(resting, history, make)


def _outside(names: Sequence[str], history: History, make: MakeFinding) -> Finding:
    one = len(names) == 1
    message = (
        f"{phrases.names(names)} {'gets' if one else 'get'} a gradient, but no module registers {'it' if one else 'them'}: what a"
        " list, a dict or a plain attribute holds is in no parameters() and in no optimizer. Nothing has changed"
        f" {'it' if one else 'them'} so far, and no checkpoint has {'it' if one else 'them'}."
    )
    sentence = (
        "Register what is to learn before the optimizer is built, so that parameters() gives it to the optimizer: layers in an"
        " nn.ModuleList or nn.ModuleDict, a tensor as an nn.Parameter. What is to stay as it is should say so with"
        " requires_grad_(False)."
    )
    holder = names[0].partition("[")[0]
    path, _, attribute = holder.rpartition(".")
    held = "Parameter" if names[0].endswith("]") else "Module"
    kind = "Parameter" if holder == names[0] else f"{held}Dict" if "['" in names[0] else f"{held}List"
    place = f"{snippets.expression(path)}.{attribute}"
    code = f"from torch import nn\n\n{place} = nn.{kind}({place})  # or where the module makes it"
    return replace(
        make(Severity.WARNING, names, history, message),
        evidence={"parameters": Figure(len(names), "tensors with a gradient that no module registers")},
        expected={"parameters": Figure(0, "tensors with a gradient that no module registers")},
        remedy=snippets.advice(sentence, code),
    )


def _resting(names: Sequence[str], history: History, make: MakeFinding) -> Finding:
    steps = history.last.step - history.records[0].step + 1
    verb = "has" if len(names) == 1 else "have"
    message = (
        f"{phrases.names(names)} {verb} a gradient and an optimizer, but in {phrases.count(steps, 'step')} of the training that"
        " optimizer has not stepped once: nothing there has moved."
    )
    sentence = (
        "Let every optimizer step: in manual optimisation call .step() of each one that self.optimizers() gives, after its"
        " backward, or hand these parameters to the one that steps."
    )
    code = "# in training_step, after the backward:\n# for optimizer in self.optimizers():\n#     optimizer.step()"
    return replace(
        make(Severity.WARNING, names, history, message),
        evidence={"steps": Figure(steps, "steps without one of its optimizer")},
        expected={"steps": Figure(0, "steps without one of its optimizer")},
        remedy=snippets.advice(sentence, code),
    )
