"""Optimizer steps that bypass Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.utils.hooks import RemovableHandle


class StepsByHand:
    """Sees the steps of torch's own optimizers in manual optimisation, which Lightning's count leaves out.

    ``self.optimizers(use_pl_optimizer=False)`` gives such optimizers to a training step.
    """

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._stepped = False

    def watch(self, optimizers: Sequence[object], measure: Callable[[Optimizer], None]) -> None:
        """Call ``measure`` before a step of any of these; for one batch, to be left at its end."""
        self.leave()

        def before(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # Lightning always passes a closure, and reports the step itself. (args[0] is the optimizer.)
            if kwargs.get("closure", args[1] if len(args) > 1 else None) is None:
                self._stepped = True
                measure(optimizer)

        of_torch = [optimizer for optimizer in optimizers if isinstance(optimizer, Optimizer)]
        self._handles = [optimizer.register_step_pre_hook(before) for optimizer in of_torch]

    def leave(self) -> bool:
        """Leave the optimizers alone, and say whether any has stepped."""
        for handle in self._handles:
            handle.remove()
        stepped, self._handles, self._stepped = self._stepped, [], False
        return stepped
