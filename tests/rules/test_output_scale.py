"""Logits that are far too large at the start, and what looks like them and is none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from builders import history, is_complete, linear, only
from models import Classifier, fit, loader
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records import Finding, History, LossCurve, LossStretch, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import OutputScale

RULE = OutputScale()


def classifier(std: float, width: int = 64, classes: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    head = nn.Linear(width, classes)
    nn.init.normal_(head.weight, std=std)
    return nn.Sequential(nn.LayerNorm(width), head)


def found(net: nn.Module, *, rules: tuple[OutputScale, ...] = (RULE,)) -> list[Finding]:
    monitor = InitMonitor(sinks=(), strict=True, rules=rules)
    fit(Classifier(net, optimizer="Adam", lr=1e-4), loader(64, samples=1664), monitor, steps=51)
    return monitor.findings


def test_a_head_that_starts_too_large_is_named_with_its_logits_and_the_loss_of_guessing() -> None:
    finding = only(found(classifier(1.0)))
    assert (finding.code, finding.severity, finding.step, finding.layers) == ("IM703", Severity.WARNING, 50, ("net.1",))
    assert finding.expected["first_loss"] == pytest.approx(math.log(10))
    assert finding.evidence["logits_std"] == pytest.approx(8.0, rel=0.1)  # sqrt(64) of a normalised input
    assert "guessing among 10 classes" in finding.message
    assert "net.1.weight makes them" in finding.message
    assert "xavier" in finding.remedy_code


def test_a_loss_that_is_hopelessly_large_is_told_at_once() -> None:
    finding = only(found(classifier(4.0)))
    assert (finding.severity, finding.step) == (Severity.WARNING, 0)


def test_a_start_that_is_unlearnt_at_once_is_information() -> None:
    monitor = InitMonitor(sinks=(), strict=True, rules=(RULE,))
    fit(Classifier(classifier(1.0), optimizer="Adam", lr=1e-4), loader(64), monitor, steps=1)
    first, curve = monitor.records[0], LossCurve()
    curve.add(LossStretch.of(enumerate([first.loss, *(2 + 8 * 0.9**k for k in range(49))])))
    finding = only(list(RULE.judge(History([first], monitor.structure, losses=curve))))
    assert finding.severity is Severity.INFO
    assert "past that" in finding.message


@pytest.mark.parametrize("std", [0.02, 0.125, 0.2])
def test_logits_of_a_usual_size_are_healthy(std: float) -> None:
    assert found(classifier(std)) == []


class Tied(nn.Module):
    def __init__(self, std: float) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(24, 64), nn.LayerNorm(64)
        self.head = nn.Linear(64, 24, bias=False)
        nn.init.normal_(self.embedding.weight, std=std)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(self.embedding(tokens)))
        return out


@pytest.mark.parametrize(("std", "expected"), [(1.0, True), (0.02, False)])
def test_a_shared_embedding_is_what_makes_the_logits(std: float, *, expected: bool) -> None:
    torch.manual_seed(0)
    net, tokens = Tied(std), torch.randint(0, 24, (16, 12))
    with init_monitor.watch(net, sinks=(), rules=(RULE,)) as monitor, monitor.step() as step:
        loss = F.cross_entropy(net(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        step.loss = loss
    assert bool(monitor.findings) is expected
    if expected:
        assert only(monitor.findings).layers == ("embedding", "head")
        assert "model.embedding.weight" in only(monitor.findings).remedy_code
        assert "for an rms of 1 it wants a standard deviation of 1; as the head it wants 1/√64 = 0.125" in (
            only(monitor.findings).message
        )
        assert "sqrt(width)" in only(monitor.findings).remedy_sentence


@pytest.mark.parametrize(("outputs", "targets"), [(8, 0.0), (8, 1e3), (1, 1e3)])
def test_a_regression_out_of_scale_is_no_matter_of_logits(outputs: int, targets: float) -> None:
    net, x = classifier(1.0, classes=outputs), torch.randn(32, 64)
    with init_monitor.watch(net, sinks=(), rules=(RULE,)) as monitor, monitor.step() as step:
        loss = (net(x) - targets).square().mean()
        loss.backward()
        step.loss = loss
    assert monitor.findings == []


def test_what_names_the_cause_of_large_logits_is_told_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net, lr=1e-6), loader(64), monitor, steps=3)
    codes = {finding.code for finding in monitor.findings}
    assert "IM703" not in codes
    assert codes & {"IM101", "IM502"}
    assert found(net)


def test_a_first_record_of_a_later_step_says_nothing() -> None:
    monitor = InitMonitor(sinks=(), strict=True, rules=(RULE,))
    fit(Classifier(classifier(4.0), optimizer="Adam", lr=1e-4), loader(64), monitor, steps=1)
    first = monitor.records[0]
    assert list(RULE.judge(History([first], monitor.structure)))
    assert not list(RULE.judge(History([replace(first, step=5)], monitor.structure)))
    assert not list(RULE.judge(History([replace(first, losses=LossStretch())], monitor.structure)))


def test_a_head_that_is_frozen_did_not_start_here() -> None:
    net = classifier(1.0)
    for parameter in net[1].parameters():
        parameter.requires_grad = False
    assert found(net) == []


def drifted(*values: float, dtype: str = "bfloat16") -> list[Finding]:
    structure = Structure((linear(0, "head", dtype=dtype),))
    past = history(structure, *[{Quantity.LOG_PARTITION: value} for value in values])
    return list(RULE.judge(past))


@pytest.mark.parametrize(
    ("values", "dtype", "severity"),
    [
        ((7.0, 80.0, 90.0, 100.0), "bfloat16", Severity.WARNING),
        ((7.0, -80.0, -90.0, -100.0), "bfloat16", Severity.WARNING),
        ((7.0, 80.0, 90.0, 100.0), "float16", Severity.INFO),
        ((7.0, 600.0, 700.0, 800.0), "float16", Severity.WARNING),
        ((7.0, 80.0, 90.0, 100.0), "float32", Severity.INFO),
        ((7.0, 80.0, 60.0, 100.0), "bfloat16", None),
        ((7.0, 80.0, -90.0, 100.0), "bfloat16", None),
        ((50.0, 80.0, 90.0, 99.0), "bfloat16", None),
        ((7.0, 80.0), "bfloat16", None),
        ((7.0, 80.0, math.nan, 100.0), "bfloat16", None),
    ],
)
def test_log_z_that_drifts_off_is_told_by_what_the_format_makes_of_it(
    values: tuple[float, ...], dtype: str, severity: Severity | None
) -> None:
    found = drifted(*values, dtype=dtype)
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    if found:
        is_complete(found[0])
        assert "logsumexp" in found[0].remedy_code
        assert not RULE.is_about_start(found[0])


def test_a_z_loss_keeps_log_z_where_a_cross_entropy_lets_it_go() -> None:
    """A push that no probability feels: every logit of the batch grows by the same number."""

    class Pushed(nn.Module):
        def __init__(self, *, held: bool) -> None:
            super().__init__()
            self.head, self.held = nn.Linear(8, 10), held

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.head(x)
            loss = F.cross_entropy(logits, torch.zeros(len(x)).long()) - 2.0 * logits.mean()
            held: torch.Tensor = loss + (logits.logsumexp(-1).square().mean() if self.held else 0.0)
            return held

    def run(*, held: bool) -> list[Finding]:
        torch.manual_seed(0)
        model = Pushed(held=held)
        optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
        with init_monitor.watch(model, optimizer, sinks=(), rules=(RULE,), strict=True, every_n_steps=5) as monitor:
            for _ in range(60):
                with monitor.step():
                    optimizer.zero_grad()
                    (model(torch.randn(16, 8)) * (0.01 if held else 1)).backward()
                    optimizer.step()
        return [one for one in monitor.findings if "log_z" in one.evidence]

    assert [one.severity for one in run(held=False)] == [Severity.INFO]
    assert run(held=True) == []


def test_biases_of_the_classes_that_make_the_first_loss_are_a_warning_at_once() -> None:
    torch.manual_seed(0)
    head = nn.Linear(32, 10)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), head)
    x, labels = torch.randn(64, 16), torch.arange(64) % 10

    def told() -> list[Finding]:
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
        with init_monitor.watch(net, optimizer, sinks=()) as monitor, monitor.step() as step:
            step.loss = F.cross_entropy(net(x), labels)
            step.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return [one for one in monitor.findings if one.code == "IM703"]

    assert told() == []
    nn.init.constant_(head.bias, -4.6)  # a prior, the same for all
    assert told() == []
    head.bias.data = torch.linspace(-12, 12, 10)
    (finding,) = told()
    assert finding.severity is Severity.WARNING
    assert "2.bias makes them" in finding.message
    exec(finding.remedy_code, {"model": net})  # noqa: S102 - what is printed is what is run
    assert told() == []
