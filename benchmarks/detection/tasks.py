"""What the plain and convolutional networks learn: scikit-learn's digits, and the outputs of a random teacher."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCH = 64
EXAMPLES = 2048
"""Of a teacher: as many as the digits, roughly."""


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Return the 1,797 digits: [1797, 64] in 0 to 16, as they come, and their classes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, and not every case needs it

    found = load_digits()
    return torch.tensor(found.data, dtype=torch.float32), torch.tensor(found.target, dtype=torch.long)


def standardised() -> tuple[Tensor, Tensor]:
    """Return the digits with mean 0 and standard deviation 1 over all pixels."""
    pixels, classes = digits()
    return (pixels - pixels.mean()) / pixels.std(), classes


def images() -> tuple[Tensor, Tensor]:
    """Return the standardised digits as [1797, 1, 8, 8]."""
    pixels, classes = standardised()
    return pixels.view(-1, 1, 8, 8), classes


def teacher(seed: int, inputs: int = 32, outputs: int = 4, examples: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """Return standard Gaussian inputs and what a random two-layer tanh network makes of them, standardised."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, inputs, generator=generator)
    first = torch.randn(inputs, 64, generator=generator) / inputs**0.5
    second = torch.randn(64, outputs, generator=generator) / 8.0
    y = torch.tanh(1.5 * x @ first) @ second
    return x, (y - y.mean(dim=0)) / y.std(dim=0)


def batches(inputs: Tensor, targets: Tensor, *, seed: int, batch: int = BATCH) -> DataLoader[Any]:
    """Return a loader that shuffles by its own seed and drops the incomplete batch."""
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(
        TensorDataset(inputs, targets), batch_size=batch, shuffle=True, drop_last=True, generator=generator
    )


cross_entropy = nn.functional.cross_entropy
squared_error = nn.functional.mse_loss
