"""What a measured step costs, as a ratio to the same step unmeasured, from one interleaved run.

Run it with ``python benchmarks/overhead.py [--steps 20] [--out FILE]``. Every round takes one step of each kind in turn,
so that other load on the machine affects all of them alike; the figures are medians of per-round ratios. Absolute times
are not reported: they say more about the machine than about the monitor.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from init_monitor.capture.capture import Capture, Scope
from init_monitor.capture.step_facts import StepFacts

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_EVERY = 50


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over the tokens, then transform each."""
        n, t, c = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(n, t, 3, 4, c // 4).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)
        x = x + self.out(attended)
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


class Basic(nn.Module):
    """A residual block of two convolutions with batch norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.first_norm, self.second_norm = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x plus the output of two convolutions."""
        y = self.relu(self.first_norm(self.first(x)))
        return self.relu(self.second_norm(self.second(y)) + x)


def mlp() -> tuple[nn.Module, torch.Tensor]:
    """Return 30 ReLU layers of 512 units and a batch of 128."""
    layers = [layer for _ in range(30) for layer in (nn.Linear(512, 512), nn.ReLU())]
    return nn.Sequential(*layers), torch.randn(128, 512)


def resnet() -> tuple[nn.Module, torch.Tensor]:
    """Return 8 residual blocks of 64 channels and a batch of 16 pictures of 32 × 32."""
    stem = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    return nn.Sequential(stem, *[Basic(64) for _ in range(8)]), torch.randn(16, 3, 32, 32)


def transformer() -> tuple[nn.Module, torch.Tensor]:
    """Return 8 transformer blocks of width 256 and a batch of 16 × 64 tokens."""
    return nn.Sequential(*[Block(256) for _ in range(8)]), torch.randn(16, 64, 256)


class Trial:
    """One model and one way to measure it (or none)."""

    def __init__(
        self, model: nn.Module, x: torch.Tensor, *, measure: str | None, residuals: bool = True, functions: bool = True
    ) -> None:
        self.model, self.x = model, x
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        self.capture = None if measure is None else Capture(model, Scope(exact=measure == "exact"), _raise)
        if self.capture is not None:
            # There is no public option for this; the comparison needs one.
            probe = self.capture._probe  # noqa: SLF001
            if not residuals:
                probe.enter = lambda: None  # type: ignore[method-assign]
            if not functions:
                probe._accepts = lambda _: False  # noqa: SLF001

    def step(self) -> float:
        """Take one step and return how long it took, in seconds."""
        begin = time.perf_counter()
        capture = self.capture
        if capture is not None:
            capture.open_step()
        self.optimizer.zero_grad()
        loss = self.model(self.x).square().mean()
        if capture is not None:
            capture.end_forward()
        loss.backward()
        if capture is not None:
            capture.before_optimizer(self.model.parameters())
        self.optimizer.step()
        if capture is not None:
            capture.after_optimizer()
            capture.end_batch()
            capture.record(capture.close_step(), StepFacts(0))
        return time.perf_counter() - begin


def _raise(name: str, error: Exception) -> None:
    raise RuntimeError(name) from error


KINDS: dict[str, dict[str, object]] = {
    "not measured": {"measure": None},
    "exact, layers only": {"measure": "exact", "residuals": False},
    "exact, no functions": {"measure": "exact", "functions": False},
    "exact": {"measure": "exact"},
    "staged": {"measure": "staged"},
}


def compare(make: Callable[[], tuple[nn.Module, torch.Tensor]], steps: int) -> dict[str, float]:
    """Return, by kind, the median ratio of a step to the unmeasured step of the same round."""
    torch.manual_seed(0)
    model, x = make()
    trials = {kind: Trial(model, x, **options) for kind, options in KINDS.items()}  # type: ignore[arg-type]
    rounds = [{kind: trial.step() for kind, trial in trials.items()} for _ in range(steps + 2)][2:]
    return {kind: statistics.median(r[kind] / r["not measured"] for r in rounds) for kind in KINDS}


def report(steps: int) -> str:
    """Run everything and return a Markdown page."""
    today = f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}"
    lines = [
        "# Cost of a measured step",
        "",
        f"{today}, {os.cpu_count()} CPU cores, torch {torch.__version__}, medians of {steps} interleaved rounds.",
        "Extra time of a measured step as a share of the same step unmeasured; in brackets what that is per step of a",
        f"training with `every_n_steps={DEFAULT_EVERY}`.",
        "",
        "| network | exact | of which residual additions | of which activation functions | staged |",
        "|:--|--:|--:|--:|--:|",
    ]
    for make in (mlp, resnet, transformer):
        ratios = compare(make, steps)
        exact, layers, additions, staged = (
            ratios[kind] - 1 for kind in ("exact", "exact, layers only", "exact, no functions", "staged")
        )
        lines.append(
            f"| {make.__name__} | {exact:.0%} ({exact / DEFAULT_EVERY:.1%}) | {additions - layers:.0%} |"
            f" {exact - additions:.0%} |"
            f" {staged:.0%} ({staged / DEFAULT_EVERY:.1%}) |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    page = report(arguments.steps)
    print(page)
    if arguments.out is not None:
        arguments.out.write_text(page, encoding="utf-8")
