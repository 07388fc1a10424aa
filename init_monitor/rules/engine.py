"""The docket: runs the rules and keeps the list of open cases, so that nothing is said twice while it holds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from init_monitor.errors import InitMonitorWarning, OptionError
from init_monitor.records import Finding, Severity
from init_monitor.rules.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from init_monitor.records import History

CLEAR_STEPS = 3
"""A case is closed after so many sampled steps in a row without it: one quiet step may be a lucky batch."""

SPREAD = 0.5
"""A case is told again when new layers come to at least this share of those already told."""


def _warn(message: str) -> None:
    warnings.warn(message, InitMonitorWarning, stacklevel=4)


@dataclass(slots=True)
class _Case:
    """What has been said about one code: which layers at which severity, and for how long it has been quiet."""

    told: dict[Severity, set[str]] = field(default_factory=dict)
    clear: int = 0

    def is_news(self, finding: Finding, *, spreads: bool) -> bool:
        """Say whether the finding tells more than was told: worse, or spread to many more layers."""
        if not self.told or finding.severity > max(self.told):
            return True
        if not spreads:
            return False
        known = set().union(*(layers for severity, layers in self.told.items() if severity >= finding.severity))
        new = set(finding.layers) - known
        return bool(new) and len(new) >= SPREAD * len(known)

    def tell(self, finding: Finding) -> None:
        self.told.setdefault(finding.severity, set()).update(finding.layers)


class Docket:
    """Judges each new record and returns only the findings that are news.

    A finding is returned when it first appears; again if it gets more severe, if it spreads to half as many new layers
    as were named before, or if it comes back after :data:`CLEAR_STEPS` sampled steps without it.

    Args:
        rules: the rules to run, in the order their findings are returned.
        strict: raise what a rule raises, instead of warning once and leaving that rule out from then on.
        notify: told once, in words, when a rule failed.
    """

    def __init__(self, rules: Sequence[Rule], *, strict: bool = False, notify: Callable[[str], None] = _warn) -> None:
        self.rules = tuple(rules)
        self._notify = notify
        for position, rule in enumerate(self.rules):
            if isinstance(rule, type) or not isinstance(rule, Rule):
                message = (
                    f"rules[{position}] is {rule!r}, which is not a rule: a rule is an object with code, name and"
                    " judge(history). Pass an instance, for instance rules=(*DEFAULT_RULES, MyRule())."
                )
                raise OptionError(message)
        self.strict = strict
        self._off: set[int] = set()
        self._cases: dict[str, _Case] = {}

    def judge(self, history: History) -> list[Finding]:
        """Run every rule on the history and return what is news, in the order of the rules."""
        news: list[Finding] = []
        seen: set[str] = set()
        told_now: set[str] = set()
        for position, rule in enumerate(self.rules):
            if position in self._off:
                continue
            # Worst first, so that a milder part of the same case is judged against what was just told.
            for finding in sorted(self._run(position, rule, history), key=lambda f: -f.severity.rank):
                seen.add(finding.code)
                case = self._cases.setdefault(finding.code, _Case())
                case.clear = 0
                # What stands beside news in one record belongs to it, however few layers it is about.
                # NaN is everywhere one step after it appeared: other layers are then no news.
                spreads = getattr(rule, "spreads", True)
                if finding.code in told_now or case.is_news(finding, spreads=spreads):
                    told_now.add(finding.code)
                    news.append(finding)
                    case.tell(finding)
        for code, case in list(self._cases.items()):
            if code not in seen:
                case.clear += 1
                if case.clear >= CLEAR_STEPS:
                    del self._cases[code]
        return news

    def state_dict(self) -> dict[str, Any]:
        """Return the open cases as JSON values, so that a resumed run does not repeat them."""
        return {
            "cases": {
                code: {"told": {str(s): sorted(layers) for s, layers in case.told.items()}, "clear": case.clear}
                for code, case in self._cases.items()
            }
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the open cases that :meth:`state_dict` returned, instead of the present ones."""
        self._cases = {
            code: _Case({Severity(s): set(layers) for s, layers in case["told"].items()}, int(case["clear"]))
            for code, case in state["cases"].items()
        }

    def _run(self, position: int, rule: Rule, history: History) -> list[Finding]:
        try:
            findings = list(rule.judge(history))
            for finding in findings:
                if not isinstance(finding, Finding):
                    message = f"judge returned {finding!r} where a Finding was expected"
                    raise TypeError(message)  # noqa: TRY301 - handled like anything else a rule gets wrong
        except Exception as error:  # whatever a rule does wrong must not end a training
            if self.strict:
                raise
            self._off.add(position)
            message = (
                f"rule {rule.code} {rule.name} failed at step {history.last.step} and is off from now on:"
                f" {type(error).__name__}: {error}. Training and all other rules go on; strict=True raises it instead."
            )
            self._notify(message)
            return []
        return findings
