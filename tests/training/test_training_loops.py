"""Loops beside the plain one: accumulation, manual optimisation, adversaries, clipping, several backwards in a step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, loader
from torch import nn
from trainings import Residual, assert_same_records, both, quiet

from init_monitor import InitMonitorWarning
from init_monitor.capture.schedule import LONGEST_STEP
from init_monitor.records.quantities import Quantity

# --- accumulation ----------------------------------------------------------------------------------------------------


class Pictures(nn.Module):
    """Convolutions, in-place and bounded activations, a residual addition: a column of every kind has numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 10), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.stem(x))
        output: torch.Tensor = self.head(x + nn.functional.relu(self.branch(x)))
        return output


@pytest.mark.parametrize("network", [Residual, Pictures])
def test_one_batch_and_the_same_batch_in_four_pieces_give_the_same_record(network: Any) -> None:
    shape = (16,) if network is Residual else (3, 6, 6)
    monitors = []
    for accumulate, batch in ((1, 64), (4, 16)):
        data = loader(*shape, samples=64 * 3, batch=batch)
        monitor, _ = both(lambda: Classifier(network(), lr=0.05), data, steps=3, accumulate_grad_batches=accumulate)
        assert [record.step for record in monitor.records] == [0, 1, 2]
        monitors.append(monitor)
    one, four = monitors
    assert one.structure == four.structure
    for whole, pieces in zip(one.records, four.records, strict=True):
        assert len(whole.residual_names) == (2 if network is Residual else 1)
        # Differences of variances and means near 0 have the absolute accuracy of what they are made of.
        assert_same_records(whole, pieces, rtol=1e-5)
        empty = {quantity for quantity, column in whole.columns.items() if np.isnan(column).all()}
        empty -= {Quantity.DEAD_AT_LEAST}  # of so few positions nothing is certain yet
        if network is Residual:
            empty -= {Quantity.POSITION_SHARE}  # one position per sample
        assert empty <= {Quantity.SATURATED_FRACTION, Quantity.BACKWARD_GAIN, Quantity.EXPECTED_BACKWARD_GAIN}
        assert any(layer.units is not None for layer in whole)


def test_an_epoch_that_ends_in_the_middle_of_an_accumulation_is_a_step_of_fewer_batches() -> None:
    data = loader(16, samples=32 * 5, batch=32)
    monitor, _ = both(lambda: Classifier(Residual(), lr=0.05), data, max_epochs=2, steps=-1, accumulate_grad_batches=2)
    assert [record.step for record in monitor.records] == list(range(6))
    counts = [record.layers["net.first"].forward.count // (32 * 16) for record in monitor.records]
    assert counts == [2, 2, 1, 2, 2, 1]


# --- manual optimisation ---------------------------------------------------------------------------------------------


class ByHand(Classifier):
    """What ``Classifier`` does, without Lightning's help; accumulates over ``pieces`` batches."""

    pieces = 1

    def __init__(self, net: nn.Module, **options: Any) -> None:
        super().__init__(net, **options)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers()
        if batch_idx % self.pieces == 0:
            optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx) / self.pieces)
        if (batch_idx + 1) % self.pieces == 0:
            optimizer.step()


class ByHandInPieces(ByHand):
    """Steps at every fourth batch."""

    pieces = 4


def test_optimisation_by_hand_gives_the_records_of_automatic_optimisation() -> None:
    automatic, _ = both(lambda: Classifier(Residual(), lr=0.05), loader(16, samples=256, batch=64), steps=4)
    by_hand, _ = both(lambda: ByHand(Residual(), lr=0.05), loader(16, samples=256, batch=64), steps=4)
    pieces, _ = both(lambda: ByHandInPieces(Residual(), lr=0.05), loader(16, samples=256, batch=16), steps=4)
    for expected, alone, accumulated in zip(automatic.records, by_hand.records, pieces.records, strict=True):
        assert_same_records(expected, alone, rtol=1e-12)
        assert_same_records(expected, accumulated, rtol=1e-5)


class WithoutLightnings(ByHand):
    """Steps torch's own optimizer, which Lightning's count of steps leaves out."""

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        if batch_idx % self.pieces == 0:
            optimizer.zero_grad()
        (Classifier.training_step(self, batch, batch_idx) / self.pieces).backward()
        if (batch_idx + 1) % self.pieces == 0:
            optimizer.step()


class WithoutLightningsInPieces(WithoutLightnings):
    """Steps at every fourth batch."""

    pieces = 4


def test_steps_of_an_optimizer_that_lightning_does_not_count_are_steps_all_the_same() -> None:
    data, options = loader(16, samples=256, batch=64), dict[str, Any](steps=-1, max_epochs=1)
    automatic, _ = both(lambda: Classifier(Residual(), lr=0.05), data, steps=4)
    by_hand, module = both(lambda: WithoutLightnings(Residual(), lr=0.05), data, **options)
    pieces, _ = both(
        lambda: WithoutLightningsInPieces(Residual(), lr=0.05), loader(16, samples=256, batch=16), **options
    )
    for expected, alone, accumulated in zip(automatic.records, by_hand.records, pieces.records, strict=True):
        assert_same_records(expected, alone, rtol=1e-12)
        assert_same_records(expected, accumulated, rtol=1e-5)
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert not optimizer._optimizer_step_pre_hooks


class NeverSteps(ByHand):
    """Computes gradients and leaves it at that."""

    pieces = 1 << 30


def test_a_training_that_never_steps_is_not_measured_for_ever_and_says_so() -> None:
    attached: list[int] = []

    class Looks(NeverSteps):
        def on_before_backward(self, _loss: torch.Tensor) -> None:
            attached.append(len(self.net.first._forward_hooks))  # type: ignore[union-attr]

    batches = 3 * LONGEST_STEP
    with pytest.warns(InitMonitorWarning, match="without a step of an optimizer"):
        monitor, _ = both(
            lambda: Looks(Residual()), loader(16, samples=2 * batches, batch=2),
            quiet(dense_steps=1, every_n_steps=2 * LONGEST_STEP), steps=-1, max_epochs=1, copies=False,
        )  # fmt: skip
    watched = [batch for batch, hooks in enumerate(attached[batches:]) if hooks]
    half = LONGEST_STEP // 2
    looks = [*range(half), *range(2 * LONGEST_STEP, 3 * LONGEST_STEP)]
    assert watched == looks, "until it is told that none comes, and later not beyond what a step may take"
    assert "IM604" in {finding.code for finding in monitor.findings}
    assert len(monitor.notices) == 1


class Adversaries(pl.LightningModule):
    """A generator and a discriminator, trained in turn on one batch; toggling freezes the other one."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16))
        self.discriminator = nn.Sequential(nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        self.losses: list[float] = []

    def training_step(self, batch: Any, _batch_idx: int) -> None:
        real = batch[0]
        noise = torch.randn(real.shape[0], 4)
        both: Any = self.optimizers()
        for_generator, for_discriminator = both

        self.toggle_optimizer(for_discriminator)
        fake = self.generator(noise).detach()
        loss = nn.functional.softplus(self.discriminator(fake)) + nn.functional.softplus(-self.discriminator(real))
        self._descend(for_discriminator, loss.mean())
        self.untoggle_optimizer(for_discriminator)

        self.toggle_optimizer(for_generator)
        loss = nn.functional.softplus(-self.discriminator(self.generator(noise)))
        self._descend(for_generator, loss.mean())
        self.untoggle_optimizer(for_generator)

    def _descend(self, optimizer: Any, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, gradient_clip_val=0.5)
        optimizer.step()
        self.losses.append(float(loss.detach()))

    def configure_optimizers(self) -> Any:
        return (
            torch.optim.Adam(self.generator.parameters(), lr=1e-3),
            torch.optim.SGD(self.discriminator.parameters(), lr=0.1),
        )


def test_a_generator_and_a_discriminator_in_turn_are_measured_in_every_role() -> None:
    monitor, _ = both(Adversaries, loader(16, samples=32 * 6), steps=12)
    assert [record.step for record in monitor.records] == list(range(6))
    for record in monitor.records:
        assert record.optimizer == "SGD, Adam"
        assert record.learning_rate == pytest.approx(0.1)
        assert all(parameter.update_ratio > 0 for name, parameter in record.parameters.items() if "weight" in name)
        assert all(parameter.gradient_norm > 0 for parameter in record.parameters.values())
    layers = monitor.records[0].layers
    # The discriminator sees fakes, then real ones, then the generator's; the generator's first run goes nowhere.
    assert [name for name in layers if name.startswith("discriminator.0")] == [
        f"discriminator.0#{i}" for i in (1, 2, 3)
    ]
    assert layers["generator.2#1"].backward is None
    assert layers["generator.2#2"].backward is not None


# --- clipping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{"gradient_clip_val": 1e-3}, {"gradient_clip_val": 1e-4, "gradient_clip_algorithm": "value"}]
)
def test_gradients_are_those_before_clipping_and_updates_those_after_it(how: dict[str, Any]) -> None:
    free, clipped = quiet(), quiet()
    both(lambda: Classifier(Residual(), lr=0.05), loader(16), free, steps=1)
    both(lambda: Classifier(Residual(), lr=0.05), loader(16), clipped, steps=1, **how)
    before, after = free.records[0], clipped.records[0]
    for quantity in (Quantity.GRADIENT_VARIANCE, Quantity.WEIGHT_GRADIENT_NORM, Quantity.VARIANCE):
        np.testing.assert_array_equal(after.column(quantity), before.column(quantity), err_msg=str(quantity))
    for name in ("net.first.weight", "net.second.weight", "net.head.weight"):
        assert after.parameters[name].update_ratio < 0.1 * before.parameters[name].update_ratio


# --- several backwards -----------------------------------------------------------------------------------------------


class Sequences(pl.LightningModule):
    """Truncated back-propagation: chunks of a sequence, each with a backward, the state cut between them."""

    every_chunk = False

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.cell, self.head = nn.GRU(8, 12, batch_first=True), nn.Linear(12, 10)
        self.losses: list[float] = []

    def training_step(self, batch: Any, _batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        state = None
        for chunk in batch[0].split(5, dim=1):
            seen, state = self.cell(chunk, state)
            loss = nn.functional.cross_entropy(self.head(seen[:, -1]), batch[1])
            self.manual_backward(loss)
            state = state.detach()
            self.losses.append(float(loss.detach()))
            if self.every_chunk:
                optimizer.step()
                optimizer.zero_grad()
        if not self.every_chunk:
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SteppingSequences(Sequences):
    """Updates after every chunk."""

    every_chunk = True


@pytest.mark.parametrize("network", [Sequences, SteppingSequences])
def test_truncated_back_propagation_measures_every_chunk(network: Any) -> None:
    steps_per_batch = 4 if network.every_chunk else 1
    monitor, _ = both(network, loader(20, 8, samples=64), steps=2 * steps_per_batch)
    assert len(monitor.records) == 2
    for record in monitor.records:
        for chunk in (1, 2, 3, 4):
            layer = record.layers[f"head#{chunk}"]
            assert layer.backward is not None
            assert layer.forward.count == layer.backward.count == 32 * 10
            assert layer.backward.variance > 0
            assert record.layers[f"cell#{chunk}[0]"].backward is not None
        assert all(parameter.update_ratio > 0 for parameter in record.parameters.values())


class Penalised(Classifier):
    """A loss that holds the gradient of the output: its backward goes through a backward."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x = batch[0].requires_grad_()
        output = self.net(x)
        (gradient,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        loss: torch.Tensor = nn.functional.cross_entropy(output, batch[1]) + 0.1 * gradient.square().sum(1).mean()
        self.losses.append(float(loss.detach()))
        return loss


def test_a_gradient_penalty_is_measured_as_the_part_of_the_loss_that_it_is() -> None:
    monitor, _ = both(lambda: Penalised(Residual(), lr=0.01), loader(16, batch=32), steps=3)
    torch.manual_seed(11)
    module = Penalised(Residual(), lr=0.01)
    seen: dict[str, torch.Tensor] = {}
    module.net.get_submodule("first").register_forward_hook(lambda _m, _a, out: seen.update(first=out))
    loss = module.training_step(list(next(iter(loader(16, batch=32)))), 0)
    (gradient,) = torch.autograd.grad(loss, seen["first"])
    backward = monitor.records[0].layers["net.first"].backward
    assert backward is not None
    assert backward.count == gradient.numel()
    assert backward.variance == pytest.approx(float(gradient.double().var(correction=0)), rel=1e-5)


class Twice(Classifier):
    """Two losses of one forward, each with a backward of its own."""

    def __init__(self, net: nn.Module, **options: Any) -> None:
        super().__init__(net, **options)
        self.automatic_optimization = False

    def training_step(self, batch: Any, _batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        output = self.net(batch[0])
        losses = nn.functional.cross_entropy(output, batch[1]), 0.01 * output.square().mean()
        self.manual_backward(losses[0], retain_graph=True)
        self.manual_backward(losses[1])
        optimizer.step()
        self.losses.extend(float(loss.detach()) for loss in losses)


def test_two_backwards_through_one_graph_are_two_gradients_of_each_layer() -> None:
    monitor, _ = both(lambda: Twice(Residual(), lr=0.01), loader(16), steps=3)
    for record in monitor.records:
        for layer in record:
            assert layer.backward is not None
            assert layer.backward.count == 2 * layer.forward.count
        assert all(math.isfinite(parameter.gradient_norm) for parameter in record.parameters.values())
