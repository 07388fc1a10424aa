"""Mistakes, and hard data, of which nothing shows in how the signal runs: silence is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program
from benchmarks.field.programs.base import Learner, Supervised, adam, adamw, mlp, sgd, small_cnn
from benchmarks.field.programs.material import batches, blobs, chain, first_letter, pictures, rows, waves, wine

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytorch_lightning as pl


def _shuffled(y: Tensor) -> Tensor:
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(20))]


def _labels(*, shuffled: bool) -> Program:
    x, y = pictures()
    net = small_cnn(8)
    return Program(Supervised(net, F.cross_entropy, sgd(0.02)), batches(x, _shuffled(y) if shuffled else y, batch=64))


def _softmax_twice(*, twice: bool) -> Program:
    net = nn.Sequential(*small_cnn(12), *([nn.Softmax(dim=1)] if twice else []))
    return Program(Supervised(net, F.cross_entropy, adam(2e-3)), batches(*pictures(), batch=64))


class FirstLetter(Learner):
    """An LSTM that is told that the batch comes first, or is not."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__(adam(1e-2))
        self.lstm, self.head = nn.LSTM(6, 32, batch_first=batch_first), nn.Linear(32, 6)

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self.head(self.lstm(batch[0])[0][:, -1]), batch[1])


class Echo(Learner):
    """A language model whose target is its input, not what follows."""

    def __init__(self, *, shifted: bool) -> None:
        super().__init__(adamw(3e-3))
        self.shifted = shifted
        self.embedding, self.gru, self.head = nn.Embedding(24, 32), nn.GRU(32, 48, batch_first=True), nn.Linear(48, 24)

    def forward(self, text: Tensor) -> Tensor:
        out: Tensor = self.head(self.gru(self.embedding(text))[0])
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        (text,) = batch
        target = text[:, 1:] if self.shifted else text[:, :-1]
        return F.cross_entropy(self(text[:, :-1]).flatten(0, 1), target.flatten())


def _next_letter(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    (text,) = loader.dataset.tensors  # type: ignore[attr-defined]
    return float(F.cross_entropy(module(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten()))


def _one_class() -> Program:
    """A filter left one class in the data: the loss goes to 0 and all is well."""
    x, y = wine()
    module = Supervised(mlp((13, 24, 3), nn.Tanh), F.cross_entropy, sgd(0.1))
    return Program(module, batches(x[y == 1], y[y == 1], batch=8))


class Channels(nn.Module):
    """[n, time, channels] to [n, channels, time]: by transposing, or by a view that mixes everything."""

    def __init__(self, *, transposed: bool) -> None:
        super().__init__()
        self.transposed = transposed

    def forward(self, x: Tensor) -> Tensor:
        return x.mT if self.transposed else x.reshape(len(x), x.shape[2], x.shape[1])


def _viewed(*, transposed: bool) -> Program:
    x, y = first_letter()
    net = nn.Sequential(
        *[Channels(transposed=transposed), nn.Conv1d(6, 16, 3, padding=1), nn.ReLU(), nn.Conv1d(16, 16, 3), nn.ReLU()],
        *[nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 6)],
    )
    # How often the letter that begins comes, in three: it needs time and channels kept apart.
    most = x.sum(1).argmax(1)
    return Program(Supervised(net, F.cross_entropy, adam(3e-3)), batches(x, torch.where(y < 6, most, y), batch=64))


class Augmented(Learner):
    """Turns pictures around for variety, and their masks with them or not."""

    def __init__(self, *, both: bool) -> None:
        super().__init__(adam(3e-3))
        self.both = both
        self.net = nn.Sequential(
            *[nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()],
            nn.Conv2d(16, 1, 3, padding=1),
        )

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, mask = batch
        return F.binary_cross_entropy_with_logits(self.net(x.flip(-1)), mask.flip(-1) if self.both else mask)


def _noisy(share: float) -> Program:
    x, y = rows()
    generator = torch.Generator().manual_seed(21)
    wrong = torch.rand(len(y), generator=generator) < share
    y = torch.where(wrong, torch.randint(0, 10, y.shape, generator=generator), y)
    return Program(Supervised(mlp((64, 64, 10)), F.cross_entropy, adam(1e-3)), batches(x, y, batch=32))


def _rare() -> Program:
    """One class in a hundred, so that most batches of 16 have the other only."""
    generator = torch.Generator().manual_seed(22)
    x = torch.randn(4096, 10, generator=generator)
    y = (x[:, :1] > 2.3).float()
    module = Supervised(mlp((10, 32, 32, 1), nn.SiLU), F.binary_cross_entropy_with_logits, adamw(1e-3))
    return Program(module, batches(x, y, batch=16))


def _parity() -> Program:
    """The parity of eight bits: the loss stays at ln 2 for far longer than this."""
    x = torch.randint(0, 2, (4096, 8), generator=torch.Generator().manual_seed(23)).float()
    module = Supervised(mlp((8, 32, 32, 1), nn.Tanh), F.binary_cross_entropy_with_logits, sgd(0.02))
    return Program(module, batches(2 * x - 1, x.sum(1, keepdim=True) % 2, batch=128))


class Yesterday(Learner):
    """Forecasts what it was given last: the target slipped by one."""

    def __init__(self) -> None:
        super().__init__(lambda parameters: torch.optim.RMSprop(parameters, lr=2e-3))
        self.gru, self.read = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, _ = batch
        return F.l1_loss(self.read(self.gru(x)[0][:, -1]), x[:, -1])


CASES = (
    Case(
        "shuffled_labels",
        "The labels were shuffled apart from the pictures: the loss stays at ln 10.",
        lambda: _labels(shuffled=True),
        lambda: _labels(shuffled=False),
        steps=150,
        measured=(2.3, 2.01),
    ),
    Case(
        "softmax_twice",
        "A softmax in the network and one more in cross_entropy.",
        lambda: _softmax_twice(twice=True),
        lambda: _softmax_twice(twice=False),
        steps=200,
        measured=(1.6, 0.119),
    ),
    Case(
        "batch_first_forgotten",
        "An LSTM without batch_first=True runs over the batch as if it were time.",
        lambda: Program(FirstLetter(batch_first=False), batches(*first_letter(), batch=32)),
        lambda: Program(FirstLetter(batch_first=True), batches(*first_letter(), batch=32)),
        steps=250,
        measured=(1.79, 1.32),
    ),
    Case(
        "targets_not_shifted",
        "A language model learns to say its own input; the loss goes to 0.",
        lambda: Program(Echo(shifted=False), batches(chain(), batch=64)),
        lambda: Program(Echo(shifted=True), batches(chain(), batch=64)),
        steps=150,
        score=_next_letter,
        measured=(7.12, 1.18),
    ),
    Case("one_class_only", "A filter left one class in the data.", _one_class, steps=120),
    Case(
        "view_for_transpose",
        "A view where a transpose was meant mixes time and channels.",
        lambda: _viewed(transposed=False),
        lambda: _viewed(transposed=True),
        steps=200,
        measured=(1.72, 0.616),
    ),
    Case(
        "mask_not_turned",
        "Pictures are turned around and their masks are not.",
        lambda: Program(Augmented(both=False), batches(*blobs(), batch=32)),
        lambda: Program(Augmented(both=True), batches(*blobs(), batch=32)),
        steps=120,
        measured=(0.278, 0.0432),
    ),
    Case("noisy_labels", "Four labels in ten are drawn by lot.", lambda: _noisy(0.4), steps=200),
    Case("rare_class", "One sample in a hundred is of the class that matters.", _rare, steps=150),
    Case("parity", "The parity of eight bits, on which the loss stays level for long.", _parity, steps=150),
    Case(
        "yesterdays_value",
        "A forecast whose target slipped by one is what was given last.",
        lambda: Program(Yesterday(), batches(*waves(), batch=64)),
        steps=150,
    ),
)
