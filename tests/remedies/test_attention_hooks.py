"""The code of IM304: hooks that compute what a changed forward of the attention would, values and gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from init_monitor import check
from init_monitor.analysis.attention_heads import heads_at
from init_monitor.remedies import attention_hooks
from init_monitor.rules import AttentionLogits

if TYPE_CHECKING:
    from init_monitor import Report
    from init_monitor.analysis.attention_heads import Heads

WIDTH, HEADS = 64, 2
LAYOUTS = ["separate", "together", "grouped"]


class Block(nn.Module):
    """Attention whose queries, keys and values are made by one layer or by three, with or without a QK-norm of its own."""

    def __init__(self, layout: str, scale: float | None, *, written: bool, normed: bool) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.few = 1 if layout == "grouped" else HEADS
        if layout == "together":
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        else:
            few = WIDTH // HEADS * self.few
            self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, few), nn.Linear(WIDTH, few)
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=WIDTH**-0.5)
        self.layout, self.scale, self.written, self.normed = layout, scale, written, normed

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        made = self.qkv(y).chunk(3, -1) if self.layout == "together" else (self.q(y), self.k(y), self.v(y))
        q, k, v = (one.unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2) for one in made)
        k, v = (one.repeat_interleave(HEADS // self.few, 1) for one in (k, v))
        if self.normed:
            q, k = (functional.rms_norm(one, one.shape[-1:]) for one in (q, k))
        if self.written:
            scale = 1 / math.sqrt(q.shape[-1]) if self.scale is None else self.scale
            mixed = (q @ k.mT * scale).softmax(-1) @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        added: Tensor = x + self.out(mixed.transpose(1, 2).flatten(2))
        return added


def network(layout: str, scale: float | None = None, *, written: bool = False, normed: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [Block(layout, scale, written=written, normed=normed) for _ in range(2)]
    return nn.Sequential(*blocks, nn.Linear(WIDTH, 4)).double()


def batch() -> Tensor:
    return torch.randn(8, 32, WIDTH, generator=torch.Generator().manual_seed(1)).double()


def seen(report: Report) -> list[Heads]:
    return list(heads_at(report.records[0], report.structure).values())


def gradients(model: nn.Module) -> tuple[Tensor, list[Tensor]]:
    output = model(batch())
    model.zero_grad()
    output.square().mean().backward()
    return output.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def do_the_same(one: nn.Module, other: nn.Module) -> bool:
    (first, firsts), (second, seconds) = gradients(one), gradients(other)
    return torch.allclose(first, second) and all(map(torch.allclose, firsts, seconds))


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_scale_is_made_up_for_value_for_value_and_gradient_for_gradient(
    layout: str, *, written: bool
) -> None:
    model = network(layout, 1.0, written=written)
    (finding,) = check(model, batch(), rules=(AttentionLogits(),)).findings
    assert "1/√d" in finding.remedy_sentence or "math.sqrt" in finding.remedy_sentence
    assert not do_the_same(model, network(layout))
    exec(finding.remedy_code, {"model": model})  # noqa: S102 - it is the code a user is asked to paste
    assert do_the_same(model, network(layout))
    assert not check(model, batch(), rules=(AttentionLogits(),)).findings


@pytest.mark.parametrize("layout", LAYOUTS)
def test_queries_and_keys_are_normalised_as_in_the_forward(layout: str) -> None:
    model = network(layout)
    report = check(model, batch())
    code = attention_hooks.normalising(seen(report), report.structure)
    exec(code, {"model": model})  # noqa: S102
    assert do_the_same(model, network(layout, normed=True))


def test_without_layers_of_their_own_for_queries_and_keys_nothing_is_hooked() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDTH, dropout=0.0, batch_first=True, norm_first=True)
    report = check(layer.double(), batch())
    assert seen(report)
    assert attention_hooks.normalising(seen(report), report.structure) == ""
    assert attention_hooks.dividing(seen(report), 8.0, report.structure) == ""


def test_queries_that_are_normalised_are_not_divided_before_that() -> None:
    report = check(network("separate", normed=True), batch())
    assert attention_hooks.dividing(seen(report), 8.0, report.structure) == ""
