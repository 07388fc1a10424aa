from __future__ import annotations

import pytest
import torch
from builders import history, linears, measure, only, parameter
from models import Classifier, fit, loader
from signals_over_depth import geometric, judge, network
from torch import nn

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records import Severity
from init_monitor.records.quantities import Quantity
from init_monitor.rules import VanishingActivations


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_fifty_xavier_relu_layers_vanish_by_half_per_layer() -> None:
    finding = only(judge(measure(network(50, nn.init.xavier_normal_), torch.randn(256, 512))))
    assert (finding.code, finding.severity) == ("IM102", Severity.CRITICAL)
    assert finding.evidence["growth_per_layer"] == pytest.approx(0.5, rel=0.05)
    assert finding.expected["worst_gain"] == 2.0
    assert "He et al." in finding.source
    assert 45 <= len(finding.layers) <= 49


def test_all_zero_weights_are_a_signal_that_stops_at_the_first_layer() -> None:
    finding = only(judge(measure(network(6, nn.init.zeros_, width=16), torch.randn(64, 16))))
    assert (finding.code, finding.severity) == ("IM102", Severity.CRITICAL)
    assert finding.layers == ("0", "2", "4", "6", "8", "10")
    assert finding.message.startswith("The signal stops at 0:")


def test_a_head_of_zeros_is_a_healthy_start() -> None:
    model = network(6, nn.init.kaiming_normal_, width=64)
    nn.init.zeros_(parameter(model[-1]))
    assert judge(measure(model, torch.randn(64, 64))) == []


def test_a_layer_whose_units_are_all_off_is_blamed_for_the_silence_after_it() -> None:
    model = network(6, nn.init.kaiming_normal_, width=64)
    nn.init.constant_(parameter(model[2], "bias"), -100)
    finding = only(judge(measure(model, torch.randn(64, 64))))
    assert finding.layers == ("2",)
    assert "stops between 2 and 4" in finding.message


def test_float16_loses_a_signal_that_float32_still_holds() -> None:
    columns = {Quantity.VARIANCE: geometric(5, 1 / 16), Quantity.GAIN: 1 / 16}
    assert only(judge(history(linears(5), columns))).severity is Severity.WARNING
    half = only(judge(history(linears(5, dtype="float16"), columns)))
    # rms 2^-10 at the end; below 2^-14 after 2 further layers, and 2 is fewer than the present 5
    assert (half.severity, half.evidence["layers_to_limit"]) == (Severity.CRITICAL, 2.0)


class Faint(nn.Module):
    """What its map makes of x is almost nothing beside x, which passes it by."""

    def __init__(self, width: int, *, std: float, normalise: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if normalise else nn.Identity()
        self.map = nn.Linear(width, width)
        nn.init.normal_(self.map.weight, std=std)
        nn.init.zeros_(self.map.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = x + self.map(self.norm(x))
        return summed


@pytest.mark.parametrize("std", [1e-4, 1e-7])
def test_a_branch_that_starts_faint_beside_its_skip_is_no_fading_even_where_it_begins_a_segment(std: float) -> None:
    # The normalisation begins a segment, whose first layer has a gain that is far off on purpose.
    net = nn.Sequential(Faint(64, std=std, normalise=True), *(Faint(64, std=std) for _ in range(4)))
    found = init_monitor.check(net, torch.randn(256, 64)).findings
    assert [finding for finding in found if finding.code == "IM102"] == []


def test_an_adapter_that_starts_at_zero_beside_a_layer_is_no_depth() -> None:
    class Adapted(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = nn.Linear(width, width).requires_grad_(requires_grad=False)
            self.down, self.up = nn.Linear(width, 4, bias=False), nn.Linear(4, width, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both: torch.Tensor = self.layer(x) + self.up(self.down(x))
            return both

    torch.manual_seed(0)
    net = nn.Sequential(*(m for _ in range(4) for m in (Adapted(32), nn.ReLU())), nn.Linear(32, 10))
    for module in net.modules():
        if isinstance(module, nn.Linear) and not module.weight.requires_grad:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    monitor = InitMonitor(sinks=(), rules=(VanishingActivations(),))
    fit(Classifier(net, lr=1e-5, optimizer="Adam"), loader(32), monitor)
    assert monitor.findings == []
