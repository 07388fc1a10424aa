"""Trains each network of the zoo for a few steps, without the monitor and with it, and compares bit by bit.

``python tests/zoo_fit.py --out PAGE.md --state FILE`` writes one row per network. What is finished is kept in the state
file until the page is written, so that a run that was cut short goes on; ``--only PATTERN`` and ``--shard K/N`` train a
part. Times are only told as the ratio of two trainings that ran one after the other.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import json
import logging
import math
import os
import random
import statistics
import sys
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import conftest  # noqa: F401 - before Lightning: it makes torchvision, which Lightning imports, importable beside a CPU torch
import numpy as np
import pytorch_lightning as pl
import torch
from models import fit
from torch import nn
from zoo_models import CLASSES, SAMPLES, Entry, zoo

from init_monitor import InitMonitor
from init_monitor.capture.tensors import floating_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS = 3
SEVERITIES = ("critical", "warning", "info")
LIMIT_WORDS = "max_layers="
"""A notice with these words tells of the user's limit, not of a failure."""


class ZooTraining(pl.LightningModule):
    """Trains any network: by its own loss if it has one, else to tell random classes from its pooled outputs."""

    def __init__(self, net: nn.Module, *, adaptive: bool) -> None:
        super().__init__()
        self.net, self.adaptive = net, adaptive
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self._begun = 0.0

    def training_step(self, batch: dict[str, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        target = batch.pop("target")
        positional = [batch.pop("")] if "" in batch else []
        output = self.net(*positional, **batch)
        loss = getattr(output, "loss", None)
        if loss is None:
            loss = sum(_pooled_loss(tensor, target) for _, tensor in floating_tensors(output) if tensor.requires_grad)
        assert isinstance(loss, torch.Tensor)
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.adaptive:
            return torch.optim.AdamW(self.parameters(), lr=1e-4)
        return torch.optim.SGD(self.parameters(), lr=1e-2, momentum=0.9)


class Clock(pl.Callback):
    """Times whole steps, what every other callback does in them included: the first of the callbacks."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun = 0.0

    def on_train_batch_start(self, *_: object) -> None:
        now = time.perf_counter()
        if self._begun:
            self.seconds.append(now - self._begun)
        self._begun = now

    def on_train_end(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self._begun)


def _pooled_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if output.dim() < 2 or output.shape[0] != target.shape[0]:
        return output.square().mean()
    logits = output.flatten(2).mean(2) if output.dim() > 3 else output.mean(1) if output.dim() == 3 else output
    return nn.functional.cross_entropy(logits, target % logits.shape[1])


@dataclass(frozen=True, slots=True)
class Result:
    """What a network showed.

    Attributes:
        name: of the network.
        layers, residuals: how many were watched.
        ratio: time of a measured step over one that is not; the first, which warms up, is left out.
        findings: per finding, its severity, code and number of layers.
        equal: losses, weights, buffers and random state are the same bits with and without the monitor.
        notices: what the monitor said of itself.
        failure: the exception that ended a training.
    """

    name: str
    layers: int = 0
    residuals: int = 0
    ratio: float = math.nan
    findings: tuple[tuple[str, str, int], ...] = ()
    equal: bool = False
    notices: tuple[str, ...] = ()
    failure: str = ""

    @property
    def faults(self) -> list[str]:
        """What must not be, in words."""
        faults = [self.failure] if self.failure else [] if self.equal else ["the training was changed"]
        faults += [notice for notice in self.notices if LIMIT_WORDS not in notice]
        return faults + [
            f"{code} critical at initialisation" for severity, code, _ in self.findings if severity == "critical"
        ]


def _train(entry: Entry, monitor: InitMonitor | None) -> tuple[ZooTraining, Clock]:
    _seed()
    module = ZooTraining(entry.build().train(), adaptive=entry.adaptive)
    _seed()
    batches = [entry.batch() | {"target": torch.randint(0, CLASSES, (SAMPLES,))} for _ in range(STEPS)]
    clock = Clock()
    data: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    fit(module, data, None, steps=STEPS, callbacks=[clock, *([monitor] if monitor else [])])
    return module, clock


def _seed() -> None:
    # Layer drop and masks of some networks draw from Python's or numpy's numbers.
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


def _same(one: ZooTraining, other: ZooTraining) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return (
        _bits(torch.tensor(one.losses)) == _bits(torch.tensor(other.losses))
        and mine.keys() == theirs.keys()
        and all(_bits(tensor) == _bits(theirs[name]) for name, tensor in mine.items())
    )


def _same_on_one_thread(entry: Entry) -> bool:
    """Compare again with one thread.

    Several add up the gradient of an index (TinyViT's attention biases) in any order: 3 of 24 trainings without a monitor differed
    from the first on a busy machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain, _ = _train(entry, None)
        random_state = torch.get_rng_state()
        watched, _ = _train(entry, InitMonitor(sinks=()))
        return _same(plain, watched) and torch.equal(random_state, torch.get_rng_state())
    finally:
        torch.set_num_threads(threads)


def _bits(tensor: torch.Tensor) -> bytes:
    # Not torch.equal: a NaN is not equal to itself.
    return tensor.detach().flatten().view(torch.uint8).numpy().tobytes()


def try_out(entry: Entry) -> Result:
    """Train a network twice and compare."""
    monitor = InitMonitor(sinks=())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the networks' own; the monitor's are among its notices
            plain, untimed = _train(entry, None)
            random_state = torch.get_rng_state()
            watched, timed = _train(entry, monitor)
    except Exception as error:  # noqa: BLE001 - a table of all of them is the purpose
        return Result(entry.name, failure=f"{type(error).__name__}: {error}"[:300])
    equal = _same(plain, watched) and torch.equal(random_state, torch.get_rng_state())
    return Result(
        entry.name,
        layers=len(monitor.structure),
        residuals=len(monitor.structure.residuals),
        ratio=statistics.median(timed.seconds[1:]) / statistics.median(untimed.seconds[1:]),
        findings=tuple((str(f.severity), f.code, len(f.layers)) for f in monitor.findings),
        equal=equal or _same_on_one_thread(entry),
        notices=tuple(monitor.notices),
        failure="" if len(monitor.records) == STEPS else f"{len(monitor.records)} of {STEPS} steps were recorded",
    )


def page(results: Sequence[Result]) -> str:
    """Return a Markdown page of all results."""
    ratios = [result.ratio for result in results if not math.isnan(result.ratio)]
    totals = Counter(severity for result in results for severity, _, _ in result.findings)
    today = f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}"
    lines = [
        "# Real networks, at their own initialisation",
        "",
        f"{today}, {os.cpu_count()} CPU cores, torch {torch.__version__}: `Trainer.fit` for {STEPS} steps of {SAMPLES} random items,",
        f"every step measured, without the monitor and with it. {len(results)} networks, {sum(not r.faults for r in results)} without fault,",
        f"{sum(r.equal for r in results)} equal to the bit; findings: {', '.join(f'{totals[s]} {s}' for s in SEVERITIES)}.",
    ]
    if ratios:
        spread = statistics.quantiles(ratios, n=10) if len(ratios) > 1 else ratios * 9
        lines.append(
            f"A measured step costs {statistics.median(ratios):.2f} times one that is not (median; 90 % of the networks:"
            f" at most {spread[-1]:.2f}). Unless told otherwise, the monitor measures the first 10 steps and then one in 50."
        )
    lines += [
        "A ratio is that of the medians of two steps each, one training after the other: single ones are rough.",
        "",
        "| network | layers | residuals | measured step | critical | warning | info | faults |",
        "|:--|--:|--:|--:|:--|:--|:--|:--|",
    ]
    for result in results:
        told = {
            s: ", ".join(f"{code} ({n})" for severity, code, n in result.findings if severity == s) for s in SEVERITIES
        }
        remarks = "; ".join(result.faults).replace("|", "\\|").replace("\n", " ")
        ratio = "" if math.isnan(result.ratio) else f"{result.ratio:.2f}"
        cells = (result.name, result.layers, result.residuals, ratio, *(told[s] for s in SEVERITIES), remarks)
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |".replace("  ", " "))
    lines += ["", "Behind a finding's code: how many layers it names."]
    return "\n".join(lines) + "\n"


def write(state: Path, result: Result) -> None:
    """Append a finished network to the state file."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def read(state: Path) -> dict[str, Result]:
    """Return what was finished, by name."""
    if not state.exists():
        return {}
    entries = (json.loads(line) for line in state.read_text(encoding="utf-8").splitlines())
    return {
        e["name"]: Result(**e | {key: tuple(map(_frozen, e[key])) for key in ("findings", "notices")}) for e in entries
    }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def main(arguments: Sequence[str]) -> int:
    """Train what is chosen and not finished yet, write the page, and return 1 if anything has a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="where the page goes")
    parser.add_argument("--state", type=Path, help="finished networks, one JSON line each; read first if it exists")
    parser.add_argument("--only", default="*", help="fnmatch pattern of names")
    parser.add_argument("--shard", default="1/1", help="K/N: every N-th network, from the K-th on")
    given = parser.parse_args(arguments)
    shard, shards = map(int, given.shard.split("/"))
    chosen = [entry for name, entry in zoo().items() if fnmatchcase(name, given.only)][shard - 1 :: shards]
    done = {} if given.state is None else read(given.state)
    for entry in chosen:
        if entry.name not in done:
            begin = time.perf_counter()
            result = done[entry.name] = try_out(entry)
            gc.collect()
            if given.state is not None:
                write(given.state, result)
            told = " ".join(f"{severity}:{code}" for severity, code, _ in result.findings)
            seconds = time.perf_counter() - begin
            print(f"{entry.name:42} {seconds:5.1f} s  {told}  {' '.join(result.faults)}", flush=True)  # noqa: T201
    results = [done[entry.name] for entry in chosen]
    if given.out is not None:
        given.out.write_text(page(results), encoding="utf-8")
        if given.state is not None:  # all of it is on the page: the next run begins anew
            given.state.unlink(missing_ok=True)
    return int(any(result.faults for result in results))


if __name__ == "__main__":
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    sys.exit(main(sys.argv[1:]))
