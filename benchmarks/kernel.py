"""What it costs to read tensors on the CPU with torch's operations, and with the compiled kernel.

Run it with ``python -m benchmarks.kernel [--out FILE]``. One tensor in passes of ``torch.sum`` over it (the best of several
interleaved rounds: the rest is not the kernel's), and whole measured steps as a ratio to the same step unmeasured (the
median). All in CPU time of one thread, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import init_monitor
from benchmarks import overhead
from init_monitor.measures import Layout, Reduction, Scratch, native, sizes_for
from init_monitor.measures.cpu import Ordinary
from init_monitor.measures.native import Native

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from init_monitor.measures import Kernel

ROUNDS = 20
STEPS = 8
SIZES = (1 << 9, 1 << 14, 1 << 20)
UNITS = 64

PLANS = {
    "moments": Reduction(zeros=False),
    "moments, zeros, units": Reduction(Layout(0, 1), rectifier=True),
}


def seconds(calls: dict[str, Callable[[], object]], elements: int) -> dict[str, float]:
    """Return, by name, the seconds of CPU time of one call."""
    repeats = max(1, min(1000, (1 << 21) // elements))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.process_time()
            for _ in range(repeats):
                call()
            best[name] = min(best[name], (time.process_time() - begin) / repeats)
    return best


def rows() -> list[str]:
    """Measure every plan, size and format, and return the rows of a table."""
    room = Scratch(torch.device("cpu"), sizes_for(torch.device("cpu")))
    lines = []
    for plan_name, plan in PLANS.items():
        for dtype in (torch.float32, torch.bfloat16):
            for elements in SIZES:
                block = torch.randn(1, elements // UNITS, UNITS).relu().to(dtype)

                def by(kernel: Kernel, block: torch.Tensor = block, plan: Reduction = plan) -> object:
                    return kernel.reduce(block, plan, room)

                found = seconds(
                    {"sum": block.sum, "eager": lambda by=by: by(Ordinary()), "native": lambda by=by: by(Native())},
                    elements,
                )
                shown = [
                    f"{found[name] / found['sum']:.1f} ({1e6 * found[name]:.0f} µs)" for name in ("eager", "native")
                ]
                name = str(dtype).removeprefix("torch.")
                lines.append(f"| {plan_name} | {name} | {elements} | {shown[0]} | {shown[1]} |")
    return lines


class Trial:
    """Steps of one network, measured or not."""

    def __init__(self, model: nn.Module, x: torch.Tensor, *, watched: bool) -> None:
        self._model, self._x = model, x
        self._optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        options = {"rules": (), "sinks": (), "dense_steps": 10**6}
        self._watch = init_monitor.watch(model, optimizer=self._optimizer, **options) if watched else None

    def step(self) -> None:
        """Take one."""
        with contextlib.nullcontext() if self._watch is None else self._watch.step():
            loss = self._model(self._x).square().mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


def steps() -> list[str]:
    """Train each network unmeasured and measured either way, and return the rows of a table."""
    lines = []
    compiled = native.library()
    for make in overhead.NETWORKS:
        torch.manual_seed(0)
        model, x = make()
        trials = {way: Trial(model, x, watched=way != "not measured") for way in ("not measured", "torch", "compiled")}
        taken: dict[str, list[float]] = {way: [] for way in trials}
        for _ in range(STEPS + 2):
            for way, trial in trials.items():
                native.library = lambda way=way: compiled if way == "compiled" else None
                begin = time.process_time()
                trial.step()
                taken[way].append(time.process_time() - begin)
        native.library = lambda: compiled
        ratios = [
            statistics.median(a / b for a, b in zip(taken[way][2:], taken["not measured"][2:], strict=True))
            for way in ("torch", "compiled")
        ]
        lines.append(f"| {make.__name__} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    return lines


def report() -> str:
    """Run everything and return a Markdown page."""
    lines = [
        "# Cost of reading a tensor on the CPU",
        "",
        f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}, one thread, torch {torch.__version__}, best of {ROUNDS} interleaved rounds.",
        "In passes of `torch.sum` over the same tensor (and in CPU time), with torch's operations and with the compiled kernel.",
        "",
        "| what is asked | format | elements | torch | compiled |",
        "|:--|:--|--:|--:|--:|",
        *rows(),
        "",
        f"A step with everything measured (no rules, no sinks), as a ratio to the same step unmeasured; medians of {STEPS} rounds.",
        "",
        "| network | torch | compiled |",
        "|:--|--:|--:|",
        *steps(),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page here too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if native.in_use() != "native":
        parser.error("there is no compiled kernel here (is there a C compiler?)")
    page = report()
    print(page)
    if arguments.out is not None:
        arguments.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
