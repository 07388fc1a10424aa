"""The callbacks of a program: always the recorder of losses, the monitor on request."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from torch import Tensor, nn
    from torch.optim import Optimizer

STEPS = 60
"""Optimizer steps of a program: the ten dense ones of the default schedule, and step 50."""


class Watching:
    """Trains with the monitor or without; a program need not know which.

    Args:
        watched: with the monitor.

    Attributes:
        losses: the loss of every step, as Lightning or the loop gives it.
        monitor: the monitor that watched, as the user holds it; ``None`` without.
        live: the one that was told of the steps, where a library has copied its callbacks.
    """

    def __init__(self, *, watched: bool) -> None:
        self.watched = watched
        self.losses: list[float] = []
        self.monitor: Any = None
        self.live: Any = None

    def callbacks(self, lightning: ModuleType) -> list[Any]:
        """Return the callbacks for a Trainer of this Lightning (``lightning.pytorch`` or ``pytorch_lightning``)."""
        watching = self

        class Keeper(lightning.Callback):  # type: ignore[misc, name-defined]
            """Writes to the enclosing object: a copy of the callback still does."""

            def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401, ARG002
                kind = type(watching.monitor)
                watching.live = next((one for one in trainer.callbacks if type(one) is kind), None)

            def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ANN401, ARG002
                watching.keep(outputs["loss"] if isinstance(outputs, dict) else outputs)

        if not self.watched:
            return [Keeper()]
        from init_monitor import InitMonitor  # noqa: PLC0415 - the library has imported its Lightning by now

        self.monitor = InitMonitor()
        return [Keeper(), self.monitor]

    @contextmanager
    def loop(self, model: nn.Module, optimizer: Optimizer) -> Iterator[Any]:
        """Watch a loop: what is yielded has ``step()``, as ``init_monitor.watch`` gives it."""
        if not self.watched:
            yield _Unwatched()
            return
        import init_monitor  # noqa: PLC0415 - only where it is asked for

        with init_monitor.watch(model, optimizer=optimizer) as watch:
            self.monitor = self.live = watch
            yield watch

    def keep(self, loss: Tensor | float) -> None:
        """Remember the loss of a step."""
        self.losses.append(float(loss if isinstance(loss, float) else loss.detach()))


class _Unwatched:
    def step(self) -> AbstractContextManager[None]:
        return nullcontext()
