"""Without Lightning: :func:`watch` any training loop, :func:`check` a network before it trains."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from init_monitor.capture.tensors import floating_tensors
from init_monitor.errors import InitMonitorError
from init_monitor.monitor import Monitor
from init_monitor.options import Options
from init_monitor.report import Report
from init_monitor.sinks.sink import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from torch import Tensor
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle
    from typing_extensions import Self

    from init_monitor.records import Finding, StepRecord, Structure

COTANGENT_SEED = 0
"""Seed of the stand-in for a loss gradient in :func:`check`, drawn from a generator of its own."""


class Watch:
    """A training loop under observation; made by :func:`watch`, used as a context manager."""

    def __init__(self, model: nn.Module, optimizer: Optimizer | tuple[Optimizer, ...], options: Options) -> None:
        """Prepare; the sinks open here and the hooks go on and off inside :meth:`step`."""
        self._model = model
        self._optimizers = optimizer if isinstance(optimizer, (tuple, list)) else (optimizer,)
        self._options = options
        run = Run(dense_steps=options.dense_steps, settings=options.settings())
        self._monitor = Monitor(model, options, run)
        self._step = 0
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        """Begin the run."""
        for optimizer in self._optimizers:
            handle = optimizer.register_step_pre_hook(lambda o, *_: self._monitor.before_optimizer(o))
            self._handles.append(handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run: nothing stays on the model or the optimizer."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._monitor.close()

    @contextmanager
    def step(self) -> Iterator[None]:
        """One optimizer step: everything from its first forward to ``optimizer.step()`` goes inside.

        Several forwards of the model inside are its micro-batches.

        Raises:
            CriticalFindingError: a critical finding is new and ``on_critical="raise"``.
        """
        monitor, forwards = self._monitor, 0

        def next_batch(_module: nn.Module, _args: object) -> None:
            nonlocal forwards
            # A forward inside a backward is an activation checkpoint being recomputed, not a new batch.
            if torch.is_grad_enabled() and torch._C._current_graph_task_id() < 0:  # noqa: SLF001
                if forwards:
                    monitor.begin_batch(self._step)
                forwards += 1

        monitor.begin_batch(self._step)
        handle = self._model.register_forward_pre_hook(next_batch) if monitor.is_open else None
        try:
            yield
        except BaseException:
            monitor.abort_step()
            raise
        finally:
            if handle is not None:
                handle.remove()
        monitor.end_step(self._step)
        self._step += 1

    @property
    def should_stop(self) -> bool:
        """Whether a critical finding asked the loop to end (``on_critical="stop"``)."""
        return self._monitor.should_stop

    @property
    def findings(self) -> list[Finding]:
        """Everything found so far, oldest first."""
        return self._monitor.findings

    @property
    def records(self) -> list[StepRecord]:
        """The last ``window`` sampled steps, oldest first."""
        return list(self._monitor.records)

    @property
    def structure(self) -> Structure:
        """The network as it was executed at the last sampled step."""
        return self._monitor.structure

    @property
    def notices(self) -> list[str]:
        """What was switched off or has no effect, in words."""
        return self._monitor.notices

    @property
    def report(self) -> Report:
        """The run so far, to print, show or save."""
        return Report.of(self.records, self.findings, self.structure, self._options.settings())


def watch(model: nn.Module, optimizer: Optimizer | tuple[Optimizer, ...] = (), **options: Any) -> Watch:  # noqa: ANN401
    """Watch any training loop.

    >>> import torch, init_monitor
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> opt = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with init_monitor.watch(model, optimizer=opt, sinks=()) as m:
    ...     for _ in range(3):
    ...         with m.step():
    ...             loss = model(torch.ones(4, 8)).square().mean()
    ...             opt.zero_grad()
    ...             loss.backward()
    ...             opt.step()
    >>> [record.step for record in m.records]
    [0, 1, 2]

    Args:
        model: the module that is trained.
        optimizer: one or several; without one, weights and updates are not measured.
        **options: those of :class:`init_monitor.InitMonitor`.

    Raises:
        OptionError: if an option has a value that cannot be used.
        TypeError: for an unknown option.
    """
    if not isinstance(model, nn.Module):
        message = f"watch(model) needs a torch.nn.Module, got {type(model).__name__}."
        raise TypeError(message)
    return Watch(model, optimizer, Options.of("watch()", options))


def check(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None = None,
    **options: Any,  # noqa: ANN401
) -> Report:
    """Look at a network before it trains: one forward and one backward, everything put back afterwards.

    Weights, gradients, buffers (running means), train/eval mode and random state are what they were before.

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
        InitMonitorError: if the forward gives no floating tensor to go back from.
    """
    if not isinstance(model, nn.Module):
        message = f"check(model, batch) needs a torch.nn.Module, got {type(model).__name__}."
        raise TypeError(message)
    chosen = Options.of("check()", {"sinks": (), "dense_steps": 1, **options})
    monitor = Monitor(model, chosen, Run(dense_steps=1, settings=chosen.settings()))
    with _untouched(model), torch.enable_grad():
        model.train()
        monitor.begin_batch(0)
        try:
            output, target = _forward(model, batch)
            loss = _loss(output, target, loss_fn)
            if loss.requires_grad:
                loss.backward()
            monitor.measure_parameters()
            monitor.end_step(0)
        finally:
            monitor.close()
    return Report.of(list(monitor.records), monitor.findings, monitor.structure, chosen.settings())


def _forward(model: nn.Module, batch: Any) -> tuple[object, object]:  # noqa: ANN401
    if isinstance(batch, Mapping):
        return model(**batch), None
    if isinstance(batch, (tuple, list)):
        return model(batch[0]), (batch[1] if len(batch) > 1 else None)
    return model(batch), None


def _loss(output: object, target: object, loss_fn: Callable[..., Tensor] | None) -> Tensor:
    if loss_fn is not None:
        return loss_fn(output) if target is None else loss_fn(output, target)
    own = getattr(output, "loss", None)
    if isinstance(own, torch.Tensor):
        return own
    tensors = [tensor for _, tensor in floating_tensors(output)]
    if not tensors:
        message = (
            f"check(model, batch): the forward returned {type(output).__name__} without a floating tensor, so there is"
            " nothing to go back from. Give loss_fn=."
        )
        raise InitMonitorError(message)
    loss = torch.zeros((), device=tensors[0].device)
    for tensor in tensors:
        generator = torch.Generator().manual_seed(COTANGENT_SEED)
        noise = torch.randn(tensor.shape, generator=generator).to(tensor)
        loss = loss + (tensor * noise).sum().to(loss.device) / max(1, tensor.numel())
    return loss


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put gradients, buffers, modes and random state back on the way out."""
    modes = {module: module.training for module in model.modules()}
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for parameter in gradients:
        parameter.grad = None
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            for parameter, gradient in gradients.items():
                parameter.grad = gradient
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    if name in buffers:
                        buffer.copy_(buffers[name])
