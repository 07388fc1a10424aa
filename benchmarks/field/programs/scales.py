"""A scale that is wrong where numbers meet: logits, sums of branches or neighbours, tied or redrawn weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, adam, adamw, mlp, sgd, share_missed, share_wrong
from benchmarks.field.programs.material import batches, chain, counted, graphs, pictures, rows, waves
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytorch_lightning as pl


class Attention(nn.Module):
    """Attention whose logits are divided by the root of the width, or not."""

    def __init__(self, width: int, *, divided: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.scale = width**-0.5 if divided else 1.0

    def forward(self, x: Tensor) -> Tensor:
        logits = self.query(x) @ self.key(x).mT * self.scale
        out: Tensor = logits.softmax(-1) @ self.value(x)
        return out


class Sharp(Learner):
    """Two attentions over wide tokens that have been normalised."""

    def __init__(self, *, divided: bool) -> None:
        super().__init__(adam(1e-3))
        self.embedding, self.place = nn.Embedding(24, 128), nn.Parameter(0.02 * torch.randn(12, 128))
        self.norms = nn.ModuleList([nn.LayerNorm(128) for _ in range(2)])
        self.attentions = nn.ModuleList([Attention(128, divided=divided) for _ in range(2)])
        for part in self.attentions.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_normal_(part.weight)
        self.head = nn.Linear(128, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.place
        for norm, attention in zip(self.norms, self.attentions, strict=True):
            x = attention(norm(x))
        out: Tensor = self.head(x.mean(1))
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])


class ConvBlock(nn.Module):
    """x + scale · F(x) without any normalisation, in He's initialisation."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
        for part in self.body:
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.scale * self.body(x)
        return out


def _denoiser(scale: float) -> Program:
    """A super-resolution network of 12 blocks, used to take noise out of digits."""
    clean, _ = pictures()
    noisy = clean + 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(14))
    blocks = [ConvBlock(scale) for _ in range(12)]
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), *blocks, nn.Conv2d(16, 1, 3, padding=1))
    return Program(Supervised(net, F.mse_loss, adam(1e-3)), batches(noisy, clean, batch=32))


class TiedLanguage(Learner):
    """Continues texts; the embedding is the last layer, too."""

    def __init__(self, std: float) -> None:
        super().__init__(adamw(1e-3))
        self.embedding = nn.Embedding(24, 96)
        nn.init.normal_(self.embedding.weight, std=std)
        layer = nn.TransformerEncoderLayer(96, 4, 192, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(96), enable_nested_tensor=False)
        self.head = nn.Linear(96, 24, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("future", torch.ones(16, 16).triu(1).bool())

    def loss(self, batch: list[Tensor]) -> Tensor:
        (text,) = batch
        h = self.layers(self.embedding(text[:, :-1]), mask=self.future)
        return F.cross_entropy(self.head(h).flatten(0, 1), text[:, 1:].flatten())


def _drawn_from_n01(*, redrawn: bool) -> Program:
    """``for p in parameters(): nn.init.normal_(p)``, as a tutorial for something else does."""
    net = nn.Sequential(*mlp((64, 96, 96, 96, 10), nn.Tanh))
    if redrawn:
        for parameter in net.parameters():
            nn.init.normal_(parameter)
    return Program(Supervised(net, F.cross_entropy, sgd(0.05)), batches(*rows(), batch=64))


class GraphNet(Learner):
    """Four rounds over a graph: each node takes the sum of its neighbours, or their mean."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__(adam(5e-3))
        self.normalised = normalised
        self.rounds = nn.ModuleList([nn.Linear(a, 32) for a in (8, 32, 32, 32)])
        for layer in self.rounds:
            nn.init.kaiming_normal_(layer.weight)  # type: ignore[arg-type]
        self.head = nn.Linear(32, 2)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, edges, y = batch
        if self.normalised:
            edges = edges / edges.sum(-1, keepdim=True).sqrt() / edges.sum(-2, keepdim=True).sqrt()
        for layer in self.rounds:
            x = F.relu(layer(edges @ x))
        return F.cross_entropy(self.head(x.mean(1)), y)


class Recurrence(Learner):
    """An Elman network whose recurrent weights somebody multiplied, "for a longer memory"."""

    def __init__(self, factor: float) -> None:
        super().__init__(adam(3e-3))
        self.lstm, self.read = nn.LSTM(1, 48, batch_first=True), nn.Linear(48, 1)
        self.lstm.get_parameter("weight_hh_l0").data *= factor

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read(self.lstm(x)[0][:, -1])
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.mse_loss(self(batch[0]), batch[1])


class Similar(Learner):
    """Matches a picture with its mirror image among those of the batch, by cosine over a temperature."""

    def __init__(self, temperature: float) -> None:
        super().__init__(sgd(0.2, momentum=0.9))
        self.temperature = temperature
        self.left, self.right = mlp((64, 128, 32)), mlp((64, 128, 32))

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        a = F.normalize(self.left(x), dim=1)
        b = F.normalize(self.right(x.flip(1)), dim=1)
        return F.cross_entropy(a @ b.T / self.temperature, torch.arange(len(x)))

    def rank(self, x: Tensor) -> float:
        """Return the share of the first 256 pictures whose copy is not the most similar one."""
        a, b = F.normalize(self.left(x[:256]), dim=1), F.normalize(self.right(x[:256].flip(1)), dim=1)
        return float(((a @ b.T).argmax(1) != torch.arange(256)).float().mean())


def _rank(module: pl.LightningModule, loader: Iterable[object]) -> float:
    (x,) = loader.dataset.tensors  # type: ignore[attr-defined]
    value: float = module.rank(x)  # type: ignore[operator]
    return value if math.isfinite(value) else 1.0


CASES = (
    Case(
        "attention_undivided",
        "Attention over 128 numbers without the division by their root: every row looks at one place.",
        lambda: Program(Sharp(divided=False), batches(*counted(), batch=64)),
        lambda: Program(Sharp(divided=True), batches(*counted(), batch=64)),
        answer(
            "IM304 IM303",
            Remedy.ATTENTION,
            by=60,
            beside="IM101 IM201 IM202",
            layers=("attentions*",),
        ),
        steps=200,
        score=share_wrong,
        measured=(0.583, 0.0139),
    ),
    Case(
        "blocks_without_norm",
        "Twelve residual blocks in He's initialisation without the batch norm they had: the stream grows by 2 each.",
        lambda: _denoiser(1.0),
        lambda: _denoiser(0.1),
        answer(
            "IM401",
            *[Remedy.RESIDUAL, Remedy.NORMALISE, Remedy.INITIALISE],
            by=10,
            beside="IM101 IM201 IM603 IM703",
        ),
        steps=150,
        measured=(19.8, 0.106),
    ),
    Case(
        "tied_embedding_from_n01",
        "The embedding, drawn from N(0, 1), is the last layer as well: the loss starts far above ln 24.",
        lambda: Program(TiedLanguage(1.0), batches(chain(), batch=64)),
        lambda: Program(TiedLanguage(0.02), batches(chain(), batch=64)),
        answer(
            "IM703",
            *[Remedy.INITIALISE, Remedy.OUTPUT_SCALE],
            by=10,
            beside="IM101 IM201 IM304 IM502 IM603",
            layers=("embedding*", "head*"),
        ),
        steps=70,
        measured=(1.76, 1.27),
    ),
    Case(
        "every_parameter_from_n01",
        "A loop draws every parameter from N(0, 1), as a tutorial for something else does: tanh saturates.",
        lambda: _drawn_from_n01(redrawn=True),
        lambda: _drawn_from_n01(redrawn=False),
        answer("IM303 IM502 IM201 IM101 IM703", Remedy.INITIALISE, by=20, beside="IM101 IM201 IM303 IM603 IM703 IM502"),
        steps=150,
        measured=(1.73, 0.63),
    ),
    Case(
        "sum_over_neighbours",
        "A graph network adds up about ten neighbours in each of four rounds, and the signal grows by each.",
        lambda: Program(GraphNet(normalised=False), batches(*graphs(), batch=32)),
        lambda: Program(GraphNet(normalised=True), batches(*graphs(), batch=32)),
        answer(
            "IM101 IM201 IM703",
            *[Remedy.NORMALISE, Remedy.INITIALISE],
            by=20,
            beside="IM201 IM603 IM703 IM502 IM101",
        ),
        steps=150,
        measured=(1.9, 0.209),
    ),
    Case(
        "recurrence_times_eight",
        "Recurrent weights are multiplied by 8 for a longer memory: the gates of the LSTM are shut or open.",
        lambda: Program(Recurrence(8.0), batches(*waves(), batch=128)),
        lambda: Program(Recurrence(1.0), batches(*waves(), batch=128)),
        answer(
            "IM303 IM502 IM101 IM201",
            Remedy.INITIALISE,
            by=60,
            beside="IM201 IM303 IM502 IM603 IM101",
            layers=("lstm*",),
        ),
        steps=150,
        score=share_missed,
        measured=(0.0453, 0.0145),
    ),
    Case(
        "temperature_of_a_thousandth",
        "Cosines are divided by 0.0005 instead of 0.1: the logits are thousands.",
        lambda: Program(Similar(0.0005), batches(rows()[0], batch=128)),
        lambda: Program(Similar(0.1), batches(rows()[0], batch=128)),
        answer(
            "IM703 IM303 IM201 IM603 IM101",
            Remedy.OUTPUT_SCALE,
            by=20,
            beside="IM101 IM201 IM303 IM603 IM702 IM703",
        ),
        steps=300,
        score=_rank,
        measured=(0.992, 0.0),
    ),
)
