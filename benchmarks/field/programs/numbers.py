"""NaN, infinity, and formats that are too narrow for what is done in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, adam, adamw, mlp, sgd
from benchmarks.field.programs.material import batches, blobs, counted, diabetes, grey_pictures, rows
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_A_NUMBER = "IM101 IM201 IM601 IM603"


def _missing(*, filled: bool) -> Program:
    """One missing value among 4,420, which is NaN, or the mean."""
    x, y = (one.clone() for one in diabetes())
    x[137, 3] = 0.0 if filled else float("nan")
    module = Supervised(mlp((10, 32, 32, 1), nn.SiLU), F.mse_loss, adam(3e-3))
    return Program(module, batches(x, (y - y.mean()) / y.std(), batch=16))


class Standardise(nn.Module):
    """Standardises the columns of a batch, one of which may be constant."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0) + self.eps)


def _constant_column(eps: float) -> Program:
    x, y = diabetes()
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    net = nn.Sequential(Standardise(eps), *mlp((11, 32, 1)))
    return Program(Supervised(net, F.mse_loss, sgd(0.02)), batches(x, (y - y.mean()) / y.std(), batch=32))


def _of_probabilities(out: Tensor, y: Tensor) -> Tensor:
    p = torch.sigmoid(out)
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()


def _separated() -> tuple[Tensor, Tensor]:
    """Return two classes that a plane tells apart with room to spare, so that the logits grow on and on."""
    generator = torch.Generator().manual_seed(10)
    y = (torch.rand(2048, 1, generator=generator) < 0.5).float()
    x = torch.randn(2048, 12, generator=generator)
    x[:, :1] = (2 * y - 1) * (1.5 + x[:, :1].abs())
    return x, y


def _logarithm(criterion: Callable[[Tensor, Tensor], Tensor]) -> Program:
    return Program(Supervised(mlp((12, 48, 1)), criterion, adam(1.2e-2)), batches(*_separated(), batch=64))


class Pairs(Learner):
    """Two pictures are near each other if they show one digit; the distance is a root."""

    def __init__(self, inside: float) -> None:
        super().__init__(adam(1e-3))
        self.inside = inside
        self.embed = mlp((64, 64, 16))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.embed(x)
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        a, b, same = batch
        distance = ((self.embed(a) - self.embed(b)).square().sum(1) + self.inside).sqrt()
        return torch.where(same, distance.square(), F.relu(2 - distance).square()).mean()


def _pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs of pictures, half of them of one digit; now and then a picture is paired with itself."""
    x, y = rows()
    generator = torch.Generator().manual_seed(11)
    order = torch.randint(0, len(x), (2, 4096), generator=generator)
    by_class = [torch.nonzero(y == c)[:, 0] for c in range(10)]
    for i in range(0, 4096, 2):
        mates = by_class[int(y[order[0, i]])]
        order[1, i] = mates[int(torch.randint(0, len(mates), (1,), generator=generator))]
    return x[order[0]], x[order[1]], y[order[0]] == y[order[1]]


class Segmentation(Learner):
    """Marks a disc in a picture; the loss is the mean over those places that have a label."""

    def __init__(self) -> None:
        super().__init__(sgd(0.1, momentum=0.9))
        self.net = nn.Sequential(
            *[nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()],
            nn.Conv2d(16, 1, 1),
        )

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, mask, known = batch
        each = F.binary_cross_entropy_with_logits(self.net(x), mask, reduction="none")
        return (each * known).sum() / known.sum()


def _unlabelled(*, left_out: bool) -> Program:
    """A stretch of pictures has no labels yet; the loader serves the data in its order."""
    x, mask = blobs()
    known = torch.ones_like(mask)
    known[62 * 8 : 64 * 8] = 0
    if left_out:
        labelled = known[:, 0, 0, 0] > 0
        x, mask, known = x[labelled], mask[labelled], known[labelled]
    return Program(Segmentation(), batches(x, mask, known, batch=8, shuffle=False))


def _rounded_away(*, half: bool) -> Program:
    """The whole network in bfloat16, whose steps of a 256th swallow what a small rate adds."""
    precision = {"precision": "bf16-true"} if half else {"precision": "bf16-mixed"}
    net = nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.GELU(), nn.Linear(128, 10))
    module = Supervised(net, lambda out, y: F.cross_entropy(out.float(), y), sgd(5e-3))
    return Program(module, batches(*rows(), batch=256), precision)


def _overflow(*, scaled: bool) -> Program:
    """Raw pixels into a network in float16, which ends at 65,504."""
    x, y = grey_pictures()
    x = x.flatten(1) / 16 * 255
    x = (x - x.mean()) / x.std() if scaled else x * 257  # 16-bit pictures
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).half()
    module = Supervised(net, lambda out, target: F.cross_entropy(out.float(), target), sgd(0.02))
    return Program(module, batches(x.half(), y, batch=64))


class MaskedReader(Learner):
    """Attention over texts of different lengths, some of them empty."""

    def __init__(self, *, keep_first: bool) -> None:
        super().__init__(adamw(3e-3))
        self.keep_first = keep_first
        self.embedding, self.norm = nn.Embedding(24, 32), nn.LayerNorm(32)
        self.query, self.key, self.value = (nn.Linear(32, 32) for _ in range(3))
        self.softmax = nn.Softmax(dim=-1)
        self.head = mlp((32, 64, 5))

    def loss(self, batch: list[Tensor]) -> Tensor:
        tokens, y, length = batch
        padding = torch.arange(12) >= length[:, None]
        if self.keep_first:
            padding[:, 0] = False
        h = self.norm(self.embedding(tokens))
        logits = self.query(h) @ self.key(h).mT / 32**0.5
        h = h + self.softmax(logits.masked_fill(padding[:, None], -torch.inf)) @ self.value(h)
        kept = (~padding).float()[..., None]
        return F.cross_entropy(self.head((h * kept).sum(1) / 4), y)


def _lengths() -> tuple[Tensor, Tensor, Tensor]:
    x, _ = counted()
    length = torch.randint(0, 13, (len(x),), generator=torch.Generator().manual_seed(12))
    length = torch.where(
        length < 2, torch.randint(0, 2, (len(x),), generator=torch.Generator().manual_seed(13)), length
    )
    kept = torch.arange(12) < length[:, None]
    return x, ((x < 5) & kept).sum(1).clamp(max=4), length


def _sum_in_half(reduction: str) -> Program:
    """Squared errors of 64 pixels times 256 pictures, added up in float16."""
    x = grey_pictures()[0].flatten(1)
    x = (x / 4).half()

    def criterion(out: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(out, target, reduction=reduction)

    net = mlp((64, 48, 64)).half()
    return Program(Supervised(net, criterion, sgd(0.1)), batches(x, x, batch=256))


def _error(module: torch.nn.Module, loader: object) -> float:
    (x, _) = loader.dataset.tensors  # type: ignore[attr-defined]
    return float((module(x).float() - x.float()).square().mean())


CASES = (
    Case(
        "one_missing_value",
        "One value of a table is NaN; the run is NaN as soon as it is drawn.",
        lambda: _missing(filled=False),
        lambda: _missing(filled=True),
        answer("IM601", Remedy.DATA, by=40, beside=NOT_A_NUMBER, severity="critical"),
        steps=120,
        measured=(float("nan"), 0.561),
    ),
    Case(
        "constant_column",
        "Columns are divided by their standard deviation, and one column is constant.",
        lambda: _constant_column(0.0),
        lambda: _constant_column(1e-6),
        answer("IM601", *[Remedy.GUARD], by=10, beside=NOT_A_NUMBER, severity="critical", layers=("net.0*",)),
        steps=100,
        measured=(float("nan"), 0.473),
    ),
    Case(
        "logarithm_of_a_probability",
        "Cross-entropy by hand: once the network is sure, 0 · log(0) is NaN, long after the start.",
        lambda: _logarithm(_of_probabilities),
        lambda: _logarithm(F.binary_cross_entropy_with_logits),
        answer("IM601 IM802", Remedy.GUARD, by=150, beside=NOT_A_NUMBER, severity="critical"),
        steps=150,
        measured=(float("nan"), 0.000282),
    ),
    Case(
        "root_of_zero",
        "The distance of a picture to itself is the root of 0, whose slope is infinite.",
        lambda: Program(Pairs(0.0), batches(*_pairs(), batch=64)),
        lambda: Program(Pairs(1e-8), batches(*_pairs(), batch=64)),
        answer("IM601", *[Remedy.GUARD], by=120, beside=NOT_A_NUMBER, severity="critical"),
        steps=120,
        measured=(float("nan"), 0.328),
    ),
    Case(
        "mean_over_nothing",
        "The mean over labelled places, by hand: in batch 63 there is none, and 0 / 0 is NaN.",
        lambda: _unlabelled(left_out=False),
        lambda: _unlabelled(left_out=True),
        answer(
            "IM601 IM802",
            *[Remedy.DATA, Remedy.GUARD],
            by=96,
            beside=NOT_A_NUMBER,
            severity="critical",
        ),
        steps=96,
        measured=(float("nan"), 0.0464),
    ),
    Case(
        "bfloat16_rounds_away",
        "All weights in bfloat16 and a small rate: most updates are rounded away.",
        lambda: _rounded_away(half=True),
        lambda: _rounded_away(half=False),
        answer("IM603 IM604", *[Remedy.DTYPE, Remedy.FASTER], by=100),
        steps=320,
        measured=(1.23, 0.813),
    ),
    Case(
        "sixteen_bit_pictures_in_float16",
        "Pictures of 16 bits go into a network in float16, which ends at 65,504.",
        lambda: _overflow(scaled=False),
        lambda: _overflow(scaled=True),
        answer("IM701 IM601 IM101", *[Remedy.INPUT, Remedy.DTYPE], by=10, beside=NOT_A_NUMBER + " IM701 IM703"),
        steps=100,
        measured=(float("nan"), 1.31),
    ),
    Case(
        "empty_texts",
        "Padding hides all of an empty text, so that a row of the attention sees nothing and is NaN.",
        lambda: Program(MaskedReader(keep_first=False), batches(*_lengths(), batch=64)),
        lambda: Program(MaskedReader(keep_first=True), batches(*_lengths(), batch=64)),
        answer(
            "IM601",
            Remedy.MASK,
            by=20,
            beside=NOT_A_NUMBER,
            severity="critical",
            layers=("softmax*", "query*", "key*", "value*"),
        ),
        steps=150,
        measured=(float("nan"), 0.431),
    ),
    Case(
        "sum_in_float16",
        "Squared errors are summed over a batch in float16, past 65,504: infinity.",
        lambda: _sum_in_half("sum"),
        lambda: _sum_in_half("mean"),
        answer(
            "IM601 IM802",
            *[Remedy.DTYPE, Remedy.LOSS_SCALE],
            by=20,
            beside=NOT_A_NUMBER + " IM703",
            severity="critical",
        ),
        steps=100,
        score=_error,
        measured=(float("nan"), 0.499),
    ),
)
