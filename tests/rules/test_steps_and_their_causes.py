"""What an optimizer is told besides its rate: an epsilon, a clip, a decay, weights that start near 0, a loss over nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from models import Classifier, fit, loader
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import InitMonitor, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor import Finding


class Normed(nn.Module):
    """A pre-norm residual network whose normalisations hide how small its weights are."""

    def __init__(self, std: float | None = None) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(64) for _ in range(4)])
        self.mixes = nn.ModuleList([nn.Linear(64, 64) for _ in range(4)])
        self.last, self.head = nn.LayerNorm(64), nn.Linear(64, 10)
        if std is not None:
            for layer in (*self.mixes, self.head):
                nn.init.normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        for norm, mix in zip(self.norms, self.mixes, strict=True):
            x = x + F.gelu(mix(norm(x)))
        result: Tensor = self.head(self.last(x))
        return result


def trained(
    model: nn.Module,
    make: Callable[[Any], torch.optim.Optimizer],
    *,
    steps: int = 120,
    clip: float | None = None,
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> list[Finding]:
    torch.manual_seed(1)
    # what the first input says decides the class, so that there is something to learn
    batches = [(x, (x[:, :10].argmax(1))) for x, _ in loader(64, samples=1024)]
    optimizer = make(model.parameters())
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for at in range(steps):
            x, y = batches[at % len(batches)]
            with watched.step() as step:
                optimizer.zero_grad()
                loss = loss_of(model(x), y)
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                step.loss = loss
    return [one for one in watched.findings if one.severity > Severity.INFO]


@pytest.mark.parametrize("std", [1e-5, 1e-3, None])
def test_weights_behind_normalisations_may_start_near_0_and_leave_it_at_once(std: float | None) -> None:
    torch.manual_seed(0)
    assert trained(Normed(std), lambda given: torch.optim.Adam(given, lr=1e-3)) == []


def test_a_rate_that_is_too_high_is_told_for_them_too() -> None:
    torch.manual_seed(0)
    found = trained(Normed(1e-5), lambda given: torch.optim.Adam(given, lr=0.3))
    assert "IM603" in [one.code for one in found]


def test_a_clip_far_below_the_gradient_is_named_and_no_rate_of_hundreds_is_advised() -> None:
    def told(clip: float) -> list[Finding]:
        torch.manual_seed(0)
        monitor = InitMonitor(sinks=())
        fit(Classifier(Normed(), lr=0.1), loader(64), monitor, steps=120, gradient_clip_val=clip)
        return [one for one in monitor.findings if one.severity > Severity.INFO]

    (finding,) = told(1e-4)
    assert finding.code == "IM603"
    assert "the gradient is clipped to next to nothing" in finding.message
    assert "gradient_clip_val=1.0" in finding.remedy_code
    assert told(1.0) == []


def test_where_the_clipped_gradient_is_all_that_is_seen_a_clip_is_among_what_to_look_at() -> None:
    torch.manual_seed(0)
    (finding,) = trained(Normed(), lambda given: torch.optim.SGD(given, lr=0.1, momentum=0.9), clip=1e-4)
    assert finding.code == "IM603"
    assert "a clip" in finding.remedy
    assert not finding.remedy_code


def test_a_decay_that_empties_the_scales_of_normalisations_is_named() -> None:
    torch.manual_seed(0)
    found = trained(Normed(), lambda given: torch.optim.AdamW(given, lr=1e-3, weight_decay=30.0), steps=200)
    (finding,) = [one for one in found if one.code == "IM603"]
    assert "the scales of the normalisations have become" in finding.message
    assert "weight_decay=0.01)" in finding.remedy_code
    assert trained(Normed(), lambda given: torch.optim.AdamW(given, lr=1e-3, weight_decay=0.01), steps=200) == []


def test_a_mean_over_no_target_at_all_is_named_once() -> None:
    torch.manual_seed(0)

    def of_nothing(logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, torch.full_like(y, -100))

    (finding,) = trained(Normed(), lambda given: torch.optim.Adam(given, lr=1e-3), steps=12, loss_of=of_nothing)
    assert (finding.code, finding.severity) == ("IM802", Severity.CRITICAL)
    assert "a mean over nothing" in finding.message
    assert "ignore_index" in finding.remedy
    compile(finding.remedy_code, "remedy", "exec")


def test_a_loss_that_is_broken_by_what_the_network_gave_is_no_mean_over_nothing() -> None:
    torch.manual_seed(0)

    def broken(logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y) * torch.tensor(float("nan"))

    found = trained(Normed(), lambda given: torch.optim.Adam(given, lr=1e-3), steps=12, loss_of=broken)
    assert found
    assert all("mean over nothing" not in one.message for one in found)
