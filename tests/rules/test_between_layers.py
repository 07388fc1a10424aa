"""What multiplies the signal between two layers is named, and no weight is blamed or initialised anew for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from builders import linears, record
from models import Classifier, fit, he_, loader
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import InitMonitor, Severity
from init_monitor.analysis.between_layers import passage_to
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor import Finding


class Between(nn.Module):
    """He's initialisation throughout, and something done to what every layer gives."""

    def __init__(self, between: Callable[[Tensor], Tensor], depth: int = 8, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.ModuleList([he_(nn.Linear(width, width)) for _ in range(depth)])
        self.head = he_(nn.Linear(width, 10), 0.5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.between(F.relu(layer(x)))
        result: Tensor = self.head(x)
        return result


def about_depth(model: nn.Module) -> list[Finding]:
    x = torch.randn(128, 64, generator=torch.Generator().manual_seed(1))
    y = torch.randint(0, 10, (128,), generator=torch.Generator().manual_seed(2))
    report = init_monitor.check(model.train(), (x, y), loss_fn=F.cross_entropy)
    return [one for one in report.findings if one.code in {"IM101", "IM102", "IM202"} and one.severity > Severity.INFO]


@pytest.mark.parametrize("factor", [5.0, 30.0, 0.1, 0.02])
def test_a_factor_in_the_forward_is_named_with_its_size_and_no_layer_is_initialised(factor: float) -> None:
    torch.manual_seed(0)
    findings = about_depth(Between(lambda x: factor * x))
    assert findings
    for finding in findings:
        assert not finding.remedy_code
        assert "between" in finding.remedy
    first = findings[0]
    assert f"a factor of {factor:g}" in first.message
    assert first.layers == tuple([f"layers.{i}" for i in range(1, 8)] + ["head"])


def test_a_dropout_that_keeps_next_to_nothing_is_named_with_the_share_it_drops() -> None:
    torch.manual_seed(0)
    (finding, *_) = [one for one in about_depth(Between(nn.Dropout(0.95))) if one.code == "IM101"]
    assert "or a dropout of 0.9" in finding.message
    assert "not the share to keep" in finding.remedy


def test_samples_that_become_alike_by_a_factor_send_nobody_to_other_weights() -> None:
    class Recurrent(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.parts = nn.ModuleList([nn.GRU(8 if i == 0 else 32, 32, batch_first=True) for i in range(3)])
            self.head, self.factor = nn.Linear(32, 4), factor

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts:
                x = self.factor * part(x)[0]
            result: Tensor = self.head(x[:, -1])
            return result

    def told(factor: float) -> list[Finding]:
        torch.manual_seed(0)
        report = init_monitor.check(Recurrent(factor), torch.randn(64, 10, 8))
        return [one for one in report.findings if one.code == "IM702"]

    (finding,) = told(0.001)
    assert "between parts" in finding.message
    assert not finding.remedy_code
    assert told(1.0) == []


def test_weights_that_are_off_are_blamed_as_before() -> None:
    torch.manual_seed(0)
    model = Between(lambda x: x)
    for layer in model.layers:
        nn.init.normal_(layer.weight, std=1.0)  # type: ignore[arg-type]
    finding = about_depth(model)[0]
    assert (finding.code, bool(finding.remedy_code)) == ("IM101", True)
    assert "No layer is off" not in finding.message


def test_a_single_odd_factor_beside_weights_that_are_off_does_not_take_the_blame() -> None:
    torch.manual_seed(0)
    calls = iter(range(100))
    model = Between(lambda x: 3.0 * x if next(calls) % 8 == 3 else x)
    for layer in model.layers:
        nn.init.normal_(layer.weight, std=1.0)  # type: ignore[arg-type]
    finding = about_depth(model)[0]
    assert finding.remedy_code


def test_the_first_loss_of_a_network_that_drops_nearly_all_is_blamed_on_that() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=())
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [he_(nn.Linear(64, 64)), nn.ReLU(), nn.Dropout(0.95)]
    fit(Classifier(nn.Sequential(*layers, nn.Linear(64, 10)), optimizer="Adam", lr=1e-3), loader(64), monitor, steps=60)
    (finding,) = [one for one in monitor.findings if one.code == "IM703"]
    assert "or a dropout of 0.9" in finding.message
    assert "not the share to keep" in finding.remedy


@pytest.mark.parametrize(
    ("given", "received", "named"), [(1.0, 3.9, False), (1.0, 4.1, True), (1.0, 0.24, True), (1.0, 0.26, False)]
)
def test_what_pooling_and_activations_do_is_not_worth_naming(given: float, received: float, *, named: bool) -> None:
    net = linears(2)
    values: dict[Quantity, Any] = {Quantity.MEAN_SQUARE: given, Quantity.INPUT_MEAN_SQUARE: received}
    found = passage_to(net.layers[1], record(net, values))
    assert (found is not None) == named
    if found is not None:
        assert found.factor == pytest.approx(received / given)
        assert found.before == ("net.0",)
    assert passage_to(net.layers[0], record(net, values)) is None, "the input is judged by IM701"
