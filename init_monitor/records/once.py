"""Facts that follow from an object that never changes: worked out when first asked for, kept as long as the object lives.

Rules ask many times for the same facts of one network and of one record; what depends on nothing else is made once.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = "_kept"


class Keeping:
    """An object that keeps what is made of it; neither a copy nor a pickle of it takes that along."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the object without what was made of it."""
        return {name: value for name, value in vars(self).items() if name != _KEPT}


Of = TypeVar("Of", bound=Keeping)
More = ParamSpec("More")
Made = TypeVar("Made")


def once(make: Callable[Concatenate[Of, More], Made]) -> Callable[Concatenate[Of, More], Made]:
    """Have a function's result kept with its first argument, for each combination of the others.

    Args:
        make: depends on its arguments alone; nobody changes what it returns. Arguments after the first are hashable, or keep
            facts themselves: those are told apart by which object they are.
    """

    @wraps(make)
    def kept(of: Of, /, *args: More.args, **kwargs: More.kwargs) -> Made:
        known = vars(of).setdefault(_KEPT, {})
        key = (make, *map(_key, args), *((name, _key(value)) for name, value in kwargs.items()))
        found = known.get(key)
        if found is None:
            # The arguments, too: the identity of one that is gone is given to other objects.
            found = known[key] = (make(of, *args, **kwargs), args, kwargs)
        return found[0]  # type: ignore[no-any-return]

    return kept


def _key(value: object) -> object:
    return id(value) if isinstance(value, Keeping) else value
