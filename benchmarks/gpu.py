"""What a measured step costs on a CUDA device: time, launches, waits and memory, against the same step unmeasured.

``python benchmarks/gpu.py [--out FILE] [--device cpu --tiny]``

ResNet-50 and ViT-B/16 at batch 64 in bfloat16, and a GPT of 12 layers with ``torch.compile``; then a whole ``Trainer.fit`` of
each with the default schedule. It stays under three minutes on one device. ``--device cpu --tiny`` runs all of it on small
networks where there is no device: to try the script, not the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import conftest  # noqa: F401 - torchvision's operators have to be declared before Lightning looks for it
import pytorch_lightning as pl
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import init_monitor
from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WARM, TIMED = 3, 8
FIT_STEPS = 200
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


class Gpt(nn.Module):
    """A decoder of transformer blocks over tokens."""

    def __init__(self, layers: int, width: int, words: int, context: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, max(1, width // 64), 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next token."""
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        x = self.words(tokens) + self.places(torch.arange(length, device=tokens.device))
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits


class Case(NamedTuple):
    """One network and what it is fed.

    Attributes:
        make: the network.
        batch: of inputs and targets, on the device.
        compiled: by ``torch.compile``.
    """

    make: Callable[[], nn.Module]
    batch: Callable[[str], tuple[torch.Tensor, torch.Tensor]]
    compiled: bool = False


class Steps(NamedTuple):
    """What some steps cost.

    Attributes:
        seconds: the median of a step.
        launches: of kernels, in a step.
        waits: of the host for the device, in a step.
        peak: bytes of the device at most.
    """

    seconds: float
    launches: int
    waits: int
    peak: int


def cases(*, tiny: bool) -> dict[str, Case]:
    """Return the networks to measure."""
    import torchvision.models as tv  # noqa: PLC0415 - where it is installed

    size, count, classes = (32, 2, 10) if tiny else (224, 64, 1000)
    layers, width, words, context, rows = (2, 64, 50, 16, 2) if tiny else (12, 768, 50_257, 512, 8)

    def pictures(device: str) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(count, 3, size, size, device=device), torch.randint(classes, (count,), device=device)

    def text(device: str) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = torch.randint(words, (rows, context + 1), device=device)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    return {
        "ResNet-50": Case(lambda: tv.resnet18(num_classes=10) if tiny else tv.resnet50(), pictures),
        "ViT-B/16": Case(
            lambda: tv.VisionTransformer(32, 16, 2, 2, 32, 64, num_classes=10) if tiny else tv.vit_b_16(), pictures
        ),
        "GPT, 12 layers, compiled": Case(lambda: Gpt(layers, width, words, context), text, compiled=True),
    }


def loss_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor, device: str) -> torch.Tensor:
    """Return the loss in bfloat16."""
    with torch.autocast(device, torch.bfloat16):
        output = model(x)
        loss: torch.Tensor = nn.functional.cross_entropy(output.flatten(0, -2), y.flatten())
        return loss


def wait(device: str) -> None:
    """Wait for the device, if there is one to wait for."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextlib.contextmanager
def profiled(device: str) -> Iterator[dict[str, int]]:
    """Count launches and waits; none on the CPU."""
    counted = {"launches": 0, "waits": 0}
    if device != "cuda":
        yield counted
        return
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        yield counted
    for event in seen.key_averages():
        counted["launches"] += event.count * event.key.startswith(("cudaLaunchKernel", "cuLaunchKernel"))
        counted["waits"] += event.count * event.key.startswith(WAITS)


def stepped(case: Case, device: str, *, watched: bool) -> Steps:
    """Return what a step costs, every one measured or none."""
    torch.manual_seed(0)
    model, (x, y) = case.make().to(device), case.batch(device)
    called = torch.compile(model) if case.compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(called, x, y, device).backward()
        optimizer.step()

    def run(steps: int, each: Callable[[], contextlib.AbstractContextManager[Any]]) -> list[float]:
        spent = []
        for _ in range(steps):
            wait(device)
            begin = time.perf_counter()
            with each():
                step()
            wait(device)
            spent.append(time.perf_counter() - begin)
        return spent

    with contextlib.ExitStack() as leaving:
        each: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
        if watched:
            each = leaving.enter_context(init_monitor.watch(model, optimizer, sinks=(), dense_steps=10**6)).step
        run(WARM, each)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = statistics.median(run(TIMED, each))
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        with profiled(device) as counted, each():
            step()
    return Steps(seconds, counted["launches"], counted["waits"], peak)


class Module(pl.LightningModule):
    """Trains a network on the same batch again and again."""

    def __init__(self, case: Case, device: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = case.make()
        self.place = device
        if case.compiled:
            self.net.compile()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss."""
        return loss_of(self.net, *batch, self.place)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-5)


class Again:
    """The same batch, on its device already, as often as there are steps."""

    def __init__(self, batch: tuple[torch.Tensor, torch.Tensor], steps: int) -> None:
        self._batch, self._steps = batch, steps

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return itertools.repeat(self._batch, self._steps)


def fitted(case: Case, device: str, steps: int, *, watched: bool) -> float:
    """Return the seconds of a whole fit with the default schedule, without those before its first step."""
    begun: list[float] = []

    class Begins(pl.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            if not begun:  # what is compiled is compiled, and what is built is built
                wait(device)
                begun.append(time.perf_counter())

    trainer = pl.Trainer(
        max_steps=steps, accelerator="gpu" if device == "cuda" else "cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        callbacks=[Begins(), *([InitMonitor(sinks=())] if watched else [])],
    )  # fmt: skip
    trainer.fit(Module(case, device), Again(case.batch(device), steps))
    wait(device)
    return time.perf_counter() - begun[0]


def report(device: str, steps: int, *, tiny: bool) -> str:
    """Run everything and return a Markdown page."""
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU (tiny networks: a trial of the script)"
    lines = [
        "# Cost of a measured step on a GPU",
        "",
        f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}, torch {torch.__version__}, {name}. Every step measured, against none:",
        f"medians of {TIMED} steps. Whole `Trainer.fit`: {steps} steps with the default schedule, from the end of the first.",
        "",
        "| network | step | measured | ratio | launches | waits | peak memory | whole fit |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for title, case in cases(tiny=tiny).items():
        alone, measured = (stepped(case, device, watched=watched) for watched in (False, True))
        fit = [fitted(case, device, steps, watched=watched) for watched in (False, True)]
        lines.append(
            f"| {title} | {1e3 * alone.seconds:.1f} ms | {1e3 * measured.seconds:.1f} ms |"
            f" {measured.seconds / alone.seconds:.2f} | {alone.launches} → {measured.launches} |"
            f" {alone.waits} → {measured.waits} | {alone.peak / 1e9:.2f} → {measured.peak / 1e9:.2f} GB |"
            f" {fit[0]:.1f} → {fit[1]:.1f} s ({fit[1] / fit[0]:.3f}) |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks, to try the script")
    parser.add_argument("--steps", type=int, default=FIT_STEPS, help="of each whole fit")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here; try the script with --device cpu --tiny.")
    warnings.simplefilter("ignore")
    page = report(options.device, options.steps, tiny=options.tiny)
    print(page)
    if options.out is not None:
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
