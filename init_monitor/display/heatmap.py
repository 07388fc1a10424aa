"""A picture of depth × step: each layer a row, the input on top; each sampled step a column; colour a power of ten."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from init_monitor.display.colormap import colours
from init_monitor.display.formatting import common_start
from init_monitor.records.quoting import clipped, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_BACKGROUND = (255, 255, 255)
_INK = (38, 38, 46)
_SOFT_INK = (110, 110, 122)
_GREY = (226, 226, 230)
_HATCH = (188, 188, 196)

_TOP, _BOTTOM, _RIGHT = 54, 56, 96
"""Pixels around the picture: title; step labels and the word under them; colour bar with its numbers."""
_LEFT_LIMITS = (60, 250)
"""Pixels for layer names: at least room for the axis, at most a quarter of the usual width."""
_NAME_EDGE = 34
"""Pixels around a layer name: the arrow of the axis before it, the tick after it."""
_LONGEST_LABEL = 120
"""Characters of a name that are measured: more than ever fit."""
_BAR_GAP, _BAR_WIDTH = 22, 16

_ROW_PITCH = 15
"""Pixels between two layer names: one line of the small font."""
_STEP_PITCH = 84
"""Pixels between two step labels: room for ``1,000,000``."""
_DECADE_PITCH = 26
"""Pixels between two numbers of the colour bar."""
_HATCH_PITCH = 7
"""Pixels between two hatching lines: seen as hatching, also in a cell of a few pixels."""

_STEP_AXIS = "optimizer step (a column per measured step: not to scale)"

_LEAST_DECADES = 6
"""The colours span at least this many powers of ten, so that noise of an even network looks even: a change of four is
where a rule begins to warn."""


@dataclass(frozen=True, slots=True)
class _Area:
    """The rectangle of the cells, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def cells(self, rows: int, columns: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the row of each pixel line and the column of each pixel column."""
        return (
            (np.arange(self.height) * rows // self.height).astype(np.intp),
            (np.arange(self.width) * columns // self.width).astype(np.intp),
        )


def heatmap(  # noqa: PLR0913 - a picture has many parts, all named
    matrix: NDArray[np.float64],
    *,
    steps: Sequence[int],
    names: Sequence[str],
    title: str,
    quantity: str = "variance",
    size: tuple[int, int] = (900, 500),
) -> bytes:
    """Draw a matrix of logarithms.

    Args:
        matrix: log10 of the quantity, shape [layers, sampled steps]; NaN (not measured) is hatched grey; ±Inf is
            drawn in the last colour of its side.
        steps: optimizer step of each column.
        names: layer of each row, first layer on top.
        title: what is shown.
        quantity: what the colour bar counts.
        size: width and height in pixels; the height grows so that no layer is thinner than a pixel.

    Returns:
        A PNG file.

    Raises:
        ValueError: the matrix is empty or does not fit steps and names.
    """
    if matrix.shape != (len(names), len(steps)) or not matrix.size:
        message = f"the matrix has shape {matrix.shape}, expected ({len(names)} layers, {len(steps)} steps), none 0"
        raise ValueError(message)
    small, large = _font(12), _font(16)
    labels = [clipped(_drawable(name), _LONGEST_LABEL, "...") for name in names]
    if max(small.getlength(label) for label in labels) > _LEFT_LIMITS[1] - _NAME_EDGE:
        start = len(common_start(labels))
        labels = [label[start:] for label in labels]
    longest = max(small.getlength(label) for label in labels)
    left = int(min(max(longest + _NAME_EDGE, _LEFT_LIMITS[0]), _LEFT_LIMITS[1]))
    area = _Area(left, _TOP, size[0] - _RIGHT, max(size[1], len(names) + _TOP + _BOTTOM) - _BOTTOM)
    image = Image.new("RGB", (size[0], area.bottom + _BOTTOM), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    low, high = _span(matrix)
    image.paste(Image.fromarray(_cells(matrix, low, high, area)), (area.left, area.top))
    draw.rectangle((area.left - 1, area.top - 1, area.right, area.bottom), outline=_SOFT_INK)
    draw.text((10, 10), _fitted(clipped(_drawable(title), mark="..."), large.getlength, size[0] - 20), _INK, large)
    _layer_axis(draw, area, labels, small)
    _step_axis(draw, area, steps, small)
    _colour_bar(image, area, (low, high), _drawable(quantity), small)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _font(points: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(points)


def _drawable(text: str) -> str:
    """Keep to the characters that Pillow's own font has, whichever font it is built with."""
    return printable(text).encode("latin-1", "replace").decode("latin-1")


def _fitted(text: str, length: Callable[[str], float], room: float) -> str:
    """Shorten a text in its middle to fit: the start of a name tells the block, its end the layer."""
    if length(text) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = text[: kept // 2] + "..." + text[-((kept + 1) // 2) :]
        if length(shorter) <= room:
            return shorter
    return ""


def _span(matrix: NDArray[np.float64]) -> tuple[int, int]:
    """Whole powers of ten that hold every finite number."""
    finite = matrix[np.isfinite(matrix)]
    if not finite.size:
        return -1, 1
    low, high = math.floor(finite.min()), math.ceil(finite.max())
    if high - low < _LEAST_DECADES:
        middle = round(float(finite.mean()))
        return middle - _LEAST_DECADES // 2, middle + _LEAST_DECADES // 2
    return low, high


def _cells(matrix: NDArray[np.float64], low: int, high: int, area: _Area) -> NDArray[np.uint8]:
    rows, columns = area.cells(*matrix.shape)
    where = np.ix_(rows, columns)
    unknown = np.isnan(matrix)
    # Coloured as a matrix, and only then made as large as the picture.
    pixels = colours(np.clip((np.where(unknown, low, matrix) - low) / (high - low), 0.0, 1.0))[where]
    missing = unknown[where]
    y, x = np.indices(missing.shape)
    hatched = (x + y) % _HATCH_PITCH == 0
    pixels[missing] = _GREY
    pixels[missing & hatched] = _HATCH
    return pixels


def _spread(count: int, room: float, pitch: float) -> list[int]:
    """Indices to label: first, last, and at an even stride between them as many as there is room for."""
    stride = max(1, math.ceil((count - 1) / max(1, room // pitch)))
    chosen = list(range(0, count, stride))
    if chosen[-1] != count - 1:
        # The last but one is dropped if it is closer to the last than the stride.
        chosen[max(1, len(chosen) - 1) :] = [count - 1]
    return chosen


def _layer_axis(
    draw: ImageDraw.ImageDraw, area: _Area, labels: Sequence[str], font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> None:
    row = area.height / len(labels)
    for i in _spread(len(labels), area.height - row, _ROW_PITCH):
        y = area.top + (i + 0.5) * row
        draw.line((area.left - 5, y, area.left - 2, y), fill=_SOFT_INK)
        text = _fitted(labels[i], font.getlength, area.left - _NAME_EDGE)
        draw.text((area.left - 8, y), text, _INK, font, anchor="rm")
    # Depth runs downward: an arrow along the names says so.
    x = 12
    draw.line((x, area.top + 44, x, area.bottom - 4), fill=_SOFT_INK)
    draw.polygon(((x - 4, area.bottom - 10), (x + 4, area.bottom - 10), (x, area.bottom - 2)), fill=_SOFT_INK)
    word = Image.new("L", (40, 16), 0)
    ImageDraw.Draw(word).text((20, 8), "depth", 255, font, anchor="mm")
    turned = word.rotate(90, expand=True)
    draw.bitmap((x - 8, area.top), turned, fill=_SOFT_INK)


def _step_axis(
    draw: ImageDraw.ImageDraw, area: _Area, steps: Sequence[int], font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> None:
    column = area.width / len(steps)
    for i in _spread(len(steps), area.width - column, _STEP_PITCH):
        x = area.left + (i + 0.5) * column
        draw.line((x, area.bottom + 1, x, area.bottom + 5), fill=_SOFT_INK)
        draw.text((x, area.bottom + 8), f"{steps[i]:,}", _INK, font, anchor="mt")
    middle = (area.left + area.right) / 2
    draw.text((middle, area.bottom + 30), _STEP_AXIS, _SOFT_INK, font, anchor="mt")


def _colour_bar(
    image: Image.Image,
    area: _Area,
    span: tuple[int, int],
    quantity: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    draw = ImageDraw.Draw(image)
    left, right = area.right + _BAR_GAP, area.right + _BAR_GAP + _BAR_WIDTH
    bar = np.repeat(colours(np.linspace(1.0, 0.0, area.height, dtype=np.float64))[:, None, :], _BAR_WIDTH, axis=1)
    image.paste(Image.fromarray(bar), (left, area.top))
    draw.rectangle((left - 1, area.top - 1, right, area.bottom), outline=_SOFT_INK)
    # Its end lies over the numbers, its start may lie over the cells: both leave room above.
    word = _fitted(quantity, font.getlength, image.width - area.left)
    draw.text((image.width - 8, area.top - 7), word, _SOFT_INK, font, anchor="rs")
    low, high = span
    exponents = range(low, high + 1)
    exponent_font = _font(10)
    for i in _spread(len(exponents), area.height, _DECADE_PITCH):
        y = area.bottom - (exponents[i] - low) / (high - low) * (area.height - 1) - 1
        draw.line((right + 1, y, right + 4, y), fill=_SOFT_INK)
        base = (right + 8, min(max(y, area.top + 5), area.bottom - 6))
        draw.text(base, "10", _INK, font, anchor="lm")
        draw.text((base[0] + font.getlength("10") + 1, base[1] - 5), str(exponents[i]), _INK, exponent_font, "lm")
