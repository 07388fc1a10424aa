"""What is known of a quantity as JSON values: what the page reads, and what an event file says of a registered quantity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from init_monitor.records.facts import Facts, Form, Of, Page

if TYPE_CHECKING:
    from init_monitor.records.quantities import Quantity


def facts_json(quantity: Quantity) -> dict[str, Any]:
    """Return what a page needs to show a quantity."""
    facts = quantity.facts
    return {
        "id": quantity.value,
        "of": facts.of.plural,
        "title": facts.title,
        "short": facts.short or facts.title.lower(),
        "unit": facts.unit,
        "form": facts.form.value,
        "palette": facts.palette,
        "explains": facts.explains or facts.means,
        "absent": facts.absent,
        "compared": facts.compared,
        "centre": facts.centre,
        "bounds": _range(facts.bounds),
        "healthy": _range(facts.healthy),
        "guides": [{"value": value, "label": label} for value, label in facts.guides],
        "pages": [page.value for page in facts.pages],
    }


def facts_from(entry: dict[str, Any], of: Of) -> Facts:
    """Return what an event file says of a quantity; what it leaves out is as for any other.

    Raises:
        ValueError, TypeError, KeyError, IndexError, OverflowError: a field is not what it should be.
    """
    pages = [page for page in Page if page.value in (entry.get("pages") or ())]
    form = next((form for form in Form if form.value == entry.get("form")), Form.LOG)
    centre, bounds = entry.get("centre"), entry.get("bounds")
    return Facts(
        of=of,
        title=str(entry.get("title") or entry.get("id") or ""),
        means=str(entry.get("explains") or ""),
        short=str(entry.get("short") or ""),
        unit=str(entry.get("unit") or ""),
        form=form,
        centre=None if centre is None else float(centre),
        bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
        guides=tuple((float(one["value"]), str(one["label"])) for one in entry.get("guides") or ()),
        absent=str(entry.get("absent") or ""),
        compared=str(entry.get("compared") or ""),
        in_events=True,
        pages=tuple(pages),
    )


def _range(ends: tuple[float, float] | None) -> list[float | None] | None:
    """JSON has no infinity: an end that is not there is null."""
    return None if ends is None else [end if math.isfinite(end) else None for end in ends]
