"""Trainings on a CUDA device: the same to the bit, the same numbers as on the CPU, one wait per step, small buffers.

``make test-gpu`` runs them, and no other target. Where there is no device each is skipped, with that as the reason.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, loader, mlp
from torch import nn
from torch.overrides import TorchFunctionMode
from trainings import Residual, assert_equal, assert_free, quiet

from init_monitor import InitMonitor
from init_monitor.capture.capture import Capture
from init_monitor.measures import Knee, Layout, Reduction, Scratch, cuda, reduce
from init_monitor.measures.cuda import ACCELERATOR_BLOCK
from init_monitor.measures.eager import Eager
from init_monitor.records.quantities import Quantity

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch sees none here"),
    # Lightning's notes on workers and precision, the compiler's on itself.
    pytest.mark.filterwarnings("ignore"),
]

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Pictures(nn.Module):
    """Convolutions, batch norm, an in-place activation, a residual addition, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 1))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(32, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        output: torch.Tensor = self.head(x + self.branch(x))
        return output


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (16,)),
    "pictures": (Pictures, (3, 24, 24)),
}


class OnDevice(Classifier):
    """Notes its losses without waiting for the device."""

    def training_step(self, batch: Any, _batch_idx: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.noted = [*getattr(self, "noted", []), loss.detach()]
        return loss

    def on_train_end(self) -> None:
        self.losses = [float(loss) for loss in getattr(self, "noted", [])]
        self.noted = []


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Bit equality needs kernels that give the same bits twice."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
    yield
    torch.use_deterministic_algorithms(mode=False)


def trained(
    network: str, monitor: InitMonitor | None, *, accelerator: str = "gpu", steps: int = 12, **options: Any
) -> OnDevice:
    make, shape = NETWORKS[network]
    torch.manual_seed(11)
    module = OnDevice(make(), lr=0.02)
    data = loader(*shape, samples=16 * steps, batch=16)
    callbacks = [] if monitor is None else [monitor]
    settings = QUIET | {"max_steps": steps, "accelerator": accelerator, "devices": 1, "callbacks": callbacks}
    pl.Trainer(**(settings | options)).fit(module, data)
    assert_free(module)
    return module


@pytest.mark.parametrize("measure", ["exact", "staged"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "64-true"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_training_is_the_same_to_the_bit_in_every_precision(network: str, precision: Any, measure: str) -> None:
    monitor = quiet(measure=measure)
    plain = trained(network, None, precision=precision)
    state = torch.cuda.get_rng_state()
    watched = trained(network, monitor, precision=precision)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert_equal(plain, watched)
    assert len(monitor.records) == 12
    assert monitor.notices == []
    assert all(record.loss_scaled == (precision == "16-mixed") for record in monitor.records)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_numbers_are_those_of_the_cpu(network: str) -> None:
    on_cpu, on_gpu = quiet(), quiet()
    trained(network, on_cpu, accelerator="cpu", steps=1)
    trained(network, on_gpu, steps=1)
    assert on_gpu.structure.names == on_cpu.structure.names
    assert on_gpu.records[0].residual_names == on_cpu.records[0].residual_names
    quantities = [Quantity.VARIANCE, Quantity.WEIGHT_NORM]
    if network == "residual":  # without dropout, whose masks are not the same on both
        quantities += [Quantity.GRADIENT_VARIANCE, Quantity.WEIGHT_GRADIENT_NORM, Quantity.RESIDUAL_VARIANCE_RATIO]
    for quantity in quantities:
        np.testing.assert_allclose(
            on_gpu.records[0].column(quantity), on_cpu.records[0].column(quantity), rtol=2e-2, err_msg=str(quantity)
        )


def test_a_gradient_scaler_is_divided_out_on_the_device_too() -> None:
    plain, mixed = quiet(), quiet()
    trained("residual", plain)
    trained("residual", mixed, precision="16-mixed")
    for quantity in (Quantity.GRADIENT_VARIANCE, Quantity.WEIGHT_GRADIENT_NORM):
        np.testing.assert_allclose(
            mixed.records[0].column(quantity), plain.records[0].column(quantity), rtol=0.05, err_msg=str(quantity)
        )


class Waits(TorchFunctionMode):
    """Counts the calls that wait for the device."""

    NAMES = ("cpu", "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "nonzero", "synchronize")

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.NAMES and args and isinstance(args[0], torch.Tensor) and args[0].is_cuda:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "staged"])
def test_a_sampled_step_waits_for_the_device_once(*, exact: bool) -> None:
    """torch itself raises at every other wait."""
    from init_monitor.capture.scope import Scope

    def fail(name: str, error: Exception) -> None:
        raise AssertionError(name) from error

    torch.manual_seed(0)
    model = Pictures().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(16, 3, 24, 24, device="cuda")
    capture = Capture(model, Scope(exact=exact), fail)
    for sampled in range(3):
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error" if sampled else "default")  # the first step may still allocate
        try:
            capture.open_step()
            optimizer.zero_grad()
            loss = model(x).square().mean()
            capture.end_forward()
            loss.backward()
            capture.before_optimizer(model.parameters())
            optimizer.step()
            capture.after_optimizer()
            capture.end_batch(torch.tensor(0.5, device="cuda"))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        with Waits() as waits:
            measured = capture.close_step()
        assert sum(waits.seen.values()) == 1, waits.seen
        assert measured.drained


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_is_held_on_the_device_between_steps(network: str) -> None:
    make, shape = NETWORKS[network]
    peaks: list[int] = []
    rests: list[list[int]] = []

    class Weighs(pl.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            torch.cuda.synchronize()
            rests[-1].append(torch.cuda.memory_allocated())

    for monitor in (None, quiet()):
        rests.append([])
        torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        callbacks: list[pl.Callback] = [Weighs(), *([monitor] if monitor else [])]
        pl.Trainer(**QUIET, max_steps=6, accelerator="gpu", devices=1, callbacks=callbacks).fit(
            Classifier(make()), loader(*shape, samples=96, batch=16)
        )
        peaks.append(torch.cuda.max_memory_allocated())
    # Between two steps: what the training itself has; the allocator rounds up.
    assert max(rests[1][1:]) - max(rests[0][1:]) < 1 << 20
    assert peaks[1] - peaks[0] < 6 * 4 * ACCELERATOR_BLOCK


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_unsampled_steps_run_the_compiled_graphs(mode: str) -> None:
    """``reduce-overhead`` replays CUDA graphs, which an eager step in between must not disturb."""
    torch.use_deterministic_algorithms(mode=False)

    def compiled(monitor: InitMonitor | None) -> tuple[list[float], dict[str, int]]:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        torch.manual_seed(11)
        module = OnDevice(Residual(), lr=0.02)
        module.net.compile(mode=mode)
        callbacks: list[pl.Callback] = [] if monitor is None else [monitor]
        pl.Trainer(**QUIET, max_steps=60, accelerator="gpu", devices=1, callbacks=callbacks).fit(
            module, loader(16, samples=16 * 60, batch=16)
        )
        return module.losses, dict(torch._dynamo.utils.counters["stats"])

    alone, expected = compiled(None)
    monitor = InitMonitor(sinks=(), strict=True)
    watched, counted = compiled(monitor)
    assert [record.step for record in monitor.records] == [*range(10), 50]
    assert counted["unique_graphs"] == expected["unique_graphs"]
    np.testing.assert_allclose(watched, alone, rtol=1e-3)


def test_unit_categories_on_the_device_are_those_of_the_host() -> None:
    on_cpu, on_gpu = quiet(), quiet()
    for monitor, accelerator in ((on_cpu, "cpu"), (on_gpu, "gpu")):
        torch.manual_seed(3)
        net = mlp(6, 64, nn.init.kaiming_normal_)
        pl.Trainer(**QUIET, max_steps=4, accelerator=accelerator, devices=1, callbacks=[monitor]).fit(
            Classifier(net, lr=0.0), loader(64, samples=256, batch=64)
        )
    for ours, theirs in zip(on_gpu.records[-1], on_cpu.records[-1], strict=True):
        assert ours.units == theirs.units


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((64, 64, 56, 56), Layout(0, 1)),
        ((64, 512, 7, 7), Layout(0, 1)),
        ((16, 197, 768), Layout(0, 2)),
        ((1000, 300), Layout(0, 1)),
        ((1000, 1001), None),
    ],
    ids=str,
)
def test_triton_reads_what_torch_does(shape: tuple[int, ...], layout: Layout | None, dtype: torch.dtype) -> None:
    assert cuda.source() is not None, "Triton comes with torch for CUDA"
    x = torch.randn(shape, device="cuda", generator=torch.Generator("cuda").manual_seed(0)).to(dtype)
    x.view(-1)[:3] = torch.tensor([0.0, torch.nan, torch.inf], dtype=dtype)
    plan = Reduction(layout, rectifier=layout is not None, knee=Knee(0.5, 0.25))
    for laid in (x, x.transpose(0, -1).contiguous().transpose(0, -1)):
        kernel = cuda.KERNELS[0]
        assert kernel.applies(laid.unsqueeze(0), plan)
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = cuda.one_read(laid.unsqueeze(0), plan)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        expected = Eager().reduce(laid.unsqueeze(0), plan, Scratch(x.device))
        torch.testing.assert_close(found.rows[:1], expected.rows, rtol=1e-5, atol=1e-3)
        for ours, theirs in zip(found.units or (), expected.units or (), strict=True):
            assert ours is not None
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2, equal_nan=True)
        assert reduce(laid.unsqueeze(0), plan).rows.shape == (1, 8)
