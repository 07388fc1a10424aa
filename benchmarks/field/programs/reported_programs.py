"""Programs of public reports whose optimizer, schedule, data or loss is at fault, or where nothing of the signal is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, adam, adamw, mlp, sgd, share_missed
from benchmarks.field.programs.material import Loader, batches, cancer, unit_rows
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytorch_lightning as pl


def _half(eps: float) -> Program:
    from benchmarks.detection.material import raw_digits  # noqa: PLC0415 - the one program that needs it

    net = mlp((64, 128, 128, 10)).half()
    module = Supervised(net, lambda out, y: F.cross_entropy(out.float(), y), adam(1e-3, eps=eps))
    return Program(module, batches(unit_rows().half(), raw_digits()[1]))


def _counted(samples: int) -> Loader:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 30, (samples, 10), generator=generator)
    return batches(x, (x < 6).sum(1).clamp(max=4))


class Finetune(Learner):
    """A transformer with a new head, which its optimizer may not have."""

    def __init__(self, *, whole: bool, schedule: str = "") -> None:
        super().__init__(adam(1e-3))
        self.whole, self.schedule = whole, schedule
        self.embedding = nn.Embedding(30, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self.head(self.encoder(self.embedding(batch[0])).mean(1)), batch[1])

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        if self.schedule:
            optimizer = adamw(2e-3)(self.parameters())
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, i / 50))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": self.schedule}}
        parameters = [*self.embedding.parameters(), *self.encoder.parameters()]
        return adam(1e-3)([*parameters, *self.head.parameters()] if self.whole else parameters)


def _text() -> Loader:
    generator = torch.Generator().manual_seed(0)
    table = torch.softmax(3 * torch.randn(24, 24, generator=generator), 1)
    text = torch.zeros(2048, 21, dtype=torch.long)
    text[:, 0] = torch.randint(0, 24, (2048,), generator=generator)
    for t in range(20):
        text[:, t + 1] = torch.multinomial(table[text[:, t]], 1, generator=generator)[:, 0]
    return batches(text)


class LanguageModel(Learner):
    """An LSTM that continues texts."""

    def __init__(self, rate: float) -> None:
        super().__init__(adam(rate))
        self.embedding, self.lstm, self.head = (
            nn.Embedding(24, 32),
            nn.LSTM(32, 64, batch_first=True),
            nn.Linear(64, 24),
        )

    def loss(self, batch: list[Tensor]) -> Tensor:
        hidden, _ = self.lstm(self.embedding(batch[0][:, :-1]))
        return F.cross_entropy(self.head(hidden).flatten(0, 1), batch[0][:, 1:].flatten())


class Sine(nn.Module):
    """sin(30 (Wx + b)), drawn as the authors of SIREN do."""

    def __init__(self, fan_in: int, fan_out: int, *, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)
        bound = 1 / fan_in if first else math.sqrt(6 / fan_in) / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


def _siren(*, scaled: bool) -> Program:
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    target = torch.sin(row / 6) * torch.cos(column / 9) + 0.5 * torch.sin((row + column) / 5)
    place = torch.stack([row, column], -1).view(-1, 2)
    last = nn.Linear(64, 1)
    nn.init.uniform_(last.weight, -math.sqrt(6 / 64) / 30, math.sqrt(6 / 64) / 30)
    net = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), Sine(64, 64), last)
    loader = batches(place / 31.5 - 1 if scaled else place, target.view(-1, 1), batch=512)
    return Program(Supervised(net, F.mse_loss, adam(5e-4)), loader)


class Vae(Learner):
    """A variational autoencoder whose reconstruction is a mean over pixels, or a sum."""

    def __init__(self, *, over_pixels: str) -> None:
        super().__init__(adam(2e-3))
        self.over_pixels = over_pixels
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(64, 8), nn.Linear(64, 8)
        self.decoder = mlp((8, 64, 128, 64))

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        h = self.encoder(x)
        m, v = self.mean(h), self.log_variance(h)
        error = (self.decoder(m + (v / 2).exp() * torch.randn_like(m)) - x).square()
        reconstruction = error.mean() if self.over_pixels == "mean" else error.sum(1).mean() * 4
        kl = -0.5 * (1 + v - m.square() - v.exp()).sum(1).mean()
        total: Tensor = reconstruction + kl
        return total

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.mean(self.encoder(x)))
        return out


def missed_of_pictures(module: pl.LightningModule, loader: Iterable[object]) -> float:
    """Return the share of the pictures' variance that the reconstruction misses: 1 is the mean picture."""
    (x,) = loader.dataset.tensors  # type: ignore[attr-defined]
    return float((module(x) - x).square().mean() / x.var(0).mean())


def _broadcast(*, shaped: bool) -> Program:
    x = torch.rand(2048, 3, generator=torch.Generator().manual_seed(0))

    def criterion(out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out, y[:, None] if shaped else y)

    return Program(Supervised(mlp((3, 32, 1)), criterion, sgd(0.1)), batches(x, x.sum(1)))


def _sigmoids(*, twice: bool) -> Program:
    layers = [nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1)]
    net = nn.Sequential(*layers, nn.Sigmoid()) if twice else nn.Sequential(*layers)
    return Program(Supervised(net, F.binary_cross_entropy_with_logits, adam(3e-3)), batches(*cancer()))


CASES = (
    Case(
        "adam_half",
        "The whole network in float16 with Adam is NaN at once: eps=1e-8 is 0 there (discuss.pytorch.org, 1765).",
        lambda: _half(1e-8),
        lambda: _half(1e-4),
        answer(
            "IM601 IM603 IM802",
            *[Remedy.EPS, Remedy.DTYPE],
            by=20,
            beside="IM101 IM201",
            severity="critical",
        ),
        measured=(float("nan"), 0.146),
    ),
    Case(
        "head_not_optimized",
        "Fine-tuning: the new head is in no optimizer (huggingface/pytorch-openai-transformer-lm, pull request 6).",
        lambda: Program(Finetune(whole=False), _counted(4096)),
        lambda: Program(Finetune(whole=True), _counted(4096)),
        answer("IM602", Remedy.OPTIMIZER, by=20, layers=("head*",)),
        steps=200,
        measured=(0.304, 0.113),
    ),
    Case(
        "warmup_per_epoch",
        "Lightning steps the warm-up once per epoch, so the rate is 0 all through the first (transformers, issue 20916).",
        lambda: Program(Finetune(whole=True, schedule="epoch"), _counted(16384)),
        lambda: Program(Finetune(whole=True, schedule="step"), _counted(16384)),
        answer("IM604 IM603", Remedy.SCHEDULE, by=10, beside="IM604", severity="critical"),
        steps=200,
        measured=(1.67, 0.0185),
    ),
    Case(
        "adam_rate_one",
        "An LSTM language model with SGD's rate of 1, but Adam (rajveermalviya/language-modeling, issue 3).",
        lambda: Program(LanguageModel(1.0), _text()),
        lambda: Program(LanguageModel(3e-3), _text()),
        answer(
            "IM603 IM101 IM201 IM303 IM703",
            Remedy.SLOWER,
            by=20,
            beside="IM102 IM202 IM702",
        ),
        steps=200,
        measured=(1.63, 1.22),
    ),
    Case(
        "siren_input",
        "A SIREN does not fit: its coordinates run from 0 to 63 instead of -1 to 1 (vsitzmann/siren, issue 19).",
        lambda: _siren(scaled=False),
        lambda: _siren(scaled=True),
        answer("IM701", Remedy.INPUT, by=20, beside="IM101 IM201 IM603"),
        steps=300,
        measured=(0.00495, 8.69e-05),
    ),
    Case(
        "vae_collapse",
        "A VAE's pictures are all alike: the mean over pixels lets the KL outweigh it (WorldModels, issue 12).",
        lambda: Program(Vae(over_pixels="mean"), batches(unit_rows())),
        lambda: Program(Vae(over_pixels="sum"), batches(unit_rows())),
        answer("IM102 IM202 IM702 IM801 IM603", Remedy.LOSS_TERM, by=150),
        steps=300,
        score=missed_of_pictures,
        measured=(1.01, 0.579),
    ),
    Case(
        "mse_broadcast",
        "A target of (N,) against an output of (N, 1) makes (N, N); the regression gives the mean (discuss.pytorch.org).",
        lambda: _broadcast(shaped=False),
        lambda: _broadcast(shaped=True),
        steps=250,
        score=share_missed,
        measured=(0.979, 0.000665),
    ),
    Case(
        "double_sigmoid",
        "A sigmoid in the network and one more in the loss: it does not fall below 0.5 (UNet3plus_pth, issue 23).",
        lambda: _sigmoids(twice=True),
        lambda: _sigmoids(twice=False),
        steps=250,
        measured=(0.466, 0.0438),
    ),
)
