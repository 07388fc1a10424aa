"""IM602: parameters that are meant to learn and cannot: no gradient reaches them, or no optimizer holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis import paths
from init_monitor.analysis.gradient_flow import (
    Executed,
    Why,
    are_copies,
    has_learning_twin,
    owners_of,
    parameters_of,
)
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, StepRecord, Structure

DEAD = "IM301"


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

    The finding says why: no optimizer holds them (a warning at once), the graph is cut after layers that ran, the output is
    multiplied by zero, the loss does not use the output, or the module never ran. Frozen parameters are ignored, and so are
    those that got a gradient in some step, layers that receive nothing but zeros, and biases of exactly zero gradient beside a
    weight that learns (outputs that are only compared with each other). A gradient of exactly zero is left to IM202
    where that finding says that the gradient stops, and before a rectifier that IM301 calls critical.

    **Why.** Such parameters keep their random initial values. The loss may still fall, so nothing else shows it.

    **Example.** ``features = encoder(x).detach()``; an optimizer built before the head was added to the model.

    **Remedy.** Hand all parameters to the optimizer; take out what cuts the graph; freeze with ``requires_grad_(False)`` what is
    to stay as it is.

    Attributes:
        least_records: sampled steps in which a parameter got nothing, ever, while others did. A layer that is dropped in half
            of the steps is without a gradient in the first eight with a probability of 0.4 %; layers are rarely dropped in
            more than a fifth.
        rare_records: the same for a module that never ran while similar ones did: an expert may not be chosen for long.
        most: share of the trainable elements without a gradient from which it is critical: hardly anything of the network trains.
        small: share up to which a part that never ran is information: a pooler or an auxiliary head that came with the model
            (5 % in ALBERT, whose layers share their weights) harms nothing. A copy of a part that learns (a target network, a
            baseline) and an output that the loss does not use are information at any size below ``most``.
    """

    code: ClassVar[str] = "IM602"
    name: ClassVar[str] = "no-gradient"
    yields_to: ClassVar[tuple[str, ...]] = ("IM202", "IM301", "IM503", "IM604", "IM701")
    source: ClassVar[str] = (
        "PyTorch documentation, 'Autograd mechanics': a detached tensor has no gradient, and .grad stays None or 0"
    )

    least_records: int = 8
    rare_records: int = 20
    most: float = 0.5
    small: float = 0.1

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per reason."""
        executed = Executed(history.structure)
        copies = are_copies(history.last.unoptimized, history.last)
        left_out = [n for n in history.last.unoptimized if executed.runs(n) and not copies]
        resting = [n for n in history.last.unoptimized if n not in left_out]
        if left_out:
            yield self._left_out(left_out, Severity.WARNING, history)
        if resting:
            yield self._left_out(resting, Severity.INFO, history)
        idle = self._idle(history, executed)
        for why in Why:
            found = [one for one in idle if one.why is why]
            if found:
                yield self._without(found, why, sum(one.share for one in idle), history)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers whose gradient of exactly zero another finding explains.

        IM202 does so for the layers that it names where the gradient stops; IM301 for every layer before the last rectifier
        that is critically dead; IM503 for those before a layer that lets nothing through; IM701 for those that its input
        reaches.
        """
        if "weight_gradient_norm" not in finding.evidence:
            return frozenset()
        if other.code in {paths.DEGENERATE, paths.INPUT_SCALE}:
            return paths.explained(finding, other, structure)
        if other.severity is not Severity.CRITICAL:
            return frozenset()
        if other.code != DEAD:
            stops = not other.evidence.get("total_growth", 1.0)
            return frozenset(finding.layers).intersection(other.layers) if stops else frozenset()
        known = structure.by_name()
        off = max((known[name].depth for name in other.layers if name in known), default=-1)
        before = (known[name] for name in finding.layers if name in known)
        return frozenset(layer.name for layer in before if layer.depth <= off and layer.role is not Role.OTHER)

    def _idle(self, history: History, executed: Executed) -> list[_Idle]:
        """Return the parameters that got no gradient in any record in which they were measured."""
        silent = _without_gradient(history.records, self.least_records)
        if not silent:
            return []
        record = history.last
        counts = dict(zip(record.parameter_names, record.column(Quantity.WEIGHT_COUNT).tolist(), strict=True))
        trained = dict(zip(record.parameter_names, record.column(Quantity.TRAINABLE).tolist(), strict=True))
        total = sum(count for name, count in counts.items() if trained[name] != 0 and count == count) or 1.0  # noqa: PLR0124 - not NaN
        left = _fed_by_zeros(history) | {
            name for layer in history.structure.layers if layer.name in history.covered for name in parameters_of(layer)
        }
        learning = frozenset(record.parameter_names) - frozenset(silent)
        left |= {x.bias for x in history.structure.layers if x.bias and x.weight in learning}
        idle = []
        for name, rest in silent.items():
            if rest.zero and name in left:
                continue  # among them biases that cancel, where outputs are compared with each other
            why = executed.why(name, record, zero=rest.zero)
            if why is Why.UNUSED and rest.records < self.rare_records and has_learning_twin(name, record):
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
            executed = Executed(history.structure)
            if not any(executed.runs(name) for name in found):
                message += " What owns it was not seen to run." if one else " What owns them was not seen to run."
            else:
                message += (
                    " It looks like a copy of a part that learns."
                    if one
                    else " They look like a copy of a part that learns."
                )
        sentence = (
            "Pass all parameters to the optimizer, and build it after the whole model is built; freeze what should"
            " not train with requires_grad_(False)."
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
        if why is not Why.CUT and are_copies(names, history.last):
            severity = Severity.INFO
        elif why in {Why.DETACHED, Why.CUT} and everywhere >= self.most:
            severity = Severity.CRITICAL
        elif (why is Why.LOOSE and share < self.most) or (why is Why.UNUSED and share < self.small):
            severity = Severity.INFO
        reason, remedy = _REASONS[why], _REMEDIES[why]
        if severity is Severity.INFO and why is Why.DETACHED:
            reason, remedy = _COPY
        verb = "has" if len(names) == 1 else "have"
        message = (
            f"{phrases.names(names)} {verb} had no gradient in any of {records} sampled steps, while other parameters"
            f" had one ({phrases.percent(share)} of all trainable elements). {reason}"
        )
        measured = {
            "records": Figure(records, "sampled steps without a gradient"),
            "elements": Figure(share, "of the trainable elements"),
        }
        return replace(
            self._finding(severity, names, history, message),
            evidence=measured | ({"weight_gradient_norm": Figure(0.0)} if why is Why.CUT else {}),
            expected={"records": Figure(0, "sampled steps without a gradient")},
            remedy=remedy,
        )

    def _finding(self, severity: Severity, parameters: Sequence[str], history: History, message: str) -> Finding:
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=owners_of(parameters, history.structure),
            step=history.last.step,
            message=message,
            source=self.source,
        )


_REASONS = {
    Why.DETACHED: "They ran and what comes after them learns, but no gradient comes back: the graph is cut in between.",
    Why.CUT: (
        "The gradient is exactly 0: the output is multiplied by 0, or goes where nothing depends on it, as in a softmax over a"
        " single element, which is always 1."
    ),
    Why.LOOSE: "Their modules ran, but the loss does not use their output.",
    Why.UNUSED: "Their modules were not seen to run, or ran under torch.no_grad().",
}

_COPY = (
    "They look like a copy of a part that learns, such as a target network, and their output is detached.",
    "Nothing has to change if that is intended; requires_grad_(False) makes it explicit and keeps them out of the optimizer.",
)

_REMEDIES = {
    Why.DETACHED: (
        "Look for what cuts the graph after these layers: detach(), .data, torch.no_grad(), argmax, sample() instead of"
        " rsample(), a conversion to numpy or a new torch.tensor(...). If they should not train, freeze them with requires_grad_(False)."
    ),
    Why.CUT: (
        "Look at what their output is multiplied by: a factor, a mask or a weight of 0, an activation that is off, a"
        " clamp; at the dimension of a softmax behind them (of what topk(1) or an index has left there is one element: take the softmax"
        f" over all alternatives first, then choose). {phrases.STEPWISE} If the branch is not needed, remove it."
    ),
    Why.LOOSE: "Use the output of these layers in the loss, or remove them, or freeze them with requires_grad_(False).",
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


def _fed_by_zeros(history: History) -> frozenset[str]:
    """Return the parameters of layers that receive only zeros, and of normalisations that receive a constant."""
    record = history.last
    received = dict(zip(record.names, record.column(Quantity.INPUT_MEAN_SQUARE).tolist(), strict=True))
    variance = dict(zip(record.names, record.column(Quantity.VARIANCE).tolist(), strict=True))
    return frozenset(
        name
        for layer in history.structure.layers
        if received.get(layer.name) == 0 or (layer.role is Role.NORMALISATION and variance.get(layer.name) == 0)
        for name in parameters_of(layer)
    )
