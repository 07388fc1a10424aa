"""The taps of one model: made at their first appearance, read at each, and tied to what they received."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.hooks import unserializable_hook

from init_monitor.capture.accumulator import accumulator_of
from init_monitor.capture.taps import Origins, Rows, Tap, TapKey
from init_monitor.capture.tensors import name_of
from init_monitor.measures import MOMENTS_ONLY, Reduction
from init_monitor.records import Role
from init_monitor.structure.fans import fans_of
from init_monitor.structure.layers import layout_of, layout_of_function, normalises_one_value, role_of, runs_on
from init_monitor.structure.nonlinearities import nonlinearity_of, nonlinearity_of_function
from init_monitor.torch_compat import Following, is_training_signal, is_unseen, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.taps import Origin
    from init_monitor.structure.probe import Probe
    from init_monitor.structure.sites import MixingSite


class Call(NamedTuple):
    """What was called: a layer, or (without a module) a function in its owner's forward.

    Attributes:
        key: of the tap.
        module: the layer.
        owner: its path; of a function, the path of the module that it belongs to.
        kind: class name of the module, or name of the function.
        site: what a function that mixes with a weight uses; ``None`` for an activation.
    """

    key: TapKey
    module: nn.Module | None
    owner: str
    kind: str
    site: MixingSite | None = None


@dataclass(slots=True)
class Received:
    """What a call got.

    Attributes:
        tensor: the first floating tensor, which the layer works on; ``None`` if there is none.
        asked: the tensors whose origin is looked up, that one first; empty if none was passed as such.
        origin: where ``tensor`` was measured, if it was.
        data: treat it as the network's input where nothing is known.
    """

    tensor: Tensor | None
    asked: Sequence[Tensor]
    origin: Origin | None
    data: bool = False


class Tapping:
    """Measures the tensors that it is shown, each as the output of some call.

    Args:
        exact: whole tensors, or a strided sample of each.
        max_taps: calls of layers beyond this many are not measured.
        on_failure: told ``(layer name, error)`` when measuring a layer fails; that layer is then skipped.

    Attributes:
        accumulators: by device.
        taps: everything that was ever measured.
        order: what was measured in this step, in execution order.
        dropped_calls: calls that were not measured because there are ``max_taps`` taps.
        failed: measuring a layer failed.
        on_drop: told the positions of taps that turned out not to belong to the network.
        paused: forwards are ignored.
        lineage: knows where tensors come from, while a forward runs; ``None`` if nothing does.
    """

    def __init__(self, *, exact: bool, max_taps: int, on_failure: Callable[[str, Exception], None]) -> None:
        """Prepare; nothing is measured yet."""
        self._exact = exact
        self._max_taps = max_taps
        self._on_failure = on_failure
        self._handles: list[RemovableHandle] = []
        self._followed = Following()
        self._origins = Origins()
        self._calls: Counter[str] = Counter()
        self._switched_off: set[str] = set()
        self._late: set[Rows] = set()
        self._followers: dict[tuple[Rows, str], Callable[[Tensor], None]] = {}
        self.accumulators: dict[torch.device, Accumulator] = {}
        self.taps: dict[TapKey, Tap] = {}
        self.order: dict[TapKey, Tap] = {}
        self.dropped_calls = 0
        self.failed = False
        self.on_drop: Callable[[Sequence[int]], None] = lambda _: None
        self.paused = False
        self._entered: list[TapKey] = []
        self.lineage: Probe | None = None

    def accumulator(self, device: torch.device) -> Accumulator:
        """Return the accumulator of a device, made when the device is first seen."""
        found = self.accumulators.get(device)
        if found is None:
            found = self.accumulators[device] = accumulator_of(device, exact=self._exact)
        return found

    def rows_of(self, tensor: Tensor) -> Rows | None:
        """Return the rows of a tensor that was measured in this forward and not changed since."""
        origin = self.find(tensor)
        return origin.rows if origin is not None and origin.same_values else None

    def remember(self, tensor: Tensor, rows: Rows) -> None:
        """Note that a tensor that no layer made was measured, so that it is not measured again."""
        self._origins.note(tensor, rows)

    def follow(self, tensor: Tensor, rows: Rows, layer: str) -> None:
        """Add the gradient of a tensor to its row when backward reaches it, on behalf of a layer."""
        if tensor.requires_grad:
            if self._late:
                self._late.discard(rows)
            hook = self._followers.get((rows, layer))
            if hook is None:
                hook = self._followers[rows, layer] = unserializable_hook(self._follower(rows, layer))
            self._followed.add(tensor, hook)
        elif not torch.is_grad_enabled():
            # Inside a reentrant checkpoint: what has a gradient is what comes out of it, or its second run.
            self._late.add(rows)

    def _follower(self, rows: Rows, layer: str) -> Callable[[Tensor], None]:
        """Return what takes a gradient to its row. One for all steps: garbage collections have so much less to look at."""
        accumulator, row = rows.accumulator, rows.backward

        def hook(gradient: Tensor) -> None:
            # With gradients enabled this backward builds a graph of its own (a gradient penalty): its gradients are a
            # term of the loss, not the gradient of the loss.
            if torch.is_grad_enabled() or layer in self._switched_off:
                return
            try:
                if type(gradient) is torch.Tensor and is_unseen():
                    accumulator.take(row, gradient, gradient=True)
                    return
                with unseen():
                    accumulator.take(row, gradient, gradient=True)
            except Exception as error:  # noqa: BLE001 - must not reach the user's backward
                self.switch_off(layer, error)

        return hook

    def watches(self, name: str) -> bool:
        """Say whether a tap of that name is to be measured now."""
        return not self.paused and name not in self._switched_off and is_training_signal()

    def ignore(self, names: Collection[str]) -> None:
        """Stop measuring layers of these names, and forget what was measured of them in this step."""
        self._switched_off.update(names)
        self.drop(names)

    def drop(self, names: Collection[str]) -> None:
        """Forget what was measured of layers of these names in this step."""
        for key in [key for key in self.order if key.layer in names]:
            del self.order[key]
        places = [place for place, key in enumerate(self._entered) if key.layer in names]
        if places:
            self._entered = [key for key in self._entered if key.layer not in names]
            self.on_drop(places)

    def find(self, tensor: Tensor) -> Origin | None:
        """Return where a tensor came from; if it came out of a reentrant checkpoint, it requires a gradient by now."""
        origin = self._origins.find(tensor)
        if (
            self._late
            and origin is not None
            and origin.rows in self._late
            and origin.same_values
            and tensor.requires_grad
        ):
            self.follow(tensor, origin.rows, "" if origin.tap is None else origin.tap.key.layer)
        return origin

    def switch_off(self, name: str, error: Exception) -> None:
        """Skip a layer from now on, and report why."""
        if name not in self._switched_off:
            self._switched_off.add(name)
            self.failed = True
            self._on_failure(name, error)

    def rename(self, tap: Tap, path: str) -> None:
        """Set which tensor of its layer's output a tap turned out to be."""
        old, tap.key = tap.key, tap.key._replace(path=path)
        for known in (self.taps, self.order):
            renamed = {tap.key if key == old else key: one for key, one in known.items()}
            known.clear()
            known.update(renamed)
        self._entered = [tap.key if key == old else key for key in self._entered]

    def enter(self, tap: Tap) -> None:
        """Add a tap at its position in the execution order."""
        self.order[tap.key] = tap
        self._entered.append(tap.key)

    @property
    def position(self) -> int:
        """How many taps this forward has had so far."""
        return len(self._entered)

    def take(self, tap: Tap, received: Tensor | None, output: Tensor) -> None:
        """Measure what a tap received and made, follow its gradient, and remember the output as the tap's own."""
        self.read(tap, received, output)
        self.follow(output, tap.rows, tap.key.layer)
        self.made(tap, output)

    def read(self, tap: Tap, received: Tensor | None, output: Tensor) -> None:
        """Measure what a tap received and made."""
        accumulator = tap.rows.accumulator
        if tap.reduction.layout != tap.layout:
            tap.reduction = tap.reduction._replace(layout=tap.layout)
        accumulator.take(tap.rows.forward, output, tap.reduction)
        needs_input = tap.role is Role.WEIGHT and tap.source is None and received is not output
        if needs_input and received is not None and received.device == accumulator.device:
            if tap.arrived < 0:
                tap.arrived = accumulator.new_row()
            accumulator.take(tap.arrived, received, MOMENTS_ONLY)

    def made(self, tap: Tap, output: Tensor) -> None:
        """Remember that a tap made a tensor."""
        self._origins.note(output, tap.rows, tap)
        if self.lineage is not None:
            self.lineage.made(output, tap)

    def tap(self, what: Call, got: Received, output: Tensor) -> Tap | None:
        """Return the tap of a call, as this call has it; ``None`` if there are too many already."""
        tap = self.taps.get(what.key)
        if tap is None or tap.rows.accumulator.device != output.device:
            if len(self.taps) >= self._max_taps:
                self.dropped_calls += 1
                return None
            accumulator = self.accumulator(output.device)
            rows = Rows(accumulator, accumulator.new_row(), accumulator.new_row())
            tap = self.taps[what.key] = new_tap(what, rows)
            if tap.nonlinearity is not None and tap.nonlinearity.distribution and output.dim():
                dim = getattr(what.module, "dim", None)
                tap.per_distribution = output.shape[-1 if dim is None else dim]
        origin = got.origin
        upstream = None if origin is None or origin.tap is None else origin.tap.layout
        tap.source, tap.source_is_layer = None, False
        if origin is not None and origin.same_values:
            tap.source, tap.source_is_layer = origin.rows, origin.tap is not None
        self._connect(tap, got, output)
        if tap.laid_out_for != (output.dim(), upstream):
            tap.laid_out_for = output.dim(), upstream
            if what.module is None:
                tap.layout = layout_of_function(what.site, output, upstream)
            else:
                tap.layout = layout_of(what.module, output, upstream, what.key.path)
        if tap.role is Role.NORMALISATION:
            tap.one_value, tap.running = normalises_one_value(what.module, output), runs_on(what.module)
        tap.dtype = name_of(output.dtype)
        return tap

    def _connect(self, tap: Tap, got: Received, output: Tensor) -> None:
        """Note what a tap received comes from."""
        if tap.key not in self.order:
            tap.takes_input = tap.takes_own = False
            tap.feeds.clear()
        measured = None if got.origin is None else got.origin.tap
        origins = None if self.lineage is None else self.lineage.origins(got.asked, output)
        if origins is None:
            tap.direct = measured
            feeds: list[Tap] = [] if measured is None else [measured]
            tap.takes_input |= got.data and got.origin is None
        else:
            tap.direct = measured or (origins.direct if isinstance(origins.direct, Tap) else None)
            feeds = [maker for maker in origins.makers if isinstance(maker, Tap)]
            tap.takes_input |= origins.data
            tap.takes_own |= origins.own
            tap.products = origins.products
        for one in feeds:
            if one is not tap and one not in tap.feeds:
                tap.feeds.append(one)

    def count_call(self, name: str) -> int:
        """Return which call of a layer begins, from 0, and count it."""
        call = self._calls[name]
        self._calls[name] += 1
        return call


def new_tap(what: Call, rows: Rows) -> Tap:
    """Return the tap of a call that was not met before, whose numbers go to ``rows``."""
    module = what.module
    nonlinearity = nonlinearity_of_function(what.kind) if module is None else nonlinearity_of(module)
    role = Role.ACTIVATION if module is None else role_of(module) or Role.OTHER
    if what.site is not None:
        nonlinearity, role = None, Role.WEIGHT
    tap = Tap(
        key=what.key,
        module=module,
        owner=what.owner,
        kind=what.kind,
        role=role,
        nonlinearity=nonlinearity,
        rows=rows,
        own=what.site,
        fans=fans_of(module) if what.site is None else what.site.fans,
    )
    if nonlinearity is not None:
        tap.reduction = Reduction(rectifier=nonlinearity.rectifier, knee=nonlinearity.knee)
    return tap
