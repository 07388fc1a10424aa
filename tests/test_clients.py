"""The benchmark of client libraries: what it would say of a program whose answers are known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients.__main__ import names, program_of
from benchmarks.clients.environments import REQUIREMENTS
from benchmarks.clients.judging import judge
from benchmarks.clients.page import page
from benchmarks.clients.program import Expected, Program
from benchmarks.clients.training import run

if TYPE_CHECKING:
    from benchmarks.clients.watching import Watching

pytestmark = pytest.mark.untraced


def train(watching: Watching) -> nn.Module:
    """Train three layers to give half of what they are given."""
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with watching.loop(net, optimizer) as watch:
        for _ in range(20):
            x = torch.randn(32, 8)
            with watch.step():
                loss = (net(x) - x / 2).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            watching.keep(loss)
    return net


EXPECTED = Expected(weights={"?": 3}, residuals=0, inputs={"0": ("input",), "4": ("3",)})
PROGRAM = Program(
    "torch", "numbers", "its own", train, replace(EXPECTED, weights={"0": 1, "2": 1, "4": 1}, others=("?",))
)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    return run(PROGRAM, watched=False), run(PROGRAM, watched=True)


def test_a_right_structure_is_called_right_and_every_error_of_the_count_shows(
    trained: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    plain, watched = trained
    verdict = judge(plain, watched, plain, PROGRAM.expected)
    assert verdict.losses
    assert verdict.parameters
    assert verdict.repeatable
    assert verdict.right
    assert verdict.weights == (3, 3)
    assert verdict.fell
    assert verdict.rows == 5
    wrong = Expected(weights={"0": 2, "2": 1}, residuals=1, others=("1",), inputs={"4": ("1",)})
    verdict = judge(plain, watched, plain, wrong)
    assert not verdict.right
    assert verdict.missed == ("0: 1 of 2",)
    assert verdict.surplus == ("4",)
    assert verdict.foreign == ("3", "4")
    assert verdict.wrong == ("4: 3, not 1",)
    assert verdict.residuals == (0, 1)


def test_a_training_that_was_changed_is_told_from_one_that_is_not_repeatable(
    trained: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    plain, watched = trained
    changed = watched | {"losses": [*watched["losses"][:-1], (0.5).hex()]}
    assert not judge(plain, changed, plain, PROGRAM.expected).neutral
    assert judge(plain, changed, plain, PROGRAM.expected).repeatable
    assert not judge(plain, changed, changed, PROGRAM.expected).repeatable
    text = page({"numbers": (PROGRAM, judge(plain, changed, plain, PROGRAM.expected))}, {"numbers": "1.0"}, {}, 20)
    assert "**no**: losses" in text


@pytest.mark.parametrize("name", names())
def test_every_program_can_be_read_without_its_library_and_says_what_to_install(name: str) -> None:
    program = program_of(name)
    assert sum(program.expected.weights.values()) > 0
    assert (REQUIREMENTS / f"{name}.txt").is_file()
    installed = "".join(path.read_text() for path in REQUIREMENTS.glob(f"{name}*.txt"))
    assert program.distribution.replace("_", "-") in installed
