"""Nothing is wrong: a model of sound like EnCodec in small: weight-normed convolutions, snake activations, a residual codebook that is kept by moving averages and starts from the data, straight-through gradients."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None


def sounds():
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(64.0)
    pitch = 0.1 + 0.6 * torch.rand(4096, 1, 1, generator=generator)
    phase = 6.28 * torch.rand(4096, 1, 1, generator=generator)
    loud = 0.2 + torch.rand(4096, 1, 1, generator=generator)
    return DataLoader(TensorDataset(loud * torch.sin(pitch * time + phase)), batch_size=64, shuffle=True)


class Snake(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width, 1))

    def forward(self, x):
        return x + torch.sin(self.alpha * x).square() / (self.alpha + 1e-9)


class Codebook(nn.Module):
    def __init__(self, size, width):
        super().__init__()
        self.register_buffer("codes", torch.zeros(size, width))
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x):
        flat = x.detach().mT.reshape(-1, x.shape[1])
        if self.training and not self.started:
            self.codes.copy_(flat[torch.randperm(len(flat))[: len(self.codes)]])
            self.started.fill_(True)
        nearest = torch.cdist(flat, self.codes).argmin(1)
        chosen = self.codes[nearest].view(x.shape[0], x.shape[2], -1).mT
        if self.training:
            taken = F.one_hot(nearest, len(self.codes)).float()
            self.counts.lerp_(taken.sum(0), 0.05)
            means = taken.T @ flat / taken.sum(0)[:, None].clamp(min=1)
            used = taken.sum(0) > 0
            self.codes[used] = self.codes[used].lerp(means[used], 0.05)
            idle = self.counts < 0.5
            self.codes[idle] = flat[torch.randint(len(flat), (int(idle.sum()),))]
        return chosen


class Codec(pl.LightningModule):
    def __init__(self, width=24):
        super().__init__()
        self.encoder = nn.Sequential(
            weight_norm(nn.Conv1d(1, width, 7, padding=3)), Snake(width),
            weight_norm(nn.Conv1d(width, width, 4, 2, 1)), Snake(width),
            weight_norm(nn.Conv1d(width, width, 4, 2, 1)), Snake(width),
            weight_norm(nn.Conv1d(width, 8, 3, padding=1)),
        )  # fmt: skip
        self.books = nn.ModuleList(Codebook(32, 8) for _ in range(3))
        self.decoder = nn.Sequential(
            weight_norm(nn.Conv1d(8, width, 7, padding=3)), Snake(width),
            weight_norm(nn.ConvTranspose1d(width, width, 4, 2, 1)), Snake(width),
            weight_norm(nn.ConvTranspose1d(width, width, 4, 2, 1)), Snake(width),
            weight_norm(nn.Conv1d(width, 1, 7, padding=3)), nn.Tanh(),
        )  # fmt: skip

    def training_step(self, batch, _):
        wave = batch[0]
        z = self.encoder(wave)
        left, sum_of_codes, commitment = z, torch.zeros_like(z), 0.0
        for book in self.books:
            chosen = book(left)
            commitment = commitment + F.mse_loss(left, chosen)
            left, sum_of_codes = left - chosen, sum_of_codes + chosen
        out = self.decoder(z + (sum_of_codes - z).detach())
        return F.l1_loss(out, wave) + 0.25 * commitment

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, betas=(0.8, 0.99))


def faulty():
    return Codec(), sounds()
