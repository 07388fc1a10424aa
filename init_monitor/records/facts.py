"""What is known about a quantity: its words, its unit, how it is read, and where it is shown. The quantities are in ``quantities``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Column: TypeAlias = "NDArray[np.float64]"
"""One number per layer (parameter, residual addition, head); NaN where not measured."""

Derivation: TypeAlias = Callable[[Callable[[str], Column]], Column]
"""Makes a column from others of the same table, which it gets by name: ``lambda column: np.sqrt(column("variance"))``."""


STATISTICS = ("min", "median", "max", "abs_median")
"""What a summary scalar may be over all layers; ``log10_`` before it makes it the logarithm of it."""

LOG = "log10_"
"""What the name of a statistic of logarithms begins with."""


class Of(str, Enum):
    """What a quantity is of."""

    LAYER = "layer"
    PARAMETER = "parameter"
    RESIDUAL = "residual"
    HEAD = "head"

    @property
    def plural(self) -> str:
        """As event files and the page say it: ``"layers"``."""
        return f"{self.value}s"


class Form(str, Enum):
    """How a number is read: on which axis, from where to where, in which colours."""

    LOG = "log"
    """Never negative, spread over orders of magnitude; on a logarithmic axis, unless the reader wants a linear one."""
    SHARE = "share"
    """From 0 to 1, read as per cent."""
    SIGNED = "signed"
    """Of either sign, on a linear axis."""
    COUNT = "count"
    """A whole number from 0 on, on a linear axis."""

    @property
    def scale(self) -> str:
        """``"log"`` or ``"linear"``."""
        return "log" if self is Form.LOG else "linear"


class Group(str, Enum):
    """The section of ``docs/measures.md`` that describes a quantity."""

    SIGNAL = "signal"
    GAIN = "gain"
    UNITS = "units"
    RESIDUAL = "residual"
    ATTENTION = "attention"
    LAYER = "layer"
    PARAMETER = "parameter"
    REGISTERED = "registered"


class Stream(str, Enum):
    """Of which tensor a quantity is a plain moment, where it is one."""

    OUTPUT = "output"
    GRADIENT = "gradient"
    INPUT = "input"
    WEIGHT = "weight"
    WEIGHT_GRADIENT = "weight gradient"
    ADDITION = "addition"


class Page(str, Enum):
    """Where the tab and the HTML report show a quantity, besides the page of a layer, which shows all."""

    OVERVIEW = "overview"
    PROPAGATION = "propagation"
    RESIDUALS = "residuals"
    RESIDUAL_MAPS = "residual_maps"
    ATTENTION = "attention"


class Cell(str, Enum):
    """What a console table writes for a number."""

    NUMBER = "number"
    ROOT = "root"
    """Its square root: a standard deviation is easier to read than a variance."""
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class Heading:
    """A column of the tables on the console and in the report.

    Attributes:
        text: its header, on two lines where the numbers take less room.
        cell: what is written for a number.
        gives_way: how soon a narrow terminal leaves it out: 1 is the first to go; 0 always stays.
    """

    text: str
    cell: Cell = Cell.NUMBER
    gives_way: int = 9

    @property
    def words(self) -> str:
        """The header on one line."""
        return self.text.replace("\n/", "/").replace("\n", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is known of a quantity before it is measured.

    Attributes:
        of: what it is of.
        title: its name, as a heading.
        means: how it is defined, in a phrase; the docs have it.
        explains: what it tells, in a sentence or two; the pages have it. Empty: the definition.
        short: its name where room is scarce.
        unit: of its numbers; empty for a ratio.
        form: how it is read.
        group: section of the docs.
        stream, moment: where it is a plain moment, of which tensor and which one.
        healthy: lowest and highest value that nobody needs to look at, where there are such.
        centre: what pictures take as the middle of their colours, where a healthy network shows one number.
        bounds: ends of its axis, where it has ends.
        guides: values that a chart marks, with their words.
        summary: the plain scalars that event files and other loggers get: ``min``, ``median``, ``max`` over all layers,
            ``abs_median`` (of absolute values), and the same of the logarithm: ``log10_min``.
        in_events: whether it goes into event files as a vector, and so to the tab.
        keeps_largest: where steps are left out of a picture, the largest number between two that stay is shown.
        pages: where the tab shows it.
        absent: why it may be missing, in a sentence.
        picture: title of its picture in TensorBoard's Images tab; empty for none.
        chart: category and title of its chart in the Custom Scalars tab; its summary scalars lie in it.
        compared: what the comparison of runs calls its median; empty if that is not compared.
        heading: its column on the console.
        derive: makes it from other columns when a record is made; such a quantity is not measured itself.
    """

    of: Of
    title: str
    means: str
    explains: str = ""
    short: str = ""
    unit: str = ""
    form: Form = Form.LOG
    group: Group = Group.REGISTERED
    stream: Stream | None = None
    moment: str = ""
    healthy: tuple[float, float] | None = None
    centre: float | None = None
    bounds: tuple[float, float] | None = None
    guides: tuple[tuple[float, str], ...] = ()
    summary: tuple[str, ...] = ()
    in_events: bool = False
    keeps_largest: bool = False
    pages: tuple[Page, ...] = ()
    absent: str = ""
    picture: str = ""
    chart: tuple[str, str] | None = None
    compared: str = ""
    heading: Heading | None = None
    derive: Derivation | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be shown.

        Raises:
            ValueError: the message says which field, and what is expected of it.
        """
        unknown = [one for one in self.summary if one.removeprefix(LOG) not in STATISTICS]
        if unknown:
            expected = f"{', '.join(STATISTICS)}, or one of them after {LOG}"
            message = f"summary of {self.title!r} has {unknown[0]!r}, expected {expected}"
            raise ValueError(message)
        if (self.pages or self.picture) and not self.in_events:
            message = f"{self.title!r} is shown on a page, so it has to go into event files: in_events=True"
            raise ValueError(message)
        if self.chart is not None and not self.summary:
            message = f"{self.title!r} has a chart, and no summary scalar to draw in it: give it a summary"
            raise ValueError(message)
        if self.form is Form.LOG and self.centre is not None and not 0 < self.centre < math.inf:
            message = f"centre of {self.title!r} is {self.centre}, expected a positive number on a logarithmic axis"
            raise ValueError(message)

    @property
    def healthy_from(self) -> float:
        """Lowest value that nobody needs to look at; −∞ where there is none."""
        return -math.inf if self.healthy is None else self.healthy[0]

    @property
    def palette(self) -> str:
        """Which colours show it: ``diverging`` where there is a middle, ``share`` from nothing up, else ``sequential``."""
        if self.form in {Form.SHARE, Form.COUNT}:
            return "share"
        return "sequential" if self.centre is None else "diverging"
