"""The networks that every monitor watches: modules of plain torch, a batch, and the cross-entropy of its targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    Made = tuple[nn.Module, Tensor, Tensor]

CLASSES = 10
VOCABULARY = 1_024
"""Few words, so that the time goes into the blocks and not into the logits."""


class Basic(nn.Module):
    """A residual block of ResNet-18: two convolutions, and a projection where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and channels == width
        projection = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Identity() if same else projection

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions make of ``x`` to it."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.shortcut(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.gelu, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the tokens ``[n, t, width]``, then transform each."""
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(attended.transpose(1, 2).reshape(n, t, width))
        return x + self.down(self.gelu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


class Vision(nn.Module):
    """A vision transformer with a class token."""

    def __init__(self, width: int, depth: int, heads: int, size: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*[Block(width, heads, causal=False) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[n, CLASSES]``."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], dim=1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])  # type: ignore[no-any-return]


class Language(nn.Module):
    """A language model of GPT's kind."""

    def __init__(self, width: int, depth: int, heads: int, context: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads, causal=True) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, words: Tensor) -> Tensor:
        """Return logits of the next words, ``[n · t, VOCABULARY]``."""
        x = self.words(words) + self.positions(torch.arange(words.shape[1]))
        return self.head(self.norm(self.blocks(x))).flatten(0, 1)  # type: ignore[no-any-return]


def resnet18() -> Made:
    """ResNet-18 (11 million parameters) with 16 pictures of 64 × 64."""
    stem = (
        nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    )
    widths = (64, 128, 256, 512)
    stages = []
    for before, width in zip((64, *widths), widths, strict=False):
        stages += [Basic(before, width, 1 if width == before else 2), Basic(width, width, 1)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))
    return nn.Sequential(*stem, *stages, *head), torch.randn(16, 3, 64, 64), torch.randint(CLASSES, (16,))


def vit_tiny() -> Made:
    """ViT-tiny (12 blocks of width 192, 5.5 million parameters) with 16 pictures of 96 × 96."""
    return Vision(192, 12, 3, size=96, patch=16), torch.randn(16, 3, 96, 96), torch.randint(CLASSES, (16,))


def gpt_small() -> Made:
    """A GPT of 12 blocks of half GPT-2's width (384, 22 million parameters) with 4 × 64 words."""
    words = torch.randint(VOCABULARY, (4, 65))
    return Language(384, 12, 6, context=64), words[:, :-1].contiguous(), words[:, 1:].flatten()


NETWORKS: dict[str, Callable[[], Made]] = {"ResNet-18": resnet18, "ViT-tiny": vit_tiny, "GPT-small": gpt_small}


def made(name: str) -> Made:
    """Return a network, a batch and its targets, always the same."""
    torch.manual_seed(0)
    return NETWORKS[name]()
