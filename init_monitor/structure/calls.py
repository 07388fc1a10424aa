"""Which module call is running: a stack kept by hooks on every module, for as long as a probe is on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import nn

from init_monitor.structure.layers import mixes_units, plain_name
from init_monitor.structure.nodes import Frame, Traits
from init_monitor.structure.nonlinearities import NONLINEARITIES
from init_monitor.torch_compat import Attachment, Hook, kwargs_and_output, unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    OnLeave = Callable[[nn.Module, Frame, object, object], None]

_OWN_OF_TORCH = ("torch.nn.", "torch.ao.")
"""Modules whose classes are from here do what their name says: they are measured as a whole."""


class ModuleCalls:
    """The stack of module calls.

    The hooks are on the modules, not global ones: torch.compile warns of global hooks, and calls those that always run
    without their keyword arguments when a forward raises. They are there only while the probe is on, and a copy of a
    model does not copy them.

    Args:
        model: its modules are followed, under their qualified names.
        watching: says whether a call counts at this moment.
        on_leave: is told of each call that ends: the module, its frame, its arguments and its output.
        on_error: is told what went wrong in here.

    Attributes:
        modules: of the model, with their qualified names.
    """

    def __init__(
        self,
        model: nn.Module,
        watching: Callable[[], bool],
        on_leave: OnLeave,
        on_error: Callable[[str, Exception], None],
    ) -> None:
        wrapped = isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel))
        self.modules = [(plain_name(name, wrapped_root=wrapped), module) for name, module in model.named_modules()]
        self._watching = watching
        self._on_leave = on_leave
        self._on_error = on_error
        self._outside = Frame("")
        self._stack: list[tuple[int, Frame]] = []
        self._counts: dict[int, int] = {}
        self._traits: dict[int, tuple[str, Traits]] = {}
        self._attachments: list[tuple[Attachment, Attachment]] = []

    def attach(self, outside: Frame) -> None:
        """Begin with no call running; ``outside`` stands for code that runs outside every module."""
        self._outside = outside
        self._stack.clear()
        self._counts.clear()
        if not self._traits:  # of the first forward: a model that is put together anew has another probe
            with unseen():
                self._traits = {id(module): (name, _traits(module)) for name, module in self.modules}
            enter, leave = Hook(self._enter), Hook(self._leave)
            # A scripted module takes no hooks while it is in use, and runs no torch function that could be seen.
            hooked = [module for _, module in self.modules if not isinstance(module, torch.jit.ScriptModule)]
            # Before the hooks that measure: they ask where an output comes from.
            self._attachments = [
                (
                    Attachment(module, leave, after=True, first=True),
                    Attachment(module, enter, after=False, first=True),
                )
                for module in hooked
            ]
        for pair in self._attachments:
            # A module of the user's may refuse one. Its calls are then not seen: what it does, its caller does.
            with suppress(Exception):
                for attachment in pair:
                    attachment.put_on()

    def detach(self) -> None:
        """Remove the hooks and forget the calls."""
        for pair in self._attachments:
            for attachment in pair:
                attachment.remove()
        self._stack.clear()

    def was_called(self, module: nn.Module) -> bool:
        """Say whether a module was called since :meth:`attach`."""
        return id(module) in self._counts

    @property
    def running(self) -> Frame:
        """The innermost call."""
        return self._stack[-1][1] if self._stack else self._outside

    def _enter(self, module: nn.Module, _: object) -> None:
        try:
            # A shallow copy of a module shares its hooks but is not part of the model.
            own = id(module)
            if own in self._traits and self._watching():
                name, traits = self._traits[own]
                count = self._counts[own] = self._counts.get(own, 0) + 1
                stack = self._stack
                stack.append((own, Frame(name, stack[-1][1] if stack else self._outside, count, traits)))
        except Exception as error:  # noqa: BLE001 - a probe never raises into the user's forward
            self._on_error(f"entering a {type(module).__name__}", error)

    def _leave(self, module: nn.Module, args: object, *more: object) -> None:
        try:
            kwargs, output = kwargs_and_output(more)
            if not self._watching():
                return
            own, stack = id(module), self._stack
            if not stack or (stack[-1][0] != own and all(identity != own for identity, _ in stack)):
                return  # it was entered before the probe was
            identity, frame = stack.pop()
            while identity != own:
                identity, frame = stack.pop()
            with torch._C.DisableTorchFunction():  # noqa: SLF001 - nobody's mode has to know
                self._on_leave(module, frame, (args, kwargs), output)
        except Exception as error:  # noqa: BLE001 - a probe never raises into the user's forward
            self._on_error(f"leaving a {type(module).__name__}", error)


def _traits(module: nn.Module) -> Traits:
    return Traits(
        built_in_activation=any(cls in NONLINEARITIES for cls in type(module).__mro__),
        trainable=next(module.parameters(), None) is not None,
        open=not type(module).__module__.startswith(_OWN_OF_TORCH),
        mixes=mixes_units(module),
    )
