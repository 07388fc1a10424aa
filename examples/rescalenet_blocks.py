"""RescaleNet: what one SGD step on each block takes off the loss, with variable and with fixed residual weights.

To first order that is η‖g‖² (Shao et al. 2020, Eq. 15). With β_k = 1/sqrt(k+L) the last block does about half of what the
first does. With the fixed weight 1/sqrt(L) every branch gets the same gradient; but its weights are smaller by
(L/(k+L))^(1/N) in variance, and the gradient of each of its N layers passes through the other N-1. So the last block still
does ((L+1)/2L)^((N-1)/N) of what the first does: 0.73 for two layers, and the same only for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from residual_doubling import Block
from setting import Claim, figure, report, setting
from torch import nn

import init_monitor
from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RATE = 0.01


def placed(total: Callable[..., torch.Tensor], block: int, blocks: int) -> Callable[..., torch.Tensor]:
    """Return an addition that knows its block number and the number of blocks."""
    return lambda x, f: total(x, f, block=block, blocks=blocks)


def decreases(total: Callable[..., torch.Tensor], blocks: int, width: int, draws: int) -> torch.Tensor:
    """Return η‖g‖² of each block, averaged over several draws of weights, inputs and loss gradients."""
    found = torch.zeros(blocks)
    for draw in range(draws):
        net = nn.Sequential(*(Block(width, placed(total, k + 1, blocks)) for k in range(blocks)))
        generator = torch.Generator().manual_seed(draw)
        x, cotangent = torch.randn(2, 256, width, generator=generator)
        recipes.rescale_residual_(net, x[:2], generator=generator)
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
        with init_monitor.watch(net, optimizer, rules=(), sinks=()) as monitor, monitor.step():
            (net(x) * cotangent).mean().backward()
            optimizer.step()
        found += torch.tensor([residual.loss_decrease for residual in monitor.records[0].residuals])
    return found / draws


def slope_ratio(values: torch.Tensor) -> float:
    """Return last over first block of the straight line through the logarithms: one block alone scatters."""
    k = torch.arange(len(values), dtype=torch.float32)
    k = k - k.mean()
    slope = float((k * values.log()).sum() / k.square().sum())
    return float(torch.tensor(slope * (len(values) - 1)).exp())


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Measure, draw, and compare with theory."""
    given = setting("rescalenet_blocks", __doc__, arguments)
    blocks, width, draws = (12, 96, 4) if given.small else (32, 192, 12)
    variable = decreases(recipes.rescaled_sum, blocks, width, draws)
    fixed = decreases(recipes.fixed_weight_sum, blocks, width, draws)
    with figure(given, 1, 1, "First-order loss decrease per block") as (axis,):
        for name, values in (("β = 1/sqrt(k+L)", variable), ("β = 1/sqrt(L), fixed", fixed)):
            axis.plot(range(1, blocks + 1), (values / values.mean()).tolist(), "o-", label=name)
        axis.set(xlabel="block", ylabel="η‖g‖², relative to the mean", ylim=(0, None))
        axis.legend()
    # ‖g‖² of block k carries β_k² times what the gradient has grown to: Var(gradient) is kept, so β_k² decides.
    theory = (blocks + 1) / (2 * blocks)
    # The branches here have N = 2 layers.
    fixed_theory = theory ** (1 / 2)
    return report(
        given,
        [
            Claim("variable weights: last block over first", theory, slope_ratio(variable), 1.2),
            Claim("fixed weights: last block over first", fixed_theory, slope_ratio(fixed), 1.2),
        ],
    )


if __name__ == "__main__":
    main()
