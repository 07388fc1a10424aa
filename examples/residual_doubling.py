"""Residual blocks double the variance: the remedies side by side, and the block at which float16 overflows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from setting import Claim, figure, report, setting
from torch import nn

import init_monitor
from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Total = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

LARGEST = 65504.0
"""The largest number of float16."""


class Block(nn.Module):
    """A pre-activation block; ``total`` adds."""

    def __init__(self, width: int, total: Total, *, norm: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.first, self.second, self.total = nn.Linear(width, width), nn.Linear(width, width), total

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x + F(x), as ``total`` adds."""
        return self.total(x, self.second(torch.relu(self.first(torch.relu(self.norm(x))))))


def stack(blocks: int, width: int, total: Total = torch.add, *, norm: bool = False) -> nn.Sequential:
    """Return blocks in a row, with He's initialisation."""
    net = nn.Sequential(*(Block(width, total, norm=norm) for _ in range(blocks)))
    return recipes.he_normal_(net, generator=torch.Generator().manual_seed(0))


def sums(net: nn.Module, x: torch.Tensor) -> list[float]:
    """Return the variance of the stream after each block."""
    return [residual.sum_var for residual in init_monitor.check(net, x, rules=()).records[0].residuals]


def overflow_block(width: int, x: torch.Tensor) -> int:
    """Return the first block of a float16 network whose output is not finite."""
    net, h = stack(40, width).half(), x.half()
    with torch.no_grad():
        for number, block in enumerate(net, 1):
            h = block(h)
            if not bool(h.isfinite().all()):
                return number
    return 0


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Measure, draw, and compare with theory."""
    given = setting("residual_doubling", __doc__, arguments)
    blocks, width = (20, 128) if given.small else (50, 256)
    x = torch.randn(256, width, generator=torch.Generator().manual_seed(1))
    nets = {
        "He, plain sum": stack(blocks, width),
        "sum / sqrt(2)": stack(blocks, width, recipes.halved_sum),
        "BatchNorm in the branch": stack(blocks, width, norm=True),
        "zero-initialised ends": stack(blocks, width),
        "RescaleNet by weights": stack(blocks, width),
    }
    recipes.zero_init_residual_(nets["zero-initialised ends"], x)
    recipes.rescale_residual_(nets["RescaleNet by weights"], x, generator=torch.Generator().manual_seed(0))
    measured = {name: sums(net, x) for name, net in nets.items()}
    with figure(given, 1, 1, "Variance of the residual stream") as (axis,):
        for name, values in measured.items():
            axis.semilogy(range(1, blocks + 1), values, label=name)
        axis.axhline(LARGEST**2, color="black", linestyle=":", label="float16 overflows (rms)")
        axis.set(xlabel="block", ylabel="Var(x)")
        axis.legend(fontsize=8)
    start, plain, halved = float(x.var()), measured["He, plain sum"], measured["sum / sqrt(2)"]
    # The largest of all elements overflows first: in a normal sample of this size it is this many rms.
    peak = math.sqrt(2 * math.log(2 * x.numel()))
    predicted = math.ceil(2 * math.log2(LARGEST / peak))
    return report(
        given,
        [
            Claim("plain sum: growth per block", 2.0, (plain[-1] / start) ** (1 / blocks), 1.05),
            # The factor on the last sum is not seen, because no addition follows it.
            Claim("sum / sqrt(2): growth per block", 1.0, (halved[-2] / start) ** (1 / (blocks - 1)), 1.05),
            Claim("BatchNorm: Var at the end (1 + L)", 1.0 + blocks, measured["BatchNorm in the branch"][-1], 1.2),
            Claim("zero ends: Var at the end", start, measured["zero-initialised ends"][-1], 1.001),
            Claim("RescaleNet by weights: Var at the end", 2 * start, measured["RescaleNet by weights"][-1], 1.2),
            Claim("block at which float16 overflows", predicted, overflow_block(width, x), 1.15),
        ],
    )


if __name__ == "__main__":
    main()
