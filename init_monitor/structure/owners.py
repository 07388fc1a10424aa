"""Which module holds a parameter, and what a layer that uses it through a function is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.nn.parameter import UninitializedParameter

from init_monitor.structure.fans import is_matrix
from init_monitor.structure.sites import MixingSite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from init_monitor.structure.mixing import Mixing


class _Held(NamedTuple):
    """Where a parameter is: in which module, under which name, next to how many other weights."""

    path: str
    module: nn.Module
    name: str
    weights: int

    @property
    def qualified(self) -> str:
        return f"{self.path}.{self.name}" if self.path else self.name


class Owners:
    """The parameters of a model by identity.

    Args:
        modules: of the model, with their qualified names.
        was_called: says of a module whether it was called in this forward.
    """

    def __init__(self, modules: Sequence[tuple[str, nn.Module]], was_called: Callable[[nn.Module], bool]) -> None:
        self._modules = modules
        self._was_called = was_called
        self._held: dict[int, _Held] = {}

    def forget(self) -> None:
        """Read the parameters again when next asked: parameters are replaced when a model is cast, moved or sharded."""
        self._held = {}

    def site(self, mixing: Mixing, operation: str, caller: str, ordinals: dict[str, int]) -> MixingSite | None:
        """Return the name of a layer that is a function call, ``None`` if the model does not hold its weight.

        It has the name of the weight: of the module that holds it where it is called ``weight``, or is all there is. A module
        that was called, too (an embedding whose weight the head shares), keeps its name for its own call: the function
        is then named by the module that calls it.

        Args:
            mixing: the call.
            operation: name of the function.
            caller: path of the module whose forward calls it.
            ordinals: how many there are of each name so far; incremented where a number is needed.
        """
        held = self._find(mixing.parameter)
        if held is None:
            return None
        if held.path != caller and self._was_called(held.module):
            key = f"{caller}/{operation}"
            ordinals[key] = ordinals.get(key, 0) + 1
            name = f"{key}#{ordinals[key]}"
        elif held.weights == 1 and not any(True for _ in held.module.children()):
            name = held.path
        else:
            name = held.qualified.removesuffix(".weight")
        bias = self._find(mixing.bias)
        own = (held, bias) if bias is not None else (held,)
        return MixingSite(
            name=name,
            owner=held.path,
            caller=caller,
            kind=type(held.module).__name__,
            weight=held.qualified if mixing.exact else "",
            bias="" if bias is None else bias.qualified,
            parameters=self._all_of(held) if held.weights == 1 else tuple(one.qualified for one in own),
            fans=mixing.fans,
            channels_first=mixing.channels_first,
        )

    def place_of(self, parameter: int) -> tuple[str, str] | None:
        """Return the path of the module that holds a parameter, and its qualified name; ``None`` if none does."""
        held = self._find(parameter)
        return None if held is None else (held.path, held.qualified)

    def _find(self, parameter: int) -> _Held | None:
        if not self._held:
            for path, module in self._modules:
                own = [(name, p) for name, p in module._parameters.items() if p is not None]  # noqa: SLF001 - tied ones, too
                count = sum(not isinstance(p, UninitializedParameter) and is_matrix(p.shape) for _, p in own)
                for name, p in own:
                    self._held.setdefault(id(p), _Held(path, module, name, count))
        return self._held.get(parameter)

    def _all_of(self, held: _Held) -> tuple[str, ...]:
        prefix = f"{held.path}." if held.path else ""
        return tuple(f"{prefix}{name}" for name, p in held.module._parameters.items() if p is not None)  # noqa: SLF001
