from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import linear, only, record
from models import Classifier, fit
from torch import nn

from init_monitor import InitMonitor
from init_monitor.analysis.running_norms import unfit_running
from init_monitor.records import Finding, History, Layer, Role, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.remedies.back_to_training import with_training_mode

# Lightning counts modules in eval mode; it does not say what comes of them.
pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")


def net(depth: int = 10, norm: Any = nn.BatchNorm1d) -> nn.Sequential:
    torch.manual_seed(0)
    blocks: list[nn.Module] = []
    for _ in range(depth):
        blocks += [nn.Linear(32, 32), norm(32), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Linear(32, 4))


def trained(model: nn.Module, steps: int = 60) -> list[Finding]:
    torch.manual_seed(1)
    x = torch.randn(512, 32)
    labels = (x @ torch.randn(32, 4)).argmax(1)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=64, shuffle=True)
    monitor = InitMonitor(sinks=())
    mode = [module.training for module in model.modules()]
    fit(Classifier(model, lr=0.05), rows, monitor, steps=steps)
    assert [module.training for module in model.modules()] == mode
    return [one for one in monitor.findings if one.severity > Severity.INFO]


def test_a_network_left_in_eval_mode_is_sent_back_to_training_mode_first() -> None:
    model = net()
    model.eval()
    told = trained(model)
    assert told, "without its normalisations the gradient vanishes"
    first = min(told, key=lambda one: one.step)
    assert first.remedy.startswith(
        "Call model.train(): 10 normalisations (BatchNorm1d) of this network run in eval mode"
    )
    assert first.remedy_code.startswith("model.train()")
    assert "nn.init" not in first.remedy_code


def test_a_network_in_training_mode_is_not() -> None:
    assert not any("model.train()" in one.remedy for one in trained(net()))


def test_what_vanishes_for_want_of_normalisations_is_not_about_modes() -> None:
    told = trained(net(norm=nn.Identity))
    assert told
    assert not any("model.train()" in one.remedy for one in told)


def test_frozen_normalisations_whose_statistics_fit_are_left_alone() -> None:
    model = net(depth=4)
    assert trained(model) == []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    assert trained(model) == [], "fine-tuning with frozen statistics is usual"


def test_another_fault_beside_fitting_statistics_keeps_its_own_remedy() -> None:
    model = net(depth=4)
    trained(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    nn.init.normal_(model.get_parameter("12.weight"), std=100.0)
    told = trained(model)
    assert told
    assert not any("model.train()" in one.remedy for one in told)


def norms(*running: bool) -> Structure:
    layers = [linear(0, "first")]
    layers += [
        Layer(f"norm{i}", f"norm{i}", "BatchNorm2d", Role.NORMALISATION, 1 + i, inputs=("first",), running=one)
        for i, one in enumerate(running)
    ]
    return Structure(tuple(layers))


@pytest.mark.parametrize(
    ("running", "variances", "found"),
    [
        ((True, True), (1e-3, 1e-4), 2),
        ((True, True), (1.0, 0.9), 0),
        ((True, True), (2.9, 0.4), 0),  # tuned on other data
        ((True, True), (1e3, 1.0), 2),
        ((True, True, True), (1.0, 1e-3, 1.0), 0),  # one of three may stand beside the path
        ((False, False), (1e-3, 1e-3), 0),
        ((True, True), (0.0, 0.0), 2),
    ],
)
def test_statistics_fit_where_what_comes_out_has_its_scale(
    running: tuple[bool, ...], variances: tuple[float, ...], found: int
) -> None:
    structure = norms(*running)
    measured = record(structure, {Quantity.VARIANCE: [1.0, *variances]})
    unfit = unfit_running(measured, structure)
    assert (0 if unfit is None else len(unfit.layers)) == found
    told = Finding("vanishing-gradients", "IM202", Severity.WARNING, ("first",), 0, "…", remedy="Initialise.\n\ncode")
    after = with_training_mode(told, History([measured], structure))
    assert (after is told) is not bool(found)
    rate = Finding("update-ratio", "IM603", Severity.WARNING, (), 0, "…", remedy="Lower the rate.")
    assert with_training_mode(rate, History([measured], structure)) is rate
    assert only([after]).remedy.endswith("code") is not bool(found)
