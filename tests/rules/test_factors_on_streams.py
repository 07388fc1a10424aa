"""A number or a tensor by which the forward multiplies a residual stream: it is named, and no weight is blamed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity


class Block(nn.Module):
    total: float | Tensor
    skip: float | Tensor
    branch: float | Tensor

    def __init__(self, width: int, total: float, skip: float, branch: float, held: str) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        for name, factor in (("total", total), ("skip", skip), ("branch", branch)):
            if held == "parameter" and factor != 1:
                self.register_parameter(name, nn.Parameter(torch.full((width,), factor)))
            elif held == "buffer" and factor != 1:
                self.register_buffer(name, torch.tensor(factor))
            else:
                setattr(self, name, factor)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.skip * x + self.branch * self.second(self.first(x).relu())) * self.total
        return out


class Stack(nn.Module):
    """Residual blocks with a factor on their sum, skip or branch, or written behind each block."""

    def __init__(
        self,
        blocks: int,
        *,
        total: float = 1.0,
        skip: float = 1.0,
        branch: float = 1.0,
        behind: float = 1.0,
        norm: bool = False,
        held: str = "number",
        again: str = "",
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(20, 48), nn.Linear(48, 4)
        self.blocks = nn.ModuleList(Block(48, total, skip, branch, held) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(48) if norm else nn.Identity() for _ in range(blocks))
        self.behind, self.again = behind, again

    def forward(self, x: Tensor) -> Tensor:
        x = begin = self.stem(x)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            entering = x
            x = norm(block(x))
            if self.behind != 1:
                x = x * self.behind
            if self.again == "each":
                x = entering + x
        if self.again == "once":
            x = x + begin
        out: Tensor = self.head(x)
        return out


def trained(model: nn.Module, steps: int = 60, *, rate: float = 0.0) -> list[Finding]:
    """Train with Adam, or with SGD at a rate, and return all that is louder than information."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(20, 4, generator=generator)
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    if rate:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
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


@pytest.mark.parametrize(
    ("model", "formula"),
    [
        (Stack(6, total=8.0), "(x + F(x)) · 8"),
        (Stack(6, behind=8.0), "(x + F(x)) · 8"),
        (Stack(2, total=20.0), "(x + F(x)) · 20"),
        (Stack(6, skip=8.0), "8 · x + F(x)"),
        (Stack(8, branch=10.0), "x + 10 · F(x)"),
    ],
)
def test_a_factor_that_makes_the_stream_grow_is_to_be_taken_away(model: Stack, formula: str) -> None:
    (found,) = trained(model)
    assert found.code == "IM401"
    assert found.step == 0
    assert formula in found.message
    assert "Take the factor of" in found.remedy
    assert "zeros_" not in found.remedy
    assert found.layers == tuple(f"blocks.{i}#1" for i in range(len(model.blocks)))


@pytest.mark.parametrize(
    ("model", "formula", "severity"),
    [
        (Stack(8, total=0.05), "(x + F(x)) · 0.05", Severity.CRITICAL),
        (Stack(8, behind=0.05), "(x + F(x)) · 0.05", Severity.CRITICAL),
        # Some of the gradient comes back through the branches.
        (Stack(10, skip=0.02), "0.02 · x + F(x)", Severity.WARNING),
    ],
)
def test_a_factor_that_makes_the_gradient_fade_is_to_be_taken_away(
    model: Stack, formula: str, severity: Severity
) -> None:
    found = trained(model)
    assert [one.code for one in found] == ["IM202"]
    assert found[0].severity is severity
    assert formula in found[0].message
    assert "Take the factor of" in found[0].remedy
    assert "nn.init" not in found[0].remedy
    assert found[0].layers[0] == "blocks.0#1"


@pytest.mark.untraced
@pytest.mark.parametrize(
    "model",
    [
        Stack(8),
        Stack(24, total=math.sqrt(0.5)),
        Stack(24, branch=0.2),
        Stack(12, skip=0.05, norm=True),
        Stack(12, total=8.0, norm=True),
    ],
)
def test_a_factor_that_keeps_the_variance_or_that_a_normalisation_takes_away_is_not_mentioned(model: Stack) -> None:
    assert trained(model) == []


def test_where_the_branches_grow_by_their_own_weights_they_are_to_start_small() -> None:
    model = Stack(12)
    for block in model.blocks.children():
        for name, layer in block.named_children():
            nn.init.kaiming_normal_(layer.get_parameter("weight"), nonlinearity="relu" if name == "first" else "linear")
    (found,) = [one for one in trained(model) if one.code == "IM401"]
    assert "zeros_" in found.remedy
    assert "Take the factor" not in found.remedy


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("model", "formula", "begin"),
    [
        (Stack(8, total=8.0, held="parameter"), "(x + F(x)) · 8", "at 1"),
        (Stack(8, total=8.0, held="buffer"), "(x + F(x)) · 8", "at 1"),
        (Stack(8, skip=8.0, held="parameter"), "8 · x + F(x)", "at 1"),
        (Stack(8, skip=8.0, held="buffer"), "8 · x + F(x)", "at 1"),
        (Stack(8, branch=8.0, held="parameter"), "x + 8 · F(x)", "near 0"),
        (Stack(8, branch=8.0, held="buffer"), "x + 8 · F(x)", "near 0"),
    ],
)
def test_a_tensor_that_makes_the_stream_grow_is_measured_and_named(model: Stack, formula: str, begin: str) -> None:
    (found,) = trained(model)
    assert found.code == "IM401"
    assert found.step == 0
    assert f"by a tensor of 8 (rms, measured), {formula}" in found.message
    assert f"Begin with that tensor {begin}" in found.remedy
    assert "nn.init" not in found.remedy


def test_a_tensor_that_makes_the_signal_fade_is_measured_and_named() -> None:
    found = trained(Stack(8, total=0.05, held="parameter"))
    assert [one.code for one in found] == ["IM202"]
    assert "by a tensor of 0.05 (rms, measured), (x + F(x)) · 0.05" in found[0].message
    assert "Begin with that tensor at 1" in found[0].remedy


@pytest.mark.untraced
@pytest.mark.parametrize(
    "model",
    [
        Stack(24, total=math.sqrt(0.5), held="parameter"),
        Stack(24, skip=0.999, held="parameter"),
        Stack(24, branch=0.2, held="parameter"),
        Stack(12, skip=0.05, norm=True, held="parameter"),
        Stack(12, total=8.0, norm=True, held="buffer"),
    ],
)
def test_a_tensor_that_keeps_the_variance_is_not_mentioned(model: Stack) -> None:
    assert trained(model) == []


@pytest.mark.parametrize("held", ["number", "parameter"])
def test_where_plain_steps_break_the_run_the_factor_is_critical_and_what_follows_points_to_it(held: str) -> None:
    found, *more = trained(Stack(8, skip=4.0, held=held), rate=0.05)
    assert found.code == "IM401"
    assert found.severity is Severity.CRITICAL
    assert found.step == 0
    # NaN is always told as it is.
    assert [one.code for one in more] == ["IM601"]
    assert "Mend what makes the output so large at step 0 first." in more[0].remedy
    assert "The initial weights were fine" not in more[0].remedy


def test_where_plain_steps_are_small_enough_the_factor_is_a_warning() -> None:
    (found,) = [one for one in trained(Stack(8, skip=4.0), rate=1e-8) if one.code == "IM401"]
    assert found.severity is Severity.WARNING


@pytest.mark.parametrize(("rate", "severity"), [(0.0, Severity.WARNING), (0.02, Severity.CRITICAL)])
def test_a_skip_that_is_added_twice_in_every_block_is_to_be_added_once(rate: float, severity: Severity) -> None:
    found = next(one for one in reversed(trained(Stack(10, again="each"), rate=rate)) if one.code == "IM401")
    assert found.severity is severity
    assert "added twice, x + (x + F(x))" in found.message
    assert found.remedy.startswith("Add the skip once. Look in the forward of blocks.0")
    assert found.layers == tuple(f"blocks.{i}#1" for i in range(10))


@pytest.mark.untraced
@pytest.mark.parametrize("model", [Stack(10, again="once"), Stack(10, again="each", norm=True)])
def test_a_skip_over_all_blocks_and_one_that_a_normalisation_follows_are_not_mentioned(model: Stack) -> None:
    assert trained(model) == []
