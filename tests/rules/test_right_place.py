"""Findings that name where a fault is, and not what comes of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity


def trained(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: int = 60) -> list[Finding]:
    """Train on noise around four centres and return all that is louder than information."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 12, generator=generator)
    with init_monitor.watch(model, optimizer=optimizers, sinks=(), strict=True) as watched:
        for _ in range(steps):
            y = torch.randint(0, 4, (64,), generator=generator)
            x = centres[y] + torch.randn(64, 12, generator=generator)
            with watched.step() as now:
                loss = F.cross_entropy(model(x), y)
                for one in optimizers:
                    one.zero_grad()
                loss.backward()
                for one in optimizers:
                    one.step()
                now.loss = loss
    return [finding for finding in watched.findings if finding.severity > Severity.INFO]


def chain(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.get_parameter("weight"))
        nn.init.zeros_(layer.get_parameter("bias"))
    return nn.Sequential(*layers[:-1])


class Sampled(nn.Module):
    """An encoder whose second output is the log variance of what the decoder gets."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.encoder, self.decoder = chain(12, 32, 32), chain(8, 32, 32, 4)
        self.mean, self.spread = nn.Linear(32, 8), nn.Linear(32, 8)
        nn.init.normal_(self.spread.weight, std=scale)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x).relu()
        mean, log_variance = self.mean(h), self.spread(h)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(len(x)))
        out: Tensor = self.decoder(mean + noise * (log_variance / 2).exp())
        return out


def test_what_an_exponential_makes_too_large_is_blamed_on_the_layer_before_it() -> None:
    found = trained(*_with_adam(Sampled(2.0)))
    first = next(one for one in found if one.code == "IM101")
    assert "spread" in first.layers
    assert "exponential of what spread gives" in first.message
    assert "clamp the output of spread" in first.remedy


def test_an_exponential_that_is_past_the_format_is_named_where_the_first_infinite_number_appears() -> None:
    found = trained(*_with_adam(Sampled(20.0)), steps=3)
    broken = next(one for one in found if one.code == "IM601")
    assert "spread, which comes before it, gives numbers up to" in broken.message


def test_of_two_optimizers_the_layers_of_the_slow_one_are_named() -> None:
    model = chain(12, 32, 32, 32, 4)
    trunk = [p for layer in (model[0], model[2], model[4]) for p in layer.parameters()]
    optimizers = [torch.optim.SGD(trunk, lr=1e-9), torch.optim.Adam(model[6].parameters(), lr=1e-2)]
    (found,) = [one for one in trained(model, optimizers, steps=160) if one.code == "IM603"]
    assert found.layers == ("0", "2", "4")
    assert "0, 2 and 4 hardly move" in found.message


def test_rectifiers_behind_one_that_is_off_altogether_are_not_called_dead_themselves() -> None:
    model = chain(12, 32, 32, 32, 32, 4)
    nn.init.constant_(model[2].get_parameter("bias"), -100.0)
    dead = next(one for one in trained(*_with_adam(model)) if one.code == "IM301")
    assert dead.layers == ("3",)


def test_a_stream_that_a_step_made_grow_is_told_as_made_by_training_and_its_branches_stay_as_they_are() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem, self.head = nn.Linear(12, 32), nn.Linear(32, 4)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(8)
            )

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for block in self.blocks:
                x = x + block(x)
            out: Tensor = self.head(x)
            return out

    found = trained(*_with_adam(Blocks(), 0.5), steps=12)
    (growth,) = [one for one in found if one.code == "IM401"]
    assert growth.step > 0
    assert "training caused this" in growth.message
    assert "zeros_" not in growth.remedy
    assert "learning rate" in growth.remedy


def _with_adam(model: nn.Module, rate: float = 1e-3) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    return model, [torch.optim.Adam(model.parameters(), lr=rate)]


@pytest.mark.parametrize("scale", [0.01, 0.3])
def test_a_log_variance_of_a_usual_size_is_not_mentioned(scale: float) -> None:
    assert not [one for one in trained(*_with_adam(Sampled(scale))) if "exponential" in one.message]


class Gated(nn.Module):
    """Products with gates, and a factor that makes each of them too large."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.values = nn.ModuleList(nn.Linear(12 if i == 0 else 32, 32) for i in range(6))
        self.gates = nn.ModuleList(nn.Linear(12 if i == 0 else 32, 32) for i in range(6))
        self.head, self.factor = nn.Linear(32, 4), factor

    def forward(self, x: Tensor) -> Tensor:
        for value, gate in zip(self.values, self.gates, strict=True):
            x = value(x) * gate(x).sigmoid() * self.factor
        out: Tensor = self.head(x)
        return out


def test_a_gate_that_a_factor_saturates_blames_the_place_of_the_factor_and_not_the_input() -> None:
    found = [one for one in trained(*_with_adam(Gated(8.0)), steps=3) if one.code == "IM303"]
    assert found
    assert found[0].layers[0].startswith("gates.")
    assert "gates.0" not in found[0].layers
    assert "something multiplies the signal's mean square" in found[0].message
    assert "take the factor away" in found[0].remedy
    assert "Standardise" not in found[0].remedy


def test_deep_post_norm_blocks_that_lose_the_gradient_are_told_to_warm_up() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    model = nn.Sequential(
        nn.Unflatten(1, (4, 3)),
        nn.Linear(3, 32),
        nn.TransformerEncoder(layer, 12, enable_nested_tensor=False),
        nn.Flatten(),
        nn.Linear(128, 4),
    )
    found = [one for one in trained(*_with_adam(model, 1e-2), steps=120) if one.code == "IM202"]
    assert found
    assert "Warm the learning rate up" in found[0].remedy
    assert "KL term" not in found[0].remedy
