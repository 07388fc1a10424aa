"""``init-monitor check MODULE:FACTORY``: a network that a function makes, looked at before it trains."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from rich.console import Console
from torch import nn

from init_monitor.errors import InitMonitorError
from init_monitor.plan import recommend
from init_monitor.records import Severity
from init_monitor.standalone import check

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 100
"""Columns where the output is no terminal (a CI log)."""

HEALTHY, CRITICAL = 0, 1
"""Exit status without and with a critical finding."""

_SHAPES = "(model, batch), (model, batch, loss_fn) or a LightningModule"


class Subject(NamedTuple):
    """What is to be checked."""

    model: nn.Module
    batch: Any
    loss_fn: Callable[..., torch.Tensor] | None = None


def main(factory: str, *, seed: int = 0, code: bool = False, json: Path | None = None) -> int:
    """Print signal propagation, findings and plan of the network that ``factory`` makes.

    Args:
        factory: ``package.module:function``; the current directory is searched, too.
        seed: torch's seed before the function is called.
        code: print the plan as a function to paste as well.
        json: where to write the report as JSON.

    Returns:
        1 if there is a critical finding, else 0.

    Raises:
        InitMonitorError: there is no such function, it raises or returns something else, or the report cannot be written.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    make = _named(factory)
    torch.manual_seed(seed)
    subject = _subject(_called(make, factory), factory)
    report = check(subject.model, subject.batch, subject.loss_fn)
    plan = recommend(subject.model, subject.batch, subject.loss_fn)
    console.print(report)
    console.print()
    console.print(plan)
    if code:
        console.print()
        console.print(plan.to_code(), markup=False, soft_wrap=True)
    if json is not None:
        try:
            report.to_json(json)
        except OSError as error:
            message = f"cannot write --json {json}: {error.strerror or error}. Give a file in a directory that exists."
            raise InitMonitorError(message) from error
    return CRITICAL if any(finding.severity is Severity.CRITICAL for finding in report.findings) else HEALTHY


def _named(factory: str) -> Callable[[], object]:
    path, colon, name = factory.partition(":")
    if not (path and colon and name):
        message = f"check needs MODULE:FACTORY, for instance my_package.models:make, got {factory!r}."
        raise InitMonitorError(message)
    here = str(Path.cwd())
    if here not in sys.path:
        # A console script does not search the directory it is started in, `python -m` does.
        sys.path.insert(0, here)
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # the module is there, but not what it imports
        message = f"there is no module {error.name!r} to import here or among the installed packages."
        raise InitMonitorError(f"{message} Start init-monitor where {path.partition('.')[0]!r} is.") from error  # noqa: EM102, TRY003
    found = getattr(module, name, None)
    if found is None:
        near = get_close_matches(name, vars(module), n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        message = f"module {path!r} has no {name!r}.{meant}"
        raise InitMonitorError(message)
    if not callable(found):
        message = f"{factory} is a {type(found).__name__}, expected a function that returns {_SHAPES}."
        raise InitMonitorError(message)
    make: Callable[[], object] = found
    return make


def _called(make: Callable[[], object], factory: str) -> object:
    try:
        return make()
    except Exception as error:
        # Ours is the first line of the trace, the factory's own the next; there is none if it could not even be called.
        own = traceback.extract_tb(error.__traceback__)[1:2]
        where = "".join(f" ({Path(line.filename).name}, line {line.lineno})" for line in own)
        said = " ".join(str(error).split())
        message = (
            f"{factory} raised {type(error).__name__}{f': {said}' if said else ''}{where}. It must run without arguments and"
            f" return {_SHAPES}."
        )
        raise InitMonitorError(message) from error


def _subject(made: object, factory: str) -> Subject:
    if isinstance(made, tuple) and len(made) in {2, 3} and isinstance(made[0], nn.Module):
        return Subject(*made)
    if isinstance(made, nn.Module):
        return Subject(made, _batch_of(made, factory))
    got = f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
    message = f"{factory} returned {got}, expected {_SHAPES}."
    raise InitMonitorError(message)


def _batch_of(module: nn.Module, factory: str) -> Any:  # noqa: ANN401 - whatever the model takes
    """Return the example input of a LightningModule, or the first batch it trains on."""
    example = getattr(module, "example_input_array", None)
    if example is not None:
        # A tuple there is positional arguments; a forward with one gets it as any batch.
        return example if isinstance(example, (torch.Tensor, Mapping)) else tuple(example)
    loader = getattr(module, "train_dataloader", None)
    try:
        return next(iter(loader()))  # type: ignore[misc]
    except Exception as error:
        message = (
            f"{factory} returned {type(module).__name__} without a batch: it has no example_input_array, and its"
            f" train_dataloader gave none ({type(error).__name__}). Return (model, batch), or set example_input_array."
        )
        raise InitMonitorError(message) from error
