"""Convolutions over maps of one or two pixels: their code makes up for what the border of zeros takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from init_monitor import check
from init_monitor.analysis.padded import part_of_terms


def shrinking(*, bias: bool = True) -> nn.Sequential:
    """Return convolutions over 8 x 8 pixels, and over 4, 2 and 1 a side behind poolings."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    width = 3
    for side in (8, 4, 2, 1):
        for _ in range(2):
            parts += [nn.Conv2d(width, 64, 3, padding=1, bias=bias), nn.ReLU()]
            width = 64
        parts += [nn.MaxPool2d(2)] if side > 1 else []
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(64, 10))


BATCH = (torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(3)), torch.arange(64) % 10)


@pytest.mark.parametrize("std", [1.0, 0.01])
def test_the_code_reaches_its_aim_where_most_of_a_kernel_meets_the_border(std: float) -> None:
    net = shrinking()
    for one in net.parameters():
        if one.dim() > 1:
            nn.init.normal_(one, std=std)
    (finding, *_) = (
        x for x in check(net, BATCH, nn.functional.cross_entropy).findings if x.code in {"IM101", "IM102", "IM502"}
    )
    exec(finding.remedy_code, {"model": net})  # noqa: S102 - what is printed is what is run
    shown = check(net, BATCH, nn.functional.cross_entropy).confirm(finding)
    assert shown is not None
    assert shown.holds


def test_the_part_of_the_terms_is_that_of_the_kernel_inside_the_map() -> None:
    report = check(shrinking(bias=False), BATCH, nn.functional.cross_entropy)
    first = report.records[0]
    parts = [part_of_terms(x, first) for x in report.structure.layers if x.torch_kind == "Conv2d"]
    # By count: 3 of 3 taps, but for the ends of a line: (22/24)², (10/12)², (4/6)² and (1/3)² of the kernel.
    exact = [1.0, 1.0, 0.69, 0.69, 0.44, 0.44, 0.11, 0.11]
    assert parts == pytest.approx(exact, abs=0.12)
    assert all(part_of_terms(x, first) == 1 for x in report.structure.layers if x.torch_kind != "Conv2d")
