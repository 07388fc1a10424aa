"""Losses that stay level, play against each other or are near 0 by design."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program
from benchmarks.field.programs.base import Learner, Supervised, adam, adamw, mlp, sgd
from benchmarks.field.programs.material import batches, function, rows, unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable


class Wasserstein(pl.LightningModule):
    """A critic with a penalty of its gradient, twice as often as the generator, which draws points of a ring."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = mlp((4, 48, 48, 2))
        self.critic = mlp((2, 48, 48, 1), lambda: nn.LeakyReLU(0.2))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        (real,) = batch
        optimizers: Any = self.optimizers()
        of_generator, of_critic = optimizers
        drawn = self.generator(torch.randn(len(real), 4))
        share = torch.rand(len(real), 1)
        between = (share * real + (1 - share) * drawn.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        loss = self.critic(drawn.detach()).mean() - self.critic(real).mean()
        loss = loss + 5 * (slope.norm(dim=1) - 1).square().mean()
        of_critic.zero_grad()
        self.manual_backward(loss)
        of_critic.step()
        if batch_idx % 2:
            of_generator.zero_grad()
            self.manual_backward(-self.critic(drawn).mean())
            of_generator.step()
        shown: Tensor = loss.detach()
        return shown

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        make = adam(1e-3, betas=(0.0, 0.9))
        return [make(self.generator.parameters()), make(self.critic.parameters())], []


def _ring() -> Tensor:
    generator = torch.Generator().manual_seed(50)
    angle = 6.2832 * torch.rand(4096, 1, generator=generator)
    return torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(4096, 2, generator=generator)


class Game(pl.LightningModule):
    """A generator and a discriminator by Adam(0.5, 0.999); both losses stay about level."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(
            nn.Linear(16, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid()
        )
        self.judge = nn.Sequential(nn.Linear(64, 96), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(96, 1))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        (real,) = batch
        optimizers: Any = self.optimizers()
        of_generator, of_judge = optimizers
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        drawn = self.generator(torch.randn(len(real), 16))
        judged = F.binary_cross_entropy_with_logits(self.judge(real), 0.9 * ones)
        judged = judged + F.binary_cross_entropy_with_logits(self.judge(drawn.detach()), zeros)
        of_judge.zero_grad()
        self.manual_backward(judged)
        of_judge.step()
        fooled = F.binary_cross_entropy_with_logits(self.judge(drawn), ones)
        of_generator.zero_grad()
        self.manual_backward(fooled)
        of_generator.step()
        return judged.detach()

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        make = adam(4e-4, betas=(0.5, 0.999))
        return [make(self.generator.parameters()), make(self.judge.parameters())], []


class Contrast(Learner):
    """Two views of each picture among all of the batch; the loss starts near ln(2n) and falls little."""

    def __init__(self) -> None:
        super().__init__(adam(1e-3))
        self.encoder, self.head = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64)), mlp((64, 64, 16))

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        views = torch.cat([x + 0.7 * torch.randn_like(x), x * (torch.rand_like(x) > 0.5)])
        h = F.normalize(self.head(self.encoder(views)), dim=1)
        logits = (h @ h.T / 0.5).fill_diagonal_(-torch.inf)
        return F.cross_entropy(logits, torch.arange(len(views)).roll(len(x)))


class Bootstrap(Learner):
    """Predicts the representation that a moving average of itself gives to another view."""

    def __init__(self) -> None:
        super().__init__(sgd(0.05, momentum=0.9))
        self.online = nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 32))
        self.target = copy.deepcopy(self.online).requires_grad_(requires_grad=False)
        self.predictor = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        a, b = (x + 0.5 * torch.randn_like(x) for _ in range(2))
        with torch.no_grad():
            theirs = self.target(b)
        return 1 - F.cosine_similarity(self.predictor(self.online(a)), theirs).mean()

    def on_train_batch_end(self, *_: object) -> None:
        with torch.no_grad():
            for mine, theirs in zip(self.target.parameters(), self.online.parameters(), strict=True):
                mine.lerp_(theirs, 0.02)


class Diffusion(Learner):
    """Says which noise was added to a digit, at any of 50 strengths; the loss starts at 1 and falls slowly."""

    def __init__(self) -> None:
        super().__init__(adamw(1e-3))
        self.when, self.net = (
            nn.Embedding(50, 32),
            nn.Sequential(nn.Linear(96, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 64)),
        )

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        step = torch.randint(0, 50, (len(x),))
        kept = (torch.cos(1.57 * (step + 1) / 51) ** 2)[:, None]
        noise = torch.randn_like(x)
        return F.mse_loss(self.net(torch.cat([kept.sqrt() * x + (1 - kept).sqrt() * noise, self.when(step)], 1)), noise)


class Flow(Learner):
    """Four affine couplings that start as the identity, by likelihood."""

    def __init__(self) -> None:
        super().__init__(adam(2e-3))
        self.nets = nn.ModuleList([mlp((1, 32, 32, 2), nn.Tanh) for _ in range(4)])
        for net in self.nets:
            last = net[-1]  # type: ignore[index]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        volume = torch.zeros(len(x))
        for net in self.nets:
            a, b = x.chunk(2, 1)
            scale, shift = net(a).chunk(2, 1)
            x = torch.cat([b * torch.tanh(scale).exp() + shift, a], 1)
            volume = volume + torch.tanh(scale)[:, 0]
        return (0.5 * x.square().sum(1) - volume).mean()


class Entropic(Learner):
    """Policy gradients with a small bonus for entropy and a value network beside the policy."""

    def __init__(self) -> None:
        super().__init__(adam(3e-3))
        self.policy, self.value = mlp((64, 64, 10), nn.Tanh), mlp((64, 32, 1), nn.Tanh)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        chances = torch.distributions.Categorical(logits=self.policy(x))
        action = chances.sample()
        reward = (action == y).float()
        value = self.value(x)[:, 0]
        gain = -((reward - value.detach()) * chances.log_prob(action)).mean()
        total: Tensor = gain + 0.5 * F.mse_loss(value, reward) - 0.01 * chances.entropy().mean()
        return total


class Ranked(Learner):
    """Pairs ranked by a hinge: where the order is right already, the gradient is 0."""

    def __init__(self) -> None:
        super().__init__(sgd(0.05, momentum=0.9))
        self.net = mlp((8, 48, 48, 1), nn.ReLU)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        out = self.net(x)
        half = len(x) // 2
        first = torch.sign(y[:half] - y[half : 2 * half])
        return F.margin_ranking_loss(out[:half], out[half : 2 * half], first, margin=0.2)


def _sparse_autoencoder() -> Program:
    class Sparse(Supervised):
        def loss(self, batch: list[Tensor]) -> Tensor:
            (x,) = batch
            code = F.relu(self.net[0](x))  # type: ignore[index]
            return self._criterion(self.net[1](code), x) + 1e-3 * code.abs().sum(1).mean()  # type: ignore[index]

    return Program(
        Sparse(nn.Sequential(nn.Linear(64, 160), nn.Linear(160, 64)), F.mse_loss, adam(2e-3)),
        batches(unit_rows(), batch=64),
    )


def _case(name: str, about: str, make: Callable[[], Program], steps: int = 150) -> Case:
    return Case(name, about, make, steps=steps)


CASES = (
    _case(
        "wasserstein",
        "A critic with a gradient penalty.",
        lambda: Program(Wasserstein(), batches(_ring(), batch=128)),
        240,
    ),
    _case(
        "adversarial_game",
        "A GAN whose losses stay level.",
        lambda: Program(Game(), batches(unit_rows(), batch=64)),
        240,
    ),
    _case(
        "contrast",
        "A contrastive loss that stays near its start.",
        lambda: Program(Contrast(), batches(rows()[0], batch=64)),
    ),
    _case(
        "bootstrap",
        "A network learns from its own moving average.",
        lambda: Program(Bootstrap(), batches(rows()[0], batch=128)),
    ),
    _case("diffusion", "Which noise was added.", lambda: Program(Diffusion(), batches(rows()[0], batch=64))),
    _case("flow", "Couplings that start as the identity.", lambda: Program(Flow(), batches(_ring(), batch=256))),
    _case(
        "entropy_bonus",
        "Policy gradients with a value network.",
        lambda: Program(Entropic(), batches(*rows(), batch=64)),
    ),
    _case(
        "ranking", "A hinge, flat where the order is right.", lambda: Program(Ranked(), batches(*function(), batch=64))
    ),
    _case("sparse_autoencoder", "An autoencoder with a penalty of its code.", _sparse_autoencoder),
)
