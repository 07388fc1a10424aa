"""How residual additions follow one another, and what happens to each sum on its way to the next or to the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.structure.nodes import Kind, Node

if TYPE_CHECKING:
    from init_monitor.structure.sites import ResidualSite

_PASSING = frozenset({Kind.CARRY, Kind.SLICE, Kind.ACTIVATION})


class Streams:
    """The residual additions of one forward, each tied to the one before it in its stream."""

    def __init__(self) -> None:
        self._sites: list[ResidualSite] = []
        self._followed: set[int] = set()
        self._multiples: dict[Node, tuple[int, float | None]] = {}
        self._uses: dict[int, set[float | None]] = {}

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._sites)

    def sites(self) -> tuple[ResidualSite, ...]:
        """Return them in execution order, as known by now.

        Where no addition follows, the sum has the factor that all its readers apply to it:
        ``(x + F(x)) / sqrt(2)`` before the head is scaled like the sums before it.
        """
        found = list(self._sites)
        for number, factors in self._uses.items():
            factor = next(iter(factors)) if len(factors) == 1 else None
            if number not in self._followed and factor:
                found[number] = found[number]._replace(sum_scale=factor)
        return tuple(found)

    def close(self) -> None:
        """Let go of the values of a forward that is over; the additions are known for good."""
        self._sites = list(self.sites())
        self._multiples, self._uses, self._followed = {}, {}, set()

    def name_of(self, node: Node) -> str:
        """Return the name of the addition that made a value."""
        return self._sites[node.site].name

    def is_projection(self, node: Node) -> bool:
        """Say whether the addition that made a value was found to be a projection block's."""
        return self._sites[node.site].kind == "projection"

    def add(self, site: ResidualSite, node: Node, inner: tuple[int, ...]) -> None:
        """Take in an addition.

        Args:
            site: it, with what it follows.
            node: the sum; its number is noted there.
            inner: numbers of the additions inside its branch.
        """
        node.site = len(self._sites)
        self._sites.append(site)
        for number in inner:
            self._sites[number] = self._sites[number]._replace(nested=True)
        self._multiples[node] = (node.site, 1.0)

    def repeated(self, node: Node) -> None:
        """Note that a value is the sum of an addition, with a skip that it holds already added once more."""
        at: Node | None = node
        while at is not None and at.kind is not Kind.RESIDUAL:
            at = at.main
        if at is not None:
            self._sites[at.site] = self._sites[at.site]._replace(again=True)

    def used(self, node: Node) -> None:
        """Note what a new value does with the sums that it is made from."""
        for parent in node.parents:
            multiple = self._multiples.get(parent)
            if multiple is None:
                continue
            number, factor = multiple
            if node.main is parent and node.kind is Kind.CARRY:
                self._multiples[node] = multiple
            elif node.main is parent and node.kind is Kind.SCALE:
                known = factor is not None and node.factor is not None
                self._multiples[node] = number, factor * node.factor if known else None  # type: ignore[operator]
            else:
                self._uses.setdefault(number, set()).add(factor)

    def followed(self, skip: Node, skip_scale: float | None) -> str:
        """Return the name of the addition that a skip comes from, and note there what happened to its sum in between.

        Args:
            skip: of an addition that is about to be added.
            skip_scale: the number it was multiplied by, ``None`` if it was a tensor.

        Returns:
            The name; empty if the skip is the sum of no addition.
        """
        factor: float | None = 1.0
        normalised = False
        node: Node | None = skip
        while node is not None and node.kind is not Kind.RESIDUAL:
            if node.kind is Kind.SCALE:
                factor = None if factor is None or node.factor is None else factor * node.factor
            elif node.kind is Kind.NORM:
                normalised = True
            elif node.kind not in _PASSING:
                return ""
            node = node.main
        if node is None:
            return ""
        before = self._sites[node.site]
        # A later addition of the same stream overrides one inside its branch.
        sum_scale = factor / skip_scale if factor is not None and skip_scale else 1.0
        if factor is None and skip_scale and not normalised:
            sum_scale = math.nan  # some of it was a tensor, and that was not on the skip alone
        if before.sum_scale != sum_scale or before.normalised is not normalised:
            self._sites[node.site] = before._replace(sum_scale=sum_scale, normalised=normalised)
        self._followed.add(node.site)
        return before.name
