"""A hook that stays with the model it was put on: copies and pickles of the model do not measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


def _inert(*_args: object, **_kwargs: object) -> None:
    """Stand in for a hook on a copy of the model (an EMA, a pickled module): copies are not watched."""


def _make_inert() -> Callable[..., None]:
    return _inert


class Hook:
    """A forward hook or forward pre-hook, with keyword arguments, that does nothing on a copy or in a pickle.

    Args:
        call: called as ``call(name, module, args, kwargs, output)``; the output is ``None`` before the forward.
        name: of the layer that it is about.
    """

    __slots__ = ("_call", "_name")

    def __init__(self, call: Callable[..., None], name: str) -> None:
        self._call, self._name = call, name

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object = None) -> None:
        """Pass on what torch tells."""
        self._call(self._name, module, args, kwargs, output)

    def __deepcopy__(self, memo: dict[int, object]) -> Callable[..., None]:
        return _inert

    def __copy__(self) -> Callable[..., None]:
        return _inert

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _make_inert, ()
