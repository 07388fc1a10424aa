"""A finding as Markdown: for TensorBoard's Text tab and for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.display.formatting import layer_range

if TYPE_CHECKING:
    from init_monitor.records import Finding

_SPECIAL = str.maketrans({one: f"\\{one}" for one in "\\`*_[]<>|#"})


def escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is."""
    return text.translate(_SPECIAL)


def finding_markdown(finding: Finding, *, level: int = 3) -> str:
    """Return the finding with its figures as a table and its code as a code block.

    Args:
        finding: what was found.
        level: of its heading, 1 to 6.
    """
    title = f"{finding.code} {finding.rule} ({finding.severity}, step {finding.step:,})"
    parts = [f"{'#' * level} {title.translate(_SPECIAL)}"]
    if finding.layers:
        parts.append(f"Layers: {layer_range(finding.layers).translate(_SPECIAL)}")
    parts.append(finding.message.translate(_SPECIAL))
    names = dict.fromkeys((*finding.evidence, *finding.expected))
    if names:
        rows = (
            f"| {name.translate(_SPECIAL)} | {finding.evidence.get(name, '')!s} | {finding.expected.get(name, '')!s} |"
            for name in names
        )
        parts.append("\n".join(("| | measured | expected |", "| --- | --- | --- |", *rows)))
    if finding.remedy_sentence:
        parts.append(f"**What to do:** {finding.remedy_sentence.translate(_SPECIAL)}")
    if finding.remedy_code:
        parts.append(f"```python\n{finding.remedy_code.rstrip()}\n```")
    if finding.source:
        parts.append(f"Source: {finding.source.translate(_SPECIAL)}")
    return "\n\n".join(parts)
