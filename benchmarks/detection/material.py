"""Data for sequences, texts and pictures: small, seeded, and available without a download."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from torch import Tensor

    Loader = DataLoader[tuple[Tensor, ...]]

BATCH = 32
CLASSES = 10
GREYS = 17
"""A pixel of a digit is a whole number from 0 to 16."""

LETTERS = 32
SHARPNESS = 3.0
"""Standard deviation of the log-odds of a letter's successors: most of the 3.5 nats of 32 letters can be learned."""


@cache
def raw_digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's 1,797 digits as [n, 8, 8] of 0 to 16, about half of them 0, and their classes."""
    bundle = load_digits()
    return torch.tensor(bundle.images, dtype=torch.float32), torch.tensor(bundle.target)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Return the digits with the mean 0 and the standard deviation 1 over all pixels, and their classes."""
    images, classes = raw_digits()
    return (images - images.mean()) / images.std(), classes


def batches(inputs: Tensor, targets: Tensor, *, batch: int = BATCH) -> Loader:
    """Serve full batches, shuffled in the same way at every call."""
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        TensorDataset(inputs, targets), batch_size=batch, shuffle=True, drop_last=True, generator=generator
    )


def digit_rows(*, factor: float = 1.0) -> Loader:
    """Return digits as sequences of 8 rows of 8 pixels."""
    images, classes = digits()
    return batches(images * factor, classes)


def digit_vectors(*, factor: float = 1.0, batch: int = BATCH) -> Loader:
    """Return digits as 64 numbers."""
    images, classes = digits()
    return batches(images.flatten(1) * factor, classes, batch=batch)


def digit_images(*, size: int = 8, channels: int = 1, samples: int | None = None, batch: int = BATCH) -> Loader:
    """Return the first ``samples`` digits as pictures of ``size`` × ``size`` pixels."""
    images, classes = digits()
    pictures = images[:samples, None].expand(-1, channels, -1, -1)
    if size != pictures.shape[-1]:
        pictures = F.interpolate(pictures, size=(size, size), mode="nearest")
    return batches(pictures.contiguous(), classes[:samples], batch=batch)


def digit_copies(*, factor: float = 1.0) -> Loader:
    """Return digits as 64 numbers, each its own target."""
    images, _ = digits()
    return batches(images.flatten(1) * factor, images.flatten(1))


def noisy_images(*, noise: float = 0.5, batch: int = BATCH) -> Loader:
    """Return pictures of digits with noise, and without it as targets."""
    clean = digits()[0][:, None]
    generator = torch.Generator().manual_seed(1)
    return batches(clean + noise * torch.randn(clean.shape, generator=generator), clean, batch=batch)


def digit_tokens() -> Loader:
    """Return digits as 16 tokens out of 17: the grey values of every second pixel of every second row."""
    images, classes = raw_digits()
    return batches(images[:, ::2, ::2].flatten(1).long(), classes)


def text(*, length: int = 24, samples: int = 512, batch: int = BATCH) -> Loader:
    """Return texts of a Markov chain, and the letter that follows each of theirs as targets."""
    generator = torch.Generator().manual_seed(2)
    chances = (SHARPNESS * torch.randn(LETTERS, LETTERS, generator=generator)).softmax(-1)
    columns = [torch.randint(0, LETTERS, (samples,), generator=generator)]
    for _ in range(length):
        columns.append(torch.multinomial(chances[columns[-1]], 1, generator=generator).flatten())
    texts = torch.stack(columns, 1)
    return batches(texts[:, :-1].contiguous(), texts[:, 1:].contiguous(), batch=batch)


def recall(*, letters: int = 8, length: int = 12, samples: int = 1024, factor: float = 1.0) -> Loader:
    """Return one-hot sequences whose class is the letter they begin with: to be remembered to the end."""
    generator = torch.Generator().manual_seed(3)
    sequences = torch.randint(0, letters, (samples, length), generator=generator)
    return batches(factor * F.one_hot(sequences, letters).float(), sequences[:, 0])


def function(inputs: int = 32, *, samples: int = 2048, scale: float = 1.0, batch: int = BATCH) -> Loader:
    """Return standard normal inputs and a smooth function of them with the standard deviation ``scale``."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(samples, inputs, generator=generator)
    directions = torch.randn(inputs, 4, generator=generator) / inputs**0.5
    y = torch.tanh(x @ directions).sum(1, keepdim=True) + x @ directions[:, :1]
    return batches(x, scale * y / y.std(), batch=batch)


def clusters(
    inputs: int = 32, *, shares: tuple[float, ...] = (1.0,) * CLASSES, flipped: float = 0.0, batch: int = BATCH
) -> Loader:
    """Return points around one centre per class.

    Args:
        inputs: numbers per point.
        shares: relative frequency of each class.
        flipped: share of the points whose class is a random one.
        batch: points per batch.
    """
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(len(shares), inputs, generator=generator)
    labels = torch.multinomial(torch.tensor(shares), 2048, replacement=True, generator=generator)
    points = (centres[labels] + torch.randn(len(labels), inputs, generator=generator)) / 2**0.5
    wrong = torch.rand(len(labels), generator=generator) < flipped
    others = torch.randint(0, len(shares), labels.shape, generator=generator)
    return batches(points, torch.where(wrong, others, labels), batch=batch)
