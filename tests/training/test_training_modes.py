"""Modes, stances and marks of the user's own: what the monitor computes is none of their business, nor are they its own."""

from __future__ import annotations

import io
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from models import Classifier, fit, loader
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from trainings import Residual, both, quiet

WIDTH = 512
"""Tensors of 32 samples are then large enough to be reduced where they lie, in the very hook that sees them."""


class FunctionCount(TorchFunctionMode):
    """Counts what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


class DispatchCount(TorchDispatchMode):
    """Counts what is dispatched."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


class Counted(Classifier):
    """Counts all that its forward and its backward compute, and remembers that among its losses."""

    kind: type[FunctionCount | DispatchCount] = FunctionCount

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        with self.kind() as mode:
            loss = super().training_step(batch, batch_idx)
            torch.autograd.grad(loss, list(self.parameters()), retain_graph=True)
        self.losses.append(float(mode.calls))
        return loss


class Dispatched(Counted):
    kind = DispatchCount


@pytest.mark.parametrize("make", [Counted, Dispatched])
def test_a_mode_of_the_users_sees_what_it_sees_without_the_monitor(make: type[Counted]) -> None:
    monitor, _ = both(lambda: make(Residual(WIDTH)), loader(WIDTH, samples=96), steps=3)
    assert monitor.records[-1].residual_names == ("net#1", "net#2")


def _keeps(sort: str, _context: object, operation: object, *_: object, **__: object) -> CheckpointPolicy:
    keep = sort == "everything" or any(name in str(operation) for name in ("sum", "mul", "tanh"))
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE


class Selective(Residual):
    """Recomputes some of its operations in backward and keeps the results of others."""

    def __init__(self, sort: str) -> None:
        super().__init__(WIDTH)
        self.sort = sort

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        x = x + torch.tanh(self.first(x))
        total = self.relu(self.norm(x + self.second(x)).mul(1.5)).sum(-1, keepdim=True)
        output: torch.Tensor = total * self.norm(x)
        return output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        contexts = partial(create_selective_checkpoint_contexts, partial(_keeps, self.sort))
        output: torch.Tensor = self.head(checkpoint(self.inner, x, use_reentrant=False, context_fn=contexts))
        return output


@pytest.mark.parametrize("sort", ["everything", "sums and products"])
def test_a_selective_checkpoint_gets_back_what_it_kept(sort: str) -> None:
    monitor, _ = both(lambda: Classifier(Selective(sort)), loader(WIDTH, samples=96), steps=3)
    assert {"net.first", "net.second", "net.norm#1", "net.norm#2"} <= set(monitor.records[-1].names)
    assert monitor.notices == []


class Saves(Classifier):
    """Writes an activation away in the middle of its step, with every warning an error."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.save(self.net.first(batch[0]), io.BytesIO())  # type: ignore[operator]
        return super().training_step(batch, batch_idx)


def test_an_activation_can_be_saved_in_a_sampled_step_without_a_warning() -> None:
    both(lambda: Saves(Residual()), loader(16, samples=96), steps=3)


class Passes(nn.Module):
    """Returns what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Inferred(Classifier):
    """Trains on what it prepared in inference mode."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        with torch.inference_mode():
            x = self.net[0](batch[0] * 2)  # type: ignore[index]
        # What is not trained may take such a tensor as it is.
        prepared = self.net[1](self.net[0](x)).clone()  # type: ignore[index]
        return super().training_step((prepared, batch[1]), batch_idx)


def test_tensors_from_inference_mode_are_measured_too() -> None:
    def make() -> Classifier:
        frozen = nn.Linear(16, 16).requires_grad_(requires_grad=False)
        return Inferred(nn.Sequential(Passes(), frozen, nn.Linear(16, 10)))

    monitor, _ = both(make, loader(16, samples=96), steps=3)
    assert {name.partition("#")[0] for name in monitor.records[-1].names} == {"net.0", "net.1", "net.2"}
    assert monitor.notices == []


def stance() -> str:
    """Return the stance that is taken now."""
    return str(torch._dynamo.eval_frame._stance.stance)


def test_two_monitors_leave_the_compiler_as_it_was() -> None:
    module = Classifier(torch.compile(Residual(), backend="eager"))  # type: ignore[arg-type]
    first, second = quiet(exclude="net.second"), quiet(include="net.second")
    fit(module, loader(16, samples=96), None, steps=3, callbacks=[first, second])
    assert stance() == "default"
    assert [len(one.records) for one in (first, second)] == [3, 3]
    assert second.records[-1].names == ("net.second",)
    assert "net.first" in first.records[-1].names


class Changes(Classifier):
    """Sets a stance of its own within a sampled step."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if batch_idx == 1:
            torch.compiler.set_stance("eager_on_recompile")
        return super().training_step(batch, batch_idx)


def test_a_stance_that_the_user_takes_in_a_sampled_step_stays() -> None:
    assert stance() == "default"
    try:
        fit(Changes(Residual()), loader(16, samples=160), quiet(dense_steps=3), steps=5)
        assert stance() == "eager_on_recompile"
    finally:
        torch.compiler.set_stance("default")
