"""Trains for 4,000 measured steps for tests/training/test_training_memory.py: ``python long_training.py DIRECTORY``.

Prints, as JSON, the steps, the findings and by how many bytes the process grew after the first 2,000 steps. It is a
process of its own because the peak of the tests' process was set by other tests.
"""

from __future__ import annotations

import gc
import json
import re
import resource
import sys
from pathlib import Path

import torch
from torch import nn

import init_monitor
from init_monitor.records.losses import LossCurve
from init_monitor.sinks import RunStoreSink
from init_monitor.sinks.sink import Run

STEPS, WARM = 4_000, 2_000
TURN = 500
"""Steps after which the input changes its scale, so that findings come and go."""


def held() -> int:
    """Return the memory that this process has in use, in bytes: the largest so far where the system tells no more."""
    status = Path("/proc/self/status")
    if status.exists():
        # Without the pages of files: those of libraries come and go as the machine needs memory.
        (kilobytes,) = re.findall(r"^RssAnon:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        return int(kilobytes) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(directory: Path) -> None:
    """Train a small network with all rules at work and the run store written."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    x = torch.randn(16, 8)
    store = RunStoreSink()
    store.open(Run(log_dir=directory))
    marks, findings = [], 0
    gc.freeze()
    # The losses of 16,384 steps are kept as they are: here of fewer, so that they take no more when measuring begins.
    LossCurve.__init__.__defaults__ = (WARM // 2,)
    with init_monitor.watch(model, optimizer, dense_steps=STEPS, sinks=(), window=16, strict=True) as m:
        for step in range(STEPS):
            with m.step():
                optimizer.zero_grad()
                model(x * (1e4 if step // TURN % 2 else 1.0)).square().mean().backward()
                optimizer.step()
            store.emit(m.records[-1], tuple(m.findings[findings:]), m.structure)
            findings = len(m.findings)
            if step % TURN == TURN - 1:
                # Cycles wait for their turn; what is kept is what no collection takes.
                gc.collect()
            if step in {WARM - 1, STEPS - 1}:
                marks.append(held())
        kept = [record.step for record in m.records]
        found = [[finding.code, finding.step] for finding in m.findings]
    store.close()
    sys.stdout.write(json.dumps({"kept": kept, "findings": found, "grown": marks[1] - marks[0]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
