"""Findings that one change fixes belong together: their remedy is printed once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.records import Finding


@dataclass(frozen=True, slots=True)
class Cause:
    """Findings with one remedy, the worst first.

    Attributes:
        findings: at least one.
        remedy: what to do, as the worst of them says it.
        code: to paste; empty where none of them has some.
    """

    findings: tuple[Finding, ...]
    remedy: str
    code: str


def causes(findings: Iterable[Finding]) -> list[Cause]:
    """Return findings by cause: the worst cause first; among equally bad ones those with code first, then the oldest.

    Two have one cause if the code of one is all in that of the other, or if neither has code and they ask for the same.
    """
    groups: list[list[Finding]] = []
    for finding in sorted(findings, key=lambda one: (-one.severity.rank, not one.remedy_code, one.step)):
        group = next((group for group in groups if any(same_remedy(finding, one) for one in group)), None)
        if group is None:
            groups.append([finding])
        else:
            group.append(finding)
    return [_cause(group) for group in groups]


def same_remedy(one: Finding, other: Finding) -> bool:
    """Say whether the remedy of one of two findings also fixes the other."""
    first, second = statements(one.remedy_code), statements(other.remedy_code)
    if first and second:
        return first <= second or second <= first
    return not first and not second and one.remedy_sentence == other.remedy_sentence


def supersedes(finding: Finding, lesser: Finding) -> bool:
    """Say whether a finding says the same as another one, and worse."""
    return (
        finding.code == lesser.code
        and finding.severity > lesser.severity
        and not set(finding.layers).isdisjoint(lesser.layers or finding.layers)
    )


def statements(code: str) -> frozenset[str]:
    r"""Return what a piece of code does, line by line: without imports, comments and empty lines.

    >>> sorted(statements("from torch import nn\n\nx = 1  \n# why\n"))
    ['x = 1']
    """
    lines = (line.rstrip() for line in code.splitlines())
    return frozenset(line for line in lines if line and not line.lstrip().startswith(("import ", "from ", "#")))


def _cause(group: list[Finding]) -> Cause:
    code = max((finding.remedy_code for finding in group), key=lambda code: len(statements(code)))
    return Cause(tuple(group), group[0].remedy_sentence, code.strip("\n"))
