from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import history, linear, linears, norm, rectifier
from hypothesis import given, settings, strategies as st

from init_monitor.errors import InitMonitorWarning, OptionError
from init_monitor.records import Attention, Finding, History, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DEFAULT_RULES, ExplodingActivations
from init_monitor.rules.engine import Engine
from init_monitor.rules.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAST = history(linears(2), {})
WARNING, CRITICAL, INFO = Severity.WARNING, Severity.CRITICAL, Severity.INFO


def found(severity: Severity, *layers: str, code: str = "X001") -> Finding:
    return Finding("scripted", code, severity, layers, 0, "message")


@dataclass
class Scripted:
    """A rule that says what it is told to, one list per call."""

    script: list[list[Finding]]
    code: str = "X001"
    name: str = "scripted"
    calls: int = field(default=0)

    def judge(self, past: History) -> Iterable[Finding]:
        self.calls += 1
        return self.script.pop(0) if self.script else []


def play(*script: list[Finding]) -> list[int]:
    """Return how many findings were news at each step."""
    engine = Engine([Scripted(list(script))])
    return [len(engine.judge(PAST)) for _ in script]


HOLDS = [found(WARNING, "a", "b")]


def test_a_finding_is_told_once_while_it_holds() -> None:
    assert play(HOLDS, HOLDS, HOLDS, HOLDS) == [1, 0, 0, 0]


def test_it_is_told_again_when_it_gets_worse_but_not_when_it_gets_better() -> None:
    assert play([found(INFO, "a")], [found(WARNING, "a")], [found(CRITICAL, "a")], [found(WARNING, "a")]) == [
        1,
        1,
        1,
        0,
    ]


@pytest.mark.parametrize(("layers", "news"), [("abcde", 0), ("abcdef", 1), ("abcd", 0), ("ab", 0)])
def test_it_is_told_again_when_half_as_many_new_layers_join(layers: str, news: int) -> None:
    assert play([found(WARNING, *"abcd")], [found(WARNING, *layers)])[1] == news


def test_it_is_told_again_after_three_quiet_steps_and_not_after_two() -> None:
    assert play(HOLDS, [], [], HOLDS, [], [], HOLDS) == [1, 0, 0, 0, 0, 0, 0]
    assert play(HOLDS, [], [], [], HOLDS) == [1, 0, 0, 0, 1]


def test_two_severities_of_one_step_are_both_told() -> None:
    both = [found(WARNING, "z"), found(CRITICAL, *"abcdefgh")]
    assert play(both, both) == [2, 0]


def test_codes_do_not_silence_one_another() -> None:
    assert play([found(CRITICAL, "a")], [found(CRITICAL, "a"), found(WARNING, "a", code="X002")]) == [1, 1]


def test_a_finding_without_layers_is_told_once() -> None:
    assert play([found(WARNING)], [found(WARNING)]) == [1, 0]


def test_a_resumed_run_does_not_repeat_what_it_knows() -> None:
    engine = Engine([Scripted([HOLDS, []])])
    assert len(engine.judge(PAST)) == 1
    engine.judge(PAST)
    state = json.loads(json.dumps(engine.state_dict()))
    resumed = Engine([Scripted([HOLDS, [], [], [], HOLDS])])
    resumed.load_state_dict(state)
    assert [len(resumed.judge(PAST)) for _ in range(5)] == [0, 0, 0, 0, 1]
    assert engine.state_dict() == state


class Broken:
    code, name = "X009", "broken"

    def judge(self, past: History) -> Iterator[Finding]:
        yield from ()
        message = "no such column"
        raise KeyError(message)


def test_a_rule_that_raises_is_reported_once_and_left_out_while_the_others_go_on() -> None:
    other = Scripted([HOLDS])
    engine = Engine([Broken(), other])
    with pytest.warns(
        InitMonitorWarning, match=r"rule X009 broken failed at step 0 .* KeyError: 'no such column'"
    ) as seen:
        assert engine.judge(PAST) == HOLDS
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert engine.judge(PAST) == []
    assert other.calls == 2


def test_strict_raises_what_the_rule_raises() -> None:
    with pytest.raises(KeyError, match="no such column"):
        Engine([Broken()], strict=True).judge(PAST)


def test_a_rule_that_returns_something_else_is_reported() -> None:
    engine = Engine([Scripted([["oops"]])])  # type: ignore[list-item]
    with pytest.warns(InitMonitorWarning, match="'oops' where a Finding was expected"):
        assert engine.judge(PAST) == []


@pytest.mark.parametrize("wrong", [ExplodingActivations, "IM101", None])
def test_what_is_no_rule_is_refused_at_once(wrong: object) -> None:
    with pytest.raises(OptionError, match=r"rules\[1\].*not a rule.*Pass an instance"):
        Engine([ExplodingActivations(), wrong])  # type: ignore[list-item]


def test_the_default_rules_are_rules_with_codes_of_their_own_in_order() -> None:
    assert all(isinstance(rule, Rule) for rule in DEFAULT_RULES)
    codes = [rule.code for rule in DEFAULT_RULES]
    assert codes == [
        "IM101", "IM102", "IM201", "IM202", "IM301", "IM302", "IM303", "IM304", "IM401", "IM402", "IM501",
        "IM502", "IM503", "IM601", "IM602", "IM603", "IM604", "IM701", "IM702", "IM703", "IM704", "IM801", "IM802",
    ]  # fmt: skip
    assert len({rule.name for rule in DEFAULT_RULES}) == len(DEFAULT_RULES)


def test_thresholds_are_fields_of_a_rule() -> None:
    past = history(linears(4), {Quantity.VARIANCE: [2.0, 4.0, 8.0, 16.0], Quantity.GAIN: 2.0})
    rule = ExplodingActivations()
    assert list(rule.judge(past)) == []
    assert len(list(replace(rule, warning_change=10.0).judge(past))) == 1


def test_the_default_rules_say_nothing_about_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Engine(DEFAULT_RULES, strict=True).judge(PAST) == []


ODD = Structure(
    (
        linear(0, "a", activation="ReLU"),
        rectifier(1, "a.relu", inputs=("a",)),
        linear(2, "b", dtype="float16", inputs=("a.relu",)),
        norm(3, "n"),
        *(linear(i, f"c.{i}", activation="Tanh", inputs=(f"c.{i - 1}",)) for i in range(4, 9)),
        rectifier(9, "d", kind="LeakyReLU"),
    ),
    attentions=(
        Attention("e", "e", 6, 64, "scaled_dot_product_attention", ("b", "c.4")),
        Attention("f", "", 4, 8, "softmax", ("c.5",), scale=1.0),
    ),
)
COUNTS = [0.0, 1.0, 512.0, 4096.0, math.nan]
SHARES = [0.0, 0.3, 0.5, 0.9, 1.0, math.nan]
SIZES = [0.0, 1.0, 0.5, 1e-3, 1e4, 1e-300, 1e300, math.inf, math.nan]


def measured(quantity: Quantity, rng: np.random.Generator) -> list[float]:
    """Return a column of numbers as odd as a measurement can give."""
    ends = (("count", "samples"), COUNTS), (("fraction", "share"), SHARES), (("",), SIZES)
    domain = next(values for suffixes, values in ends if quantity.value.endswith(suffixes))
    return [float(x) for x in rng.choice(domain, len(ODD))]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["", "Adam", "SGD", "Lion, SGD"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_was_measured_the_rules_judge_it_and_every_finding_is_complete(
    seed: int,
    optimizer: str,
    scaled: bool,  # noqa: FBT001
) -> None:
    rng = np.random.default_rng(seed)
    share = rng.choice([0.2, 0.6, 1.0])
    columns = [{q: measured(q, rng) for q in Quantity if rng.random() < share} for _ in range(2)]
    names = [f"p.{i}" for i in range(len(ODD) - 2)] + ["a.weight", "c.4.weight"]
    sums = [f"c#{i}" for i in range(len(ODD))]
    past = history(ODD, *columns, parameter_names=names, residual_names=sums, optimizer=optimizer, loss_scaled=scaled)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        findings = Engine(DEFAULT_RULES, strict=True).judge(past)
    for finding in findings:
        assert finding.message
        assert finding.layers or finding.code in {"IM603", "IM604", "IM801", "IM802"}, "a learning rate has no place"
        assert finding.evidence
        assert finding.expected
        assert finding.remedy_sentence
        assert finding.source
        compile(finding.remedy_code, "remedy", "exec")
