"""The demo, run for real: it must teach what it says it teaches."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from init_monitor import cli, demo
from init_monitor.store import read_run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "runs"


@pytest.fixture(scope="module")
def shown(log_dir: Path) -> Iterator[str]:
    """What one quick demo prints; run once for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        from io import StringIO

        printed = StringIO()
        patch.setattr(sys, "stdout", printed)
        assert cli.main(["demo", "--fast", "--log-dir", str(log_dir)]) == 0
        yield printed.getvalue()


def _accuracies(shown: str) -> list[int]:
    return [int(percent) for percent in re.findall(r"epoch +\d+ of +\d+ .*?(\d+)% of the digits right", shown)]


def test_xavier_learns_nothing_and_the_printed_remedy_learns(shown: str) -> None:
    accuracies = _accuracies(shown)
    assert len(accuracies) == 2 * demo.FAST_EPOCHS
    xavier, repaired = accuracies[: demo.FAST_EPOCHS], accuracies[demo.FAST_EPOCHS :]
    assert max(xavier) <= 20  # guessing gets 10 %
    assert repaired[-1] >= 50


def test_vanishing_activations_are_found_at_the_first_step_of_the_first_run_only(shown: str, log_dir: Path) -> None:
    (xavier,) = (log_dir / "xavier").glob("version_*")
    (repaired,) = (log_dir / "remedy").glob("version_*")
    found = {finding.rule: finding for finding in read_run(xavier).findings}
    assert found["vanishing-activations"].step == 0
    assert "vanishing-gradients" in found
    assert list(read_run(repaired).findings) == []
    assert "Remedy  " in shown
    assert "no findings" in shown


def test_the_growth_it_reports_is_the_one_half_of_xavier_in_a_relu_network(shown: str, log_dir: Path) -> None:
    (xavier,) = (log_dir / "xavier").glob("version_*")
    finding = next(f for f in read_run(xavier).findings if f.rule == "vanishing-activations")
    assert finding.evidence["growth_per_layer"] == pytest.approx(0.5, rel=0.1)
    assert finding.message.partition(":")[0] in " ".join(shown.split())


def test_the_verdict_says_what_was_changed_and_how_to_look(shown: str, log_dir: Path) -> None:
    verdict = shown.partition("What happened")[2]
    assert "+ from init_monitor import recipes" in verdict
    assert f"--logdir {log_dir}" in verdict
    assert "IM102 vanishing-activations" in verdict
    assert "Trainer(callbacks=[InitMonitor()])" in verdict


def test_the_remedy_in_the_first_panel_is_what_was_done_before_the_second_run(shown: str, log_dir: Path) -> None:
    (xavier,) = (log_dir / "xavier").glob("version_*")
    code = next(finding.remedy_code for finding in read_run(xavier).findings if finding.remedy_code)
    code = "\n".join(line for line in code.splitlines() if line)
    assert code in shown.partition("epoch")[0]
    done = shown.partition("What was done before the second run")[2]
    assert [line[4:].rstrip() for line in done.splitlines() if line.startswith("  + ")] == code.splitlines()


def test_nothing_of_lightning_s_own_chatter_is_shown(shown: str) -> None:
    for noise in ("GPU available", "TPU", "num_workers", "deprecated", "Tip:"):
        assert noise not in shown


def test_piped_output_is_plain_ascii_frames_without_colour_codes(shown: str) -> None:
    assert "\x1b" not in shown
    assert not set(shown) & set("█░─│╭╮")


def test_both_runs_can_be_read_by_tensorboard(shown: str, log_dir: Path) -> None:
    assert shown
    for name in ("xavier", "remedy"):
        (run,) = (log_dir / name).glob("version_*")
        events = EventAccumulator(str(run)).Reload()
        assert {"loss", "accuracy"} <= set(events.Tags()["scalars"])
        assert "init_monitor/variance" in events.Tags()["tensors"]


def test_threads_and_random_state_are_left_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FAST_EPOCHS", 1)
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    demo.main(tmp_path, fast=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_the_network_has_as_many_layers_as_it_says_and_no_bias() -> None:
    xavier = demo.Reader()
    assert sum(isinstance(layer, nn.Linear) for layer in xavier.net) == demo.LAYERS
    assert all(bool((layer.bias == 0).all()) for layer in xavier.net if isinstance(layer, nn.Linear))


def test_the_command_it_prints_names_this_python_where_tensorboard_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    command = demo._tensorboard_command(Path("my runs"))
    assert command.endswith("-m tensorboard.main --logdir 'my runs'")
    monkeypatch.setattr("shutil.which", lambda _: "/somewhere/tensorboard")
    assert demo._tensorboard_command(Path("runs")) == "tensorboard --logdir runs"


def test_a_terminal_with_unicode_gets_blocks_and_others_get_ascii() -> None:
    assert demo._bar(0.5, plain=False) == "█" * 12 + "░" * 12
    assert demo._bar(1 / 24, plain=True) == "#" + "." * 23
