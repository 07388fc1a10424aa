"""Looks between the sampled steps, only at the signs of rectifiers, and only while too few positions per unit were seen.

With the default schedule a batch of 16 shows each unit 16 positions per sampled step, and a share of dead units takes about a
thousand. So the layers whose output a rectifier received are looked at on further steps: one operation per rectifier (the
smallest and the largest value of each unit), no copy to the host before the next sampled step, which makes one anyway. First every
step, until there is enough for a verdict; then as rarely as still gives this many within :data:`SPAN` steps.

With several processes nothing is looked at: each would see only its own batches, while records are about all of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from init_monitor.capture.tensors import local
from init_monitor.torch_compat import Hook, in_backward, is_training_signal, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from init_monitor.capture.taps import Tap, TapKey
    from init_monitor.capture.unit_window import UnitWindow

ENOUGH = 1000
"""Positions per unit from which a share of dead units is reported (:data:`init_monitor.analysis.rectifiers.LEAST_SAMPLES`)."""

SPAN = 500
"""Optimizer steps within which as many positions are to be seen again, later on. For a batch of 16 that is one step in eight,
so that looking, about 70 µs per rectifier, soon becomes rare. What the schedule alone shows is left to it."""


@dataclass(slots=True)
class _Watched:
    """A rectifier with too few positions, and what was seen of it since the last sampled step.

    Attributes:
        tap: of the rectifier.
        seen: positions per unit that its window holds, and those looked at since.
        looks: per look the largest and the smallest value of each unit, ``[U]`` each, and the positions.
    """

    tap: Tap
    seen: int
    looks: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)


class SignLooks:
    """Looks at the signs of some rectifiers on steps that are not sampled.

    Args:
        every_n_steps: of the schedule.
        longest: looks that are kept between two sampled steps.
        paused: says whether forwards are ignored at present.
        on_failure: told ``(layer name, error)`` when looking at a layer failed; it is then left alone.
    """

    def __init__(
        self,
        every_n_steps: int,
        longest: int,
        paused: Callable[[], bool],
        on_failure: Callable[[str, Exception], None],
    ) -> None:
        """Start with nothing to look at."""
        self._every = every_n_steps
        self._span = max(SPAN, 4 * every_n_steps)
        self._longest = longest
        self._paused = paused
        self._on_failure = on_failure
        self._watched: dict[TapKey, _Watched] = {}
        self._modules: dict[str, tuple[nn.Module, dict[int, _Watched]]] = {}
        self._off: set[str] = set()
        self._handles: list[RemovableHandle] = []
        self._calls: Counter[str] = Counter()
        self._period, self._next = 1, 0

    @property
    def attached(self) -> bool:
        """Whether a look is under way."""
        return bool(self._handles)

    def choose(
        self,
        order: Iterable[Tap],
        windows: Mapping[TapKey, UnitWindow],
        step: int,
        is_compiled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Choose the rectifiers to look at after a sampled step.

        Args:
            order: the taps of the step.
            windows: what is known of their units.
            step: the step.
            is_compiled: says whether the model is, or the step around it: each look would leave its graphs. Asked if needed.
        """
        self._watched, self._modules, self._period = {}, {}, self._span
        for tap in order:
            window = windows.get(tap.key)
            place = None if window is None else _place_of(tap)
            if window is None or place is None or place.key.layer in self._off or not window.latest:
                continue
            watched = _Watched(tap, window.positions)
            scheduled = window.latest * self._span // self._every
            if min(watched.seen, scheduled) >= ENOUGH or place.module is None:
                continue
            self._period = min(self._period, max(1, window.latest * self._span // ENOUGH))
            self._watched[tap.key] = watched
            self._modules.setdefault(place.key.layer, (place.module, {}))[1][place.key.call] = watched
        if self._watched and is_compiled():
            self._watched, self._modules = {}, {}
        self._plan(step)

    def wanted(self, step: int) -> bool:
        """Say whether a step that is not sampled is to be looked at."""
        return bool(self._modules) and step >= self._next

    def begin_batch(self) -> None:
        """Start a forward of a step that is looked at."""
        self._calls.clear()
        if not self._handles:
            self._handles = [
                module.register_forward_hook(Hook(self._look, name)) for name, (module, _) in self._modules.items()
            ]

    def end_step(self, step: int) -> None:
        """End a step that was looked at."""
        self.detach()
        self._plan(step)

    def detach(self) -> None:
        """Leave nothing on the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def flags(self, device: torch.device) -> Tensor | None:
        """Return which units saw a positive and which a non-positive value, in every look on a device; ``None`` without any."""
        looks = [look for one in self._on(device) for look in one.looks]
        if not looks:
            return None
        highs, lows = torch.cat([high for high, _, _ in looks]), torch.cat([low for _, low, _ in looks])
        # A NaN proves neither dead nor all positive: it counts as having seen both signs.
        return torch.cat(((highs <= 0).logical_not_(), (lows > 0).logical_not_()))

    def add_to(self, windows: Mapping[TapKey, UnitWindow], device: torch.device, flags: NDArray[np.bool_]) -> None:
        """Add the looks on a device to the windows, given their :meth:`flags` on the host, and forget them."""
        positive, nonpositive = np.split(flags, 2)
        at = 0
        for one in self._on(device):
            for high, _, positions in one.looks:
                units = slice(at, at + high.numel())
                windows[one.tap.key].add(positive[units], nonpositive[units], positions)
                at += high.numel()
            one.looks = []

    def _on(self, device: torch.device) -> list[_Watched]:
        return [one for one in self._watched.values() if one.tap.rows.accumulator.device == device]

    def _plan(self, step: int) -> None:
        few = any(one.seen < ENOUGH for one in self._watched.values())
        full = any(len(one.looks) >= self._longest for one in self._watched.values())
        self._next = step + (self._every if full else 1 if few else self._period)

    def _look(self, name: str, module: nn.Module, args: object, output: Any) -> None:  # noqa: ANN401 - what a module returns
        del module, args
        if self._paused() or in_backward() or not is_training_signal():
            return
        call = self._calls[name]
        self._calls[name] += 1
        try:
            watched = self._modules[name][1].get(call)
            if watched is not None and isinstance(output, torch.Tensor):
                with unseen():
                    self._take(watched, local(output.detach()))
        except Exception as error:  # noqa: BLE001 - must not reach the user's forward
            self._off.add(name)
            self._modules.pop(name, None)
            self._on_failure(name, error)

    @staticmethod
    def _take(watched: _Watched, x: Tensor) -> None:
        layout = watched.tap.layout
        device = watched.tap.rows.accumulator.device
        if layout is None or x.dim() <= max(layout) or not x.numel() or x.device != device:
            return
        units = x.movedim(layout.unit, -1).reshape(-1, x.shape[layout.unit])
        low, high = torch.aminmax(units, dim=0)
        watched.looks.append((high, low, units.shape[0]))
        watched.seen += units.shape[0]


def _place_of(tap: Tap) -> Tap | None:
    """Return the tap of the module call whose output has a rectifier's signs: its own, or that of the layer it received."""
    if tap.module is not None:
        place: Tap | None = tap
    else:
        unchanged = tap.source_is_layer and tap.direct is not None and tap.source == tap.direct.rows
        place = tap.direct if unchanged else None
    return place if place is not None and place.module is not None and not place.key.path else None
