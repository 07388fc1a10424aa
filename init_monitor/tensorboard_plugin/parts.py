"""What the pieces of an event file hold: names, descriptions, findings, vectors. Each is checked before it is shown.

Another program may have used our plugin name, and a file may have been spoiled: what fits the format is taken, with names
that a browser can show; what does not is left out, and said in a sentence.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from init_monitor.page.printable import printable_finding, printable_structure
from init_monitor.records import Finding, Layer, LossCurve, Of, Residual, Structure
from init_monitor.records.facts_json import facts_from
from init_monitor.records.quoting import printable, quoted
from init_monitor.records.registry import described, vectors
from init_monitor.records.tags import FINDINGS_TAG, LAYOUT_TAG, LOSSES_TAG, WIDTHS_TAG, vector_tag
from init_monitor.store import losses_from, schema, structure_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from init_monitor.page.series import Matrix
    from init_monitor.records.quantities import Quantity

NAME_FIELDS = {
    Of.LAYER: "names",
    Of.PARAMETER: "parameter_names",
    Of.RESIDUAL: "residual_names",
    Of.HEAD: "head_names",
}
"""Where the layout says what the numbers of a quantity are of."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


def document_of(value: object) -> dict[str, Any]:
    """Return the JSON object that a tensor of one string holds.

    Raises:
        MalformedError: it does not hold one.
    """
    text = value.item() if isinstance(value, np.ndarray) and value.size == 1 else None
    if not isinstance(text, (bytes, str)):
        message = "no string"
        raise schema.MalformedError(message)
    return schema.parsed(text)


def vector_of(value: object) -> Matrix | None:
    """Return a tensor of one dimension as float32, ``None`` for any other."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        numbers: Matrix = value.astype(np.float32)
    return numbers


def names_in(content: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Return a list of names; an invalid entry keeps its position."""
    found = content.get(field)
    names = found if isinstance(found, list) else ()
    return tuple(printable(one) if isinstance(one, str) else quoted(one) for one in names)


def described_parts(
    contents: Sequence[Mapping[str, Any]], notices: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the newest description of every layer and of every residual addition, by name, as JSON values.

    Args:
        contents: layouts, oldest first.
        notices: gets a sentence about what had to be left out.
    """
    shown = structure_json(stored_structure(contents, notices))
    by_name = [{str(one["name"]): one for one in shown[part]} for part in ("layers", "residuals")]
    return by_name[0], by_name[1]


def stored_structure(contents: Sequence[Mapping[str, Any]], notices: list[str] | None = None) -> Structure:
    """Return the network that layouts describe, in the order of its layers as they were first seen.

    Args:
        contents: layouts, oldest first.
        notices: gets a sentence about what had to be left out.
    """
    notices = [] if notices is None else notices
    # A layer elsewhere in the network has another name: the newest of each counts.
    layers = {one.name: one for one in _restored(Layer, contents, "layers", notices)}
    residuals = {one.name: one for one in _restored(Residual, contents, "residuals", notices)}
    return printable_structure(Structure(tuple(layers.values()), tuple(residuals.values())))


def findings_in(content: Mapping[str, Any], notices: list[str]) -> list[Finding]:
    """Return the findings of a document.

    Args:
        content: the document.
        notices: gets a sentence about what had to be left out.
    """
    return [printable_finding(one) for one in _restored(Finding, [content], "findings", notices)]


def losses_in(contents: Sequence[Mapping[str, Any]], notices: list[str]) -> LossCurve:
    """Return the training loss of a run.

    Args:
        contents: stretches of it, oldest first; of a step that was run again, the newer one counts.
        notices: gets a sentence about what had to be left out.
    """
    curve, reasons = LossCurve(), []
    for content in contents:
        try:
            curve.add(losses_from(content))
        except schema.MalformedError as error:  # noqa: PERF203 - each for itself
            reasons.append(str(error))
    if reasons:
        several = len(reasons) > 1
        fits = (
            "parts of the loss are not as init_monitor writes them"
            if several
            else "part of the loss is not as init_monitor writes it"
        )
        notices.append(f"{len(reasons)} {fits} ({reasons[0]}); left out.")
    return curve


def unknown_quantities(contents: dict[str, bytes]) -> Iterator[Quantity]:
    """Yield the quantities that are not known here, as the run describes them: they were registered there.

    Args:
        contents: what the metadata of each tag says.
    """
    known = {LAYOUT_TAG, FINDINGS_TAG, LOSSES_TAG, WIDTHS_TAG, *map(vector_tag, vectors())}
    for tag, content in sorted(contents.items()):
        name = tag.removeprefix(vector_tag(""))
        if tag in known or not _NAME.fullmatch(name):
            continue
        said = _metadata(content)
        of = next((one for one in Of if one.plural == said.get("kind")), None)
        if of is None:
            continue
        try:
            facts = facts_from(_facts_of(said, name), of)
        except ValueError:  # the description contradicts itself: the numbers are shown anyway
            facts = facts_from({"title": name}, of)
        yield described(name, facts)


def _metadata(content: bytes) -> dict[str, Any]:
    try:
        said: dict[str, Any] = _written_out(schema.plain(schema.parsed(content), "metadata"))
    except schema.MalformedError:
        return {}
    return said


def _facts_of(said: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the description of a quantity, without what a page could not show."""
    facts = said.get("quantity")
    kept = {key: one for key, one in facts.items() if _can_be_said(key, one)} if isinstance(facts, dict) else {}
    return {"title": name} | kept


def _can_be_said(key: str, value: object) -> bool:
    if key == "pages":
        return isinstance(value, list)
    if key == "centre":
        return isinstance(value, (int, float)) and abs(value) < schema.MOST_WHOLE and math.isfinite(value)
    return isinstance(value, str) and bool(value)


def _written_out(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _written_out(one) for key, one in value.items()}
    return [_written_out(one) for one in value] if isinstance(value, list) else value


def _restored(kind: Any, contents: Sequence[Mapping[str, Any]], field: str, notices: list[str]) -> list[Any]:  # noqa: ANN401
    """Return what fits the format; a notice says how much does not, and why the first does not."""
    made, reasons = [], []
    for content in contents:
        entries = content.get(field, [])
        if not isinstance(entries, list):
            reasons.append(f"{field} is {quoted(entries)}, expected a list")
            continue
        for entry in entries:
            try:
                made.append(schema.restored(kind, entry, field[:-1]))
            except schema.MalformedError as error:  # noqa: PERF203 - each for itself
                reasons.append(str(error))
    if reasons:
        notices.append(f"{len(reasons)} of the {field} are not as init_monitor writes them ({reasons[0]}); left out.")
    return made
