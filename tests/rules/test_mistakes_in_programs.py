"""Mistakes in a training program, made in real loops: each is named, and the same loop without it is not."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.standalone import Watch


def data(step: int, *, outputs: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(32, 8, generator=generator)
    return x, torch.sin(2 * x[:, :outputs]) + x[:, 1:2]


def net(width: int = 32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))


def trained(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | tuple[torch.optim.Optimizer, ...],
    update: Callable[[Tensor], None],
    *,
    steps: int = 20,
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.mse_loss,
    given: Callable[[int], tuple[Tensor, Tensor]] = data,
) -> list[Finding]:
    """Train by ``update(loss)`` and return what is loud."""
    watched: Watch
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for step in range(steps):
            x, y = given(step)
            with watched.step() as now:
                loss = loss_of(model(x), y)
                update(loss)
                now.loss = loss
    return [finding for finding in watched.findings if finding.severity > Severity.INFO]


def stepping(*optimizers: torch.optim.Optimizer) -> Callable[[Tensor], None]:
    """Return the usual order of the calls."""

    def update(loss: Tensor) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    return update


def adam(parameters: Any, rate: float = 1e-3) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=rate)


class Held(nn.Module):
    """Keeps some of its layers in ``kept``."""

    def __init__(self, kept: Any, of: Callable[[Any], list[Any]]) -> None:
        super().__init__()
        self.kept, self.of = kept, of
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.of(self.kept):
            x = torch.tanh(x @ layer if isinstance(layer, Tensor) else layer(x))
        out: Tensor = self.head(x)
        return out


@pytest.mark.parametrize(
    ("make", "of", "name", "code"),
    [
        (lambda: [nn.Linear(8, 8), nn.Linear(8, 8)], list, "kept[1].weight", "nn.ModuleList(model.kept)"),
        (
            lambda: {"a": nn.Linear(8, 8)},
            lambda kept: list(kept.values()),
            "kept['a'].bias",
            "nn.ModuleDict(model.kept)",
        ),
        (lambda: torch.eye(8).requires_grad_(), lambda kept: [kept], "kept", "nn.Parameter(model.kept)"),
        (lambda: [torch.eye(8).requires_grad_()], list, "kept[0]", "nn.ParameterList(model.kept)"),
    ],
    ids=["list", "dict", "tensor", "tensors"],
)
def test_what_no_module_registers_is_found_where_it_is(make: Any, of: Any, name: str, code: str) -> None:
    model = Held(make(), of)
    (finding,) = trained(model, optimizer := adam(model.parameters()), stepping(optimizer))
    assert (finding.code, finding.step) == ("IM602", 7)
    assert name in finding.layers
    assert code in finding.remedy_code
    exec(finding.remedy_code, {"model": model})  # noqa: S102 - it is the code a user is asked to paste
    assert {held for held, _ in model.named_parameters() if held.startswith("kept")}
    optimizer = adam(model.parameters())
    assert trained(model, optimizer, stepping(optimizer)) == []


def test_what_an_optimizer_holds_or_what_is_frozen_or_data_may_be_registered_nowhere() -> None:
    layer = nn.Linear(8, 8)
    model = Held([layer], list)
    optimizer = adam([*model.parameters(), *layer.parameters()])
    assert trained(model, optimizer, stepping(optimizer)) == []
    layer.requires_grad_(requires_grad=False)
    assert trained(model, optimizer, stepping(optimizer)) == []

    def with_gradient(step: int) -> tuple[Tensor, Tensor]:
        x, y = data(step)
        return x.requires_grad_(), y

    plain = net()
    optimizer = adam(plain.parameters())
    assert trained(plain, optimizer, stepping(optimizer), given=with_gradient) == []


def test_an_optimizer_that_never_steps_is_told_once_it_has_rested_for_long() -> None:
    model = net()
    first, second = adam(model[0].parameters()), adam([*model[2].parameters(), *model[4].parameters()])

    def careless(loss: Tensor) -> None:
        for optimizer in (first, second):
            optimizer.zero_grad()
        loss.backward()
        second.step()

    assert trained(model, (first, second), careless, steps=40) == []
    (finding,) = trained(model, (first, second), careless, steps=60)
    assert (finding.code, finding.layers, finding.step) == ("IM602", ("0",), 50)
    assert "step" in finding.remedy_sentence
    assert trained(model, (first, second), stepping(first, second), steps=60) == []


def test_an_optimizer_over_a_copy_is_a_standstill() -> None:
    model = net()
    optimizer = adam(copy.deepcopy(model).parameters())

    def update(loss: Tensor) -> None:
        model.zero_grad()
        loss.backward()
        optimizer.step()

    (finding,) = trained(model, optimizer, update)
    assert (finding.code, finding.severity) == ("IM604", Severity.CRITICAL)
    assert "optimizer" in finding.remedy_sentence


@pytest.mark.parametrize("to_none", [False, True], ids=["to zero", "to none"])
def test_gradients_that_are_zeroed_before_the_step_are_told_so(*, to_none: bool) -> None:
    model = net()
    optimizer = adam(model.parameters())

    def update(loss: Tensor) -> None:
        loss.backward()
        optimizer.zero_grad(set_to_none=to_none)
        optimizer.step()

    (finding,) = trained(model, optimizer, update)
    assert (finding.code, finding.severity) == ("IM604", Severity.CRITICAL)
    assert "zero" in finding.remedy_sentence


def test_weights_that_are_put_back_after_every_step_are_told_so() -> None:
    model = net()
    state, optimizer = copy.deepcopy(model.state_dict()), adam(model.parameters())

    def given(step: int) -> tuple[Tensor, Tensor]:
        model.load_state_dict(state)
        return data(step)

    found = trained(model, optimizer, stepping(optimizer), given=given)
    (finding,) = [one for one in found if one.code == "IM604"]
    assert finding.severity is Severity.CRITICAL
    assert "load_state_dict" in finding.remedy_sentence


@pytest.mark.parametrize("to_none", [False, True], ids=["to zero", "to none"])
def test_gradients_that_are_never_zeroed_are_told_so_and_zeroed_ones_are_not(*, to_none: bool) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def careless(loss: Tensor) -> None:
        loss.backward()
        optimizer.step()

    def careful(loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=to_none)
        careless(loss)

    assert "IM603" in {one.code for one in trained(model, optimizer, careless) if "zero_grad" in one.remedy_code}
    optimizer.zero_grad()
    assert trained(model, optimizer, careful) == []


def test_a_momentum_that_outlasts_the_run_is_told_and_a_usual_one_is_not() -> None:
    for momentum, codes in ((0.999, ["IM603"]), (0.9, [])):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
        found = trained(model, optimizer, stepping(optimizer), steps=60)
        assert [one.code for one in found if "momentum" in one.remedy_sentence] == codes


def test_updates_that_bfloat16_rounds_away_are_told_and_those_of_float32_are_not() -> None:
    for dtype, codes in ((torch.bfloat16, ["IM603"]), (torch.float32, [])):
        model = net(64).to(dtype)
        optimizer = adam(model.parameters(), 1e-4)

        def given(step: int, dtype: torch.dtype = dtype) -> tuple[Tensor, Tensor]:
            x, y = data(step)
            return x.to(dtype), y.to(dtype)

        found = trained(model, optimizer, stepping(optimizer), steps=101, given=given)
        assert [one.code for one in found if "precision" in one.remedy] == codes


def test_targets_that_are_out_of_reach_are_to_be_scaled() -> None:
    model = net()
    optimizer = adam(model.parameters())
    found = trained(model, optimizer, stepping(optimizer), steps=160, loss_of=lambda out, y: F.mse_loss(out, y + 1e4))
    assert [one.code for one in found] == ["IM603"]
    assert "targets" in found[0].remedy_sentence


def test_one_sample_in_every_batch_is_told_where_nothing_is_learned_by_it() -> None:
    model = net()
    optimizer = adam(model.parameters())

    def repeated(step: int) -> tuple[Tensor, Tensor]:
        x, y = data(step)
        return data(0)[0][:1].expand_as(x), y

    found = trained(model, optimizer, stepping(optimizer), steps=60, given=repeated)
    assert [one.code for one in found] == ["IM702"]
    assert "data" in found[0].remedy_sentence


def test_a_bounded_output_before_targets_beyond_its_bound_is_to_be_taken_away() -> None:
    model = nn.Sequential(*net(), nn.Sigmoid())
    optimizer = adam(model.parameters(), 1e-2)
    found = trained(model, optimizer, stepping(optimizer), steps=160, loss_of=lambda out, y: F.mse_loss(out, y + 50))
    assert "IM303" in {one.code for one in found if one.remedy_sentence.startswith("Take it away")}


def test_a_loss_of_the_wrong_sign_is_told_to_fall_without_end() -> None:
    model = net()
    optimizer = adam(model.parameters(), 3e-2)
    found = trained(model, optimizer, stepping(optimizer), steps=400, loss_of=lambda out, y: -F.mse_loss(out, y))
    assert "IM802" in {one.code for one in found if "sign" in one.remedy_sentence}
