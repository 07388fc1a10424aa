"""The detection benchmark: its scores on answers known beforehand, its split, its labels, and one pair end to end."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from benchmarks.detection import efficacy, labels, measuring, running, scoring, starts, tasks
from benchmarks.detection.__main__ import BEGIN, END, included
from benchmarks.detection.baseline import Baseline, Check
from benchmarks.detection.case import Case, Evidence, Training
from benchmarks.detection.cases import all_cases
from benchmarks.detection.cases.plain import SHALLOW
from benchmarks.detection.efficacy import Kind
from benchmarks.detection.lightning import Learner, sgd, sgd_with_one_huge_step
from benchmarks.detection.printed import copied
from benchmarks.detection.running import Outcome, Told
from benchmarks.detection.scoring import Judged, Rate
from benchmarks.detection.split import Half, halves
from benchmarks.detection.table import page
from init_monitor.records import Finding, Severity

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "detection-cpu.md"
PAGE = ROOT / "docs" / "detection.md"

TINY = replace(SHALLOW, widths=(64, 16, 16, 10), optimizer=sgd(0.05))
GOOD = Case("tiny/healthy", "tiny", TINY, steps=40)
BAD = Case(
    "tiny/dead",
    "tiny",
    replace(TINY, start=starts.then(starts.he, starts.biased("2", -20.0))),
    "a bias of -20 turns a layer off",
    frozenset({"IM301", "IM102"}),
    ("net.2", "net.3"),
    "tiny/healthy",
    40,
)


def _told(code: str, severity: str = "warning", layers: tuple[str, ...] = (), step: int = 0) -> Told:
    return Told(code, severity, layers, step, "")


def _judged(
    *told: Told,
    fault: str = "",
    symptoms: tuple[str, ...] = (),
    culprits: tuple[str, ...] = (),
    share: float = 0.1,
    baseline: frozenset[Check] = frozenset(),
) -> Judged:
    case = Case("a/b", "a", TINY, fault, frozenset(symptoms), culprits, "a/healthy" if fault else "")
    outcome = Outcome("a/b", (1.0,), told, baseline, culprit_share=share)
    return Judged(case, outcome, Evidence(holds=True, figure=""), Half.TUNING)


def _went(*losses: float, name: str = "a/b") -> Outcome:
    return Outcome(name, losses)


# --- the cases ---------------------------------------------------------------------------------------------------


def test_there_are_sixty_pairs_twins_that_exist_and_names_that_are_unique() -> None:
    cases = all_cases()
    by_name = {case.name: case for case in cases}
    faulty = [case for case in cases if not case.healthy]
    assert len(by_name) == len(cases)
    assert len(faulty) >= 60
    assert all(by_name[case.twin].healthy and by_name[case.twin].steps == case.steps for case in faulty)
    assert all(case.name.startswith(f"{case.architecture}/") for case in cases)


def test_every_fault_has_symptoms_that_are_codes_of_the_design_and_no_healthy_run_has_any() -> None:
    codes = {"IM101", "IM102", "IM201", "IM202", "IM301", "IM302", "IM303", "IM304", "IM401", "IM402", "IM501", "IM502"}
    codes |= {"IM601", "IM602", "IM603", "IM701", "IM702"}
    for case in all_cases():
        assert case.symptoms <= codes, case.name
        assert bool(case.symptoms) != case.healthy, case.name
        assert not (case.healthy and (case.culprits or case.twin)), case.name


def test_no_architecture_is_in_both_halves_and_both_have_faulty_and_healthy_runs() -> None:
    cases = all_cases()
    half = halves(case.architecture for case in cases)
    kinds = {(half[case.architecture], case.healthy) for case in cases}
    assert kinds == {(one, healthy) for one in Half for healthy in (True, False)}


@given(st.lists(st.text(min_size=1, max_size=5)), st.randoms())
def test_the_split_alternates_over_the_sorted_names_whatever_their_order(names: list[str], chance: object) -> None:
    shuffled = list(names)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    found = halves(shuffled)
    assert found == halves(names)
    assert [found[name] for name in sorted(set(names))] == [
        Half.VALIDATION if i % 2 else Half.TUNING for i in range(len(set(names)))
    ]


def test_a_case_makes_the_same_training_at_every_call() -> None:
    one, other = (running.train(GOOD.make(), 5) for _ in range(2))
    assert one == other
    assert len(one) == 5


# --- the labels --------------------------------------------------------------------------------------------------


def test_progress_is_the_share_of_the_twins_decrease_counted_from_the_twins_start() -> None:
    twin = _went(*[2.0] * 4, *[1.0] * 4)
    assert labels.progress(_went(*[9.0] * 4, *[1.5] * 4), twin) == pytest.approx(0.5)
    assert labels.progress(_went(2.0, math.nan), twin) == -math.inf


@pytest.mark.parametrize(("end", "faulty"), [(1.0, False), (1.2, False), (1.3, True), (2.0, True), (math.nan, True)])
def test_a_run_is_faulty_if_it_achieves_less_than_three_quarters_of_its_twins_decrease(
    end: float, *, faulty: bool
) -> None:
    twin = _went(*[2.0] * 4, *[1.0] * 4)
    assert labels.verify(_went(*[2.0] * 4, *[end] * 4), twin).holds is faulty


def test_a_healthy_run_is_finite_and_its_loss_falls() -> None:
    assert labels.verify(_went(2.0, 2.0, 1.0, 1.0)).holds
    assert not labels.verify(_went(2.0, 2.0, 2.0, 2.0)).holds
    assert not labels.verify(_went(2.0, math.inf, 1.0, 1.0)).holds


def test_what_measures_the_fault_itself_decides_over_the_loss_and_a_broken_run_verifies_nothing() -> None:
    same = _went(2.0, 1.0)
    measured = replace(same, evidence=Evidence(holds=True, figure="90 % of the units are dead"))
    assert labels.verify(measured, same).holds
    assert not labels.verify(replace(measured, failure="ValueError: no"), same).holds


def test_a_faulty_run_falls_with_its_twin_and_stays_out_of_the_numbers() -> None:
    flat, gone = _went(*[1.0] * 50, name=GOOD.name), _went(math.nan, name=BAD.name)
    half = measuring.judge([BAD, GOOD], {GOOD.name: flat, BAD.name: gone}, halves(["tiny"]))
    assert [run.case.name for run in half[1]] == [GOOD.name, BAD.name]
    assert half[0] == []


# --- the scores --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # From the closed form by hand: with z = 1.96, 0 of 10 gives z²/(10 + z²) = 0.2775, and 5 of 10 is symmetric.
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert Rate(hits, of).interval == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 200).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_holds_the_share_and_stays_within_nothing_and_all(counts: tuple[int, int]) -> None:
    rate = Rate(*counts)
    low, high = rate.interval
    assert 0 <= low <= rate.value + 1e-12
    assert rate.value - 1e-12 <= high <= 1


def test_scores_of_runs_whose_answers_are_known() -> None:
    place = ("net.2", "net.3")
    runs = [
        _judged(_told("IM301", layers=("net.3",)), fault="f", symptoms=("IM301",), culprits=place),
        _judged(_told("IM301", layers=("net.8",)), fault="f", symptoms=("IM301",), culprits=place, share=0.9),
        _judged(_told("IM999", "critical"), fault="f", symptoms=("IM301",), culprits=place),
        _judged(_told("IM301", "info"), fault="f", symptoms=("IM301",)),
        _judged(),
        _judged(_told("IM101", "info")),
        _judged(_told("IM101")),
        _judged(_told("IM101", "critical"), _told("IM102", "critical")),
    ]
    scores = scoring.score(runs)
    assert scores.recall == Rate(3, 4)
    assert scores.false_positives == Rate(2, 4)
    assert scores.precision == Rate(3, 5)
    assert scores.symptom == Rate(2, 3)
    assert scores.layer == Rate(1, 2)
    assert scores.local == Rate(1, 1)
    assert scores.critical_on_healthy == 2


def test_the_finding_that_decides_is_the_most_severe_of_the_right_ones_and_of_these_the_oldest() -> None:
    told = (
        _told("IM999", "critical", step=0),
        _told("IM301", "info", step=1),
        _told("IM301", "warning", step=2),
        _told("IM102", "critical", step=3),
        _told("IM301", "critical", step=4),
    )
    assert scoring.deciding(told, frozenset({"IM301", "IM102"})) == told[3]
    assert scoring.deciding(told, frozenset({"IM301"})) == told[4]
    assert scoring.deciding(told[:2], frozenset({"IM301"})) is None


@pytest.mark.parametrize(
    ("layers", "right"),
    [
        (("net.3",), True),
        (("net.3", "net.5"), True),
        (("net.3", "net.5", "net.7"), False),
        (("net.5",), False),
        ((), False),
        (("net.3.weight",), True),
        (("net.3#2",), True),
        (("net.3[0]",), True),
        (("blocks.4#1",), True),
        (("net.30",), False),
    ],
)
def test_a_place_is_named_by_a_culprit_if_at_least_half_of_the_names_are_culprits(
    layers: tuple[str, ...], *, right: bool
) -> None:
    assert scoring.names_the_place(layers, ("net.3", "blocks.*")) is right


def test_the_baseline_is_scored_by_its_checks_and_its_ranges_do_not_count() -> None:
    runs = [
        _judged(fault="f", symptoms=("IM301",), baseline=frozenset({Check.ZERO_GRADIENTS})),
        _judged(fault="f", symptoms=("IM601",), baseline=frozenset({Check.EXPLODING})),
        _judged(baseline=frozenset({Check.INPUT_RANGE})),
        _judged(baseline=frozenset({Check.UPDATE})),
    ]
    scores = scoring.score_baseline(runs)
    assert (scores.recall, scores.false_positives, scores.symptom) == (Rate(2, 2), Rate(1, 2), Rate(1, 2))
    alone = scoring.score_baseline(runs, [Check.INPUT_RANGE])
    assert (alone.recall, alone.false_positives) == (Rate(0, 2), Rate(1, 2))


# --- the baseline ------------------------------------------------------------------------------------------------


def _baseline_of(net: nn.Module, rate: float = 0.01, factor: float = 1.0, steps: int = 8) -> frozenset[Check]:
    torch.manual_seed(0)
    inputs, targets = torch.rand(64, 8), torch.zeros(64, 4)
    loader = tasks.batches(inputs, targets, seed=0, batch=32)
    watching = Baseline()
    module = Learner(net, lambda out, target: factor * tasks.squared_error(out, target), sgd(rate))
    running.train(Training(module, loader), steps, [watching])
    return watching.fired


def _net(
    *, first: float = 1.0, shift: float = 0.0, last: float = 1.0, activation: type[nn.Module] = nn.Tanh
) -> nn.Sequential:
    torch.manual_seed(1)
    lower, upper = nn.Linear(8, 32), nn.Linear(32, 4)
    lower.weight.data *= first
    lower.bias.data += shift
    upper.weight.data *= last
    return nn.Sequential(lower, activation(), upper)


@pytest.mark.usefixtures("quiet")
def test_each_check_of_the_baseline_fires_on_what_it_is_about_and_is_silent_otherwise() -> None:
    assert _baseline_of(_net()) <= {Check.ACTIVATION_STD}
    assert Check.TINY_GRADIENT in _baseline_of(_net(), factor=1e-9)
    assert Check.FADING in _baseline_of(_net(last=1e-5), factor=1e-2, rate=1e-6)
    assert Check.EXPLODING in _baseline_of(_net(last=1e4), rate=1e-12)
    assert Check.NON_FINITE in _baseline_of(_net(), rate=1e30)
    assert Check.UPDATE in _baseline_of(_net(), rate=0.0)
    assert {Check.ZERO_GRADIENTS, Check.QUIET_LAYER} <= _baseline_of(_net(shift=-100.0, activation=nn.ReLU))
    assert Check.SATURATED in _baseline_of(_net(first=1000.0))


@pytest.mark.usefixtures("quiet")
def test_the_baseline_changes_no_training() -> None:
    assert running.same_bits(running.train(GOOD.make(), 20, [Baseline()]), running.train(GOOD.make(), 20))


@pytest.mark.usefixtures("quiet")
def test_the_baseline_wants_to_see_a_condition_five_times_in_a_row() -> None:
    assert Check.UPDATE not in _baseline_of(_net(), rate=0.0, steps=4)
    assert Check.UPDATE in _baseline_of(_net(), rate=0.0, steps=5)


# --- running and remedies ----------------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave threads and warnings as the tests have them: only the benchmark's own processes are silenced for good."""
    monkeypatch.setattr(running, "quiet", lambda: None)


@pytest.mark.usefixtures("quiet")
def test_a_pair_end_to_end_is_told_apart_named_placed_and_mended() -> None:
    outcomes = {case.name: running.run(case) for case in (GOOD, BAD)}
    assert [outcome.failure for outcome in outcomes.values()] == ["", ""]
    held, dropped = measuring.judge([GOOD, BAD], outcomes, halves(["tiny"]))
    assert dropped == []
    scores = scoring.score(held)
    assert (scores.recall, scores.false_positives) == (Rate(1, 1), Rate(0, 1))
    assert (scores.symptom, scores.layer) == (Rate(1, 1), Rate(1, 1))
    assert not any(outcome.changed for outcome in outcomes.values())
    remedy = efficacy.remedy_of(outcomes[BAD.name].told, BAD.symptoms)
    assert remedy is not None
    tried = efficacy.try_remedy(BAD, remedy)
    assert not efficacy.reached(outcomes[BAD.name], outcomes[GOOD.name])
    assert efficacy.reached(tried, outcomes[GOOD.name]), tried
    assert tried.confirmed is not None
    assert tried.confirmed.holds
    broken = (("tiny/bad", "IM101", "NameError: x"),)
    text = page(measuring.Result(tuple(held), (), ((tried, True),), 60.0, 2, 7, broken))
    assert "| initialisation or scaling | 100.0 % (20.7–100.0 %, 1/1) | 100.0 % (20.7–100.0 %, 1/1) |" in text
    assert "7 different pieces of code" in text
    assert "- tiny/bad, IM101: NameError: x" in text
    assert "1 faulty runs, each with its healthy twin, and 1 healthy runs in all, over 1 architectures" in text
    assert "Trainings whose losses the monitor changed by a bit: 0." in text


@pytest.mark.usefixtures("quiet")
def test_a_twin_that_its_own_start_drawn_anew_does_not_reach_is_told() -> None:
    twin = running.Outcome(GOOD.name, (4.0, 3.0, 2.0))
    assert [efficacy.share_of(end, twin) for end in (2.0, 3.0, 4.0)] == [1.0, 0.5, 0.0]
    ends = efficacy.drawn_anew(GOOD)
    assert len(set(ends)) == len(efficacy.DRAWS), "each draw is another start"
    assert ends == efficacy.drawn_anew(GOOD)
    missed = efficacy.Remedied("tiny/bad", "IM101", losses=(1.0,))
    lucky, common = {"tiny/bad": (0.5, 0.6, 1.0)}, {"tiny/bad": (0.5, 0.9, 1.0)}
    told = [page(measuring.Result((), (), ((missed, False),), 1.0, 1, anew=anew)) for anew in (lucky, common)]
    assert (
        "Of the 1 twins that no initialisation reached, 1 are not reached by their own healthy start either" in told[0]
    )
    assert "a healthy start drawn anew reaches it: no (0.50, 0.60, 1.00 of the decrease)" in told[0]
    assert "a healthy start drawn anew reaches it: yes (0.50, 0.90, 1.00 of the decrease)" in told[1]


@pytest.mark.usefixtures("quiet")
def test_a_remedy_may_give_the_trainer_an_option_and_the_training_an_optimizer() -> None:
    code = (
        "trainer = pl.Trainer(gradient_clip_val=1e-9, gradient_clip_algorithm='value')\n"
        "import torch\noptimizer = torch.optim.SGD(model.parameters(), lr=0.0)"
    )
    tried = efficacy.try_remedy(GOOD, replace(_told("IM603"), remedy_code=code))
    assert (tried.failure, tried.kind) == ("", Kind.TRAINING)
    # Nothing is learned at a rate of 0: each batch of the second pass has the mean loss of the first, by and large.
    assert tried.end == pytest.approx(sum(tried.losses[:8]) / 8, abs=0.4)
    assert running.train(GOOD.make(), 40)[-1] < 0.5 * tried.end


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("from torch import nn\nnn.init.zeros_(model.net[0].weight)", Kind.NETWORK),
        ("model.net[0].register_forward_pre_hook(lambda module, args: (args[0] / 2,))", Kind.NETWORK),
        (
            "import torch\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # and its other arguments",
            Kind.TRAINING,
        ),
        ("trainer = pl.Trainer(gradient_clip_val=1.0)", Kind.TRAINING),
        ("import torch\ntorch.autograd.set_detect_anomaly(True)", Kind.NOTHING),
        ("assert all(x.isfinite().all() for x in batch if x.is_floating_point())", Kind.NOTHING),
    ],
)
def test_remedies_are_told_apart_by_what_their_code_changes(code: str, kind: Kind) -> None:
    tried = efficacy.try_remedy(replace(GOOD, steps=2), replace(_told("IM101"), remedy_code=code))
    assert (tried.kind, tried.failure) == (kind, "")
    assert len(tried.losses) == 2
    assert not torch.is_anomaly_enabled()


@pytest.mark.usefixtures("quiet")
def test_a_learning_rate_of_a_remedy_leaves_the_rest_of_the_optimizer_as_it_was() -> None:
    code = "import torch\noptimizer = torch.optim.SGD(model.parameters(), lr=0.05)"
    slow = replace(GOOD, make=replace(TINY, optimizer=sgd(1e-9)))
    tried = efficacy.try_remedy(slow, replace(_told("IM603"), remedy_code=code))
    assert running.same_bits(tried.losses, running.train(GOOD.make(), 40))  # its momentum is that of the case


@pytest.mark.usefixtures("quiet")
def test_a_default_that_is_written_out_is_meant() -> None:
    def decayed() -> Training:
        training = GOOD.make()
        training.module.configure_optimizers = lambda: torch.optim.SGD(  # type: ignore[method-assign]
            training.module.parameters(), lr=0.05, weight_decay=30.0
        )
        return training

    def ended(code: str) -> float:
        told = replace(_told("IM603"), remedy_code=f"import torch\noptimizer = torch.optim.SGD({code})")
        return efficacy.try_remedy(replace(GOOD, make=decayed), told).losses[-1]

    assert ended("model.parameters(), lr=0.05, weight_decay=0") < 0.75 * ended("model.parameters(), lr=0.05")


@pytest.mark.usefixtures("quiet")
def test_what_an_optimizer_of_a_remedy_is_given_and_holds_beside_is_used_too() -> None:
    def frozen() -> Training:
        training = GOOD.make()
        head = list(training.module.parameters())[-2:]
        training.module.configure_optimizers = lambda: torch.optim.SGD(head, lr=0.05, weight_decay=0.3)  # type: ignore[method-assign]
        return training

    code = "import torch\noptimizer = torch.optim.SGD(model.parameters(), lr=0.02, weight_decay=1e-4)"
    partly = replace(GOOD, make=frozen)
    tried = efficacy.try_remedy(partly, replace(_told("IM602"), remedy_code=code))

    def whole() -> Training:
        training = GOOD.make()
        training.module.configure_optimizers = lambda: torch.optim.SGD(  # type: ignore[method-assign]
            training.module.parameters(), lr=0.02, weight_decay=1e-4
        )
        return training

    assert np.allclose(tried.losses, running.train(whole(), GOOD.steps), rtol=1e-4)


@pytest.mark.parametrize("blank", ["", "\n"])
def test_code_is_copied_as_it_stands_on_the_console(blank: str) -> None:
    code = (
        f"from torch import nn\n{blank}\nfor layer in model:\n    if layer.bias is not None:\n        nn.init.zeros_(layer.bias)\n"
        "x = 1  # " + "long " * 30
    )
    words = "Initialise these layers anew. " * 9
    for source in ("", "He et al. 2015"):
        found = Finding("r", "IM101", Severity.WARNING, ("a",), 0, "Wrong.", remedy=f"{words}\n\n{code}", source=source)
        assert copied(found) == code.rstrip()
        assert copied(replace(found, remedy=words)) == ""
    compile(copied(found), "copied", "exec")


@pytest.mark.usefixtures("quiet")
def test_code_that_does_not_run_is_listed_with_its_error() -> None:
    assert efficacy.why_it_does_not_run(GOOD, replace(_told("IM101"), remedy_code="print(1)")) == ""
    why = efficacy.why_it_does_not_run(GOOD, replace(_told("IM101"), remedy_code="  print(1)"))
    assert why.startswith("IndentationError")


@pytest.mark.usefixtures("quiet")
def test_a_remedy_that_raises_has_failed_and_says_why() -> None:
    tried = efficacy.try_remedy(GOOD, replace(_told("IM101"), remedy_code="model.no_such_layer"))
    assert "no_such_layer" in tried.failure
    assert not efficacy.reached(tried, _went(2.0, 1.0))


@pytest.mark.usefixtures("quiet")
def test_a_case_that_breaks_is_reported_and_takes_no_other_with_it() -> None:
    def broken() -> Training:
        message = "no such data"
        raise FileNotFoundError(message)

    assert "no such data" in running.run(Case("a/broken", "a", broken)).failure


def test_a_loader_shorter_than_the_training_is_gone_through_again_and_a_longer_one_is_cut() -> None:
    loader = tasks.batches(torch.arange(6.0), torch.zeros(6), seed=0, batch=2)
    assert len(list(running.Batches(loader, 8))) == len(running.Batches(loader, 8)) == 8
    assert len(list(running.Batches(loader, 2))) == 2


def test_one_huge_step_is_one() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = sgd_with_one_huge_step(0.1, 50.0)([weight])
    moves = []
    for _ in range(3):
        weight.grad = torch.ones(1)
        before = float(weight.detach())
        optimizer.step()
        moves.append(before - float(weight.detach()))
    assert moves == pytest.approx([5.0, 0.1, 0.1], rel=1e-5)


def test_the_centred_sigmoid_start_keeps_the_signal_where_xaviers_loses_it() -> None:
    def spread(start: starts.Start) -> float:
        torch.manual_seed(0)
        layers = [part for _ in range(10) for part in (nn.Linear(128, 128), nn.Sigmoid())]
        net = nn.Sequential(*layers)
        start(net)
        return float(net(torch.randn(256, 128)).detach().var(dim=0).mean())

    assert spread(starts.centred_sigmoid) > 1e-3
    assert spread(starts.xavier) < 1e-8


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_result_is_put_between_the_marks_one_heading_deeper() -> None:
    assert included(f"a\n{BEGIN}\nold\n{END}\nb", "# T\n\n| x |\n") == f"a\n{BEGIN}\n\n## T\n\n| x |\n\n{END}\nb"
    with pytest.raises(ValueError, match="needs the lines"):
        included("a page without marks", "# T")


def test_the_page_of_the_documentation_holds_the_result_file() -> None:
    document = PAGE.read_text(encoding="utf-8")
    assert included(document, RESULT.read_text(encoding="utf-8")) == document


def test_a_remedy_is_tried_with_different_draws() -> None:
    code = "from torch import nn\n\nnn.init.kaiming_normal_(model.net[0].weight)"
    told = replace(_told("IM101"), remedy_code=code)
    losses = {efficacy._try(replace(GOOD, steps=3), told, seed).losses for seed in efficacy.DRAWS}
    assert len(losses) == len(efficacy.DRAWS)
