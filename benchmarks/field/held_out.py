"""Programs from a directory: files ``case_*.py`` with ``faulty()``, ``fixed()``, ``SEED`` and ``STEPS``.

A file may hold its right answer, too: ``ANSWER``, ``None`` for silence or a dictionary of ``codes``, ``remedies`` (names of
:class:`~benchmarks.field.remedy.Remedy`), ``by``, ``beside`` and ``layers``; and ``MEASURED``, how wrong each version ended.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from benchmarks.field.case import SILENCE, Case, Program, answer
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from benchmarks.field.case import Answer

STEPS = 200
"""For a file without one."""


def cases_in(directory: Path) -> tuple[Case, ...]:
    """Return a case for each file, with the right answer to its ``faulty()`` if the file holds one.

    Raises:
        ValueError: there is no such file.
        TypeError: one has no function ``faulty()``.
    """
    files = sorted(directory.glob("case_*.py"))
    if not files:
        message = f"{directory} has no file that is called case_*.py."
        raise ValueError(message)
    return tuple(_case(path) for path in files)


def _case(path: Path) -> Case:
    module = _load(path)
    if not callable(getattr(module, "faulty", None)):
        message = f"{path} needs a function faulty() that returns a LightningModule and its loader."
        raise TypeError(message)
    fixed = getattr(module, "fixed", None)
    return Case(
        path.stem.removeprefix("case_"),
        " ".join((module.__doc__ or "").split()),
        _program(module.faulty),
        None if fixed is None else _program(fixed),
        _answer(module),
        steps=int(getattr(module, "STEPS", STEPS)),
        seed=int(getattr(module, "SEED", 0)),
        score=getattr(module, "score", None),
        measured=getattr(module, "MEASURED", None),
    )


def _answer(module: ModuleType) -> Answer | None:
    if not hasattr(module, "ANSWER"):
        return None
    given = module.ANSWER
    if given is None:
        return SILENCE
    remedies = [Remedy[name] for name in given["remedies"]]
    return answer(given["codes"], *remedies, by=given["by"], beside=given["beside"], layers=given["layers"])


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 - a file that ends in .py has one
    assert spec.loader is not None  # noqa: S101 - and a loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _program(make: Callable[[], tuple[Any, ...]]) -> Callable[[], Program]:
    return lambda: Program(*make())
