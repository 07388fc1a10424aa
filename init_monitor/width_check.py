"""Does what a network computes, and what a step changes of it, depend on its width? :func:`coordinate_check` measures it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from init_monitor.analysis.width_growth import LayerGrowth, growth
from init_monitor.analysis.width_verdict import TOLERANCE, depends, overall, verdict
from init_monitor.errors import InitMonitorError, OptionError
from init_monitor.randomness import kept_randomness, rendered
from init_monitor.records.quoting import quoted_path
from init_monitor.sinks.width_events import write_widths
from init_monitor.store.lines import json_value
from init_monitor.structure.layers import modules_by_name
from init_monitor.width_training import OUTPUT, Sizes, grown_side, train, weight_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult
    from torch import Tensor
    from torch.optim import Optimizer

_MADE = "a torch.nn.Module, or (module, optimizer)"
_PAIR = 2


@dataclass(frozen=True, slots=True, repr=False)
class CoordinateCheck:
    """How every layer goes with the width; made by :func:`coordinate_check`. It prints as a table.

    Attributes:
        widths: that were trained, ascending.
        layers: a row per call of a layer with weights in execution order, then the network's ``output``.
        steps: optimizer steps of each training.
        seeds: trainings at each width.
        optimizer: its class.
        tolerance: slopes of at most this count as flat.
    """

    widths: tuple[int, ...]
    layers: tuple[LayerGrowth, ...]
    steps: int
    seeds: int
    optimizer: str
    tolerance: float = TOLERANCE

    @property
    def verdict(self) -> str:
        """One sentence: does this network depend on its width?"""
        return overall(self.layers, self.tolerance)

    @property
    def off(self) -> tuple[LayerGrowth, ...]:
        """The rows that depend on the width and should not."""
        return tuple(layer for layer in self.layers if depends(layer, self.tolerance))

    def verdict_of(self, layer: LayerGrowth | str) -> str:
        """Say how one layer goes with the width and what it needs.

        Args:
            layer: a row, or its name.

        Raises:
            KeyError: there is no such row.
        """
        return verdict(self[layer] if isinstance(layer, str) else layer, self.tolerance)

    def __getitem__(self, name: str) -> LayerGrowth:
        """Return the row of a layer."""
        for layer in self.layers:
            if layer.layer == name:
                return layer
        message = f"no row {name!r}; there are {', '.join(layer.layer for layer in self.layers)}"
        raise KeyError(message)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.layers)

    @kept_randomness()
    def to_html(self, path: str | Path | None = None) -> str:
        """Return one self-contained HTML page with the plot and the table, and write it to ``path`` if given."""
        from init_monitor.page.width_page import width_page  # noqa: PLC0415 - printing only

        page = width_page(self)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    @kept_randomness()
    def to_json(self, path: str | Path | None = None) -> str:
        """Return every number as strict JSON (NaN and infinities as strings), and write it to ``path`` if given."""
        text = json.dumps(self._json(), indent=1, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def _json(self) -> dict[str, Any]:
        rows = [
            {**asdict(layer), "verdict": self.verdict_of(layer), "off": depends(layer, self.tolerance)}
            for layer in self.layers
        ]
        values: dict[str, Any] = json_value(
            {
                "verdict": self.verdict,
                "widths": list(self.widths),
                "steps": self.steps,
                "seeds": self.seeds,
                "optimizer": self.optimizer,
                "tolerance": self.tolerance,
                "layers": rows,
            }
        )
        return values

    @kept_randomness()
    def save(self, path: str | Path) -> None:
        """Write the plot (``.png``), the page (``.html``), the numbers (``.json``), or into a folder for TensorBoard's tab.

        Args:
            path: of the file, whose ending says which; or a folder (of a run, or a new one beside the runs).

        Raises:
            OptionError: it has another ending.
            InitMonitorError: a folder is given, and TensorBoard is not installed.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if path.is_dir() or not ending:
            write_widths(path, self._json())
        elif ending == ".png":
            from init_monitor.display.width_plot import width_png  # noqa: PLC0415 - printing only

            path.write_bytes(width_png(self.widths, self.layers, self.verdict))
        elif ending == ".html":
            self.to_html(path)
        elif ending == ".json":
            self.to_json(path)
        else:
            message = (
                f"save({quoted_path(path)}): the ending is .png, .html or .json, or none for a folder, got {ending!r}."
            )
            raise OptionError(message)

    def __repr__(self) -> str:
        """Say what came out, in a line."""
        return f"CoordinateCheck({len(self.widths)} widths, {self.verdict.rstrip('.')})"

    @rendered
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw a row per layer: the powers of the width, and what it needs."""
        from init_monitor.display.width_table import width_table  # noqa: PLC0415 - printing only

        yield from width_table(self, console, options)

    @kept_randomness()
    def _repr_html_(self) -> str:
        """Show the plot and the table in a notebook."""
        from init_monitor.display.notebook import html_of  # noqa: PLC0415 - printing only
        from init_monitor.display.width_plot import width_svg  # noqa: PLC0415

        return width_svg(self.widths, self.layers) + html_of(self)

    @kept_randomness()
    def __str__(self) -> str:
        """Return the table as plain text."""
        from io import StringIO  # noqa: PLC0415 - printing only

        from rich.console import Console  # noqa: PLC0415

        out = StringIO()
        Console(file=out, width=100, color_system=None, force_terminal=False).print(self)
        return out.getvalue()


def _adam(model: nn.Module) -> Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


@kept_randomness()
def coordinate_check(  # noqa: PLR0913 - what a series of trainings consists of, all named
    make: Callable[[int], Any],
    widths: Sequence[int] = (64, 128, 256, 512),
    *,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None = None,
    optimizer: Callable[[nn.Module], Optimizer] = _adam,
    steps: int = 4,
    seeds: int = 3,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> CoordinateCheck:
    """Train the same network at several widths for a few steps, and fit how each layer goes with the width.

    A network whose outputs, and whose changes per step, do not depend on the width keeps its learning rate when it is made
    wider (Yang et al. 2021, 2022). Random state is put back; nothing else is kept of the trainings.

    >>> import torch, init_monitor
    >>> def make(width):
    ...     return torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
    >>> checked = init_monitor.coordinate_check(make, (16, 32, 64), batch=torch.eye(8))
    >>> [layer.layer for layer in checked.layers], checked["0"].kind
    (['0', '2', 'output'], 'input')

    Args:
        make: ``make(width)`` returns the network, or ``(network, optimizer)`` if the optimizer depends on the width.
        widths: two or more; each should be twice the one before.
        batch: a tensor, ``(input, target)`` or a mapping; every step trains on it.
        loss_fn: ``loss_fn(output, target)``, or ``loss_fn(output)`` without a target; noise stands in for it.
        optimizer: makes the optimizer of a network where ``make`` does not; Adam with a rate of 0.001.
        steps: optimizer steps of each training.
        seeds: trainings at each width, each from torch's seed 0, 1, …
        include: fnmatch patterns; a container that is named without wildcards (a block) gets a row, too.
        exclude: fnmatch patterns of layers without a row.
        tolerance: slopes of at most this count as flat.

    Raises:
        OptionError: an argument cannot be used.
        InitMonitorError: the networks have no layer in common, or ``loss_fn`` returns no single number.
    """
    chosen = _checked(widths, steps=steps, seeds=seeds, tolerance=tolerance)
    sizes: list[list[Mapping[str, Sizes]]] = []
    shapes: list[dict[str, tuple[tuple[int, ...], bool] | None]] = []
    named = ""
    with torch.random.fork_rng(devices=_devices()), torch.enable_grad():
        for seed in range(seeds):
            row: list[Mapping[str, Sizes]] = []
            for width in chosen:
                torch.manual_seed(seed)
                model, stepping = _made(make, width, optimizer)
                named = type(stepping).__name__
                row.append(
                    train(model, stepping, batch, loss_fn, steps=steps, include=include, exclude=exclude, seed=seed)
                )
                if not seed:
                    shapes.append({name: weight_shape(module) for name, module in modules_by_name(model).items()})
            sizes.append(row)
    rows = [name for name in sizes[0][0] if all(name in one for row in sizes for one in row)]
    if set(rows) <= {OUTPUT} and len(sizes[0][0]) > len(rows):
        message = (
            f"coordinate_check: the networks of width {chosen[0]} and {chosen[-1]} have no layer in common, so there is"
            " nothing to compare. make(width) has to name its layers the same way at every width."
        )
        raise InitMonitorError(message)
    layers = tuple(_fitted(name, _kind(name, shapes), chosen, sizes) for name in rows)
    return CoordinateCheck(chosen, layers, steps, seeds, named, tolerance)


def _checked(widths: Sequence[int], *, steps: int, seeds: int, tolerance: float) -> tuple[int, ...]:
    chosen = tuple(sorted(set(widths)))
    if len(chosen) < _PAIR or not all(_is_count(width) for width in chosen):
        message = f"coordinate_check(widths=…) needs two or more different whole numbers above 0, got {tuple(widths)}."
        raise OptionError(message)
    for name, value in (("steps", steps), ("seeds", seeds)):
        if not _is_count(value):
            message = f"coordinate_check({name}=…) is a whole number of at least 1, got {value!r}."
            raise OptionError(message)
    if not tolerance > 0:
        message = f"coordinate_check(tolerance=…) is above 0, got {tolerance!r}."
        raise OptionError(message)
    return chosen


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _made(
    make: Callable[[int], Any], width: int, optimizer: Callable[[nn.Module], Optimizer]
) -> tuple[nn.Module, Optimizer]:
    made = make(width)
    if isinstance(made, tuple) and len(made) == _PAIR:
        model, stepping = made
    else:
        model, stepping = made, None
    if not isinstance(model, nn.Module):
        message = f"coordinate_check: make({width}) returned {type(made).__name__}, expected {_MADE}."
        raise OptionError(message)
    stepping = optimizer(model) if stepping is None else stepping
    if not isinstance(stepping, torch.optim.Optimizer):
        message = f"coordinate_check: the optimizer of width {width} is {type(stepping).__name__}, expected a torch.optim.Optimizer."
        raise OptionError(message)
    return model, stepping


def _devices() -> list[int]:
    """Return the devices whose generators are put back; none is woken for it."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


def _kind(name: str, shapes: Sequence[Mapping[str, tuple[tuple[int, ...], bool] | None]]) -> str:
    module = name.partition("#")[0]
    found = [one[module] for one in shapes if one.get(module) is not None]
    if name == OUTPUT or len(found) < len(shapes):
        return ""
    return grown_side([shape for shape in found if shape is not None])


def _fitted(
    name: str, kind: str, widths: tuple[int, ...], sizes: Sequence[Sequence[Mapping[str, Sizes]]]
) -> LayerGrowth:
    def fit(of: str) -> Any:  # noqa: ANN401 - a Growth, by the name of a field
        return growth(widths, np.array([[getattr(one[name], of) for one in row] for row in sizes]))

    return LayerGrowth(name, kind, *(fit(of) for of in ("start", "after", "change", "own", "given", "taken")))
