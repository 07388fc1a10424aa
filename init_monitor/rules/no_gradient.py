"""IM602: parameters that are meant to learn and cannot: no gradient reaches them, or no optimizer holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from init_monitor.analysis import paths
from init_monitor.analysis.chosen import never_chosen
from init_monitor.analysis.gradient_flow import (
    Executed,
    Why,
    are_copies,
    has_learning_twin,
    owners_of,
    parameters_of,
)
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.analysis.resting import fed_by_zeros, without_gradient
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, not_learning, phrases, snippets
from init_monitor.remedies.alike_weights import all_alike
from init_monitor.remedies.without_gradient import ALIKE, ANEW, COPY, LEFT_OUT, TOLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, Structure

DEAD = "IM301"

_NEVER_RAN = frozenset({Why.UNUSED, Why.NEVER_CHOSEN})


class _Idle(NamedTuple):
    """One parameter without a gradient: why, in how many records, and its share of the trainable elements."""

    name: str
    why: Why
    records: int
    share: float


@dataclass(frozen=True)
class NoGradient:
    """IM602: trainable parameters that no optimizer holds, or that get no gradient while others do.

    The finding says why: no optimizer holds them (a warning at once; or none does any more, because they are made anew while training runs), no module registers them (a list, a dict or a plain attribute
    holds them), their optimizer never steps, the graph is cut after layers that ran, the output is
    multiplied by zero, the loss does not use the output, or the module never ran. Frozen parameters are ignored, and so are
    those that got a gradient in some step, layers that receive nothing but zeros (a
    bias that learns beside a weight of zero gradient says so), and biases of exactly zero gradient next to a
    weight that learns (outputs that are only compared with each other). A gradient of exactly zero is left to IM202
    where that finding says that the gradient stops, and before a rectifier that IM301 calls critical.

    **Why.** Such parameters keep their random initial values. The loss may still fall, so nothing else shows it.

    **Example.** ``features = encoder(x).detach()``; an optimizer built before the head was added to the model; layers in a Python
    list.

    **Remedy.** Hand all parameters to the optimizer; register them (ModuleList, Parameter); step every optimizer; take out what cuts the graph; freeze with ``requires_grad_(False)`` what is
    to stay as it is.

    Attributes:
        least_records: sampled steps in which a parameter got nothing, ever, while others did. A layer that is dropped in half
            of the steps is without a gradient in the first eight with a probability of 0.4 %; layers are rarely dropped in
            more than a fifth.
        rare_records: the same for a module that never ran while similar ones did: an expert may not be chosen for long.
        rare_steps: or optimizer steps, where so many of a list were never chosen that it is not by chance.
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
    rare_steps: int = 50
    most: float = 0.5
    small: float = 0.1

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per reason."""
        executed = Executed(history.structure)
        # A gradient passes no target network and no baseline: what has one is a part of the network.
        copies = are_copies(history.last.unoptimized, history.last) and not _gets_gradient(history)
        left_out = [n for n in history.last.unoptimized if executed.runs(n) and not copies]
        resting = [n for n in history.last.unoptimized if n not in left_out]
        anew = _made_anew(history)
        for names in ([n for n in left_out if n not in anew], [n for n in left_out if n in anew]):
            if names:
                yield self._left_out(names, Severity.WARNING, history, anew=names[0] in anew)
        if resting:
            yield self._left_out(resting, Severity.INFO, history)
        yield from not_learning.found(history, self.least_records, self._finding)
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
        silent = without_gradient(history.records, self.least_records)
        if not silent:
            return []
        record = history.last
        counts = dict(zip(record.parameter_names, record.column(Quantity.WEIGHT_COUNT).tolist(), strict=True))
        trained = dict(zip(record.parameter_names, record.column(Quantity.TRAINABLE).tolist(), strict=True))
        total = sum(count for name, count in counts.items() if trained[name] != 0 and count == count) or 1.0  # noqa: PLR0124 - not NaN
        left = fed_by_zeros(history) | {
            name for layer in history.structure.layers if layer.name in history.covered for name in parameters_of(layer)
        }
        learning = frozenset(record.parameter_names) - frozenset(silent)
        # A weight that a parametrization makes (spectral norm) goes by the name of what it is made from.
        left |= {
            x.bias
            for x in history.structure.layers
            if x.bias and not learning.isdisjoint({*parameters_of(x)} - {x.bias})
        }
        idle, dead = [], frozenset[str]()
        if record.step - history.records[0].step >= self.rare_steps:
            dead = never_chosen(silent, [one for one in history.records if one.parameter_names])
        for name, rest in silent.items():
            if rest.zero and name in left:
                continue  # among them biases that cancel, where outputs are compared with each other
            why = executed.why(name, record, zero=rest.zero)
            if name in dead and not executed.runs(name):
                why = Why.NEVER_CHOSEN
            if why is Why.UNUSED and rest.records < self.rare_records and has_learning_twin(name, record):
                continue  # an expert that was not chosen yet
            idle.append(_Idle(name, why, rest.records, counts.get(name, 0.0) / total))
        return idle

    def _left_out(self, found: Sequence[str], severity: Severity, history: History, *, anew: bool = False) -> Finding:
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
        told = ANEW if anew else LEFT_OUT
        message += told.reason.format(history.records[0].step)
        sentence = told.remedy
        code = "" if anew else optimizer_code(record.optimizer, record.learning_rate)
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
        elif (why is Why.LOOSE and share < self.most) or (why in _NEVER_RAN and share < self.small):
            severity = Severity.INFO
        told = COPY if severity is Severity.INFO and why is Why.DETACHED else TOLD[why]
        owners = owners_of(names, history.structure)
        alike = affected_layers.alike_from_the_start(owners, history) if why is Why.CUT else []
        if alike:
            told = ALIKE
        verb = "has" if len(names) == 1 else "have"
        message = (
            f"{phrases.names(names)} {verb} had no gradient in any of {records} sampled steps, while other parameters"
            f" had one ({phrases.percent(share)} of all trainable elements). {told.reason}"
        )
        measured = {
            "records": Figure(records, "sampled steps without a gradient"),
            "elements": Figure(share, "of the trainable elements"),
        }
        return replace(
            self._finding(severity, names, history, message),
            evidence=measured | ({"weight_gradient_norm": Figure(0.0)} if why is Why.CUT else {}),
            expected={"records": Figure(0, "sampled steps without a gradient")},
            remedy=all_alike(alike, history) if alike else told.remedy,
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


def _made_anew(history: History) -> frozenset[str]:
    """Return the trainable parameters in no optimizer that one held at the first record: those of these names are others now."""
    first = history.records[0]
    if not first.optimizer:
        return frozenset()
    held = frozenset(first.parameter_names) - frozenset(first.unoptimized)
    table = first.parameter_table
    return frozenset(n for n in history.last.unoptimized if n in held and table.at(n, Quantity.TRAINABLE) == 1)


def _gets_gradient(history: History) -> bool:
    """Say whether the loss depends on what no optimizer holds: a gradient has reached a layer of it."""
    left = frozenset(history.last.unoptimized)
    table = history.last.layer_table
    return any(
        table.at(layer.name, Quantity.GRADIENT_MEAN_SQUARE) > 0
        for layer in history.structure.layers
        if left.intersection(parameters_of(layer))
    )
