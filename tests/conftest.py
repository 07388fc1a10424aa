"""What every test shares."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from browser import Watched, browser, context_of, looked_at
from forked_programs import Forks, started
from hypothesis import settings

from init_monitor.measures import native

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# Machines are shared and slow at times; and a submission is judged on the same examples wherever it runs.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("local", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as cores are at work already.
    torch.set_num_threads(1)

MODELS = Path(sys.prefix) / "models"
"""Where the Makefile puts torchvision, out of the way of everything but these tests."""

if MODELS.is_dir():
    sys.path.append(str(MODELS))

if torch.version.cuda is None:
    # torchvision's wheel is built for a torch with CUDA. Beside a CPU torch its compiled operators cannot be loaded, and
    # `import torchvision` then fails where it describes `nms`, which no model here calls. Its schema is enough to import.
    _torchvision = torch.library.Library("torchvision", "FRAGMENT")
    for _operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, _operator):
            _torchvision.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


collect_ignore = ["compiled_triton.py", "interpreted_triton.py"]
"""Tests that import Triton, which lies apart: measures/test_triton.py names them to a process of their own. Doctests would
otherwise be looked for in them, too."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write the golden files of tests/golden anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: begun last, one of them would leave the other processes with nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Leave out of every later search for garbage what was imported and collected, millions of objects that stay."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage where it is said not to matter: Python runs half as fast while coverage is measured, torch's code too."""
    coverage = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    if coverage is None or not (item.get_closest_marker("slow") or item.get_closest_marker("untraced")):
        return (yield)
    coverage.pause()
    try:
        return (yield)
    finally:
        coverage.resume()


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    """The browser."""
    with browser() as started_once:
        yield started_once


@pytest.fixture(scope="module")
def context(running: Any) -> Iterator[Any]:
    """What the pages of a file share."""
    with context_of(running) as opened:
        yield opened


@pytest.fixture
def page(context: Any) -> Iterator[Watched]:
    """A page of the browser, on which nothing may go wrong."""
    with looked_at(context) as opened:
        yield opened


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """What runs programs in processes of their own, of which none has to import torch."""
    with started() as forked:
        yield forked


@pytest.fixture(scope="module", params=["eager", "native"])
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    """Whoever asks for it runs twice: the CPU is read with torch's operations, and with the compiled kernel."""
    name: str = request.param
    if name == "native" and native.in_use() != "native" and not os.environ.get("CI"):
        pytest.skip("there is no C compiler here, so no compiled kernel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(native.CHOICE, name)
        native.library.cache_clear()
        yield name
    native.library.cache_clear()
