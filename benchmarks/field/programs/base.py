"""What most programs are made of: a LightningModule with one optimizer, small networks, and how wrong they are."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    MakeSchedule = Callable[[torch.optim.Optimizer], Any]
    Criterion = Callable[[Tensor, Tensor], Tensor]


def adam(rate: float = 1e-3, **more: Any) -> MakeOptimizer:  # noqa: ANN401 - Adam's own options
    """Return what makes Adam."""
    return lambda parameters: torch.optim.Adam(parameters, lr=rate, **more)


def adamw(rate: float = 1e-3, **more: Any) -> MakeOptimizer:  # noqa: ANN401 - AdamW's own options
    """Return what makes AdamW."""
    return lambda parameters: torch.optim.AdamW(parameters, lr=rate, **more)


def sgd(rate: float = 0.1, **more: Any) -> MakeOptimizer:  # noqa: ANN401 - SGD's own options
    """Return what makes SGD."""
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, **more)


class Learner(pl.LightningModule):
    """Trains by :meth:`loss`, which each program writes.

    Args:
        optimizer: makes the optimizer of all parameters.
        schedule: makes its schedule; ``None`` for a rate that stays.
        interval: when the schedule moves, "step" or "epoch".
    """

    def __init__(
        self, optimizer: MakeOptimizer, schedule: MakeSchedule | None = None, *, interval: str = "step"
    ) -> None:
        super().__init__()
        self._optimizer, self._schedule, self._interval = optimizer, schedule, interval

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Return the loss of a batch."""
        raise NotImplementedError

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the loss of a batch."""
        return self.loss(batch)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        """Return the optimizer, with its schedule if there is one."""
        optimizer = self._optimizer(self.parameters())
        if self._schedule is None:
            return optimizer
        schedule = {"scheduler": self._schedule(optimizer), "interval": self._interval}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class Supervised(Learner):
    """A network and what its output is compared by.

    Args:
        net: takes the input.
        criterion: takes output and target.
        optimizer, schedule, interval: see :class:`Learner`.
    """

    def __init__(
        self,
        net: nn.Module,
        criterion: Criterion,
        optimizer: MakeOptimizer,
        schedule: MakeSchedule | None = None,
        *,
        interval: str = "step",
    ) -> None:
        super().__init__(optimizer, schedule, interval=interval)
        self.net = net
        self._criterion = criterion

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the network."""
        out: Tensor = self.net(x)
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Return the loss of (input, target)."""
        x, y = batch
        return self._criterion(self(x), y)


def mlp(widths: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return linear layers with an activation between each two."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])


def small_cnn(channels: int = 16, outputs: int = 10, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return two convolutions and a linear layer for pictures of [1, 8, 8]."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * channels, outputs),
    )


class Encoder(nn.Module):
    """Tokens to one vector per text: embedding, learned places, pre-norm or post-norm layers, mean over time."""

    def __init__(self, words: int, length: int, width: int = 32, depth: int = 2, *, norm_first: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=norm_first)
        self.layers = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [n, width]."""
        out: Tensor = self.layers(self.embedding(tokens) + self.place)
        return out.mean(1)


class TextClassifier(nn.Module):
    """An :class:`Encoder` with a linear head."""

    def __init__(self, words: int, length: int, classes: int, *, norm_first: bool = True, depth: int = 2) -> None:
        super().__init__()
        self.encoder = Encoder(words, length, depth=depth, norm_first=norm_first)
        self.head = nn.Linear(32, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits."""
        out: Tensor = self.head(self.encoder(tokens))
        return out


def whole(loader: Iterable[Any]) -> tuple[Tensor, ...]:
    """Return all that a loader loads from, in order."""
    tensors: tuple[Tensor, ...] = loader.dataset.tensors  # type: ignore[attr-defined]
    return tensors


def share_wrong(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    """Return the share of samples that a classifier takes for another class."""
    x, y = whole(loader)
    return float((module(x).argmax(1) != y).float().mean())


def share_missed(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    """Return the share of the target's variance that a regression misses: 1 is no better than the mean."""
    x, y = whole(loader)
    return float(F.mse_loss(module(x).float().view_as(y), y.float()) / y.float().var())
