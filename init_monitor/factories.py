"""``MODULE:FACTORY`` on the command line: a network that a function makes, with a batch and perhaps a loss."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from init_monitor.errors import InitMonitorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SHAPES = "(model, batch), (model, batch, loss_fn) or a LightningModule"


class Subject(NamedTuple):
    """What is to be checked."""

    model: nn.Module
    batch: Any
    loss_fn: Callable[..., torch.Tensor] | None = None


def subject_of(factory: str, command: str, seed: int = 0) -> Subject:
    """Import the function, call it and return what it made.

    Args:
        factory: ``package.module:function``; the current directory is searched, too.
        command: that is run, for error texts.
        seed: torch's seed before the function is called.

    Raises:
        InitMonitorError: there is no such function, it raises, or returns something else.
    """
    make = _named(factory, command)
    torch.manual_seed(seed)
    return _subject(_called(make, factory), factory)


def not_run(factory: str, error: Exception) -> InitMonitorError:
    """Return the error for a model that does not run on its batch."""
    return InitMonitorError(
        f"the model of {factory} could not be run on its batch: {_said(error)}. Try model.train(); model(batch) in"
        " Python; a batch is a tensor, (input, target) or a mapping of keyword arguments."
    )


def _named(factory: str, command: str) -> Callable[[], object]:
    path, colon, name = factory.partition(":")
    if not (path and colon and name):
        message = f"{command} needs MODULE:FACTORY, for instance my_package.models:make, got {factory!r}."
        raise InitMonitorError(message)
    here = str(Path.cwd())
    if here not in sys.path:
        # A console script does not search the directory it is started in, `python -m` does.
        sys.path.insert(0, here)
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            # The module is there, but not what it imports.
            raise _failed_import(path, error) from error
        message = f"there is no module {error.name!r} to import here or among the installed packages."
        raise InitMonitorError(f"{message} Start init-monitor where {path.partition('.')[0]!r} is.") from error  # noqa: EM102, TRY003
    except Exception as error:
        raise _failed_import(path, error) from error
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
        message = f"{factory} raised {_said(error, own)}. It must run without arguments and return {_SHAPES}."
        raise InitMonitorError(message) from error


def _failed_import(path: str, error: Exception) -> InitMonitorError:
    inside = [line for line in traceback.extract_tb(error.__traceback__)[1:] if "importlib" not in line.filename]
    return InitMonitorError(f"importing {path!r} raised {_said(error, inside[-1:])}. Fix that first.")


def _said(error: Exception, lines: Sequence[traceback.FrameSummary] = ()) -> str:
    said = " ".join(str(error).split())
    where = "".join(f" ({Path(line.filename).name}, line {line.lineno})" for line in lines)
    return f"{type(error).__name__}{f': {said}' if said else ''}{where}".rstrip(".")


def _subject(made: object, factory: str) -> Subject:
    if isinstance(made, tuple) and len(made) in {2, 3} and isinstance(made[0], nn.Module):
        subject = Subject(*made)
        if subject.loss_fn is not None and not callable(subject.loss_fn):
            message = f"{factory} returned a {type(subject.loss_fn).__name__} as loss_fn, expected a function."
            raise InitMonitorError(message)
        return subject
    if isinstance(made, nn.Module):
        return Subject(made, _batch_of(made, factory))
    got = f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
    message = f"{factory} returned {got}, expected {_SHAPES}."
    raise InitMonitorError(message)


def _batch_of(module: nn.Module, factory: str) -> Any:  # noqa: ANN401 - whatever the model takes
    """Return the example input of a LightningModule, or the first batch it trains on."""
    example = getattr(module, "example_input_array", None)
    if example is not None:
        # A tuple there means positional arguments; a forward with one parameter gets it like any batch.
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
