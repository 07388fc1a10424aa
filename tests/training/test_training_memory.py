"""What a watched training takes up: nothing of a step is kept, nothing grows, and the buffers are small."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, fit, loader
from torch import nn
from trainings import Residual, both, quiet

from init_monitor.capture.capture import Capture
from init_monitor.capture.parameters import FOLLOWED_ELEMENTS, elements_each
from init_monitor.capture.scope import Scope
from init_monitor.capture.stacked import Stacked
from init_monitor.measures.cpu import CPU_BLOCK, CPU_SCRATCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor import InitMonitor

pytestmark = pytest.mark.untraced

MEGABYTE = 1 << 20


# --- nothing is kept alive -------------------------------------------------------------------------------------------


class Followed(Classifier):
    """Keeps a weak reference to every activation and every gradient, and counts which live on after the step."""

    def __init__(self, net: nn.Module, **options: Any) -> None:
        super().__init__(net, **options)
        self.seen: list[weakref.ref[torch.Tensor]] = []
        self.outlived: list[int] = []
        for module in net.modules():
            if not list(module.children()):
                module.register_forward_hook(self._follow)

    def _follow(self, _module: nn.Module, _args: Any, output: torch.Tensor) -> None:
        self.seen.append(weakref.ref(output))
        output.register_hook(lambda gradient: self.seen.append(weakref.ref(gradient)))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        # Lightning keeps the last batch's output until here; what is alive now, somebody else keeps.
        gc.collect()
        self.outlived.append(sum(reference() is not None for reference in self.seen))
        self.seen = []
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("measure", ["exact", "staged"])
def test_no_activation_and_no_gradient_outlives_its_step(measure: str) -> None:
    lasting = []
    for monitor in (None, quiet(measure=measure)):
        torch.manual_seed(0)
        module = Followed(Residual())
        fit(module, loader(16), monitor, steps=3, accumulate_grad_batches=2)
        assert len(module.outlived) == 6
        lasting.append(module.outlived)
    assert lasting[1] == lasting[0] == [0] * 6


# --- nothing grows ---------------------------------------------------------------------------------------------------


def test_a_step_of_many_micro_batches_takes_no_more_memory_than_one_of_few() -> None:
    model = Residual()
    capture = Capture(model, Scope(), lambda name, error: pytest.fail(f"{name}: {error}"))
    held = []
    capture.open_step()
    for _ in range(50):
        model(torch.randn(4, 16)).sum().backward()
        capture.end_batch()
        capture.begin_batch()
        held.append(len(capture._hooks._handles))
    capture.abort()
    assert held == held[:1] * 50


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource.getrusage is how the memory of a process is read")
def test_four_thousand_measured_steps_take_no_more_memory_than_two_thousand(tmp_path: Path) -> None:
    """With the rules at work, findings that come and go, and the run store."""
    script = Path(__file__).parents[1] / "long_training.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=400,
        env=os.environ | {"PYTHONPATH": str(script.parent.parent), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["kept"] == list(range(3_984, 4_000))
    assert len({step for _, step in result["findings"]}) > 3
    # 2,000 steps at 100 bytes each would be 0.2 MB.
    assert result["grown"] < 0.2 * MEGABYTE


# --- buffers ---------------------------------------------------------------------------------------------------------


def tensors_of(owner: object) -> Iterator[torch.Tensor]:
    """Yield every tensor that can be reached from an object of the monitor without going through the model."""
    seen: set[int] = set()
    waiting = [owner]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (nn.Module, type, torch.optim.Optimizer)) or callable(one):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            yield one
        else:
            waiting += gc.get_referents(one)


def bytes_of(owner: object, model: nn.Module) -> int:
    """Return the bytes of all storages that the monitor holds and the model does not."""
    theirs = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    theirs |= {p.grad.untyped_storage().data_ptr() for p in model.parameters() if p.grad is not None}
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors_of(owner)}
    return sum(size for pointer, size in storages.items() if pointer not in theirs)


class Deep(nn.Module):
    """200 layers: 100 linear ones and 100 activations, in residual blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(100))
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = (x + layer(x)) * 0.5**0.5
        output: torch.Tensor = self.head(x)
        return output


class Weighs(pl.Callback):
    """Weighs what the monitor holds, at every moment of a training at which Lightning calls."""

    def __init__(self, monitor: InitMonitor) -> None:
        self.monitor = monitor
        self.between: list[int] = []
        self.inside: list[int] = []

    def _weigh(self, module: pl.LightningModule, into: list[int]) -> None:
        assert self.monitor._monitor is not None
        into.append(bytes_of(self.monitor._monitor._capture, module))

    def on_train_batch_start(self, _trainer: Any, module: pl.LightningModule, *_: Any) -> None:
        self._weigh(module, self.between)

    def on_before_backward(self, _trainer: Any, module: pl.LightningModule, _loss: Any) -> None:
        self._weigh(module, self.inside)

    def on_before_optimizer_step(self, _trainer: Any, module: pl.LightningModule, _optimizer: Any) -> None:
        self._weigh(module, self.inside)

    def on_before_zero_grad(self, _trainer: Any, module: pl.LightningModule, _optimizer: Any) -> None:
        self._weigh(module, self.inside)


@pytest.mark.parametrize(("width", "per_unit"), [(32, 0), (128, 16)])
def test_two_hundred_layers_are_measured_within_a_megabyte(width: int, per_unit: int) -> None:
    """Wide layers take what their units are summed up in besides: that is a result, no buffer."""
    monitor = quiet()
    weighs = Weighs(monitor)
    fit(Classifier(Deep(width), lr=1e-3), loader(width, samples=96), None, steps=3, callbacks=[monitor, weighs])
    assert len(monitor.structure.layers) == 201
    assert len(monitor.records) == 3
    assert len(monitor.records[-1].residual_names) == 100
    assert len(weighs.inside) == 9
    # It is a real weighing: a step under way holds something.
    assert max(weighs.inside) > 1 << 14
    assert max(weighs.inside) < MEGABYTE + per_unit * width * 201
    assert max(weighs.between) == 0


def test_what_is_worked_in_is_given_back_after_every_micro_batch() -> None:
    accumulator = Stacked(torch.device("cpu"), exact=True)
    row = accumulator.new_row()
    before = bytes_of(accumulator, nn.Identity())
    accumulator.take(row, torch.randn(100, 100))
    # Scratch is made only where the kernel that reads needs some.
    assert 4 * CPU_BLOCK <= bytes_of(accumulator, nn.Identity()) < 4 * (CPU_BLOCK + 2 * CPU_SCRATCH) + 1024
    accumulator.end_batch()
    assert 0 < bytes_of(accumulator, nn.Identity()) < 1024
    accumulator.drain()
    assert bytes_of(accumulator, nn.Identity()) == before == 0


@pytest.mark.parametrize(
    "sizes", [[10], [10] * 400, [1 << 24] * 10, [64, 1 << 12] * 200, [1, 1 << 20, 1 << 8] * 50, []]
)
def test_the_followed_elements_of_all_parameters_keep_to_their_budget(sizes: list[int]) -> None:
    each = elements_each(sizes)
    followed = sum(min(size, each) for size in sizes)
    assert followed <= max(FOLLOWED_ELEMENTS, 256 * len(sizes))
    # Nothing is given away: either all is followed, or the budget is used up but for the remainder of a division.
    assert followed == sum(sizes) or followed > FOLLOWED_ELEMENTS - len(sizes)


def test_a_training_with_tensors_larger_than_any_buffer_is_the_same() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 24, 3, padding=1), nn.Linear(24, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.head(torch.relu(self.stem(x)).mean((2, 3)))
            return output

    monitor, _ = both(lambda: Classifier(Wide()), loader(3, 40, 40, samples=48, batch=16), steps=2, copies=False)
    assert monitor.records[-1].layers["net.stem"].forward.count == 16 * 24 * 40 * 40
