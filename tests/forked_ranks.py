"""Trains in 1, 2, 4 and 8 forked processes for tests/capture/test_many_ranks.py: ``python forked_ranks.py DIRECTORY``.

Forked, so that torch is imported once; each process writes ``DIRECTORY/<scenario>.<size>.<rank>.json``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

import init_monitor

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES, STEPS = 48, 4
GIVEN: Counter[str] = Counter()


class Experts(nn.Module):
    """A trunk, and one of several experts: which of them depends on the process and the step."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*[nn.Sequential(nn.Linear(24, 24), nn.ReLU()) for _ in range(4)])
        self.experts = nn.ModuleList(nn.Linear(24, 24) for _ in range(2))
        self.head = nn.Linear(24, 4)
        self.choice = 0
        with torch.no_grad():
            for parameter in self.trunk.parameters():
                parameter.mul_(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Go through the trunk and the chosen expert."""
        output: torch.Tensor = self.head(torch.relu(self.experts[self.choice](self.trunk(x))))
        return output


def train(rank: int, size: int, *, scale: float = 1.0, mixed: bool = False, broken: int = -1) -> dict[str, Any]:
    """Train one replica of ``size``; gradients are averaged by hand, as DDP does."""
    torch.manual_seed(0)
    model = Experts(scale)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(1)
    inputs, targets = torch.randn(STEPS, SAMPLES, 24, generator=generator), torch.randint(0, 4, (STEPS, SAMPLES), generator=generator)  # fmt: skip
    given: list[int] = []
    with init_monitor.watch(model, optimizer, sinks=(), dense_steps=STEPS) as m:
        if size > 1:
            m.join_ranks(size)
        for step in range(STEPS):
            before = sum(GIVEN.values())
            if rank == broken and step == 1:
                m._monitor._capture.close_step = None  # type: ignore[method-assign, union-attr]
            # At first the same on all, then another on every process in turn.
            model.choice = (rank + step) % 2 if mixed and step else 0
            with m.step() as now:
                loss = nn.functional.cross_entropy(model(inputs[step, rank::size]), targets[step, rank::size])
                optimizer.zero_grad()
                loss.backward()
                for parameter in model.parameters() if size > 1 else ():
                    if parameter.grad is None and not mixed:
                        continue
                    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    distributed.all_reduce(gradient)
                    parameter.grad = gradient / size
                optimizer.step()
                now.loss = loss.detach()
            given.append(sum(GIVEN.values()) - before)
    last = m.records[-1]
    columns = {**last.columns, **last.parameter_columns, **last.residual_columns}
    return {
        "steps": [record.step for record in m.records],
        "names": [last.names, last.parameter_names],
        "columns": {quantity.value: column.tolist() for quantity, column in columns.items()},
        "losses": m.losses.tolist(),
        "findings": [[f.code, f.step, str(f.severity), f.message, dict(f.evidence)] for f in m.findings],
        "open": sorted(m._monitor._judgement._engine._open),
        "notices": m.notices,
        "given": given,
    }


SCENARIOS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "plain": train,
    "exploding": lambda rank, size: train(rank, size, scale=30.0),
    "experts": lambda rank, size: train(rank, size, mixed=True),
    # The first process, which judges, and another one.
    "first": lambda rank, size: train(rank, size, scale=30.0, broken=0),
    "last": lambda rank, size: train(rank, size, broken=size - 1),
}


def count_what_is_given(rank: int) -> None:
    """Count the bytes that this process hands to the collectives of the monitor's group."""

    def counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("group") is not None:
                given = args[-1]
                own = name != "broadcast" or kwargs["src"] == rank
                GIVEN[name] += given.numel() * given.element_size() * own
            return original(*args, **kwargs)

        return call

    for name in ("all_reduce", "all_gather", "broadcast"):
        setattr(distributed, name, counting(name, getattr(distributed, name)))


def child(out: Path, rank: int, size: int, scenarios: tuple[str, ...]) -> None:
    """Be one of the processes."""
    code = 1
    try:
        warnings.simplefilter("ignore")
        meeting = f"file://{out / f'meeting{size}'}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
        count_what_is_given(rank)
        for scenario in scenarios:
            (out / f"{scenario}.{size}.{rank}.json").write_text(json.dumps(SCENARIOS[scenario](rank, size)))
        distributed.barrier()
        code = 0
    except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def main(out: Path) -> int:
    """Run every scenario in processes of their own; return how many of them failed."""
    torch.set_num_threads(1)
    # What torch imports only when it is needed is then imported here, once.
    for scenario in ("plain", "exploding"):
        (out / f"{scenario}.1.0.json").write_text(json.dumps(SCENARIOS[scenario](0, 1)))
    context = multiprocessing.get_context("fork")
    failed = 0
    for size, scenarios in ((2, tuple(SCENARIOS)), (4, ("experts",)), (8, ("plain", "experts"))):
        processes = [context.Process(target=child, args=(out, rank, size, scenarios)) for rank in range(size)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            failed += process.exitcode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
