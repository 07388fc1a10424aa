"""The field benchmark: what its cases declare, how answers are judged, and a few programs end to end."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.detection.running import Told
from benchmarks.field import judging, measuring, running, table
from benchmarks.field.__main__ import BEGIN, END, main
from benchmarks.field.case import SILENCE, Answer, Case, Program, answer
from benchmarks.field.held_out import cases_in
from benchmarks.field.judging import Judged, judge, mistakes
from benchmarks.field.measuring import Result, measure
from benchmarks.field.programs import all_cases, public_reports
from benchmarks.field.remedy import Remedy, initialises, kinds_of
from benchmarks.field.running import Outcome
from benchmarks.field.table import Marks, before_of, page, summary

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "field-cpu.md"
PAGE = ROOT / "docs" / "detection.md"

CASES = {case.name: case for case in all_cases()}
FAULTY = [case for case in CASES.values() if case.answer is not None and not case.answer.silence]

WORSE = 1.25
"""A program with a mistake ends at least so many times as wrong as without it."""

DECAY = answer("IM102", Remedy.WEIGHT_DECAY, by=100, beside="IM202", layers=("net.0",))
HELD_OUT = '''"""A rate of zero."""
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 3, 12


class Net(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.rate, self.net = rate, nn.Linear(4, 1)

    def training_step(self, batch, _):
        return (self.net(batch[0]) - batch[1]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def data():
    x = torch.randn(64, 4)
    return DataLoader(TensorDataset(x, x[:, :1]), batch_size=16)


def faulty():
    return Net(0.0), data()


def fixed():
    return Net(0.1), data()
'''


def _told(
    code: str = "IM102",
    severity: str = "warning",
    step: int = 50,
    *,
    remedy: str = "Lower the weight decay.",
    layers: tuple[str, ...] = ("net.0",),
) -> Told:
    return Told(code, severity, layers, step, "", remedy)


def _program() -> Program:
    return CASES["rate_rounded_to_zero"].make("fixed")


def _judged(name: str, *, wrong: tuple[str, ...] = (), alarms: tuple[str, ...] = (), right: Answer = DECAY) -> Judged:
    case = Case(name, "", _program, _program, right)
    return Judged(case, Outcome(name, "faulty", 2.0, 1.0, 1.0), Outcome(name, "fixed", 2.0, 0.1, 0.1), wrong, alarms)


# --- the cases ---------------------------------------------------------------------------------------------------


def test_there_are_65_programs_beside_the_13_reported_ones_and_a_third_calls_for_silence() -> None:
    assert len(CASES) >= 13 + 65
    reported = {case.name for case in public_reports.CASES}  # whatever people reported: their share was not chosen
    silent = set(CASES) - reported - {case.name for case in FAULTY}
    assert 3 * len(silent) >= len(CASES) - len(reported)


def test_two_cases_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.field import programs

    monkeypatch.setattr(programs, "MODULES", (programs.inputs, programs.inputs))
    with pytest.raises(
        ValueError, match=r"names must be unique, but these are used twice: \['always_the_first_picture'"
    ):
        programs.all_cases()


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.name)
def test_a_program_with_a_mistake_was_measured_to_end_clearly_worse_than_the_repaired_one(case: Case) -> None:
    assert case.fixed is not None
    assert case.measured is not None
    faulty, fixed = case.measured
    assert math.isfinite(fixed)
    assert not faulty <= WORSE * fixed, "NaN is worse than anything"


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.name)
def test_a_right_answer_can_be_given_in_time(case: Case) -> None:
    assert case.answer is not None
    by_batch = not case.make("faulty").module.automatic_optimization
    assert case.answer.by <= (32 * case.steps if by_batch else case.steps), (
        "the longest accumulation is over 32 batches"
    )


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_every_program_can_be_made(case: Case) -> None:
    for version in case.versions:
        program = case.make(version)
        assert any(True for _ in program.module.parameters())
        assert next(iter(program.loader)) is not None


def test_a_version_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="noisy_labels has faulty, but not 'fixed'"):
        CASES["noisy_labels"].make("fixed")


def test_an_answer_of_unknown_codes_or_without_a_remedy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"these are not: \['IM999'\]"):
        answer("IM999", Remedy.DATA, by=10)
    with pytest.raises(ValueError, match="needs remedies, a step"):
        Answer(frozenset({"IM102"}), by=10)


# --- remedies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Remedy.LEARNING_RATE, "Set lr=1e-3."),
        (Remedy.SLOWER, "Lower the learning rate to about 1e-3."),
        (Remedy.FASTER, "Raise the learning rate to about 1e-3."),
        (Remedy.SCHEDULE, 'Let Lightning move the schedule with every batch: "interval": "step".'),
        (Remedy.WEIGHT_DECAY, "The weight decay of 0.3 takes 3 % of each weight at a step: use 3e-4."),
        (Remedy.EPS, "Use eps=1e-4: 1e-8 is 0 in float16."),
        (Remedy.DTYPE, "Keep the weights in float32 and use mixed precision."),
        (Remedy.CLIP, "Raise gradient_clip_val to 1."),
        (Remedy.OPTIMIZER, "Hand the parameters of head to the optimizer."),
        (Remedy.UNFREEZE, "All parameters are frozen: model.head.requires_grad_(True)."),
        (Remedy.CONNECT, "Do not detach what the loss is computed from."),
        (Remedy.OUTPUT_ACTIVATION, "Take the ReLU on the output away."),
        (Remedy.DIMENSION, "The softmax runs over a dimension of size 1: give it dim=1."),
        (Remedy.NORMALISE, "Normalise before pooling, or use LayerNorm."),
        (Remedy.RESIDUAL, "Scale the end of each residual branch by 1/√L."),
        (Remedy.ATTENTION, "Divide the logits by √d."),
        (Remedy.MASK, "Let each row see at least one place that the mask leaves."),
        (Remedy.INPUT, "Standardise the input: mean 0, variance 1."),
        (Remedy.TARGET, "Divide the targets by their standard deviation."),
        (Remedy.LOSS_TERM, "The KL term outweighs the reconstruction: give it a smaller weight."),
        (Remedy.OUTPUT_SCALE, "Divide the logits by 10."),
        (Remedy.GUARD, "Use log_softmax, or add an eps under the logarithm."),
        (Remedy.DATA, "Look for missing values in the batch."),
        (Remedy.UNDONE, "Look for a load_state_dict() in the wrong direction."),
        (Remedy.SIGN, "Look at the sign of the loss."),
        (Remedy.INITIALISE, "Initialise net.0 with He's recipe before training."),
    ],
)
def test_a_remedy_is_known_by_its_words(kind: Remedy, words: str) -> None:
    assert kind in kinds_of(words)


@pytest.mark.parametrize("kind", [kind for kind in Remedy if kind is not Remedy.INITIALISE])
def test_a_remedy_that_only_initialises_is_of_no_other_kind(kind: Remedy) -> None:
    assert kind not in kinds_of("Initialise these two anew.", "nn.init.xavier_normal_(model.a.weight)")


def test_a_lower_rate_is_not_a_higher_one() -> None:
    assert Remedy.FASTER not in kinds_of("Lower the learning rate, and clip the gradient.")
    assert Remedy.SLOWER not in kinds_of("Raise the learning rate until a step changes the weights by a thousandth.")


def test_going_back_to_a_checkpoint_mends_no_operation() -> None:
    words = "Go back to a checkpoint from before, lower the learning rate, clip the gradient."
    assert not kinds_of(words, "print([n for n, p in model.named_parameters() if not p.isfinite().all()])") & {
        *(Remedy.GUARD, Remedy.DATA, Remedy.MASK, Remedy.EPS, Remedy.DTYPE)
    }


def test_code_that_initialises_counts_and_words_against_it_do_not() -> None:
    assert initialises("Change this.", "nn.init.kaiming_normal_(model.net[0].weight)")
    assert initialises("Draw the weights anew.")
    assert not initialises("It was right at step 0, so there is no need to initialise it anew: lower the rate.")
    assert not initialises("Lower the learning rate.")


# --- judging -----------------------------------------------------------------------------------------------------


def test_the_right_finding_alone_or_beside_what_is_tolerated_is_right() -> None:
    assert not list(mistakes(DECAY, [_told()]))
    assert not list(mistakes(DECAY, [_told("IM202"), _told("IM801"), _told(), _told("IM303", "info")]))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ((), "IM102 was not said"),
        ((_told(severity="info"),), "only IM102 info at step 50, not warning"),
        ((_told(step=150),), "late: IM102 warning at step 150, not by step 100"),
        ((_told(remedy="Lower the learning rate."),), "does not advise: weight decay"),
        ((_told(layers=("net.4",)),), "names net.4 instead of net.0"),
        ((_told(layers=()),), "names no layer instead of net.0"),
        ((_told(), _told("IM303")), "beside it IM303 warning at step 50"),
        ((_told(), _told("IM202", remedy="Initialise net.0.")), "IM202 warning at step 50 sends to other initial"),
    ],
)
def test_an_answer_is_wrong_for_one_reason(told: tuple[Told, ...], why: str) -> None:
    found = list(mistakes(DECAY, told))
    assert len(found) == 1
    assert why in found[0]


def test_silence_is_broken_by_a_warning_and_not_by_information() -> None:
    assert not list(mistakes(SILENCE, [_told(severity="info")]))
    assert list(mistakes(SILENCE, [_told()])) == ["said IM102 warning at step 50"]


def test_a_program_that_breaks_is_not_answered_rightly() -> None:
    case = _judged("a").case
    judged = judge(case, Outcome("a", "faulty", failure="Traceback\nValueError: no"), Outcome("a", "fixed"))
    assert judged.wrong == ("broke: ValueError: no",)
    assert judged.alarms == ()


def test_the_repaired_version_must_be_silent() -> None:
    judged = judge(_judged("a").case, Outcome("a", "faulty", told=(_told(),)), Outcome("a", "fixed", told=(_told(),)))
    assert judged.right
    assert judged.alarms == ("said IM102 warning at step 50",)


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_first_page_is_its_own_past_and_later_ones_keep_it() -> None:
    first = page(Result((_judged("a", wrong=("late",)), _judged("b", right=SILENCE))), {})
    assert before_of(first) == {"a": Marks("wrong", "silent"), "b": Marks("right", "silent")}
    result = Result((_judged("a", alarms=("said so",)), _judged("b", right=SILENCE), _judged("c")))
    later = page(result, before_of(first))
    assert before_of(later) == {**before_of(first), "c": Marks()}
    assert "| mistakes answered rightly | 0.0 % (0.0–79.3 %, 0/1) | 100.0 % (34.2–100.0 %, 2/2) |" in later
    assert "- a: said so" in later


def test_the_pages_in_the_repository_hold_every_case_and_one_score() -> None:
    before = before_of(RESULT.read_text(encoding="utf-8"))
    assert set(before) == set(CASES)
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    score = [line for line in RESULT.read_text(encoding="utf-8").splitlines() if line.startswith("| both |")]
    assert len(score) == 1
    assert score[0] in shown


def test_what_was_said_is_shown_with_the_loudest_first() -> None:
    outcome = Outcome("a", "faulty", told=(_told("IM801", "info"), _told("IM604", "critical", 8)))
    assert table.said(outcome) == "IM604 critical (8), IM801 info (50)"
    assert table.said(Outcome("a", "faulty")) == "nothing"
    assert table.said(Outcome("a", "faulty", failure="x")) == "broke"


# --- running -----------------------------------------------------------------------------------------------------


def test_a_head_in_no_optimizer_is_named_and_the_repaired_program_is_not_blamed() -> None:
    case = replace(CASES["head_not_optimized"], steps=25)
    judged = judge(case, running.run(case, "faulty"), running.run(case, "fixed"))
    assert judged.wrong == ()
    assert judged.alarms == ()
    assert judged.faulty.batches == 25


def test_a_program_runs_alike_with_and_without_the_monitor() -> None:
    case = replace(CASES["noisy_labels"], steps=20)
    watched, alone = running.run(case, "faulty"), running.run(case, "faulty", watched=False)
    assert (watched.first, watched.last) == (alone.first, alone.last)
    assert alone.told == ()


def test_manual_optimisation_and_accumulation_keep_their_losses() -> None:
    for name in ("no_zero_grad", "accumulating_language_model"):
        outcome = running.run(replace(CASES[name], steps=3), "faulty")
        assert not outcome.failure
        assert math.isfinite(outcome.first)
        assert outcome.batches >= 3


def test_what_a_case_measures_is_its_score() -> None:
    outcome = running.run(replace(CASES["everything_frozen"], steps=2, score=lambda *_: 7.0), "faulty")
    assert outcome.score == 7.0


def test_a_stopped_benchmark_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "case_01_rate.py").write_text(HELD_OUT, encoding="utf-8")
    state = tmp_path / "state" / "field.jsonl"
    arguments = ["--dir", str(tmp_path), "--state", str(state), "--jobs", "1", "--show"]
    assert main(arguments) == 0
    assert "A rate of zero." in capsys.readouterr().out
    lines = state.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    state.write_text(f"{lines[0]}\n{lines[1]}\n{lines[0][:40]}", encoding="utf-8")
    (case,) = cases_in(tmp_path)
    told: list[int] = []
    result = measure([case], 1, directory=str(tmp_path), state=state, tell=lambda _, done: told.append(done))
    assert told == []
    assert result.judged[0].faulty == measuring.kept(state)["01_rate", "faulty"]
    text = summary(result, {})
    assert "0 with a mistake" in text
    assert "1 repaired versions" in text
    assert "| both | – (0/0) | – (0/0) |" in text
    assert "- 01_rate: " in text.partition("not known here")[2]


def test_a_directory_without_programs_and_a_file_without_a_fault_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no file that is called case_\*\.py"):
        cases_in(tmp_path)
    (tmp_path / "case_02_none.py").write_text("", encoding="utf-8")
    with pytest.raises(TypeError, match=r"needs a function faulty\(\)"):
        cases_in(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--only", "no such case"], "matches no case"), (["--only", "unet", "--out", "x.md"], "hold every case")],
)
def test_what_cannot_be_asked_for_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


def test_the_end_of_a_loss_that_is_not_a_number_is_none() -> None:
    assert math.isnan(running.tail([1.0, math.nan]))
    assert judging.judge(_judged("a").case, Outcome("a", "faulty"), None).alarms == ()
