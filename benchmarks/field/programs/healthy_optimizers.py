"""Optimizers, schedules, formats and frozen parts that look odd and are as they should be."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.optim import lr_scheduler

from benchmarks.field.case import Case, Program
from benchmarks.field.programs.base import Learner, Supervised, TextClassifier, adam, adamw, mlp, sgd, small_cnn
from benchmarks.field.programs.material import (
    batches,
    cancer,
    chain,
    counted,
    diabetes,
    function,
    pictures,
    rows,
    wine,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _trained(net: nn.Module, x: Tensor, y: Tensor, steps: int = 150) -> nn.Module:
    """Train a network by Adam on random batches, as whoever published it did."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        chosen = torch.randint(0, len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(net(x[chosen]), y[chosen]).backward()
        optimizer.step()
    optimizer.zero_grad()
    return net


def _warmed_up() -> Program:
    """A rate of 0 at the first step, and a little more at each of twenty."""

    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, i / 20))

    module = Supervised(TextClassifier(24, 12, 5), F.cross_entropy, adamw(2e-3), schedule)
    return Program(module, batches(*counted(), batch=64))


def _second_order() -> Program:
    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(parameters, lr=0.5, max_iter=4)

    x, y = diabetes()
    module = Supervised(mlp((10, 16, 1), nn.Tanh), F.mse_loss, optimizer)
    return Program(module, batches(x, (y - y.mean()) / y.std(), batch=442))


class Ratings(Learner):
    """Factors of people and of films, in embeddings with sparse gradients: a step touches few of their rows."""

    def __init__(self) -> None:
        super().__init__(lambda parameters: torch.optim.SparseAdam(list(parameters), lr=0.05))
        self.people, self.films = nn.Embedding(800, 8, sparse=True), nn.Embedding(400, 8, sparse=True)
        for one in (self.people, self.films):
            nn.init.normal_(one.weight, std=0.3)

    def loss(self, batch: list[Tensor]) -> Tensor:
        who, what, rating = batch
        return F.mse_loss((self.people(who) * self.films(what)).sum(1), rating)


def _ratings() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(30)
    a, b = torch.randn(800, 3, generator=generator), torch.randn(400, 3, generator=generator)
    who = torch.randint(0, 800, (16384,), generator=generator)
    what = torch.randint(0, 400, (16384,), generator=generator)
    rating = (a[who] * b[what]).sum(1)
    return who, what, rating / rating.std()


class Letters(Learner):
    """An LSTM that continues texts."""

    def __init__(self) -> None:
        super().__init__(sgd(1.0))
        self.embedding, self.lstm, self.head = (
            nn.Embedding(24, 32),
            nn.LSTM(32, 48, batch_first=True),
            nn.Linear(48, 24),
        )

    def loss(self, batch: list[Tensor]) -> Tensor:
        (text,) = batch
        hidden, _ = self.lstm(self.embedding(text[:, :-1]))
        return F.cross_entropy(self.head(hidden).flatten(0, 1), text[:, 1:].flatten())


def _clipped_adam() -> Program:
    """A clip norm of a thousandth, which Adam undoes."""
    module = Supervised(mlp((30, 32, 1)), F.binary_cross_entropy_with_logits, adam(2e-3))
    return Program(module, batches(*cancer(), batch=32), {"gradient_clip_val": 1e-3})


def _small_batches() -> Program:
    return Program(Supervised(small_cnn(8), F.cross_entropy, sgd(0.005, momentum=0.9)), batches(*pictures(), batch=8))


def _large_batches() -> Program:
    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=60)

    net = nn.Sequential(
        *[nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2)],
        *[nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5)],
        nn.Linear(32 * 16, 10),
    )
    optimizer = sgd(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return Program(
        Supervised(net, F.cross_entropy, optimizer, schedule), batches(*pictures(), batch=512, drop_last=True)
    )


def _fine_tuned() -> Program:
    """A network that has learned its task goes on at a rate of 1e-5."""
    x, y = rows()
    net = _trained(mlp((64, 96, 10), nn.GELU), x, y)
    return Program(Supervised(net, F.cross_entropy, adamw(1e-5)), batches(x, y, batch=32))


class LowRank(nn.Module):
    """A frozen linear layer and B A x beside it, B zero at the start."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.a = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) + x @ self.a.T @ self.b.T
        return out


def _adapted() -> Program:
    """Low-rank adapters learn digits that were turned over."""
    x, y = pictures()
    net = _trained(mlp((64, 96, 96, 10)), x.flatten(1), y)
    adapted = nn.Sequential(*[LowRank(part) if isinstance(part, nn.Linear) else part for part in net.children()])
    return Program(Supervised(adapted, F.cross_entropy, adamw(5e-3)), batches(x.flip(-1).flatten(1), y, batch=64))


class Probe(Learner):
    """A frozen backbone under no_grad, in evaluation mode, and a head that learns: by design."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__(sgd(0.05, momentum=0.9))
        self.backbone = backbone.requires_grad_(requires_grad=False)
        self.head = nn.Linear(96, 10)

    def loss(self, batch: list[Tensor]) -> Tensor:
        self.backbone.eval()
        with torch.no_grad():
            features = self.backbone(batch[0])
        return F.cross_entropy(self.head(features), batch[1])

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        return sgd(0.05, momentum=0.9)(self.head.parameters())


def _probed() -> Program:
    x, y = rows()
    net = _trained(mlp((64, 96, 96, 10)), x.flip(1), y)
    return Program(Probe(nn.Sequential(*list(net.children())[:4])), batches(x, y, batch=64))


def _bfloat16_mixed() -> Program:
    module = Supervised(TextClassifier(24, 12, 5), F.cross_entropy, adamw(1e-3))
    return Program(module, batches(*counted(), batch=64), {"precision": "bf16-mixed"})


def _bfloat16() -> Program:
    net = nn.Sequential(nn.Linear(64, 96), nn.LayerNorm(96), nn.ReLU(), nn.Linear(96, 10))
    module = Supervised(net, lambda out, y: F.cross_entropy(out.float(), y), sgd(0.1, momentum=0.9))
    return Program(module, batches(*rows(), batch=64), {"precision": "bf16-true"})


def _float16() -> Program:
    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=2e-3, eps=1e-3)

    x, y = wine()
    net = mlp((13, 64, 3)).half()
    return Program(
        Supervised(net, lambda out, t: F.cross_entropy(out.float(), t), optimizer), batches(x.half(), y, batch=16)
    )


class MeanTeacher(Learner):
    """A student and a teacher that is its moving average; the teacher learns from no gradient."""

    def __init__(self) -> None:
        super().__init__(adam(2e-3))
        self.student = mlp((64, 64, 10))
        self.teacher = copy.deepcopy(self.student).requires_grad_(requires_grad=False)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        with torch.no_grad():
            taught = self.teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
        out = self.student(x)
        return F.cross_entropy(out, y) + F.mse_loss(out.softmax(1), taught)

    def on_train_batch_end(self, *_: object) -> None:
        with torch.no_grad():
            for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                mine.lerp_(theirs, 0.05)


class Layerwise(Learner):
    """A pre-trained body at a thousandth of the rate of the new head."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__(adamw(3e-3))
        self.body, self.head = body, nn.Linear(96, 10)

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        groups: list[dict[str, Any]] = [
            {"params": self.body.parameters(), "lr": 3e-6},
            {"params": self.head.parameters()},
        ]
        return torch.optim.AdamW(groups, lr=3e-3)


def _layerwise() -> Program:
    x, y = rows()
    net = _trained(mlp((64, 96, 96, 10), nn.SiLU), x, y)
    return Program(Layerwise(nn.Sequential(*list(net.children())[:4])), batches(x, y, batch=64))


def _adagrad() -> Program:
    net = mlp((8, 64, 64, 1), nn.Tanh)
    module = Supervised(net, F.smooth_l1_loss, lambda parameters: torch.optim.Adagrad(parameters, lr=0.03))
    return Program(module, batches(*function(), batch=64))


def _case(name: str, about: str, make: Callable[[], Program], steps: int = 150) -> Case:
    return Case(name, about, make, steps=steps)


CASES = (
    _case("warm_up_from_zero", "A warm-up whose first rate is 0, stepped with every batch.", _warmed_up),
    _case("lbfgs", "L-BFGS calls its closure several times a step.", _second_order, 60),
    _case(
        "sparse_factors",
        "Embeddings with sparse gradients: a step touches few rows.",
        lambda: Program(Ratings(), batches(*_ratings(), batch=128)),
    ),
    _case(
        "accumulating_language_model",
        "SGD at a rate of 1 with clipping, over four batches a step.",
        lambda: Program(
            Letters(), batches(chain(), batch=16), {"accumulate_grad_batches": 4, "gradient_clip_val": 1.0}
        ),
        100,
    ),
    _case("adam_clipped_small", "A clip norm of 1e-3, which Adam undoes.", _clipped_adam),
    _case("batches_of_eight", "A small conv net on batches of 8.", _small_batches, 250),
    _case(
        "batches_of_512", "Batch norm, dropout, Nesterov and a cosine schedule on batches of 512.", _large_batches, 60
    ),
    _case("fine_tuning", "A network that has learned goes on at a rate of 1e-5.", _fine_tuned),
    _case("low_rank_adapters", "Adapters whose second factor is zero at the start, beside frozen layers.", _adapted),
    _case("frozen_by_design", "A head on a frozen backbone under no_grad.", _probed),
    _case("bfloat16_mixed", "A transformer in mixed precision.", _bfloat16_mixed),
    _case("bfloat16_weights", "All weights in bfloat16, at a rate that suits it.", _bfloat16),
    _case("float16_weights", "All weights in float16, Adam with eps=1e-3.", _float16),
    _case(
        "mean_teacher",
        "A teacher that is the student's moving average.",
        lambda: Program(MeanTeacher(), batches(*rows(), batch=64)),
    ),
    _case("rates_by_layer", "A pre-trained body at a thousandth of the head's rate.", _layerwise),
    _case("adagrad", "A regression by Adagrad.", _adagrad),
)
