"""Networks with skip connections: residual, transformers, mixers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.plans import task

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 8


class Added(nn.Module):
    """``x + body(x)``."""

    def __init__(self, body: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.after = after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add."""
        return self.after(x + self.body(x))


def resnet(norm: Callable[[int], nn.Module] | None, blocks: int, *, pre: bool = False) -> nn.Module:
    """Return residual blocks of two convolutions, with the normalisation before or after each of them, or none."""

    def unit() -> list[nn.Module]:
        conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=norm is None)
        normed = [norm(WIDTH)] if norm else []
        return [*normed, nn.ReLU(), conv] if pre else [conv, *normed]

    stem = [nn.Conv2d(1, WIDTH, 3, padding=1), *([] if pre or norm is None else [norm(WIDTH)]), nn.ReLU()]
    body: list[nn.Module] = []
    for _ in range(blocks):
        inner = [*unit(), *unit()] if pre else [*unit(), nn.ReLU(), *unit()]
        body.append(Added(nn.Sequential(*inner), None if pre else nn.ReLU()))
    end = [norm(WIDTH), nn.ReLU()] if pre and norm else []
    return nn.Sequential(*stem, *body, *end, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))


def residual_mlp(blocks: int, *, norm: bool) -> nn.Module:
    """Return ``x + F(x)`` with two linear layers in each F."""
    body: list[nn.Module] = []
    for _ in range(blocks):
        first = [nn.LayerNorm(64)] if norm else []
        body.append(Added(nn.Sequential(*first, nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))))
    return nn.Sequential(nn.Linear(64, 64), *body, nn.Linear(64, 10))


class Factor(nn.Module):
    """``x + factor · body(x)`` with a learned factor (Bachlechner et al. 2021; Touvron et al. 2021)."""

    def __init__(self, body: nn.Module, start: float, size: int = 1) -> None:
        super().__init__()
        self.body = body
        self.factor = nn.Parameter(torch.full((size,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Add the scaled branch."""
        return x + self.factor * self.body(x)


def rezero(blocks: int) -> nn.Module:
    """Return blocks whose branch starts at nothing."""
    body = [Factor(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), 0.0) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(64, 64), *body, nn.Linear(64, 10))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm, two linear layers, layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.body = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.scale = nn.Parameter(torch.full((WIDTH,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch."""
        branch = self.body(self.norm(self.mix(x).permute(0, 2, 3, 1)))
        return x + (self.scale * branch).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    """Return four such blocks."""
    blocks = [ConvNeXtBlock() for _ in range(4)]
    return nn.Sequential(
        nn.Conv2d(1, WIDTH, 2, stride=2),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, 10),
    )


class Attention(nn.Module):
    """Self-attention of four heads."""

    def __init__(self, width: int, *, causal: bool = False) -> None:
        super().__init__()
        self.read = nn.Linear(width, 3 * width)
        self.write = nn.Linear(width, width)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        n, t, width = x.shape
        q, k, v = self.read(x).view(n, t, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.write(out.transpose(1, 2).reshape(n, t, width))


class Gated(nn.Module):
    """A gated feed-forward layer: ``W3(SiLU(W1 x) · W2 x)`` (Shazeer 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the gate."""
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """A transformer block with its normalisations before the branches or after the additions."""

    def __init__(self, width: int, *, pre: bool, causal: bool, gated: bool) -> None:
        super().__init__()
        self.attention = Attention(width, causal=causal)
        plain = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.feed = Gated(width) if gated else plain
        norm = nn.RMSNorm if gated else nn.LayerNorm
        self.norm1, self.norm2 = norm(width), norm(width)
        self.pre = pre

    def forward(self, x: Tensor) -> Tensor:
        """Add both branches."""
        if self.pre:
            x = x + self.attention(self.norm1(x))
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.feed(x))


class Classifier(nn.Module):
    """A transformer over the rows of a picture."""

    def __init__(self, width: int, blocks: int, *, pre: bool = True) -> None:
        super().__init__()
        self.read = nn.Linear(8, width)
        self.places = nn.Parameter(0.02 * torch.randn(8, width))
        self.blocks = nn.Sequential(*(Block(width, pre=pre, causal=False, gated=False) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width) if pre else nn.Identity()
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify by the mean of all rows."""
        return self.head(self.norm(self.blocks(self.read(x) + self.places)).mean(1))


class Language(nn.Module):
    """A small GPT, or with ``gated`` a small Llama."""

    def __init__(self, width: int, blocks: int, *, tied: bool, gated: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(task.alphabet(), width)
        self.places = nn.Embedding(task.CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, pre=True, causal=True, gated=gated) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, task.alphabet(), bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of each next character."""
        read = self.table(x) + self.places(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(read)))


def encoder() -> nn.Module:
    """Return torch's own transformer encoder, whose normalisations come after the additions."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(8, 32), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(256, 10))


class Transposed(nn.Module):
    """A module that acts on the other axis."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Turn, act, turn back."""
        return self.body(x.transpose(1, 2)).transpose(1, 2)


def mixer() -> nn.Module:
    """Return blocks that mix rows, then columns (Tolstikhin et al. 2021)."""
    width, blocks = 32, list[nn.Module]()
    for _ in range(4):
        over_rows = Transposed(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)))
        over_columns = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))
        blocks += [Added(nn.Sequential(nn.LayerNorm(width), over)) for over in (over_rows, over_columns)]
    return nn.Sequential(nn.Linear(8, width), *blocks, nn.LayerNorm(width), nn.Flatten(), nn.Linear(8 * width, 10))


class Experts(nn.Module):
    """Four small networks and a router that weighs them."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(64, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 64)) for _ in range(4))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the experts' answers."""
        weights = self.router(x).softmax(-1)
        mixed = sum(weights[:, n : n + 1] * expert(x) for n, expert in enumerate(self.experts))
        return self.head(torch.relu(mixed))
