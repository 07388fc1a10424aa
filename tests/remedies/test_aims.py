"""A remedy says what it brings about; `check` after its code says whether it did."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from builders import history, linears
from torch import nn

import init_monitor
from init_monitor import Finding, Severity
from init_monitor.records.aim import Aim, Confirmation, Measure
from init_monitor.remedies.aims import aimed
from init_monitor.store.lines import finding_from, finding_json

if TYPE_CHECKING:
    from collections.abc import Callable


def stack(depth: int, activation: Callable[[], nn.Module], init: Callable[[torch.Tensor], object]) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [part for _ in range(depth) for part in (nn.Linear(64, 64), activation())]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    for module in model:
        if isinstance(module, nn.Linear):
            init(module.weight)
            nn.init.zeros_(module.bias)
    return model


class Residual(nn.Module):
    """``x + F(x)``, He inside, no normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.second(self.first(x).relu())
        return x + added


def residual() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(Residual() for _ in range(12)), nn.Linear(64, 10))


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output, target)


FAULTS: dict[str, tuple[Callable[[], nn.Module], float, str, Measure]] = {
    "N(0, 1)": (lambda: stack(8, nn.ReLU, nn.init.normal_), 1.0, "IM101", Measure.GROWTH),
    "Xavier before ReLU": (lambda: stack(30, nn.ReLU, nn.init.xavier_normal_), 1.0, "IM102", Measure.GROWTH),
    "a faint gradient": (
        lambda: stack(8, nn.Tanh, lambda w: nn.init.normal_(w, std=0.01)), 1.0, "IM202", Measure.GRADIENT_GROWTH,
    ),
    "constants": (lambda: stack(3, nn.ReLU, lambda w: nn.init.constant_(w, 0.1)), 1.0, "IM501", Measure.WEIGHT),
    "blocks that double": (residual, 1.0, "IM401", Measure.BLOCK_GROWTH),
    "saturated": (lambda: stack(3, nn.Tanh, lambda w: nn.init.normal_(w, std=5.0)), 1.0, "IM303", Measure.SATURATED),
    "pixels": (lambda: stack(2, nn.ReLU, nn.init.kaiming_normal_), 100.0, "IM701", Measure.INPUT),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_code_brings_about_what_its_remedy_says(fault: str) -> None:
    make, scale, code, measure = FAULTS[fault]
    model = make()
    torch.manual_seed(1)
    batch = (scale * torch.randn(256, 64), torch.randint(0, 10, (256,)))
    before = init_monitor.check(model, batch, loss)
    finding = next(one for one in before.findings if one.code == code and one.remedy_code)
    assert finding.aim is not None
    assert finding.aim.measure is measure
    assert f"check(model, batch) then shows: {finding.aim}." in finding.remedy_sentence
    was = before.confirm(finding)
    assert was is not None
    assert not was.holds
    exec(compile(finding.remedy_code, code, "exec"), {"model": model, "torch": torch, "nn": nn})  # noqa: S102 - what a user is asked to run
    after = init_monitor.check(model, batch, loss)
    now = after.confirm(finding)
    assert now is not None
    assert now.holds, now
    assert "as expected" in str(now)
    assert not any(one.code == code and one.severity > Severity.INFO for one in after.findings)


def test_an_aim_survives_the_store_and_one_of_a_later_version_is_passed_over() -> None:
    finding = Finding("r", "IM101", Severity.WARNING, ("a",), 0, "m", aim=Aim(Measure.GROWTH, ("a", "b"), 0.5, 2.0))
    entry = finding_json(finding)
    assert finding_from(entry) == finding
    assert finding_from(finding_json(replace(finding, aim=Aim(Measure.DEAD, ("a",), high=0.4)))).aim == Aim(
        Measure.DEAD, ("a",), high=0.4
    )
    assert finding_from({**entry, "aim": {**entry["aim"], "measure": "colour"}}).aim is None
    assert finding_from({name: value for name, value in entry.items() if name != "aim"}).aim is None


def test_only_code_that_changes_the_network_aims_at_something() -> None:
    past = history(linears(3), {})
    plain = Finding("r", "IM101", Severity.WARNING, ("net.0",), 0, "m", remedy="Lower it.\n\noptimizer = 1")
    assert aimed(plain, past) is plain
    own = replace(plain, remedy="Do.\n\nnn.init.zeros_(w)", aim=Aim(Measure.DEAD, high=0.1))
    assert aimed(own, past) is own
    unknown = replace(own, code="IM999", aim=None)
    assert aimed(unknown, past) is unknown


def test_what_was_not_measured_is_not_confirmed() -> None:
    confirmation = Confirmation(Aim(Measure.GROWTH, ("gone",), 0.9, 1.1), math.nan)
    assert not confirmation.holds
    assert "not as expected (0.9 to 1.1)" in str(confirmation)
    finding = Finding("r", "IM101", Severity.WARNING, ("gone",), 0, "m", aim=confirmation.aim)
    found = init_monitor.check(stack(2, nn.ReLU, nn.init.kaiming_normal_), torch.randn(8, 64)).confirm(finding)
    assert found is not None
    assert math.isnan(found.measured)
    assert init_monitor.Report().confirm(finding) is None
