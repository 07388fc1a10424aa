"""Every public entry point, each in a process of its own in which nothing of rich was imported; run by test_randomness.

Prints one JSON line per entry: its name, which generators it moved, and whether it was the first to import rich.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

import init_monitor

if TYPE_CHECKING:
    from collections.abc import Callable


def net() -> nn.Module:
    # From a generator of its own: what is drawn here is not the monitor's doing.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=40.0)  # so that there is something to find
        return model


def batch() -> torch.Tensor:
    return torch.linspace(-1, 1, 32).reshape(4, 8)


def watched(steps: int = 3, **options: Any) -> Any:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    with init_monitor.watch(model, optimizer, **options) as monitor:
        for _ in range(steps):
            with monitor.step():
                optimizer.zero_grad()
                model(batch()).square().mean().backward()
                optimizer.step()
    return monitor


def report() -> Any:
    return watched(sinks=()).report


def stored(directory: str) -> Any:
    from init_monitor.sinks import Run, RunStoreSink

    found = watched(sinks=())
    sink = RunStoreSink()
    sink.open(Run(log_dir=Path(directory)))
    for record in found.records:
        sink.emit(record, tuple(f for f in found.findings if f.step == record.step), found.structure)
    sink.close()
    return directory


def printed(what: object) -> None:
    """Print with rich, whose own import is the doing of whoever prints: it is over before the generators are set."""
    from rich.console import Console

    Console(file=io.StringIO(), width=100).print(what)


def console() -> None:
    import rich.console  # noqa: F401 - see above


def command(*words: str) -> None:
    from init_monitor.cli import main

    main(words)


FACTORY = "fresh_processes:made"


def read(directory: str) -> None:
    from init_monitor.store import read_run

    read_run(directory)


def made() -> tuple[nn.Module, torch.Tensor]:
    return net(), batch()


def nothing() -> None:
    return None


def with_console(make: Callable[[], Any]) -> Callable[[], Any]:
    """Return what makes a thing after rich's console was used."""

    def made() -> Any:
        console()
        return make()

    return made


def entries(directory: str) -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Return, by name, what comes before the generators are set, and what is looked at."""

    def plan() -> Any:
        return init_monitor.recommend(net(), batch(), style="theory")

    return {
        "import *": (lambda: None, lambda _: [getattr(init_monitor, name) for name in NAMES]),
        "watch": (net, lambda _: watched()),
        "watch, sinks of its own": (net, lambda _: watched(sinks=init_monitor.default_sinks())),
        "check": (net, lambda m: init_monitor.check(m, batch())),
        "str(check)": (net, lambda m: str(init_monitor.check(m, batch()))),
        "recommend": (net, lambda m: init_monitor.recommend(m, batch(), style="theory")),
        "str(plan)": (plan, str),
        "plan.to_code": (plan, lambda p: p.to_code()),
        "plan.apply_": (plan, lambda p: p.apply_(generator=torch.Generator().manual_seed(0))),
        "plan.compare": (plan, lambda p: str(p.compare(batch()))),
        "rich plan": (with_console(plan), printed),
        "report.to_markdown": (report, lambda r: r.to_markdown()),
        "report.to_html": (report, lambda r: r.to_html()),
        "report.to_json": (report, lambda r: r.to_json()),
        "report.to_dataframe": (report, lambda r: r.to_dataframe()),
        "report.to_residual_dataframe": (report, lambda r: r.to_residual_dataframe()),
        "report._repr_html_": (report, lambda r: r._repr_html_()),
        "repr(report)": (report, repr),
        "rich report": (with_console(report), printed),
        "str(findings)": (report, lambda r: [(str(f), repr(f)) for f in r.findings]),
        "str(structure)": (report, lambda r: (str(r.structure), repr(r.structure))),
        "rich structure": (with_console(report), lambda r: printed(r.structure)),
        "read_run": (lambda: stored(directory), read),
        "cli report": (lambda: stored(directory), lambda d: command("report", d)),
        "cli report --html": (lambda: stored(directory), lambda d: command("report", d, "--html", f"{d}/a.html")),
        "cli compare": (lambda: stored(directory), lambda d: command("compare", d, d)),
        "cli check": (nothing, lambda _: command("check", FACTORY)),
        "module display": (nothing, lambda _: __import__("init_monitor.display.layer_table")),
        "sinks.ConsoleSink": (nothing, lambda _: __import__("init_monitor.sinks").sinks.ConsoleSink),
        "InitMonitor": (plain, lambda _: fitted()),
    }


NAMES = sorted(set(init_monitor.__all__) - {"__version__", "InitMonitor"})


def plain(monitor: Any = None) -> None:
    """A fit under Lightning. The first one in a process imports rich and more."""
    from models import Classifier, fit, loader, mlp

    fit(Classifier(mlp(2, 8)), loader(8, samples=16, batch=4), monitor, steps=3)


def fitted() -> None:
    """Two fits, which draw numbers themselves: the same ones without a monitor and with one."""
    before, after = state(), []
    for monitor in (None, init_monitor.InitMonitor()):
        put_back(before)
        plain(monitor)
        after.append(state())
    if after[0] == after[1]:
        put_back(before)


def state() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - that of the process is meant
    return {
        "random": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state().tolist(),
    }


def put_back(kept: dict[str, Any]) -> None:
    random.setstate(kept["random"])
    np.random.set_state(kept["numpy"])  # noqa: NPY002 - the same
    torch.set_rng_state(torch.tensor(kept["torch"], dtype=torch.uint8))


def look(name: str, prepare: Callable[[], Any], entry: Callable[[Any], Any]) -> dict[str, object]:
    with contextlib.redirect_stdout(io.StringIO()):
        given = prepare()
        fresh = "rich" not in sys.modules
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - the same
        torch.manual_seed(1)
        before = state()
        entry(given)
        after = state()
    return {"entry": name, "moved": [kind for kind in before if before[kind] != after[kind]], "fresh": fresh}


def forked(name: str, pair: tuple[Callable[[], Any], Callable[[Any], Any]]) -> str:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            line = json.dumps(look(name, *pair))
        except BaseException as error:  # noqa: BLE001 - told to whoever reads
            line = json.dumps({"entry": name, "moved": [f"{type(error).__name__}: {error}"], "fresh": False})
        os.write(write, line.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as lines:
        line = lines.read()
    os.waitpid(child, 0)
    return line


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        # Every step of an optimizer imports torch's compiler. It moves nothing either, and is imported once for all that follow.
        sys.stdout.write(forked("torch._dynamo", (nothing, lambda _: importlib.import_module("torch._dynamo"))) + "\n")
        sys.stdout.flush()
        importlib.import_module("torch._dynamo")
        # Forks share what was imported: none of them has to look through it, or copy it by looking.
        gc.collect()
        gc.freeze()
        for name, pair in entries(directory).items():
            sys.stdout.write(forked(name, pair) + "\n")
            sys.stdout.flush()
