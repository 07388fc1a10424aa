"""A plan leaves alone what was set on purpose, and does not start a training further from its goal than it was."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import recipes
from init_monitor.analysis.initialiser import OUTPUT_STD
from init_monitor.analysis.initialiser_choice import COORDINATES
from init_monitor.capture.single_pass import rehearse
from init_monitor.measured_plan import LOUDER


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stack(sizes: tuple[int, ...], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


def changed(plan: init_monitor.InitPlan) -> list[str]:
    return [layer.layer for layer in plan.layers if layer.recipe]


def run_code(plan: init_monitor.InitPlan, model: nn.Module) -> None:
    space: dict[str, Any] = {}
    exec(plan.to_code(), space)  # noqa: S102 - the code is what is tested
    space["initialise"](model, seeded(9))


PICTURES, LABELS = torch.randn(64, 64, generator=seeded(1)), torch.randint(10, (64,), generator=seeded(2))


class TestSmallEnds:
    @pytest.mark.parametrize("std", [0.01, 0.001, 0.0])
    @pytest.mark.parametrize("depth", [1, 2, 3, 6])
    def test_a_small_head_on_a_healthy_body_was_set_on_purpose(self, depth: int, std: float) -> None:
        torch.manual_seed(0)
        model = stack((*[64] * (depth + 1), 10))
        recipes.he_normal_(model)
        head = cast("nn.Linear", model[-1])
        nn.init.normal_(head.weight, std=std)
        assert changed(init_monitor.recommend(model, (PICTURES, LABELS), F.cross_entropy)) == []

    def test_a_small_policy_beside_a_value_is_kept(self) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = stack((64, 64, 64), nn.Tanh)
                self.policy, self.value = nn.Linear(64, 10), nn.Linear(64, 1)
                for layer, gain in ((self.body[0], 1.4), (self.body[2], 1.4), (self.policy, 0.01), (self.value, 1.0)):
                    nn.init.orthogonal_(cast("Tensor", layer.weight), gain)

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                hidden = torch.tanh(self.body(x))
                return self.policy(hidden), self.value(hidden)

        torch.manual_seed(0)
        plan = init_monitor.recommend(
            Two(), (PICTURES, LABELS), lambda out, y: F.cross_entropy(out[0], y) + out[1].square().mean()
        )
        assert changed(plan) == []

    def test_a_small_head_is_initialised_with_a_body_that_is_small_too(self) -> None:
        torch.manual_seed(0)
        model = stack((64, 64, 64, 10))
        for name in ("0", "2", "4"):
            nn.init.normal_(cast("nn.Linear", model.get_submodule(name)).weight, std=0.002)
        plan = init_monitor.recommend(model, (PICTURES, LABELS), F.cross_entropy)
        assert changed(plan) == ["0", "2", "4"]

    def test_rows_that_only_a_product_reads_may_be_small(self) -> None:
        class Products(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rows = nn.Embedding(50, 8)
                nn.init.normal_(self.rows.weight, std=0.01)

            def forward(self, x: Tensor) -> Tensor:
                found = self.rows(x)
                return cast("Tensor", (found[:, 0] * found[:, 1]).sum(1))

        pairs = torch.randint(50, (32, 2), generator=seeded(3))
        plan = init_monitor.recommend(Products(), (pairs, torch.randn(32, generator=seeded(4))), F.mse_loss)
        assert changed(plan) == []


def similarity(output: Tensor, target: Tensor) -> Tensor:
    """Tell which picture is which by the cosines of the answers to them."""
    one, other = F.normalize(output, dim=-1), F.normalize(output.roll(1, 0), dim=-1)
    return F.cross_entropy(one @ other.T / 0.1, torch.arange(len(target)))


class TestScale:
    def test_what_a_cosine_reads_may_be_as_small_as_it_is(self) -> None:
        torch.manual_seed(0)
        model = stack((64, 64, 64, 16))
        assert changed(init_monitor.recommend(model, (PICTURES, LABELS), similarity)) == []
        assert changed(init_monitor.recommend(model, (PICTURES, LABELS), F.cross_entropy))

    def test_the_gradient_that_fades_in_a_deep_one_is_told_all_the_same(self) -> None:
        torch.manual_seed(0)
        plan = init_monitor.recommend(stack((*[64] * 9, 16)), (PICTURES, LABELS), similarity)
        assert len(changed(plan)) == 9

    def test_layers_are_free_of_scale_exactly_where_a_factor_leaves_the_loss_as_it_is(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32, bias=False), nn.LayerNorm(32, eps=0.0), nn.Linear(32, 16)
        )
        seen = rehearse(model, (PICTURES, LABELS), similarity, caller="test")
        before = float(similarity(model(PICTURES), LABELS).detach())
        assert seen.loss == pytest.approx(before)
        for name in ("0", "2", "4"):
            layer = cast("nn.Linear", model.get_submodule(name))
            kept = {key: value.clone() for key, value in layer.state_dict().items()}
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter.mul_(2.0)
                after = float(similarity(model(PICTURES), LABELS))
            layer.load_state_dict(kept)
            assert (name in seen.scale_free) is (after == pytest.approx(before, rel=1e-5)), name
        assert {"2", "4"} == seen.scale_free

    def test_noise_in_place_of_a_loss_frees_nothing_and_has_no_value(self) -> None:
        torch.manual_seed(0)
        seen = rehearse(stack((64, 32, 8)), PICTURES, caller="test")
        assert seen.scale_free == frozenset()
        assert math.isnan(seen.loss)


class TestLoss:
    def test_an_output_that_would_raise_the_loss_is_made_small(self) -> None:
        class Sets(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.each, self.all = stack((8, 48, 48, 48)), stack((48, 48, 1))

            def forward(self, x: Tensor) -> Tensor:
                return cast("Tensor", self.all(self.each(x).sum(1)))

        torch.manual_seed(0)
        model, again = Sets(), Sets()
        for layer in (*model.each, *model.all):
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=1e-3)
        batch = torch.randn(32, 12, 8, generator=seeded(6)), torch.randn(32, 1, generator=seeded(7))
        before = float(F.mse_loss(model(batch[0]), batch[1]).detach())
        plan = init_monitor.recommend(model, batch, F.mse_loss)
        end = plan.layers[-1]
        assert (end.layer, end.recipe, end.target_variance) == ("all.2", "small_output_", OUTPUT_STD**2)
        assert "Small weights let the network start near its bias" in end.reason
        plan.apply_(generator=seeded(9))
        assert float(F.mse_loss(model(batch[0]), batch[1]).detach()) < LOUDER * before
        again.load_state_dict(model.state_dict())
        run_code(plan, again)
        for one, other in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.allclose(one, other, rtol=1e-5)

    def test_a_network_that_has_learned_is_not_started_anew(self) -> None:
        torch.manual_seed(0)
        model = stack((64, 64, 64, 64, 10))
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(model(PICTURES), LABELS).backward()
            optimizer.step()
        with torch.no_grad():  # as far off as a plan changes it for, in a network that has not learned
            cast("nn.Linear", model[2]).weight.mul_(30.0)
            cast("nn.Linear", model[2]).bias.mul_(30.0)
            cast("nn.Linear", model[4]).weight.div_(30.0)
        assert float(F.cross_entropy(model(PICTURES), LABELS).detach()) < 0.1
        plan = init_monitor.recommend(model, (PICTURES, LABELS), F.cross_entropy)
        assert changed(plan) == []
        assert any("raise the loss of this batch" in layer.reason for layer in plan.layers)

    def test_layers_do_not_make_up_for_others_that_are_frozen(self) -> None:
        torch.manual_seed(0)
        model = stack((64, 64, 64, 64, 10))
        model[:6].requires_grad_(requires_grad=False)
        plan = init_monitor.recommend(model, (PICTURES, LABELS), F.cross_entropy)
        assert changed(plan) == []
        assert "most layers of its chain are none that a recipe writes" in plan.layers[-1].reason

    def test_a_plain_network_that_answers_with_numbers_stays_until_it_is_deep_and_then_keeps_its_first_layer(
        self,
    ) -> None:
        batch = PICTURES, PICTURES[:, :3].sum(1, keepdim=True)
        torch.manual_seed(0)
        shallow = init_monitor.recommend(stack((*[64] * 5, 1)), batch, F.mse_loss)
        assert all(layer.kept for layer in shallow.layers)
        assert (shallow.left, shallow.verdict) == ((), "Every layer that a recipe knows is kept as it is.")
        deep = init_monitor.recommend(stack((*[64] * 10, 1)), batch, F.mse_loss)
        assert changed(deep) == [str(2 * layer) for layer in range(1, 10)]
        assert deep.layers[0].kept
        assert "mended by the layers behind it" in deep.layers[0].reason
        assert deep.left == (), "what is kept is not unknown"
        assert changed(init_monitor.recommend(stack((*[64] * 5, 10)), (PICTURES, LABELS), F.cross_entropy))
        spoiled = stack((*[64] * 10, 1))
        with torch.no_grad():
            cast("nn.Linear", spoiled[0]).weight.mul_(1e-3)
        assert changed(init_monitor.recommend(spoiled, batch, F.mse_loss))[0] == "0", "what is off itself is drawn"


class TestCoordinates:
    @staticmethod
    def planned(inputs: int) -> tuple[nn.Sequential, init_monitor.InitPlan]:
        torch.manual_seed(0)
        model = stack((inputs, 64, 64, 64, 64, 2))
        x = torch.rand(256, inputs, generator=seeded(8)) * 2 - 1
        plan = init_monitor.recommend(model, (x, (torch.sin(6 * x[:, 0]) > 0).long()), F.cross_entropy)
        return model, plan

    @pytest.mark.parametrize("inputs", [1, COORDINATES])
    def test_the_first_layer_keeps_biases_as_torch_draws_them(self, inputs: int) -> None:
        model, plan = self.planned(inputs)
        again = stack((inputs, 64, 64, 64, 64, 2))
        plan.apply_(generator=seeded(9))
        first, second = cast("nn.Linear", model[0]).bias.detach(), cast("nn.Linear", model[2]).bias.detach()
        assert 0.8 / inputs**0.5 < first.abs().max() <= 1 / inputs**0.5
        assert float(second.abs().max()) == 0
        run_code(plan, again)
        for one, other in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.allclose(one, other, rtol=1e-5)

    def test_more_inputs_are_none(self) -> None:
        model, plan = self.planned(COORDINATES + 1)
        plan.apply_(generator=seeded(9))
        assert float(cast("nn.Linear", model[0]).bias.detach().abs().max()) == 0

    def test_a_network_of_rectifiers_bends_at_more_places_than_the_origin(self) -> None:
        model, plan = self.planned(1)
        plan.apply_(generator=seeded(9))

        def slopes() -> int:
            x = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]
            y = model.double()(x).detach()[:, 0]
            return len(torch.unique(((y[1:] - y[:-1]) * 200).round(decimals=6)))

        many = slopes()
        nn.init.zeros_(cast("nn.Linear", model[0]).bias)
        assert many > 50
        assert slopes() == 2
