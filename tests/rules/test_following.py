"""What follows from a finding told before is information, as long as that one stands."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from builders import in_a_row, linear, linears, record
from models import Classifier, fit, loader
from torch import nn

from init_monitor import InitMonitor
from init_monitor.analysis.consequences import SIGNAL, reaches
from init_monitor.analysis.learning import only_undoes_its_start
from init_monitor.records import Figure, Finding, History, LossCurve, LossStretch, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.remedies.made_by_training import FINE
from init_monitor.rules import DEFAULT_RULES, UpdateRatio
from init_monitor.rules.engine import Engine
from init_monitor.rules.following import as_consequence, follows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
NET = linears(6, width=10)
LARGE = {"update_ratio": Figure(0.9, "‖Δw‖/‖w‖ per step")}
USUAL = {"update_ratio": Figure(0.3, "‖Δw‖/‖w‖ per step")}


@dataclass
class Says:
    """A rule that plays its findings: by step, the severity and the layers, by number."""

    code: str
    at: Mapping[int, tuple[Severity, tuple[int, ...]]]
    follows: tuple[str, ...] = ("A", "IM603")
    evidence: Mapping[str, Figure] = field(default_factory=dict)
    expected: Mapping[str, Figure] = field(default_factory=dict)
    name: str = "says"
    whatever_the_loss: bool = False

    def judge(self, history: History) -> Iterable[Finding]:
        said = self.at.get(history.last.step)
        if said is not None:
            names = tuple(f"net.{i}" for i in said[1])
            yield Finding(
                self.name, self.code, said[0], names, history.last.step, "So it is.", self.evidence, self.expected
            )


def played(
    engine: Engine, steps: Iterable[int], losses: Iterable[float] = (), net: Structure = NET
) -> list[tuple[str, Severity, int]]:
    curve, told = LossCurve(), list[Finding]()
    curve.add(LossStretch.of(enumerate(losses)))
    for step in steps:
        told += engine.judge(History([record(net, {Quantity.VARIANCE: 1.0}, step=step)], net, losses=curve))
    return [(one.code, one.severity, one.step) for one in told]


def engine(*rules: Says) -> Engine:
    return Engine(rules, strict=True)


CAUSE = Says("A", {0: (CRITICAL, (2,))}, follows=())


BROKEN = Says("IM601", {0: (CRITICAL, (2,)), 3: (CRITICAL, (2,))}, follows=())


def test_what_is_wrong_with_a_signal_comes_of_numbers_that_are_not_finite() -> None:
    assert played(engine(BROKEN, Says("B", {3: (WARNING, (4,))})), (0, 3))[1] == ("B", INFO, 3)
    # Left to the scaler it is none of their business, and so is what is over.
    excused = Says("IM601", {0: (INFO, (2,)), 3: (INFO, (2,))}, follows=())
    assert played(engine(excused, Says("B", {3: (WARNING, (4,))})), (0, 3))[1] == ("B", WARNING, 3)
    over = Says("IM601", {0: (CRITICAL, (2,))}, follows=())
    assert played(engine(over, Says("B", {3: (WARNING, (4,))})), (0, 3))[1] == ("B", WARNING, 3)
    # A rule that follows nothing is about something else.
    assert played(engine(BROKEN, Says("B", {3: (WARNING, (4,))}, follows=())), (0, 3))[1] == ("B", WARNING, 3)


def test_a_consequence_is_information_and_names_its_cause() -> None:
    made = engine(CAUSE, Says("B", {3: (WARNING, (1, 3))}))
    assert played(made, (0, 3)) == [("A", CRITICAL, 0), ("B", INFO, 3)]
    again = engine(CAUSE, Says("B", {3: (WARNING, (1, 3))}))
    played(again, (0,))
    told = again.judge(History([record(NET, {}, step=3)], NET))
    assert told[0].message == "So it is. This came with A of step 0, which is to be mended first."


def test_it_is_told_once_however_much_worse_it_gets() -> None:
    at = {3: (WARNING, (1,)), 4: (CRITICAL, (1,)), 5: (CRITICAL, (0, 1, 2, 3))}
    assert played(engine(CAUSE, Says("B", at)), (0, 3, 4, 5)) == [("A", CRITICAL, 0), ("B", INFO, 3)]


def test_what_is_worse_than_its_cause_is_told_as_it_is() -> None:
    cause = replace(CAUSE, at={0: (WARNING, (2,))})
    at = {3: (WARNING, (1,)), 4: (CRITICAL, (1,))}
    assert played(engine(cause, Says("B", at)), (0, 3, 4)) == [
        ("A", WARNING, 0),
        ("B", INFO, 3),
        ("B", CRITICAL, 4),
    ]


def test_a_cause_told_before_that_becomes_as_bad_in_the_same_judgement_explains_it_too() -> None:
    grows = replace(CAUSE, at={0: (WARNING, (2,)), 3: (CRITICAL, (2,))})
    assert played(engine(grows, Says("B", {3: (CRITICAL, (1,))})), (0, 3))[1:] == [("A", CRITICAL, 3), ("B", INFO, 3)]
    # two that follow from each other: the one that was told first is the cause
    first = Says("A", {0: (WARNING, (2,)), 3: (CRITICAL, (2,))}, follows=("B",))
    second = Says("B", {1: (WARNING, (1,)), 3: (CRITICAL, (1,))})
    assert played(engine(first, second), (0, 1, 3))[-1] == ("A", CRITICAL, 3)


def test_a_rule_that_does_not_say_what_it_follows_from_is_left_alone() -> None:
    assert played(engine(CAUSE, Says("B", {3: (WARNING, (1,))}, follows=())), (0, 3))[1] == ("B", WARNING, 3)


def test_what_is_found_in_the_same_step_stands_beside_it() -> None:
    assert played(engine(CAUSE, Says("B", {0: (WARNING, (1,))})), (0,)) == [("A", CRITICAL, 0), ("B", WARNING, 0)]


def test_layers_on_another_path_have_a_cause_of_their_own() -> None:
    trunk = in_a_row(linear(i, f"net.{i}") for i in range(2))
    other = in_a_row(linear(i, f"net.{i}") for i in range(2, 5))
    both = Structure((*trunk, *(replace(one, inputs=one.inputs or ("input",)) for one in other)))
    late = Says("B", {3: (WARNING, (3, 4))})
    assert played(engine(replace(CAUSE, at={0: (CRITICAL, (1,))}), late), (0, 3), net=both)[1] == ("B", WARNING, 3)
    near = Says("B", {3: (WARNING, (0, 1, 4))})
    assert played(engine(replace(CAUSE, at={0: (CRITICAL, (1,))}), near), (0, 3), net=both)[1] == ("B", INFO, 3)


@pytest.mark.parametrize(
    ("code", "open_still", "severity"), [("A", True, INFO), ("A", False, WARNING), ("IM701", False, INFO)]
)
def test_an_answer_that_does_not_depend_on_the_input_follows_from_what_is_open_though_the_loss_fell(
    code: str, *, open_still: bool, severity: Severity
) -> None:
    cause = Says(code, {0: (CRITICAL, (2,))} | ({150: (CRITICAL, (2,))} if open_still else {}), follows=())
    same = Says("B", {150: (WARNING, (1, 3))}, follows=(code,), whatever_the_loss=True)
    steps = (0, 20, 40, 60, 150)
    assert played(engine(cause, same), steps, LEARNS)[-1] == ("B", severity, 150)
    other = replace(same, whatever_the_loss=False)
    assert played(engine(cause, other), steps, LEARNS)[-1] == ("B", WARNING, 150)


LEVEL = 2.3 + 0.01 * np.random.default_rng(0).normal(size=200)
LEARNS = 2.3 * np.exp(-np.arange(200) / 40)


@pytest.mark.parametrize(
    ("losses", "step", "severity"),
    [(LEVEL, 150, INFO), (LEARNS, 3, WARNING), (LEARNS, 150, WARNING), ((), 30, INFO), ((), 150, WARNING)],
    ids=["level", "learns", "learned", "unknown and near", "unknown and long ago"],
)
def test_a_cause_stands_until_the_run_has_learned_or_nothing_is_known_for_long(
    losses: Iterable[float], step: int, severity: Severity
) -> None:
    # Three quiet steps close the first case.
    made = engine(CAUSE, Says("B", {step: (WARNING, (1,))}))
    assert played(made, (0, 1, 2, 4, step), losses)[-1] == ("B", severity, step)


SLOW = 2.3 - 0.004 * np.arange(200)


@pytest.mark.parametrize(
    ("code", "at", "losses", "severity"),
    [
        ("IM102", 0, SLOW, INFO),
        ("IM102", 0, LEARNS, WARNING),
        ("IM102", 1, SLOW, WARNING),
        ("IM301", 0, SLOW, WARNING),
    ],
    ids=["not halved yet", "halved", "not of the start", "not over depth"],
)
def test_a_depth_that_was_far_off_at_step_0_stands_until_the_loss_has_halved(
    code: str, at: int, losses: Iterable[float], severity: Severity
) -> None:
    cause = Says(code, {at: (CRITICAL, (2,))}, follows=())
    later = Says("B", {150: (WARNING, (1,))}, follows=(code,))
    assert played(engine(cause, later), (at, 20, 40, 60, 150), losses)[-1] == ("B", severity, 150)


def test_a_consequence_of_the_start_does_not_say_that_the_initial_weights_were_fine() -> None:
    said = Finding("r", "IM201", WARNING, ("a",), 9, "It grows.", remedy=f"Lower the rate.{FINE}")
    cause = Finding("r", "IM102", CRITICAL, ("a",), 0, "It fades.")
    assert as_consequence(said, cause).remedy == "Lower the rate."


def test_what_is_still_so_is_a_cause_however_long_ago_it_was_told() -> None:
    cause = replace(CAUSE, at=dict.fromkeys((0, 50, 100, 150), (CRITICAL, (2,))))
    assert played(engine(cause, Says("B", {150: (WARNING, (1,))})), (0, 50, 100, 150))[-1] == ("B", INFO, 150)


def test_steps_that_are_far_too_large_explain_everything_of_their_own_step_and_later() -> None:
    large = Says("IM603", {2: (WARNING, ())}, follows=(), evidence=LARGE, expected=USUAL)
    at = {2: (CRITICAL, (1,))}
    assert played(engine(Says("B", at), large), (0, 2)) == [("B", INFO, 2), ("IM603", WARNING, 2)]
    small = replace(large, evidence=USUAL, expected=LARGE)
    assert played(engine(Says("B", at), small), (0, 2))[0] == ("B", CRITICAL, 2)


def test_a_resumed_run_knows_what_was_told_before() -> None:
    rules = (CAUSE, Says("B", {3: (WARNING, (1,))}))
    first = engine(*rules)
    played(first, (0,))
    resumed = engine(*rules)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert played(resumed, (3,)) == [("B", INFO, 3)]
    old = first.state_dict()
    del old["before"]
    resumed.load_state_dict(old)
    assert played(resumed, (3,)) == [("B", WARNING, 3)]


def test_rules_follow_from_findings_that_exist() -> None:
    codes = {rule.code for rule in DEFAULT_RULES}
    assert set(SIGNAL) <= codes
    assert all(set(follows(rule)) <= codes for rule in DEFAULT_RULES)
    # What stands in the program, and NaN, is always told as it is.
    told = {rule.code for rule in DEFAULT_RULES if not follows(rule)}
    assert told == {"IM402", "IM502", "IM503", "IM601", "IM602", "IM604", "IM701", "IM704", "IM801"}


def test_steps_are_as_faint_or_as_large_as_the_gradient_that_another_finding_is_about() -> None:
    rule, layers = UpdateRatio(), tuple(f"net.{i}" for i in range(3))
    fades = Finding("", "IM202", WARNING, layers, 0, "")
    grows = replace(fades, code="IM101")
    faint = Finding("", "IM603", WARNING, (), 50, "", {"weight_gradient": Figure(1e-9)})
    slow = Finding("", "IM603", WARNING, (), 50, "", USUAL, LARGE)
    large = Finding("", "IM603", WARNING, (), 50, "", LARGE, USUAL)
    assert rule.comes_of(faint, fades, NET), "of half of the weights"
    assert not rule.comes_of(faint, replace(fades, layers=layers[:2]), NET), "the median is of the others"
    assert not rule.comes_of(slow, fades, NET), "the rate itself is small"
    assert rule.comes_of(large, grows, NET)
    assert not rule.comes_of(large, fades, NET)
    assert rule.leaves(faint, fades, NET) == {""}
    assert rule.leaves(slow, fades, NET) == frozenset()


def test_a_network_that_fades_from_the_start_gives_one_cause() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(16):
        layers += [nn.Linear(32, 32), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(32, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.6 * (2 / 32) ** 0.5)
            nn.init.zeros_(layer.bias)
    monitor = InitMonitor(sinks=(), every_n_steps=10)
    fit(Classifier(net, lr=0.05), loader(32), monitor, steps=130, max_epochs=-1)
    loud = {finding.code for finding in monitor.findings if finding.severity > INFO}
    assert loud == {"IM102", "IM202"}, monitor.findings


def test_a_loss_that_falls_to_guessing_only_undoes_its_start() -> None:
    falls = 24 * np.exp(-np.arange(100) / 10) + 2.31
    net = Structure((*linears(3, width=64).layers[:2], linears(3, width=10).layers[2]))

    def past(losses: np.ndarray, square: float) -> History:
        curve = LossCurve()
        curve.add(LossStretch.of(enumerate(losses.tolist())))
        columns = {Quantity.MEAN_SQUARE: square, Quantity.COUNT: 640.0, Quantity.GRADIENT_ABS_MAX: 1 / 64}
        return History([record(net, columns, losses=LossStretch.of([(0, float(losses[0]))]))], net, losses=curve)

    assert only_undoes_its_start(past(falls, 600.0))
    assert not only_undoes_its_start(past(falls - 1.0, 600.0)), "better than guessing"
    assert not only_undoes_its_start(past(falls, 1.0)), "the output is not what makes it large"


def test_what_stops_at_one_place_does_not_explain_the_dead_layer_that_stops_it() -> None:
    stops = Finding("", "IM102", CRITICAL, ("net.2",), 0, "", {"total_growth": Figure(0.0, "×")})
    dead = Finding("", "IM301", CRITICAL, ("net.1",), 3, "")
    assert not reaches(dead, stops, NET)
    assert reaches(replace(dead, code="IM702"), stops, NET)
    assert reaches(dead, replace(stops, evidence={"total_growth": Figure(1e-9, "×")}), NET)
    assert not reaches(replace(dead, code="IM702"), replace(stops, code="IM202"), NET)
