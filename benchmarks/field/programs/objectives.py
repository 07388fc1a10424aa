"""One part of the objective outweighs the rest, or is met by a network that says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, adam, mlp, sgd
from benchmarks.field.programs.material import batches, grey_pictures, rows, unit_rows
from benchmarks.field.programs.reported_programs import missed_of_pictures
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

SAYS_NOTHING = "IM102 IM202 IM602 IM603 IM702"
"""How a part that an objective has silenced looks."""


class ConvVae(Learner):
    """A convolutional variational autoencoder with a weight on the divergence."""

    def __init__(self, beta: float) -> None:
        super().__init__(adam(2e-3))
        self.beta = beta
        self.encoder = nn.Sequential(
            *[nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.LeakyReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1)],
            *[nn.LeakyReLU(), nn.Flatten(), nn.Linear(128, 12)],
        )
        self.decoder = nn.Sequential(
            *[nn.Linear(6, 128), nn.LeakyReLU(), nn.Unflatten(1, (32, 2, 2)), nn.ConvTranspose2d(32, 16, 4, 2, 1)],
            *[nn.LeakyReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1)],
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(self.encoder(x)[:, :6]))

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        m, v = self.encoder(x).chunk(2, 1)
        logits = self.decoder(m + (v / 2).exp() * torch.randn_like(m))
        likely = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        kl: Tensor = -0.5 * (1 + v - m.square() - v.exp()).sum(1).mean()
        return likely + self.beta * kl


class TwoTasks(Learner):
    """A trunk for the class of a digit and for its amount of ink, which is in thousands or standardised."""

    def __init__(self) -> None:
        super().__init__(sgd(0.02, momentum=0.9))
        self.trunk = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())
        self.kind, self.ink = nn.Linear(64, 10), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.kind(self.trunk(x))
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y, ink = batch
        h = self.trunk(x)
        return F.cross_entropy(self.kind(h), y) + F.mse_loss(self.ink(h), ink)


def _ink(*, raw: bool) -> Program:
    x, y = rows()
    ink = 10 * grey_pictures()[0].sum((1, 2, 3))[:, None]
    if not raw:
        ink = (ink - ink.mean()) / ink.std()
    return Program(TwoTasks(), batches(x, y, ink, batch=64))


def _wrong_of_kind(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    x, y, _ = loader.dataset.tensors  # type: ignore[attr-defined]
    return float((module(x).argmax(1) != y).float().mean())


class Penalised(Supervised):
    """Adds the sum of all squared weights to the loss."""

    def __init__(self, coefficient: float) -> None:
        super().__init__(mlp((64, 64, 64, 10), nn.GELU), F.cross_entropy, adam(2e-3))
        self.coefficient = coefficient

    def loss(self, batch: list[Tensor]) -> Tensor:
        squares = torch.stack([parameter.square().sum() for parameter in self.parameters()])
        return super().loss(batch) + self.coefficient * squares.sum()


def _entropy(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    return float(F.cross_entropy(module(x), y))


class Adversarial(pl.LightningModule):
    """Draws digits against a critic.

    Args:
        saturating: let the generator minimise log(1 - D), which is flat where the critic is sure, and train the critic
            twenty times as fast.
    """

    def __init__(self, *, saturating: bool) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.saturating = saturating
        self.generator = nn.Sequential(nn.Linear(16, 96), nn.ReLU(), nn.Linear(96, 64), nn.Tanh())
        self.critic = nn.Sequential(
            nn.Linear(64, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1)
        )

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        (real,) = batch
        optimizers: Any = self.optimizers()
        of_generator, of_critic = optimizers
        ones = torch.ones(len(real), 1)
        drawn = self.generator(torch.randn(len(real), 16))
        judged = F.binary_cross_entropy_with_logits(self.critic(real), ones)
        judged = judged + F.binary_cross_entropy_with_logits(self.critic(drawn.detach()), 0 * ones)
        of_critic.zero_grad()
        self.manual_backward(judged)
        of_critic.step()
        out = self.critic(drawn)
        if self.saturating:
            fooled = torch.log(1 - torch.sigmoid(out) + 1e-12).mean()
        else:
            fooled = F.binary_cross_entropy_with_logits(out, ones)
        of_generator.zero_grad()
        self.manual_backward(fooled)
        of_generator.step()
        return judged.detach()

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        if self.saturating:
            return [sgd(0.01)(self.generator.parameters()), adam(5e-3)(self.critic.parameters())], []
        return [
            adam(1e-3, betas=(0.5, 0.9))(self.generator.parameters()),
            adam(1e-3, betas=(0.5, 0.9))(self.critic.parameters()),
        ], []


def _far_from_digits(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    """Return the squared distance of the mean drawing to the mean digit, as a share of that digit's square."""
    (x,) = loader.dataset.tensors  # type: ignore[attr-defined]
    drawn = module.generator(torch.randn(1024, 16, generator=torch.Generator().manual_seed(0)))  # type: ignore[operator]
    return float((drawn.mean(0) - x.mean(0)).square().sum() / x.mean(0).square().sum())


class Distilled(Learner):
    """A student that is to answer like a teacher, both at a temperature.

    Args:
        temperature: of both softmaxes; the gradient of the divergence falls with its square.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__(sgd(0.2, momentum=0.9))
        self.temperature = temperature
        self.student = mlp((64, 48, 10))

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, taught = batch
        t = self.temperature
        return F.kl_div((self.student(x) / t).log_softmax(1), (taught / t).softmax(1), reduction="batchmean")


def _taught() -> tuple[Tensor, Tensor]:
    x, y = rows()
    return x, 8 * F.one_hot(y, 10).float() - 0.8


def _not_as_taught(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    x, taught = loader.dataset.tensors  # type: ignore[attr-defined]
    return float((module.student(x).argmax(1) != taught.argmax(1)).float().mean())  # type: ignore[operator]


class Bandit(Learner):
    """Chooses one of ten answers and learns by reward alone.

    Args:
        reward: for a right answer; nothing for a wrong one. A running mean is taken off.
    """

    def __init__(self, reward: float) -> None:
        super().__init__(sgd(0.1, momentum=0.9))
        self.reward, self.mean = reward, 0.0
        self.policy = mlp((64, 64, 64, 10), nn.Tanh)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.policy(x)
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        chances = self.policy(x).log_softmax(1)
        action = torch.multinomial(chances.detach().exp(), 1)
        reward = self.reward * (action[:, 0] == y).float()
        self.mean = 0.9 * self.mean + 0.1 * float(reward.mean())
        loss: Tensor = -((reward - self.mean) * chances.gather(1, action)[:, 0]).mean()
        return loss


def _wrong_class(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    return float((module(x).argmax(1) != y).float().mean())


CASES = (
    Case(
        "kl_weight",
        "A convolutional VAE with beta=50: every picture gets the code of the prior.",
        lambda: Program(ConvVae(50.0), batches(unit_rows().view(-1, 1, 8, 8), batch=64)),
        lambda: Program(ConvVae(0.5), batches(unit_rows().view(-1, 1, 8, 8), batch=64)),
        answer("IM102 IM202 IM602 IM603 IM702 IM801", Remedy.LOSS_TERM, by=150, beside=SAYS_NOTHING),
        steps=250,
        score=missed_of_pictures,
        measured=(1.03, 0.452),
    ),
    Case(
        "second_task_in_thousands",
        "A second task with a target in the thousands shares the trunk and outweighs the first.",
        lambda: _ink(raw=True),
        lambda: _ink(raw=False),
        answer(
            "IM603 IM601 IM201 IM101 IM802 IM703 IM301",
            *[Remedy.LOSS_TERM, Remedy.TARGET],
            by=60,
            beside="IM101 IM201 IM301 IM601 IM603 IM703",
        ),
        steps=150,
        score=_wrong_of_kind,
        measured=(0.901, 0.0284),
    ),
    Case(
        "penalty_of_the_weights",
        "The sum of all squared weights is added to the loss with a coefficient of 1: the weights go to 0.",
        lambda: Program(Penalised(1.0), batches(*rows(), batch=64)),
        lambda: Program(Penalised(1e-5), batches(*rows(), batch=64)),
        answer(
            "IM102 IM202 IM702 IM603 IM801 IM502",
            *[Remedy.LOSS_TERM, Remedy.WEIGHT_DECAY],
            by=150,
            beside=SAYS_NOTHING + " IM502",
        ),
        steps=200,
        score=_entropy,
        measured=(2.3, 0.0636),
    ),
    Case(
        "sure_critic",
        "A generator minimises log(1 - D) against a critic that learns much faster: its gradient is gone.",
        lambda: Program(Adversarial(saturating=True), batches(2 * unit_rows() - 1, batch=64)),
        lambda: Program(Adversarial(saturating=False), batches(2 * unit_rows() - 1, batch=64)),
        answer(
            "IM202 IM303 IM603 IM604 IM602",
            *[Remedy.LOSS_TERM, Remedy.LEARNING_RATE],
            by=400,
            beside="IM202 IM603",
        ),
        steps=400,
        score=_far_from_digits,
        measured=(0.951, 0.155),
    ),
    Case(
        "temperature_without_its_square",
        "Distillation at a temperature of 200 without the factor T²: gradients are a forty-thousandth.",
        lambda: Program(Distilled(200.0), batches(*_taught(), batch=64)),
        lambda: Program(Distilled(2.0), batches(*_taught(), batch=64)),
        answer("IM603 IM604 IM202", *[Remedy.LOSS_SCALE, Remedy.FASTER, Remedy.OUTPUT_SCALE], by=100, beside="IM202"),
        steps=150,
        score=_not_as_taught,
        measured=(0.884, 0.015),
    ),
    Case(
        "rewards_of_ten_thousand",
        "Policy gradients with rewards of 10,000: one step, and the policy always answers the same.",
        lambda: Program(Bandit(1e4), batches(*rows(), batch=64)),
        lambda: Program(Bandit(1.0), batches(*rows(), batch=64)),
        answer(
            "IM603 IM303 IM201 IM101 IM703 IM802",
            *[Remedy.TARGET, Remedy.SLOWER, Remedy.LOSS_SCALE],
            by=60,
            beside="IM101 IM102 IM201 IM202 IM303 IM603 IM702 IM703",
        ),
        steps=250,
        score=_wrong_class,
        measured=(0.899, 0.0434),
    ),
)
