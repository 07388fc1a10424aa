"""What the programs learn from: pictures, tables, texts and curves that are there without a download."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.detection.material import digits as square_digits, raw_digits

Loader = DataLoader[Any]


def batches(*tensors: Tensor, batch: int = 64, shuffle: bool = True, drop_last: bool = False) -> Loader:
    """Serve tensors that belong together, shuffled by torch's own generator."""
    return DataLoader(TensorDataset(*tensors), batch_size=batch, shuffle=shuffle, drop_last=drop_last)


def pictures() -> tuple[Tensor, Tensor]:
    """Return the 1,797 digits as [n, 1, 8, 8], standardised, and their classes."""
    images, classes = square_digits()
    return images[:, None], classes


def grey_pictures() -> tuple[Tensor, Tensor]:
    """Return the digits as [n, 1, 8, 8] of grey values from 0 to 16, as they come, and their classes."""
    images, classes = raw_digits()
    return images[:, None], classes


def rows() -> tuple[Tensor, Tensor]:
    """Return the digits as 64 standardised numbers, and their classes."""
    images, classes = square_digits()
    return images.flatten(1), classes


def unit_rows() -> Tensor:
    """Return the digits as 64 numbers from 0 to 1."""
    return raw_digits()[0].flatten(1) / 16


def _standardised(values: Any) -> Tensor:  # noqa: ANN401 - an array of numpy
    x = torch.tensor(values, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0)


@cache
def cancer() -> tuple[Tensor, Tensor]:
    """Return 569 rows of 30 standardised measurements, and 0 or 1 as [n, 1]."""
    x, y = load_breast_cancer(return_X_y=True)
    return _standardised(x), torch.tensor(y, dtype=torch.float32)[:, None]


@cache
def raw_cancer() -> tuple[Tensor, Tensor]:
    """Return the same measurements as they come, from 1e-3 to 4e3."""
    x, y = load_breast_cancer(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]


@cache
def wine() -> tuple[Tensor, Tensor]:
    """Return 178 rows of 13 standardised measurements, and one of 3 classes."""
    x, y = load_wine(return_X_y=True)
    return _standardised(x), torch.tensor(y)


@cache
def diabetes() -> tuple[Tensor, Tensor]:
    """Return 442 rows of 10 standardised measurements, and a number from 25 to 346 as [n, 1]."""
    x, y = load_diabetes(return_X_y=True)
    return _standardised(x), torch.tensor(y, dtype=torch.float32)[:, None]


@cache
def function(inputs: int = 8, samples: int = 2048, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return standard normal inputs, and a smooth function of them as [n, 1], standardised."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, inputs, generator=generator)
    directions = torch.randn(inputs, 4, generator=generator) / inputs**0.5
    y = (torch.sin(2 * x @ directions).sum(1) + (x @ directions[:, 0])).unsqueeze(1)
    return x, (y - y.mean()) / y.std()


@cache
def counted(samples: int = 4096, length: int = 12, words: int = 24) -> tuple[Tensor, Tensor]:
    """Return random texts, and how many of their first five letters they hold, up to 4, as a class."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, words, (samples, length), generator=generator)
    return x, (x < 5).sum(1).clamp(max=4)


@cache
def first_letter(samples: int = 2048, length: int = 10, letters: int = 6) -> tuple[Tensor, Tensor]:
    """Return one-hot texts [n, length, letters] whose class is the letter they begin with."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(0, letters, (samples, length), generator=generator)
    return torch.nn.functional.one_hot(x, letters).float(), x[:, 0]


@cache
def chain(samples: int = 2048, length: int = 16, words: int = 24) -> Tensor:
    """Return texts of a Markov chain, [n, length + 1]."""
    generator = torch.Generator().manual_seed(3)
    table = torch.softmax(3 * torch.randn(words, words, generator=generator), 1)
    text = [torch.randint(0, words, (samples,), generator=generator)]
    for _ in range(length):
        text.append(torch.multinomial(table[text[-1]], 1, generator=generator)[:, 0])
    return torch.stack(text, 1)


@cache
def waves(samples: int = 2048, length: int = 24) -> tuple[Tensor, Tensor]:
    """Return sines [n, length, 1] of random frequency and phase, and their next value [n, 1]."""
    generator = torch.Generator().manual_seed(4)
    frequency, phase = (
        0.2 + 0.8 * torch.rand(samples, 1, generator=generator),
        6 * torch.rand(samples, 1, generator=generator),
    )
    time = torch.arange(length + 1.0)
    curve = torch.sin(frequency * time + phase)
    return curve[:, :-1, None], curve[:, -1:]


@cache
def blobs(samples: int = 2048) -> tuple[Tensor, Tensor]:
    """Return pictures [n, 1, 16, 16] with a bright disc in noise, and where the disc is, [n, 1, 16, 16] of 0 and 1."""
    generator = torch.Generator().manual_seed(5)
    place = 3 + 10 * torch.rand(samples, 2, 1, 1, generator=generator)
    radius = 1.5 + 2 * torch.rand(samples, 1, 1, generator=generator)
    line = torch.arange(16.0)
    distance = (line[:, None] - place[:, 0]).square() + (line[None, :] - place[:, 1]).square()
    mask = (distance < radius.square()).float()[:, None]
    return mask + 0.5 * torch.randn(mask.shape, generator=generator), mask


@cache
def graphs(samples: int = 512, nodes: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Return node features [n, nodes, 8], adjacency with self-loops [n, nodes, nodes], and a class per graph.

    The class is whether the mean over edges of the product of two features is above its median.
    """
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(samples, nodes, 8, generator=generator)
    half = (torch.rand(samples, nodes, nodes, generator=generator) < 0.5).float().triu(1)
    edges = half + half.mT + torch.eye(nodes)
    value = (edges @ x[..., :1] / edges.sum(-1, keepdim=True)).square().mean((1, 2)) + 0.3 * x[..., 1].mean(1)
    return x, edges, (value > value.median()).long()
