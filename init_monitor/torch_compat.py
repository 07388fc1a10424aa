"""What torch has no public, stable way for: hooks that copies leave behind, eager mode, computing out of sight.

Everything that depends on how torch works inside, and could change with a version, and does not belong to one package only, is
here, so that there is one place to look at when torch changes.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.checkpoint import CheckpointFunction
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

    from torch import nn

_COMPILER = "torch._dynamo.eval_frame"
_CHECKPOINTED = CheckpointFunction.forward.__code__

_function_modes = torch._C._len_torch_function_stack  # noqa: SLF001 - the same
_dispatch_modes = torch._C._len_torch_dispatch_stack  # noqa: SLF001 - the same

OUTSIDE_BACKWARD = -1
graph_task = torch._C._current_graph_task_id  # noqa: SLF001 - no public way to ask; looked up once, as it is asked often
"""Returns the number of the backward that is under way in this thread; :data:`OUTSIDE_BACKWARD` if none is."""


class Hook(partial[None]):
    """A hook that stays with the model it was put on: on a copy of it (an EMA) or in a pickle it does nothing.

    Called with what it is made with (a function, and first arguments such as the name of a layer) and then with what torch gives.
    """

    def __reduce__(self) -> tuple[Callable[[], Hook], tuple[()]]:
        return _no_hook, ()


def _nothing(*given: object) -> None:
    """Take what torch gives, and do nothing."""


def _no_hook() -> Hook:
    return Hook(_nothing)


class Attachment:
    """A hook of one module that is put on and taken off many times: it is registered once, and then put back.

    Registering makes objects that a garbage collection has to look at, hundreds of them in every measured step.

    Args:
        module: whose hook it is.
        hook: with ``after``, called after the module's forward, with its keyword arguments; else before it.
        after: which of them.
        first: before other hooks; with ``after``, also if the forward raises.
    """

    __slots__ = ("_after", "_first", "_handle", "_hook", "_module")

    def __init__(self, module: nn.Module, hook: Hook, *, after: bool, first: bool) -> None:
        """Nothing is put on yet."""
        self._module, self._hook, self._after, self._first = module, hook, after, first
        self._handle: RemovableHandle | None = None

    def put_on(self) -> None:
        """Put the hook on."""
        module, handle = self._module, self._handle
        hooks: OrderedDict[int, Any] = module._forward_hooks if self._after else module._forward_pre_hooks  # type: ignore[assignment]  # noqa: SLF001
        if handle is None or handle.hooks_dict_ref() is not hooks:
            self._register()
            return
        number = handle.id
        hooks[number] = self._hook
        if self._first:
            hooks.move_to_end(number, last=False)
        if self._after:
            module._forward_hooks_with_kwargs[number] = True  # noqa: SLF001
            if self._first:
                module._forward_hooks_always_called[number] = True  # noqa: SLF001

    def remove(self) -> None:
        """Take it off."""
        module, handle = self._module, self._handle
        if handle is None:
            return
        number = handle.id
        hooks: OrderedDict[int, Any] = module._forward_hooks if self._after else module._forward_pre_hooks  # type: ignore[assignment]  # noqa: SLF001
        if handle.hooks_dict_ref() is not hooks:
            handle.remove()
            return
        hooks.pop(number, None)  # what the handle does, in a third of the time
        if self._after:
            module._forward_hooks_with_kwargs.pop(number, None)  # noqa: SLF001
            if self._first:
                module._forward_hooks_always_called.pop(number, None)  # noqa: SLF001

    def _register(self) -> None:
        if self._after:
            self._handle = self._module.register_forward_hook(
                self._hook, prepend=self._first, with_kwargs=True, always_call=self._first
            )
        else:
            self._handle = self._module.register_forward_pre_hook(self._hook, prepend=self._first)


def kwargs_and_output(given: tuple[Any, ...]) -> tuple[dict[str, Any], Any]:
    """Return what a forward hook was given after the module and its positional arguments.

    A hook that is removed while its module's hooks run is still called, without the keyword arguments.
    """
    return (given[0], given[1]) if len(given) > 1 else ({}, given[0])


class Following:
    """Hooks on tensors for their gradients, taken off together.

    ``Tensor.register_hook`` makes a handle for each: a garbage collection looks at all of them, and there are hundreds.
    """

    __slots__ = ("_handles", "_hooks", "_number")

    def __init__(self) -> None:
        """Nothing is followed yet."""
        self._number = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        self._hooks: list[weakref.ref[OrderedDict[int, Any]]] = []
        self._handles: list[RemovableHandle] = []

    def add(self, tensor: Tensor, hook: Callable[[Tensor], None]) -> None:
        """Have a hook called with the gradient of a tensor that requires one."""
        maker: Any = tensor.grad_fn
        if type(tensor) is not Tensor or maker is None or tensor._backward_hooks is not None:  # noqa: SLF001
            self._handles.append(tensor.register_hook(hook))
            return
        hooks: OrderedDict[int, Any] = OrderedDict()
        tensor._backward_hooks = hooks  # noqa: SLF001 - all that register_hook does
        maker._register_hook_dict(tensor)  # noqa: SLF001
        hooks[self._number] = hook
        self._hooks.append(weakref.ref(hooks))

    def prune(self) -> None:
        """Forget the hooks of tensors that are gone."""
        self._hooks = [ref for ref in self._hooks if ref() is not None]
        self._handles = [handle for handle in self._handles if handle.hooks_dict_ref() is not None]

    def remove(self) -> None:
        """Take all of them off."""
        for ref in self._hooks:
            hooks = ref()
            if hooks is not None:
                hooks.pop(self._number, None)
        for handle in self._handles:
            handle.remove()
        self._hooks, self._handles = [], []


_COMPILING = frozenset({"torch._dynamo", "torch.nn.attention.flex_attention"})
"""Modules without which nothing is compiled."""


class EagerMode:
    """Keeps compiled graphs from running while anybody asks for it; the process has one setting for all.

    Several monitors may share a training, and their steps do not end in the reverse order in which they began: each that
    restored what it had found would leave behind what another had set. What the user sets in between stays, too. Those
    trainings may run in threads: no other thread may run between reading the holders and acting on them.
    """

    def __init__(self) -> None:
        """Leave things as they are."""
        self._lock = threading.RLock()
        self._holders: weakref.WeakSet[object] = weakref.WeakSet()
        self._stance: Any = None

    def hold(self, holder: object) -> None:
        """Switch to eager mode, until every holder has released it."""
        # Nothing can be compiled before dynamo is imported, but by flex_attention, which imports it when it is called.
        if not any(
            name in sys.modules for name in _COMPILING
        ):  # an intersection would go through all modules there are
            return
        with self._lock:
            self._holders.add(holder)
            stance = torch.compiler.set_stance("force_eager")
            if self._stance is not None and stance.prev is self._stance.stance:
                stance.__exit__(None, None, None)
            else:
                self._stance = stance

    def release(self, holder: object) -> None:
        """Go back to what was before, if no other holder is left."""
        with self._lock:
            self._holders.discard(holder)
            if self._holders or self._stance is None:
                return
            ours, self._stance = self._stance, None
            found = torch.compiler.set_stance("force_eager")
            last = ours if found.prev is ours.stance else found
            last.__exit__(None, None, None)


EAGER = EagerMode()
"""That of this process."""


class _Holder:
    """Somebody who wants eager mode for a while."""


@contextmanager
def eager() -> Iterator[None]:
    """Run a compiled model uncompiled: hooks on it would be skipped in silence."""
    holder = _Holder()
    EAGER.hold(holder)
    try:
        yield
    finally:
        EAGER.release(holder)


class unseen:  # noqa: N801 - used like a function
    """Compute without gradients and out of sight of every mode that is on, of torch functions and of dispatch.

    A selective activation checkpoint keeps the results of operations in the order in which they ran, and hands them out
    in that order when it recomputes: one operation too many, and each later one gets the result of another.

    A class, as it is entered several times per layer: a generator takes three times as long.
    """

    __slots__ = ("_away", "_gradients", "_modes")

    def __enter__(self) -> None:
        """Hide what is computed from now on."""
        # The public way to switch torch functions off leaves modes on; and they would see gradients being switched off.
        self._away = torch._C.DisableTorchFunction()  # noqa: SLF001
        self._away.__enter__()
        self._gradients = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # noqa: SLF001, FBT003 - what no_grad does
        self._modes = None
        # Asked first, as it is quicker than to switch none off.
        if _dispatch_modes():
            self._modes = _disable_current_modes()
            self._modes.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop hiding."""
        if self._modes is not None:
            self._modes.__exit__(kind, error, trace)
        torch._C._set_grad_enabled(self._gradients)  # noqa: SLF001
        self._away.__exit__(kind, error, trace)


def piece_ids(model: nn.Module, *, parameters: bool) -> frozenset[int]:
    """Return the ``id`` of all that :func:`pieces_of` yields; asked at every measured step."""
    found, waiting = {id(model)}, [model]
    for module in waiting:  # which grows meanwhile
        if parameters and module._parameters:  # noqa: SLF001
            found.update(map(id, module._parameters.values()))  # noqa: SLF001
        for child in module._modules.values():  # noqa: SLF001
            if child is not None and id(child) not in found:
                found.add(id(child))
                waiting.append(child)
    found.discard(id(None))  # a layer without a bias
    return frozenset(found)


def is_unseen() -> bool:
    """Say whether nothing looks on: neither gradients are recorded nor is a mode of torch functions or of dispatch on."""
    return not (torch.is_grad_enabled() or _function_modes() or _dispatch_modes())


def pieces_of(model: nn.Module, *, parameters: bool) -> Iterator[object]:
    """Yield the modules of a model, and their parameters, each at least once; ``modules()`` takes five times as long."""
    seen, waiting = {id(model)}, [model]
    while waiting:
        module = waiting.pop()
        yield module
        if parameters:
            yield from (parameter for parameter in module._parameters.values() if parameter is not None)  # noqa: SLF001
        for child in module._modules.values():  # noqa: SLF001
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)


def is_compiled(model: nn.Module) -> bool:
    """Say whether a model, a part of it, one of their methods, or (by Lightning) the step around it was given to ``torch.compile``."""
    marks = ("_compiled_call_impl", "_compiler_ctx", "dynamo_ctx")
    classes: set[type] = set()
    for piece in pieces_of(model, parameters=False):
        own = vars(piece)
        if any(own.get(mark) is not None for mark in marks) or any(map(_is_compiled_function, own.values())):
            return True
        classes.update(type(piece).__mro__)
    return any(_is_compiled_function(method) for one in classes for method in vars(one).values())


def _is_compiled_function(value: object) -> bool:
    # What was taken away from the compiler carries the one mark as well.
    own = getattr(value, "__dict__", None) if callable(value) else None
    return own is not None and "_torchdynamo_orig_callable" in own and not own.get("_torchdynamo_disable")


def in_compiled_call() -> bool:
    """Say whether a caller was given to ``torch.compile``, a training step around the model for instance. Costs microseconds."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the frames of the callers are not to be had otherwise
    while frame is not None:
        # What keeps a function away from the compiler is of the same module, but has no callback.
        if frame.f_globals.get("__name__") == _COMPILER and "callback" in frame.f_code.co_freevars:
            return True
        frame = frame.f_back
    return False


def in_backward() -> bool:
    """Say whether a backward is under way in this thread: an activation checkpoint runs its forward again in it."""
    return graph_task() != OUTSIDE_BACKWARD


def is_training_signal() -> bool:
    """Return False for what runs without gradients (a teacher, a target network), but for a checkpoint's first pass.

    A reentrant activation checkpoint runs its forward without gradients first and again during backward. That first
    pass is the forward of the training; nothing but the calling frames tells it from the others.
    """
    if torch.is_grad_enabled():
        return True
    frame = sys._getframe(1)  # noqa: SLF001 - the frames of the callers are not to be had otherwise
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is _CHECKPOINTED:
            return True
    return False
