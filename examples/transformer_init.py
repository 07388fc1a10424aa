"""A small transformer with GPT-style and with default initialisation, predicting the next pixel of handwritten digits.

GPT-style divides what writes into the residual stream by sqrt(number of additions): its growth does not depend on how many
blocks there are. Unscaled it grows in proportion to them; by default faster, because what blocks write is correlated.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from setting import Claim, figure, report, setting
from sklearn.datasets import load_digits
from torch import nn

import init_monitor
from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Sequence

GREYS, PIXELS = 17, 64


class Writer(nn.Module):
    """A causal transformer over the pixels of an image, pre-norm, with a tied output layer."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(GREYS, width), nn.Embedding(PIXELS, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, blocks, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, GREYS, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return one number per shade of grey for every next pixel."""
        mask = nn.Transformer.generate_square_subsequent_mask(pixels.shape[1])
        places = self.place(torch.arange(pixels.shape[1]))
        return self.head(self.body(self.embed(pixels) + places, mask=mask, is_causal=True))


def made(style: str, width: int, blocks: int, pixels: torch.Tensor) -> Writer:
    """Return the network, initialised."""
    torch.manual_seed(0)
    net = Writer(width, blocks)
    if style != "default":
        writers = recipes.gpt_(net, pixels, generator=torch.Generator().manual_seed(0))
        for name in writers if style == "unscaled" else ():
            net.get_submodule(name).weight.data.mul_(math.sqrt(len(writers)))
    return net


def added(net: Writer, pixels: torch.Tensor) -> list[float]:
    """Return what the stream has gained after each addition."""
    found = init_monitor.check(net, pixels, rules=()).records[0].residuals
    return [one.sum_var - found[0].skip_var for one in found]


def train(net: Writer, images: torch.Tensor, steps: int) -> list[float]:
    """Return the losses of a short training."""
    optimizer, losses = torch.optim.AdamW(net.parameters(), lr=1e-3), []
    for rows in torch.randint(len(images), (steps, 16), generator=torch.Generator()):
        loss = nn.functional.cross_entropy(net(images[rows, :-1]).flatten(0, 1), images[rows, 1:].flatten())
        net.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Measure, train, draw, and compare with theory."""
    given = setting("transformer_init", __doc__, arguments)
    images = torch.tensor(load_digits().data, dtype=torch.long)
    width, depths, steps = (64, (2, 8), 20) if given.small else (128, (3, 12), 100)
    styles = ("GPT-style", "unscaled", "default")
    gained = {(s, d): added(made(s, width, d, images[:32, :-1]), images[:32, :-1]) for s in styles for d in depths}
    losses = {style: train(made(style, width, depths[0], images[:2, :-1]), images, steps) for style in styles}
    with figure(given, 1, 2, "A transformer, GPT-style and by default") as (stream, curve):
        for (style, depth), values in gained.items():
            line = "--" if depth == depths[0] else "-"
            stream.semilogy(values, f"C{styles.index(style)}{line}", label=f"{style}, {depth} blocks")
        stream.set(xlabel="additions before", ylabel="variance added to the stream", ylim=(1e-7, None))
        stream.legend(fontsize=6, ncols=len(styles), loc="lower center", columnspacing=1)
        for style, values in losses.items():
            curve.semilogy(values, label=style, alpha=0.8)
        curve.set(xlabel="step", ylabel=f"loss, {depths[0]} blocks")
        curve.legend(fontsize=8)
    # Faster than in proportion, if at all: blocks see what those before them wrote, and write a little of it again.
    what = f"variance added, {depths[1]} over {depths[0]} blocks"
    theory = (("GPT-style", 1.0, 1.4), ("unscaled", depths[1] / depths[0], 1.6))
    grown = {style: gained[style, depths[1]][-1] / gained[style, depths[0]][-1] for style in styles}
    return report(given, [Claim(f"{style}: {what}", says, grown[style], by) for style, says, by in theory])


if __name__ == "__main__":
    main()
