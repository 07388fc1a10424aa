"""The comparison with other monitors: what is compared, how a ratio is taken, what the page says. Theirs are not installed here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.detection.__main__ import included
from benchmarks.peers.__main__ import BEGIN, END, REQUIREMENTS
from benchmarks.peers.loops import alone, lightning, plain
from benchmarks.peers.measuring import counted, measured, ratio, waits
from benchmarks.peers.networks import NETWORKS, made
from benchmarks.peers.page import mean, page
from benchmarks.peers.peer import PEERS

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "benchmarks" / "peers" / "programs"


def tiny() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), torch.randn(8, 8), torch.randint(4, (8,))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    for name in list(NETWORKS):
        monkeypatch.setitem(NETWORKS, name, tiny)
    return "ResNet-18"


@pytest.fixture
def results() -> dict[str, dict[str, object]]:
    ratios = {network: [1.5, 1.25, 2.0] for network in NETWORKS}
    cheap = {network: [1.0, 1.1, 1.2] for network in NETWORKS}
    named = {PEERS[0].name: ratios, PEERS[2].name: cheap}
    return {name: {"version": "9.8", "torch": "2.13.0", "ratios": of, "waits": 7} for name, of in named.items()}


def test_every_monitor_has_a_program_and_says_what_to_install() -> None:
    for peer in PEERS:
        assert "def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:" in (
            PROGRAMS / f"{peer.program}.py"
        ).read_text(encoding="utf-8")
        wanted = "".join(path.read_text(encoding="utf-8") for path in REQUIREMENTS.glob(f"{peer.environment}.*"))
        assert f"{peer.distribution}==" in wanted
    assert {path.stem for path in PROGRAMS.glob("*.py")} - {"__init__"} == {peer.program for peer in PEERS}
    assert len({peer.name for peer in PEERS}) == len(PEERS)


@pytest.mark.parametrize(
    ("name", "parameters", "outputs"), [("ResNet-18", 11.2, 16), ("ViT-tiny", 5.5, 16), ("GPT-small", 22.1, 4 * 64)]
)
def test_a_network_has_the_size_that_it_is_known_for_and_learns(name: str, parameters: float, outputs: int) -> None:
    model, inputs, targets = made(name)
    assert sum(one.numel() for one in model.parameters()) / 1e6 == pytest.approx(parameters, rel=0.02)
    logits = model(inputs)
    assert len(logits) == len(targets) == outputs
    nn.functional.cross_entropy(logits, targets).backward()
    assert all(one.grad is not None for one in model.parameters())


def test_a_network_is_always_the_same() -> None:
    first, second = made("ViT-tiny"), made("ViT-tiny")
    assert torch.equal(first[1], second[1])
    assert all(torch.equal(a, b) for a, b in zip(first[0].parameters(), second[0].parameters(), strict=True))


def test_the_first_steps_do_not_count() -> None:
    assert ratio([9, 9, 1, 1, 2], [50, 9, 4, 3, 3]) == 3


def test_each_watched_training_follows_one_that_is_not() -> None:
    seen = []

    def fit(watched: bool, name: str, steps: int) -> list[float]:  # noqa: FBT001 - the order is Fit's
        seen.append((watched, name))
        return [1.0 + watched] * steps

    assert measured(fit, 4, 2) == {network: [2.0, 2.0] for network in NETWORKS}
    assert seen == [(watched, name) for _ in range(2) for name in NETWORKS for watched in (False, True)]


@pytest.mark.parametrize("loop", ["plain", "lightning"])
def test_a_loop_takes_the_time_of_every_step(loop: str, small: str) -> None:
    steps = plain(small, 5, alone) if loop == "plain" else lightning(small, 5, [])
    assert len(steps) == 5
    assert all(seconds > 0 for seconds in steps)


def test_numbers_read_and_copies_to_the_host_are_counted() -> None:
    with counted() as count:
        x = torch.ones(3)
        x.sum().item()
        x.cpu()
        x.tolist()
        x.to("cpu")
        x.to(torch.float64)
        x.to(x.device)
    assert count == [4]
    with counted() as count:
        x.cpu()
    assert count == [1]


def test_only_what_a_watched_step_waits_beyond_an_unwatched_one_counts(small: str) -> None:
    def fit(watched: bool, name: str, steps: int) -> list[float]:  # noqa: FBT001 - the order is Fit's
        torch.ones(1).item()  # once per training
        for _ in range(steps * (4 if watched else 1)):
            torch.ones(1).item()
        return plain(name, steps)

    assert waits(fit, small) == 3


def test_the_page_has_the_cheapest_first_and_says_what_did_not_run(results: dict[str, dict[str, object]]) -> None:
    text = page(PEERS, results, {"a monitor": "no wheel"}, 8, 3)
    rows = [line for line in text.splitlines() if line.startswith(("| gradient norm", "| init-monitor |"))]
    assert rows[0].startswith("| gradient norm per layer | 9.8 | Lightning | 1.10 (1.00–1.20) |")
    assert rows[1].startswith("| init-monitor | this one | Lightning | 1.50 (1.25–2.00) |")
    assert rows[1].endswith("| 7 |")
    assert rows[3].endswith("| yes | yes | rules, with a remedy |")
    assert "- a monitor did not run: no wheel" in text
    assert "**shared with other work**" in text
    assert mean({"a": [1, 2, 3], "b": [8.0]}) == pytest.approx(4)


def test_the_tables_stand_in_the_documentation_as_they_were_measured() -> None:
    measured_page = (ROOT / "benchmarks" / "results" / "peers-cpu.md").read_text(encoding="utf-8")
    document = (ROOT / "docs" / "how-to" / "cost.md").read_text(encoding="utf-8")
    assert included(document, measured_page, BEGIN, END) == document
    assert [peer.name for peer in PEERS if peer.name not in measured_page] == []
