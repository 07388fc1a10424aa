"""Real networks at their own initialisation: trained by a real Trainer, with and without the monitor."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import pytest
import torch
import zoo_fit
from torch import nn
from zoo_fit import SEVERITIES, Result, main, page, try_out
from zoo_models import QUICK, Entry, zoo

import init_monitor
from init_monitor.analysis.residual_correction import SHORT_BRANCH
from init_monitor.records import Severity

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.untraced

ZOO = zoo()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


def test_the_zoo_is_large_and_its_quick_part_belongs_to_it() -> None:
    assert len(ZOO) >= 120
    assert len(QUICK) >= 20
    assert set(QUICK) <= set(ZOO)
    assert {name.partition(".")[0] for name in ZOO} == {"tv", "timm", "hf"}


@pytest.mark.parametrize("name", QUICK)
def test_a_real_network_trains_to_the_same_bits_and_is_not_called_broken(name: str) -> None:
    result = try_out(ZOO[name])
    assert result.faults == []
    assert result.equal
    assert result.layers > 3


def test_the_constant_that_a_decoders_queries_start_from_is_no_signal_that_stopped() -> None:
    result = try_out(ZOO["hf.detr"])
    assert result.faults == []


class Silenced(nn.Module):
    """The same layers, given a constant, or a signal that the first two of them stop."""

    def __init__(self, *, silenced: bool, beside: bool = True) -> None:
        super().__init__()
        self.beside = beside
        self.first, self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.stem, self.norm, self.head = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4)
        for layer in (self.first, self.second, self.third):
            nn.init.zeros_(layer.bias)
        self.silenced = silenced
        if silenced:  # two in a row keep each other from moving; one alone would wake with the first step
            nn.init.zeros_(self.first.weight)
            nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = x if self.silenced else torch.zeros_like(x)
        rest = self._rest(given)
        output: torch.Tensor = self.head(self.norm(self.stem(x) + rest if self.beside else rest))
        return output

    def _rest(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.third(self.second(self.first(x)))
        return output


@pytest.mark.parametrize(
    ("silenced", "beside", "told"),
    [(True, False, [Severity.CRITICAL]), (True, True, [Severity.WARNING]), (False, True, [])],
)
def test_a_layer_that_stops_a_signal_is_still_told(*, silenced: bool, beside: bool, told: list[Severity]) -> None:
    """It is critical where nothing else reaches the output, and a warning where another path carries the signal on."""
    torch.manual_seed(0)
    report = init_monitor.check(Silenced(silenced=silenced, beside=beside), torch.randn(64, 8))
    assert [f.severity for f in report.findings if f.code == "IM102"] == told


class Faint(nn.Module):
    """Layers that fade, behind a normalisation: in a residual branch, or in the only way there is."""

    def __init__(self, depth: int, *, beside: bool) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 4)
        self.branch = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(depth)))
        for weight in self.branch.parameters():
            nn.init.normal_(weight, std=0.005)
        self.end, self.beside = nn.LayerNorm(64), beside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.branch(self.norm(x))
        output: torch.Tensor = self.head(self.end(x + y if self.beside else y))
        return output


@pytest.mark.parametrize(
    ("depth", "beside", "severity"),
    [
        (5, True, None),
        # Longer than a detour: what it is for is never reached.
        (SHORT_BRANCH + 1, True, Severity.WARNING),
        (5, False, Severity.CRITICAL),
    ],
)
def test_a_signal_that_fades_in_a_branch_is_carried_on_by_the_skip(
    depth: int,
    beside: bool,  # noqa: FBT001
    severity: Severity | None,
) -> None:
    torch.manual_seed(0)
    report = init_monitor.check(Faint(depth, beside=beside), torch.randn(64, 64))
    fading = [finding.severity for finding in report.findings if finding.code == "IM102"]
    assert fading == ([] if severity is None else [severity])


# --- the page and the command ----------------------------------------------------------------------------------------


class Broken(nn.Linear):
    """Raises."""

    def __init__(self) -> None:
        super().__init__(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        message = "out of order"
        raise RuntimeError(message)


class Peeking(nn.Module):
    """Behaves differently when hooks are on it: what a comparison must notice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(x) * (2.0 if self.layer._forward_hooks else 1.0)
        return output


def entry(name: str, kind: type[nn.Module]) -> Entry:
    return Entry(name, kind, lambda: {"": torch.randn(4, 8)}, adaptive=False)


def test_a_network_that_crashes_and_one_that_is_changed_are_faults() -> None:
    broken, changed = try_out(entry("broken", Broken)), try_out(entry("peeking", Peeking))
    assert broken.faults == ["RuntimeError: out of order"]
    assert changed.faults == ["the training was changed"]


def test_what_the_monitor_gives_up_and_a_critical_finding_are_faults_but_its_limit_is_none() -> None:
    findings = (("critical", "IM101", 3), ("info", "IM202", 1))
    told = Result("a", ratio=1.0, findings=findings, equal=True, notices=("max_layers=512 calls", "'x' failed"))
    assert told.faults == ["'x' failed", "IM101 critical at initialisation"]


def test_the_page_has_a_row_per_network_and_the_totals() -> None:
    results = [
        Result("good", 10, 2, 2.5, (("warning", "IM202", 4),), equal=True),
        Result("bad", failure="ValueError: a|b\nc"),
    ]
    lines = page(results).splitlines()
    assert "| good | 10 | 2 | 2.50 | | IM202 (4) | | |" in lines
    assert "| bad | 0 | 0 | | | | | ValueError: a\\|b c |" in lines
    assert "2 networks, 1 without fault," in page(results)
    assert "findings: 0 critical, 1 warning, 0 info" in page(results)
    assert SEVERITIES == ("critical", "warning", "info")
    assert "2.50 times" in page(results[:1])


def test_a_run_that_was_cut_short_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = {name: entry(name, kind) for name, kind in (("one", Peeking), ("two", Broken), ("three", Broken))}
    monkeypatch.setattr(zoo_fit, "zoo", lambda: entries)
    out, state = tmp_path / "page.md", tmp_path / "state" / "done.jsonl"
    places = ["--out", str(out), "--state", str(state)]
    assert main(["--only", "t*", *places[2:]]) == 1
    assert capsys.readouterr().out.count("\n") == 2
    assert main(places) == 1
    assert capsys.readouterr().out.split()[0] == "one"
    assert out.read_text(encoding="utf-8").count("| one |") == 1
    assert not state.exists()  # all of it is on the page
    assert main(["--shard", "2/3", *places[2:]]) == 1
    assert capsys.readouterr().out.split()[0] == "two"


def test_a_result_survives_the_state_file(tmp_path: Path) -> None:
    kept = Result("a", 3, 1, 1.5, (("info", "IM202", 2),), equal=True, notices=("n",))
    state = tmp_path / "state.jsonl"
    zoo_fit.write(state, kept)
    assert zoo_fit.read(state) == {"a": kept}
    assert zoo_fit.read(tmp_path / "none") == {}
    assert math.isnan(Result("b").ratio)
