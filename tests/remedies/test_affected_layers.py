"""Remedies that reach every layer that needs them, and no other."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from builders import history, linear, linears
from models import Block, Classifier, add, fit, loader
from torch import nn

from init_monitor import InitMonitor
from init_monitor.analysis import residual_branches
from init_monitor.records import Residual, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers


def named(*positions: int) -> list[str]:
    return [f"net.{i}" for i in positions]


def test_layers_that_are_off_in_the_same_direction_come_along() -> None:
    structure = linears(6, activation="ReLU")
    past = history(structure, {Quantity.EXPECTED_GAIN: [200.0, 2.0, 500.0, 0.01, 2.9, 40.0]})
    large = affected_layers.off_too([structure.layers[2]], past, direction=1)
    assert [layer.name for layer in large] == named(0, 2, 5), "2.9 is within half of the 2 it needs"
    small = affected_layers.off_too([], past, direction=-1)
    assert [layer.name for layer in small] == named(3)


def test_the_first_record_decides_which_are_off() -> None:
    structure = linears(3)
    past = history(structure, {Quantity.EXPECTED_GAIN: 1.0}, {Quantity.EXPECTED_GAIN: 100.0})
    assert affected_layers.off_too([structure.layers[1]], past, direction=1) == [structure.layers[1]]


def test_what_a_normalisation_or_a_skip_makes_harmless_stays_as_it_is() -> None:
    before_norm = linear(0, "a", normalised=True)
    embedding = linear(1, "b", kind="Embedding")
    in_branch, plain = linear(2, "c.fc"), linear(3, "d")
    residual = Residual("c#1", "c", "identity", "b", "c.fc", layers=("c.fc",))
    structure = Structure((before_norm, embedding, in_branch, plain), (residual,))
    past = history(structure, {Quantity.EXPECTED_GAIN: 1e6})
    assert [layer.name for layer in affected_layers.off_too([], past, direction=1)] == ["d"]


def test_constant_layers_come_along_but_a_branch_that_is_meant_to_start_at_zero_does_not() -> None:
    names = ["stem.weight", "c.fc1.weight", "c.fc2.weight", "head.weight"]
    layers = (linear(0, "stem"), linear(1, "c.fc1"), linear(2, "c.fc2"), linear(3, "head"))
    residual = Residual("c#1", "c", "identity", "stem", "c.fc2", layers=("c.fc1", "c.fc2"))
    structure = Structure(layers, (residual,))
    columns = {Quantity.WEIGHT_VARIANCE: [0.0, 0.1, 0.0, 0.0], Quantity.WEIGHT_COUNT: 100.0}
    past = history(structure, columns, parameter_names=names)
    assert [layer.name for layer in affected_layers.constant_too([layers[0]], past)] == ["stem", "head"]
    named_end = affected_layers.constant_too([layers[2]], past)
    assert [layer.name for layer in named_end] == ["stem", "c.fc2", "head"], "an end that is named is no harmless one"


def test_additions_that_nothing_holds_are_those_without_any_normalisation() -> None:
    layers = (linear(0, "stem"), linear(1, "a.fc"), linear(2, "b.fc"))
    first = Residual("a#1", "a", "identity", "stem", "a.fc", layers=("a.fc",))
    second = Residual("b#1", "b", "identity", "a#1", "b.fc", follows="a#1", layers=("b.fc",))
    nested = Residual("b#2", "b", "identity", "a#1", "b.fc", nested=True, layers=("b.fc",))
    assert residual_branches.unnormalised(Structure(layers, (first, second, nested))) == [first, second]
    held = Residual("b#1", "b", "identity", "a#1", "b.fc", follows="a#1", layers=("b.fc",), normalised=True)
    assert residual_branches.unnormalised(Structure(layers, (first, held))) == []


def test_a_batch_norm_that_switched_its_units_off_is_reset_with_the_layer_before_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    nn.init.constant_(net[1].bias, -20.0)  # type: ignore[arg-type]
    monitor = InitMonitor(sinks=(), strict=True)
    module = Classifier(net, lr=0.01)
    fit(module, loader(16, samples=2048, batch=256), monitor, steps=12)
    dead = next(finding for finding in monitor.findings if finding.code == "IM301")
    exec(dead.remedy_code, {"model": module})  # noqa: S102 - what a user would paste
    assert float(net[1].bias.detach().abs().max()) == 0  # type: ignore[operator]
    again = InitMonitor(sinks=(), strict=True)
    fit(module, loader(16, samples=2048, batch=256), again, steps=12)
    assert "IM301" not in {finding.code for finding in again.findings}


def test_a_remedied_network_of_bare_residual_blocks_does_not_explode_instead() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 32), *[Block(32, add) for _ in range(6)], nn.Linear(32, 10))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1e-4)
    module = Classifier(net, lr=0.05)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(module, loader(32, samples=512, batch=64), monitor, steps=3)
    found = next(finding for finding in monitor.findings if finding.code == "IM102")
    pl.seed_everything(0, verbose=False)
    exec(found.remedy_code, {"model": module})  # noqa: S102 - what a user would paste
    again = InitMonitor(sinks=(), strict=True)
    fit(module, loader(32, samples=512, batch=64), again, steps=3)
    assert not {"IM101", "IM102", "IM401"} & {f.code for f in again.findings if f.severity != "info"}
