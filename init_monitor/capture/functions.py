"""Layers and activations that are called as functions: the probe sees the call, the hooks measure it like a module's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from init_monitor.capture.tapping import Call, Received
from init_monitor.capture.taps import Tap, TapKey
from init_monitor.capture.tensors import floating_tensors
from init_monitor.structure.layers import layout_of_function
from init_monitor.structure.provenance import version_of
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.structure.probe import Probe
    from init_monitor.structure.sites import ActivationSite, MixingSite


class _Waiting(NamedTuple):
    """A layer whose function has run and whose module has not returned yet.

    Attributes:
        tap: its tap.
        received: its input.
        made: what the function made; a copy while it is not known whether that will be overwritten.
        version: of what it made, to see whether it was.
        value: what stands for what it made.
        copied: ``made`` is a copy, and the gradient is followed already.
    """

    tap: Tap
    received: Tensor | None
    made: Tensor
    version: int
    value: object
    copied: bool


class FunctionCalls:
    """Measures functions on behalf of the modules that call them.

    A module that is watched as a whole, and that mixes with one weight of its own, is measured when it returns, if it
    returns what the function made; if it goes on through an activation, what counts is what it made before that.

    Args:
        hooks: they measure.
        lineage: knows where tensors come from.
    """

    def __init__(self, hooks: LayerHooks, lineage: Probe) -> None:
        """Start with no call seen."""
        self._hooks = hooks
        self._lineage = lineage
        self._waiting: dict[str, _Waiting] = {}
        self._returns: set[str] = set()
        self._goes_on: set[str] = set()
        self._taken: set[str] = set()
        self._paths: dict[str, str] = {}
        self._outside: dict[str, Tap] = {}
        self._losses: set[str] = set()

    def begin_batch(self) -> None:
        """Start a forward."""
        self._waiting.clear()
        self._taken.clear()
        self._outside.clear()

    def activation(self, name: str, site: ActivationSite, given: Tensor | None, output: Tensor) -> None:
        """Measure an activation; it is a layer of its own.

        Args:
            name: stable name of the call.
            site: what it is.
            given: its input, ``None`` if it was overwritten.
            output: its output.
        """
        hooks = self._hooks
        if self.is_loss(site.owner) or not hooks.watches(name):
            return
        try:
            with unseen():
                # In place, the output is the same tensor as the input.
                origin = hooks.find(output if given is None else given)
                got = Received(given, (), origin)
                tap = hooks.tap(Call(TapKey(name, 0, ""), None, site.owner, site.kind), got, output)
                if tap is None:
                    return
                if site.outside:
                    self._outside[name] = tap
                hooks.enter(tap)
                hooks.take(tap, None, output)
        except Exception as error:  # noqa: BLE001 - must not reach the user's forward
            hooks.switch_off(name, error)

    def mixing(self, site: MixingSite, given: Tensor, output: Tensor) -> None:
        """Measure a function that mixes its input with a weight: a layer.

        Args:
            site: what it is.
            given: its input, or the numbers of the rows of a table.
            output: its output, before any activation.
        """
        hooks, name = self._hooks, site.name
        whole = name in hooks.layers and site.caller == site.owner
        if self.is_loss(site.caller) or not hooks.watches(name) or (whole and name in self._waiting):
            return
        try:
            with unseen():
                received = given if given.is_floating_point() else None
                got = Received(received, (given,), None if received is None else hooks.find(received))
                key = TapKey(name, hooks.count_call(name), self._paths.get(name, ""))
                tap = hooks.tap(Call(key, None, site.owner, site.kind, site), got, output)
                if tap is None:
                    return
                hooks.enter(tap)
                if whole and name not in self._goes_on:
                    self._wait(tap, received, output)
                    return
                hooks.take(tap, received, output)
                if whole:
                    self._taken.add(name)
        except Exception as error:  # noqa: BLE001 - the same
            hooks.switch_off(name, error)

    def _wait(self, tap: Tap, received: Tensor | None, output: Tensor) -> None:
        """Wait for the module's return to decide what is measured."""
        name = tap.key.layer
        first = name not in self._returns
        self._hooks.made(tap, output)
        value, version = self._lineage.value(output), version_of(output)
        if first:
            self._hooks.follow(output, tap.rows, name)
        made = output.detach().clone() if first else output
        self._waiting[name] = _Waiting(tap, received, made, version, value, first)

    def returned(self, name: str, output: object) -> Collection[int] | None:
        """Measure a layer that returns by what its function made.

        Args:
            name: of the layer.
            output: what it returns.

        Returns:
            The ``id`` of what of the output is measured by that; ``None`` if no function was seen.
        """
        if not self._waiting and not self._taken:
            return None
        waiting = self._waiting.pop(name, None)
        bare = isinstance(output, Tensor)
        if waiting is None:
            if name not in self._taken:
                return None
            self._taken.discard(name)
            return {id(output)} if bare else set()
        tap, hooks = waiting.tap, self._hooks
        try:
            tensors = list(floating_tensors(output))
        except Exception:
            hooks.drop({name})  # nothing of it was read yet
            raise
        for path, tensor in tensors:
            if self._lineage.is_value(tensor, waiting.value):
                self._returns.add(name)
                if path != tap.key.path:
                    self._paths[name] = path
                    hooks.rename(tap, path)
                tap.layout, tap.laid_out_for = layout_of_function(tap.own, tensor, tap.layout), None
                self._read(waiting, tensor)
                return {id(tensor)}
        self._goes_on.add(name)
        if waiting.copied or version_of(waiting.made) == waiting.version:
            self._read(waiting, waiting.made)
        else:
            for _, tensor in tensors if bare else ():
                self._read(waiting, tensor)
        return {id(output)} if bare else set()

    def _read(self, waiting: _Waiting, output: Tensor) -> None:
        self._hooks.read(waiting.tap, waiting.received, output)
        if not waiting.copied:
            self._hooks.follow(output, waiting.tap.rows, waiting.tap.key.layer)
        if output is not waiting.made:
            self._hooks.made(waiting.tap, output)

    def loss(self, path: str) -> None:
        """Leave out, from now on, whatever is computed in a module that turned out to be a loss."""
        self._losses.add(path)
        names = {key.layer for key, tap in self._hooks.taps.items() if self._is_within(tap.owner, path)}
        self._hooks.ignore(names.union(name for name in self._hooks.layers if self._is_within(name, path)))

    def is_loss(self, owner: str) -> bool:
        """Say whether a module is a loss, or inside of one."""
        return bool(self._losses) and any(self._is_within(owner, path) for path in self._losses)

    def end_forward(self, reduced: Collection[object], shared: Collection[object], ending: Iterable[str]) -> None:
        """Leave out the activations that belong to sampling, likelihoods, losses and metrics.

        Of those that no module called, or that end in a loss, an activation is the network's if a layer reads what it
        made, or if it is the last step after a layer; not if it is averaged into a number at
        once, or if the layer's output is used elsewhere as well.

        Args:
            reduced: what stands for the layers whose output was reduced to a single number.
            shared: what stands for the layers whose output several functions read.
            ending: names of the activations that modules called, and from which only a loss was computed.
        """
        taps = {key.layer: tap for key, tap in self._hooks.order.items()}
        last = {name: taps[name] for name in ending if name in taps} | self._outside
        read = {one.key for tap in self._hooks.order.values() for one in tap.feeds}
        dropped = {
            name
            for name, tap in last.items()
            if tap.key not in read
            and (tap.source is None or not tap.source_is_layer or tap in reduced or tap.direct in shared)
        }
        if dropped:
            self._hooks.ignore(dropped)

    @staticmethod
    def _is_within(owner: str, path: str) -> bool:
        return owner == path or owner.startswith(f"{path}.")
