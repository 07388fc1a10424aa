"""A finding as HTML: for a notebook and for the report. The browser gets words, and nothing that it would obey."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from init_monitor.records.evidence import figure_rows, measured_at
from init_monitor.records.quoting import printable

if TYPE_CHECKING:
    from init_monitor.records.finding import Finding

_LISTED = 6
"""Layers that are listed; of more the first and the last are named."""

_EDGES = {"critical": "#b3261e", "warning": "#b26a00", "info": "#1a66b3"}


def finding_html(finding: Finding, *, styled: bool = False, mended_by: str = "") -> str:
    """Return a section: what, where, the numbers, what to do, code to paste, and where the expectation comes from.

    Args:
        finding: to show.
        styled: bring its own colour: where no style sheet of ours is.
        mended_by: code of another finding whose code mends this one too, and need not be said again.
    """
    layers = f"<p>Layers: {shown(_places(finding))}</p>" if finding.layers else ""
    figures = "".join(f"<li>{shown(_figure(*row))}</li>" for row in figure_rows(finding))
    head = measured_at(finding)
    measured = f"<p>{shown(head[:1].upper() + head[1:])}:</p><ul>{figures}</ul>" if figures else ""
    remedy = f"<p><b>What to do:</b> {shown(finding.remedy_sentence)}</p>" if finding.remedy_sentence else ""
    same = f"<p>The code given for {shown(mended_by)} mends this too.</p>"
    code = (
        same
        if mended_by and finding.remedy_code
        else f"<pre>{shown(finding.remedy_code)}</pre>"
        if finding.remedy_code
        else ""
    )
    source = f"<p><small>{shown(finding.source)}</small></p>" if finding.source else ""
    title = f"{shown(f'{finding.code} {finding.rule}')} <small>{finding.severity}, step {finding.step}</small>"
    edge = f' style="border-left:4px solid {_EDGES[finding.severity.value]};padding:.1rem 1rem"' if styled else ""
    return (
        f'<section class="{finding.severity}"{edge}><h2>{title}</h2><p>{shown(finding.message)}</p>'
        f"{layers}{measured}{remedy}{code}{source}</section>"
    )


def shown(text: str) -> str:
    """Return text as a browser shows it, line ends kept."""
    return html.escape(printable(text, lines=True))


def _places(finding: Finding) -> str:
    places = finding.shown_layers
    if len(places) <= _LISTED:
        return ", ".join(places)
    return f"{places[0]} … {places[-1]} ({len(places)} layers)"


def _figure(title: str, measured: str, expected: str) -> str:
    return f"{title}: {measured or 'nothing'}" + (f" (expected {expected})" if expected else "")
