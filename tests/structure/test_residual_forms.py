"""Residual additions that are easily missed or easily imagined, against counts by hand."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import pytest
import torch
from residual_forms import FORMS, D, Merges
from torch import nn

from init_monitor.structure.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.structure.sites import ResidualSite


def sites_of(model: nn.Module) -> tuple[ResidualSite, ...]:
    with Probe(copy.deepcopy(model)) as probe:
        probe._model(torch.randn(3, 6, D))
        none_of_the_network = probe.arithmetic.sums
    assert probe.causes == []
    return tuple(site for site in probe.sites if site.name not in none_of_the_network)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_the_additions_that_were_counted_by_hand(form: str) -> None:
    model, count = FORMS[form]
    found = sites_of(model)
    assert len(found) == count, [site.name for site in found]
    # Two streams that start as one value are two ways past each other: then that is what they are called. And a scan has
    # its own skip inside the branch of its block.
    assert form in {"reversible from one value", "state space"} or not any(site.long or site.nested for site in found)


def test_two_streams_that_take_turns_are_two_chains() -> None:
    follows = [site.follows for site in sites_of(FORMS["reversible"][0])]
    assert follows == ["", "", "#1", "#2", "#3", "#4"]


def test_a_value_of_the_branch_that_is_used_after_the_sum_makes_no_second_addition() -> None:
    (site,) = sites_of(Merges())
    assert (site.skip, site.branch) == ("stem", "b")


def test_the_halves_of_one_projection_are_a_projection() -> None:
    assert [site.kind for site in sites_of(FORMS["one projection, split"][0])] == ["projection"] * 2


class Scaled(nn.Module):
    """Three blocks ``(x + F(x)) / sqrt(2)``, and what comes after the last of them."""

    def __init__(self, after: str) -> None:
        super().__init__()
        self.stem = nn.Linear(D, D)
        self.branches = nn.ModuleList(nn.Linear(D, D) for _ in range(3))
        self.norm, self.head, self.after = nn.LayerNorm(D), nn.Linear(D, 3), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for branch in self.branches:
            x = (x + branch(x)).div_(2**0.5) if self.after == "in place" else (x + branch(x)) / 2**0.5
        if self.after == "norm":
            x = self.norm(x)
        output: torch.Tensor = x if self.after == "nothing" else self.head(x.flatten(1, -2) if x.dim() > 2 else x)
        return output


def test_a_sum_with_the_input_is_the_networks_unless_the_loss_compares_with_that_input() -> None:
    class Cleans(nn.Module):
        def __init__(self, *, compares: bool) -> None:
            super().__init__()
            self.stem, self.branch, self.compares = nn.Linear(D, D), nn.Linear(D, D), compares

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            cleaned = x + self.branch(torch.relu(self.stem(x)))
            loss: torch.Tensor = (cleaned - (x if self.compares else torch.ones(D))).square().mean()
            return loss

    assert len(sites_of(Cleans(compares=False))) == 1
    assert len(sites_of(Cleans(compares=True))) == 0


@pytest.mark.parametrize("after", ["norm", "head", "in place"])
def test_the_last_sum_of_a_stream_has_the_factor_with_which_it_is_read(after: str) -> None:
    scales = [site.sum_scale for site in sites_of(Scaled(after))]
    assert scales == pytest.approx([2**-0.5] * 3)


def test_a_sum_that_is_read_with_and_without_a_factor_has_none() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branch, self.a, self.b = (nn.Linear(D, D) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            total = x + self.branch(x)
            output: torch.Tensor = torch.tanh(self.a(total / 2)) * self.b(total)
            return output

    assert [site.sum_scale for site in sites_of(Both())] == [1.0]


@pytest.mark.parametrize(
    ("form", "again"),
    [
        (lambda x, f: x + (x + f), True),
        (lambda x, f: (f + x) + x, True),
        (lambda x, f: (x + f).add_(x), True),
        (lambda x, f: (x + f) * 0.5 + 0.5 * x, True),
        (lambda x, f: x + f, False),
        (lambda x, f: (x + f) - x, False),
        (lambda x, f: (x + f) + -1 * x, False),
        (lambda x, f: (x + f) + f, False),
        (lambda x, f: (x + f) + (x + f), False),
        (lambda x, f: torch.relu(x + f) + x, False),
    ],
)
def test_a_skip_that_is_added_once_more_is_told_from_other_sums(
    form: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *, again: bool
) -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branches = nn.Linear(D, D), nn.ModuleList(nn.Linear(D, D) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            for branch in self.branches:
                x = form(x, torch.tanh(branch(x)))
            return x

    sites = sites_of(Blocks())
    assert [site.again for site in sites] == [again] * len(sites)
    if again:
        assert [site.follows for site in sites] == ["", *(site.name for site in sites[:-1])]
        assert [math.isnan(site.sum_scale) for site in sites] == [True, True, False]
