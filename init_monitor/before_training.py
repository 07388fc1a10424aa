"""A network before it trains: :func:`check` measures one forward and one backward."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from init_monitor.analysis.length_scales import is_deep, length_scales
from init_monitor.capture.single_pass import forward, loss_of, untouched
from init_monitor.errors import InitMonitorWarning
from init_monitor.monitor import Monitor
from init_monitor.options import Options
from init_monitor.pair_correlation import pair_correlations
from init_monitor.randomness import kept_randomness
from init_monitor.report import Report
from init_monitor.sinks.sink import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from init_monitor.analysis.length_scales import LengthScales


@kept_randomness()
def check(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None = None,
    **options: Any,  # noqa: ANN401
) -> Report:
    """Look at a network before it trains: one forward and one backward; everything is restored afterwards.

    Weights, gradients, buffers (running means), train/eval mode and random state are what they were before. Of a chain of seven
    weight layers or more a second forward says how deep the signal and the difference between two samples reach.

    >>> import torch, init_monitor
    >>> report = init_monitor.check(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()), torch.ones(4, 8))
    >>> report.findings
    ()

    Args:
        model: any module; a LightningModule's ``training_step`` is not called, its forward is.
        batch: a tensor, or ``(input, target)``, or a mapping of keyword arguments.
        loss_fn: ``loss_fn(output, target)``, or ``loss_fn(output)`` if the batch has no target. Without it the gradient
            that enters at the output is standard normal noise over its size, as of a mean loss.
        **options: those of :class:`init_monitor.InitMonitor`; sinks get nothing unless given.

    Raises:
        OptionError: if an option has a value that cannot be used.
        InitMonitorError: if the forward returns no floating tensor to back-propagate from, or ``loss_fn`` no single number.
    """
    if not isinstance(model, nn.Module):
        message = f"check(model, batch) needs a torch.nn.Module, got {type(model).__name__}."
        raise TypeError(message)
    chosen = Options.of("check()", {"sinks": (), "dense_steps": 1, **options})
    monitor = Monitor(model, chosen, Run(dense_steps=1, settings=chosen.settings()))
    with untouched(model), torch.enable_grad():
        model.train()
        monitor.begin_batch(0)
        try:
            output, target = forward(model, batch)
            monitor.end_forward()
            loss = loss_of(output, target, loss_fn, "check(model, batch, loss_fn)")
            if loss.requires_grad:
                loss.backward()
            monitor.measure_parameters()
            monitor.end_step(0)
        finally:
            monitor.close()
        scales = _scales(model, batch, monitor)
    return Report.of(list(monitor.records), monitor.findings, monitor.structure, chosen.settings(), scales=scales)


def _scales(model: nn.Module, batch: Any, monitor: Monitor) -> LengthScales | None:  # noqa: ANN401
    """Measure how deep the signal reaches; a network that does not run twice still has its report."""
    if not monitor.records or not is_deep(monitor.structure):
        return None
    try:
        measured = pair_correlations(model, batch, monitor.structure)
        return length_scales(monitor.structure, monitor.records[-1], measured)
    except Exception as error:  # noqa: BLE001 - whatever the network raises
        message = f"init_monitor: check() could not measure length scales: {type(error).__name__}: {error}"
        warnings.warn(message, InitMonitorWarning, stacklevel=2)
        return None
