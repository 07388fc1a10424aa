"""Networks of which nearly all weights are faint, where normalisations and skips hide that from the signal (IM502)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import Classifier, fit
from torch import Tensor, nn

from init_monitor import Finding, InitMonitor, Severity, check

WIDTH, CLASSES = 48, 8


class Block(nn.Module):
    def __init__(self, *, modulated: bool = False) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.second = nn.LayerNorm(WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.scale = nn.Linear(WIDTH, WIDTH) if modulated else None

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.tanh(self.mix(self.norm(x)))
        h = self.second(x)
        if self.scale is not None:
            h = h * (1 + self.scale(x))
        out: Tensor = x + self.feed(h)
        return out


class Stream(nn.Sequential):
    def __init__(self, blocks: int = 4, *, modulated: bool = False) -> None:
        torch.manual_seed(0)
        parts: list[Any] = [Block(modulated=modulated) for _ in range(blocks)]
        super().__init__(nn.Linear(16, WIDTH), *parts, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES))


def drawn(std: float, *, modulated: bool = False) -> Stream:
    """Return the network with all its matrices from N(0, std²)."""
    net = Stream(modulated=modulated)
    for one in net.parameters():
        if one.dim() > 1:
            nn.init.normal_(one, std=std)
    return net


def told(net: nn.Module) -> list[Finding]:
    found = check(net, torch.randn(64, 16)).findings
    return [one for one in found if one.code == "IM502" and one.severity > Severity.INFO]


def test_a_network_of_faint_weights_is_named_though_skips_and_norms_carry_the_signal() -> None:
    (finding,) = told(drawn(1e-3))
    assert finding.severity is Severity.WARNING
    assert "these weights have to grow" in finding.message
    assert {f"{k}.{name}" for k in range(1, 5) for name in ("mix", "feed.0")} >= set(finding.layers)
    assert {f"{k}.feed.0" for k in range(1, 5)} <= set(finding.layers)
    # fan_in · Var(W) of some named layer, by the weights themselves.
    gain = finding.evidence["gain_from_weights"]
    assert gain == pytest.approx(WIDTH * 1e-6, rel=0.1)


@pytest.mark.parametrize(
    "net", [Stream(), drawn(0.02), Stream(modulated=True)], ids=["torch's own", "0.02", "modulated"]
)
def test_usual_starts_are_not(net: nn.Module) -> None:
    assert told(net) == []


def test_modulations_that_start_at_zero_are_meant() -> None:
    net = Stream(modulated=True)
    for name, one in net.named_parameters():
        if "scale" in name or name.endswith("feed.2.weight"):
            nn.init.zeros_(one)
    assert told(net) == []


def test_its_code_lets_the_network_learn_what_it_hardly_does_without() -> None:
    x = torch.randn(1024, 16, generator=torch.Generator().manual_seed(1))
    labels = (x[:, :CLASSES] * x[:, CLASSES:]).argmax(1)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=64)

    def trained(net: nn.Module) -> tuple[InitMonitor, float]:
        monitor, module = InitMonitor(sinks=()), Classifier(net, lr=1e-3, optimizer="Adam")
        fit(module, rows, monitor, steps=120)
        with torch.no_grad():
            return monitor, float(nn.functional.cross_entropy(net(x), labels))

    monitor, faint = trained(drawn(1e-3))
    (finding,) = [one for one in monitor.findings if one.code == "IM502"]
    net = drawn(1e-3)
    exec(finding.remedy_code, {"model": Classifier(net)})  # noqa: S102 - what is printed is what is run
    monitor, mended = trained(net)
    assert [one for one in monitor.findings if one.code == "IM502"] == []
    assert mended < 0.8 * faint
