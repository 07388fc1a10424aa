"""The tables of ``docs/measures.md``, made from the table of quantities.

``python -m init_monitor.display.quantity_docs docs/measures.md`` rewrites them between their marks; a test fails if
they are stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from init_monitor.display.formatting import compact
from init_monitor.records.facts import Form, Group, Page
from init_monitor.records.registry import is_registered, quantities

if TYPE_CHECKING:
    from init_monitor.records.quantities import Quantity

_MARKED = re.compile(r"(<!-- quantities: (\w+) -->\n).*?(<!-- end of quantities -->)", flags=re.DOTALL)
_HEAD = "| quantity | meaning | unit or range | shown |\n|:--|:--|:--|:--|\n"
_PAGES = {
    Page.OVERVIEW: "Overview",
    Page.PROPAGATION: "Propagation",
    Page.RESIDUALS: "Residuals",
    Page.RESIDUAL_MAPS: "Residuals",
    Page.ATTENTION: "Attention",
}


def with_tables(page: str) -> str:
    """Return the page with the table of each group between its marks; registered quantities belong to their own group."""
    return _MARKED.sub(lambda found: f"{found[1]}{group_table(Group(found[2]))}{found[3]}", page)


def group_table(group: Group) -> str:
    """Return the table of a group as Markdown, or an empty string if the group has no quantity."""
    rows = [_row(quantity) for quantity in quantities() if _group(quantity) is group]
    return f"\n{_HEAD}{''.join(rows)}\n" if rows else "\n"


def _group(quantity: Quantity) -> Group:
    return Group.REGISTERED if is_registered(quantity) else quantity.facts.group


def _row(quantity: Quantity) -> str:
    facts = quantity.facts
    cells = (f"`{quantity}`", facts.means, _range(quantity), _shown(quantity))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _range(quantity: Quantity) -> str:
    facts = quantity.facts
    bounds = (0.0, 1.0) if facts.form is Form.SHARE else facts.bounds
    parts = [facts.unit] if facts.unit else []
    if bounds is not None:
        parts.append(f"{compact(bounds[0])} to {compact(bounds[1])}")
    if facts.healthy is not None:
        low, high = facts.healthy
        parts.append(
            f"healthy: {compact(low)}"
            if low == high
            else f"healthy: from {compact(low)}"
            if high == float("inf")
            else f"healthy: {compact(low)} to {compact(high)}"
        )
    return "; ".join(parts).replace("-", "−")


def _shown(quantity: Quantity) -> str:
    """Where it is shown: the tab's pages (that of a layer shows all quantities), the tables, the plain scalars."""
    facts = quantity.facts
    places = list(dict.fromkeys(_PAGES[page] for page in facts.pages))
    if facts.in_events:
        places.append("Layer")
    if facts.heading is not None:
        places.append("tables")
    if facts.summary:
        places.append(f"scalars ({', '.join(facts.summary)})")
    return ", ".join(places)


def main(paths: list[str]) -> None:
    """Write the tables into each file."""
    for path in map(Path, paths):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
