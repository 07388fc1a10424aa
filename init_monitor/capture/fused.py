"""Normalisations that apply an activation of their own: their output is what that activation receives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from init_monitor.capture.tensors import first_floating
from init_monitor.structure.layers import acts_itself
from init_monitor.torch_compat import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle


class FusedNormalisations:
    """Follows the calls of normalisations whose forward ends in children of their own (timm's ``BatchNormAct2d``).

    Its return value has been through its activation, which is a layer of its own. What the normalisation made
    is seen only where the first of its children receives it.

    Args:
        measure: called as ``measure(name, module, args, kwargs, output)``, like a forward hook.
        on_failure: told ``(layer name, error)`` when following a call fails.
    """

    def __init__(self, measure: Callable[..., None], on_failure: Callable[[str, Exception], None]) -> None:
        """Nothing runs yet."""
        self._measure = measure
        self._on_failure = on_failure
        self._running: dict[str, tuple[nn.Module, Tensor]] = {}

    def clear(self) -> None:
        """Forget calls that did not finish."""
        self._running.clear()

    def attach(self, name: str, module: nn.Module) -> list[RemovableHandle]:
        """Put hooks on a module and its children, and return them; none if it is no such module."""
        if not acts_itself(module):
            return []
        inside = Hook(self._inside, name)
        return [
            module.register_forward_pre_hook(Hook(self._begin, name), with_kwargs=True),
            *(child.register_forward_pre_hook(inside, with_kwargs=True) for child in module.children()),
            module.register_forward_hook(Hook(self._end, name), with_kwargs=True),
        ]

    def _begin(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            received = first_floating(args, kwargs)
            if received is not None:
                self._running[name] = module, received
        except Exception as error:  # noqa: BLE001 - must not reach the user's forward
            self._on_failure(name, error)

    def _inside(self, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            made = first_floating(args, kwargs)
            module, received = self._running.get(name, (None, None))
            # The first of several children to run counts, unless it is given something else.
            if received is not None and made is not None and made.shape == received.shape:
                del self._running[name]
                self._measure(name, module, (received,), {}, made)
        except Exception as error:  # noqa: BLE001 - the same
            self._on_failure(name, error)

    def _end(self, name: str, module: nn.Module, args: tuple[Any, ...], *more: object) -> None:
        if self._running.pop(name, None) is not None:
            # No child ran: it is a normalisation like any other.
            self._measure(name, module, args, *more)
