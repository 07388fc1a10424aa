"""A few shapes as SVG, on paper of their own, so that they are read on light and on dark pages alike."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

INK, SOFT, LINE, PAPER = "#26262e", "#62626e", "#d4d4dc", "#fbfbfd"
BLUE, ORANGE, GREEN, VIOLET = "#0072b2", "#d55e00", "#00805c", "#8a4a9e"
"""After Wong (Nature Methods 8, 441, 2011), as in the tab."""
TINTS = {BLUE: "#e3f0f8", ORANGE: "#fbe9dd", GREEN: "#dff3ec", VIOLET: "#f1e6f4", SOFT: "#efeff3"}
FONT = "system-ui, 'DejaVu Sans', sans-serif"


@dataclass
class Drawing:
    """An SVG of a width and height.

    Attributes:
        width: in pixels.
        height: likewise.
        parts: elements, in the order in which they lie upon each other.
    """

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def words(  # noqa: PLR0913 - what letters have, all named
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 13,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Write a line; ``y`` is that of its letters' feet."""
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>{html.escape(text)}</text>'
        )

    def box(  # noqa: PLR0913 - likewise
        self,
        x: float,
        y: float,
        wide: float,
        high: float,
        colour: str = SOFT,
        *,
        title: str = "",
        lines: tuple[str, ...] = (),
    ) -> None:
        """Draw a box with a title and lines in its middle."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="6" fill="{TINTS[colour]}" stroke="{colour}"/>'
        )
        pitch = 16
        top = y + high / 2 + 5 - pitch * len(lines) / 2 if title else y + high / 2 + 5 - pitch * (len(lines) - 1) / 2
        if title:
            self.words(x + wide / 2, top, title, anchor="middle", bold=True)
            top += pitch
        for i, line in enumerate(lines):
            self.words(x + wide / 2, top + i * pitch, line, size=12, colour=SOFT, anchor="middle")

    def line(self, points: list[tuple[float, float]], colour: str = LINE, wide: float = 1, *, dash: str = "") -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{wide}"{dashed}/>')

    def arrow(self, start: tuple[float, float], end: tuple[float, float], colour: str = SOFT) -> None:
        """Draw an arrow."""
        (x, y), (to_x, to_y) = start, end
        long = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
        along, across = ((to_x - x) / long, (to_y - y) / long), (-(to_y - y) / long, (to_x - x) / long)
        back = (to_x - 8 * along[0], to_y - 8 * along[1])
        self.line([start, back], colour, 1.5)
        corners = [end, *((back[0] + s * 4 * across[0], back[1] + s * 4 * across[1]) for s in (1, -1))]
        self.parts.append(f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}" fill="{colour}"/>')

    def bar(self, x: float, y: float, wide: float, high: float, colour: str) -> None:
        """Draw a filled bar."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, wide):.1f}" height="{high:.1f}" rx="2" fill="{colour}"/>'
        )

    def dot(self, x: float, y: float, colour: str, size: float = 3.5) -> None:
        """Draw a dot."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{colour}"/>')

    def svg(self) -> str:
        """Return the file."""
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" height="{self.height:g}" font-family="{FONT}">\n'
            f'<rect width="{self.width:g}" height="{self.height:g}" rx="8" fill="{PAPER}"/>\n{body}\n</svg>\n'
        )
