"""Two processes: together they measure what one would of the whole batch, and neither can make the other wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import distributed

from init_monitor.capture.executions import in_one_order
from init_monitor.capture.ranks import Ranks
from init_monitor.monitor import Monitor
from init_monitor.options import Options
from init_monitor.records import LossStretch
from init_monitor.sinks.sink import Run

if TYPE_CHECKING:
    from forked_programs import Forks

SCRIPT = Path(__file__).parents[1] / "ranks_training.py"

ONE_PROCESS_ONLY = {"fsdp2": {"backward_gain"}, "fsdp1": {"weight_unit_spread", "log_partition"}}
"""What sharding hides: FSDP 2 puts a function of its own between its units (the gradient that arrives before it is not
that of a layer's output), FSDP 1 leaves flat pieces of the weights, which have no units. And its loss here is computed outside
the watched model, where no cross entropy is seen."""

FORWARD = ("mean", "variance", "mean_square", "abs_max", "zero_fraction", "count", "between_sample_share", "gain")


def run(forks: Forks, scenario: str, out: Path, *, seconds: int = 400) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"LOCAL_RANK", "RANK", "WORLD_SIZE"}}
    path = f"{SCRIPT.parent}{os.pathsep}{SCRIPT.parent.parent}"
    known = {**environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return forks.run(str(SCRIPT), scenario, str(out), cwd=out, env=known, timeout=seconds)


@pytest.fixture(scope="module")
def measured(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what every process of every training wrote, by ``name.rank``."""
    out = tmp_path_factory.mktemp("ranks")
    done = run(forks, "measured", out)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    written: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    return written | {"out": out, "printed": done.stdout}


def assert_same(found: dict[str, Any], expected: dict[str, Any], *, without: set[str] | None = None) -> None:
    assert found["names"] == expected["names"]
    for quantity, values in expected["columns"].items():
        if quantity not in (without or set()):
            np.testing.assert_allclose(
                found["columns"][quantity], values, rtol=1e-4, atol=1e-9, equal_nan=True, err_msg=quantity
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "static", "fsdp2", "fsdp1"])
def test_the_ranks_together_measure_what_one_process_does_of_the_whole_batch(
    measured: dict[str, Any], name: str
) -> None:
    hidden = ONE_PROCESS_ONLY.get(name, set())
    for rank in (0, 1):
        assert_same(measured[f"{name}.{rank}"], measured["single.0"], without=hidden)
        assert measured[f"{name}.{rank}"]["steps"] == [0, 1, 2]
        assert measured[f"{name}.{rank}"]["notices"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "static", "fsdp2", "fsdp1", "uneven"])
def test_a_record_is_the_same_on_both_ranks_to_the_last_digit(measured: dict[str, Any], name: str) -> None:
    first, second = (measured[f"{name}.{rank}"] for rank in (0, 1))
    assert first["names"] == second["names"]
    assert first["findings"] == second["findings"]
    for quantity, values in first["columns"].items():
        np.testing.assert_array_equal(values, second["columns"][quantity], err_msg=quantity)


def test_a_sum_over_parameters_does_not_depend_on_the_process() -> None:
    # Names in a set come in another order in every process; and 1e16 + 1 + 1 is not 1 + 1 + 1e16.
    program = """
from types import SimpleNamespace
from init_monitor.capture.residual import loss_decrease
names = [f"block.{i}.weight" for i in range(12)]
layers = {"block": SimpleNamespace(parameters=tuple(names))}
norms = {name: 1e8 if i % 5 == 0 else 1.0 for i, name in enumerate(names)}
print(repr(float(loss_decrease([SimpleNamespace(layers=("block", "block"))], norms, layers)[0])))
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in range(2)
    }  # fmt: skip
    assert len(said) == 1


@pytest.mark.slow
def test_the_losses_of_both_ranks_are_those_without_a_monitor_to_the_bit(measured: dict[str, Any]) -> None:
    for rank in (0, 1):
        assert measured[f"ddp.{rank}"]["losses"] == measured[f"plain.{rank}"]["losses"]


@pytest.mark.slow
def test_batches_of_unlike_size_count_by_their_samples(measured: dict[str, Any]) -> None:
    for rank in (0, 1):
        found, expected = measured[f"uneven.{rank}"]["columns"], measured["single-uneven.0"]["columns"]
        for quantity in FORWARD:
            np.testing.assert_allclose(found[quantity], expected[quantity], rtol=1e-5, equal_nan=True, err_msg=quantity)


@pytest.mark.slow
def test_parameters_that_are_whole_after_an_evaluation_are_still_those_that_are_measured(
    measured: dict[str, Any],
) -> None:
    for rank in (0, 1):
        assert measured[f"evaluated.{rank}"]["names"][1] == measured["single.0"]["names"][1]


@pytest.mark.slow
def test_a_rank_without_a_single_sample_adds_nothing(measured: dict[str, Any]) -> None:
    for rank in (0, 1):
        found, expected = measured[f"empty.{rank}"], measured["single-empty.0"]
        assert found["notices"] == []
        assert found["names"] == expected["names"]
        for quantity in FORWARD:
            np.testing.assert_allclose(
                found["columns"][quantity], expected["columns"][quantity], rtol=1e-5, equal_nan=True, err_msg=quantity
            )
        # DDP takes the mean of the gradients over the processes, of which one has none.
        for quantity, halves in (("gradient_mean_square", 4), ("weight_gradient_norm", 2)):
            halved = np.asarray(expected["columns"][quantity], dtype=float) / halves
            np.testing.assert_allclose(found["columns"][quantity], halved, rtol=1e-4, equal_nan=True, err_msg=quantity)


@pytest.mark.slow
def test_a_layer_that_only_one_rank_called_is_part_of_the_step_on_both(measured: dict[str, Any]) -> None:
    for rank in (0, 1):
        names, columns = measured[f"unused.{rank}"]["names"], measured[f"unused.{rank}"]["columns"]
        assert set(names[0]) == {"net.first", "net.third", "net.head"}
        count = dict(zip(names[0], columns["count"], strict=True))
        assert count["net.third"] == 16 * 16, "the samples of the second rank alone"
        assert count["net.first"] == 32 * 16


@pytest.fixture(scope="module")
def dropped(
    forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what both processes wrote of the step in which they ran different layers, and the values of each."""
    out = tmp_path_factory.mktemp("dropped")
    done = run(forks, "dropped", out)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    said = [json.loads((out / f"dropped.{rank}.json").read_text()) for rank in (0, 1)]
    return said, [torch.load(out / f"dropped.{rank}.pt") for rank in (0, 1)]


def numbers(said: dict[str, Any], which: int) -> dict[str, dict[str, float]]:
    """Return the numbers of each layer (0) or residual addition (2) by name."""
    names = said["names"][which]
    columns = {quantity: values for quantity, values in said["columns"].items() if len(values) == len(names)}
    return {name: {quantity: values[i] for quantity, values in columns.items()} for i, name in enumerate(names)}


def whole(values: list[dict[str, Any]], name: str, *, gradient: bool = False) -> torch.Tensor:
    """Return a value, or its gradient, of all processes that had it."""
    return torch.cat([one[name][int(gradient)] for one in values if name in one]).double()


@pytest.mark.slow
def test_where_the_ranks_run_different_layers_both_write_the_same_of_all_of_them(
    dropped: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    (first, second), _ = dropped
    for key in ("names", "layers", "blocks", "findings", "steps"):
        assert first[key] == second[key], key
    assert first["notices"] == second["notices"] == []
    for quantity, values in first["columns"].items():
        np.testing.assert_array_equal(values, second["columns"][quantity], err_msg=quantity)
    assert first["names"][0] == [
        "stem", "blocks.0.map", "blocks.1.map", "blocks.2.map", "blocks.3.map", "either.0", "either.1", "/tanh#1", "rare",
        "free", "head",
    ]  # fmt: skip
    assert first["names"][2] == ["blocks.0#1", "blocks.1#1", "blocks.2#1", "blocks.3#1", "#1", "#2"]


@given(whole=st.lists(st.integers(0, 30), unique=True), data=st.data())
def test_parts_of_one_order_are_put_together_in_that_order(whole: list[int], data: st.DataObject) -> None:
    parts = [[name for name in whole if data.draw(st.booleans())] for _ in range(3)]
    found = in_one_order(parts)
    assert sorted(found) == sorted(set().union(*parts))
    for part in parts:
        assert [name for name in found if name in part] == part


def test_orders_that_contradict_each_other_lose_nothing() -> None:
    assert in_one_order([["a", "b", "c"], ["c", "a", "d"]]) == ["a", "b", "c", "d"]


@pytest.mark.slow
def test_inputs_of_a_layer_are_those_of_all_ranks_that_ran_it(
    dropped: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    layers = dropped[0][0]["layers"]
    assert layers["blocks.3.map"][0] == ["blocks.1.map", "blocks.2.map"]
    assert layers["rare"] == [["/tanh#1"], "Linear", "weight"]
    assert layers["free"][0] == ["rare"]
    assert layers["head"][0] == ["/tanh#1", "free"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "made", "received"),
    [
        ("blocks.0.map", "blocks.0 branch", "blocks.0 skip"),
        ("blocks.1.map", "blocks.1 branch", "blocks.1 skip"),
        ("blocks.2.map", "blocks.2 branch", "blocks.2 skip"),
        ("blocks.3.map", "blocks.3 branch", "blocks.3 skip"),
        ("rare", "rare", "received"),
        ("free", "free", "rare"),
        ("head", "head", "last"),
    ],
)
def test_gains_of_a_layer_are_of_what_it_received_where_it_ran(
    dropped: tuple[list[dict[str, Any]], list[dict[str, Any]]], layer: str, made: str, received: str
) -> None:
    said, values = dropped
    found = numbers(said[0], 0)[layer]
    ran = [one for one in values if made in one]
    output, given = whole(ran, made), whole(ran, received)
    arrived = whole(ran, made, gradient=True)
    assert found["count"] == output.numel()
    assert found["variance"] == pytest.approx(float(output.var(correction=0)), rel=1e-5)
    assert found["input_mean_square"] == pytest.approx(float(given.square().mean()), rel=1e-5)
    assert found["gain"] == pytest.approx(float(output.var(correction=0) / given.square().mean()), rel=1e-5)
    assert found["gradient_mean_square"] == pytest.approx(float(arrived.square().mean()), rel=1e-5)
    if layer in {"rare", "free", "head"}:  # what the blocks receive goes on over their skip as well
        back = whole(ran, received, gradient=True).var(correction=0) / arrived.square().mean()
        assert found["backward_gain"] == pytest.approx(float(back), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("addition", "block", "ranks"),
    [
        ("blocks.0#1", "blocks.0", 2),
        ("blocks.1#1", "blocks.1", 2),
        ("blocks.2#1", "blocks.2", 2),
        ("blocks.3#1", "blocks.3", 2),
        ("#1", "either", 0),
        ("#2", "either", 1),
    ],
)
def test_residual_additions_are_measured_where_they_ran(
    dropped: tuple[list[dict[str, Any]], list[dict[str, Any]]], addition: str, block: str, ranks: int
) -> None:
    said, values = dropped
    found = numbers(said[0], 2)[addition]
    chosen = values if ranks == 2 else values[ranks : ranks + 1]
    skip, branch, total = (whole(chosen, f"{block} {term}") for term in ("skip", "branch", "sum"))
    for quantity, value in (("skip_var", skip), ("branch_var", branch), ("sum_var", total)):
        assert found[f"residual_{quantity}"] == pytest.approx(float(value.var(correction=0)), rel=1e-4), quantity
    back, at_sum = (whole(chosen, f"{block} {term}", gradient=True).var(correction=0) for term in ("skip", "sum"))
    assert found["residual_skip_gradient_var"] == pytest.approx(float(back), rel=1e-4)
    assert found["residual_backward_growth"] == pytest.approx(float(back / at_sum), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("action", "error"), [("stop", ""), ("raise", "CriticalFindingError")])
def test_all_ranks_end_at_a_critical_finding(measured: dict[str, Any], action: str, error: str) -> None:
    for rank in (0, 1):
        assert measured[f"{action}.{rank}"]["error"] == error
        assert len(measured[f"{action}.{rank}"]["losses"]) == 1, "of three steps"


@pytest.mark.slow
def test_a_finding_appears_once_though_every_rank_comes_to_it(measured: dict[str, Any]) -> None:
    first = measured["shown.0"]["findings"]
    assert ["IM101", 0, "critical"] in first
    assert measured["shown.1"]["findings"] == first
    assert measured["printed"].count("critical IM101") == 1
    assert len(list(measured["out"].rglob("*.jsonl"))) == 1, "one run store, written by the first rank"


@pytest.mark.slow
def test_a_monitor_that_fails_on_one_rank_stops_neither_the_other_nor_the_training(measured: dict[str, Any]) -> None:
    assert measured["fault.0"]["steps"] == [0, 1, 2]
    assert measured["fault.1"]["steps"] == [0]
    assert measured["fault.0"]["losses"] == measured["ddp.0"]["losses"]
    assert measured["fault.1"]["losses"] == measured["ddp.1"]["losses"]
    assert measured["fault.0"]["notices"] == []
    assert "no space" in measured["fault.1"]["notices"][0]


@pytest.mark.slow
def test_when_one_rank_raises_in_the_users_code_nobody_waits_for_ever(forks: Forks, tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(forks, "broken", tmp_path)
    assert done.returncode != 0
    assert "out of luck" in done.stderr
    assert time.monotonic() - began < 240, "and well before any time-out"


@pytest.mark.slow
def test_the_callback_travels_to_spawned_and_forked_processes(forks: Forks, tmp_path: Path) -> None:
    done = run(forks, "spawned", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ddp_spawn is done" in done.stdout
    assert "ddp_notebook is done" in done.stdout


def test_alone_nothing_is_exchanged_and_nobody_is_told() -> None:
    told: list[str] = []
    ranks = Ranks(told.append)
    ranks.join()
    assert ranks.size == 1
    assert ranks.put_together(None, LossStretch()) is None
    assert ranks.hear(b"mine") == b"mine"
    ranks.leave()
    assert told == []


def test_the_group_of_a_training_ends_with_it(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        monitor = Monitor(torch.nn.Linear(2, 2), Options(sinks=()), Run(dense_steps=1))
        monitor._ranks._group, monitor._ranks.size = distributed.new_group(backend="gloo"), 1
        groups = distributed.distributed_c10d._world.pg_map
        assert len(groups) == 2, "that of the training, and ours"
        monitor.close()
        assert len(groups) == 1
        monitor.close()
        assert monitor.notices == []
    finally:
        distributed.destroy_process_group()


def test_ranks_that_cannot_be_reached_are_reported_once_and_each_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    ranks = Ranks(told.append)
    ranks.size, ranks.rank, ranks.judge = 2, 1, 0

    def fails(*_: object, **__: object) -> None:
        message = "connection closed by peer"
        raise RuntimeError(message)

    monkeypatch.setattr(torch.distributed, "all_reduce", fails)
    assert ranks.put_together(None, LossStretch()) is None
    assert ranks.put_together(None, LossStretch()) is None
    assert (ranks.size, ranks.rank, ranks.judge) == (1, 0, 0), "it judges for itself"
    assert len(told) == 1
    assert "connection closed by peer" in told[0]
    assert "each process alone" in told[0]
