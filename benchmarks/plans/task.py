"""What the networks learn: digits and tables from scikit-learn, and the text of its own descriptions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_linnerud, load_wine
from sklearn.neighbors import kneighbors_graph
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    Loss = Callable[[Any, Tensor], Tensor]

BATCH = 32
JUDGED_ON = 512
"""Samples, the same for all starts, that a loss is taken on."""

CONTEXT = 16
"""Characters that a language model reads."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a network is trained on.

    Attributes:
        inputs: all of them, the first dimension counts samples.
        targets: one per sample.
        loss: ``loss(output, target)``.
        whole: every step sees all of it, as a graph's nodes are.
        level: the loss without having learned anything, where :func:`guessing` cannot tell; NaN where it can.
    """

    inputs: Tensor
    targets: Tensor
    loss: Loss
    whole: bool = False
    level: float = math.nan

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a batch."""
        if self.whole:
            return self.inputs, self.targets
        rows = torch.randint(len(self.inputs), (BATCH,), generator=generator)
        return self.inputs[rows], self.targets[rows]

    def judged(self) -> tuple[Tensor, Tensor]:
        """Return what losses are taken on."""
        if self.whole:
            return self.inputs, self.targets
        rows = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(0))[:JUDGED_ON]
        return self.inputs[rows], self.targets[rows]


def _tokens(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output.flatten(0, -2), target.flatten())


def _digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    flat = torch.tensor(images, dtype=torch.float32)
    return (flat - flat.mean()) / flat.std(), torch.tensor(labels)


@cache
def digits() -> Task:
    """Return 64 pixels, ten classes."""
    return Task(*_digits(), nn.functional.cross_entropy)


@cache
def pictures() -> Task:
    """Return images of 1 x 8 x 8, ten classes."""
    flat, labels = _digits()
    return Task(flat.view(-1, 1, 8, 8), labels, nn.functional.cross_entropy)


@cache
def rows() -> Task:
    """Return the eight rows of each image as a sequence, ten classes."""
    flat, labels = _digits()
    return Task(flat.view(-1, 8, 8), labels, nn.functional.cross_entropy)


@cache
def reconstruction() -> Task:
    """Return pixels that are to be given back."""
    flat, _ = _digits()
    return Task(flat, flat, nn.functional.mse_loss)


@cache
def denoising() -> Task:
    """Return images with noise, and without it."""
    flat, _ = _digits()
    clean = flat.view(-1, 1, 8, 8)
    return Task(
        clean + 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)),
        clean,
        nn.functional.mse_loss,
    )


@cache
def diabetes() -> Task:
    """Return ten standardised columns and a standardised target."""
    table, target = load_diabetes(return_X_y=True)
    return Task(_standard(table), _standard(target)[:, None], nn.functional.mse_loss)


@cache
def cancer() -> Task:
    """Return thirty standardised columns, two classes."""
    table, target = load_breast_cancer(return_X_y=True)
    return Task(_standard(table), torch.tensor(target), nn.functional.cross_entropy)


@cache
def categories() -> Task:
    """Return the columns of the cancer table in eight classes each, as numbers of rows in an embedding."""
    table = cancer()
    columns = torch.bucketize(table.inputs.clamp(-1.99, 1.99), torch.linspace(-2, 2, 9)) - 1
    return Task(columns + 8 * torch.arange(30), table.targets, table.loss)


@cache
def wave() -> Task:
    """Return one coordinate and a sum of sines of it."""
    x = torch.linspace(-1, 1, 1024)[:, None]
    return Task(x, torch.sin(12 * x) + 0.5 * torch.sin(31 * x), nn.functional.mse_loss)


@cache
def noisy_pairs() -> Task:
    """Return each image twice with noise of its own; which two belong together is told by their cosines."""
    flat, labels = _digits()
    noise = 0.5 * torch.randn(2, *flat.shape, generator=torch.Generator().manual_seed(5))

    def contrast(output: Tensor, target: Tensor) -> Tensor:
        one, other = nn.functional.normalize(output, dim=-1).unbind(1)
        return nn.functional.cross_entropy(one @ other.T / 0.1, torch.arange(len(target)))

    return Task((flat + noise).transpose(0, 1), labels, contrast, level=math.log(JUDGED_ON))


RATED = 140
"""60 people and 80 things that they rate."""


@cache
def ratings() -> Task:
    """Return a person and a thing, as numbers of rows, and a rating that is a product of four traits of each."""
    generator = torch.Generator().manual_seed(6)
    traits = torch.randn(RATED, 4, generator=generator)
    people, things = (torch.randint(*of, (4000,), generator=generator) for of in ((0, 60), (60, RATED)))
    rated = (traits[people] * traits[things]).sum(1) / 2
    return Task(torch.stack([people, things], 1), rated, nn.functional.mse_loss)


@cache
def density() -> Task:
    """Return the columns of the diabetes table, whose density is wanted; at first it is that of a standard normal one."""
    table = diabetes()
    size = table.inputs.shape[1]
    constant = size * math.log(2 * math.pi) / 2

    def surprise(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        normal, shrunk = output
        return (normal.square().sum(1) / 2 - shrunk).mean() + constant + 0 * target.sum()

    return Task(table.inputs, table.targets, surprise, level=size / 2 + constant)


@cache
def played() -> Task:
    """Return 64 pixels; the class is to be chosen, and a tenth of its number foretold."""
    flat, labels = _digits()

    def loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        policy, value = output
        return nn.functional.cross_entropy(policy, target) + nn.functional.mse_loss(value[:, 0], target / 10)

    return Task(flat, labels, loss, level=math.log(10) + float((labels / 10).var()))


@cache
def text() -> Task:
    """Return characters of the descriptions of the data sets, and each one's next."""
    books = (load_digits, load_wine, load_iris, load_linnerud, load_diabetes, load_breast_cancer)
    letters = "".join(book().DESCR for book in books).lower()
    known = {letter: n for n, letter in enumerate(sorted(set(letters)))}
    codes = torch.tensor([known[letter] for letter in letters])
    pieces = codes.unfold(0, CONTEXT + 1, 3)
    return Task(pieces[:, :-1], pieces[:, 1:], _tokens)


def alphabet() -> int:
    """Return how many characters there are."""
    return int(text().inputs.max()) + 1


@cache
def adding() -> Task:
    """Return sequences of twelve numbers with two of them marked, and the sum of these two."""
    generator = torch.Generator().manual_seed(2)
    numbers = torch.rand(4096, 12, generator=generator)
    places = torch.rand(4096, 12, generator=generator).topk(2, dim=1).indices
    marks = torch.zeros(4096, 12).scatter_(1, places, 1.0)
    return Task(torch.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdim=True), nn.functional.mse_loss)


@cache
def neighbours() -> Task:
    """Return the first 400 digits as the nodes of a graph, ten classes; :func:`adjacency` joins them."""
    flat, labels = _digits()
    return Task(flat[:400], labels[:400], nn.functional.cross_entropy, whole=True)


@cache
def adjacency() -> Tensor:
    """Return who is among whose eight nearest, normalised by degree on both sides (Kipf & Welling 2017, Eq. 2)."""
    joined = torch.tensor(kneighbors_graph(neighbours().inputs.numpy(), 8).toarray(), dtype=torch.float32)
    joined = ((joined + joined.T) > 0).float() + torch.eye(len(joined))
    degree = joined.sum(1).rsqrt()
    return degree[:, None] * joined * degree


def _standard(table: object) -> Tensor:
    values = torch.as_tensor(table, dtype=torch.float32)
    return (values - values.mean(0)) / values.std(0)


def guessing(task: Task) -> float:
    """Return the loss of the best constant answer on what losses are taken on."""
    if not math.isnan(task.level):
        return task.level
    _, targets = task.judged()
    if task.loss is nn.functional.mse_loss:
        return float(targets.var(0, correction=0).mean())
    shares = torch.bincount(targets.flatten()).float() / targets.numel()
    return float(-(shares * shares.clamp_min(1e-9).log()).sum())
