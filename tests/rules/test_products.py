"""Blocks that multiply, x · F(x), where they should add: the product is named, and no weight is blamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable


class Block(nn.Module):
    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(width, width), nn.Linear(width, width), nn.LayerNorm(width)
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        f = self.second(self.first(x).relu())
        out: Tensor = FORMS[self.form](self, x, f)
        return out


FORMS: dict[str, Callable[[Block, Tensor, Tensor], Tensor]] = {
    "product": lambda _, x, f: x * f,
    "swapped": lambda _, x, f: f.mul_(x),
    "gate": lambda _, x, f: x * torch.sigmoid(f),
    "near one": lambda _, x, f: x * (1 + 0.1 * f),
    "inside": lambda _, x, f: x + x * f,
    "normalised": lambda block, x, f: block.norm(x * f),
    "attends": lambda block, x, f: x + block.second(x * f),
}


class Stack(nn.Module):
    def __init__(self, blocks: int, form: str, *, gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(20, 48), nn.Linear(48, 4)
        self.blocks = nn.Sequential(*(Block(48, form) for _ in range(blocks)))
        with torch.no_grad():
            for parameter in self.blocks.parameters():
                parameter.mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out


def trained(model: nn.Module, steps: int = 60) -> list[Finding]:
    """Train with Adam and return all that is louder than information."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(20, 4, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for _ in range(steps):
            x = torch.randn(64, 20, generator=generator)
            with watched.step() as now:
                loss = F.cross_entropy(model(x), (x @ teacher).argmax(1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
    return [finding for finding in watched.findings if finding.severity > Severity.INFO]


@pytest.mark.parametrize("form", ["product", "swapped"])
@pytest.mark.parametrize("blocks", [5, 8])
def test_a_stream_that_is_multiplied_fades_and_the_products_are_named(blocks: int, form: str) -> None:
    found = trained(Stack(blocks, form))
    assert found
    assert found[0].step == 0
    for one in found:
        assert "x · F(x)" in one.message
        assert "it fades ever faster" in one.message
        assert float(one.evidence["products"]) == blocks
        assert one.remedy.startswith("Add in the place of multiplying: x + F(x)")
        assert "nn.init" not in one.remedy


def test_a_stream_that_is_multiplied_grows_and_the_products_are_named() -> None:
    found = trained(Stack(6, "product", gain=4.0))
    named = [one for one in found if one.step == 0 and "products" in one.evidence]
    assert named
    assert all("it grows ever faster" in one.message for one in named)
    assert not any("nn.init" in one.remedy for one in found if one.step == 0)


@pytest.mark.parametrize(
    ("blocks", "form"), [(2, "product"), (8, "gate"), (8, "near one"), (8, "normalised"), (8, "attends"), (4, "inside")]
)
def test_gates_interactions_and_normalised_products_are_not_mentioned(blocks: int, form: str) -> None:
    assert not any("products" in one.evidence or "x · F(x)" in one.message for one in trained(Stack(blocks, form)))


@pytest.mark.parametrize(("form", "counts"), [("product", [0, 1, 2]), ("gate", [0, 0, 0]), ("near one", [0, 0, 0])])
def test_the_products_in_a_row_are_counted_before_each_layer(form: str, counts: list[int]) -> None:
    model = Stack(2, form)
    structure = init_monitor.check(model, torch.randn(8, 20)).structure
    known = structure.by_name()
    assert [known[name].products for name in ("blocks.0.first", "blocks.1.first", "head")] == counts
