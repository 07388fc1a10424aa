"""What watching costs in a whole fit, as a ratio of CPU times: every step measured, and with the default schedule.

Part of :mod:`benchmarks.cost`. One thread, the rules and the default sinks included. The fits that are compared run in
lockstep, a step of one and then a step of the next (:mod:`benchmarks.lockstep`), and CPU time is taken, so that a busy
machine does not matter much; times as such are not reported: they say more about the machine than about the monitor.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.lockstep import in_turns
from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Make = Callable[[], tuple[nn.Module, torch.Tensor]]

WARM = 4
"""Steps at the start of a fit that are not counted where single steps are: memory is allocated in them."""


TAIL = 0.02
"""Part of the unmeasured steps, at either end, whose difference to the same step unwatched counts as the one next to them: what
else the machine did in them would decide over a figure of two per cent."""


class Whole(NamedTuple):
    """What watching a whole fit costs.

    Attributes:
        ratio: of its CPU time to that of the same fit unwatched.
        measured: steps that were measured.
        between: milliseconds that a step takes longer which is not measured.
    """

    ratio: float
    measured: int
    between: float


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


def train(make: Make, steps: int, watching: InitMonitor | None, first: pl.Callback) -> None:
    """Train once."""
    torch.manual_seed(0)
    net, batch = make()
    with tempfile.TemporaryDirectory() as directory:
        trainer = pl.Trainer(
            max_steps=steps, accelerator="cpu", logger=TensorBoardLogger(directory), default_root_dir=directory,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=10**6,
            callbacks=[first, *([] if watching is None else [watching])],
        )  # fmt: skip
        trainer.fit(Trained(net), DataLoader(Same(batch, steps), batch_size=None))


def side_by_side(
    make: Make, steps: int, watching: Mapping[str, Callable[[], InitMonitor | None]]
) -> dict[str, list[float]]:
    """Train the same network in every way, in lockstep; return the CPU seconds of each turn."""
    return in_turns({name: partial(train, make, steps, monitor()) for name, monitor in watching.items()})


def measured(make: Make, steps: int, rounds: int) -> dict[str, float]:
    """Return what a measured step costs as a ratio to an unmeasured one, by ``measure``."""
    ratios: dict[str, list[float]] = {"exact": [], "staged": []}
    for _ in range(rounds):
        taken = side_by_side(
            make,
            steps,
            {
                "plain": lambda: None,
                "exact": lambda: InitMonitor(dense_steps=steps),
                "staged": lambda: InitMonitor(dense_steps=steps, measure="staged"),
            },
        )
        step = {name: statistics.median(turns[WARM:-1]) for name, turns in taken.items()}
        for measure, found in ratios.items():
            found.append(step[measure] / step["plain"])
    return {measure: statistics.median(found) for measure, found in ratios.items()}


def whole(make: Make, steps: int, rounds: int) -> Whole:
    """Return what a whole fit costs with the default settings, from start to end, over all rounds together."""
    plain: list[float] = []
    outside: list[float] = []
    between: list[float] = []
    measured: set[int] = set()
    for _ in range(rounds):
        monitor = InitMonitor()
        taken = side_by_side(make, steps, {"plain": lambda: None, "watched": lambda monitor=monitor: monitor})
        measured = {record.step for record in monitor.records}
        plain += taken["plain"]
        more = [watched - alone for watched, alone in zip(taken["watched"], taken["plain"], strict=True)]
        # The first turn is what comes before step 0; the last is the last step and what comes after it.
        special = {0, *(step + 1 for step in measured), len(more) - 1}
        outside += [one for turn, one in enumerate(more) if turn in special]
        between += [one for turn, one in enumerate(more) if turn not in special]
    cut = statistics.quantiles(between, n=round(1 / TAIL))
    kept = [min(max(one, cut[0]), cut[-1]) for one in between]
    return Whole(1 + (sum(outside) + sum(kept)) / sum(plain), len(measured), 1e3 * statistics.fmean(kept))


NETWORKS: tuple[Make, ...] = (mlp, resnet, transformer)
"""In the order of the page."""


def report(today: str, steps: int, rounds: int, long: int, long_rounds: int) -> str:
    """Run everything and return a Markdown page."""
    fit = whole(mlp, long, long_rounds)
    lines = [
        "# Cost of watching, in whole fits",
        "",
        f"{today}, torch {torch.__version__}, one thread, CPU time, medians of {rounds} rounds of fits in lockstep, the rules and the",
        f"default sinks included (`make bench`). The first two columns compare a measured step ({steps} steps, each of them measured)",
        f"with the same step unwatched; the last one a whole fit of {long} steps of which the default schedule measures {fit.measured},",
        f"from its start to its end, with the same fit unwatched ({long_rounds} rounds together; of the steps that are not measured the",
        f"{TAIL:.0%} that differ most either way are cut to what is next to them). One that is not measured took {fit.between:.2f} ms longer.",
        "",
        "| network | exact | staged | default schedule |",
        "|:--|--:|--:|--:|",
    ]
    for make in NETWORKS:
        ratios = measured(make, steps, rounds)
        shown = f"{fit.ratio:.3f}" if make is mlp else "–"
        lines.append(f"| {make.__name__} | {ratios['exact']:.2f} | {ratios['staged']:.2f} | {shown} |")
    return "\n".join(lines) + "\n"
