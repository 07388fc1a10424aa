"""The LightningModule most cases train: any network, any loss, any optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Loss = Callable[[Any, Any], Tensor]
    MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class Learner(pl.LightningModule):
    """Trains ``net`` on batches of (input, target) and keeps the loss of each batch in ``losses``.

    Args:
        net: what is trained; its parts are named ``net.…``.
        loss: takes the output of ``net`` and the target.
        optimizer: takes the parameters.
    """

    def __init__(self, net: nn.Module, loss: Loss, optimizer: MakeOptimizer) -> None:
        super().__init__()
        self.net = net
        self.losses: list[float] = []
        self._loss = loss
        self._optimizer = optimizer

    def forward(self, batch: Any) -> Any:  # noqa: ANN401 - whatever the network takes and returns
        """Return the output of the network."""
        return self.net(batch)

    def training_step(self, batch: tuple[Any, Any], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the loss of a batch, and note it."""
        inputs, targets = batch
        loss = self._loss(self(inputs), targets)
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer over all parameters."""
        return self._optimizer(self.parameters())


def sgd(rate: float, momentum: float = 0.9, weight_decay: float = 0.0) -> MakeOptimizer:
    """Return what makes an SGD optimizer."""
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=weight_decay)


def adam(rate: float = 1e-3, **more: Any) -> MakeOptimizer:  # noqa: ANN401 - Adam's own options
    """Return what makes an Adam optimizer."""
    return lambda parameters: torch.optim.Adam(parameters, lr=rate, **more)


def sgd_with_one_huge_step(rate: float, factor: float) -> MakeOptimizer:
    """Return what makes an SGD optimizer whose first step is ``factor`` times too long, without momentum."""

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return _OneHugeStep(parameters, rate, factor)

    return make


class _OneHugeStep(torch.optim.SGD):
    """SGD that takes a first step many times as long as the others."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, factor: float) -> None:
        super().__init__(parameters, lr=rate * factor)
        self._rate = rate

    def step(self, closure: Any = None) -> Any:  # noqa: ANN401 - as in the base class
        """Take a step, and all later ones at the usual rate."""
        done = super().step(closure)
        for group in self.param_groups:
            group["lr"] = self._rate
        return done
