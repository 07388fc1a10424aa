"""A program of a client library: how to train it, and what its source says about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from benchmarks.clients.watching import Watching


@dataclass(frozen=True)
class Expected:
    """What the library's source says about the network, read before the monitor is run.

    Attributes:
        weights: rows of weight layers: fnmatch pattern of module paths (``[`` is taken literally), and how many rows
            (calls, and output tensors of a call that has several) match it.
        residuals: residual additions of a training forward, call by call.
        others: patterns of further modules, or of rows, that are part of the network: activations, normalisations,
            pooling. A row that matches neither is not the network's.
        inputs: hand-checked origins: tap name of a weight layer -> the tap names it takes its input from, ``"input"``
            for data.
        justified: code of a finding -> why it is right here. Every other one of severity warning or critical is listed
            as unjustified.
    """

    weights: Mapping[str, int]
    residuals: int
    others: tuple[str, ...] = ()
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    justified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A training of one library.

    Attributes:
        distribution: the library's name on PyPI; its version is recorded.
        kind: what it is for.
        loop: who runs the training loop.
        train: trains a small network on synthetic data from a fixed seed, and returns it.
        expected: what the structure is, counted by hand.
    """

    distribution: str
    kind: str
    loop: str
    train: Callable[[Watching], nn.Module]
    expected: Expected
