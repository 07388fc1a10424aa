"""The table holds what modules of the network made, and residual additions that somebody built: nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from watched import watch_fit, watch_net, weights

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, BATCH = 16, 32


class Sampler(nn.Module):
    """The reparameterisation written out: inside the forward of a module, where a residual could be as well."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.body(x))
        mean = self.mean(x)
        head: Tensor = self.head(mean + torch.exp(0.5 * self.spread(x)) * torch.randn_like(mean))
        return head


class Added(nn.Module):
    """The same layers in a block that somebody did build as a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.branch, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.body(x))
        head: Tensor = self.head(x + torch.exp(0.5 * self.branch(x)) * torch.randn_like(x))
        return head


def test_a_sample_around_a_mean_is_no_residual() -> None:
    torch.manual_seed(0)
    watch = watch_net(Sampler(), torch.randn(BATCH, WIDTH))
    assert watch.structure.residuals == ()
    assert weights(watch.structure) == ["body", "mean", "spread", "head"]


def test_a_block_that_adds_noise_of_a_learned_size_to_its_input_is_one() -> None:
    torch.manual_seed(0)
    watch = watch_net(Added(), torch.randn(BATCH, WIDTH))
    assert [one.kind for one in watch.structure.residuals] == ["identity"]


class Widening(nn.Module):
    """Gives more units than it takes: its skip is interpolated, gated unit by unit, and normalised."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(into, out), nn.Linear(out, 2 * out), out
        self.mask, self.gate = nn.Parameter(torch.zeros(out)), nn.Sigmoid()
        self.of_skip, self.of_sum = nn.LayerNorm(out), nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        skip = nn.functional.interpolate(x[:, None], self.out, mode="linear", align_corners=True)[:, 0]
        skip = self.of_skip(skip * self.gate(self.mask) * 2.0)
        branch = nn.functional.glu(self.second(nn.functional.elu(self.first(x))))
        y: Tensor = self.of_sum(branch + skip)
        return y


def test_a_skip_that_is_interpolated_to_the_width_of_its_branch_is_a_residual() -> None:
    torch.manual_seed(0)
    watch = watch_net(nn.Sequential(Widening(8, WIDTH), Widening(WIDTH, 24), nn.Linear(24, 1)), torch.randn(BATCH, 8))
    assert [(one.name, one.kind) for one in watch.structure.residuals] == [("0#1", "projection"), ("1#1", "projection")]


class Attending(nn.Module):
    """Attention written out, which keeps its weights for whoever asks what mattered."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv, self.out, self.weights = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.to_qkv(x).chunk(3, -1)
        self.weights = (q @ k.mT / WIDTH**0.5).softmax(-1)
        y: Tensor = self.out(self.weights @ v)
        return x + y


class Explained(nn.Module):
    """Three blocks; the attention weights of all of them are added up on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList(Attending() for _ in range(3)), nn.Linear(WIDTH, 1)
        self.importance = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        importance = torch.zeros(len(x), x.shape[1])
        for block in self.blocks:
            x = block(x)
        for block in self.blocks:
            importance += cast("Attending", block).weights.sum(1)
        self.importance = importance.detach()
        head: Tensor = self.head(x)
        return head


def test_attention_weights_that_are_added_up_over_the_blocks_are_no_residual() -> None:
    torch.manual_seed(0)
    watch = watch_net(Explained(), torch.randn(4, 6, WIDTH))
    assert [one.owner for one in watch.structure.residuals] == ["blocks.0", "blocks.1", "blocks.2"]


class Similarities(nn.Module):
    """A part of a loss that is a module."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return nn.functional.normalize(a) @ nn.functional.normalize(b).T


class Reducer(nn.Module):
    """Another: it gives one number per sample, and the mean of them."""

    def forward(self, each: Tensor) -> tuple[Tensor, Tensor]:
        return each, each.mean()


class Contrastive(nn.Module):
    """A loss of its own: no subclass of torch's, it holds modules and applies activations."""

    def __init__(self) -> None:
        super().__init__()
        self.similarities, self.reducer = Similarities(), Reducer()

    def forward(self, embedded: Tensor, kind: Tensor) -> Tensor:
        alike = self.similarities(embedded, embedded)
        same = kind[:, None] == kind
        pulled = nn.functional.softplus(torch.where(same, -10 * (alike - 0.5), -torch.inf).logsumexp(1))
        pushed = nn.functional.relu(torch.where(same, -torch.inf, 10 * (alike - 0.5)).logsumexp(1))
        loss: Tensor = self.reducer(pulled + pushed)[1]
        return loss


class Embedded(pl.LightningModule):
    """A network whose loss is a module of the same LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 4))
        self.loss = Contrastive()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss: Tensor = self.loss(self.net(batch[0]), batch[1])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def test_a_loss_of_somebodys_own_has_no_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(BATCH, WIDTH), torch.arange(BATCH) % 4) for _ in range(4)]
    monitor = watch_fit(Embedded(), batches, tmp_path)
    assert monitor.structure.names == ("net.0", "net.1", "net.2")
    assert monitor.structure.residuals == ()
