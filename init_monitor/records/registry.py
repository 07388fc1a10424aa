"""Quantities from outside the package, and every quantity in one list."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from init_monitor.records.quantities import Quantity, added
from init_monitor.records.tags import FINDINGS_TAG, LAYOUT_TAG, LOSSES_TAG, WIDTHS_TAG, vector_tag

if TYPE_CHECKING:
    from init_monitor.records.facts import Facts, Of, Page, Stream

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BUILT_IN = {quantity.value: quantity for quantity in Quantity}
_TAKEN = {LAYOUT_TAG, FINDINGS_TAG, LOSSES_TAG, WIDTHS_TAG}


def register(name: str, facts: Facts) -> Quantity:
    """Add a quantity and return it; from then on it is shown wherever ``facts`` says.

    It is made from others when a record is made (``facts.derive``), so register it before the training starts. Registering
    a name again replaces what was known of it: a notebook cell can be run twice.

    >>> import numpy as np
    >>> from init_monitor.records import Facts, Of
    >>> spread = Facts(
    ...     of=Of.LAYER,
    ...     title="Spread",
    ...     means="standard deviation over the largest magnitude",
    ...     derive=lambda column: np.sqrt(column("variance")) / column("abs_max"),
    ... )
    >>> register("spread", spread) is Quantity("spread")
    True
    >>> unregister("spread")

    Raises:
        ValueError: the name is no column name, or belongs to a quantity of the package.
    """
    if not _NAME.fullmatch(name):
        message = f"a quantity is called {name!r}, expected lower-case letters, digits and _, beginning with a letter"
        raise ValueError(message)
    if name in _BUILT_IN or vector_tag(name) in _TAKEN:
        message = f"the name {name!r} is taken by init_monitor itself; choose another for your quantity"
        raise ValueError(message)
    member = added.get(name)
    if member is None:
        member = added[name] = described(name, facts)
    member.facts = facts
    quantities.cache_clear()
    vectors.cache_clear()
    return member


def unregister(name: str) -> None:
    """Take a registered quantity out again; one that is not there is left alone."""
    added.pop(name, None)
    quantities.cache_clear()
    vectors.cache_clear()


def described(name: str, facts: Facts) -> Quantity:
    """Return a quantity that is in no list: what a stored run says of one that is not registered here."""
    member = str.__new__(Quantity, name)
    member._name_ = name.upper()
    member._value_ = name
    member.facts = facts
    return member


@cache
def quantities(of: Of | None = None) -> tuple[Quantity, ...]:
    """Return every quantity, those of the package first; only those ``of`` one thing, if it is given."""
    every = (*Quantity, *added.values())
    return every if of is None else tuple(quantity for quantity in every if quantity.facts.of is of)


@cache
def vectors(of: Of | None = None) -> tuple[Quantity, ...]:
    """Return the quantities that go to TensorBoard, one float32 vector each per sampled step."""
    return tuple(quantity for quantity in quantities(of) if quantity.facts.in_events)


def registered() -> tuple[Quantity, ...]:
    """Return the quantities from outside the package."""
    return tuple(added.values())


def on_page(page: Page) -> tuple[Quantity, ...]:
    """Return the quantities that a page of the tab shows."""
    return tuple(quantity for quantity in quantities() if page in quantity.facts.pages)


def is_registered(quantity: Quantity) -> bool:
    """Say whether a quantity comes from outside the package."""
    return quantity.value not in _BUILT_IN


def moments(stream: Stream) -> dict[str, Quantity]:
    """Return the quantities that are plain moments of one tensor, by moment: ``{"mean": Quantity.INPUT_MEAN, …}``."""
    return {one.facts.moment: one for one in Quantity if one.facts.stream is stream}
