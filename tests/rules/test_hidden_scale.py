"""Networks of which nearly all weights are far too large, behind normalisations that hide it, and recurrent weights of zero (IM502)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from models import Classifier, fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from init_monitor import Finding, InitMonitor, Severity, check

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, CLASSES = 48, 8


def normalised(blocks: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for k in range(blocks):
        parts += [nn.Linear(WIDTH if k else 32, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(WIDTH, CLASSES))


def drawn(net: nn.Module, std: float) -> nn.Module:
    """Return the network with all its matrices from N(0, std²)."""
    for one in net.parameters():
        if one.dim() > 1:
            nn.init.normal_(one, std=std)
    return net


class Equalised(nn.Linear):
    """Weights of N(0, 1), and the factor that they need where they are used."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.in_features**-0.5, self.bias)


def equalised() -> nn.Module:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for k in range(3):
        parts += [Equalised(WIDTH if k else 32, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]
    return drawn(nn.Sequential(*parts, Equalised(WIDTH, CLASSES)), 1.0)


def told(net: nn.Module) -> list[Finding]:
    found = check(net, torch.randn(64, 32)).findings
    return [one for one in found if one.code == "IM502" and one.severity > Severity.INFO]


def test_a_network_of_n01_is_named_though_normalisations_hide_its_scale() -> None:
    (finding,) = told(drawn(normalised(), 1.0))
    assert finding.severity is Severity.WARNING
    assert finding.layers == ("0", "3", "6", "9")
    assert "Normalisations hide that from the signal" in finding.message
    # sqrt of fan_in · Var(W) over the 2 of ReLU, the median of four layers: 32/2, 48/2, 48/2 and 48.
    assert finding.evidence["smaller_step"] == pytest.approx(24**0.5, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        normalised,
        lambda: drawn(normalised(), (2 / WIDTH) ** 0.5),
        lambda: drawn(normalised(), 4 * (1 / WIDTH) ** 0.5),
        equalised,
    ],
    ids=["torch's own", "He", "twice what He's fan_out mode may give", "equalised"],
)
def test_usual_starts_are_not(make: Callable[[], nn.Module]) -> None:
    assert told(make()) == []


def rows() -> torch.utils.data.DataLoader[tuple[Tensor, ...]]:
    x = torch.randn(1024, 32, generator=torch.Generator().manual_seed(1))
    labels = (x[:, :CLASSES] * x[:, CLASSES : 2 * CLASSES]).argmax(1)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=64)


def trained(net: nn.Module, lr: float) -> tuple[list[Finding], float]:
    monitor, module = InitMonitor(sinks=()), Classifier(net, lr=lr, optimizer="Adam")
    fit(module, rows(), monitor, steps=100)
    x, labels = next(iter(rows()))
    with torch.no_grad():
        return [one for one in monitor.findings if one.code == "IM502"], float(F.cross_entropy(net(x), labels))


def test_its_code_reaches_what_usual_weights_do_and_steps_as_large_as_the_weights_are_silent() -> None:
    (finding,), large = trained(drawn(normalised(), 1.0), 1e-3)
    net = drawn(normalised(), 1.0)
    exec(finding.remedy_code, {"model": Classifier(net)})  # noqa: S102 - what is printed is what is run
    found, mended = trained(net, 1e-3)
    assert found == []
    _, usual = trained(normalised(), 1e-3)
    assert mended < usual + 0.2 * (large - usual)
    assert trained(drawn(normalised(), 1.0), 2e-2)[0] == []


class Recurrent(nn.Module):
    def __init__(self, kind: Callable[..., nn.RNNBase]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = kind(4, 24, batch_first=True), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(x.unflatten(1, (8, 4)))[0][:, -1])
        return out


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_weights_of_zero_are_named_unless_they_stay_so(kind: Callable[..., nn.RNNBase]) -> None:
    net = Recurrent(kind)
    assert told(net) == []
    weight = net.rnn.get_parameter("weight_hh_l0")
    nn.init.zeros_(weight)
    (finding,) = told(net)
    assert (finding.severity, finding.layers) == (Severity.WARNING, ("rnn[0]",))
    exec(finding.remedy_code, {"model": net})  # noqa: S102
    assert told(net) == []
    assert float(weight.detach().norm()) > 1
    nn.init.zeros_(weight)
    weight.requires_grad = False
    assert told(net) == []


def test_recurrent_weights_of_one_sign_multiply_the_state_by_their_sum() -> None:
    net = Recurrent(nn.GRU)
    weight = net.rnn.get_parameter("weight_hh_l0")
    nn.init.uniform_(weight, 0, 0.3)  # 24 · 0.3²/12 = 0.2, but 24 · 0.15 = 3.6
    (finding,) = told(net)
    assert finding.evidence["gain_from_weights"] == pytest.approx(3.6**2, rel=0.1)
    nn.init.uniform_(weight, -0.3, 0.3)
    assert told(net) == []
    nn.init.zeros_(weight)
    for gate in weight.data.chunk(3):
        nn.init.eye_(gate)
    assert told(net) == []


class PreActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(32, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
            for _ in range(3)
        )
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.head(self.norm(x))
        return out


def test_a_stem_that_drowns_what_its_branches_add_is_named() -> None:
    net = PreActivation()
    assert told(net) == []
    net.stem.weight.data *= 20
    (finding,) = told(net)
    assert finding.layers == ("stem",)
    exec(finding.remedy_code, {"model": net})  # noqa: S102
    assert told(net) == []
    net.stem.weight.data *= 2  # He's, and twice that
    assert told(net) == []
