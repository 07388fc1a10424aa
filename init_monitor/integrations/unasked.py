"""The monitor that the environment adds: it gives way to one that the program has itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.integrations.lightning import InitMonitor, decided as decide_base

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule, Trainer


class UnaskedMonitor(InitMonitor):
    """An :class:`InitMonitor` with default options that does nothing where the Trainer has another one."""

    def __init__(self) -> None:
        super().__init__()

    @property
    def state_key(self) -> str:
        """Where a checkpoint keeps the state: apart from that of a monitor of the program."""
        return f"{super().state_key} by the environment"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin, unless the program watches itself: without this nothing else is done either."""
        callbacks: list[object] = list(getattr(trainer, "callbacks", ()))
        if not any(isinstance(one, InitMonitor) and one is not self for one in callbacks):
            super().on_train_start(trainer, pl_module)


def decided() -> type[UnaskedMonitor]:
    """Return the class, with the base classes that can be known by now."""
    decide_base()
    return UnaskedMonitor
