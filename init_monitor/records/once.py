"""Facts derived from an object that does not change: computed when first needed, kept as long as the object lives or stays as it is.

Rules ask many times for the same facts of one network and of one record; what depends on nothing else is made once.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = "_kept"


class Keeping:
    """An object that caches what is derived from it; copies and pickles do not carry the cache along."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the cache."""
        return {name: value for name, value in vars(self).items() if name != _KEPT}

    def forget(self) -> None:
        """Drop the cache: the object has changed."""
        vars(self).pop(_KEPT, None)


Of = TypeVar("Of", bound=Keeping)
More = ParamSpec("More")
Made = TypeVar("Made")


def once(make: Callable[Concatenate[Of, More], Made]) -> Callable[Concatenate[Of, More], Made]:
    """Cache a function's result on its first argument, for each combination of the others.

    Args:
        make: depends on its arguments alone; nobody changes what it returns. Arguments after the first are hashable, or keep
            facts themselves: those are told apart by which object they are.
    """

    @wraps(make)
    def kept(of: Of, /, *args: More.args, **kwargs: More.kwargs) -> Made:
        known = of.__dict__.get(_KEPT)
        if known is None:
            known = of.__dict__[_KEPT] = {}
        key: object = make
        if args or kwargs:
            key = (make, *map(_key, args), *((name, _key(value)) for name, value in kwargs.items()))
        found = known.get(key)
        if found is None:
            # The arguments are kept as well: Python reuses the id of an object that is gone.
            found = known[key] = (make(of, *args, **kwargs), args, kwargs)
        return found[0]

    return kept


def _key(value: object) -> object:
    return id(value) if isinstance(value, Keeping) else value
