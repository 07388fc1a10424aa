"""Two processes, each with a replica: measuring must neither stop nor change them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import conftest, sys, torch
from torch import nn
from models import Block, Classifier, add, fit, loader
from init_monitor import InitMonitor

if __name__ == "__main__":
    losses = []
    for watched in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(*[Block(32, add) for _ in range(4)], nn.Linear(32, 10))
        monitor = InitMonitor(dense_steps=2, sinks=(), strict=True) if watched else None
        module = Classifier(net, lr=1e-3)
        trainer = fit(module, loader(32, batch=32), monitor, steps=3, strategy="ddp", devices=2)
        losses.append(module.losses)
    record = monitor.records[-1]
    print(f"rank {trainer.global_rank}: equal {losses[0] == losses[1]}, steps {[r.step for r in monitor.records]},"
          f" residuals {record.residual_names}, finite {all(r.growth > 1 for r in record.residuals)}", flush=True)
"""


@pytest.mark.slow
def test_two_replicas_are_measured_and_their_losses_stay_equal_to_the_bit(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(here), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    names = "('net.0#1', 'net.1#1', 'net.2#1', 'net.3#1')"
    for rank in (0, 1):
        expected = f"rank {rank}: equal True, steps [0, 1], residuals {names}, finite True"
        assert expected in done.stdout, done.stdout + done.stderr[-3000:]
