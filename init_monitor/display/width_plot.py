"""The picture of a coordinate check: size over width on logarithmic axes, a line per layer, at the start and per step.

It is laid out once, as lines and words, and drawn as SVG for a page or as PNG for a file.
"""

from __future__ import annotations

import html
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from init_monitor.display.formatting import shortened
from init_monitor.records.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.width_growth import LayerGrowth

_SIZE = (900, 420)
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0508a", "#8a6d00", "#2a8fc4", "#555555")
"""Wong (Nature Methods 8, 441, 2011), as the page's lines."""
_INK, _SOFT, _GRID = "#26262e", "#6e6e7a", "#e2e2e6"
_PANELS = (("size before the first step", "start"), ("what a step changes of it", "change"))
_LEFT, _TOP, _WIDE, _HIGH, _BETWEEN = 58, 40, 290, 300, 64
"""Pixels: left of a panel, above it, its sides, and from one to the next."""
_KEYS = 15
"""Layers with a line in the key: what fits beside the panels; of more, the first and the last ones."""
_KEY_PITCH = 20
_LEAST_DECADES = 1.0
"""The size axis spans at least a factor of ten, so that flat lines look flat."""


@dataclass(frozen=True, slots=True)
class _Line:
    points: tuple[tuple[float, float], ...]
    colour: str
    wide: float = 1.0


@dataclass(frozen=True, slots=True)
class _Words:
    at: tuple[float, float]
    text: str
    colour: str = _INK
    anchor: str = "start"
    size: int = 12


def width_svg(widths: Sequence[int], layers: Sequence[LayerGrowth]) -> str:
    """Return the plot as one SVG element whose words follow the colour of the page's text.

    Args:
        widths: of the networks.
        layers: what was fitted.
    """
    parts = []
    for one in _laid_out(widths, layers, ""):
        if isinstance(one, _Line):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in one.points)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{one.colour}" stroke-width="{one.wide}"/>')
            continue
        x, y = one.at
        fill = "currentColor" if one.colour == _INK else one.colour
        text = html.escape(one.text)
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{one.anchor}" font-size="{one.size}">{text}</text>'
        )
    wide, high = _SIZE
    return (
        f'<svg class="widths" viewBox="0 0 {wide} {high}" style="max-width:{wide}px;width:100%" role="img" '
        f'aria-label="Size of every layer over the width" font-family="system-ui,sans-serif">{"".join(parts)}</svg>'
    )


def width_png(widths: Sequence[int], layers: Sequence[LayerGrowth], title: str) -> bytes:
    """Return the plot as a PNG file.

    Args:
        widths: of the networks.
        layers: what was fitted.
        title: a line below the panels.
    """
    scale = 2
    image = Image.new("RGB", (_SIZE[0] * scale, _SIZE[1] * scale), "white")
    draw = ImageDraw.Draw(image)
    for one in _laid_out(widths, layers, title):
        if isinstance(one, _Line):
            points = [(x * scale, y * scale) for x, y in one.points]
            draw.line(points, fill=one.colour, width=round(one.wide * scale), joint="curve")
            continue
        font = ImageFont.load_default(one.size * scale)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[one.anchor]
        x, y = one.at
        # The default font has no letters beyond Latin.
        text = one.text.encode("latin-1", "replace").decode("latin-1")
        draw.text((x * scale, y * scale), text, fill=one.colour, font=font, anchor=anchor)
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _laid_out(widths: Sequence[int], layers: Sequence[LayerGrowth], title: str) -> Iterator[_Line | _Words]:
    styles = {layer.layer: _COLOURS[i % len(_COLOURS)] for i, layer in enumerate(layers)}
    for number, (heading, of) in enumerate(_PANELS):
        left = _LEFT + number * (_WIDE + _BETWEEN)
        values = {layer.layer: getattr(layer, of).values for layer in layers}
        yield _Words((left, _TOP - 14), heading, size=14)
        yield from _panel(left, widths, values, styles)
    yield from _key(_LEFT + 2 * (_WIDE + _BETWEEN) - _BETWEEN + 20, layers, styles)
    if title:
        yield _Words((_LEFT, _SIZE[1] - 12), title, size=13)


def _panel(
    left: float, widths: Sequence[int], values: dict[str, tuple[float, ...]], styles: dict[str, str]
) -> Iterator[_Line | _Words]:
    logs = [math.log10(value) for one in values.values() for value in one if 0 < value < math.inf]
    low, high = (min(logs), max(logs)) if logs else (-1.0, 1.0)
    short = max(0.0, _LEAST_DECADES - (high - low)) / 2
    low, high = low - short - 0.05, high + short + 0.05
    first, last = math.log2(widths[0]), math.log2(widths[-1])

    def x(width: float) -> float:
        return left + 12 + (_WIDE - 24) * (math.log2(width) - first) / (last - first)

    def y(log: float) -> float:
        return _TOP + _HIGH * (high - log) / (high - low)

    for decade in range(math.ceil(low), math.floor(high) + 1):
        yield _Line(((left, y(decade)), (left + _WIDE, y(decade))), _GRID)
        yield _Words((left - 6, y(decade) + 4), f"{10.0**decade:g}", _SOFT, "end")
    for width in widths:
        yield _Line(((x(width), _TOP), (x(width), _TOP + _HIGH)), _GRID)
        yield _Words((x(width), _TOP + _HIGH + 18), str(width), _SOFT, "middle")
    yield _Words((left + _WIDE / 2, _TOP + _HIGH + 36), "width", _SOFT, "middle")
    for name, one in values.items():
        points = [
            (x(width), y(math.log10(value))) for width, value in zip(widths, one, strict=True) if 0 < value < math.inf
        ]
        if len(points) > 1:
            yield _Line(tuple(points), styles[name], 2.5 if name == "output" else 1.5)


def _key(left: float, layers: Sequence[LayerGrowth], styles: dict[str, str]) -> Iterator[_Line | _Words]:
    shown = list(layers)
    if len(shown) > _KEYS:
        shown = [*layers[: _KEYS // 2], *layers[-(_KEYS - _KEYS // 2 - 1) :]]
    for i, layer in enumerate(shown):
        at = _TOP + 8 + i * _KEY_PITCH
        yield _Line(((left, at), (left + 18, at)), styles[layer.layer], 2.5 if layer.layer == "output" else 1.5)
        yield _Words((left + 24, at + 4), shortened(printable(layer.layer), 20), _INK)
    if len(shown) < len(layers):
        yield _Words((left, _TOP + 12 + len(shown) * _KEY_PITCH), f"and {len(layers) - len(shown)} between", _SOFT)
