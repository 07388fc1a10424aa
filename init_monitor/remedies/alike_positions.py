"""The finding about an output that is the same at all positions of a sample (IM702), and what to look for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.alike_positions import AlikePositions, alike_positions
from init_monitor.analysis.bounded import is_fresh
from init_monitor.analysis.learning import WELL, Learning, course_of, guessing_loss, learning_of, learns_well
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases, snippets
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from init_monitor.records import History, StepRecord

LATE = 2
"""Times as long as what lasts, until which a network whose loss falls may yet leave half of guessing behind."""

LOOK = """from init_monitor import check

record = check(model, batch).records[0]
for name, share in zip(record.names, record.column("position_share")):
    print(f"{share:8.3g} of the variance lies between the positions of a sample at {name}")"""
"""Shows where the positions become alike: about 0 from there on."""


ROUNDS = (
    "Each round of averaging over other positions (neighbours, attention) leaves less of what tells them apart: take fewer"
    " rounds, add a residual connection around each, h = h + F(h), or normalise what differs between positions. See whether"
    " a mask or an adjacency joins every position with all others."
)
"""What to do where positions become alike over several layers."""


class _Rule(CitedRule, Protocol):
    @property
    def faint(self) -> float: ...
    @property
    def varies(self) -> float: ...
    @property
    def lasting_records(self) -> int: ...
    @property
    def gone_steps(self) -> int: ...
    @property
    def lasting_steps(self) -> int: ...


def found(rule: _Rule, history: History) -> Finding | None:
    """Return the finding about the output, if it was so for long: exactly alike, or nearly and the loss stays.

    A network that has learned, now or before this run, may answer all positions of a sample alike because its targets are so: then its
    loss is well below that of guessing, or its normalisations are trained. While the loss still falls it may get there: then it is said
    late, of two layers or more that are exactly alike.
    """
    latest = history.records[-rule.lasting_records :]
    if len(latest) < rule.lasting_records or history.last.step - history.records[0].step < rule.gone_steps:
        return None
    now = _in(latest[-1], rule, history)
    level = learning_of(history) is Learning.LEVEL
    if now is None or learns_well(history) or not is_fresh(history.records[0], history.structure):
        return None
    if not course_of(history.losses).last > WELL * guessing_loss(history.structure):
        return None
    late = history.last.step >= LATE * rule.lasting_steps
    if not (level or (late and now.exact and now.start is not now.end)):
        return None
    if any((one := _in(record, rule, history)) is None or one.exact < now.exact for record in latest):
        return None
    return _finding(rule, now, history, len(latest))


def _in(record: StepRecord, rule: _Rule, history: History) -> AlikePositions | None:
    return alike_positions(record, history.structure, faint=rule.faint, varies=rule.varies)


def _finding(rule: _Rule, now: AlikePositions, history: History, count: int) -> Finding:
    end, start = now.end.shown, now.start.shown
    message = (
        f"All positions of a sample (its tokens, queries, nodes, pixels) give the same at {end}, though samples differ: what differs"
        f" between positions is {phrases.number(now.share)} of the variance at {now.least.shown}, {phrases.number(now.entering)} before."
    )
    since = "" if now.start is now.end else f" It is so from {start} on."
    if now.exact and now.sudden:
        sentence = (
            f"Look at what tells the positions apart before {start}: queries or position embeddings that are missing or zero (draw them"
            " at random: nn.Parameter(torch.randn(n, width))), one vector that is expanded to all positions, a mean or a softmax over"
            " the dimension of the positions where the channels are meant. The weights have no part in it."
        )
    else:
        sentence = ROUNDS
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=tuple(dict.fromkeys((now.start.name, now.end.name))),
        step=history.last.step,
        message=message + since,
        evidence={
            "position_share": Figure(now.share, f"of the variance, at {now.least.shown}"),
            "records": Figure(count, "sampled steps in a row"),
        },
        expected={"position_share": Figure(rule.faint * now.entering, "of the variance, or more")},
        remedy=snippets.advice(sentence, LOOK),
        source=rule.source,
    )
