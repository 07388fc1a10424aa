"""The hooks themselves: attached at the start of a sampled step, removed at its end.

Forward hooks on the layers, and a hook on each output *tensor* for its gradient: tensor hooks survive in-place
activations, ``out += identity``, shared modules, tuples, activation checkpointing and double backward, where
full-backward module hooks change the graph or raise.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import torch

from init_monitor.capture.fused import FusedNormalisations
from init_monitor.capture.tapping import Call, Received, Tapping
from init_monitor.capture.taps import TapKey
from init_monitor.capture.tensors import bare_tensors, first_floating, floating_tensors, is_given, unreadable
from init_monitor.structure.layers import PLUMBING, SAME_VALUES
from init_monitor.torch_compat import (
    OUTSIDE_BACKWARD,
    Attachment,
    Hook,
    graph_task,
    in_compiled_call,
    is_training_signal,
    kwargs_and_output,
    unseen,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torch import Tensor, nn


class Functions(Protocol):
    """What the hooks have to know about layers that are called as functions."""

    def begin_batch(self) -> None:
        """Start a forward."""

    def returned(self, name: str, output: object) -> Collection[int] | None:
        """Return the ``id`` of what of a layer's output is measured already; ``None`` if no function was seen."""


class LayerHooks(Tapping):
    """Feeds the accumulators from the layers of one model while attached.

    Args:
        model: the module whose plumbing is followed to see what feeds what.
        layers: the layers to watch, by name.
        exact: whole tensors, or a strided sample of each.
        max_taps: calls of layers beyond this many are not measured.
        on_failure: told ``(layer name, error)`` when measuring a layer fails; that layer is then skipped.
        on_unreadable: told ``(kind, what)`` of an output that cannot be measured because it is of such a kind.

    Attributes:
        functions: what is measured of layers and activations that are called as functions.
        in_compiled_call: the model was last called by a function that was given to the compiler.
    """

    def __init__(  # noqa: PLR0913 - what to watch, how much of it, and whom to tell
        self,
        model: nn.Module,
        layers: Mapping[str, nn.Module],
        *,
        exact: bool,
        max_taps: int,
        on_failure: Callable[[str, Exception], None],
        on_unreadable: Callable[[str, str], None],
    ) -> None:
        """Prepare; nothing is attached yet."""
        super().__init__(exact=exact, max_taps=max_taps, on_failure=on_failure)
        self._layers = dict(layers)
        watched = {id(module) for module in self._layers.values()}
        self._plumbing = [
            Attachment(module, Hook(self._pass_on), after=True, first=False)
            for module in model.modules()
            if isinstance(module, PLUMBING) and id(module) not in watched
        ]
        self._attachments: dict[str, Attachment] = {}
        self._on = False
        self._on_unreadable = on_unreadable
        self._fused = FusedNormalisations(self._forward, self.switch_off)
        self._recomputed: Counter[str] = Counter()
        self.functions: Functions | None = None
        self.in_compiled_call = False

    @property
    def attached(self) -> bool:
        """Whether any hook is on the model."""
        return self._on

    @property
    def gave_up(self) -> bool:
        """Whether measuring any layer failed."""
        return bool(self._switched_off)

    def attach(self) -> None:
        """Put a forward hook on every watched layer and on the plumbing between them."""
        self.order = {}
        self._on = True
        for name, module in self._layers.items():
            if name in self._switched_off:
                continue
            try:
                known = self._attachments.get(name)
                if known is None:
                    fused = self._fused.attach(name, module)
                    self._handles += fused
                    if fused:
                        continue
                    hook = Hook(self._forward, name)
                    known = self._attachments[name] = Attachment(module, hook, after=True, first=False)
                known.put_on()
            except Exception as error:  # noqa: BLE001 - a module of the user's may refuse
                self.switch_off(name, error)
        for attachment in self._plumbing:
            attachment.put_on()
        self.begin_batch()

    def detach(self) -> None:
        """Remove every hook from modules and tensors; nothing of this step stays on the model."""
        for attachment in (*self._attachments.values(), *self._plumbing):
            attachment.remove()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._followed.remove()
        self._on = False
        self._origins.clear()
        self._fused.clear()

    def begin_batch(self) -> None:
        """Start a forward: calls are counted from here, so that the k-th call is the same tap in every batch."""
        self._calls.clear()
        self._recomputed.clear()
        self._origins.clear()
        self._fused.clear()
        self._late.clear()
        if self.functions is not None:
            self.functions.begin_batch()
        self._entered.clear()
        # A step of many micro-batches would accumulate the hooks of tensors that are gone.
        self._followed.prune()

    @property
    def by_name(self) -> Mapping[str, nn.Module]:
        """The modules that are watched."""
        return self._layers

    @property
    def layers(self) -> Collection[str]:
        """The names of the modules that are watched."""
        return self._layers.keys()

    def _forward(self, name: str, module: nn.Module, args: tuple[Any, ...], *more: Any) -> None:  # noqa: ANN401 - see below
        if self.paused or name in self._switched_off:
            return
        try:
            kwargs, output = kwargs_and_output(more)
            with_gradients = torch.is_grad_enabled()
            if not (with_gradients or is_training_signal()):
                return
            if not self.order:
                self.in_compiled_call = in_compiled_call()
            with unseen():
                received = first_floating(args, kwargs)
                # What no layer made is the network's input if no operation made it; so are indices (no floating tensor
                # at all). Where gradients are off, this cannot be told.
                data = with_gradients and (received is None or is_given(received))
                done = None if self.functions is None else self.functions.returned(name, output)
                got = Received(received, bare_tensors(received, args, kwargs), None, data)
                self._measure(name, module, got, output, done=done)
        except Exception as error:  # noqa: BLE001 - whatever fails in here must not reach the user's forward
            self.switch_off(name, error)

    def _measure(
        self,
        name: str,
        module: nn.Module,
        got: Received,
        output: object,
        *,
        done: Collection[int] | None,
    ) -> None:
        calls = self._calls
        if graph_task() != OUTSIDE_BACKWARD:
            # Activation checkpointing runs this forward again during backward: what was counted is not counted twice.
            if self._calls[name]:
                self._follow_again(name, output)
                return
            calls = self._recomputed
        if done is None:
            calls[name] += 1
        call = calls[name] - 1
        if got.tensor is not None:
            got.origin = self.find(got.tensor)
        # A module that adds to its input and passes all of it on made only what it added.
        handed_on = set(done or ())
        tensors = list(floating_tensors(output))
        if not isinstance(output, torch.Tensor):
            handed_on.update(id(x) for _, x in tensors if not self._made_in(name, x))
        for path, tensor in tensors:
            if handed_on and id(tensor) in handed_on:
                continue
            what = Call(TapKey(name, call, path), module, name, type(module).__name__)
            tap = self.tap(what, got, tensor)
            if tap is None:
                return
            self.enter(tap)
            self.take(tap, got.tensor, tensor)
        if not tensors and (kind := unreadable(output)):
            self._on_unreadable(kind, f"The output of {name!r}")

    def _made_in(self, name: str, tensor: Tensor) -> bool:
        """Say whether a layer made one of the tensors that it returns, or only passes it on."""
        origin = self._origins.find(tensor)
        if origin is not None and origin.tap is not None and origin.same_values:
            return False
        return self.lineage is None or self.lineage.was_made_in(tensor, name)

    def _follow_again(self, name: str, output: object) -> None:
        """Follow the gradients of what was measured in the first pass of a reentrant checkpoint, in its second."""
        call = self._recomputed[name]
        self._recomputed[name] += 1
        for path, tensor in floating_tensors(output):
            tap = self.taps.get(TapKey(name, call, path))
            if tap is not None and tap.rows in self._late:
                self.follow(tensor, tap.rows, name)

    def _pass_on(self, module: nn.Module, args: tuple[Any, ...], *more: Any) -> None:  # noqa: ANN401 - the same
        try:
            kwargs, output = kwargs_and_output(more)
            with unseen():
                received = first_floating(args, kwargs)
                origin = None if received is None else self._origins.find(received)
                if origin is not None and isinstance(output, torch.Tensor):
                    unchanged = origin.same_values and isinstance(module, SAME_VALUES)
                    self._origins.note(output, origin.rows, origin.tap, same_values=unchanged)
        except Exception as error:  # noqa: BLE001 - following the plumbing is a convenience
            self.switch_off(type(module).__name__, error)
