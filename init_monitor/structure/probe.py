"""The probe: watches a forward of an unmodified model and reports residual additions as they happen.

It is a mode that sees every torch function and tensor method, together with hooks that see every module call. It makes
no tensor that the model could see, draws no random number, waits for no device, and never raises into the model: what
fails is kept as a sentence in :attr:`Probe.causes`, and the probe stops.
"""

from __future__ import annotations

from threading import get_ident as _thread
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from init_monitor.structure.calls import ModuleCalls
from init_monitor.structure.ends import maker_behind
from init_monitor.structure.listeners import Listeners
from init_monitor.structure.nodes import Kind
from init_monitor.structure.operations import Family, Operation, describe
from init_monitor.structure.origins import origins_of
from init_monitor.structure.owners import Owners
from init_monitor.structure.provenance import Provenance
from init_monitor.structure.trace import Trace
from init_monitor.torch_compat import OUTSIDE_BACKWARD, graph_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
    from types import TracebackType
    from weakref import ref

    from typing_extensions import Self

    from init_monitor.structure.aftermath import Arithmetic
    from init_monitor.structure.attention import AttentionListener
    from init_monitor.structure.ends import EndListener
    from init_monitor.structure.listeners import OnActivation, OnLoss, OnMixing, OnResidual, OnUnknown
    from init_monitor.structure.nodes import Frame, Node
    from init_monitor.structure.origins import Origins
    from init_monitor.structure.sites import ActivationSite, MixingSite, ResidualSite
    from init_monitor.structure.trace import Pending

_away = torch._C.DisableTorchFunction  # noqa: SLF001 - the public way leaves modes on
_transforms = torch._C._functorch.peek_interpreter_stack  # noqa: SLF001 - no public way to ask; looked up once

STOPPED = "The structure probe stopped"
"""How a cause begins if it is a failure rather than a limit of what can be seen."""


class Probe(TorchFunctionMode):
    """Finds residual additions and functional activations of a forward, while it runs.

    Use it as a context manager around one forward (several forwards in one ``with`` are one forward to it: a module's
    second call is its second call). Leave it before backward; what backward recomputes is not looked at anyway. Modes
    are thread-local and so is the probe.

    Args:
        model: the model, for the names of its modules and the identity of its buffers. It is not changed.
        on_residual: called as ``on_residual(site, skip, branch, sum)`` at each residual addition, right after it ran.
            They have one shape, and ``skip + branch`` is ``sum``: a scaled term is given as it enters the sum. They
            are the model's own tensors (a copy where the addition overwrote one): read them at once, in a ``no_grad``.
        on_activation: called as ``on_activation(site, input, output)`` at each functional activation; ``input`` is
            ``None`` if it was overwritten.
        on_mixing: called as ``on_mixing(site, input, output)`` at each function that mixes an input with a weight of
            the model, but for those inside torch's own layers; ``input`` may be the numbers of the rows of a table.
        on_loss: called with the path of each module that turned out to be a loss.
        on_unknown: called as ``on_unknown(path, weight, function)`` where a function that is not known takes a weight of
            the module at that path.
        on_attention: gets a few rows of every attention.
        on_ends: is told of rows that are looked up, and gets a few rows of the logits of a cross entropy.

    Attributes:
        causes: why the probe stopped looking, in sentences; empty if nothing failed.

    Example:
        >>> from torch import nn
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear = nn.Linear(4, 4)
        ...     def forward(self, x):
        ...         return x + torch.relu(self.linear(x))
        >>> model = nn.Sequential(Block(), Block())
        >>> with Probe(model) as probe:
        ...     _ = model(torch.zeros(2, 4))
        >>> [site.name for site in probe.sites], [site.name for site in probe.activation_sites]
        (['0#1', '1#1'], ['0/relu#1', '1/relu#1'])
    """

    def __init__(  # noqa: PLR0913 - who is told of what
        self,
        model: nn.Module,
        *,
        on_residual: OnResidual | None = None,
        on_activation: OnActivation | None = None,
        on_mixing: OnMixing | None = None,
        on_loss: OnLoss | None = None,
        on_unknown: OnUnknown | None = None,
        on_attention: AttentionListener | None = None,
        on_ends: EndListener | None = None,
    ) -> None:
        super().__init__()
        self.causes: list[str] = []
        self._listeners = Listeners(on_residual, on_activation, on_mixing, on_loss, on_unknown, on_attention, on_ends)
        self._model = model
        self._calls = ModuleCalls(model, self._watches, self._leave_module, self._fail)
        self._owners = Owners(self._calls.modules, self._calls.was_called)
        self._operations: dict[object, Operation] = {}
        self._thread = 0
        self._live = False
        self._pushed = False
        self._begin()

    def _begin(self) -> None:
        # Buffers are replaced (a running mean that is reset), and the id of one that is gone is reused.
        held = (buffer for _, module in self._calls.modules for buffer in module._buffers.values())  # noqa: SLF001 - buffers() takes ten times as long
        graph = Provenance(frozenset(map(id, held)))
        self._owners.forget()
        self._trace = Trace(graph, self._owners, self._listeners)

    @property
    def sites(self) -> tuple[ResidualSite, ...]:
        """The residual additions of the last forward, in execution order."""
        return self._trace.residuals

    @property
    def activation_sites(self) -> tuple[ActivationSite, ...]:
        """The functional activations of the last forward, in execution order."""
        return tuple(self._trace.activations)

    @property
    def mixing_sites(self) -> tuple[MixingSite, ...]:
        """The weights of the model that were used by functions in the last forward, in execution order."""
        return tuple(self._trace.mixings)

    @property
    def sines(self) -> Mapping[object, float]:
        """By what stands for a layer call, the number that its output is multiplied by before a sine takes it."""
        return self._trace.sines

    @property
    def reduced(self) -> AbstractSet[object]:
        """What stands for the layers whose output was reduced to a single number at once: terms of a loss."""
        return self._trace.reduced

    @property
    def compared(self) -> AbstractSet[object]:
        """What stands for the layers whose outputs are compared with each other, and not with data."""
        return self._trace.comparisons.makers()

    @property
    def answering_products(self) -> Mapping[object, object]:
        """What stands for layers whose outputs are multiplied with each other for an answer to data, one by the other."""
        return self._trace.comparisons.products

    @property
    def shared(self) -> AbstractSet[object]:
        """What stands for the layers whose output several functions read."""
        return self._trace.shared

    @property
    def leaves(self) -> Sequence[ref[Tensor]]:
        """The tensors that the forward used, that require a gradient and that no operation made: parameters, and others."""
        return self._trace.graph.leaves

    @property
    def arithmetic(self) -> Arithmetic:
        """What in the forward was made only for a loss, a likelihood or a log."""
        return self._trace.after_the_network()

    def maker_of(self, tensor: Tensor) -> object:
        """Return what stands for the layer that made a tensor, moved or scaled since at most; ``None`` if none is known."""
        node = self._trace.graph.seen(tensor)
        return None if node is None else maker_behind(node)

    def made(self, tensor: Tensor, maker: object) -> None:
        """Note that a layer made ``tensor``; ``maker`` stands for the layer in what :meth:`origins` returns."""
        if self._watches():
            self._trace.graph.node_of(tensor).maker = maker

    def origins(self, received: Sequence[Tensor], output: Tensor) -> Origins | None:
        """Return where what a layer received comes from, ``None`` if that is not known.

        Args:
            received: the tensors it was called with, the one it works on first.
            output: what it made; asked where it received no tensor as such (dictionaries, graphs).
        """
        if not self._watches():
            return None
        graph = self._trace.graph
        if len(received) == 1:
            return origins_of((graph.node_of(received[0]),))
        if received:
            return origins_of([graph.node_of(tensor) for tensor in received])
        node = graph.node_of(output)
        return origins_of(node.parents) if node.parents and node.maker is None else origins_of([node])

    def was_made_in(self, tensor: Tensor, name: str) -> bool:
        """Say whether a tensor was made by the module of that name, or inside of it; True if that is not known."""
        if not self._watches():
            return True
        maker = self._trace.graph.node_of(tensor).frame.name
        return not name or maker == name or maker.startswith(f"{name}.")

    def value(self, tensor: Tensor) -> object:
        """Return what stands for the present value of a tensor, ``None`` if nothing does."""
        return self._trace.graph.node_of(tensor) if self._watches() else None

    def is_value(self, tensor: Tensor, wanted: object) -> bool:
        """Say whether a tensor has a value that it or another had, viewed or copied, or with a parameter added."""
        if not self._watches():
            return False
        node: Node | None = self._trace.graph.node_of(tensor)
        while node is not None and node is not wanted:
            node = node.main if node.kind in {Kind.CARRY, Kind.BIAS} else None
        return node is wanted

    def __enter__(self) -> Self:
        self._begin()
        self.causes.clear()
        self._thread = _thread()
        self._calls.attach(self._trace.graph.outside)
        self._live = True
        if not self.settle():
            return self  # still below a mode that was entered later: it only has to be switched on again
        super().__enter__()  # type: ignore[no-untyped-call]
        self._pushed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live = False
        try:
            self._trace.close()
        finally:
            try:
                self._calls.detach()
            finally:
                self.settle()

    def settle(self) -> bool:
        """Take the mode off the stack, if it is on top of it; until then it stays there, switched off.

        Returns:
            True if the mode is off the stack.
        """
        stack = _get_current_function_mode_stack()
        if self._pushed and stack and stack[-1] is self:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._pushed = False
        return not self._pushed

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run a torch function, and note what it made from what."""
        kwargs = kwargs or {}
        operation: Operation | None = None
        pending: Pending | None = None
        try:
            operation = self._operations.get(func) or self._described(func)
            if operation.family is Family.IGNORED or not self._watches():
                operation = None
            else:
                with _away():  # modes around this one
                    pending = self._trace.before(operation, args, kwargs, self._calls.running)
        except Exception as error:  # noqa: BLE001 - a probe never raises into the user's forward
            self._fail(f"before {getattr(func, '__name__', func)}", error)
        result = func(*args, **kwargs)
        if operation is not None and pending is not None:
            try:
                with _away():  # the same
                    self._trace.after(operation, args, kwargs, result, pending)
            except Exception as error:  # noqa: BLE001 - the same
                self._fail(f"after {operation.name}", error)
        return result

    def _described(self, func: Callable[..., object]) -> Operation:
        """Return what a function does, and keep it in mind."""
        operation = self._operations[func] = describe(func)
        return operation

    def _watches(self) -> bool:
        """Return False in other threads, while backward recomputes, and inside function transforms."""
        if not self._live or _thread() != self._thread or graph_task() != OUTSIDE_BACKWARD:
            return False
        if _transforms() is not None:
            cause = "Inside vmap or another function transform: what is computed there is not looked into."
            if cause not in self.causes:
                self.causes.append(cause)
            return False
        return True

    def _fail(self, where: str, error: Exception) -> None:
        if not self._live:
            return
        self._live = False
        self.causes.append(f"{STOPPED} {where}: {type(error).__name__}: {error}")

    def _leave_module(self, module: nn.Module, frame: Frame, given: object, output: object) -> None:
        self._trace.leave(module, frame, given, output)
