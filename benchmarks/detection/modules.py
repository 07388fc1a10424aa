"""LightningModules with a schedule, with several optimizers, and with an adversary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.detection.lightning import Learner

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from benchmarks.detection.lightning import Loss, MakeOptimizer

    MakeSchedule = Callable[[Optimizer], LRScheduler]

RATE = 2e-3
"""Adam's learning rate for both sides of an adversarial training: ten times that of Radford et al. 2016, for networks a
thousandth as large."""


class Scheduled(Learner):
    """Trains with a learning rate that changes after every step.

    Args:
        net, loss, optimizer: as in ``Learner``.
        schedule: takes the optimizer.
    """

    def __init__(self, net: nn.Module, loss: Loss, optimizer: MakeOptimizer, schedule: MakeSchedule) -> None:
        super().__init__(net, loss, optimizer)
        self._schedule = schedule

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        """Return the optimizer with its schedule."""
        optimizer = self._optimizer(self.parameters())
        return [optimizer], [{"scheduler": self._schedule(optimizer), "interval": "step"}]


class Alternating(pl.LightningModule):
    """Trains ``net`` by hand, with several optimizers that all step at every batch.

    Args:
        net: what is trained.
        loss: takes the output of ``net`` and the target.
        optimizers: all of them.
    """

    def __init__(self, net: nn.Module, loss: Loss, optimizers: tuple[Optimizer, ...]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = net
        self.losses: list[float] = []
        self._loss = loss
        self._optimizers = optimizers

    def training_step(self, batch: tuple[Any, Any], batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Take one backward, and a step of every optimizer."""
        inputs, targets = batch
        loss = self._loss(self.net(inputs), targets)
        self.losses.append(float(loss.detach()))
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        """Return the optimizers."""
        return list(self._optimizers)


class Adversarial(pl.LightningModule):
    """A generator against a discriminator, by hand, with an optimizer each.

    Args:
        generator: noise [n, ``latent``] to samples.
        discriminator: samples to logits [n, 1]; to probabilities if ``probabilities``.
        latent: how many numbers a sample is made from.
        detached: the samples are cut off from the generator where it is trained, by mistake.
        probabilities: the discriminator ends in a sigmoid, and the generator minimises log(1 − D), which Goodfellow et
            al. 2014 call saturating.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        latent: int,
        detached: bool = False,
        probabilities: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.losses: list[float] = []
        self._latent = latent
        self._detached = detached
        self._probabilities = probabilities

    def training_step(self, batch: tuple[Any, Any], batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Train the discriminator, then the generator; note the sum of their losses."""
        optimizers: Any = self.optimizers()
        judging, generating = optimizers
        real = batch[0]

        fake = self.generator(torch.randn(len(real), self._latent)).detach()
        loss = self._error(real, real=True) + self._error(fake, real=False)
        judging.zero_grad()
        self.manual_backward(loss)
        judging.step()

        fake = self.generator(torch.randn(len(real), self._latent))
        if self._detached:
            fake = fake.detach()
        fooling = -self._error(fake, real=False) if self._probabilities else self._error(fake, real=True)
        generating.zero_grad()
        self.manual_backward(fooling)
        generating.step()
        self.losses.append(float((loss + fooling).detach()))

    def _error(self, samples: Tensor, *, real: bool) -> Tensor:
        """Return the discriminator's cross entropy on samples that are real, or are not."""
        verdict = self.discriminator(samples)
        target = torch.full_like(verdict, float(real))
        if self._probabilities:
            return F.binary_cross_entropy(verdict, target)
        return F.binary_cross_entropy_with_logits(verdict, target)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        """Return an Adam for each side, the discriminator's first."""
        return [
            torch.optim.Adam(part.parameters(), lr=RATE, betas=(0.5, 0.999))
            for part in (self.discriminator, self.generator)
        ]
