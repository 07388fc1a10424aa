from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import history, linear, linears, norm, only, parameter, rectifier
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import InitMonitor, Severity, Structure, check
from init_monitor.records.quantities import Quantity
from init_monitor.rules import Symmetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import History

WIDTH = 512
RANDOM, ALIKE = 1.0, 0.0


def columns(spread: Any, *, constant: Any = False, update: Any = 1e-2, **more: Any) -> dict[Quantity, Any]:
    """Weights of mean square 1: of one number where ``constant``, else of variance 1."""
    return {
        Quantity.WEIGHT_UNIT_SPREAD: spread,
        Quantity.WEIGHT_COUNT: float(WIDTH**2),
        Quantity.WEIGHT_NORM: float(WIDTH),
        Quantity.WEIGHT_VARIANCE: np.where(constant, 0.0, 1.0),
        Quantity.UPDATE_RATIO: update,
        Quantity.TRAINABLE: 1.0,
        Quantity.WEIGHT_GRADIENT_NORM: 1.0,
    } | {Quantity(name): value for name, value in more.items()}


def start(spread: Sequence[float], structure: Structure | None = None, **more: Any) -> list[Any]:
    """Judge a single record, with every weight whose units are alike of one number throughout."""
    same = [value == ALIKE for value in spread]
    given = columns(list(spread), constant=same, **more)
    return list(Symmetry().judge(history(structure or linears(len(spread), activation="ReLU"), given)))


def after(structure: Structure, *spreads: Any, **more: Any) -> History:
    return history(structure, *(columns(spread, **more) for spread in spreads))


def test_constant_layers_in_a_row_are_told_at_the_first_record() -> None:
    finding = only(start([RANDOM, ALIKE, ALIKE, RANDOM]))
    assert (finding.code, finding.rule, finding.severity) == ("IM501", "symmetry", Severity.CRITICAL)
    assert finding.layers == ("net.1", "net.2")
    assert "All units of net.1 and net.2 have the same weights, one number throughout" in finding.message
    assert finding.evidence["unit_spread"] == 0.0
    assert finding.expected["unit_spread"] == 1.0
    assert 'nn.init.kaiming_normal_(model.net[1].weight, nonlinearity="relu")' in finding.remedy_code


@pytest.mark.parametrize("spread", [[RANDOM] * 4, [RANDOM, ALIKE, RANDOM, RANDOM], [RANDOM, RANDOM, RANDOM, ALIKE]])
def test_a_single_constant_layer_or_a_constant_head_is_healthy_at_the_start(spread: list[float]) -> None:
    assert start(spread) == []


def test_equal_rows_before_a_layer_that_is_not_one_number_may_still_break() -> None:
    given = columns([ALIKE, ALIKE], constant=[True, False])
    assert not list(Symmetry().judge(history(linears(2), given)))


@pytest.mark.parametrize(("position", "inputs"), [(1, ("net.0", "net.3")), (1, ()), (1, ("input",))])
def test_a_constant_layer_with_another_source_is_not_certain(position: int, inputs: tuple[str, ...]) -> None:
    layers = list(linears(2).layers)
    layers[position] = linear(position, f"net.{position}", inputs=inputs)
    assert start([ALIKE, ALIKE], Structure(tuple(layers))) == []


def test_activations_and_normalisations_between_do_not_hide_it() -> None:
    layers = (
        linear(0, "a", inputs=("input",)),
        norm(1, "n", inputs=("a",)),
        rectifier(2, "r", inputs=("n",)),
        linear(3, "b", inputs=("r",)),
    )
    assert only(start([ALIKE, ALIKE], Structure(layers))).layers == ("a", "b")


def test_depthwise_kernels_may_be_equal_because_their_channels_are_not() -> None:
    depthwise = linear(0, "net.0", kind="Conv2d", fan_in=9, fan_out=9 * 32, inputs=("input",))
    layers = (depthwise, linear(1, "net.1", inputs=("net.0",)))
    assert start([ALIKE, ALIKE], Structure(layers), weight_count=[9 * 32, WIDTH**2]) == []
    full = linear(0, "net.0", kind="Conv2d", fan_in=9 * 16, fan_out=9 * 32, inputs=("input",))
    assert start([ALIKE, ALIKE], Structure((full, layers[1])), weight_count=[9 * 16 * 32, WIDTH**2])


def test_frozen_layers_are_never_mentioned() -> None:
    assert start([ALIKE, ALIKE], trainable=0.0) == []
    assert not list(Symmetry().judge(after(linears(2), *[[ALIKE, RANDOM]] * 6, trainable=0.0)))


def test_a_symmetry_that_outlives_updates_is_told_and_one_that_breaks_is_not() -> None:
    structure = linears(3)
    held = [[RANDOM, ALIKE, RANDOM]]
    finding = only(Symmetry().judge(after(structure, *held * 4)))
    assert finding.layers == ("net.1",)
    assert "still after 4 sampled steps that changed them" in finding.message
    assert not list(Symmetry().judge(after(structure, *held * 3)))
    assert not list(Symmetry().judge(after(structure, *held * 3, [RANDOM, 1e-5, RANDOM])))
    assert not list(Symmetry().judge(after(structure, [RANDOM, 1e-5, RANDOM], *held * 3)))


@pytest.mark.parametrize(("update", "fires"), [(1e-4, False), (2.4e-4, False), (2.6e-4, True), (1.0, True)])
def test_a_layer_that_has_hardly_moved_may_still_break(update: float, *, fires: bool) -> None:
    # Four records: the sum of the ratios has to reach 1e-3.
    assert bool(list(Symmetry().judge(after(linears(2), *[[ALIKE, RANDOM]] * 4, update=update)))) is fires


@pytest.mark.parametrize(("gradient", "fires"), [(0.0, True), (1.0, False), (np.nan, False)])
def test_a_layer_that_cannot_move_is_told_only_if_its_gradient_is_zero(gradient: float, *, fires: bool) -> None:
    past = after(linears(2), *[[ALIKE, RANDOM]] * 4, update=0.0, weight_gradient_norm=gradient)
    assert bool(list(Symmetry().judge(past))) is fires


def test_steps_that_changed_nothing_give_a_symmetry_no_chance_to_break() -> None:
    past = history(linears(2), *[columns([ALIKE, RANDOM])] * 6, stepped=False)
    assert not list(Symmetry().judge(past))


def test_what_was_not_measured_and_weights_of_zero_are_not_symmetric() -> None:
    assert start([np.nan] * 4) == []
    assert not list(Symmetry().judge(history(linears(3), {})))
    assert start([ALIKE] * 4, weight_norm=0.0) == []


def test_a_recurrent_layer_is_judged_by_all_its_weights() -> None:
    lstm = linear(0, "lstm", kind="LSTM", weight="", bias="", parameters=("lstm.weight_ih_l0", "lstm.weight_hh_l0"))
    names = ["lstm.weight_ih_l0", "lstm.weight_hh_l0"]
    past = history(Structure((lstm,)), *[columns([RANDOM, ALIKE])] * 4, parameter_names=names)
    finding = only(Symmetry().judge(past))
    assert finding.layers == ("lstm",)
    assert "orthogonal_" in finding.remedy_code


def test_a_spread_beside_a_mean_that_differs_is_no_symmetry_but_one_beside_a_smaller_parameter_is() -> None:
    noisy = linear(0, "noisy", kind="Noisy", weight="", bias="", parameters=("noisy.mean", "noisy.spread"))
    names = ["noisy.mean", "noisy.spread"]
    past = history(Structure((noisy,)), *[columns([RANDOM, ALIKE])] * 4, parameter_names=names)
    assert not list(Symmetry().judge(past))
    smaller = columns([RANDOM, ALIKE], weight_count=[float(WIDTH), float(WIDTH**2)])
    assert only(Symmetry().judge(history(Structure((noisy,)), *[smaller] * 4, parameter_names=names))).layers == (
        "noisy",
    )


class Noisy(nn.Linear):
    """A weight that is drawn for each batch, from a mean and a spread for each element."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.log_spread = nn.Parameter(torch.full((outputs, inputs), -4.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        drawn = self.weight + self.log_spread.exp() * torch.randn_like(self.weight)
        return nn.functional.linear(x, drawn, self.bias)


def test_spreads_that_a_penalty_moves_together_are_never_called_a_symmetry() -> None:
    class Penalised(Classifier):
        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, _batch_idx)
            for name, one in self.named_parameters():
                loss = loss + 100 * one.square().sum() if "log_spread" in name else loss
            return loss

    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    noisy = nn.Sequential(Noisy(8, 32), nn.ReLU(), Noisy(32, 10))
    fit(Penalised(noisy, optimizer="Adam"), loader(8), monitor, steps=12)
    assert not [one for one in monitor.findings if one.code == "IM501"]


def layer_of(module: Classifier, index: int) -> nn.Linear:
    found = module.net.get_submodule(str(index))
    assert isinstance(found, nn.Linear)
    return found


def stuck(norms: Sequence[float], gradients: Sequence[float], *, count: int = 4, **more: Any) -> list[Any]:
    given = columns(np.nan, weight_norm=list(norms), weight_gradient_norm=list(gradients), update=0.0)
    given |= {Quantity(name): value for name, value in more.items()}
    return list(Symmetry().judge(history(linears(4, activation="ReLU"), *[given] * count)))


def test_layers_of_zeros_in_a_row_that_stay_are_told() -> None:
    finding = only(stuck([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]))
    assert finding.layers == ("net.1", "net.2")
    assert "layers of zeros in a row keep each other from learning" in finding.message
    assert "kaiming_normal_(model.net[1].weight" in finding.remedy_code


def test_layers_of_zeros_that_are_all_that_is_trained_are_told_although_no_step_moves_anything() -> None:
    given = columns(np.nan, weight_norm=[1.0, 0.0, 0.0, 1.0], weight_gradient_norm=[0.0] * 4, update=0.0)
    assert only(Symmetry().judge(history(linears(4), *[given] * 4, stepped=False))).layers == ("net.1", "net.2")


@pytest.mark.parametrize(
    ("norms", "gradients", "more"),
    [
        ([1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], {}),  # one of them alone: something else holds it
        ([1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0], {}),  # not in a row
        ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1e-9, 1.0], {}),  # the second is about to leave
        ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], {"count": 3}),
        ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], {"trainable": 0.0}),
    ],
)
def test_other_layers_of_zeros_are_not(norms: list[float], gradients: list[float], more: dict[str, Any]) -> None:
    assert stuck(norms, gradients, **more) == []


def test_zeros_keep_units_the_same_for_ever_and_that_is_told_beside_the_signal_that_stops() -> None:
    module = Classifier(mlp(3, 16, nn.init.zeros_), lr=0.1)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(module, loader(16), monitor)
    told = {finding.code: finding for finding in monitor.findings}
    assert told["IM102"].step == 0
    assert told["IM501"].step == 3
    assert told["IM501"].layers == ("net.0", "net.2", "net.4", "net.6")
    # The fault itself: twelve steps of training have changed nothing but the last bias.
    assert all(not parameter(layer_of(module, i)).any() for i in (0, 2, 4, 6))


def test_three_layers_of_zeros_in_a_row_are_told_at_once_also_where_biases_will_end_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(part for _ in range(3) for part in (nn.Linear(16, 16), nn.Tanh())), nn.Linear(16, 10))
    for part in net:
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.weight)  # the biases stay as torch drew them
    module = Classifier(net, lr=0.1)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(module, loader(16), monitor)
    told = next(finding for finding in monitor.findings if finding.code == "IM501")
    assert (told.step, told.severity, told.layers) == (0, Severity.WARNING, ("net.0", "net.2", "net.4", "net.6"))
    exec(told.remedy_code, {"model": module})  # noqa: S102 - what a user would paste
    assert all(float(parameter(layer_of(module, i)).std()) > 0.1 for i in (0, 2, 4, 6))


def test_zeros_at_the_ends_of_branches_and_in_a_head_are_a_start() -> None:
    """Each end is read by the head alone or by layers that are not zero: no three in a row."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.gate, self.up, self.end = nn.LayerNorm(16), *(nn.Linear(16, 16) for _ in range(3))
            nn.init.zeros_(self.end.weight)
            nn.init.zeros_(self.gate.weight)  # a gate that starts open by its bias, before an end of zeros

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            read = self.norm(x)
            added: torch.Tensor = self.end(torch.sigmoid(self.gate(read) + 1) * self.up(read))
            return x + added

    net = nn.Sequential(nn.Linear(16, 16), Block(), Block(), Block(), nn.LayerNorm(16), nn.Linear(16, 10))
    nn.init.zeros_(layer_of_net := dict(net.named_parameters())["5.weight"])
    assert not layer_of_net.any()
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net, lr=0.01), loader(16), monitor)
    assert [finding for finding in monitor.findings if finding.code == "IM501"] == []


def constant_(weight: torch.Tensor) -> None:
    nn.init.constant_(weight, 0.05)


def test_a_training_of_constant_weights_is_told_at_once_and_its_remedy_ends_it() -> None:
    torch.manual_seed(0)
    module = Classifier(mlp(3, 16, constant_), lr=0.1)
    monitor = InitMonitor(sinks=(), strict=True, rules=(Symmetry(),))
    fit(module, loader(16), monitor)
    finding = only(monitor.findings)
    assert (finding.step, finding.layers) == (0, ("net.0", "net.2", "net.4", "net.6"))
    first = parameter(layer_of(module, 0))
    assert torch.allclose(first, first[:1].expand_as(first))  # the fault itself, after 12 steps
    again = Classifier(mlp(3, 16, constant_), lr=0.1)
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": again})  # noqa: S102 - the code a user is to paste
    monitor = InitMonitor(sinks=(), strict=True, rules=(Symmetry(),))
    fit(again, loader(16), monitor)
    assert monitor.findings == []


@pytest.mark.parametrize("spoiled", [[0], [6], [0, 6]])
def test_a_training_with_constants_that_do_not_touch_is_never_mentioned(spoiled: list[int]) -> None:
    torch.manual_seed(0)
    module = Classifier(mlp(3, 16, nn.init.kaiming_normal_), lr=0.1)
    for index in spoiled:
        constant_(layer_of(module, index).weight)
    monitor = InitMonitor(sinks=(), strict=True, rules=(Symmetry(),))
    fit(module, loader(16), monitor)
    assert monitor.findings == []
    assert monitor.records[0].parameters["net.0.weight"].unit_spread == pytest.approx(
        0.0 if 0 in spoiled else 1.0, abs=0.7
    )


def test_a_check_before_training_tells_it_too() -> None:
    assert only(check(mlp(2, 8, constant_), torch.randn(4, 8), rules=(Symmetry(),)).findings).code == "IM501"
    assert check(mlp(2, 8), torch.randn(4, 8), rules=(Symmetry(),)).findings == ()


def test_a_grayscale_stem_is_told_once_it_has_not_broken() -> None:
    # One input channel looks like a depthwise layer; the records after it tell them apart.
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10))
    for name, weight in net.named_parameters():
        nn.init.constant_(weight, 0.05 if "weight" in name else 0.0)
    monitor = InitMonitor(sinks=(), strict=True, rules=(Symmetry(),))
    fit(Classifier(net, lr=0.1), loader(1, 6, 6), monitor)
    assert {name for finding in monitor.findings for name in finding.layers} == {"net.0", "net.2", "net.5"}
