"""Attention that starts sharp, attention whose logits grow, and what looks like them and is none."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from builders import history, is_complete, linear, norm, only
from hypothesis import given, strategies as st
from torch import Tensor, nn
from torch.nn import functional

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records import Attention, Finding, History, LossCurve, LossStretch, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DEFAULT_RULES, AttentionLogits, Saturation

RULE = AttentionLogits()
NORM = norm(0, "norm")
NETWORK = Structure(
    (NORM, linear(1, "attn.qkv", inputs=("norm",)), linear(2, "attn.out"), linear(3, "head")),
    attentions=(Attention("attn", "attn", 2, 64, "scaled_dot_product_attention", ("attn.qkv",), scale=1 / 8),),
)


def seen(one_place: float = 0.0, *, largest: float = 3.0, rms: float = 1.0, keys: float = 64.0) -> dict[Quantity, Any]:
    return {
        Quantity.ATTENTION_ONE_PLACE: one_place,
        Quantity.ATTENTION_LOGIT_MAX: largest,
        Quantity.ATTENTION_LOGIT_RMS: rms,
        Quantity.ATTENTION_ENTROPY: 1 - one_place,
        Quantity.ATTENTION_KEYS: keys,
        Quantity.MEAN_SQUARE: 1.0,
        Quantity.WEIGHT_VARIANCE: 0.0,
    }


def changed(**more: Any) -> Structure:
    return dataclasses.replace(NETWORK, attentions=(dataclasses.replace(NETWORK.attentions[0], **more),))


def judged(*records: dict[Quantity, Any], structure: Structure = NETWORK, losses: Any = ()) -> list[Finding]:
    past = history(structure, *records)
    curve = LossCurve()
    if len(losses):
        curve.add(LossStretch.of(enumerate(losses)))
    return list(RULE.judge(History(past.records, structure, losses=curve)))


@pytest.mark.parametrize(("share", "fires"), [(0.26, True), (0.24, False), (0.0, False)])
def test_rows_that_look_at_one_place_from_the_start_are_a_warning(share: float, *, fires: bool) -> None:
    found = judged(seen(share, rms=8.0))
    assert bool(found) is fires
    if fires:
        assert (found[0].code, found[0].severity, found[0].layers) == ("IM304", Severity.WARNING, ("attn.qkv",))
        assert found[0].evidence["logit_rms"] == 8.0
        is_complete(found[0])


@pytest.mark.parametrize("scale", [1.0, 0.5, 1 / 8])
def test_where_the_scale_is_missing_less_is_enough_and_it_is_named(scale: float) -> None:
    found = judged(seen(0.15, rms=8.0), structure=changed(scale=scale))
    assert bool(found) is (scale >= 0.5)
    if scale == 1.0:
        assert "q·k times 1, where 1/√64 = 0.125 keeps them at 1: the scale 1/√d is missing" in found[0].message
        assert "F.scaled_dot_product_attention(q, k, v)" in found[0].remedy_code


def test_the_remedy_of_a_softmax_that_is_written_out_divides() -> None:
    found = judged(seen(0.5, rms=8.0), structure=changed(scale=1.0, function="softmax"))
    assert "math.sqrt(q.shape[-1])" in found[0].remedy_code


def test_a_factor_that_is_a_tensor_is_told_by_what_its_queries_and_keys_would_give() -> None:
    found = judged(seen(0.5, rms=30.0), structure=changed(scale=math.nan))
    assert "30× what these queries and keys give" in found[0].message
    assert "temperature" in found[0].remedy_sentence


def test_weights_that_are_too_large_are_named_and_initialised_anew() -> None:
    found = judged(seen(0.5, rms=30.0) | {Quantity.MEAN_SQUARE: 30.0})
    assert "weights of attn.qkv" in found[0].message
    assert "xavier" in found[0].remedy_code


def test_a_network_that_was_trained_before_may_be_as_sharp_as_it_likes() -> None:
    trained = {Quantity.WEIGHT_VARIANCE: 0.1}
    structure = dataclasses.replace(NETWORK, layers=(norm(0, "norm", weight="norm.weight"), *NETWORK.layers[1:]))
    assert judged(seen(0.9) | trained, structure=structure) == []
    assert judged(seen(0.9), structure=structure) != []


def test_over_few_keys_to_look_at_one_is_no_fault() -> None:
    assert judged(seen(0.9, keys=3.0)) == []


def test_what_became_sharp_while_it_learned_is_healthy() -> None:
    falling = [3.0 * 0.97**k for k in range(60)]
    assert judged(seen(), *[seen(0.95, largest=40.0)] * 5, losses=falling) == []


def test_what_started_sharp_and_is_no_more_is_healthy() -> None:
    assert judged(seen(0.5), seen(0.1)) == []


LEVEL = [2.3 + 0.001 * (-1) ** k for k in range(60)]


@pytest.mark.parametrize(
    ("largest", "share", "losses", "severity"),
    [
        (300.0, 0.95, LEVEL, Severity.WARNING),
        (300.0, 0.5, LEVEL, Severity.INFO),
        (300.0, 0.95, [3.0 * 0.97**k for k in range(60)], Severity.INFO),
        (2e4, 0.5, [3.0 * 0.97**k for k in range(60)], Severity.WARNING),
        (49.0, 0.95, LEVEL, None),
        (300.0, 0.95, [*LEVEL, math.nan], Severity.WARNING),
    ],
)
def test_logits_that_grew_are_judged_by_what_came_of_it(
    largest: float, share: float, losses: list[float], severity: Severity | None
) -> None:
    found = judged(seen(), *[seen(share, largest=largest)] * 3, losses=losses)
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    if severity is not None:
        assert "F.rms_norm(q" in found[0].remedy_code
        assert found[0].evidence["growth"] == pytest.approx(largest / 3)
        is_complete(found[0])


def test_what_was_as_large_at_the_start_did_not_grow() -> None:
    assert judged(seen(largest=40.0), *[seen(largest=100.0)] * 3, losses=LEVEL) == []


def test_one_odd_batch_is_not_growth() -> None:
    assert judged(seen(), seen(0.9, largest=500.0), seen(), seen(0.9, largest=500.0), losses=LEVEL) == []


def test_in_float16_the_end_of_the_format_counts() -> None:
    layers = tuple(dataclasses.replace(one, dtype="float16") for one in NETWORK.layers)
    structure = dataclasses.replace(NETWORK, layers=layers)
    found = judged(seen(), *[seen(largest=2e4)] * 3, structure=structure)
    assert only(found).severity is Severity.CRITICAL


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_sharper_start_is_never_a_milder_finding(a: float, b: float) -> None:
    ranks = [max((one.severity.rank for one in judged(seen(share))), default=-1) for share in sorted((a, b))]
    assert ranks == sorted(ranks)


def test_a_network_without_attention_has_none() -> None:
    assert judged({}, structure=Structure(NETWORK.layers)) == []


class Block(nn.Module):
    def __init__(self, *, scale: float | None, fused: bool, heads: int = 1) -> None:
        super().__init__()
        self.norm, self.q, self.k, self.v, self.out = nn.LayerNorm(64), *(nn.Linear(64, 64) for _ in range(4))
        for layer in (self.q, self.k):
            nn.init.xavier_normal_(layer.weight)
        self.scale, self.fused, self.heads = scale, fused, heads

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.fused:
            mixed = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        else:
            scale = 1 / math.sqrt(q.shape[-1]) if self.scale is None else self.scale
            mixed = (q @ k.mT * scale).softmax(-1) @ v
        added: Tensor = x + self.out(mixed.transpose(1, 2).flatten(2))
        return added


def network(**options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Block(**options), Block(**options), nn.Linear(64, 4))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_in_a_check_a_missing_scale_is_found_however_attention_is_computed(scale: float | None, *, fused: bool) -> None:
    report = init_monitor.check(network(scale=scale, fused=fused), torch.randn(16, 32, 64))
    found = [one for one in report.findings if one.code in {"IM303", "IM304"}]
    if scale is None:
        assert found == []
    else:
        assert [one.code for one in found] == ["IM304"], "the softmax yields to the attention"
        assert found[0].layers == ("0.q", "0.k", "1.q", "1.k")
        assert "the scale 1/√d is missing" in found[0].message


def test_without_this_rule_the_softmax_is_told() -> None:
    report = init_monitor.check(network(scale=1.0, fused=False), torch.randn(16, 32, 64), rules=(Saturation(),))
    assert [one.code for one in report.findings] == ["IM303"]


def test_the_remedy_heals_queries_and_keys_that_start_too_large() -> None:
    model, x = network(scale=None, fused=True), torch.randn(16, 32, 64)
    for block in list(model.children())[:2]:
        for layer in (block.get_submodule("q"), block.get_submodule("k")):
            nn.init.normal_(layer.get_parameter("weight"), std=0.5)
    finding = only(init_monitor.check(model, x, rules=(RULE,)).findings)
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": model})  # noqa: S102
    assert init_monitor.check(model, x, rules=(RULE,)).findings == ()


def test_in_a_training_a_rate_that_is_too_high_lets_the_logits_grow() -> None:
    torch.manual_seed(0)
    model = network(scale=None, fused=True, heads=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with init_monitor.watch(model, optimizer, sinks=(), rules=(RULE,), strict=True, every_n_steps=5) as monitor:
        for _ in range(60):
            with monitor.step() as step:
                x = torch.randn(16, 12, 64)
                loss = functional.cross_entropy(model(x).mean(1), torch.randint(0, 4, (16,)))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step.loss = loss
    grown = [one for one in monitor.findings if "growth" in one.evidence]
    assert grown
    assert "QK-norm" in grown[-1].remedy
    largest = monitor.records[-1].column(Quantity.ATTENTION_LOGIT_MAX)
    assert np.nanmax(largest) > 50


def test_the_rule_is_one_of_the_default_ones() -> None:
    assert [rule.code for rule in DEFAULT_RULES].count("IM304") == 1
    assert isinstance(InitMonitor(rules=(RULE,)), InitMonitor)


class Loud(nn.Module):
    """One attention over an embedding with positions, either of which may be far too large."""

    def __init__(self, *, rows: float = 1.0, positions: float = 1.0) -> None:
        super().__init__()
        self.rows = nn.Embedding(20, 32)
        self.places = nn.Parameter(positions * torch.randn(12, 32))
        nn.init.normal_(self.rows.weight, std=rows)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.head = nn.Linear(32, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.rows(tokens) + self.places
        result: Tensor = self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))
        return result


def of_loud(model: nn.Module) -> list[Finding]:
    tokens = torch.randint(0, 20, (16, 12), generator=torch.Generator().manual_seed(0))
    return [one for one in init_monitor.check(model, tokens, rules=(RULE,)).findings if one.code == "IM304"]


def test_what_attention_receives_is_blamed_where_its_weights_are_fine() -> None:
    torch.manual_seed(0)
    assert of_loud(Loud()) == []
    finding = only(of_loud(Loud(positions=300.0)))
    assert "what is added to it (positions" in finding.message
    assert not finding.remedy_code, "to draw the weights of the attention anew would change nothing"
    model = Loud(rows=300.0)
    finding = only(of_loud(model))
    assert "Initialise rows smaller" in finding.remedy
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": model})  # noqa: S102
    assert of_loud(model) == []
