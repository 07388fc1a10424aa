"""Remedies that reach every layer that needs them, and no other."""

from __future__ import annotations

from typing import cast

import pytest
import pytorch_lightning as pl
import torch
from builders import history, linear, linears
from models import Block, Classifier, add, fit, loader
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor
from init_monitor.analysis import residual_branches
from init_monitor.records import Residual, Role, Structure
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
    usual = (linear(4, "e"), linear(5, "f"))
    structure = Structure((before_norm, embedding, in_branch, plain, *usual), (residual,))
    past = history(structure, {Quantity.EXPECTED_GAIN: [1e6, 1e6, 1e6, 1e6, 1.0, 1.0]})
    assert [layer.name for layer in affected_layers.off_too([], past, direction=1)] == ["d"]
    # Of a network that is too large as a whole nothing is left: its steps are too small for such weights.
    past = history(structure, {Quantity.EXPECTED_GAIN: 1e6})
    assert [layer.name for layer in affected_layers.off_too([], past, direction=1)] == ["a", "c.fc", "d", "e", "f"]


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


def test_zeros_in_a_row_at_the_start_come_along_though_biases_moved_them_since() -> None:
    names = ["a.weight", "b.weight", "c.weight", "lora.weight"]
    a, b, c = linear(0, "a"), linear(1, "b", inputs=("a",)), linear(2, "c", inputs=("b",))
    structure = Structure((a, b, c, linear(3, "lora", inputs=("input",))))
    first = {Quantity.WEIGHT_VARIANCE: [0.0, 0.0, 0.1, 0.0], Quantity.WEIGHT_COUNT: 100.0}
    last = {Quantity.WEIGHT_VARIANCE: [0.0, 0.1, 0.1, 0.1], Quantity.WEIGHT_COUNT: 100.0}
    past = history(structure, first, last, parameter_names=names)
    assert [layer.name for layer in affected_layers.constant_too([], past)] == ["a", "b"], (
        "a zero of its own is a start"
    )
    assert [layer.name for layer in affected_layers.alike_from_the_start({"a"}, past)] == ["a", "b"]
    assert affected_layers.alike_from_the_start({"c", "lora"}, past) == []


def test_a_branch_that_is_a_hundred_times_too_small_comes_along_but_not_its_end_alone() -> None:
    layers = (linear(0, "stem"), linear(1, "c.fc1"), linear(2, "c.fc2"), linear(3, "head"))
    residual = Residual("c#1", "c", "identity", "stem", "c.fc2", layers=("c.fc1", "c.fc2"))
    structure = Structure(layers, (residual,))
    tiny = history(structure, {Quantity.EXPECTED_GAIN: [1e-4, 1e-3, 1e-4, 1.0]})
    assert [layer.name for layer in affected_layers.off_too([], tiny, direction=-1)] == ["stem", "c.fc1", "c.fc2"]
    gpt = history(structure, {Quantity.EXPECTED_GAIN: [1e-4, 0.05, 1e-4, 1.0]})
    assert [layer.name for layer in affected_layers.off_too([], gpt, direction=-1)] == ["stem"]
    large = history(structure, {Quantity.EXPECTED_GAIN: [1.0, 48.0, 48.0, 1.0]})
    assert [layer.name for layer in affected_layers.off_too([], large, direction=1)] == ["c.fc1", "c.fc2"]


def test_a_normalisation_of_a_branch_does_not_hide_the_scale_of_the_stream_it_reads() -> None:
    stem = linear(0, "stem", normalised=True)
    norm = linear(1, "c.norm", kind="LayerNorm", role=Role.NORMALISATION, inputs=("stem",))
    branch = linear(2, "c.fc", inputs=("c.norm",))
    residual = Residual("c#1", "c", "identity", "stem", "c.fc", layers=("c.norm", "c.fc"))
    past = history(Structure((stem, norm, branch), (residual,)), {Quantity.EXPECTED_GAIN: [8.0, float("nan"), 1.0]})
    assert [layer.name for layer in affected_layers.off_too([], past, direction=1)] == ["stem"]


class Attentive(nn.Module):
    """Two blocks of attention and a feed-forward net on a stream, letters tied at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(16, 24)
        layer = nn.TransformerEncoderLayer(24, 2, 48, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 7, nn.LayerNorm(24), enable_nested_tensor=False)
        self.head = nn.Linear(24, 16, bias=False)
        self.head.weight = self.letters.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of the last place."""
        return self.head(self.blocks(self.letters(x))[:, -1])  # type: ignore[no-any-return]


def test_a_transformer_of_zeros_is_drawn_anew_as_a_whole_each_layer_as_it_should_be() -> None:
    torch.manual_seed(0)
    net = Attentive()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.zeros_(parameter)
    batch, classes = torch.randint(0, 16, (32, 6)), torch.randint(0, 16, (32,))
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net, lr=0.01), DataLoader(TensorDataset(batch, classes), 16), monitor, steps=8)
    told = next(finding for finding in monitor.findings if finding.remedy_code)
    exec(told.remedy_code, {"model": Classifier(net, lr=0.01)})  # noqa: S102 - what a user would paste
    for block in net.blocks.layers:
        one = cast("nn.TransformerEncoderLayer", block)
        wide, narrow = (float(x.std()) for x in (one.linear1.weight.detach(), one.linear2.weight.detach()))
        assert wide == pytest.approx((2 / (5 * 24)) ** 0.5, rel=0.1)
        assert narrow == pytest.approx(wide / 14**0.5, rel=0.1), "the ends of 14 additions, not the class as a whole"
        assert float(one.self_attn.in_proj_weight.detach().std()) == pytest.approx(wide, rel=0.1)
        assert float(one.self_attn.out_proj.weight.detach().std()) == pytest.approx(narrow, rel=0.15)
    assert float(net.letters.weight.detach().std()) == pytest.approx((2 / (5 * 24)) ** 0.5, rel=0.15)
