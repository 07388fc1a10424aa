"""The further seeds of the detection benchmark: another start, batch size, optimizer and number of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.detection import seeding
from benchmarks.detection.case import Case, Evidence, Training
from benchmarks.detection.lightning import Learner, adam, sgd, sgd_with_one_huge_step
from benchmarks.detection.measuring import Result, repeated_cases
from benchmarks.detection.running import Outcome
from benchmarks.detection.scoring import Judged
from benchmarks.detection.split import Half
from benchmarks.detection.table import page
from benchmarks.detection.variation import VARIATIONS, repeated

if TYPE_CHECKING:
    from benchmarks.detection.lightning import MakeOptimizer

PLAIN = sgd(0.1)


def _case(optimizer: MakeOptimizer = PLAIN, samples: int = 64, batch: int = 8) -> Case:
    def make() -> Training:
        seeding.seed(0)
        loader = DataLoader(TensorDataset(torch.arange(float(samples))[:, None]), batch_size=batch, shuffle=True)
        return Training(Learner(nn.Linear(4, 1), nn.functional.mse_loss, optimizer), loader)

    def first_weight(_: Training) -> Evidence:
        return Evidence(holds=True, figure=str(make().module.get_parameter("net.weight").tolist()))

    return Case("a/b", "a", make, "a fault", twin="a/healthy", steps=40, pathology=first_weight)


def _optimizer(case: Case) -> Any:
    return case.make().module.configure_optimizers()


def test_seed_0_is_the_case_itself_and_there_are_three_of_each() -> None:
    case = _case()
    assert repeated(case, 0) is case
    cases = repeated_cases(3)
    assert len(cases) == len({one.name for one in cases}) == 3 * len(repeated_cases(1))
    assert len(VARIATIONS) == 3


@pytest.mark.parametrize(("seed", "batch", "steps"), [(1, 4, 50), (2, 16, 32)])
def test_a_further_seed_has_other_weights_batches_and_steps_and_its_own_twin(seed: int, batch: int, steps: int) -> None:
    case, again = _case(), repeated(_case(), seed)
    assert (again.name, again.twin, again.steps, again.seed) == (
        f"a/b seed {seed}",
        f"a/healthy seed {seed}",
        steps,
        seed,
    )
    ours, theirs = again.make(), case.make()
    assert ours.loader.batch_size == batch
    assert not torch.equal(ours.module.get_parameter("net.weight"), theirs.module.get_parameter("net.weight"))
    assert torch.equal(ours.module.get_parameter("net.weight"), again.make().module.get_parameter("net.weight"))
    assert [x.tolist() for (x,) in ours.loader] == [x.tolist() for (x,) in again.make().loader]
    assert [x.tolist() for (x,) in ours.loader] != [x.tolist() for (x,) in repeated(case, 3 - seed).make().loader]


def test_the_fault_is_measured_on_the_same_start() -> None:
    again = repeated(_case(), 1)
    assert again.pathology is not None
    assert again.pathology(again.make()).figure == str(again.make().module.get_parameter("net.weight").tolist())
    seeding.seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(first, torch.rand(1)), "outside of a repetition a seed is the case's own"


def test_a_start_drawn_anew_has_other_weights_and_the_same_batches() -> None:
    for case in (_case(), repeated(_case(), 1)):
        first = case.make()
        with seeding.drawn(1):
            again, once_more = case.make(), case.make()
        assert not torch.equal(first.module.get_parameter("net.weight"), again.module.get_parameter("net.weight"))
        assert torch.equal(again.module.get_parameter("net.weight"), once_more.module.get_parameter("net.weight"))
        assert first.loader.batch_size == again.loader.batch_size


def test_a_batch_has_two_samples_at_least_and_no_more_than_there_are() -> None:
    assert repeated(_case(batch=2), 1).make().loader.batch_size == 2
    assert repeated(_case(samples=10), 2).make().loader.batch_size == 10


def test_the_rate_of_another_optimizer_means_the_same() -> None:
    ahead, plain = (_optimizer(repeated(_case(sgd(0.1, momentum=0.9)), seed)) for seed in (1, 2))
    assert ahead.param_groups[0]["nesterov"]
    assert ahead.param_groups[0]["lr"] == 0.1
    assert plain.param_groups[0]["momentum"] == 0.0
    assert plain.param_groups[0]["lr"] == pytest.approx(1.0)
    decoupled, nadam = (_optimizer(repeated(_case(adam(2e-3, eps=1e-6)), seed)) for seed in (1, 2))
    assert type(decoupled) is torch.optim.AdamW
    assert type(nadam) is torch.optim.NAdam
    assert {(one.param_groups[0]["lr"], one.param_groups[0]["eps"]) for one in (decoupled, nadam)} == {(2e-3, 1e-6)}


def test_an_optimizer_of_a_cases_own_and_one_that_a_schedule_holds_stay() -> None:
    strange = repeated(_case(sgd_with_one_huge_step(0.1, 10.0)), 2)
    assert type(_optimizer(strange)).__name__ == "_OneHugeStep"
    held = repeated(_case(lambda parameters: {"optimizer": torch.optim.SGD(parameters, lr=0.1)}), 1)  # type: ignore[arg-type,return-value]
    assert not _optimizer(held)["optimizer"].param_groups[0]["nesterov"]
    several = repeated(_case(lambda parameters: [torch.optim.SGD(parameters, lr=0.1, momentum=0.9)]), 1)  # type: ignore[arg-type,return-value]
    assert _optimizer(several)[0].param_groups[0]["nesterov"]


def test_a_loader_of_a_cases_own_stays() -> None:
    whole: Any = [(torch.zeros(4, 4), torch.zeros(4, 1))]
    case = Case("a/b", "a", lambda: Training(Learner(nn.Linear(4, 1), nn.functional.mse_loss, sgd(0.1)), whole))
    assert repeated(case, 1).make().loader is whole


def test_a_seed_without_a_variation_is_refused() -> None:
    with pytest.raises(ValueError, match="a seed must be from 0 to 2, but is 3"):
        repeated(_case(), 3)


def test_the_page_has_a_column_for_each_seed_where_there_are_several() -> None:
    runs = [
        Judged(repeated(_case(), seed), Outcome("a/b", (1.0,)), Evidence(holds=True, figure=""), Half.TUNING)
        for seed in (0, 1)
    ]
    assert "| | seed 0 | seed 1 |" in page(Result(tuple(runs), (), (), 1.0, 2))
    assert "seed 0" not in page(Result(tuple(runs[:1]), (), (), 1.0, 2))
