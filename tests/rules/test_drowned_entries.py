"""What is added where a stream begins and drowns it: positions beside which the words are nothing (IM702)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity

pytestmark = pytest.mark.untraced

LENGTH, WORDS, WIDTH = 12, 20, 32


class Reader(nn.Module):
    """A small pre-norm transformer that adds positions to its words in one of several ways."""

    def __init__(self, kind: str, size: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(WORDS, WIDTH)
        nn.init.normal_(self.words.weight, std=0.02)
        self.kind, self.size = kind, size
        if kind == "embedding":
            self.places = nn.Embedding(LENGTH, WIDTH)
            nn.init.normal_(self.places.weight, std=size)
        elif kind == "parameter":
            self.table = nn.Parameter(torch.randn(1, LENGTH, WIDTH) * size)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.words(x)
        place = torch.arange(LENGTH)
        if self.kind == "embedding":
            h = h + self.places(place)
        elif self.kind == "parameter":
            h = h + self.table
        elif self.kind == "sines":
            angle = place[:, None] / 100 ** (torch.arange(WIDTH) / WIDTH)
            h = h + self.size * torch.where(torch.arange(WIDTH) % 2 == 0, angle.sin(), angle.cos())
        elif self.kind == "scaled":
            h = h * self.size
        out: Tensor = self.head(self.blocks(h))
        return out


class Wrapped(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


def trained(model: nn.Module, steps: int = 60) -> list[Finding]:
    """Train to repeat each word, and return all that is louder than information."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for _ in range(steps):
            x = torch.randint(0, WORDS, (32, LENGTH), generator=generator)
            with watched.step() as now:
                loss = F.cross_entropy(model(x).flatten(0, 1), x.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
    return [finding for finding in watched.findings if finding.severity > Severity.INFO]


@pytest.mark.parametrize(("kind", "size"), [("embedding", 10.0), ("parameter", 10.0), ("sines", 30.0)])
def test_positions_that_drown_the_words_are_named(kind: str, size: float) -> None:
    # Weights of an embedding that are far too large are told as such, too.
    found = [one for one in trained(Wrapped(Reader(kind, size))) if one.code != "IM502"]
    assert [one.code for one in found] == ["IM702"]
    assert found[0].step == 0
    assert found[0].layers[0] == "model.words"
    assert "What is added to model.words drowns it" in found[0].message
    assert "normalise" in found[0].remedy
    assert ("model.places" in found[0].layers) == (kind == "embedding")


@pytest.mark.parametrize(
    ("kind", "size"),
    [("embedding", 0.02), ("parameter", 0.02), ("sines", 1.0), ("scaled", math.sqrt(WIDTH)), ("scaled", 300.0)],
)
def test_positions_of_a_usual_size_and_words_that_are_scaled_are_not(kind: str, size: float) -> None:
    for model in (Reader(kind, size), Wrapped(Reader(kind, size))):
        assert [one for one in trained(model) if one.code == "IM702"] == []


class Doubled(nn.Module):
    """Adds each block's input a second time, outside of the block."""

    def __init__(self, blocks: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
            for _ in range(blocks)
        )
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.words(x)
        for block in self.blocks:
            h = h + (h + block(h))
        out: Tensor = self.head(self.norm(h))
        return out


def test_a_stream_whose_skips_are_doubled_is_not_drowned_by_anything_from_outside() -> None:
    assert [one for one in trained(Doubled()) if one.code == "IM702"] == []
