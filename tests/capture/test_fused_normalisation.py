"""Normalisations that apply an activation of their own, as timm's do: two layers, as if they stood apart."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it
from torch.utils.checkpoint import checkpoint

import init_monitor
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.structure.layers import role_of

if TYPE_CHECKING:
    from collections.abc import Callable


class BatchNormAct(nn.BatchNorm2d):
    """A batch norm with an activation inside, written after the pattern of timm's."""

    def __init__(self, units: int, act: nn.Module | None = None) -> None:
        super().__init__(units)
        self.drop = nn.Identity()
        self.act = nn.ReLU(inplace=True) if act is None else act

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        output: Tensor = self.act(self.drop(x))
        return output


class Silent(BatchNormAct):
    """Has an activation and does not call it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)


class Conditional(nn.LayerNorm):
    """Its child computes a scale from what it receives: it does not follow the normalisation."""

    def __init__(self) -> None:
        super().__init__(8)
        self.scale = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = super().forward(x) * self.scale(x)
        return scaled


def fused() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct(8), nn.Conv2d(8, 4, 3), BatchNormAct(4, nn.Identity()))


def apart() -> nn.Sequential:
    torch.manual_seed(0)
    parts = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4))
    return nn.Sequential(*parts)


NAMES = {"0": "0", "1": "1", "1.act": "2", "2": "3", "3": "4"}
BATCH = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_it_is_measured_as_if_the_activation_stood_after_it() -> None:
    inside, outside = init_monitor.check(fused(), BATCH), init_monitor.check(apart(), BATCH)
    record, expected = inside.records[0], outside.records[0]
    assert [NAMES[name] for name in record.names] == list(expected.names)
    for quantity, column in expected.columns.items():
        np.testing.assert_allclose(record.column(quantity), column, rtol=1e-6, atol=1e-9, err_msg=str(quantity))


def test_the_layer_before_it_knows_its_activation_and_it_owns_its_parameters() -> None:
    structure = init_monitor.check(fused(), BATCH).structure
    layers = structure.by_name()
    assert (layers["0"].activation, layers["0"].normalised) == ("ReLU", True)
    assert (layers["2"].activation, layers["2"].normalised) == (None, True)
    assert layers["1"].role is Role.NORMALISATION
    assert layers["1"].inputs == ("0",)
    assert layers["1.act"].inputs == ("1",)
    assert layers["2"].inputs == ("1.act",)
    assert layers["1"].parameters == ("1.weight", "1.bias")
    assert all(plan.recipe for plan in init_monitor.recommend(fused(), BATCH, style="theory").layers)


def test_one_that_does_not_call_its_activation_is_a_normalisation_like_any_other() -> None:
    torch.manual_seed(0)
    report = init_monitor.check(nn.Sequential(nn.Conv2d(3, 8, 3), Silent(8)), BATCH)
    assert report.records[0].names == ("0", "1")
    assert report.structure.by_name()["1"].inputs == ("0",)


def test_one_whose_child_has_weights_is_a_container() -> None:
    assert role_of(BatchNormAct(4)) is Role.NORMALISATION
    assert role_of(BatchNormAct(4, nn.PReLU())) is Role.NORMALISATION
    assert role_of(Conditional()) is None
    report = init_monitor.check(nn.Sequential(nn.Linear(8, 8), Conditional()), torch.randn(4, 8))
    assert report.records[0].names == ("0", "1.scale")


class Checkpointed(nn.Module):
    """Runs its network again during backward."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.net, self.reentrant = fused(), reentrant

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = checkpoint(self.net, x.requires_grad_(), use_reentrant=self.reentrant)
        return output


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_counts_it_once_and_sees_its_gradient(*, reentrant: bool) -> None:
    record = init_monitor.check(Checkpointed(reentrant=reentrant), BATCH.clone()).records[0]
    expected = init_monitor.check(fused(), BATCH).records[0]
    assert record.names == tuple(f"net.{name}" for name in expected.names)
    for quantity in (Quantity.COUNT, Quantity.GRADIENT_COUNT):
        np.testing.assert_array_equal(record.column(quantity), expected.column(quantity))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])  # noqa: S301 - our own
def test_nothing_stays_on_it_and_a_copy_taken_inside_a_step_does_not_report(
    copied: Callable[[nn.Module], nn.Module],
) -> None:
    model = fused()
    with init_monitor.watch(model, dense_steps=1, sinks=()) as monitor:
        with monitor.step():
            copied(model)(BATCH)
            model(BATCH).square().mean().backward()
        record = monitor.records[0]
        assert record.column(Quantity.COUNT)[record.names.index("1")] == 16 * 8 * 10 * 10
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_timm_s_own_is_seen_whole() -> None:
    timm = pytest.importorskip("timm")
    layers = pytest.importorskip("timm.layers")
    model = timm.create_model("densenet121", pretrained=False, growth_rate=4, block_config=(1, 1), num_classes=4)
    assert any(isinstance(module, layers.BatchNormAct2d) for module in model.modules())
    structure = init_monitor.check(model, torch.randn(4, 3, 32, 32)).structure
    first = structure.by_name()["features.conv0"]
    assert (first.activation, first.normalised) == ("ReLU", True)
    assert "timm" in sys.modules
