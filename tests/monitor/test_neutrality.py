"""The monitor changes nothing: losses, gradients, parameters and random state are equal bit for bit."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import pytest
import torch
import torchvision
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.untraced

STEPS = 50


class SmallTransformer(nn.Module):
    """Two encoder layers with dropout over 8 tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.2, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.encoder(x).mean(1))
        return output


class GradientDiary(Classifier):
    """Keeps a digest of the bytes of every gradient of every step."""

    def on_before_optimizer_step(self, _optimizer: torch.optim.Optimizer) -> None:
        digest = hashlib.sha256()
        for parameter in self.parameters():
            assert parameter.grad is not None
            digest.update(parameter.grad.numpy().tobytes())
        self.diary = [*getattr(self, "diary", []), digest.hexdigest()]


Outcome = tuple[list[float], list[str], dict[str, torch.Tensor], torch.Tensor]


def train(make: Callable[[], nn.Module], shape: tuple[int, ...], monitor: InitMonitor | None) -> Outcome:
    torch.manual_seed(7)
    module = GradientDiary(make(), lr=1e-2)
    data = loader(*shape, samples=STEPS * 4, batch=4)
    fit(module, data, monitor, steps=STEPS)
    return module.losses, module.diary, module.state_dict(), torch.get_rng_state()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: mlp(4, 24, activation=lambda: nn.ReLU(inplace=True)), (24,)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), (3, 32, 32)),
    "transformer": (SmallTransformer, (8, 32)),
}
"""Networks and the shape of a sample."""


@pytest.fixture(scope="module", params=NETWORKS)
def unwatched(request: pytest.FixtureRequest) -> tuple[str, Outcome]:
    """A network, and what it comes to without a monitor: once for all ways of measuring."""
    return request.param, train(*NETWORKS[request.param], None)


@pytest.mark.parametrize("measure", ["exact", "staged"])
def test_fifty_steps_are_bit_equal_with_and_without_the_monitor(
    unwatched: tuple[str, Outcome], measure: Literal["exact", "staged"]
) -> None:
    monitor = InitMonitor(dense_steps=3, every_n_steps=5, sinks=(), measure=measure, strict=True)
    network, plain = unwatched
    watched = train(*NETWORKS[network], monitor)
    assert len(monitor.records) == 3 + 9
    assert monitor.notices == []
    assert watched[0] == plain[0]
    assert len(set(plain[1])) == STEPS
    assert watched[1] == plain[1]
    assert watched[2].keys() == plain[2].keys()
    assert all(torch.equal(watched[2][name], plain[2][name]) for name in plain[2])
    assert torch.equal(watched[3], plain[3])
