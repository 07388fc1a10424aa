"""The probe: watches a forward of an unmodified model and tells of residual additions as they happen.

It is a mode that sees every torch function and tensor method, together with hooks that see every module call. It makes
no tensor that the model could see, draws no random number, waits for no device, and never raises into the model: what
fails is kept as a sentence in :attr:`Probe.causes`, and the probe goes blind.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from init_monitor.structure.calls import ModuleCalls
from init_monitor.structure.derivation import Derivation, carries_values, tensors_in
from init_monitor.structure.functional import activation_of
from init_monitor.structure.operations import Family, Operation, describe
from init_monitor.structure.provenance import Frame, Kind, Node, Provenance, version_of
from init_monitor.structure.residual import Verdict, judge
from init_monitor.structure.sites import ActivationSite, ResidualSite
from init_monitor.structure.sums import Sum, find_sum
from init_monitor.torch_compat import in_backward, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    OnResidual = Callable[[ResidualSite, Tensor, Tensor, Tensor], object]
    OnActivation = Callable[[ActivationSite, Tensor | None, Tensor], object]

STOPPED = "The structure probe stopped"
"""How a cause begins that is a failure, and no limit of what can be seen."""

_CARRYING = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE})


@dataclass(slots=True)
class _Addition:
    """A residual addition that is about to run, with its terms as they are before it."""

    verdict: Verdict
    sum: Sum
    terms: tuple[Tensor, Tensor] | None


@dataclass(slots=True)
class _Pending:
    """What has to be known of a call before it runs, because it may overwrite its inputs."""

    frame: Frame
    inputs: list[tuple[Tensor, Node]]
    version: int
    addition: _Addition | None
    activation: str | None


def _shares(tensor: Tensor, written: object) -> bool:
    """Return True if writing to ``written`` changes ``tensor``."""
    return isinstance(written, Tensor) and (
        tensor is written or tensor.untyped_storage().data_ptr() == written.untyped_storage().data_ptr()
    )


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

    def __init__(
        self,
        model: nn.Module,
        *,
        on_residual: OnResidual | None = None,
        on_activation: OnActivation | None = None,
    ) -> None:
        super().__init__()
        self.causes: list[str] = []
        self._on_residual = on_residual
        self._on_activation = on_activation
        self._model = model
        self._calls = ModuleCalls(model, self._watches, self._bind_opaque, self._fail)
        self._operations: dict[object, Operation] = {}
        self._thread = 0
        self._live = False
        self._pushed = False
        self._begin()

    def _begin(self) -> None:
        # Buffers come and go (a running mean that is set anew); the id of one that is gone is given to other tensors.
        self._graph = Provenance(frozenset(id(buffer) for buffer in self._model.buffers()))
        self._ordinals: dict[str, int] = {}
        self._sites: list[ResidualSite] = []
        self._activation_sites: list[ActivationSite] = []

    @property
    def sites(self) -> tuple[ResidualSite, ...]:
        """The residual additions of the last forward, in execution order."""
        return tuple(self._sites)

    @property
    def activation_sites(self) -> tuple[ActivationSite, ...]:
        """The functional activations of the last forward, in execution order."""
        return tuple(self._activation_sites)

    def __enter__(self) -> Self:
        self._begin()
        self.causes.clear()
        self._thread = threading.get_ident()
        self._calls.attach(self._graph.outside)
        self._live = True
        if not self.settle():
            return self  # still below a mode that was entered after it: it only has to be switched on again
        super().__enter__()  # type: ignore[no-untyped-call]
        self._pushed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live = False
        self._graph = Provenance()
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
        """Run a torch function, and note what it made of what."""
        kwargs = kwargs or {}
        if not self._live:
            return func(*args, **kwargs)
        operation: Operation | None = None
        pending: _Pending | None = None
        try:
            operation = self._concerned(func)
            if operation is not None:
                with torch._C.DisableTorchFunction():  # noqa: SLF001 - of modes around this one
                    pending = self._before(operation, args, kwargs)
        except Exception as error:  # noqa: BLE001 - a probe never raises into the user's forward
            self._fail(f"before {getattr(func, '__name__', func)}", error)
        result = func(*args, **kwargs)
        if operation is not None and pending is not None:
            try:
                with torch._C.DisableTorchFunction():  # noqa: SLF001 - the same
                    self._after(operation, args, kwargs, result, pending)
            except Exception as error:  # noqa: BLE001 - the same
                self._fail(f"after {operation.name}", error)
        return result

    def _concerned(self, func: Callable[..., object]) -> Operation | None:
        """Return what a function does, if it is to be looked at now."""
        operation = self._operations.get(func)
        if operation is None:
            operation = self._operations[func] = describe(func)
        return None if operation.family is Family.IGNORED or not self._watches() else operation

    def _watches(self) -> bool:
        """Return False in other threads, while backward recomputes, and inside function transforms."""
        if not self._live or threading.get_ident() != self._thread:
            return False
        if in_backward():
            return False
        if torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 - the same
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

    def _before(self, operation: Operation, args: tuple[object, ...], kwargs: Mapping[str, object]) -> _Pending:
        frame = self._calls.running
        given = (args, {name: value for name, value in kwargs.items() if name != "out"} if "out" in kwargs else kwargs)
        inputs = [(tensor, self._graph.node_of(tensor)) for tensor in tensors_in(given)]
        overwrites = operation.mutates or "out" in kwargs
        return _Pending(
            frame=frame,
            inputs=inputs,
            version=version_of(inputs[0][0]) if inputs else 0,
            addition=self._addition(operation, args, kwargs, frame, overwrites=overwrites),
            activation=None if frame.built_in_activation else activation_of(operation, args, kwargs),
        )

    def _addition(
        self,
        operation: Operation,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        frame: Frame,
        *,
        overwrites: bool,
    ) -> _Addition | None:
        found = find_sum(self._graph, frame, operation, args, kwargs)
        if found is None:
            return None
        verdict = judge(found.left.node, found.right.node, frame, subtracts=found.subtracts)
        if verdict is None:
            return None
        if self._on_residual is None:
            return _Addition(verdict, found, None)
        with unseen():
            terms = [found.left.read(), found.right.read()]
            if overwrites:
                written = kwargs.get("out", args[0] if args else None)
                terms = [term.clone() if _shares(term, written) else term for term in terms]
        return _Addition(verdict, found, (terms[0], terms[1]))

    def _after(
        self,
        operation: Operation,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        result: object,
        pending: _Pending,
    ) -> None:
        first = pending.inputs[0][0] if pending.inputs else None
        written = first is not None and version_of(first) != pending.version
        outputs = list(tensors_in(result))
        if written and first is not None and all(output is not first for output in outputs):
            outputs.append(first)
        passed_on = {id(tensor) for tensor, _ in pending.inputs}
        derivation = Derivation(self._graph, pending.frame, operation, pending.inputs)
        for output in outputs:
            overwritten = output is first and written
            if id(output) in passed_on and not overwritten:
                continue  # handed back as it came, for instance by contiguous()
            if pending.addition is not None:
                node = self._residual(operation, pending.addition, pending.frame, output)
            else:
                node = derivation.node(output, args, kwargs)
            if overwritten or "out" in kwargs:
                self._graph.wrote(output, node)
            else:
                self._graph.bind(output, node)
        if pending.activation is not None and outputs and first is not None:
            self._activation(pending.activation, pending.frame, None if written else first, outputs[0])

    def _residual(self, operation: Operation, addition: _Addition, frame: Frame, output: Tensor) -> Node:
        left, right, verdict = addition.sum.left, addition.sum.right, addition.verdict
        skip, branch = (left, right) if verdict.skip_is_left else (right, left)
        node = self._graph.make(operation.name, Kind.RESIDUAL, (left.node, right.node), frame, main=skip.node)
        node.site = len(self._sites)
        name, ordinal = self._number(frame, "")
        site = ResidualSite(
            name=name,
            owner=frame.name,
            ordinal=ordinal,
            kind="projection" if verdict.projection else "identity",
            skip=self._origin(skip.node),
            branch=self._origin(branch.node),
            skip_scale=verdict.skip_scale,
            branch_scale=verdict.branch_scale,
            long=verdict.long,
            query=verdict.query,
            operation=operation.name,
        )
        site = self._in_stream(site, skip.node)
        self._sites.append(site)
        for inner in verdict.inner:
            self._sites[inner] = replace(self._sites[inner], nested=True)
        if self._on_residual is not None and addition.terms is not None:
            terms = addition.terms if verdict.skip_is_left else addition.terms[::-1]
            self._on_residual(site, terms[0], terms[1], output)
        return node

    def _in_stream(self, site: ResidualSite, skip: Node) -> ResidualSite:
        """Tie an addition to the one before it in its stream, and tell that one what happened to its sum in between."""
        factor: float | None = 1.0
        normalised = False
        node: Node | None = skip
        while node is not None and node.kind is not Kind.RESIDUAL:
            if node.kind is Kind.SCALE:
                factor = None if factor is None or node.factor is None else factor * node.factor
            elif node.kind is Kind.NORM:
                normalised = True
            elif node.kind not in {Kind.CARRY, Kind.SLICE, Kind.ACTIVATION}:
                return site
            node = node.main
        if node is None:
            return site
        before = self._sites[node.site]
        # A later addition of the same stream knows better than one inside its branch: the last one to tell is right.
        sum_scale = factor / site.skip_scale if factor is not None and site.skip_scale else 1.0
        self._sites[node.site] = replace(before, sum_scale=sum_scale, normalised=normalised)
        return replace(site, follows=before.name)

    def _activation(self, kind: str, frame: Frame, given: Tensor | None, output: Tensor) -> None:
        name, _ = self._number(frame, f"/{kind}")
        site = ActivationSite(name, frame.name, kind, in_place=given is None)
        self._activation_sites.append(site)
        if self._on_activation is not None:
            self._on_activation(site, given, output)

    def _number(self, frame: Frame, suffix: str) -> tuple[str, int]:
        owner = frame.name if frame.call <= 1 else f"{frame.name}@{frame.call}"
        key = f"{owner}{suffix}"
        ordinal = self._ordinals[key] = self._ordinals.get(key, 0) + 1
        return f"{key}#{ordinal}".lstrip("/"), ordinal

    def _origin(self, node: Node) -> str:
        while node.main is not None and node.kind in _CARRYING:
            node = node.main
        if node.kind is Kind.RESIDUAL:
            return self._sites[node.site].name
        if node.kind is Kind.SOURCE:
            return "parameter" if node.param else "input"
        return node.frame.name

    def _bind_opaque(self, module: nn.Module, frame: Frame, given: object, output: object) -> None:
        """Tie the output of a module that was not seen computing it (torchscript, an extension) to its inputs."""
        for tensor in tensors_in(output):
            if self._graph.knows(tensor) or not carries_values(tensor) or isinstance(tensor, nn.Parameter):
                continue
            parents = tuple(self._graph.node_of(item) for item in tensors_in(given) if carries_values(item))
            node = self._graph.make(type(module).__name__, Kind.OTHER, parents, frame)
            node.trainable = frame.trainable
            self._graph.bind(tensor, node)
