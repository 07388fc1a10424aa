"""Trains in two processes for tests/capture/test_distributed.py: ``python ranks_training.py SCENARIO DIRECTORY``.

Each process writes what it measured to ``DIRECTORY/<name>.<rank>.json``. In the long scenarios the second process is a fork of
the first, which has imported everything; in the others the Trainer starts it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import conftest  # noqa: F401 - torchvision's operators have to be declared before Lightning looks for it
import pytorch_lightning as pl
import torch
from models import Block, Classifier, add, fit
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy
from torch import distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from init_monitor import InitMonitor, watch
from init_monitor.errors import InitMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from init_monitor.records import Finding, StepRecord


def second_process() -> int:
    """Fork the second process, as a launcher tells its processes who they are; return its number, and 0 within it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    child = os.fork()
    os.environ["LOCAL_RANK"] = "0" if child else "1"
    return child


FORKED = ("measured", "dropped")
"""The scenarios whose second process is a fork."""

OTHER = second_process() if __name__ == "__main__" and sys.argv[1] in FORKED else 0
"""The number of the second process in the first of such a scenario."""

RANK = int(os.environ.get("LOCAL_RANK", "0"))
OUT = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()
BATCH = 32


def network() -> nn.Sequential:
    """Two residual blocks between linear layers, the same in every process."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), Block(32, add), nn.Tanh(), Block(32, add), nn.ReLU(), nn.Linear(32, 10)
    )


def samples(count: int = 3 * BATCH) -> Dataset[Any]:
    """The same labelled samples in every process."""
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(
        torch.randn(count, 16, generator=generator), torch.randint(0, 10, (count,), generator=generator)
    )


def share(data: Dataset[Any], batch: int, indices: Sequence[int] | None = None) -> DataLoader[Any]:
    """Every second sample, or the given ones, in order."""
    count = len(data)  # type: ignore[arg-type]
    return DataLoader(Subset(data, indices if indices is not None else range(RANK, count, 2)), batch_size=batch)


def wrote(
    name: str,
    records: Sequence[StepRecord],
    findings: Sequence[Finding],
    notices: Sequence[str],
    losses: Sequence[float],
    **more: object,
) -> None:
    """Write what this process knows of a training."""
    last = records[-1]
    columns = {**last.columns, **last.parameter_columns, **last.residual_columns}
    content = {
        "steps": [record.step for record in records],
        "names": [last.names, last.parameter_names, last.residual_names],
        "columns": {quantity.value: column.tolist() for quantity, column in columns.items()},
        "findings": [[finding.code, finding.step, str(finding.severity)] for finding in findings],
        "notices": list(notices),
        "losses": list(losses),
        **more,
    }
    (OUT / f"{name}.{RANK}.json").write_text(json.dumps(content))


def trained(
    name: str,
    module: Classifier,
    data: Iterable[Any],
    *,
    ranks: int = 2,
    watched: bool = True,
    steps: int = 3,
    monitor: InitMonitor | None = None,
    **options: Any,
) -> None:
    """Fit, and write the outcome."""
    monitor = (monitor or InitMonitor(dense_steps=3, sinks=())) if watched else None
    error = ""
    try:
        fit(module, data, monitor, steps=steps, devices=ranks, use_distributed_sampler=False, **options)
    except InitMonitorError as raised:
        error = type(raised).__name__
    if monitor is not None:
        wrote(name, monitor.records, monitor.findings, monitor.notices, module.losses, error=error)
    else:
        (OUT / f"{name}.{RANK}.json").write_text(json.dumps({"losses": module.losses}))


class Skips(nn.Module):
    """A layer that the first process skips: it never has a gradient there."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.third, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Go through the third layer on the second process only, from the second call on."""
        self.calls = getattr(self, "calls", 0) + 1
        hidden = self.first(x)
        # All processes see it once; Dropped has layers that some never see.
        if RANK or self.calls == 1:
            hidden = self.third(hidden)
        output: torch.Tensor = self.head(hidden)
        return output


KEPT: dict[str, torch.Tensor] = {}
"""The values of the last forward of :class:`Dropped`, with their gradients."""


def kept(name: str, value: torch.Tensor) -> torch.Tensor:
    """Keep a value and its gradient."""
    value.retain_grad()
    KEPT[name] = value
    return value


class Scaled(nn.Module):
    """``factor * x + F(x)``."""

    def __init__(self, name: str, factor: float) -> None:
        super().__init__()
        self.name, self.factor, self.map = name, factor, nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add."""
        x = kept(f"{self.name} skip", x)
        branch = kept(f"{self.name} branch", self.map(x))
        return kept(f"{self.name} sum", (x if self.factor == 1 else x * self.factor) + branch)


class Dropped(nn.Module):
    """Residual blocks that each process drops in its own way, as stochastic depth does, and layers that only one has."""

    RUN = ((0, 1, 3), (0, 2, 3))
    """The blocks that run on each process: the second only on the first, the third only on the second."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem, self.head = nn.Linear(16, 16), nn.Linear(16, 10)
        self.blocks = nn.ModuleList(Scaled(f"blocks.{i}", 0.5 if i == 3 else 1.0) for i in range(4))
        self.either = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        self.rare = nn.Linear(16, 16)
        self.free = nn.Parameter(torch.randn(16, 16) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Go through this process's blocks."""
        KEPT.clear()
        x = kept("stem", self.stem(x))
        for i in self.RUN[RANK]:
            x = self.blocks[i](x)
        x = kept("either skip", x)
        x = kept("either sum", x + kept("either branch", self.either[RANK](x)))
        x = kept("received", torch.tanh(x))
        if RANK:
            rare = kept("rare", self.rare(x))
            x = kept("free", nn.functional.linear(rare, self.free))
        KEPT["last"] = x
        return kept("head", self.head(x))


class Sharded(Classifier):
    """Shards every block, and the whole."""

    def configure_model(self) -> None:
        """Shard in place."""
        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        for layer in self.net:  # type: ignore[attr-defined]
            if any(True for _ in layer.parameters()):
                fully_shard(layer, mesh=mesh)
        fully_shard(self.net, mesh=mesh)


class Evaluated(Classifier):
    """Sharded as one unit, which stays whole after an evaluation: its parameters are other tensors then."""

    def configure_model(self) -> None:
        """Shard in place."""
        fully_shard(self.net, mesh=self.device_mesh["data_parallel"])  # type: ignore[index]

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> None:
        """Evaluate."""
        self(batch[0])

    def val_dataloader(self) -> DataLoader[Any]:
        """Evaluate on these."""
        return share(samples(), BATCH)


class Fails(Classifier):
    """Raises in the second step of the second process."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Fail where told to."""
        if RANK == 1 and batch_idx == 1:
            message = "out of luck"
            raise RuntimeError(message)
        return super().training_step(batch, batch_idx)


class Summed(Classifier):
    """Sums the losses of its samples: of none it is 0."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        """Divide by what a full batch has."""
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1], reduction="sum") / BATCH
        self.losses.append(float(loss.detach()))
        return loss


class OnFirstRank:
    """Three batches for the first process, and as many without a single sample for the others."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for x, y in DataLoader(samples(), batch_size=BATCH):
            yield (x[:0], y[:0]) if RANK else (x, y)


class Stubborn:
    """A rule that breaks on one process only, inside the monitor rather than the rules."""

    def __init__(self, monitor: InitMonitor) -> None:
        self.monitor = monitor

    def __call__(self, *_: object) -> None:
        """Fail."""
        message = "no space"
        raise MemoryError(message)


class Sabotage(pl.Callback):
    """Breaks the measuring of the second process at the second step."""

    def __init__(self, monitor: InitMonitor) -> None:
        self.monitor = monitor

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: object) -> None:
        """Take a part of the capture away."""
        if RANK == 1 and trainer.global_step == 1:
            capture = self.monitor._monitor._capture  # type: ignore[union-attr]
            capture.close_step = Stubborn(self.monitor)  # type: ignore[method-assign, union-attr]


def exploding() -> nn.Sequential:
    """Weights whose signal grows 512-fold per layer."""
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Linear(64, 64) for _ in range(8)], nn.Linear(64, 10))
    for layer in net:
        nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    return net


def wide(count: int = 96) -> DataLoader[Any]:
    """Samples for the exploding network."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(count, 64, generator=generator), torch.randint(0, 10, (count,), generator=generator)
    return share(TensorDataset(x, y), 16)


def replicas() -> None:
    """DDP in every way that keeps whole replicas."""
    trained("ddp", Classifier(network(), lr=0.05), share(samples(), BATCH // 2), strategy="ddp")
    trained("plain", Classifier(network(), lr=0.05), share(samples(), BATCH // 2), strategy="ddp", watched=False)
    static = DDPStrategy(static_graph=True)
    trained("static", Classifier(network(), lr=0.05), share(samples(), BATCH // 2), strategy=static)
    unused = "ddp_find_unused_parameters_true"
    trained("unused", Classifier(Skips(), lr=0.05), share(samples(), BATCH // 2), strategy=unused)
    # The last batch has 16 samples here and 4 there.
    uneven = [range(48), range(48, 84)][RANK]
    trained("uneven", Classifier(network(), lr=0.0), share(samples(), BATCH // 2, uneven), strategy="ddp")

    trained("empty", Summed(network(), lr=0.0), OnFirstRank(), strategy="ddp")


def decisions() -> None:
    """What one process decides, all do; what one cannot do, does not stop the others."""
    for action in ("stop", "raise"):
        monitor = InitMonitor(dense_steps=3, sinks=(), on_critical=action)
        module = Classifier(exploding(), lr=1e-9)
        trained(action, module, wide(), strategy="ddp", monitor=monitor, steps=3, min_epochs=0)
    monitor = InitMonitor(dense_steps=3, sinks=())
    module = Classifier(network(), lr=0.05)
    options: dict[str, Any] = {"callbacks": [monitor, Sabotage(monitor)]}
    trained("fault", module, share(samples(), BATCH // 2), strategy="ddp", monitor=monitor, **options)
    shown = InitMonitor(dense_steps=3)
    trained("shown", Classifier(exploding(), lr=1e-9), wide(), strategy="ddp", monitor=shown, logger=CSVLogger(OUT))


def dropped() -> None:
    """A loop of its own, in which the processes run different layers from the first step on."""
    distributed.init_process_group("gloo", init_method=f"file://{OUT / 'meeting'}", rank=RANK, world_size=2)
    model = Dropped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    seen = watch(model, optimizer=optimizer, sinks=(), dense_steps=3)
    seen.join_ranks(2)
    with seen:
        for x, y in list(share(samples(), BATCH // 2))[:2]:
            with seen.step():
                loss = nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    layers = {layer.name: [list(layer.inputs), layer.kind, str(layer.role)] for layer in seen.structure.layers}
    blocks = {one.name: [one.branch, list(one.layers)] for one in seen.structure.residuals}
    wrote("dropped", seen.records, seen.findings, seen.notices, [], layers=layers, blocks=blocks)
    # Each process goes back from the mean of its own half.
    values = {name: (value.detach(), value.grad / 2) for name, value in KEPT.items() if value.grad is not None}
    torch.save(values, OUT / f"dropped.{RANK}.pt")
    distributed.destroy_process_group()


def shards() -> None:
    """FSDP 2 through Lightning; FSDP 1, which Lightning has on GPUs only, in a loop of its own."""
    both = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    trained("fsdp2", Sharded(network(), lr=0.05), share(samples(), BATCH // 2), strategy=both)
    both = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    evaluated: dict[str, Any] = {"strategy": both, "val_check_interval": 1, "num_sanity_val_steps": 0}
    trained("evaluated", Evaluated(network(), lr=0.05), share(samples(), BATCH // 2), **evaluated)
    model = FullyShardedDataParallel(
        nn.Sequential(OrderedDict(net=network())), use_orig_params=True, device_id=torch.device("cpu")
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    seen, losses = watch(model, optimizer=optimizer, sinks=(), dense_steps=3), []
    seen.join_ranks(2)
    with seen:
        for x, y in share(samples(), BATCH // 2):
            with seen.step():
                loss = nn.functional.cross_entropy(model(x), y)
                losses.append(float(loss.detach()))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    wrote("fsdp1", seen.records, seen.findings, seen.notices, losses)


def measured() -> None:
    """All that is compared, in two processes; the first of them begins alone."""
    if RANK == 0:
        single()
    replicas()
    shards()
    decisions()


def single() -> None:
    """One process that sees every sample: what the others have to agree with."""
    trained("single", Classifier(network(), lr=0.05), DataLoader(samples(), batch_size=BATCH), ranks=1)
    order = [*range(16), *range(48, 64), *range(16, 32), *range(64, 80), *range(32, 48), *range(80, 84)]
    data = DataLoader(Subset(samples(), order), batch_size=BATCH)
    trained("single-uneven", Classifier(network(), lr=0.0), data, ranks=1)
    trained("single-empty", Summed(network(), lr=0.0), OnFirstRank(), ranks=1)


def broken() -> None:
    """One process raises in the user's own code."""
    module = Fails(network(), lr=0.05)
    fit(module, share(samples(), BATCH // 2), InitMonitor(sinks=()), strategy="ddp", devices=2)


def spawned() -> None:
    """Processes that are spawned or forked by the Trainer: the callback travels by pickle."""
    for strategy in ("ddp_spawn", "ddp_notebook"):
        module = Classifier(network(), lr=0.05)
        fit(module, DataLoader(samples(), batch_size=16), InitMonitor(sinks=()), strategy=strategy, devices=2, steps=3)
        sys.stdout.write(f"{strategy} is done\n")


if __name__ == "__main__":
    {f.__name__: f for f in (measured, dropped, broken, spawned)}[sys.argv[1]]()
    if OTHER and os.waitpid(OTHER, 0)[1]:
        sys.exit("the second process failed")
