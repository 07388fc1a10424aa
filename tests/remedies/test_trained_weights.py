"""Weights that were trained before are not to be drawn anew, however odd they look as a start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from models import Classifier, fit
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import Finding, InitMonitor, Severity, check

if TYPE_CHECKING:
    from collections.abc import Callable

# Lightning counts modules in eval mode; it does not say what comes of them.
pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")

FACTOR = 8.0


def made() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for width in (20, 32, 32, 32):
        layers += [nn.Linear(width, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 5))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(256, 20, generator=generator)
    return x, x[:, :5].argmax(1)


def trained(net: nn.Module) -> None:
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    x, y = batch()
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def enlarge(net: nn.Module) -> None:
    """Make the weights before the normalisations, and the last ones, far too large for a start."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(FACTOR)


def scales_drawn(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


def every_parameter_normal(net: nn.Module) -> None:
    for parameter in net.parameters():
        nn.init.normal_(parameter)


def every_parameter_positive(net: nn.Module) -> None:
    for parameter in net.parameters():
        nn.init.uniform_(parameter)


def about_weights(net: nn.Module) -> list[Finding]:
    return [one for one in check(net, batch(), nn.functional.cross_entropy).findings if one.code in {"IM101", "IM502"}]


def test_weights_that_were_trained_are_information_and_kept() -> None:
    net = made()
    trained(net)
    enlarge(net)
    found = about_weights(net)
    assert found
    for finding in found:
        assert finding.severity is Severity.INFO
        assert finding.remedy.startswith("Keep these weights")
        assert "init" not in finding.remedy
        assert finding.aim is None


@pytest.mark.parametrize("start", [enlarge, scales_drawn, every_parameter_normal, every_parameter_positive])
def test_what_was_only_drawn_is_judged_as_a_start(start: Callable[[nn.Module], None]) -> None:
    net = made()
    start(net)
    if start is scales_drawn:
        enlarge(net)
    found = about_weights(net)
    assert any(one.severity > Severity.INFO and "nn.init" in one.remedy for one in found)


def test_running_statistics_that_do_not_fit_are_told_whatever_the_weights() -> None:
    net = made()
    trained(net)
    enlarge(net)
    net.eval()
    monitor = InitMonitor(sinks=())
    fit(Classifier(net, lr=1e-3), DataLoader(TensorDataset(*batch()), batch_size=64), monitor, steps=5)
    told = [one for one in monitor.findings if one.severity > Severity.INFO]
    assert any(one.remedy.startswith("Call model.train()") for one in told)
    assert not any("Keep these weights" in one.remedy for one in told)


def test_a_new_head_on_trained_weights_is_judged_as_a_start() -> None:
    net = made()
    trained(net)
    head = nn.Linear(32, 5)
    nn.init.normal_(head.weight, std=30.0)
    net[-1] = head
    found = [one for one in check(net, batch(), nn.functional.cross_entropy).findings if one.severity > Severity.INFO]
    assert any("12" in one.layers and "nn.init" in one.remedy for one in found)
