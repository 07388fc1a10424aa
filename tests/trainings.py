"""What every test of a real training asks: was it the same training, and is nothing of the monitor left on the model."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from models import Classifier, fit
from torch import nn
from torch.overrides import _get_current_function_mode_stack

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pytorch_lightning as pl

    from init_monitor import Finding, StepRecord, Structure
    from init_monitor.sinks.sink import Run
    from init_monitor.standalone import Watch


class Residual(nn.Module):
    """Two hidden layers with a residual addition, a functional activation and a normalisation of each sample."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, classes)
        self.norm, self.relu = nn.LayerNorm(width), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + torch.tanh(self.first(x))
        output: torch.Tensor = self.head(self.relu(self.norm(x + self.second(x))))
        return output


class Listener:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.steps: list[int] = []
        self.found: list[Finding] = []

    def open(self, run: Run) -> None:
        self.calls.append("open")
        self.run = run

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        self.calls.append("emit")
        self.steps.append(record.step)
        self.found.extend(findings)
        self.structure = structure

    def close(self) -> None:
        self.calls.append("close")


def quiet(**options: Any) -> InitMonitor:
    """Return a monitor that measures every step, shows nothing, and raises what fails in it."""
    settings: dict[str, Any] = {"sinks": (), "strict": True, "dense_steps": 1000}
    return InitMonitor(**(settings | options))


def train(
    make: Callable[[], pl.LightningModule],
    data: object,
    monitor: InitMonitor | None,
    *,
    copies: bool = True,
    **options: Any,
) -> pl.LightningModule:
    """Make a module from the one seed and train it; whatever happened, nothing may be left on it."""
    torch.manual_seed(11)
    module = make()
    try:
        fit(module, data, monitor, **options)
    finally:
        assert_free(module, copies=copies)
    return module


def watch_own_loss(model: Any, optimizer: torch.optim.Optimizer, *, steps: int) -> Watch:
    """Train a model by its own ``loss``, a function of the model, in a loop that is watched."""
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as monitor:
        for _ in range(steps):
            with monitor.step():
                optimizer.zero_grad()
                model.loss(model).backward()
                optimizer.step()
    return monitor


def both(
    make: Callable[[], pl.LightningModule],
    data: object,
    monitor: InitMonitor | None = None,
    *,
    again: Callable[[], dict[str, Any]] = dict,
    **options: Any,
) -> tuple[InitMonitor, Any]:
    """Train with and without a monitor, and demand that losses, weights and random state are equal to the bit.

    Args:
        make: makes the module; its ``losses`` are compared, if it has some.
        data: the loader.
        monitor: ``None`` for one that measures every step.
        again: makes those options of the Trainer that hold state (plugins), afresh for each run.
        options: others of the Trainer.

    Returns:
        The monitor after the run, and the watched module.
    """
    monitor = monitor or quiet()
    plain = train(make, data, None, **options, **again())
    state = torch.get_rng_state()
    watched = train(make, data, monitor, **options, **again())
    assert torch.equal(torch.get_rng_state(), state)
    assert_equal(plain, watched)
    return monitor, watched


def assert_equal(plain: nn.Module, watched: nn.Module) -> None:
    """Demand that two modules went through the same training, to the bit."""
    losses = getattr(plain, "losses", [])
    assert losses or not isinstance(plain, Classifier)
    np.testing.assert_array_equal(np.asarray(getattr(watched, "losses", [])), np.asarray(losses))
    weights, others = plain.state_dict(), watched.state_dict()
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        if isinstance(weight, torch.Tensor):
            torch.testing.assert_close(others[name], weight, rtol=0, atol=0, equal_nan=True, msg=name)


HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def assert_free(model: nn.Module, *, copies: bool = True) -> None:
    """Demand that a model carries no hook, that no mode and no stance is on, and that it can be copied and pickled.

    Args:
        model: after whatever happened to it.
        copies: it could be copied before.
    """
    scripted = False
    for name, module in model.named_modules():
        scripted = scripted or isinstance(module, torch.jit.ScriptModule)
        if isinstance(module, torch.jit.ScriptModule):
            continue
        for kind in HOOKS:
            # What the model itself hung there (an observer of its own activations) stays, of course.
            left = [hook for hook in getattr(module, kind).values() if "torch.ao" not in str(hook)]
            assert not left or "qat" in type(module).__module__, (name, kind, left)
    for name, parameter in model.named_parameters():
        assert not parameter._backward_hooks, name
    assert not _get_current_function_mode_stack()
    assert torch._dynamo.eval_frame._stance.stance == "default"
    if copies and not scripted:
        copy.deepcopy(model)
        pickle.dumps(model)


SCALES = {
    Quantity.MEAN: Quantity.VARIANCE,
    Quantity.GRADIENT_MEAN: Quantity.GRADIENT_VARIANCE,
    Quantity.INPUT_MEAN: Quantity.INPUT_VARIANCE,
    Quantity.WEIGHT_MEAN: Quantity.WEIGHT_VARIANCE,
}
"""What may come out near 0 although what it is made of is not: its error is relative to that."""


def assert_same_records(
    one: StepRecord, other: StepRecord, *, rtol: float = 1e-5, without: Collection[Quantity] = ()
) -> None:
    """Demand that two records name the same things and that all their numbers are within ``rtol`` of each other.

    A mean is compared on the scale of the standard deviation, a covariance on that of the variances. Not those of
    quantities that are left out.
    """
    assert one.names == other.names
    assert one.parameter_names == other.parameter_names
    assert one.residual_names == other.residual_names
    for quantity, column in {**one.columns, **one.parameter_columns, **one.residual_columns}.items():
        if quantity in without:
            continue
        atol = np.zeros_like(column)
        if quantity in SCALES:
            atol = rtol * np.sqrt(one.column(SCALES[quantity]))
        elif quantity is Quantity.RESIDUAL_COVARIANCE:
            atol = rtol * one.column(Quantity.RESIDUAL_SUM_VAR)
        elif quantity in {Quantity.RESIDUAL_CORRELATION, Quantity.BETWEEN_SAMPLE_SHARE}:
            atol += rtol
        near = np.abs(other.column(quantity) - column) <= rtol * np.abs(column) + np.nan_to_num(atol)
        same = near | (np.isnan(column) & np.isnan(other.column(quantity))) | (column == other.column(quantity))
        assert same.all(), (quantity, column[~same], other.column(quantity)[~same])
    for name, layer in one.layers.items() if not without else ():
        assert other.layers[name].units == layer.units, name
