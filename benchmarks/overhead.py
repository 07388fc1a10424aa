"""What watching costs in a whole fit, as a ratio of CPU times: every step measured, and with the default schedule.

Run it with ``python benchmarks/overhead.py [--rounds 5] [--steps 16] [--long 400] [--out FILE]``. One thread, the rules
and the default sinks included. Each round trains the same network in turn with each way to watch it, so that whatever
else the machine does falls on all of them alike; the figures are medians over the rounds. CPU time of the process
(sinks may have a thread of their own), so that a busy machine does not matter much; times as such are not reported: they
say more about the machine than about the monitor.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset

from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

WARM = 4
"""Steps at the start of a fit that are not counted where single steps are: memory is allocated in them."""


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
        """Add what two convolutions make of x to x."""
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


class Same(Dataset[torch.Tensor]):
    """One batch over and over: loading is not what is measured."""

    def __init__(self, batch: torch.Tensor, steps: int) -> None:
        self._batch, self._steps = batch, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._batch


class Trained(pl.LightningModule):
    """A network that learns to give zeros."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        """Return the mean square of what it gives."""
        loss: torch.Tensor = self.net(batch).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD, the cheapest there is."""
        return torch.optim.SGD(self.parameters(), lr=1e-6)


class Clock(pl.Callback):
    """Notes the CPU time at the start of every batch."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's arguments
        """Note it."""
        self.starts.append(time.process_time())

    @property
    def step(self) -> float:
        """The median CPU time from the start of a batch to the start of the next."""
        return statistics.median(b - a for a, b in zip(self.starts[WARM:], self.starts[WARM + 1 :], strict=False))


def fitted(
    make: Callable[[], tuple[nn.Module, torch.Tensor]], steps: int, watching: InitMonitor | None
) -> tuple[float, float]:
    """Train once; return the CPU seconds of a step, and of the whole fit."""
    torch.manual_seed(0)
    net, batch = make()
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
        trainer = pl.Trainer(
            max_steps=steps, accelerator="cpu", logger=TensorBoardLogger(directory), default_root_dir=directory,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=10**6,
            callbacks=[clock, *([] if watching is None else [watching])],
        )  # fmt: skip
        begin = time.process_time()
        trainer.fit(Trained(net), DataLoader(Same(batch, steps), batch_size=None))
        return clock.step, time.process_time() - begin


def compare(make: Callable[[], tuple[nn.Module, torch.Tensor]], steps: int, rounds: int) -> dict[str, float]:
    """Return what a measured step costs as a ratio to an unmeasured one, by ``measure``."""
    ratios: dict[str, list[float]] = {"exact": [], "staged": []}
    for _ in range(rounds):
        plain = fitted(make, steps, None)[0]
        for measure, found in ratios.items():
            found.append(fitted(make, steps, InitMonitor(dense_steps=steps, measure=measure))[0] / plain)  # type: ignore[arg-type]
    return {measure: statistics.median(found) for measure, found in ratios.items()}


def whole(make: Callable[[], tuple[nn.Module, torch.Tensor]], steps: int, rounds: int) -> float:
    """Return what a whole fit costs with the default settings, as a ratio to the same one unwatched."""
    ratios = []
    for _ in range(rounds):
        plain = fitted(make, steps, None)[1]
        ratios.append(fitted(make, steps, InitMonitor())[1] / plain)
    return statistics.median(ratios)


def report(steps: int, rounds: int, long: int, networks: list[str]) -> str:
    """Run everything and return a Markdown page."""
    today = f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}"
    lines = [
        "# Cost of watching, in whole fits",
        "",
        f"{today}, torch {torch.__version__}, one thread, CPU time, medians of {rounds} interleaved rounds, the rules and the",
        "default sinks included. The first two columns compare a measured step with the same step unwatched; the last is",
        f"a whole fit of {long} steps with the default settings against the same fit unwatched.",
        "",
        "| network | exact | staged | default schedule |",
        "|:--|--:|--:|--:|",
    ]
    for make in (mlp, resnet, transformer):
        if make.__name__ in networks:
            ratios = compare(make, steps, rounds)
            fit = f"{whole(make, long, rounds):.3f}" if long else "–"
            lines.append(f"| {make.__name__} | {ratios['exact']:.2f} | {ratios['staged']:.2f} | {fit} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--long", type=int, default=400, help="steps of the whole fit; 0 leaves it out")
    parser.add_argument("--networks", nargs="+", default=["mlp", "resnet", "transformer"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    page = report(arguments.steps, arguments.rounds, arguments.long, arguments.networks)
    print(page)
    if arguments.out is not None:
        arguments.out.write_text(page, encoding="utf-8")
