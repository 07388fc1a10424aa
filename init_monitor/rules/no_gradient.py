"""IM602: parameters that are meant to learn and cannot: no gradient reaches them, or no optimizer holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis.gradient_flow import Executed, Why, has_learning_twin, owners_of, parameters_of
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets
from init_monitor.rules.dead_relu import DEAD_CRITICAL
from init_monitor.rules.gradients import VanishingGradients

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, StepRecord

LEAST_RECORDS = 8
"""Sampled steps in which a parameter got nothing, ever, while others did. A layer that is dropped in half of the steps is
without a gradient in the first eight with a probability of 0.4 %; layers are rarely dropped in more than a fifth."""

RARE_RECORDS = 20
"""The same for a module that never ran while its like did: of experts, one may not be chosen for long."""

MOST = 0.5
"""Share of the trainable elements without a gradient from which it is critical: what trains is no longer the network."""

SMALL = 0.1
"""Share of the trainable elements up to which an output that the loss does not use is told as information: a pooler or an
auxiliary head that came with the model (5 % in ALBERT, whose layers share their weights) harms nothing."""

SOURCE = "PyTorch documentation, 'Autograd mechanics': a detached tensor has no gradient, and .grad stays None or 0"


class _Rest(NamedTuple):
    """In how many records a parameter had no gradient, and whether it was one of zeros."""

    records: int
    zero: bool


class _Idle(NamedTuple):
    """One parameter without a gradient: why, in how many records, and its share of the trainable elements."""

    name: str
    why: Why
    records: int
    share: float


@dataclass(frozen=True)
class NoGradient:
    """IM602: trainable parameters that no optimizer holds, or that get no gradient while others do.

    Frozen parameters are left alone, and so are those that got a gradient in some step. What is exactly zero
    behind units that died (IM301), or behind weights that stop the whole signal (IM202), is left to those rules.

    Attributes:
        least_records: sampled steps without a gradient.
        most: share of the trainable elements without one from which it is critical.
        small: share up to which an output that the loss does not use is information.
    """

    code: ClassVar[str] = "IM602"
    name: ClassVar[str] = "no-gradient"

    least_records: int = LEAST_RECORDS
    most: float = MOST
    small: float = SMALL

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per reason."""
        executed = Executed(history.structure)
        left_out = [n for n in history.last.unoptimized if executed.runs(n)]
        resting = [n for n in history.last.unoptimized if not executed.runs(n)]
        if left_out:
            yield self._left_out(left_out, Severity.WARNING, history)
        if resting:
            yield self._left_out(resting, Severity.INFO, history)
        idle = self._idle(history, executed)
        for why in Why:
            found = [one for one in idle if one.why is why]
            if found:
                yield self._without(found, why, sum(one.share for one in idle), history)

    def _idle(self, history: History, executed: Executed) -> list[_Idle]:
        """Return the parameters that got no gradient in any record in which they were measured."""
        silent = _without_gradient(history.records, self.least_records)
        if not silent:
            return []
        record = history.last
        counts = dict(zip(record.parameter_names, record.column(Quantity.WEIGHT_COUNT).tolist(), strict=True))
        trained = dict(zip(record.parameter_names, record.column(Quantity.TRAINABLE).tolist(), strict=True))
        total = sum(count for name, count in counts.items() if trained[name] != 0 and count == count) or 1.0  # noqa: PLR0124 - not NaN
        elsewhere = _told_elsewhere(history) if any(rest.zero for rest in silent.values()) else frozenset()
        idle = []
        for name, rest in silent.items():
            if rest.zero and name in elsewhere:
                continue
            why = executed.why(name, record, zero=rest.zero)
            if why is Why.UNUSED and rest.records < RARE_RECORDS and has_learning_twin(name, record):
                continue  # an expert that was not chosen yet
            idle.append(_Idle(name, why, rest.records, counts.get(name, 0.0) / total))
        return idle

    def _left_out(self, found: Sequence[str], severity: Severity, history: History) -> Finding:
        record = history.last
        one = len(found) == 1
        message = (
            f"{phrases.names(found)} {'is' if one else 'are'} trainable, but no optimizer holds"
            f" {'it: it' if one else 'them: they'} will not learn."
        )
        if severity is Severity.INFO:
            message += " What owns it was not seen to run." if one else " What owns them was not seen to run."
        sentence = (
            "Hand all parameters to the optimizer, and build it after the whole model is built; what is to stay as it is"
            " should say so with requires_grad_(False)."
        )
        code = optimizer_code(record.optimizer, record.learning_rate)
        return replace(
            self._finding(severity, found, history, message),
            evidence={"parameters": Figure(len(found), "trainable parameters in no optimizer")},
            expected={"parameters": Figure(0, "trainable parameters in no optimizer")},
            remedy=snippets.advice(sentence, code),
        )

    def _without(self, found: Sequence[_Idle], why: Why, everywhere: float, history: History) -> Finding:
        names = [one.name for one in found]
        records, share = min(one.records for one in found), sum(one.share for one in found)
        severity = Severity.WARNING
        if why in {Why.DETACHED, Why.CUT} and everywhere >= self.most:
            severity = Severity.CRITICAL
        elif why in {Why.LOOSE, Why.UNUSED} and share < self.small:
            severity = Severity.INFO
        verb = "has" if len(names) == 1 else "have"
        message = (
            f"{phrases.names(names)} {verb} had no gradient in any of {records} sampled steps, while other parameters"
            f" had one ({phrases.percent(share)} of all trainable elements). {_REASONS[why]}"
        )
        return replace(
            self._finding(severity, names, history, message),
            evidence={
                "records": Figure(records, "sampled steps without a gradient"),
                "elements": Figure(share, "of the trainable elements"),
            },
            expected={"records": Figure(0, "sampled steps without a gradient")},
            remedy=_REMEDIES[why],
        )

    def _finding(self, severity: Severity, parameters: Sequence[str], history: History, message: str) -> Finding:
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=owners_of(parameters, history.structure),
            step=history.last.step,
            message=message,
            source=SOURCE,
        )


_REASONS = {
    Why.DETACHED: "They ran and what comes after them learns, but no gradient comes back: the graph is cut between.",
    Why.CUT: "The gradient is exactly 0: the output is multiplied by 0, or does not change the loss.",
    Why.LOOSE: "Their modules ran, but the loss does not use what comes of them, or not with its gradient.",
    Why.UNUSED: "Their modules were not seen to run, or ran under torch.no_grad().",
}

_REMEDIES = {
    Why.DETACHED: (
        "Look after these layers for what cuts the graph: detach(), .data, torch.no_grad(), a conversion to numpy or a"
        " new torch.tensor(...). If they are to stay as they are, freeze them with requires_grad_(False)."
    ),
    Why.CUT: (
        "Look at what their output is multiplied with: a factor, a mask or a weight of 0, an activation that is off, a"
        " clamp. If the branch is not needed, remove it."
    ),
    Why.LOOSE: "Let the loss use the output of these layers, or remove them, or freeze them with requires_grad_(False).",
    Why.UNUSED: (
        "Call these modules in the forward, outside torch.no_grad(); or remove them, or freeze them with"
        " requires_grad_(False)."
    ),
}


def _without_gradient(records: Sequence[StepRecord], least: int) -> dict[str, _Rest]:
    """Return the trainable parameters that had no gradient in any record that has them, if there are ``least`` of these.

    A record counts only if some other parameter got a gradient in it. What had a gradient once (an expert that was
    chosen, a branch that died since) is used by the loss.
    """
    resting = dict.fromkeys(records[-1].parameter_names, _Rest(0, zero=False))
    for record in reversed(records):
        norms, moved = record.column(Quantity.WEIGHT_GRADIENT_NORM), record.column(Quantity.UPDATE_RATIO)
        if not (norms > 0).any():
            continue
        # A sparse gradient is not measured: what moved without one had it.
        none = np.isnan(norms) & ~(moved > 0)
        rests = (record.column(Quantity.TRAINABLE) != 0) & (none | (norms == 0))
        for name, here, missing in zip(record.parameter_names, rests.tolist(), none.tolist(), strict=True):
            if name in resting and here:
                resting[name] = _Rest(resting[name].records + 1, zero=resting[name].zero or not missing)
            else:
                resting.pop(name, None)
        if not resting:
            break
    return {name: rest for name, rest in resting.items() if rest.records >= least}


def _told_elsewhere(history: History) -> frozenset[str]:
    """Return the parameters whose gradient is zero for a reason that other rules tell: IM301, IM202, a signal of zeros."""
    record, layers = history.last, history.structure.layers
    silent = {x for f in VanishingGradients().judge(history) if not f.evidence["total_growth"] for x in f.layers}
    dead = dict(zip(record.names, record.column(Quantity.DEAD_FRACTION).tolist(), strict=True))
    off = max((layer.depth for layer in layers if dead.get(layer.name, 0.0) >= DEAD_CRITICAL), default=-1)
    received = dict(zip(record.names, record.column(Quantity.INPUT_MEAN_SQUARE).tolist(), strict=True))
    variance = dict(zip(record.names, record.column(Quantity.VARIANCE).tolist(), strict=True))
    return frozenset(
        name
        for layer in layers
        if layer.name in silent
        or received.get(layer.name) == 0
        or (layer.role is Role.NORMALISATION and variance.get(layer.name) == 0)
        or (layer.depth <= off and layer.role is not Role.OTHER)
        for name in parameters_of(layer)
    )
