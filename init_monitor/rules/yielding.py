"""Which findings are left to another rule that says the same thing better.

A rule names the codes it yields to (``yields_to``). What counts is what the rules with these codes found in the same
judgement, after they themselves have yielded; a rule that is not run, or whose thresholds let it say nothing, silences
nobody.

A finding yields a layer to another finding that is at least as severe and

- names that layer, or is about the whole network: it names no layer at all, or its rule says ``speaks_for_all`` (a network
  that stands still does so everywhere, whichever layer is the cause); such a one need only be more than information, since it is
  the cause of what is worse. A finding without layers yields only to such a one; or
- covers it by what the rule's own ``leaves(finding, other, structure)`` says, where it has that method.

What is left is judged again with ``history.covered`` holding the layers that were yielded, so that message, numbers and
remedy are about the others. A rule that does not look at ``covered`` keeps the findings that still name another layer as
they are, and loses those that do not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.records import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from init_monitor.records import Finding, History
    from init_monitor.rules.rule import Rule


def yields_to(rule: Rule) -> tuple[str, ...]:
    """Return the codes that a rule yields to; empty for a rule that does not say."""
    return tuple(getattr(rule, "yields_to", ()))


def in_order(rules: Sequence[Rule]) -> list[int]:
    """Return the positions of rules so that each comes after those it yields to; in a circle the order given decides."""
    by_code: dict[str, list[int]] = {}
    for position, rule in enumerate(rules):
        by_code.setdefault(rule.code, []).append(position)
    ordered: list[int] = []
    entered: set[int] = set()

    def enter(position: int) -> None:
        if position in entered:
            return
        entered.add(position)
        for code in yields_to(rules[position]):
            for before in by_code.get(code, []):
                enter(before)
        ordered.append(position)

    for position in range(len(rules)):
        enter(position)
    return ordered


def for_all(rules: Sequence[Rule]) -> frozenset[str]:
    """Return the codes of the rules whose findings are about the whole network, whatever layers they name."""
    return frozenset(rule.code for rule in rules if getattr(rule, "speaks_for_all", False))


def covered(
    rule: Rule, finding: Finding, others: Sequence[Finding], history: History, everywhere: Collection[str] = ()
) -> frozenset[str]:
    """Return the layers of a finding that others of the same judgement speak for; ``""`` stands for the whole network."""
    leaves: Callable[..., Collection[str]] = getattr(rule, "leaves", _named_by_both)
    named = [one for one in others if one.code in yields_to(rule)]
    if any(one.code in everywhere and one.severity > Severity.INFO for one in named):
        return _places(finding)
    speaking = [one for one in named if one.severity >= finding.severity]
    return frozenset(name for one in speaking for name in leaves(finding, one, history.structure))


def remaining(  # noqa: PLR0913 - what a judgement is made of
    rule: Rule,
    findings: Sequence[Finding],
    others: Sequence[Finding],
    history: History,
    judge: Callable[[History], Sequence[Finding]],
    *,
    everywhere: Collection[str] = (),
) -> Sequence[Finding]:
    """Return what a rule still has to report besides the findings of the rules it yields to.

    Args:
        rule: the rule.
        findings: what it found, judging for itself.
        others: what other rules found in this judgement.
        history: what was judged.
        judge: judges once more, if it comes to that.
        everywhere: codes whose findings are about the whole network.
    """
    yielded = {id(finding): covered(rule, finding, others, history, everywhere) for finding in findings}
    kept = {name for finding in findings for name in _places(finding) - yielded[id(finding)]}
    taken = frozenset(name for names in yielded.values() for name in names if name not in kept)
    if not taken:
        return findings
    again = judge(replace(history, covered=taken)) if any(_places(one) - taken for one in findings) else ()
    return [finding for finding in again if _places(finding) - covered(rule, finding, others, history, everywhere)]


def _places(finding: Finding) -> frozenset[str]:
    return frozenset(finding.layers or ("",))


def _named_by_both(finding: Finding, other: Finding, _: object) -> Collection[str]:
    return _places(finding) & _places(other) if other.layers else _places(finding)
