"""Positions of a sample (tokens, queries, nodes) that give the same although they should not: IM702, by what lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity, Structure
from init_monitor.measures import position_shares
from init_monitor.records import Figure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import SampleCollapse

if TYPE_CHECKING:
    from init_monitor.standalone import Watch

TOKENS, WIDTH, CLASSES = 10, 24, 4


class Tokens(nn.Module):
    """Answers for every token what it is, from what it is and what surrounds it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(CLASSES, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.rounds = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(12))
        for layer in self.rounds.children():
            nn.init.kaiming_normal_(layer.get_parameter("weight"), nonlinearity="relu")
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        if self.form == "mean":
            h = h.mean(1, keepdim=True).expand_as(h)
        for layer in self.rounds if self.form in {"rounds", "skips"} else [self.rounds[0]]:
            around = 0.3 * h + 0.7 * h.mean(1, keepdim=True)
            out = F.leaky_relu(layer(h if self.form in {"mean", "own", "one"} else around), 0.2)
            h = h + 0.1 * out if self.form == "skips" else out
        answer: Tensor = self.head(h.mean(1) if self.form == "one" else h)
        return answer


def trained(form: str, steps: int = 110, *, model: nn.Module | None = None) -> tuple[Watch, list[Finding]]:
    """Train on tokens each of which is its own class, but for noise; or all of that of the sample."""
    generator = torch.Generator().manual_seed(0)
    model = Tokens("mean" if form == "of the sample" else form) if model is None else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for _ in range(steps):
            y = torch.randint(0, CLASSES, (32, TOKENS), generator=generator)
            y = y[:, :1].expand_as(y) if form in {"one", "of the sample"} else y
            x = F.one_hot(y, CLASSES) + 0.3 * torch.randn(32, TOKENS, CLASSES, generator=generator)
            with watched.step() as now:
                out = model(x)
                loss = (
                    F.cross_entropy(out, y[:, 0]) if form == "one" else F.cross_entropy(out.flatten(0, 1), y.flatten())
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
    return watched, [one for one in watched.findings if one.code == "IM702" and one.severity > Severity.INFO]


def test_the_share_between_positions_is_what_float64_says() -> None:
    model, x = Tokens("rounds"), torch.randn(8, TOKENS, CLASSES)
    record = init_monitor.check(model, x).records[0]
    with torch.no_grad():
        h = model.stem(x).double()
    within = (h - h.mean(1, keepdim=True)).square().mean()
    assert record.layer_table.at("stem", Quantity.POSITION_SHARE) == pytest.approx(
        float(within / h.var(correction=0)), rel=1e-4
    )


def test_nothing_is_said_of_one_position_or_a_constant() -> None:
    one = np.ones(1)
    assert np.isnan(position_shares(one, np.array([np.nan]), one, one, one)).all()
    assert np.isnan(position_shares(one, one, one, one, 0 * one)).all()


def test_one_vector_for_all_positions_is_named_with_where_it_begins() -> None:
    _, found = trained("mean")
    assert found
    assert found[0].layers == ("rounds.0", "head")
    assert "All positions of a sample" in found[0].message
    assert "It is so from rounds.0 on." in found[0].message
    assert "what tells the positions apart before rounds.0" in found[0].remedy


def test_rounds_of_averaging_that_leave_the_loss_where_it_was_are_named() -> None:
    _, found = trained("rounds", steps=210)
    assert [one.severity for one in found] == [Severity.WARNING]
    assert "Each round of averaging" in found[0].remedy
    assert found[0].evidence["position_share"] < found[0].expected["position_share"]


@pytest.mark.parametrize("form", ["own", "one", "skips"])
def test_tokens_that_keep_apart_and_an_output_without_positions_are_not_mentioned(form: str) -> None:
    watched, found = trained(form)
    assert found == []
    assert watched.losses[-1] < watched.losses[0]


def test_a_network_whose_targets_are_alike_and_that_has_learned_before_is_not_mentioned() -> None:
    model = Tokens("mean")
    first, found = trained("of the sample", steps=300, model=model)
    assert found == []
    assert first.losses[-1] < first.losses[0] / 10
    _, found = trained("of the sample", model=model)
    assert found == []


class Blocks(nn.Module):
    """Attention and a perceptron eight times, with or without the skips; answers for every token what the next one is."""

    def __init__(self, *, skips: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.skips = skips
        self.stem, self.head = nn.Embedding(CLASSES, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.places = nn.Parameter(0.5 * torch.randn(TOKENS, WIDTH))
        self.attentions = nn.ModuleList(nn.MultiheadAttention(WIDTH, 2, batch_first=True) for _ in range(8))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)) for _ in range(8)
        )
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.stem(tokens) + self.places
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            h = F.layer_norm(x, (WIDTH,))
            h, _ = attention(h, h, h, need_weights=False)
            x = x + h if self.skips else h
            h = mlp(F.layer_norm(x, (WIDTH,)))
            x = x + h if self.skips else h
        answer: Tensor = self.head(self.norm(x))
        return answer


@pytest.mark.parametrize("skips", [False, True])
def test_a_gradient_that_fades_where_all_positions_are_alike_is_not_the_work_of_a_loss_term(*, skips: bool) -> None:
    generator, model = torch.Generator().manual_seed(0), Blocks(skips=skips)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for _ in range(80):
            tokens = torch.randint(0, CLASSES, (32, TOKENS), generator=generator)
            with watched.step() as now:
                loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
    loud = [one for one in watched.findings if one.severity > Severity.INFO]
    assert bool(loud) is not skips
    assert all("outweighs the rest" not in one.remedy for one in loud)
    assert all("add a residual connection" in one.remedy for one in loud if one.code == "IM202")


def test_positions_that_are_alike_in_a_run_that_diverged_are_what_is_left_of_it() -> None:
    alike = Finding(
        "sample-collapse", "IM702", Severity.WARNING, ("head",), 100, "Alike.", {"position_share": Figure(0.0)}
    )
    diverged, grown = (Finding("other", code, Severity.WARNING, (), 100, "So.") for code in ("IM802", "IM401"))
    assert SampleCollapse().leaves(alike, diverged, Structure()) == {"head"}
    assert SampleCollapse().leaves(alike, grown, Structure()) == frozenset()
