"""Two faults that have nothing to do with each other are both told: one is not taken for what came of the other."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from models import Classifier, fit
from torch import Tensor, nn

from init_monitor import InitMonitor
from init_monitor.records import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.records import Finding

    Fault = Callable[["Two"], None]

pytestmark = pytest.mark.untraced

WIDTH, CLASSES = 32, 5


def branch(*hidden: int) -> nn.Sequential:
    """A chain of He's layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((WIDTH, *hidden)):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)


class Two(nn.Module):
    """Two branches over two halves of the input, whose ends are read side by side."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other = branch(32, 32, 32, 32), branch(48, 48, 48, 32)
        self.head = nn.Linear(2 * WIDTH, CLASSES)
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        first, second = (x * torch.cat([torch.full((WIDTH,), self.scale), torch.ones(WIDTH)])).chunk(2, 1)
        ends = [self.one(first), self.other(second)]
        answer: Tensor = self.head(torch.cat(ends, 1))
        return answer


def each(part: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in part if isinstance(layer, nn.Linear)]


def explodes(net: Two) -> None:
    for layer in each(net.one):
        nn.init.normal_(layer.weight)


def fades(net: Two) -> None:
    for layer in each(net.one):
        nn.init.normal_(layer.weight, std=1e-3)


def unscaled(net: Two) -> None:
    net.scale = 1000.0


def dies(net: Two) -> None:
    nn.init.constant_(each(net.other)[1].bias, -100.0)


def is_one_number(net: Two) -> None:
    for layer in each(net.other)[:3]:
        nn.init.constant_(layer.weight, 0.05)


def is_cut_off(net: Two) -> None:
    net.other.register_forward_hook(lambda _module, _args, output: output.detach())


def is_degenerate(net: Two) -> None:
    net.other.insert(2, nn.Unflatten(1, (48, 1)))
    net.other.insert(3, nn.LayerNorm(1))
    net.other.insert(4, nn.Flatten())


def is_left_out(net: Two) -> None:
    net.other.left_out = True  # type: ignore[assignment]


def fades_too(net: Two) -> None:
    for layer in each(net.other):
        nn.init.normal_(layer.weight, std=1e-3)


class Trained(Classifier):
    """Takes the step with all layers but those that are left out."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        out = {id(p) for part in self.net.children() if hasattr(part, "left_out") for p in part.parameters()}
        return torch.optim.SGD([p for p in self.parameters() if id(p) not in out], lr=self.lr)


def trained(*faults: Fault) -> list[Finding]:
    net = Two()
    for fault in faults:
        fault(net)
    torch.manual_seed(1)
    x = torch.randn(512, 2 * WIDTH)
    labels = (x @ torch.randn(2 * WIDTH, CLASSES)).argmax(1)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=64, shuffle=True)
    monitor = InitMonitor(sinks=(), every_n_steps=10)
    fit(Trained(net, lr=0.01), rows, monitor, steps=80)
    return [one for one in monitor.findings if one.severity > Severity.INFO]


FIRST: dict[Fault, set[str]] = {explodes: {"IM101", "IM502"}, fades: {"IM102", "IM202"}, unscaled: {"IM701"}}
SECOND: dict[Fault, set[str]] = {
    dies: {"IM301"},
    is_one_number: {"IM501"},
    is_cut_off: {"IM602"},
    is_degenerate: {"IM503"},
    is_left_out: {"IM602"},
    fades_too: {"IM102", "IM202"},
}


def about(told: list[Finding], part: str, codes: set[str]) -> list[Finding]:
    """Return the findings of these codes that name a layer or a weight of a part."""
    return [one for one in told if one.code in codes and any(name.startswith(f"net.{part}.") for name in one.layers)]


def test_the_network_without_a_fault_is_fine() -> None:
    assert trained() == []


@pytest.mark.parametrize("second", SECOND, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("first", FIRST, ids=lambda fault: fault.__name__)
def test_a_fault_of_another_branch_is_told_beside_it(first: Fault, second: Fault) -> None:
    told = trained(first, second)
    assert about(told, "one", FIRST[first]), told
    assert about(told, "other", SECOND[second]), told


def grows_before(net: Two) -> None:
    for layer in each(net.other)[:2]:
        layer.weight.data.mul_(3.0)


def is_half_off(net: Two) -> None:
    nn.init.constant_(each(net.other)[2].bias[:24], -1000.0)


def is_large(net: Two) -> None:
    net.register_forward_pre_hook(lambda _module, args: (100.0 * args[0],))


@pytest.mark.parametrize(
    ("first", "codes"),
    [(grows_before, {"IM101", "IM502"}), (is_large, {"IM701"})],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_units_that_were_off_before_the_first_step_did_not_come_of_what_grows(first: Fault, codes: set[str]) -> None:
    told = trained(first, torch.no_grad()(is_half_off))
    assert {one.code for one in told} & codes, told
    dead = about(told, "other", {"IM301"})
    assert dead, told
    assert dead[0].evidence["at_first"] >= 0.5
