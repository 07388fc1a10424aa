"""Attention in its many forms: each number of each head against plain float64 arithmetic over all queries and keys."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

import init_monitor
from init_monitor.capture.single_pass import rehearse
from init_monitor.records.quantities import Quantity
from init_monitor.structure.score_rows import MOST_ROWS, choice_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.records import StepRecord, Structure

B, H, L, E = 3, 4, 10, 8
"""So few that every row is looked at."""


class Case(NamedTuple):
    """An attention, and what it should add up to: the scale, which keys are seen, and what is added to the logits."""

    form: Callable[[Tensor, Tensor, Tensor], Tensor]
    scale: float = 1 / math.sqrt(E)
    seen: Tensor | None = None
    bias: Tensor | None = None


class Attend(nn.Module):
    """Queries, keys and values of H heads (G of keys and values), and any form of attention between them."""

    def __init__(self, form: Callable[[Tensor, Tensor, Tensor], Tensor], groups: int = H, heads: int = H) -> None:
        super().__init__()
        width = heads * E
        self.heads, self.groups = heads, groups
        self.query, self.key, self.value = (
            nn.Linear(width, width),
            nn.Linear(width, groups * E),
            nn.Linear(width, groups * E),
        )
        self.out = nn.Linear(width, width)
        self.form = form

    def split(self, x: Tensor, heads: int) -> Tensor:
        split: Tensor = x.unflatten(-1, (heads, E))
        return split.transpose(1, 2)

    def operands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.query(x), self.heads), self.split(self.key(x), self.groups)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.operands(x)
        y = self.form(q, k, self.split(self.value(x), self.groups))
        output: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return output


def expected(
    q: Tensor, k: Tensor, scale: float, seen: Tensor | None = None, bias: Tensor | None = None
) -> dict[Quantity, list[float]]:
    """Return the numbers of each head, row by row, in float64."""
    q, k = q.detach().double(), k.detach().double()
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    samples, heads, queries, _ = q.shape
    keys = k.shape[2]
    visible = torch.ones(samples, heads, queries, keys, dtype=torch.bool)
    visible = visible if seen is None else visible & seen
    more = torch.zeros(samples, heads, queries, keys).double() + (0 if bias is None else bias.double())
    found: dict[Quantity, list[float]] = {one: [] for one in Quantity if one.facts.of.value == "head"}
    for head in range(heads):
        logits, entropies, peaks, firsts, counts = [], [], [], [], []
        for sample in range(samples):
            for row in range(queries):
                places = [j for j in range(keys) if visible[sample, head, row, j]]
                own = [float(q[sample, head, row] @ k[sample, head, j]) * scale for j in places]
                logits += own
                if len(places) < 2:
                    continue
                total = np.array([z + float(more[sample, head, row, j]) for z, j in zip(own, places, strict=True)])
                weights = np.exp(total - total.max())
                weights /= weights.sum()
                entropies.append(-sum(p * math.log(p) for p in weights if p > 0) / math.log(len(places)))
                peaks.append(weights.max() > 0.9)
                firsts.append(places[0] == 0 and weights[0] > 0.5)
                counts.append(len(places))
        found[Quantity.ATTENTION_LOGIT_MAX].append(max(map(abs, logits)))
        found[Quantity.ATTENTION_LOGIT_RMS].append(math.sqrt(np.mean(np.square(logits))))
        found[Quantity.ATTENTION_ENTROPY].append(float(np.mean(entropies)))
        found[Quantity.ATTENTION_ONE_PLACE].append(float(np.mean(peaks)))
        found[Quantity.ATTENTION_FIRST].append(float(np.mean(firsts)))
        found[Quantity.ATTENTION_KEYS].append(float(np.mean(counts)))
        found[Quantity.ATTENTION_ROWS].append(float(len(counts)))
    return found


def measured(model: nn.Module, x: Tensor) -> tuple[Structure, StepRecord]:
    rehearsal = rehearse(model, x, caller="a test")
    return rehearsal.structure, rehearsal.record


def agree(record: StepRecord, wanted: dict[Quantity, list[float]], tolerance: float = 2e-5) -> None:
    for quantity, numbers in wanted.items():
        np.testing.assert_allclose(record.column(quantity), numbers, rtol=tolerance, atol=tolerance, err_msg=quantity)


CAUSAL = torch.ones(L, L, dtype=torch.bool).tril()
RANDOM = (torch.rand(B, 1, L, L, generator=torch.Generator().manual_seed(1)) > 0.4) | torch.eye(L, dtype=torch.bool)
RELATIVE = torch.randn(H, L, L, generator=torch.Generator().manual_seed(2))
DISTANCE = (torch.arange(L)[:, None] - torch.arange(L)[None, :]).abs()
ALIBI = -torch.tensor([0.5, 0.25, 0.125, 0.0625])[:, None, None] * DISTANCE
STEEP = -40.0 * DISTANCE.expand(H, L, L)


def product(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / math.sqrt(E)


def capped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (torch.tanh(product(q, k) / 2) * 2).softmax(-1) @ v


def in_place(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(-2, -1)
    scores *= 0.5
    scores += RELATIVE
    return scores.softmax(-1) @ v


def added_product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.baddbmm(
        RELATIVE.repeat(len(q), 1, 1), q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), beta=1, alpha=0.25
    )
    output: Tensor = torch.bmm(scores.softmax(-1), v.flatten(0, 1)).unflatten(0, (-1, H))
    return output


def summed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("bhid,bhjd->bijh", q, k).mul(0.5).softmax(2)
    return torch.einsum("bijh,bhjd->bhid", weights, v)


def windows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As in shifted windows: the mask is added in another shape."""
    scores = product(q, k)
    mask = torch.zeros(B, 1, L, L).masked_fill(~RANDOM, -100.0)
    scores = (scores.view(1, B, H, L, L) + mask[None]).view(B, H, L, L)
    return functional.dropout(scores.softmax(-1), 0.1) @ v


def sdpa(**options: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, **options)


CASES: dict[str, Case] = {
    "fused": Case(sdpa()),
    "fused causal": Case(sdpa(is_causal=True), seen=CAUSAL),
    "fused scale": Case(sdpa(scale=1.5), scale=1.5),
    "fused mask of truth": Case(sdpa(attn_mask=RANDOM), seen=RANDOM),
    "fused mask of two dimensions": Case(sdpa(attn_mask=CAUSAL), seen=CAUSAL),
    "fused bias": Case(sdpa(attn_mask=RELATIVE), bias=RELATIVE),
    "fused ALiBi": Case(sdpa(attn_mask=ALIBI.masked_fill(~CAUSAL, -math.inf)), seen=CAUSAL, bias=ALIBI),
    "fused bias that hides": Case(sdpa(attn_mask=STEEP), seen=DISTANCE <= 2, bias=STEEP),
    "fused lower right": Case(sdpa(attn_mask=causal_lower_right(L, L)), seen=CAUSAL),
    "fused upper left": Case(sdpa(attn_mask=causal_upper_left(L, L)), seen=CAUSAL),
    "written out": Case(lambda q, k, v: product(q, k).softmax(-1) @ v),
    "scaled before": Case(lambda q, k, v: ((q / math.sqrt(E)) @ k.mT).softmax(-1) @ v),
    "not scaled": Case(lambda q, k, v: (q @ k.mT).softmax(-1) @ v, scale=1.0),
    "filled": Case(lambda q, k, v: product(q, k).masked_fill(~CAUSAL, -math.inf).softmax(-1) @ v, seen=CAUSAL),
    "filled with the smallest": Case(
        lambda q, k, v: product(q, k).masked_fill(~RANDOM, torch.finfo(q.dtype).min).softmax(-1) @ v, seen=RANDOM
    ),
    "chosen": Case(lambda q, k, v: torch.where(CAUSAL, product(q, k), torch.tensor(-1e9)).softmax(-1) @ v, seen=CAUSAL),
    "mask added": Case(
        lambda q, k, v: (product(q, k) + (~RANDOM).to(q.dtype) * -10_000.0).softmax(-1) @ v, seen=RANDOM
    ),
    "bias added": Case(lambda q, k, v: (product(q, k) + RELATIVE).softmax(-1) @ v, bias=RELATIVE),
    "divided by a tensor": Case(
        lambda q, k, v: (q @ k.mT / torch.full([], E**0.5)).masked_fill(~CAUSAL, -1e4).softmax(-1) @ v, seen=CAUSAL
    ),
    "in place": Case(in_place, scale=0.5, bias=RELATIVE),
    "einsum": Case(
        lambda q, k, v: torch.einsum("bhij,bhjd->bhid", torch.einsum("bhid,bhjd->bhij", q, k).mul(0.5).softmax(-1), v),
        scale=0.5,
    ),
    "einsum, heads last": Case(summed, scale=0.5),
    "a module for the softmax": Case(lambda q, k, v: nn.Softmax(dim=-1)(product(q, k)) @ v),
    "windows": Case(windows, seen=RANDOM),
    "softmax in float32": Case(
        lambda q, k, v: functional.softmax(product(q, k), dim=-1, dtype=torch.float32).to(q.dtype) @ v
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_every_head_is_that_of_float64(name: str) -> None:
    torch.manual_seed(0)
    case, x = CASES[name], 3 * torch.randn(B, L, H * E)
    model = Attend(case.form)
    structure, record = measured(model, x)
    (attention,) = structure.attentions
    assert (attention.heads, attention.head_dim, attention.owner) == (H, E, "")
    assert attention.inputs == ("query", "key")
    wanted = expected(*model.operands(x), case.scale, case.seen, case.bias)
    agree(record, wanted)


def test_heads_folded_into_the_batch_are_told_apart_and_a_bias_in_the_product_is_no_part_of_the_logits() -> None:
    torch.manual_seed(0)
    model, x = Attend(added_product), torch.randn(B, L, H * E)
    structure, record = measured(model, x)
    assert structure.attentions[0].heads == H
    agree(record, expected(*model.operands(x), 0.25, bias=RELATIVE))


def sequence_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As in fairseq: ``[L, B, H·D]`` is viewed as ``[L, B·H, D]`` and turned."""
    q, k, v = (one.transpose(0, 1).contiguous().view(L, B * H, E).transpose(0, 1) for one in (q * E**-0.5, k, v))
    weights = torch.bmm(q, k.transpose(1, 2)).softmax(-1)
    return torch.bmm(weights, v).transpose(0, 1).contiguous().view(L, B, H * E).transpose(0, 1)


def channels_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As in diffusion networks: ``[B, H·D, L]`` is viewed as ``[B·H, D, L]``."""
    q, k, v = (one.transpose(1, 2).reshape(B * H, E, L) for one in (q, k, v))
    weights = (torch.einsum("bct,bcs->bts", q, k) / math.sqrt(E)).softmax(-1)
    return torch.einsum("bts,bcs->bct", weights, v).reshape(B, H * E, L).transpose(1, 2)


def fused_without_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (one.view(B, L, H, E).transpose(1, 2).reshape(B * H, L, E) for one in (q, k, v))
    hidden = torch.zeros(B * H, L, L).masked_fill(~CAUSAL, -math.inf)
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=hidden)
    return y.view(B, H, L, E).transpose(1, 2).flatten(2)


def head_after_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each head by itself: none is folded into the batch, though it has as many samples."""
    made = []
    for head in range(H):
        own = slice(head * E, (head + 1) * E)
        made.append((q[..., own] @ k[..., own].mT / math.sqrt(E)).softmax(-1) @ v[..., own])
    return torch.cat(made, -1)


class Whole(nn.Module):
    """An attention whose form gets queries, keys and values with all heads side by side."""

    def __init__(self, form: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(H * E, H * E) for _ in range(4))
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.out(self.form(self.query(x), self.key(x), self.value(x)))
        return output


@pytest.mark.parametrize("form", [sequence_first, channels_first, fused_without_heads])
def test_however_heads_are_folded_their_numbers_are_those_of_float64(
    form: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    torch.manual_seed(0)
    model, x = Whole(form), 2 * torch.randn(B, L, H * E)
    structure, record = measured(model, x)
    (attention,) = structure.attentions
    assert (attention.heads, attention.head_dim) == (H, E)
    q, k = (layer(x).view(B, L, H, E).transpose(1, 2) for layer in (model.query, model.key))
    agree(record, expected(q, k, 1 / math.sqrt(E), seen=CAUSAL if form is fused_without_heads else None))


def test_heads_one_after_another_are_attentions_of_one_head() -> None:
    torch.manual_seed(0)
    structure, record = measured(Whole(head_after_head), torch.randn(B, L, H * E))
    assert [one.heads for one in structure.attentions] == [1] * H
    assert len(record.head_names) == H


def test_heads_that_talk_to_each_other_are_not_called_broken() -> None:
    """CaiT mixes the heads' scores before the softmax and their weights after it (Shazeer et al. 2020)."""
    torch.manual_seed(0)
    before, after = nn.Linear(H, H), nn.Linear(H, H)

    def talking(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = before(product(q, k).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        weights = after(scores.softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        output: Tensor = weights @ v
        return output

    model = Attend(talking)
    model.before, model.after = before, after
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor:
        for _ in range(12):
            with monitor.step():
                optimizer.zero_grad()
                model(torch.randn(B, L, H * E)).square().mean().backward()
                optimizer.step()
    assert not [one for one in monitor.findings if one.code == "IM304"]
    assert not monitor.structure.attentions


def test_two_dimensions_before_the_keys_are_one_head() -> None:
    torch.manual_seed(0)

    def form(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (one.flatten(0, 1) for one in (q, k, v))
        output: Tensor = functional.scaled_dot_product_attention(q, k, v).unflatten(0, (-1, 1))
        return output

    model, x = Attend(form, heads=1, groups=1), torch.randn(B, L, E)
    structure, record = measured(model, x)
    assert structure.attentions[0].heads == 1
    agree(record, expected(*model.operands(x), 1 / math.sqrt(E)))


@pytest.mark.parametrize(
    "form",
    [
        sdpa(enable_gqa=True),
        lambda q, k, v: functional.scaled_dot_product_attention(
            q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), is_causal=False
        ),
        lambda q, k, v: (
            (q @ k[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2).mT / math.sqrt(E)).softmax(-1)
            @ v.repeat_interleave(2, 1)
        ),
    ],
)
def test_heads_that_share_their_keys_are_told_apart(form: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model, x = Attend(form, groups=2), torch.randn(B, L, H * E)
    _, record = measured(model, x)
    agree(record, expected(*model.operands(x), 1 / math.sqrt(E)))


def test_a_softcap_is_part_of_the_logits() -> None:
    torch.manual_seed(0)
    model, x = Attend(capped), 20 * torch.randn(B, L, H * E)
    _, record = measured(model, x)
    assert record.column(Quantity.ATTENTION_LOGIT_MAX).max() <= 2
    assert record.column(Quantity.ATTENTION_LOGIT_MAX).min() > 1.9


@pytest.mark.parametrize("name", ["fused", "fused causal", "written out", "mask added", "einsum"])
def test_bfloat16_logits_are_within_its_rounding(name: str) -> None:
    torch.manual_seed(0)
    case, x = CASES[name], torch.randn(B, L, H * E)
    model, x = Attend(case.form).bfloat16(), x.bfloat16()
    _, record = measured(model, x)
    wanted = expected(*model.operands(x), case.scale, case.seen, case.bias)
    # Written out, each score is rounded to 8 bits several times; ranks at the bound of 0.5 or 0.9 may flip.
    agree(record, {one: wanted[one] for one in (Quantity.ATTENTION_LOGIT_RMS, Quantity.ATTENTION_ENTROPY)}, 0.02)
    agree(record, {one: wanted[one] for one in (Quantity.ATTENTION_KEYS, Quantity.ATTENTION_ROWS)})


def test_autocast_does_not_touch_what_is_measured() -> None:
    torch.manual_seed(0)
    model, x = Attend(sdpa()), torch.randn(B, L, H * E)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, record = measured(model, x)
        wanted = expected(*model.operands(x), 1 / math.sqrt(E))
    agree(record, wanted)


class Module(nn.Module):
    def __init__(self, call: dict[str, Any], **options: Any) -> None:
        super().__init__()
        self.attention, self.call = nn.MultiheadAttention(H * E, H, **options), call

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.attention(x, x, x, **self.call)[0]
        return output

    def operands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        own = self.attention
        if not own.batch_first:
            x = x.transpose(0, 1)
        q, k, _ = functional.linear(x, own.in_proj_weight, own.in_proj_bias).chunk(3, -1)
        if own.bias_k is not None:
            k = torch.cat((k, own.bias_k.expand(len(k), 1, -1)), 1)
        if own.add_zero_attn:
            k = torch.cat((k, torch.zeros_like(k[:, :1])), 1)
        q, k = (one.unflatten(-1, (H, E)).transpose(1, 2) for one in (q, k))
        return q, k


PADDING = torch.arange(L)[None, :] >= torch.tensor([10, 7, 4])[:, None]


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(
    ("call", "seen", "bias"),
    [
        ({}, None, None),
        ({"attn_mask": ~CAUSAL}, CAUSAL, None),
        ({"attn_mask": torch.zeros(L, L).masked_fill(~CAUSAL, -math.inf), "is_causal": True}, CAUSAL, None),
        ({"attn_mask": RELATIVE.repeat(B, 1, 1)}, None, RELATIVE),
        ({"key_padding_mask": PADDING}, ~PADDING[:, None, None], None),
        ({"key_padding_mask": PADDING, "attn_mask": ~CAUSAL}, CAUSAL & ~PADDING[:, None, None], None),
    ],
)
def test_torchs_own_module_is_read_from_its_inputs_and_weights(
    call: dict[str, Any], seen: Tensor | None, bias: Tensor | None, *, need_weights: bool
) -> None:
    torch.manual_seed(0)
    model, x = Module({**call, "need_weights": need_weights}, batch_first=True), torch.randn(B, L, H * E)
    structure, record = measured(model, x)
    assert structure.attentions[0].name == structure.attentions[0].owner == "attention"
    assert structure.attentions[0].inputs == (structure.names[0],)
    agree(record, expected(*model.operands(x), 1 / math.sqrt(E), seen, bias))


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True, "bias": False}])
def test_torchs_own_module_with_keys_of_its_own_and_the_batch_second(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, x = Module({}, **options), torch.randn(L, B, H * E)
    _, record = measured(model, x)
    agree(record, expected(*model.operands(x), 1 / math.sqrt(E)))


def test_torchs_own_module_with_keys_of_another_width() -> None:
    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow = nn.Linear(H * E, 5)
            self.attention = nn.MultiheadAttention(H * E, H, kdim=5, vdim=5, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y = self.narrow(x)
            output: Tensor = self.attention(x, y, y)[0]
            return output

    torch.manual_seed(0)
    model, x = Across(), torch.randn(B, L, H * E)
    _, record = measured(model, x)
    own = model.attention
    q = functional.linear(x, own.q_proj_weight, own.in_proj_bias[: H * E])
    k = functional.linear(model.narrow(x), own.k_proj_weight, own.in_proj_bias[H * E : 2 * H * E])
    split = [one.unflatten(-1, (H, E)).transpose(1, 2) for one in (q, k)]
    agree(record, expected(split[0], split[1], 1 / math.sqrt(E)))


def test_a_transformer_of_torch_has_every_attention_named() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(H * E, H, 16, batch_first=True)

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.TransformerDecoder(layer, 2)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layers(x, x)
            return output

    structure, record = measured(Decoder(), torch.randn(B, L, H * E))
    assert [one.name for one in structure.attentions] == [
        f"layers.layers.{i}.{kind}" for i in range(2) for kind in ("self_attn", "multihead_attn")
    ]
    assert record.head_names[:H] == tuple(f"layers.layers.0.self_attn[{head}]" for head in range(H))


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    samples=st.integers(1, 9),
    heads=st.integers(1, 3),
    queries=st.integers(1, 70),
    causal=st.booleans(),
    fused=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_of_many_rows_those_that_are_chosen_are_measured(
    samples: int, heads: int, queries: int, seed: int, *, causal: bool, fused: bool
) -> None:
    torch.manual_seed(seed)
    seen = torch.ones(queries, queries, dtype=torch.bool).tril() if causal else None

    def written(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = product(q, k)
        return (scores if seen is None else scores.masked_fill(~seen, -math.inf)).softmax(-1) @ v

    model = Attend(sdpa(is_causal=causal) if fused else written, groups=heads, heads=heads)
    x = torch.randn(samples, queries, heads * E)
    _, record = measured(model, x)
    choice = choice_of((samples,), heads, queries, queries)
    q, k = model.operands(x)
    batch, rows = slice(None, None, choice.batch[0]), slice(choice.first, None, choice.step)
    part = None if seen is None else seen[rows]
    if causal and part is not None and int((part.sum(-1) >= 2).sum()) == 0:
        assert (record.column(Quantity.ATTENTION_ROWS) != record.column(Quantity.ATTENTION_ROWS)).all() or (
            record.column(Quantity.ATTENTION_ROWS) == 0
        ).all()
        return
    if queries < 2:
        return
    agree(record, expected(q[batch, :, rows], k[batch], 1 / math.sqrt(E), part))


@pytest.mark.parametrize(("samples", "queries"), [(1, 1), (64, 197), (2, 4096), (500, 3), (7, 128)])
def test_the_rows_are_few_and_the_last_query_is_among_them(samples: int, queries: int) -> None:
    choice = choice_of((samples,), 8, queries, queries)
    taken = len(range(0, samples, choice.batch[0])) * len(range(choice.first, queries, choice.step))
    assert 1 <= taken <= MOST_ROWS
    assert (queries - 1 - choice.first) % choice.step == 0
    assert taken >= min(samples * queries, MOST_ROWS // 8)


def test_what_is_no_attention_is_not_called_one() -> None:
    class Others(nn.Module):
        """A gate over experts, a matrix of similarities, a chain of products, a softmax over classes."""

        def __init__(self) -> None:
            super().__init__()
            self.gate, self.a, self.b = nn.Linear(E, 4, bias=False), nn.Linear(E, E), nn.Linear(E, E)

        def forward(self, x: Tensor) -> Tensor:
            experts = torch.stack([self.a(x) * i for i in range(4)], 1)
            mixed = torch.einsum("be,bed->bd", (x @ self.gate.weight.T).softmax(-1), experts)
            similar = (self.a(x) @ self.b(x).T).softmax(-1)
            chained = self.a(x) @ self.b(x).T @ x
            total: Tensor = mixed.sum() + similar.sum() + chained.sum()
            return total

    torch.manual_seed(0)
    structure, record = measured(Others(), torch.randn(6, E))
    assert structure.attentions == ()
    assert record.head_names == ()


class Trained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Attend(sdpa(is_causal=True)), Attend(lambda q, k, v: product(q, k).softmax(-1) @ v)
        self.third = Module({}, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.first(x)
        x = x + functional.dropout(self.second(x), 0.1, self.training)
        output: Tensor = x + self.third(x)
        return output


def train(*, watched: bool, batches: int = 1) -> tuple[list[float], Tensor, Any]:
    torch.manual_seed(0)
    model = Trained()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []

    def step() -> None:
        optimizer.zero_grad()
        for _ in range(batches):
            loss = (model(torch.randn(B, L, H * E)) - torch.randn(B, L, H * E)).square().mean()
            losses.append(loss.item())
            loss.backward()
        optimizer.step()

    if not watched:
        for _ in range(3):
            step()
        return losses, torch.get_rng_state(), None
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor:
        for _ in range(3):
            with monitor.step():
                step()
    return losses, torch.get_rng_state(), monitor


@pytest.mark.parametrize("batches", [1, 2])
def test_looking_at_attention_changes_no_bit_of_a_training(batches: int) -> None:
    plain, plain_state, _ = train(watched=False, batches=batches)
    watched, state, monitor = train(watched=True, batches=batches)
    assert plain == watched
    assert torch.equal(plain_state, state)
    record = monitor.records[-1]
    assert len(record.head_names) == 3 * H
    rows = record.column(Quantity.ATTENTION_ROWS)
    assert rows.tolist() == [batches * B * (L - 1)] * H + [batches * B * L] * 2 * H


def test_evaluation_is_not_attention_of_the_training() -> None:
    torch.manual_seed(0)
    model = Trained()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor, monitor.step():
        with torch.no_grad():
            model(torch.randn(B, 5, H * E))
        model(torch.randn(B, L, H * E)).square().mean().backward()
        optimizer.step()
    assert set(monitor.records[0].column(Quantity.ATTENTION_KEYS)[H:]) == {float(L)}


FLEXIBLE = """
import warnings
import torch
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
import init_monitor

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(32, 96), nn.Linear(16, 4)
    def forward(self, x):
        # Its backward is not there on a CPU.
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 16)).permute(2, 0, 3, 1, 4).detach()
        return self.head(flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: torch.where(i >= j, s, -float("inf"))))

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    report = init_monitor.check(Net(), torch.randn(2, 16, 32))
told = [str(one.message) for one in caught if "init_monitor" in str(one.message)]
print(report.structure.attentions, len(told), "function transform" in told[0])
"""


def test_flex_attention_runs_and_one_notice_says_that_it_is_not_looked_into() -> None:
    """In a process of its own: it imports the compiler when it is called, which then traced into the probe, and failed."""
    done = subprocess.run([sys.executable, "-c", FLEXIBLE], capture_output=True, text=True, check=False)
    assert done.stdout == "() 1 True\n", done.stderr
