"""Positions and tokens that belong to no layer, beside layers that began with nothing."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from builders import linear, record
from models import Classifier, fit
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor
from init_monitor.records import History, Residual, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.remedies.raw_tables import faint_tables

WIDTH = 24
NAMES = ["net.positions", "net.factor", "net.frozen", "net.usual", "net.embed.weight", "net.block.fc.weight"]


def of_zeros(*, step: int = 0) -> History:
    embed = linear(0, "net.embed", fan_in=6, forward_terms=6.0, fan_out=WIDTH, inputs=("input",))
    branch = linear(1, "net.block.fc", fan_in=WIDTH, forward_terms=WIDTH, transformer=True, inputs=("net.embed",))
    residual = Residual("net.block#1", "net.block", "identity", "net", "net.block.fc", layers=("net.block.fc",))
    columns = {
        Quantity.WEIGHT_COUNT: [9.0 * WIDTH, WIDTH, 9.0 * WIDTH, 9.0 * WIDTH, 6.0 * WIDTH, WIDTH * WIDTH],
        Quantity.WEIGHT_MEAN: 0.0,
        Quantity.WEIGHT_VARIANCE: [1e-6, 0.0, 0.0, 0.02**2, 0.0, 0.0],
        Quantity.TRAINABLE: [1.0, 1.0, 0.0, 1.0, 1.0, 1.0],
    }
    structure = Structure((embed, branch), (residual,))
    return History([record(structure, columns, step=step, parameter_names=NAMES)], structure)


def test_what_is_drawn_is_a_learned_table_of_nothing_as_large_as_what_it_is_added_to() -> None:
    found = faint_tables(of_zeros())
    size = (2 / (6 + WIDTH) * 6) ** 0.5
    assert found.code.splitlines() == [
        "from torch import nn",
        "",
        f"nn.init.normal_(model.net.positions, std={size:.4g})",
    ]
    assert found.sentence.startswith(" net.positions belongs to no layer and begins with next to nothing")


def test_a_resumed_run_says_nothing_of_its_first_weights() -> None:
    assert faint_tables(of_zeros(step=100)) == ("", "")


class Reader(nn.Module):
    """Rows with places, two blocks of attention, the mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.positions = nn.Linear(6, WIDTH), nn.Parameter(torch.randn(1, 5, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 48, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return cast("Tensor", self.head(self.blocks(self.embed(x) + self.positions).mean(1)))


def test_a_loop_that_spoiled_every_parameter_is_undone_for_the_positions_too() -> None:
    torch.manual_seed(0)
    net = Reader()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.zeros_(parameter)
    samples = DataLoader(TensorDataset(torch.randn(64, 5, 6), torch.randint(0, 4, (64,))), 16)
    monitor = InitMonitor(sinks=(), strict=True)
    module = Classifier(net, lr=0.01)
    fit(module, samples, monitor, steps=6)
    told = [finding for finding in monitor.findings if finding.remedy_code]
    spoken = next((finding for finding in told if "positions" in finding.remedy_code), None)
    assert spoken is not None, [(finding.code, finding.remedy_code) for finding in monitor.findings]
    exec(spoken.remedy_code, {"model": module})  # noqa: S102 - what a user would paste
    assert float(net.positions.detach().std()) == pytest.approx((2 / (6 + WIDTH) * 6) ** 0.5, rel=0.2)
