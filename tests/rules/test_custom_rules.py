"""A user's own rule: the page that explains it, run as it is written, and rules that misbehave."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import DEFAULT_RULES, InitMonitor
from init_monitor.errors import InitMonitorError, InitMonitorWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "custom-rules.md"


def from_the_page() -> dict[str, Any]:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    space: dict[str, Any] = {}
    exec(code, space)  # noqa: S102 - the page must run as it is written
    return space


def test_the_rule_of_the_page_is_ten_lines_and_speaks_when_it_should() -> None:
    rule = from_the_page()["QuietHead"]
    whole = re.search(r"(class QuietHead:.*?)\nmonitor", PAGE.read_text(), re.DOTALL)
    assert whole
    assert len([line for line in whole[1].splitlines() if line.strip()]) <= 10

    for scale, expected in ((1e-6, ["MY001"]), (1.0, [])):
        torch.manual_seed(0)
        net = mlp(2, 16)
        with torch.no_grad():
            net[-1].weight.mul_(scale)  # type: ignore[operator]
            net[-1].bias.zero_()  # type: ignore[operator]
        monitor = InitMonitor(rules=(rule(),), sinks=())
        fit(Classifier(net, lr=1e-9), loader(16), monitor, steps=4)
        assert [finding.code for finding in monitor.findings] == expected, "once, though it holds at every step"


def test_the_monitor_of_the_page_runs_all_rules_and_its_own() -> None:
    monitor = from_the_page()["monitor"]
    assert [rule.code for rule in monitor._options.rules] == [*(rule.code for rule in DEFAULT_RULES), "MY001"]


def test_the_second_rule_of_the_page_leaves_a_layer_to_the_rules_it_names() -> None:
    rule = from_the_page()["FarTooLarge"]
    for rules, expected in (((rule(),), ["MY002"]), ((rule(), *DEFAULT_RULES), [])):
        torch.manual_seed(0)
        net = mlp(12, 16, lambda weight: nn.init.normal_(weight, std=1e-3))
        monitor = InitMonitor(rules=rules, sinks=())
        fit(Classifier(net, lr=1e-9), loader(16), monitor, steps=4)
        codes = [finding.code for finding in monitor.findings]
        assert [code for code in codes if code == "MY002"] == expected
        assert ("IM102" in codes) is (len(rules) > 1)


class Raises:
    code, name = "MY002", "raises"

    def judge(self, history: object) -> Iterator[object]:
        message = f"no idea about {type(history).__name__}"
        raise LookupError(message)


class ReturnsRubbish:
    code, name = "MY003", "returns-rubbish"

    def judge(self, _history: object) -> list[object]:
        return ["a finding, honestly"]


@pytest.mark.parametrize("rule", [Raises(), ReturnsRubbish()])
def test_a_rule_that_misbehaves_is_reported_once_and_neither_training_nor_other_rules_notice(rule: Any) -> None:
    losses = []
    for rules in ((), (rule, *DEFAULT_RULES)):
        torch.manual_seed(0)
        module = Classifier(mlp(6, 32, nn.init.normal_), lr=1e-9)
        monitor = InitMonitor(rules=rules, sinks=())
        if rules:
            with pytest.warns(InitMonitorWarning, match=rule.code) as told:
                fit(module, loader(32), monitor, steps=4)
            assert sum(rule.code in str(one.message) for one in told) == 1
            assert "IM101" in {finding.code for finding in monitor.findings}
        else:
            fit(module, loader(32), monitor, steps=4)
        losses.append(module.losses)
    assert losses[0] == losses[1]


def test_a_strict_monitor_lets_a_rules_error_through() -> None:
    monitor = InitMonitor(rules=(Raises(),), sinks=(), strict=True)  # type: ignore[arg-type]
    with pytest.raises((LookupError, InitMonitorError), match="no idea about History"):
        fit(Classifier(mlp(2, 8)), loader(8), monitor, steps=2)


class Biased(nn.Module):
    """A ReLU layer of unit-variance pre-activations shifted by ``shift``, of which some units are switched off."""

    def __init__(self, shift: float, dead: int) -> None:
        super().__init__()
        self.first, self.relu, self.head = nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10)
        nn.init.normal_(self.first.weight, std=64**-0.5)
        nn.init.constant_(self.first.bias, shift)
        with torch.no_grad():
            self.first.bias[:dead] = -50.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.relu(self.first(x)))
        return output


@pytest.mark.parametrize(
    ("shift", "dead", "zeros", "fires"),
    [(0.0, 80, 0.70, True), (-1.81, 0, 0.965, False)],
    ids=["40 % dead units, 70 % zeros", "96.5 % zeros, no dead unit"],
)
def test_dead_relu_goes_by_units_and_not_by_zeros(shift: float, dead: int, zeros: float, fires: bool) -> None:  # noqa: FBT001
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(Biased(shift, dead), lr=1e-9), loader(64, samples=4096, batch=1024), monitor, steps=10)
    at = monitor.records[-1].layers["net.relu"]
    assert at.forward.zero_fraction == pytest.approx(zeros, abs=0.01)
    assert at.units is not None
    assert at.units.dead_fraction == dead / 200
    assert ("IM301" in {finding.code for finding in monitor.findings}) is fires
