"""Sums over the elements of a set: where they are, that each side is judged alone, and what a plan makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

import init_monitor
from init_monitor.analysis.segments import segments
from init_monitor.analysis.summed_inputs import SUMMED, parted, summed_inputs
from init_monitor.capture.single_pass import rehearse

if TYPE_CHECKING:
    from collections.abc import Callable


class Sets(nn.Module):
    def __init__(self, join: Callable[[Tensor], Tensor], std: float = 0.0) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32))
        self.all = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        self.join = join
        for layer in self.modules():
            if std and isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.all(self.join(self.each(x)))
        return output


def summed(x: Tensor) -> Tensor:
    return x.sum(1)


def sets() -> tuple[Tensor, Tensor]:
    x = torch.randn(64, 30, 4, generator=torch.Generator().manual_seed(1))
    return x, x[..., 0].square().mean(1, keepdim=True)


def test_a_layer_behind_a_sum_is_found_with_the_mean_square_that_it_receives() -> None:
    torch.manual_seed(0)
    net, (x, _) = Sets(summed), sets()
    seen = rehearse(net, x, caller="test")
    ((name, (before, received)),) = summed_inputs(seen.record, seen.structure).items()
    assert (name, before.name) == ("all.0", "each.2")
    with torch.no_grad():
        assert received == pytest.approx(float(net.each(x).double().sum(1).square().mean()), rel=1e-4)
        assert received > SUMMED * float(net.each(x).square().mean())


@pytest.mark.parametrize(
    "join",
    [
        lambda x: x.mean(1),
        lambda x: x.amax(1),
        lambda x: x[:, 0] * 30,
        lambda x: x[:, :3].sum(1) / 3**0.5,
        lambda x: torch.sin(30 * x[:, 0]),
    ],
    ids=["mean", "maximum", "factor", "normalised sum", "sine"],
)
def test_what_is_no_sum_is_none(join: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    seen = rehearse(Sets(join), sets()[0], caller="test")
    assert not summed_inputs(seen.record, seen.structure)


def test_a_chain_is_parted_before_the_sum_and_keeps_its_levels() -> None:
    torch.manual_seed(0)
    seen = rehearse(Sets(summed), sets()[0], caller="test")
    (whole,) = segments(seen.structure)
    first, second = parted(whole, {"all.0"})
    assert [layer.name for layer in first.layers] == ["each.0", "each.2"]
    assert [layer.name for layer in second.layers] == ["all.0", "all.2"]
    assert (*first.levels, *second.levels) == whole.levels
    assert list(parted(whole, ())) == [whole]


def test_a_plan_that_draws_both_sides_halves_the_sum_in_logarithms() -> None:
    torch.manual_seed(0)
    net, batch = Sets(summed, std=1e-3), sets()
    plan = init_monitor.recommend(net, batch, nn.functional.mse_loss)
    by_layer = {layer.layer: layer for layer in plan.layers}
    assert all(layer.recipe for layer in plan.layers)
    assert by_layer["all.2"].recipe == "small_output_", "targets that are no classes start from a small output"
    gain = by_layer["each.2"].options["gain"]
    assert isinstance(gain, float)
    assert by_layer["each.2"].target_variance == pytest.approx(gain**2 * 2 / 64)
    plan.apply_(generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        divided = float(net.each(batch[0]).sum(1).square().mean())
    assert divided == pytest.approx(gain**-2, rel=0.2), (
        "the fourth root is taken out of the weights, the square root of the sum is left"
    )
    assert divided > 1
