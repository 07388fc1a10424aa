"""Layers that give one output for every input, found in real trainings; and their likes that are healthy."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from builders import history, linear, norm, only, rectifier
from models import Classifier, fit, loader
from torch import nn

import init_monitor
from init_monitor import InitMonitor
from init_monitor.analysis import paths
from init_monitor.analysis.degenerate import is_the_only_way
from init_monitor.records import INPUT, Finding, Layer, Role, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DegenerateLayer


class Pooled(nn.Module):
    """Attention pooling over [N, T, C], with its softmax over a dimension of choice."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.features, self.score, self.head = dim, nn.Linear(8, 16), nn.Linear(8, 1), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = (torch.softmax(self.score(x), self.dim) * self.features(x)).sum(1)
        out: torch.Tensor = self.head(pooled)
        return out


def trained(net: nn.Module, *shape: int, steps: int = 12) -> list[Finding]:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net, optimizer="Adam", lr=1e-3), loader(*shape), monitor, steps=steps)
    return monitor.findings


def images(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *middle, nn.Flatten(), nn.Linear(8, 10))


def test_a_softmax_over_one_place_is_named_with_the_dimension_to_take() -> None:
    finding = only(f for f in trained(Pooled(-1), 12, 8) if f.code == "IM503")
    assert (finding.layers, finding.severity, finding.step) == (
        ("net.score", "net/softmax#1"),
        Severity.WARNING,
        2,
    )
    assert "a dimension of one element" in finding.message
    assert "dim=1" in finding.remedy
    assert not [f for f in trained(Pooled(1), 12, 8) if f.severity > Severity.INFO]


class Attention(nn.Module):
    """One layer makes query, key and value of the positions that it is given; the rest of a block around it."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.head = nn.Linear(8, 24), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.mixed(x).chunk(3, -1)
        x = x + torch.softmax(query @ key.transpose(-2, -1) / 8**0.5, -1) @ value
        out: torch.Tensor = self.head(x.mean(1))
        return out


def test_attention_over_one_position_loses_nothing() -> None:
    finding = only(f for f in trained(Attention(), 1, 8) if f.code == "IM503")
    assert finding.severity is Severity.INFO
    assert "nothing is lost" in finding.message
    assert not [f for f in trained(Attention(), 5, 8) if f.code == "IM503"]


def test_a_normalisation_of_single_values_is_named_at_once() -> None:
    pool = nn.AdaptiveAvgPool2d(1)
    finding = next(f for f in trained(images(pool, nn.GroupNorm(8, 8), nn.ReLU()), 1, 8, 8) if f.code == "IM503")
    assert (finding.layers, finding.step) == (("net.2",), 0)
    assert "groups of a single value" in finding.message
    assert "before the pooling" in finding.remedy
    assert not [f for f in trained(images(nn.GroupNorm(8, 8), nn.ReLU(), pool), 1, 8, 8) if f.code == "IM503"]
    assert not [f for f in trained(images(pool, nn.GroupNorm(4, 8), nn.ReLU()), 1, 8, 8) if f.code == "IM503"]


def test_a_dropout_of_one_is_the_only_thing_that_is_said() -> None:
    def net(p: float) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(64, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)
        )

    finding = only(trained(net(1.0), 64, steps=60))
    assert (finding.code, finding.layers, finding.severity) == ("IM503", ("net.2",), Severity.CRITICAL)
    assert "Dropout(p=0.1)" in finding.remedy
    assert trained(net(0.9), 64, steps=60) == []


def test_an_output_of_one_value_behind_a_layer_norm_is_its_bias() -> None:
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1), nn.LayerNorm(1))
    batch = torch.randn(32, 8)
    report = init_monitor.check(net, batch, loss_fn=lambda out: (out - batch[:, :1]).square().mean())
    finding = next(f for f in report.findings if f.code == "IM503")
    assert finding.severity is Severity.CRITICAL
    assert finding.evidence["elements"] > 0.9


@pytest.mark.parametrize(
    ("kind", "mean", "expected"),
    [("Softmax", 1.0, True), ("LogSoftmax", 0.0, True), ("Softmax", 0.5, False), ("LogSoftmax", -math.log(2), False)],
)
def test_equal_probabilities_are_not_a_single_one(kind: str, mean: float, *, expected: bool) -> None:
    softmax = rectifier(1, "softmax", kind=kind, inputs=("score",), flat_below=False, piecewise_linear=False)
    structure = Structure((linear(0, "score", inputs=(INPUT,)), softmax, linear(2, "head", inputs=("softmax",))))
    columns = {Quantity.VARIANCE: [1.0, 0.0, 1.0], Quantity.MEAN: [0.0, mean, 0.0], Quantity.ABS_MAX: [3.0, mean, 3.0]}
    found = list(DegenerateLayer().judge(history(structure, *[columns] * 3, optimizer="Adam")))
    assert bool(found) is expected


@pytest.mark.parametrize(
    ("kind", "records", "ends", "arriving", "expected"),
    [
        ("Hardtanh", 3, True, 1.0, True),
        ("Hardtanh", 2, True, 1.0, False),  # one odd batch
        ("Hardtanh", 3, False, 1.0, True),
        ("ReLU", 3, True, 1.0, True),
        ("ReLU", 3, False, 1.0, False),  # IM301's
        ("Hardtanh", 3, True, 0.0, False),  # it receives a constant
    ],
)
def test_an_activation_that_is_off_for_everything(
    kind: str, records: int, arriving: float, *, ends: bool, expected: bool
) -> None:
    off = rectifier(1, "off", kind=kind, inputs=("first",))
    layers = (linear(0, "first", inputs=(INPUT,)), off) + (() if ends else (linear(2, "last", inputs=("off",)),))
    columns = {
        Quantity.VARIANCE: [arriving, 0.0, 1.0][: len(layers)],
        Quantity.ABS_MAX: [3.0, 0.0, 3.0][: len(layers)],
    }
    found = list(DegenerateLayer().judge(history(Structure(layers), *[columns] * records, optimizer="Adam")))
    assert bool(found) is expected
    if expected and ends:
        assert "Remove this activation" in only(found).remedy


def test_a_finding_explains_what_lies_behind_it_and_nothing_beside() -> None:
    structure = Structure(
        (
            linear(0, "a", inputs=(INPUT,)),
            linear(1, "b", inputs=(INPUT,)),
            norm(2, "norm", inputs=("b",)),
            linear(3, "c", inputs=("norm",)),
            linear(4, "d", inputs=("a",)),
        )
    )
    symptom = Finding("x", "IM102", Severity.WARNING, ("a", "b", "c", "d"), 0, "…")
    scale = Finding("x", "IM701", Severity.WARNING, ("b",), 0, "…")
    cut = Finding("x", "IM503", Severity.WARNING, ("norm",), 0, "…")
    assert paths.explained(symptom, scale, structure) == {"b", "c"}
    assert paths.explained(symptom, cut, structure) == {"b", "c"}
    assert paths.explained(symptom, Finding("x", "IM101", Severity.WARNING, ("d",), 0, "…"), structure) == {"d"}


class Scan(nn.Module):
    """A batch norm of what is left after pooling; ``beside`` lets the picture go past it as well."""

    def __init__(self, layer: nn.Module, *, beside: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 8, 3), layer, nn.Linear(8, 1)
        self.past = nn.Linear(36, 1) if beside else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.relu(self.norm(torch.relu(self.conv(x)).mean((2, 3)))))
        return out if self.past is None else out + self.past(x.flatten(1))


class Kept(nn.BatchNorm1d):
    """In evaluation mode throughout: it normalises by the mean and variance that it keeps."""

    def train(self, mode: bool = True) -> Kept:  # noqa: FBT001, FBT002 - the signature of torch
        return super().train(mode=False)


class Ink(Classifier):
    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[0].mean((1, 2, 3))[:, None])


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
@pytest.mark.parametrize(
    ("layer", "beside", "batch", "severity"),
    [
        (nn.BatchNorm1d(8), False, 2, Severity.WARNING),
        (nn.BatchNorm1d(8), True, 2, Severity.INFO),
        (nn.BatchNorm1d(8), False, 4, None),
        (Kept(8), False, 2, None),
        (nn.LayerNorm(8), False, 2, None),
    ],
)
def test_a_batch_norm_over_two_values_is_named(
    layer: nn.Module, batch: int, severity: Severity | None, *, beside: bool
) -> None:
    torch.manual_seed(0)
    module = Ink(Scan(layer, beside=beside), optimizer="Adam", lr=1e-3)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(module, loader(1, 6, 6, batch=batch), monitor, steps=20)
    found = [one for one in monitor.findings if one.code == "IM503"]
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    if found:
        assert found[0].layers == ("net.norm",)
        assert "LayerNorm" in found[0].remedy


def test_a_residual_branch_is_not_the_only_way() -> None:
    past = Layer("past", "past", "Linear", Role.WEIGHT, 2, inputs=("stem",))
    stem = Layer("stem", "stem", "Linear", Role.WEIGHT, 0, inputs=("input",))
    two = Layer("norm", "norm", "BatchNorm1d", Role.NORMALISATION, 1, inputs=("stem",))
    head = Layer("head", "head", "Linear", Role.WEIGHT, 3, inputs=("norm",))
    assert is_the_only_way(two, Structure((stem, two, head)))
    assert not is_the_only_way(two, Structure((stem, two, past, replace(head, inputs=("norm", "past")))))
    assert not is_the_only_way(two, Structure((stem, two, replace(head, inputs=()))))


class Centred(nn.Module):
    """A normalisation over time or over channels, and a mean over time behind it, straight away or behind something."""

    def __init__(self, norm: nn.Module, between: nn.Module) -> None:
        super().__init__()
        self.mix, self.norm, self.between, self.head = nn.Conv1d(4, 16, 3, padding=1), norm, between, nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.between(self.norm(torch.relu(self.mix(x)))).mean(2))
        return out


class Channels(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.mT).mT


@pytest.mark.parametrize(
    ("norm_of", "between", "told"),
    [
        (lambda: nn.InstanceNorm1d(16), nn.Identity(), True),
        (lambda: nn.LayerNorm(12), nn.Identity(), True),
        (lambda: nn.GroupNorm(16, 16), nn.Identity(), True),
        (lambda: nn.InstanceNorm1d(16), nn.ReLU(), False),
        (lambda: nn.GroupNorm(4, 16), nn.Identity(), False),
        (lambda: Channels(16), nn.Identity(), False),
        (lambda: nn.BatchNorm1d(16), nn.Identity(), False),
    ],
    ids=["instance", "layer over time", "group of one channel", "activation between", "groups", "channels", "batch"],
)
def test_a_mean_over_what_a_normalisation_centred_leaves_nothing(
    norm_of: object, between: nn.Module, *, told: bool
) -> None:
    assert callable(norm_of)
    torch.manual_seed(0)
    findings = trained(Centred(norm_of(), between), 4, 12)
    places = [finding.layers for finding in findings if finding.code == "IM503" and finding.severity > Severity.INFO]
    assert places == ([("net.norm", "net.head")] if told else [])
    if told:
        first = next(finding for finding in findings if finding.code == "IM503")
        assert first.severity is Severity.CRITICAL
        assert "Normalise over another dimension" in first.remedy_sentence
        assert "IM501" not in [finding.code for finding in findings]


def test_a_scale_near_0_behind_a_normalisation_is_no_mean() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.norm, self.head = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 10)
            self.scale = nn.Parameter(torch.full((16,), 1e-6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.scale * self.norm(self.mix(x)))
            return out

    assert "IM503" not in [finding.code for finding in trained(Scaled(), 8)]
