"""What the rules about weights and inputs go by: unlike units, what an optimizer holds, and what enters the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from builders import linear, linears
from hypothesis import given, settings, strategies as st
from torch import nn

from init_monitor import watch
from init_monitor.analysis.segments import segments
from init_monitor.capture.parameters import unit_projections
from init_monitor.records import INPUT, Structure
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.standalone import Watch


def trained(
    model: nn.Module,
    batch: torch.Tensor,
    optimizer: torch.optim.Optimizer | list[torch.optim.Optimizer],
    steps: int = 1,
) -> Watch:
    """Return the watch over a few steps of a model."""
    with watch(model, optimizer=optimizer, sinks=()) as seen:
        for _ in range(steps):
            with seen.step():
                loss = model(batch).square().mean()
                model.zero_grad()
                loss.backward()
                for one in optimizer if isinstance(optimizer, list) else [optimizer]:
                    one.step()
    return seen


@settings(max_examples=40)
@given(
    units=st.integers(2, 600),
    inputs=st.integers(1, 70),
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-3, 1e3),
    mean=st.sampled_from([0.0, 1.0]),
)
def test_equal_units_have_equal_projections_and_unequal_ones_do_not(
    units: int, inputs: int, seed: int, scale: float, mean: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    row = scale * torch.randn(1, inputs, generator=generator)
    alike = unit_projections(row.expand(units, inputs).contiguous())
    assert float(alike.var(correction=0)) <= 1e-12 * max(float(alike.square().mean()), float(row.square().sum()))
    random = mean + torch.randn(units, inputs, generator=generator)
    assert float(unit_projections(random).var(correction=0)) > 0


@pytest.mark.parametrize("shape", [(400, 300), (64, 32, 3, 3), (256, 64, 5)])
def test_random_weights_have_a_unit_spread_of_about_one(shape: tuple[int, ...]) -> None:
    layer = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else None
    model = nn.Sequential(
        layer or (nn.Conv1d if len(shape) == 3 else nn.Conv2d)(shape[1], shape[0], shape[2]), nn.Flatten()
    )
    nn.init.normal_(model[0].weight, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    batch = torch.randn(2, *shape[1:]) if len(shape) > 2 else torch.randn(2, shape[1])
    seen = trained(model, batch, torch.optim.SGD(model.parameters(), lr=0.0))
    spread = seen.records[0].parameters["0.weight"].unit_spread
    # The variance of 256 (or fewer) normal numbers is within 5 standard errors of 1.
    assert abs(spread - 1) < 5 * np.sqrt(2 / min(shape[0], 200))


def test_constant_weights_have_no_unit_spread_and_zero_weights_and_biases_have_none_to_speak_of() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.Linear(4, 1))
    nn.init.constant_(model[0].weight, 0.25)  # type: ignore[arg-type]
    nn.init.zeros_(model[2].weight)  # type: ignore[arg-type]
    record = trained(model, torch.rand(32, 8), torch.optim.SGD(model.parameters(), lr=0.0)).records[0]
    spread = {name: parameter.unit_spread for name, parameter in record.parameters.items()}
    assert spread["0.weight"] == 0
    assert np.isnan([spread["2.weight"], spread["0.bias"], spread["3.weight"]]).all()


def test_units_that_start_alike_stay_alike_and_the_spread_says_so() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    for layer in (model[0], model[2], model[4]):
        nn.init.constant_(layer.weight, 0.1)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    seen = trained(model, torch.randn(64, 8), torch.optim.Adam(model.parameters(), lr=0.05), steps=10)
    last = seen.records[-1].parameters
    assert last["0.weight"].variance > 0, "the weights of one unit have come apart"
    assert last["0.weight"].unit_spread < 1e-9
    assert last["2.weight"].unit_spread < 1e-9
    rows = model[0].weight.detach().double()  # type: ignore[operator]
    assert float((rows - rows[0]).abs().max()) < 1e-6, "the units really are alike"


def test_trainable_parameters_that_no_optimizer_holds_are_named_and_frozen_ones_are_not() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    model[1].requires_grad_(requires_grad=False)
    seen = trained(model, torch.randn(8, 4), torch.optim.SGD(model[2].parameters(), lr=0.1))
    assert seen.records[0].unoptimized == ("0.weight", "0.bias")


def test_what_any_of_several_optimizers_holds_is_held() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    both: list[torch.optim.Optimizer] = [
        torch.optim.SGD(model[0].parameters(), lr=0.1),
        torch.optim.SGD(model[1].parameters(), lr=0.1),
    ]
    assert trained(model, torch.randn(8, 4), both).records[0].unoptimized == ()


def test_an_optimizer_with_parameters_of_its_own_says_nothing_about_the_model() -> None:
    model, copies = nn.Linear(4, 1), nn.Linear(4, 1)
    seen = trained(model, torch.randn(8, 4), torch.optim.SGD(copies.parameters(), lr=0.1))
    assert seen.records[0].unoptimized == ()


def test_a_frozen_parameter_that_an_optimizer_holds_is_not_trainable() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    model[0].requires_grad_(requires_grad=False)
    record = trained(model, torch.randn(8, 4), torch.optim.SGD(model.parameters(), lr=0.1)).records[0]
    assert {name: p.trainable for name, p in record.parameters.items()} == {
        "0.weight": False,
        "0.bias": False,
        "1.weight": True,
        "1.bias": True,
    }


def test_what_a_weight_layer_receives_agrees_with_the_tensors() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    batch = 40 + 5 * torch.randn(64, 6)
    with torch.no_grad():
        hidden = torch.relu(model[0](batch))
    record = trained(model, batch, torch.optim.SGD(model.parameters(), lr=0.0)).records[0]
    for at, given_to in ((0, batch), (2, hidden)):
        wide = given_to.double()
        expected = {
            Quantity.INPUT_MEAN: wide.mean(),
            Quantity.INPUT_VARIANCE: wide.var(correction=0),
            Quantity.INPUT_MEAN_SQUARE: wide.square().mean(),
            Quantity.INPUT_ABS_MAX: wide.abs().max(),
        }
        for quantity, value in expected.items():
            assert record.column(quantity)[at] == pytest.approx(float(value), rel=1e-5)


class Towers(nn.Module):
    """Embeds indices, reads features, joins both, and looks again at what it cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.left, self.right = nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(6, 4)
        self.joined, self.again = nn.Linear(8, 4), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Join two towers."""
        left = self.left(self.embed(x.long().clamp(0, 9)[:, 0]))
        right = self.right(x.flatten(1))
        joined = self.joined(torch.cat((left, right), 1))
        output: torch.Tensor = self.again(joined.detach()) + joined.mean(1, keepdim=True)
        return output


def test_layers_that_take_data_say_so_and_no_other_does() -> None:
    model = Towers()
    seen = trained(model, torch.randn(8, 6), torch.optim.SGD(model.parameters(), lr=0.0))
    takes = {layer.name: INPUT in layer.inputs for layer in seen.structure.layers}
    # What was cut off from the gradient is data for what comes after it.
    assert takes == {"embed": True, "left": False, "right": True, "joined": False, "again": True}


def test_a_layer_that_takes_the_input_starts_a_chain_of_its_own() -> None:
    first = linears(3)
    second = linear(3, "other.0", inputs=(INPUT,))
    third = linear(4, "other.1", inputs=("other.0",))
    unknown = linear(5, "other.2")  # it may read anything that ran before, or nothing
    found = segments(Structure((*first.layers, second, third, unknown)))
    assert [[layer.name for layer in s.layers] for s in found] == [
        ["net.0", "net.1", "net.2"],
        ["other.0", "other.1"],
        ["other.2"],
    ]
    assert found[1].levels == (0, 1)
