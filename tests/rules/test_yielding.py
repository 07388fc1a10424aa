from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from builders import history, linears

from init_monitor.errors import OptionError
from init_monitor.records import Finding, History, Severity
from init_monitor.rules import DEFAULT_RULES
from init_monitor.rules.engine import Engine
from init_monitor.rules.loss_plateau import EVERY_OTHER
from init_monitor.rules.yielding import in_order, yields_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from init_monitor.records import Structure

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
PAST = history(linears(4), {})


@dataclass
class Says:
    """A rule that names these layers, less what others speak for; a list of strings is played step by step."""

    code: str
    layers: str | list[str]
    severity: Severity = WARNING
    yields_to: tuple[str, ...] = ()
    looks: bool = True
    name: str = "says"
    covered: list[frozenset[str]] = field(default_factory=list)

    def judge(self, past: History) -> Iterable[Finding]:
        self.covered.append(past.covered)
        now = self.layers if isinstance(self.layers, str) else self.layers[past.last.step]
        named = tuple(name for name in now if not (self.looks and name in past.covered))
        return [Finding(self.name, self.code, self.severity, named, 0, " ".join(named))] if named else []


@dataclass
class Everywhere:
    """A rule whose finding names no layer: it is about the whole network."""

    code: str
    severity: Severity = WARNING
    yields_to: tuple[str, ...] = ()
    name: str = "everywhere"

    def judge(self, past: History) -> Iterable[Finding]:
        del past
        return [Finding(self.name, self.code, self.severity, (), 0, "all")]


def told(*rules: Says | Everywhere) -> dict[str, str]:
    return {finding.code: "".join(finding.layers) for finding in Engine(rules, strict=True).judge(PAST)}


def test_a_finding_yields_where_another_names_its_layers() -> None:
    assert told(Says("A", "xyz"), Says("B", "xy", yields_to=("A",))) == {"A": "xyz"}


def test_the_order_of_the_rules_does_not_matter_but_for_the_order_of_what_is_told() -> None:
    rules = (Says("B", "xy", yields_to=("A",)), Says("A", "x"))
    assert list(told(*rules).items()) == [("B", "y"), ("A", "x")]


def test_what_is_left_is_judged_again_so_that_its_words_are_about_the_others() -> None:
    rule = Says("B", "xyz", yields_to=("A",))
    findings = Engine([Says("A", "x"), rule], strict=True).judge(PAST)
    assert findings[1].message == "y z"
    assert rule.covered == [frozenset(), frozenset("x")]


def test_a_rule_that_does_not_look_at_what_is_covered_is_dropped_only_as_a_whole() -> None:
    assert told(Says("A", "x"), Says("B", "xy", yields_to=("A",), looks=False)) == {"A": "x", "B": "xy"}
    assert told(Says("A", "xy"), Says("B", "xy", yields_to=("A",), looks=False)) == {"A": "xy"}


@pytest.mark.parametrize(
    ("other", "own", "yields"), [(WARNING, WARNING, True), (CRITICAL, INFO, True), (WARNING, CRITICAL, False)]
)
def test_a_milder_finding_never_hides_a_graver_one(other: Severity, own: Severity, *, yields: bool) -> None:
    assert ("B" in told(Says("A", "x", other), Says("B", "x", own, yields_to=("A",)))) is not yields


def test_a_rule_that_says_nothing_or_is_not_there_silences_nobody() -> None:
    yielding = Says("B", "xy", yields_to=("A",))
    assert told(yielding) == {"B": "xy"}
    assert told(Says("A", ""), yielding) == {"B": "xy"}


def test_rules_that_do_not_yield_stand_side_by_side() -> None:
    assert told(Says("A", "x"), Says("B", "x")) == {"A": "x", "B": "x"}


def test_a_finding_about_the_whole_network_covers_every_layer_and_yields_only_to_its_like() -> None:
    assert told(Everywhere("A"), Says("B", "xy", yields_to=("A",))) == {"A": ""}
    assert told(Says("A", "xy"), Everywhere("B", yields_to=("A",))) == {"A": "xy", "B": ""}
    assert told(Everywhere("A"), Everywhere("B", yields_to=("A",))) == {"A": ""}


def test_a_finding_that_has_yielded_itself_covers_nothing_any_more() -> None:
    rules = (Says("A", "x"), Says("B", "xy", yields_to=("A",)), Says("C", "xyz", yields_to=("B",)))
    assert told(*rules) == {"A": "x", "B": "y", "C": "xz"}


def test_of_two_rules_that_yield_to_each_other_one_speaks() -> None:
    rules = (Says("A", "x", yields_to=("B",)), Says("B", "x", yields_to=("A",)))
    assert len(told(*rules)) == 1


@dataclass
class Upstream(Says):
    """A rule that leaves to others what lies before the layers they name."""

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        depth = {layer.name: layer.depth for layer in structure.layers}
        end = max(depth[name] for name in other.layers)
        return frozenset(name for name in finding.layers if depth[name] < end)


def test_a_rule_may_say_itself_what_it_leaves_to_another() -> None:
    structure = linears(4)
    layers = tuple(replace(layer, name=name) for layer, name in zip(structure.layers, "wxyz", strict=True))
    past = history(replace(structure, layers=layers), {})
    rules: Sequence[Says] = (Says("A", "y"), Upstream("B", "wxyz", yields_to=("A",)))
    assert [finding.layers for finding in Engine(rules, strict=True).judge(past)] == [("y",), ("y", "z")]


def steps(*rules: Says, count: int) -> list[list[str]]:
    engine = Engine(rules, strict=True)
    past = history(linears(4), *[{}] * count)
    return [
        [finding.code for finding in engine.judge(History(past.records[: i + 1], past.structure))] for i in range(count)
    ]


def test_what_was_yielded_counts_as_told_when_the_other_finding_is_gone() -> None:
    assert steps(Says("A", ["xy", "xy", "", ""]), Says("B", "xy", yields_to=("A",)), count=4) == [["A"], [], [], []]


def test_what_comes_new_after_the_other_finding_is_gone_is_told() -> None:
    again = Says("B", ["xy", "", "", "", "xy"], yields_to=("A",))
    assert steps(Says("A", ["xy", "", "", "", ""]), again, count=5) == [["A"], [], [], [], ["B"]]


def test_layers_beside_those_that_were_yielded_are_news_however_few() -> None:
    assert steps(Says("A", "abcdefgh"), Says("B", "abcdefghi", yields_to=("A",)), count=2) == [["A", "B"], []]


class Old:
    """A rule made before there was anything to yield to."""

    code, name = "X100", "old"

    def judge(self, past: History) -> list[Finding]:
        return [Finding("old", "X100", WARNING, ("x",), past.last.step, "message")]


def test_a_rule_that_says_nothing_about_yielding_works_as_it_did() -> None:
    assert yields_to(Old()) == ()
    assert [f.code for f in Engine([Old(), Says("A", "x")], strict=True).judge(PAST)] == ["X100", "A"]
    assert [f.code for f in Engine([Old(), Says("A", "x", yields_to=("X100",))], strict=True).judge(PAST)] == ["X100"]


@pytest.mark.parametrize("codes", ["IM101", (101,)])
def test_codes_that_are_no_tuple_of_strings_are_refused_at_once(codes: object) -> None:
    with pytest.raises(OptionError, match=r"rules\[0\]\.yields_to is .* where a tuple of codes was expected"):
        Engine([Says("B", "x", yields_to=codes)])  # type: ignore[arg-type]


def test_the_default_rules_yield_to_rules_that_exist_and_in_no_circle() -> None:
    codes = [rule.code for rule in DEFAULT_RULES]
    ordered = [codes[position] for position in in_order(DEFAULT_RULES)]
    for rule in DEFAULT_RULES:
        for code in set(yields_to(rule)) & set(codes):
            assert ordered.index(code) < ordered.index(rule.code)
    assert {rule.code: yields_to(rule) for rule in DEFAULT_RULES if yields_to(rule)} == {
        "IM101": ("IM701",),
        "IM102": ("IM401", "IM503", "IM701"),
        "IM201": ("IM701",),
        "IM202": ("IM301", "IM401", "IM503", "IM604", "IM701"),
        "IM301": ("IM503", "IM604", "IM701"),
        "IM302": ("IM102", "IM301", "IM502", "IM503", "IM604", "IM701", "IM702"),
        "IM303": ("IM304", "IM401", "IM501", "IM503", "IM604", "IM701"),
        "IM304": ("IM101", "IM401", "IM502", "IM503", "IM601", "IM603", "IM604", "IM701"),
        "IM501": ("IM102", "IM503"),
        "IM502": ("IM101", "IM102", "IM401"),
        "IM602": ("IM202", "IM301", "IM503", "IM604", "IM701"),
        "IM603": ("IM604", "IM101", "IM102", "IM201", "IM202", "IM701"),
        "IM604": ("IM503",),
        "IM702": ("IM102", "IM202", "IM401", "IM501", "IM503", "IM603", "IM604", "IM701", "IM802"),
        "IM703": ("IM101", "IM401", "IM502", "IM701"),
        "IM704": ("IM702",),
        "IM801": EVERY_OTHER,
        "IM802": ("IM101", "IM201", "IM601", "IM603"),
    }
