"""Which tensor ``backward()`` was called on, in a loop that does not say what its loss is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from init_monitor.capture.outer_loss import CROSS_ENTROPIES
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class BackwardRoot(TorchFunctionMode):
    """Reports the tensors that ``backward()`` is called on in a sampled step, and the cross entropies before.

    Args:
        on_loss: told the tensor, just before.
        on_cross_entropy: told the name of the function, and what it is called with.
    """

    def __init__(
        self,
        on_loss: Callable[[torch.Tensor], None],
        on_cross_entropy: Callable[[str, Sequence[object], Mapping[str, object]], None],
    ) -> None:
        super().__init__()
        self._on_loss = on_loss
        self._on_cross_entropy = on_cross_entropy
        self._live = self._pushed = False

    def begin(self) -> None:
        """Start listening; call it before the step, so that any mode the loop enters is left before ours."""
        self._live = True
        if not self._pushed:
            self.__enter__()  # type: ignore[no-untyped-call]
            self._pushed = True

    def end(self) -> None:
        """Stop. If another mode was entered on top and stays, ours stays below it and does nothing."""
        self._live = False
        stack = _get_current_function_mode_stack()
        if self._pushed and stack and stack[-1] is self:
            self.__exit__(None, None, None)
            self._pushed = False

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run a torch function."""
        if self._live:
            if func is torch.Tensor.backward:
                if args and isinstance(args[0], torch.Tensor):
                    with unseen():
                        self._on_loss(args[0])
            elif (name := getattr(func, "__name__", "")) in CROSS_ENTROPIES:
                self._on_cross_entropy(name, args, kwargs or {})
        return func(*args, **(kwargs or {}))
