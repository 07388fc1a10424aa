"""Without Lightning: :func:`watch` any training loop."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from init_monitor.capture.backward_root import BackwardRoot
from init_monitor.errors import InitMonitorError
from init_monitor.monitor import Monitor
from init_monitor.options import Options
from init_monitor.sinks.sink import Run
from init_monitor.structure.wrappers import own_module, own_optimizer
from init_monitor.torch_compat import Hook, in_backward
from init_monitor.watched_run import WatchedRun
from init_monitor.watched_step import WatchedStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle
    from typing_extensions import Self

    from init_monitor.capture.outer_loss import OuterLoss


_NOT_STORED = "watch(model, optimizer, log_dir=FOLDER) keeps the run for `init-monitor report FOLDER`."


class Watch(WatchedRun):
    """A training loop under observation; made by :func:`watch`, used as a context manager.

    An adapter of a training framework, which is told of a step's begin and of its end, uses :meth:`begin_step`,
    :meth:`end_step` and :meth:`abort_step` in the place of :meth:`step`.

    Args:
        model: the module that is trained, as it is called; what Fabric or DDP put around it is looked through.
        optimizer: one or several.
        options: what was asked for.
        scaler: a gradient scaler, whose scale is divided out of the gradients of the activations.
        run: where the sinks find loggers, directory and console.
        show: False on every process but the first.
    """

    def __init__(  # noqa: PLR0913 - what a loop consists of
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None,
        options: Options,
        *,
        scaler: object | None = None,
        run: Run,
        show: bool = True,
    ) -> None:
        """Prepare; the sinks open here and the hooks go on and off inside :meth:`step`."""
        self._model = own_module(model)
        self._optimizers = tuple(own_optimizer(one) for one in _optimizers(optimizer))
        # One that is disabled leaves the loss as it is.
        self._scaler = scaler if getattr(scaler, "is_enabled", bool)() else None
        super().__init__(Monitor(self._model, options, run, show=show), options)
        self._step = 0
        self._ranks = 1
        self._inside, self._fresh, self._depth = False, True, 0
        self._gradient_factor: float | Tensor = 1.0
        self._handles: list[RemovableHandle] = []
        self._step_handles: list[RemovableHandle] = []
        self._now = WatchedStep(self._monitor)
        self._root = BackwardRoot(self._goes_backward, self._loss_called)
        self._outer: OuterLoss | None = None

    def __enter__(self) -> Self:
        """Begin the run."""
        for optimizer in self._optimizers:
            self._handles.append(optimizer.register_step_pre_hook(self._before_step))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run: nothing stays on the model or the optimizer."""
        for handle in (*self._handles, *self._step_handles):
            handle.remove()
        self._handles, self._step_handles = [], []
        try:
            self._monitor.close()
        finally:
            self._stop_listening()

    def join_ranks(self, count: int) -> None:
        """Put the measurements of all ``count`` processes together; each of them has to call this, at the same point."""
        self._ranks = count
        self._monitor.join_ranks()

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Measure now, or, where the optimizer computes its gradients itself (LBFGS), when it has them."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None or not self._monitor.is_open:
            self._monitor.before_optimizer(optimizer)
            return None

        def measured() -> object:
            loss = closure()
            if self._now.loss is None:
                # It is evaluated several times in a step: the last time counts, not the sum.
                self._monitor.set_loss(loss)
            self._monitor.before_optimizer(optimizer)
            return loss

        return args[:1], {**kwargs, "closure": measured}

    @contextmanager
    def step(self) -> Iterator[WatchedStep]:
        """One optimizer step: everything from its first forward to ``optimizer.step()`` goes inside.

        Several forwards of the model inside are its micro-batches; what the model calls of itself within one is not. What it
        yields takes the loss: ``step.loss = loss``.

        Raises:
            CriticalFindingError: a critical finding is new and ``on_critical="raise"``.
            InitMonitorError: it is used inside itself.
        """
        if self._inside:
            message = (
                "step() was entered inside another step() of the same watch: one `with m.step():` is one optimizer"
                " step. Leave the outer one first, or use one for both."
            )
            raise InitMonitorError(message)
        self.begin_step()
        try:
            yield self._now
        except BaseException:
            self.abort_step()
            raise
        self.end_step()

    def begin_step(self, step: int | None = None) -> None:
        """Begin an optimizer step: the next one, or ``step``, counted from 0."""
        if step is not None:
            self._step = step
        self._let_go()
        self._inside = True
        # An evaluation before the first batch must not be counted among its calls.
        self._fresh, self._depth = True, 0
        self._gradient_factor = 1.0 / self._ranks
        self._now = WatchedStep(self._monitor)
        if self._monitor.is_due(self._step):
            with self._monitor.guard("listening for the loss"):
                self._root.begin()
        self._monitor.begin_batch(self._step)
        if self._monitor.is_open:
            self._step_handles = [
                self._model.register_forward_pre_hook(Hook(self._begin_forward)),
                self._model.register_forward_hook(Hook(self._end_forward), always_call=True),
            ]

    def end_step(self) -> None:
        """End it, after the optimizer has stepped."""
        self._let_go()
        self._step += 1
        try:
            self._monitor.end_step(
                self._step - 1,
                gradient_factor=self._gradient_factor,
                loss_scaled=self._scaler is not None,
                optimizers=self._optimizers,
                mean_loss=self._now.mean,
            )
        finally:
            self._stop_listening()

    def abort_step(self) -> None:
        """Give up a step that will not be finished."""
        self._let_go()
        try:
            self._monitor.abort_step()
        finally:
            self._stop_listening()

    def note_loss(self, loss: Tensor, *, mean: bool) -> None:
        """Take the loss of one of the step's micro-batches. For adapters of a framework.

        Args:
            loss: one number.
            mean: whether the step's loss is the mean of those of its micro-batches, or their sum.
        """
        self._now.told, self._now.mean = True, mean
        self._monitor.note_loss(loss)

    def _goes_backward(self, loss: Tensor) -> None:
        with self._monitor.guard("listening for the loss"):
            if self._now.loss is None and not self._now.told and not in_backward():
                scale = _scale_of(self._scaler)
                self._monitor.note_loss(loss.detach(), 1.0 if scale is None else 1.0 / scale)

    def _loss_called(self, function: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        if self._outer is not None and not self._depth:
            with self._monitor.guard("listening for the loss"):
                self._outer.called(function, args, kwargs)

    def _begin_forward(self, *_: object) -> None:
        self._depth += 1
        if self._depth > 1:
            return  # the model called itself: that is part of the forward under way
        first, self._fresh = self._fresh, False
        with self._monitor.guard("following a forward"):
            if not first and _is_training_signal():
                self._monitor.begin_batch(self._step)

    def _end_forward(self, _: object, __: object, output: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        with self._monitor.guard("following a forward"):
            if not _is_training_signal():
                return
            self._outer = self._monitor.end_forward(output)
            scale = _scale_of(self._scaler)
            if scale is not None:
                self._gradient_factor = 1.0 / (scale * self._ranks)

    def _let_go(self) -> None:
        self._inside = False
        for handle in self._step_handles:
            handle.remove()
        self._step_handles = []
        self._stop_listening()

    def _stop_listening(self) -> None:
        self._outer = None
        # A probe that was not left (no backward came) is above it: once more when the monitor has let go.
        with self._monitor.guard("listening for the loss"):
            self._root.end()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as JSON values, for a checkpoint."""
        return self._monitor.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a :meth:`state_dict`; call it before the first step."""
        self._monitor.load_state_dict(state)
        self._step = int(state.get("step", -1)) + 1


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    scaler: object | None = None,
    log_dir: str | Path | None = None,
    **options: Any,  # noqa: ANN401
) -> Watch:
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
        scaler: the ``torch.amp.GradScaler`` of a loop that scales its loss.
        log_dir: where the run is stored for ``init-monitor report``; without it nothing is, and the
            closing line says so.
        **options: those of :class:`init_monitor.InitMonitor`.

    Raises:
        OptionError: if an option has a value that cannot be used.
        TypeError: for an unknown option, a model that is no module or an optimizer that is none.
    """
    if not isinstance(model, nn.Module):
        message = f"watch(model) needs a torch.nn.Module, got {type(model).__name__}."
        raise TypeError(message)
    chosen = Options.of("watch()", options)
    place = None if log_dir is None else Path(log_dir)
    # Who chose the sinks knows what they do.
    advice = _NOT_STORED if place is None and chosen.sinks is None else ""
    run = Run(log_dir=place, dense_steps=chosen.dense_steps, settings=chosen.settings(), unstored=advice)
    return Watch(model, optimizer, chosen, scaler=scaler, run=run)


def _is_training_signal() -> bool:
    # A forward inside a backward is an activation checkpoint being recomputed, not a new batch.
    return torch.is_grad_enabled() and not in_backward()


def _scale_of(scaler: object | None) -> Tensor | float | None:
    """Return what a gradient scaler multiplies the loss by, on its device; ``None`` without one."""
    scale = getattr(scaler, "_scale", None)  # get_scale() would wait for the device
    if isinstance(scale, torch.Tensor):
        return scale.double()
    # Before its first loss it has none yet, and answers with the one it is going to begin with.
    ask = getattr(scaler, "get_scale", None)
    return float(ask()) if callable(ask) else None


def _optimizers(given: Optimizer | Sequence[Optimizer] | None) -> tuple[Optimizer, ...]:
    if given is None:
        return ()
    several = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    for one in several:
        if not isinstance(one, Optimizer):
            message = (
                f"watch(optimizer=) takes a torch.optim.Optimizer or several in a tuple, got {type(one).__name__}."
            )
            raise TypeError(message)
    return several
