"""Runs the rules, lets them yield to one another, and reports nothing twice while it holds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from init_monitor.analysis.consequences import too_large
from init_monitor.analysis.learning import course_of, learns_well
from init_monitor.errors import InitMonitorWarning, OptionError
from init_monitor.records import TAKEN_BACK, Figure, Finding, Severity
from init_monitor.remedies.aims import aimed
from init_monitor.remedies.back_to_training import with_training_mode
from init_monitor.remedies.products import with_products
from init_monitor.remedies.spoken import spoken
from init_monitor.remedies.trained_weights import kept_as_trained
from init_monitor.rules import following, yielding
from init_monitor.rules.rule import Rule
from init_monitor.store.lines import finding_from, finding_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from init_monitor.records import History

CLEAR_STEPS = 3
"""A finding counts as gone after this many sampled steps in a row without it: one quiet step may be a lucky
batch."""

SPREAD = 0.5
"""A finding is reported again when new layers amount to at least this share of those already reported."""


def _warn(message: str) -> None:
    warnings.warn(message, InitMonitorWarning, stacklevel=4)


@dataclass(slots=True)
class _Told:
    """What has been reported under one code: which layers at which severity, and for how long it has been quiet."""

    told: dict[Severity, set[str]] = field(default_factory=dict)
    clear: int = 0

    def is_news(self, finding: Finding, *, spreads: bool) -> bool:
        """Say whether the finding is news: more severe, or spread to many more layers."""
        if not self.told or finding.severity > max(self.told):
            return True
        if not spreads:
            return False
        known = set().union(*(layers for severity, layers in self.told.items() if severity >= finding.severity))
        new = set(finding.layers) - known
        return bool(new) and len(new) >= SPREAD * len(known)

    def tell(self, finding: Finding, *, but: Collection[str] = ()) -> None:
        """Record a finding as reported, except for some of its layers."""
        self.told.setdefault(finding.severity, set()).update(name for name in finding.layers if name not in but)


class Engine:
    """Judges each new record and returns only the findings that are news.

    Every rule judges for itself; then it yields to the findings of the rules it names (:mod:`init_monitor.rules.yielding`).
    A finding is returned when it first appears; again if it gets more severe, if it spreads to half as many new layers
    as were named before, or if it comes back after :data:`CLEAR_STEPS` sampled steps without it. What a finding yielded
    counts as told, in the words of the other rule. What a rule said of the start (its ``is_about_start(finding)``) is taken
    back to information once the run has left the start behind (unless it ``outlasts`` that): the finding returned then says so. What follows from a finding told
    before is information (:mod:`init_monitor.rules.following`).

    Args:
        rules: the rules to run, in the order their findings are returned.
        strict: raise what a rule raises, instead of warning once and leaving that rule out from then on.
        notify: told once, in words, when a rule failed.
    """

    def __init__(self, rules: Sequence[Rule], *, strict: bool = False, notify: Callable[[str], None] = _warn) -> None:
        self.rules = tuple(rules)
        self._notify = notify
        for position, rule in enumerate(self.rules):
            _check(position, rule)
        self._order = yielding.in_order(self.rules)
        self._for_all = yielding.for_all(self.rules)
        self.strict = strict
        self._off: set[int] = set()
        self._open: dict[str, _Told] = {}
        self._loud: list[Finding] = []
        self._before: list[Finding] = []

    def judge(self, history: History) -> list[Finding]:
        """Run every rule on the history and return what is news, in the order of the rules."""
        own: dict[int, list[Finding]] = {}
        kept: dict[int, Sequence[Finding]] = {}
        others: list[Finding] = []
        for position in self._order:
            own[position] = kept[position] = self._run(position, history)
            if own[position] and yielding.yields_to(self.rules[position]):
                kept[position] = self._run_beside(position, own[position], others, history)
            others += kept[position]
        taken_back = self._take_back(kept, history)
        news: list[Finding] = []
        told_now: set[str] = set()
        for position, rule in enumerate(self.rules):
            news += self._news(rule, kept[position], told_now)
        # Only now, so that what a rule yields and what it reports itself in one record do not silence each other.
        for position, findings in own.items():
            said = {name for finding in kept[position] for name in finding.layers}
            for finding in findings:
                if finding not in kept[position]:
                    self._open.setdefault(finding.code, _Told()).tell(finding, but=said)
        self._close({finding.code for findings in own.values() for finding in findings})
        news = [kept_as_trained(finding, history) for finding in news]
        news = self._without_consequences(news, history)
        for finding in news:
            if finding.severity > Severity.INFO and self._is_about_start(finding):
                self._loud.append(finding)
        return [*taken_back, *(spoken(self._aimed(finding, history), history.structure) for finding in news)]

    def _aimed(self, finding: Finding, history: History) -> Finding:
        """Return a finding with what comes before its remedy, and what that aims at; as it is if that cannot be told."""
        try:
            return with_products(aimed(with_training_mode(finding, history), history), history)
        except Exception as error:  # a number more must not cost the finding
            if self.strict:
                raise
            self._notify(f"what the remedy of {finding.code} aims at cannot be told: {type(error).__name__}: {error}.")
            return finding

    def _without_consequences(self, news: Sequence[Finding], history: History) -> list[Finding]:
        """Make information of what follows from an earlier finding, and leave it out where its code was told before."""
        if not news:
            return []
        by_code = {rule.code: rule for rule in reversed(self.rules)}
        still_open = {code for code, case in self._open.items() if case.clear == 0}
        began = following.began(self._before)
        kept: list[Finding] = []
        for finding in news:
            worse = [one for one in news if too_large(one) or following.is_older(one, finding, began)]
            earlier = [one for one in (*self._before, *worse) if one is not finding]
            rule = by_code.get(finding.code)
            cause = None if rule is None else following.cause_of(rule, finding, earlier, history, still_open)
            if cause is None:
                kept.append(finding)
            elif not any(one.code == finding.code for one in self._before):
                kept.append(following.as_consequence(finding, cause))
        self._before += kept
        return kept

    def _is_about_start(self, finding: Finding) -> bool:
        asked = (getattr(rule, "is_about_start", None) for rule in self.rules if rule.code == finding.code)
        return any(ask(finding) for ask in asked if ask is not None)

    def _take_back(self, kept: dict[int, Sequence[Finding]], history: History) -> list[Finding]:
        """Take findings about a start back to information once the run has left it behind, and report none more severely from then on."""
        about = [position for position, rule in enumerate(self.rules) if hasattr(rule, "is_about_start")]
        if not (self._loud or any(kept.get(position) for position in about)) or not learns_well(history):
            return []
        lasting: set[str] = set()
        for position in about:
            found = kept.get(position, ())
            outlasts: Callable[[Finding, History], bool] = getattr(self.rules[position], "outlasts", _no)
            lasting.update(finding.code for finding in found if outlasts(finding, history))
            kept[position] = [
                replace(finding, severity=Severity.INFO)
                if self._is_about_start(finding) and finding.code not in lasting
                else finding
                for finding in found
            ]
        loud, self._loud = self._loud, [finding for finding in self._loud if finding.code in lasting]
        return [_left_behind(finding, history) for finding in loud if finding.code not in lasting]

    def _news(self, rule: Rule, findings: Sequence[Finding], told_now: set[str]) -> list[Finding]:
        """Return those of a rule's findings that are news; ``told_now`` collects their codes over the rules."""
        news = []
        # Worst first, so that a milder part of the same case is judged against what was just reported.
        for finding in sorted(findings, key=lambda f: -f.severity.rank):
            open_ = self._open.setdefault(finding.code, _Told())
            # Further findings of the same record belong to the news, however few layers they are about.
            # NaN is everywhere one step after it appeared: other layers are then no news.
            if finding.code in told_now or open_.is_news(finding, spreads=getattr(rule, "spreads", True)):
                told_now.add(finding.code)
                news.append(finding)
                open_.tell(finding)
        return news

    def _close(self, seen: set[str]) -> None:
        for code, open_ in list(self._open.items()):
            open_.clear = 0 if code in seen else open_.clear + 1
            if open_.clear >= CLEAR_STEPS:
                del self._open[code]

    def state_dict(self) -> dict[str, Any]:
        """Return the open findings as JSON values, so that a resumed run does not repeat them, and takes back what settles."""
        return {
            "cases": {
                code: {"told": {str(s): sorted(layers) for s, layers in open_.told.items()}, "clear": open_.clear}
                for code, open_ in self._open.items()
            },
            "loud": [finding_json(finding) for finding in self._loud],
            "before": [finding_json(finding) for finding in self._before],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the open findings by those that :meth:`state_dict` returned."""
        self._open = {
            code: _Told({Severity(s): set(layers) for s, layers in case["told"].items()}, int(case["clear"]))
            for code, case in state["cases"].items()
        }
        # What an earlier version saved has none.
        self._loud = [finding_from(finding) for finding in state.get("loud", ())]
        self._before = [finding_from(finding) for finding in state.get("before", ())]

    def hear(self, new: Sequence[Finding], cases: Mapping[str, Any]) -> None:
        """Take over the judgement of another process: what it found is told, as if this one had found it.

        Args:
            new: what it returned from :meth:`judge`.
            cases: its :meth:`state_dict` after that.
        """
        self.load_state_dict(cases)
        if any(finding.takes_back for finding in new):
            self._loud = []
        self._loud += [
            one for one in new if one.severity > Severity.INFO and not one.takes_back and self._is_about_start(one)
        ]

    def _run_beside(
        self, position: int, own: Sequence[Finding], others: Sequence[Finding], history: History
    ) -> Sequence[Finding]:
        rule = self.rules[position]
        return self._guarded(
            position,
            history,
            lambda: yielding.remaining(
                rule, own, others, history, lambda past: self._run(position, past), everywhere=self._for_all
            ),
        )

    def _run(self, position: int, history: History) -> list[Finding]:
        return self._guarded(position, history, lambda: self.rules[position].judge(history))

    def _guarded(self, position: int, history: History, judge: Callable[[], Iterable[Finding]]) -> list[Finding]:
        """Return the findings that ``judge`` gives; none, from now on, of a rule that raised."""
        if position in self._off:
            return []
        rule = self.rules[position]
        try:
            findings = list(judge())
            for finding in findings:
                if not isinstance(finding, Finding):
                    message = f"judge returned {finding!r} where a Finding was expected"
                    raise TypeError(message)  # noqa: TRY301 - handled like anything else a rule gets wrong
        except Exception as error:  # an error in a rule must not end a training
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


def _no(*_: object) -> bool:
    return False


def _left_behind(finding: Finding, history: History) -> Finding:
    course = course_of(history.losses)
    step = history.last.step
    return replace(
        finding,
        severity=Severity.INFO,
        step=step,
        message=(
            f"{finding.message} This was so at step {finding.step}; the loss has fallen from {course.first:.3g} to {course.last:.3g} since,"
            f" and has left that behind."
        ),
        evidence={
            **finding.evidence,
            TAKEN_BACK: Figure(finding.step, f"the step at which it was a {finding.severity}"),
        },
        expected={**finding.expected},
        remedy="Nothing has to change while the loss falls. The next run may start better with this:\n\n"
        + finding.remedy_code
        if finding.remedy_code
        else "Nothing has to change while the loss falls.",
    )


def _check(position: int, rule: object) -> None:
    """Raise an OptionError for what is no rule, or cannot say what it yields to."""
    if isinstance(rule, type) or not isinstance(rule, Rule):
        message = (
            f"rules[{position}] is {rule!r}, which is not a rule: a rule is an object with code, name and"
            " judge(history). Pass an instance, for instance rules=(*DEFAULT_RULES, MyRule())."
        )
        raise OptionError(message)
    codes = getattr(rule, "yields_to", ())
    if isinstance(codes, str) or not all(isinstance(code, str) for code in codes):
        message = (
            f"rules[{position}].yields_to is {codes!r} where a tuple of codes was expected, for instance"
            ' yields_to = ("IM101",).'
        )
        raise OptionError(message)
