"""Whatever a network does, it trains with the monitor as it does without: bit by bit, and with nothing left on it."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings, strategies as st
from models import Classifier, fit, loader
from random_networks import FEATURES, TOKENS, WAYS, Plan, network, plans
from torch.overrides import _get_current_function_mode_stack

import init_monitor
from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

pytestmark = pytest.mark.untraced

STEPS = 3


class Trace(NamedTuple):
    """What a training left: or the error it ended with."""

    losses: list[float]
    digest: str
    random: bytes
    error: str


def _digest(model: nn.Module, seen: Any) -> None:
    for tensor in (*model.state_dict().values(), *(p.grad for p in model.parameters() if p.grad is not None)):
        seen.update(tensor.detach().flatten().view(torch.uint8).numpy().tobytes())


def train(make: Callable[[], nn.Module], options: dict[str, Any] | None) -> tuple[Trace, nn.Module, list[str]]:
    """Train by hand for a few steps; what the network itself does wrong is part of the trace."""
    model = make()
    torch.manual_seed(11)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses: list[float] = []
    seen, error = hashlib.sha256(), ""

    def step() -> None:
        optimizer.zero_grad()
        for _ in range(2):
            out = model(torch.randn(6, TOKENS, FEATURES))
            loss = torch.nn.functional.cross_entropy(out, torch.randint(0, 3, (6,)))
            losses.append(loss.item())
            loss.backward()
        optimizer.step()
        _digest(model, seen)

    notices: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if options is None:
                for _ in range(STEPS):
                    step()
            else:
                with init_monitor.watch(model, optimizer, sinks=(), strict=True, **options) as monitor:
                    notices = monitor.notices
                    for _ in range(STEPS):
                        with monitor.step():
                            step()
        except Exception as failure:  # noqa: BLE001 - compared with what it raises without the monitor
            error = f"{type(failure).__name__}: {failure}"
    return Trace(losses, seen.hexdigest(), bytes(torch.get_rng_state().numpy()), error), model, notices


def clean(model: nn.Module) -> bool:
    modules = list(model.modules())
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in modules)
    hooked = hooked or any(p._backward_hooks for p in model.parameters())
    hooked = hooked or bool(torch.nn.modules.module._global_forward_hooks)
    hooked = hooked or bool(torch.nn.modules.module._global_forward_pre_hooks)
    return not hooked and not _get_current_function_mode_stack()


monitor_options = st.fixed_dictionaries(
    {
        "measure": st.sampled_from(("exact", "staged")),
        "dense_steps": st.integers(0, 3),
        "every_n_steps": st.integers(1, 3),
        "max_layers": st.sampled_from((1, 3, 512)),
    },
    optional={"include": st.sampled_from(("*", "head", ["pieces.0*"])), "exclude": st.sampled_from(("head", "*.norm"))},
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(plan=plans, options=monitor_options)
def test_a_random_network_trains_to_the_same_bits_and_keeps_no_hook(plan: Plan, options: dict[str, Any]) -> None:
    plain, _, _ = train(network(plan), None)
    watched, model, _ = train(network(plan), options)
    assert watched == plain
    assert clean(model)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans)
@example(plan=tuple(("wrapped", ("linear", True), way) for way in WAYS))
def test_a_random_network_trains_to_the_same_bits_under_the_trainer(plan: Plan) -> None:
    if train(network(plan), None)[0].error:
        return
    results = []
    for monitor in (None, InitMonitor(sinks=(), strict=True)):
        module = Classifier(network(plan)())
        torch.manual_seed(11)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(module, loader(TOKENS, FEATURES, samples=18, batch=6, classes=3), monitor, steps=STEPS)
        seen = hashlib.sha256()
        _digest(module, seen)
        results.append((module.losses, seen.hexdigest(), bytes(torch.get_rng_state().numpy())))
        assert clean(module)
    assert results[0] == results[1]


def test_the_plans_make_networks_that_train() -> None:
    pieces: list[Plan] = [
        *(("wrapped", ("sequence", (("linear", True), ("activation", "ReLU", True))), way) for way in WAYS),
        *(
            ("residual", ("sequence", (("normalisation", "layer"), ("linear", True))), w)
            for w in ("plus", "lerp", "out")
        ),
        *(("packed", ("recurrent", "LSTM", True), kind) for kind in ("tuple", "dict", "dataclass")),
        *(("parametrized", kind) for kind in ("weight_norm", "spectral_norm", "orthogonal")),
        *(("function", name) for name in ("relu_", "method", "glu")),
        ("attention", True),
        ("encoder", True),
        ("lookup",),
        ("convolution", 2, 8),
        ("shared", 0),
    ]
    for piece in pieces:
        trace, model, _ = train(network((piece,)), {})
        assert (piece, trace.error) == (piece, "")
        assert len(trace.losses) == 2 * STEPS
        assert clean(model)
