"""What several processes give one another per measured step, and what that costs each of them.

``python benchmarks/ranks.py [--out FILE] [--docs FILE]``

The bytes are those of ResNet-50 and ViT-B/16, whose units do not depend on the size of the images: small ones are trained.
The processes are simulated (``tests/simulated_ranks.py``), up to 1,024 of them; the seconds are CPU time of real ones.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import conftest  # noqa: F401 - torchvision's operators have to be declared before it is imported
import torch
from simulated_ranks import SimulatedRanks
from torch import distributed, nn

from init_monitor.capture.capture import Capture
from init_monitor.capture.exchange import How, exchange, verdict
from init_monitor.capture.ranks import Ranks
from init_monitor.capture.scope import Scope
from init_monitor.capture.step_facts import StepFacts
from init_monitor.records import LossStretch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.capture.measured import Measured
    from init_monitor.capture.share import Share

BEGIN, END = "<!-- ranks: made by benchmarks/ranks.py -->", "<!-- end of ranks -->"

SIZES = (2, 8, 64, 1024)
NODE = 8
"""Processes of one machine."""
STEPS = 21

INSIDE, BETWEEN = (10e-6, 10e9), (50e-6, 1.25e9)
"""Seconds from one process to the next, and bytes per second: through the memory of a machine, and 10 Gbit/s Ethernet."""


class Chain(nn.Module):
    """About 1,000 rows: six of a linear layer and its parameters, three of an activation."""

    def __init__(self, layers: int = 72, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(*[one for _ in range(layers) for one in (nn.Linear(width, width), nn.ReLU())])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Call them in turn."""
        output: torch.Tensor = self.net(x)
        return output


def measured(model: nn.Module, x: torch.Tensor) -> tuple[Capture, Measured]:
    """Run one step and return what was measured of it."""
    capture = Capture(model, Scope(), lambda name, error: warnings.warn(f"{name}: {error}", stacklevel=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    capture.open_step()
    output = model(x)
    capture.end_forward()
    output.square().mean().backward()
    with torch.no_grad():
        capture.before_optimizer(model.parameters())
        optimizer.step()
        capture.after_optimizer()
        capture.end_batch()
    return capture, capture.close_step()


def networks() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Return the networks, and a batch for each."""
    import torchvision.models as tv  # noqa: PLC0415 - where it is installed

    return {
        "ResNet-50": (tv.resnet50(), torch.randn(2, 3, 64, 64)),
        "ViT-B/16": (tv.vit_b_16(image_size=32), torch.randn(2, 3, 32, 32)),
    }


def bytes_given(share: Share, size: int) -> tuple[int, int]:
    """Return what each of so many processes gives in a step (its share, and its losses since the record before), and rounds."""
    losses = LossStretch.of((step, 1.0) for step in range(50))
    group = SimulatedRanks()
    group.run([exchange(rank, share.catalogue, share, losses) for rank in range(size)])
    group.run([verdict(0, b"") for _ in range(size)])
    if group.given[How.ALL]:
        message = "processes that have the same layers gathered lists of them"
        raise RuntimeError(message)
    return sum(group.given.values()), group.rounds


def seconds(rank: int, size: int, meeting: Path, out: Path) -> None:
    """Be one of several processes, and write the median of its CPU time."""
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    ranks = Ranks(sys.exit)
    ranks.join()
    spent = []
    capture, found = measured(Chain(), torch.randn(8, 64))
    for _ in range(STEPS):
        begin = time.process_time()
        outcome = ranks.put_together(capture.share(found), LossStretch())
        capture.record(found, StepFacts(step=0), None if outcome is None else outcome.together())
        ranks.hear(b"")
        whole = time.process_time() - begin
        begin = time.process_time()
        capture.record(found, StepFacts(step=0))
        spent.append(whole - (time.process_time() - begin))
    distributed.barrier()
    (out / f"{size}.{rank}").write_text(str(statistics.median(spent)))
    os._exit(0)


def cpu_seconds(size: int) -> float:
    """Return the CPU time of a process, the median of them all, over what a record takes anyway."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        processes = [context.Process(target=seconds, args=(rank, size, out / "meeting", out)) for rank in range(size)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return statistics.median(float((out / f"{size}.{rank}").read_text()) for rank in range(size))


def ring(count: int, size: int, speed: tuple[float, float]) -> tuple[float, float]:
    """Return the bytes that each sends in a ring all-reduce, and the seconds that it takes."""
    latency, bandwidth = speed
    given = 2 * (size - 1) / size * count
    return given, 2 * (size - 1) * latency + given / bandwidth


def on_paper(count: int, rounds: int, size: int) -> tuple[float, float, float, float]:
    """Return bytes sent per process and seconds per measured step: one ring of all, and rings within and between machines."""
    nodes = math.ceil(size / NODE)
    flat_bytes, flat_once = ring(count, size, INSIDE if nodes == 1 else BETWEEN)
    flat = flat_once + (rounds - 1) * ring(0, size, INSIDE if nodes == 1 else BETWEEN)[1]
    inside_bytes, inside = ring(count, min(size, NODE), INSIDE)
    between_bytes, between = ring(count / NODE, nodes, BETWEEN)
    # What waits is the same number of rounds; the NODE rings between machines share their line.
    waits = (rounds - 1) * (ring(0, min(size, NODE), INSIDE)[1] + ring(0, nodes, BETWEEN)[1])
    line = between + (NODE - 1) * between_bytes / BETWEEN[1]
    return flat_bytes, flat, inside_bytes + between_bytes, inside + line + waits


def report() -> str:
    """Run everything and return Markdown."""
    today = f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}"
    lines = [
        f"Measured on {today} with torch {torch.__version__}: what each process gives to the reductions of a measured step.",
        "",
        f"| network | rows | units |{''.join(f' {size:,} processes |' for size in SIZES)}",
        f"|:--|--:|--:|{'--:|' * len(SIZES)}",
    ]
    given: dict[str, int] = {}
    rounds = 0
    for name, (model, x) in networks().items():
        capture, found = measured(model, x)
        share = capture.share(found)
        cells = []
        for size in SIZES:
            given[name], rounds = bytes_given(share, size)
            cells.append(f" {given[name] / 1e6:.2f} MB |")
        lines.append(f"| {name} | {share.catalogue.sizes.rows:,} | {share.catalogue.sizes.units:,} |{''.join(cells)}")
    capture, found = measured(Chain(), torch.randn(8, 64))
    rows = capture.share(found).catalogue.sizes.rows
    times = ", ".join(f"{1e3 * cpu_seconds(size):.1f} ms with {size}" for size in (2, 4, 8))
    lines += [
        "",
        f"With {rows:,} rows this takes each process {times} real processes (CPU time of packing, of gloo and of reading).",
        "",
        "On paper, with an all-reduce in one ring (what gloo does) and in rings within and between machines:",
        "",
        "| network | processes | sent by each | one ring | sent by each | hierarchical |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for name, count in given.items():
        for size in (8, 64, 1024):
            flat_bytes, flat, tree_bytes, tree = on_paper(count, rounds, size)
            lines.append(
                f"| {name} | {size:,} | {flat_bytes / 1e6:.2f} MB | {flat * 1e3:.0f} ms | {tree_bytes / 1e6:.2f} MB |"
                f" {tree * 1e3:.0f} ms |"
            )
    lines += [
        "",
        (
            f"Assumed: {NODE} processes in a machine; {INSIDE[0] * 1e6:.0f} µs and {INSIDE[1] / 1e9:.0f} GB/s from one to the next within it,"
            f" {BETWEEN[0] * 1e6:.0f} µs and {BETWEEN[1] / 1e9:.2f} GB/s between machines; {rounds} rounds a step, of which all but one carry"
            " little. A ring takes 2 (n − 1) hops and sends 2 (n − 1)/n of the bytes."
        ),
    ]
    return "\n".join(lines) + "\n"


def put_between(page: str, text: str) -> str:
    """Return a page with ``text`` between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--docs", type=Path, help="put it between the marks of this page, too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    text = report()
    print(text)
    if options.out is not None:
        options.out.write_text(f"# What several processes exchange\n\n{text}", encoding="utf-8")
    if options.docs is not None:
        options.docs.write_text(put_between(options.docs.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    main()
