"""What the examples share: arguments, data, and the output of results."""

from __future__ import annotations

import argparse
import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl

mpl.use("Agg")  # figures are files here: no screen is needed

import matplotlib.pyplot as plt
import torch
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

HELD_OUT = 360
"""Digits that are not trained on: a fifth of all 1,797."""


class Claim(NamedTuple):
    """A theoretical value and its measurement.

    Attributes:
        what: the quantity.
        theory: its predicted value.
        measured: what the run gave.
        factor: they agree if neither is more than this factor larger than the other.
    """

    what: str
    theory: float
    measured: float
    factor: float = 1.2

    @property
    def holds(self) -> bool:
        """Whether the two agree."""
        if self.theory == 0 or self.measured == 0:
            return abs(self.theory - self.measured) < self.factor - 1
        ratio = self.measured / self.theory
        return ratio > 0 and math.isfinite(ratio) and 1 / self.factor <= ratio <= self.factor


class Setting(NamedTuple):
    """What an example was started with."""

    small: bool
    out: Path


def setting(name: str, what: str | None, arguments: Sequence[str] | None) -> Setting:
    """Read the command line of an example and make its directory."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--small", action="store_true", help="a few seconds instead of a minute, coarser numbers")
    parser.add_argument("--out", type=Path, default=Path("runs/examples"), help="directory (default: %(default)s)")
    options = parser.parse_args(arguments)
    (options.out / name).mkdir(parents=True, exist_ok=True)
    return Setting(options.small, options.out / name)


@contextmanager
def figure(given: Setting, rows: int, columns: int, title: str) -> Iterator[list[plt.Axes]]:
    """Give axes to draw on, then save them as figure.png and log them for TensorBoard."""
    drawing: Figure
    drawing, grid = plt.subplots(
        rows, columns, figsize=(4.5 * columns, 3.4 * rows), squeeze=False, layout="constrained"
    )
    drawing.suptitle(title)
    yield list(grid.flat)
    drawing.savefig(given.out / "figure.png", dpi=110)
    with SummaryWriter(str(given.out)) as writer:
        writer.add_figure(title, drawing)
    plt.close(drawing)


def report(given: Setting, claims: Sequence[Claim]) -> list[Claim]:
    """Print theory next to measurement, log both for TensorBoard, and return them."""
    width = max(len(claim.what) for claim in claims)
    print(f"{'':<{width}}  {'theory':>10}  {'measured':>10}")
    # Two runs with one tag each per claim: TensorBoard draws them in one picture.
    with SummaryWriter(str(given.out / "theory")) as theory, SummaryWriter(str(given.out / "measured")) as measured:
        for claim in claims:
            verdict = "" if claim.holds else f"  off by more than {claim.factor:g}×"
            print(f"{claim.what:<{width}}  {claim.theory:>10.4g}  {claim.measured:>10.4g}{verdict}")
            theory.add_scalar(claim.what, claim.theory)
            measured.add_scalar(claim.what, claim.measured)
    print(f"figure and TensorBoard log: {given.out}")
    return list(claims)


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return scikit-learn's handwritten digits, standardised: images, labels, held-out images and labels."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only some examples need it

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data.data, dtype=torch.float32)[order]
    labels = torch.tensor(data.target)[order]
    images = (images - images[HELD_OUT:].mean()) / images[HELD_OUT:].std()
    return images[HELD_OUT:], labels[HELD_OUT:], images[:HELD_OUT], labels[:HELD_OUT]
