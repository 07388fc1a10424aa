"""Small transformers whose attention no hook sees: a fused kernel, torch's own module, with and without normalised queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.detection import material, seeding
from benchmarks.detection.case import Training
from benchmarks.detection.defects import none
from benchmarks.detection.lightning import Learner, adam
from benchmarks.detection.sequence_nets import DIGITS, ROWS
from benchmarks.detection.sequence_trainings import TEXT_LENGTH, letters_loss

if TYPE_CHECKING:
    from benchmarks.detection.defects import Defect
    from benchmarks.detection.lightning import MakeOptimizer

WIDTH = 64


class FusedAttention(nn.Module):
    """Self-attention by ``scaled_dot_product_attention``.

    Attributes:
        scale: of the logits; ``None`` for 1/√d.
        normalised: queries and keys have an rms of 1 (QK-norm without a learned factor).
        temperature: what queries are multiplied by; learned.
    """

    def __init__(self, width: int, heads: int, *, causal: bool, normalised: bool) -> None:
        super().__init__()
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.heads, self.causal, self.normalised = heads, causal, normalised
        self.scale: float | None = None

    def operands(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, [n, heads, t, d]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.normalised:
            q, k = (F.rms_norm(one, one.shape[-1:]) for one in (q, k))
        return q * self.temperature, k, v

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, t, width] for [n, t, width]."""
        q, k, v = self.operands(x)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, scale=self.scale)
        y: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return y


class FusedBlock(nn.Module):
    """A pre-norm block around it."""

    def __init__(self, width: int, heads: int, *, causal: bool, normalised: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = FusedAttention(width, heads, causal=causal, normalised=normalised)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, t, width] for [n, t, width]."""
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.feed(self.norm2(x))
        return y


class RowReader(nn.Module):
    """Rows of a digit to a class, from the mean over positions."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Linear(ROWS, WIDTH)
        self.positions = nn.Parameter(0.5 * torch.randn(1, ROWS, WIDTH))
        self.blocks, self.norm, self.head = blocks, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, DIGITS)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, 10] for [n, 8, 8]."""
        logits: Tensor = self.head(self.norm(self.blocks(self.embed(x) + self.positions)).mean(1))
        return logits


class Writer(nn.Module):
    """Continues a text."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.letters = nn.Embedding(material.LETTERS, WIDTH)
        self.positions = nn.Embedding(TEXT_LENGTH, WIDTH)
        self.blocks, self.norm, self.head = blocks, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, material.LETTERS)
        for table in (self.letters, self.positions):
            nn.init.normal_(table.weight, std=0.5)

    def forward(self, texts: Tensor) -> Tensor:
        """Return logits [n, t, letters] for [n, t]."""
        x = self.letters(texts) + self.positions(torch.arange(texts.shape[1]))
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def _fused(*, heads: int, causal: bool, normalised: bool = False) -> nn.Sequential:
    blocks = nn.Sequential(*(FusedBlock(WIDTH, heads, causal=causal, normalised=normalised) for _ in range(2)))
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return blocks


def reader(*, change: Defect = none, optimizer: MakeOptimizer | None = None, normalised: bool = False) -> Training:
    """Digits, one head of 64 dimensions."""
    seeding.seed(0)
    net = RowReader(_fused(heads=1, causal=False, normalised=normalised))
    change(net)
    return Training(Learner(net, F.cross_entropy, optimizer or adam(1e-3)), material.digit_rows())


def normed_reader(*, change: Defect = none, optimizer: MakeOptimizer | None = None) -> Training:
    """The same with normalised queries and keys, at a rate that the others do not stand."""
    return reader(change=change, optimizer=optimizer or adam(1e-2), normalised=True)


def module_reader(*, change: Defect = none, optimizer: MakeOptimizer | None = None) -> Training:
    """Digits, by two layers of ``nn.TransformerEncoderLayer``."""
    seeding.seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
    net = RowReader(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    change(net)
    return Training(Learner(net, F.cross_entropy, optimizer or adam(1e-3)), material.digit_rows())


def fused_writer(*, change: Defect = none, optimizer: MakeOptimizer | None = None) -> Training:
    """A text to its continuation, causal, one head of 64 dimensions."""
    seeding.seed(0)
    net = Writer(_fused(heads=1, causal=True))
    change(net)
    return Training(Learner(net, letters_loss, optimizer or adam(2e-3)), material.text(length=TEXT_LENGTH))


def unscaled(net: nn.Module) -> None:
    """Forget 1/√d."""
    for module in net.modules():
        if isinstance(module, FusedAttention):
            module.scale = 1.0


def not_normalised(net: nn.Module) -> None:
    """Leave queries and keys as they are."""
    for module in net.modules():
        if isinstance(module, FusedAttention):
            module.normalised = False


def cold(factor: float) -> Defect:
    """Return what multiplies the learned temperatures."""

    def change(net: nn.Module) -> None:
        for module in net.modules():
            if isinstance(module, FusedAttention):
                module.temperature.data *= factor

    return change


def queries_and_keys(factor: float) -> Defect:
    """Return what multiplies the weights of queries and keys, which lie in one matrix with those of the values."""

    def change(net: nn.Module) -> None:
        for name, weight in net.named_parameters():
            if name.endswith(("qkv.weight", "in_proj_weight")):
                weight.data[: 2 * WIDTH] *= factor

    return change
