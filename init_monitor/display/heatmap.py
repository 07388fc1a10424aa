"""A picture of depth × step: each layer a row, the input on top; each sampled step a column; colour a power of ten."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from itertools import pairwise
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

_TITLE, _LABEL, _EXPONENT = 34, 30, 22
"""Points of the letters. TensorBoard shows a picture of 900 pixels about 300 wide: a third of these is still read there.
What would have to be smaller (every layer, every step) is left out; the tab has it."""

_TOP, _BOTTOM, _RIGHT = 64, 60, 150
"""Pixels around the picture: title; step labels; colour bar with its numbers."""
_LEFT_LIMITS = (60, 250)
"""Pixels for layer names: at least room for the axis, at most a quarter of the usual width."""
_NAME_EDGE = 34
"""Pixels around a layer name: the arrow of the axis before it, the tick after it."""
_LONGEST_LABEL = 120
"""Characters of a name that are measured: more than ever fit."""
_BAR_GAP, _BAR_WIDTH = 22, 26

_HATCH_PITCH = 7
"""Pixels between two hatching lines: seen as hatching, also in a cell of a few pixels."""

_STEP_WORDS = ("step", "step (not to scale)")
"""What is said of the step axis, shortest first: a column per measured step, whatever lies between two of them."""

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


def heatmap(
    matrix: NDArray[np.float64],
    *,
    steps: Sequence[int],
    names: Sequence[str],
    title: str,
    size: tuple[int, int] = (900, 500),
) -> bytes:
    """Draw a matrix of logarithms.

    Args:
        matrix: log10 of the quantity, shape [layers, sampled steps]; NaN (not measured) is hatched grey; ±Inf is
            drawn in the last colour of its side.
        steps: optimizer step of each column.
        names: layer of each row, first layer on top; the first and the last are named.
        title: what is shown.
        size: width and height in pixels; the height grows so that no layer is thinner than a pixel.

    Returns:
        A PNG file.

    Raises:
        ValueError: the matrix is empty or does not fit steps and names.
    """
    if matrix.shape != (len(names), len(steps)) or not matrix.size:
        message = f"the matrix has shape {matrix.shape}, expected ({len(names)} layers, {len(steps)} steps), none 0"
        raise ValueError(message)
    label, large = _font(_LABEL), _font(_TITLE)
    labels = [clipped(_drawable(name), _LONGEST_LABEL, "...") for name in (names[0], names[-1])]
    if max(map(label.getlength, labels)) > _LEFT_LIMITS[1] - _NAME_EDGE and len(names) > 1:
        start = len(common_start(labels))
        labels = [one[start:] for one in labels]
    longest = max(map(label.getlength, labels))
    left = int(min(max(longest + _NAME_EDGE, _LEFT_LIMITS[0]), _LEFT_LIMITS[1]))
    area = _Area(left, _TOP, size[0] - _RIGHT, max(size[1], len(names) + _TOP + _BOTTOM) - _BOTTOM)
    image = Image.new("RGB", (size[0], area.bottom + _BOTTOM), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    low, high = _span(matrix)
    image.paste(Image.fromarray(_cells(matrix, low, high, area)), (area.left, area.top))
    draw.rectangle((area.left - 1, area.top - 1, area.right, area.bottom), outline=_SOFT_INK)
    draw.text((10, 12), _fitted(clipped(_drawable(title), mark="..."), large.getlength, size[0] - 20), _INK, large)
    _layer_axis(draw, area, labels, label)
    _step_axis(draw, area, steps, label)
    _colour_bar(image, area, (low, high), label)
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


def _layer_axis(
    draw: ImageDraw.ImageDraw, area: _Area, labels: Sequence[str], font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> None:
    """Name the first and the last layer; depth runs downward, as an arrow between them says."""
    first, last = (_fitted(one, font.getlength, area.left - _NAME_EDGE) for one in labels)
    draw.text((area.left - 10, area.top), first, _INK, font, anchor="rt")
    draw.text((area.left - 10, area.bottom), last, _INK, font, anchor="rb")
    x, top, bottom = area.left - 24, area.top + 2 * _LABEL, area.bottom - 2 * _LABEL
    draw.line((x, top, x, bottom), fill=_SOFT_INK, width=3)
    draw.polygon(((x - 9, bottom - 12), (x + 9, bottom - 12), (x, bottom + 6)), fill=_SOFT_INK)


def _step_axis(
    draw: ImageDraw.ImageDraw, area: _Area, steps: Sequence[int], font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> None:
    """Name the first and the last step, and between them what they are."""
    first, last = f"{steps[0]:,}", f"{steps[-1]:,}" if len(steps) > 1 else ""
    y = area.bottom + 12
    draw.text((area.left, y), first, _INK, font, anchor="lt")
    draw.text((area.right, y), last, _INK, font, anchor="rt")
    even = len({after - before for before, after in pairwise(steps)}) < 2  # noqa: PLR2004 - one gap, or none
    room = area.width - 2 * max(map(font.getlength, (first, last))) - _LABEL
    for word in _STEP_WORDS[:1] if even else reversed(_STEP_WORDS):
        if font.getlength(word) <= room:
            draw.text(((area.left + area.right) / 2, y), word, _SOFT_INK, font, anchor="mt")
            break


def _colour_bar(
    image: Image.Image, area: _Area, span: tuple[int, int], font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> None:
    """Draw the colours with the powers of ten at both ends and in the middle."""
    draw = ImageDraw.Draw(image)
    left, right = area.right + _BAR_GAP, area.right + _BAR_GAP + _BAR_WIDTH
    bar = np.repeat(colours(np.linspace(1.0, 0.0, area.height, dtype=np.float64))[:, None, :], _BAR_WIDTH, axis=1)
    image.paste(Image.fromarray(bar), (left, area.top))
    draw.rectangle((left - 1, area.top - 1, right, area.bottom), outline=_SOFT_INK)
    low, high = span
    raised = _font(_EXPONENT)
    for exponent in (low, (low + high) // 2, high):
        y = area.bottom - (exponent - low) / (high - low) * (area.height - 1) - 1
        draw.line((right + 1, y, right + 6, y), fill=_SOFT_INK)
        base = (right + 10, min(max(y, area.top + _LABEL / 2), area.bottom - _LABEL / 2))
        draw.text(base, "10", _INK, font, anchor="lm")
        draw.text((base[0] + font.getlength("10") + 2, base[1] - 12), str(exponent), _INK, raised, "lm")
