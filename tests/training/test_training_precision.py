"""Every precision a Trainer offers: the same training with and without the monitor, and numbers that mean the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, loader, mlp
from torch import nn
from trainings import Residual, assert_same_records, both, quiet, train

from init_monitor import Severity
from init_monitor.records.quantities import Quantity

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's notes on reduced precision


class Scaled(pl.plugins.MixedPrecision):
    """``16-mixed`` as on a GPU, on the CPU: a real gradient scaler; autocast to float16 or not at all."""

    def __init__(self, *, scale: float = 2.0**10, autocast: bool = True) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2))
        self._autocast = autocast

    def autocast_context_manager(self) -> Any:
        return torch.autocast("cpu", dtype=torch.float16, enabled=self._autocast)


def module() -> Classifier:
    return Classifier(Residual(), lr=0.05)


DTYPES = {"bf16-mixed": "bfloat16", "bf16-true": "bfloat16", "64-true": "float64", "32-true": "float32"}


@pytest.mark.parametrize("measure", ["exact", "staged"])
@pytest.mark.parametrize("precision", DTYPES)
def test_each_precision_trains_as_without_the_monitor_and_its_format_is_known(precision: Any, measure: str) -> None:
    monitor, _ = both(module, loader(16), quiet(measure=measure), steps=6, precision=precision)
    assert [record.step for record in monitor.records] == list(range(6))
    assert monitor.notices == []
    assert {layer.dtype for layer in monitor.structure.layers if layer.kind == "Linear"} == {DTYPES[precision]}
    for record in monitor.records:
        assert not record.loss_scaled
        assert len(record.residual_names) == 2
        for quantity in (Quantity.VARIANCE, Quantity.GRADIENT_VARIANCE):
            assert np.isfinite(record.column(quantity)).all()
        weights = [p for name, p in record.parameters.items() if name.endswith("weight")]
        assert len(weights) == 4
        assert all(math.isfinite(parameter.update_ratio) for parameter in weights)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_reduced_precision_is_accumulated_wider_than_it_is_stored(precision: Any) -> None:
    """8 bits of mantissa are off by 2⁻⁸ per element; a sum of 1,024 of them in bfloat16 would be off by tens of %."""
    wide, narrow = quiet(), quiet()
    train(lambda: Classifier(Residual(64), lr=0.01), loader(64), wide, steps=2)
    train(lambda: Classifier(Residual(64), lr=0.01), loader(64), narrow, steps=2, precision=precision)
    for quantity in (Quantity.VARIANCE, Quantity.MEAN_SQUARE, Quantity.GRADIENT_VARIANCE):
        np.testing.assert_allclose(
            narrow.records[0].column(quantity), wide.records[0].column(quantity), rtol=0.03, err_msg=str(quantity)
        )


def test_double_precision_is_measured_in_double_precision() -> None:
    monitor, watched = both(lambda: Classifier(mlp(1, 8)), loader(8), steps=1, precision="64-true")
    assert watched.dtype == torch.float64
    torch.manual_seed(11)
    first = mlp(1, 8).double()[0](next(iter(loader(8)))[0].double()).detach()
    layer = monitor.records[0].layers["net.0"].forward
    assert layer.variance == pytest.approx(float(first.var(correction=0)), rel=1e-12)
    assert layer.mean == pytest.approx(float(first.mean()), rel=1e-12)


def test_with_and_without_a_gradient_scaler_every_number_is_the_same() -> None:
    """A scale is a power of two: it is divided out without a trace, also when it grows on the way."""
    plain, scaled = quiet(), quiet()
    both(module, loader(16), plain, steps=6)
    both(module, loader(16), scaled, steps=6, again=lambda: {"plugins": [Scaled(autocast=False)]})
    for without, record in zip(plain.records, scaled.records, strict=True):
        assert record.loss_scaled
        assert not without.loss_scaled
        assert record.stepped
        assert_same_records(without, record, rtol=1e-6)


def test_sixteen_bit_mixed_precision_reports_the_gradients_of_the_unscaled_loss() -> None:
    plain, mixed = quiet(), quiet()
    train(module, loader(16), plain, steps=1)
    both(module, loader(16), mixed, steps=4, again=lambda: {"plugins": [Scaled()]})
    assert {layer.dtype for layer in mixed.structure.layers if layer.kind == "Linear"} == {"float16"}
    assert mixed.notices == []
    for quantity in (Quantity.VARIANCE, Quantity.GRADIENT_VARIANCE, Quantity.WEIGHT_GRADIENT_NORM):
        np.testing.assert_allclose(
            mixed.records[0].column(quantity), plain.records[0].column(quantity), rtol=0.02, err_msg=str(quantity)
        )


def test_a_step_that_the_scaler_skips_is_information_and_the_next_ones_are_as_usual() -> None:
    """A scale of 2³⁰ overflows float16: the scaler halves it at each step until the gradients fit."""
    monitor, _ = both(module, loader(16, samples=32 * 40), steps=32, again=lambda: {"plugins": [Scaled(scale=2.0**30)]})
    stepped = [record.stepped for record in monitor.records]
    first = stepped.index(True)
    assert 3 < first < 30
    assert not any(stepped[:first])
    assert all(stepped[first : first + 2])
    nonfinite = [finding for finding in monitor.findings if finding.code == "IM601"]
    assert nonfinite
    assert {finding.severity for finding in nonfinite} == {Severity.INFO}
    assert not [finding for finding in monitor.findings if finding.severity is Severity.CRITICAL]
    # Nothing was updated before: the first step that counts is the first step of the training without a scaler.
    reference = quiet()
    train(module, skipping(loader(16, samples=32 * 40), first), reference, steps=1)
    for quantity in (Quantity.VARIANCE, Quantity.GRADIENT_VARIANCE, Quantity.WEIGHT_GRADIENT_NORM):
        expected = reference.records[0].column(quantity)
        np.testing.assert_allclose(monitor.records[first].column(quantity), expected, rtol=0.02, err_msg=str(quantity))


def skipping(data: Any, batches: int) -> Any:
    x, y = data.dataset.tensors
    rest = torch.utils.data.TensorDataset(x[batches * data.batch_size :], y[batches * data.batch_size :])
    return torch.utils.data.DataLoader(rest, batch_size=data.batch_size)


class Adversaries(pl.LightningModule):
    """Two networks trained by hand in turn; the scale halves between the two backwards of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = nn.Linear(16, 10), nn.Linear(16, 10)
        self.losses: list[float] = []

    def training_step(self, batch: Any, _batch_idx: int) -> None:
        for optimizer, layer in zip(self.optimizers(), (self.first, self.second), strict=True):
            loss = nn.functional.cross_entropy(layer(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.losses.append(float(loss.detach()))

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(layer.parameters(), lr=0.05) for layer in (self.first, self.second)]


def test_each_backward_of_a_batch_is_divided_by_the_scale_it_ran_under() -> None:
    """The scale grows after each second optimizer step, that is between the two backwards of a batch."""
    plain, scaled = quiet(), quiet()
    both(Adversaries, loader(16), plain, steps=8)
    plugin = lambda: {"plugins": [Grown()]}  # noqa: E731 - two uses
    both(Adversaries, loader(16), scaled, steps=8, again=plugin)
    for without, record in zip(plain.records, scaled.records, strict=True):
        assert_same_records(without, record, rtol=1e-6)


def test_an_optimizer_that_unscales_by_itself_shows_the_gradients_of_the_loss_too() -> None:
    """A fused optimizer gets scaled gradients: a scaler leaves the division to it."""

    def fused() -> Classifier:
        return FusedClassifier(Residual(), lr=1e-3)

    plain, scaled = quiet(), quiet()
    both(fused, loader(16), plain, steps=3)
    both(fused, loader(16), scaled, steps=3, again=lambda: {"plugins": [Scaled(autocast=False)]})
    for without, record in zip(plain.records, scaled.records, strict=True):
        assert record.loss_scaled
        assert_same_records(without, record, rtol=1e-5)


class FusedClassifier(Classifier):
    """Trains with a fused AdamW."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr, fused=True)


class Grown(Scaled):
    """Doubles its scale after every optimizer step."""

    def __init__(self) -> None:
        super().__init__(autocast=False)
        assert self.scaler is not None
        self.scaler.set_growth_interval(1)
