"""Two processes: together they measure what one would of the whole batch, and neither can make the other wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed

from init_monitor.capture.ranks import Ranks
from init_monitor.monitor import Monitor
from init_monitor.options import Options
from init_monitor.records import LossStretch
from init_monitor.sinks.sink import Run

SCRIPT = Path(__file__).parents[1] / "ranks_training.py"

ONE_PROCESS_ONLY = {"fsdp2": {"backward_gain"}, "fsdp1": {"weight_unit_spread"}}
"""What sharding hides: FSDP 2 puts a function of its own between its units (the gradient that arrives before it is not
that of a layer's output), FSDP 1 leaves flat pieces of the weights, which have no units."""

FORWARD = ("mean", "variance", "mean_square", "abs_max", "zero_fraction", "count", "between_sample_share", "gain")


def run(scenario: str, out: Path, *, seconds: int = 400) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"LOCAL_RANK", "RANK", "WORLD_SIZE"}}
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), scenario, str(out)],
        capture_output=True, text=True, check=False, timeout=seconds, cwd=out,
        env={**environment, "PYTHONPATH": f"{SCRIPT.parent}{os.pathsep}{SCRIPT.parent.parent}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what every process of every training wrote, by ``name.rank``."""
    out = tmp_path_factory.mktemp("ranks")
    written: dict[str, Any] = {"out": out}
    for scenario in ("single", "replicas", "shards", "decisions"):
        done = run(scenario, out)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        written[scenario] = done.stdout
    return written | {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


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
        for seed in range(4)
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
    assert measured["decisions"].count("critical: IM101") == 1
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
def test_when_one_rank_raises_in_the_users_code_nobody_waits_for_ever(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run("broken", tmp_path)
    assert done.returncode != 0
    assert "out of luck" in done.stderr
    assert time.monotonic() - began < 240, "and well before any time-out"


@pytest.mark.slow
def test_the_callback_travels_to_spawned_and_forked_processes(tmp_path: Path) -> None:
    done = run("spawned", tmp_path)
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
