"""What goes in cannot matter for what comes out: a clamp, a softmax or a norm over one value, a dropout of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Supervised, adam, adamw, mlp
from benchmarks.field.programs.material import batches, cancer, function, rows
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytorch_lightning as pl


class Clamp(nn.Module):
    """Keeps its input between 0 and 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1)


def _clamped(*, clamped: bool) -> Program:
    """A regression around 12 whose last bias was put there, and a clamp for pictures."""
    x, y = function()
    net = nn.Sequential(*mlp((8, 48, 48, 1), nn.Tanh), *([Clamp()] if clamped else []))
    last = net[4]
    assert isinstance(last, nn.Linear)  # noqa: S101 - a mistake in the case, not in its use
    nn.init.constant_(last.bias, 12.0)
    return Program(Supervised(net, F.mse_loss, adam(3e-3)), batches(x, y + 12, batch=64))


def _softmax_of_one(*, sigmoid: bool) -> Program:
    """One output for two classes, and softmax for an activation."""
    net = nn.Sequential(*mlp((30, 24, 1)), nn.Sigmoid() if sigmoid else nn.Softmax(dim=1))
    return Program(Supervised(net, F.binary_cross_entropy, adam(3e-3)), batches(*cancer(), batch=16))


def _one_logit(*, binary: bool) -> Program:
    """Cross-entropy over the only class there is: always 0."""
    x, y = cancer()
    if binary:
        module = Supervised(mlp((30, 24, 1), nn.GELU), F.binary_cross_entropy_with_logits, adamw(3e-3))
        return Program(module, batches(x, y, batch=32))
    module = Supervised(mlp((30, 24, 1), nn.GELU), _of_one_class, adamw(3e-3))
    return Program(module, batches(x, y, batch=32))


def _of_one_class(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y[:, 0].long() * 0)


def _binary_wrong(module: pl.LightningModule, loader: Iterable[object]) -> float:
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    return float(((module(x) > 0).float() != y).float().mean())


def _kept(p: float) -> Program:
    """Dropout whose p was taken for the share to keep."""
    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(p), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10))
    return Program(Supervised(net, F.cross_entropy, adam(1e-3)), batches(*rows(), batch=64))


def _last_norm(*, hidden: bool) -> Program:
    """A LayerNorm behind the only output of a regression, or before it."""
    tail = [nn.LayerNorm(48), nn.Linear(48, 1)] if hidden else [nn.Linear(48, 1), nn.LayerNorm(1)]
    net = nn.Sequential(nn.Linear(8, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), *tail)
    return Program(Supervised(net, F.mse_loss, adamw(3e-3)), batches(*function(), batch=256))


CASES = (
    Case(
        "clamp_on_the_output",
        "The output is clamped to (0, 1) as for pictures, but starts at the mean of its targets, 12: no gradient.",
        lambda: _clamped(clamped=True),
        lambda: _clamped(clamped=False),
        answer(
            "IM604 IM503 IM602 IM303",
            Remedy.OUTPUT_ACTIVATION,
            by=10,
            beside="IM202 IM702",
            severity="critical",
        ),
        steps=150,
        measured=(122.0, 0.288),
    ),
    Case(
        "softmax_of_one_output",
        "A binary classifier has one output and a softmax behind it, which is always 1.",
        lambda: _softmax_of_one(sigmoid=False),
        lambda: _softmax_of_one(sigmoid=True),
        answer(
            "IM604 IM503 IM602",
            *[Remedy.DIMENSION, Remedy.OUTPUT_ACTIVATION],
            by=10,
            beside="IM202 IM702",
            severity="critical",
        ),
        steps=150,
        measured=(33.1, 0.0975),
    ),
    Case(
        "cross_entropy_of_one_class",
        "Cross-entropy over a single logit is 0 from the start, and so is its gradient.",
        lambda: _one_logit(binary=False),
        lambda: _one_logit(binary=True),
        answer(
            "IM604 IM503 IM602",
            *[Remedy.DIMENSION, Remedy.CONNECT],
            by=10,
            beside="IM202",
            severity="critical",
        ),
        steps=150,
        score=_binary_wrong,
        measured=(0.605, 0.0176),
    ),
    Case(
        "dropout_keeps_nothing",
        "Dropout(1.0), taken for the share to keep: nothing passes.",
        lambda: _kept(1.0),
        lambda: _kept(0.2),
        answer("IM503 IM602 IM604 IM102", Remedy.DROPOUT, by=20, beside="IM202 IM702", layers=("net.2*",)),
        steps=150,
        measured=(2.3, 0.256),
    ),
    Case(
        "norm_behind_one_output",
        "A LayerNorm over the one output of a regression: it gives its bias, whatever goes in.",
        lambda: _last_norm(hidden=False),
        lambda: _last_norm(hidden=True),
        answer(
            "IM503",
            *[Remedy.NORMALISE, Remedy.DIMENSION],
            by=20,
            beside="IM102 IM202 IM602 IM604 IM702",
            layers=("net.5*",),
        ),
        steps=150,
        measured=(1.01, 0.23),
    ),
)
