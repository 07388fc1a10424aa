"""``torch.compile``: what is not sampled runs the compiled graphs, what is sampled gives the numbers of eager mode."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from models import loader, mlp
from torch import nn
from trainings import Residual, assert_equal, assert_free, assert_same_records, quiet, train

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Lightning's notes on compiled modules, and what the compiler says of itself.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.untraced]

STEPS = 200
SAMPLED = [*range(10), 50, 100, 150]
"""What the default schedule samples of them."""

LOOKED_AT = {Quantity.UNIT_SAMPLES, Quantity.DEAD_FRACTION, Quantity.ALL_POSITIVE_FRACTION}
"""What depends on all batches that a rectifier was looked at with, not on those of sampled steps alone."""


class Quiet(pl.LightningModule):
    """Its training step holds nothing that breaks a graph; losses are noted outside."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(Residual(), nn.ReLU(), nn.Linear(10, 10))
        self.losses: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.net(x)
        return output

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def on_train_batch_end(self, outputs: Any, _batch: Any, _batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"].detach()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Backend:
    """A backend that counts graphs compiled and graphs run; ``inner`` compiles them (``None``: runs them as they are)."""

    def __init__(self, inner: Callable[..., Any] | None = None) -> None:
        self.compiled = self.runs = 0
        self._inner = inner

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.compiled += 1
        inner = graph if self._inner is None else self._inner(graph, inputs)

        def run(*args: Any) -> Any:
            self.runs += 1
            return inner(*args)

        return run


@contextmanager
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def the_module(module: Quiet, backend: Any) -> Any:
    return torch.compile(module, backend=backend)


def the_module_in_place(module: Quiet, backend: Any) -> Any:
    module.compile(backend=backend)
    return module


def a_submodule(module: Quiet, backend: Any) -> Any:
    module.net[0] = torch.compile(module.net[0], backend=backend)  # type: ignore[assignment]
    return module


def a_submodule_in_place(module: Quiet, backend: Any) -> Any:
    module.net[0].compile(backend=backend)
    return module


def a_method(module: Quiet, backend: Any) -> Any:
    module.forward = torch.compile(module.forward, backend=backend, fullgraph=True)  # type: ignore[method-assign]
    return module


def its_class(module: Quiet, backend: Any) -> Any:
    class Decorated(type(module)):  # type: ignore[misc]
        forward = torch.compile(type(module).forward, backend=backend)

    module.__class__ = Decorated
    return module


COMPILED = [the_module, the_module_in_place, a_submodule, a_submodule_in_place, a_method, its_class]


def run(
    compiled: Callable[[Quiet, Any], Any], backend: Any, monitor: InitMonitor | None, **options: Any
) -> tuple[Quiet, dict[str, dict[str, int]]]:
    """Train a compiled module from the one seed; return it and what the compiler counted."""
    torch.manual_seed(11)
    module = Quiet()
    data = loader(16, samples=8 * STEPS, batch=8)
    settings: dict[str, Any] = {
        "max_steps": STEPS, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "accelerator": "cpu", "callbacks": [monitor] if monitor else [],
    }  # fmt: skip
    with fresh_compiler():
        pl.Trainer(**(settings | options)).fit(compiled(module, backend), data)
        counted = {name: dict(found) for name, found in torch._dynamo.utils.counters.items()}
    return module, counted


@pytest.mark.parametrize("compiled", COMPILED)
def test_unsampled_steps_run_the_graphs_that_were_compiled_anyway(compiled: Any) -> None:
    unwatched, backend = Backend(), Backend()
    plain, expected = run(compiled, unwatched, None)
    assert unwatched.compiled >= 1
    assert unwatched.runs == STEPS * unwatched.compiled
    monitor = InitMonitor(sinks=(), strict=True)
    watched, counted = run(compiled, backend, monitor)
    assert [record.step for record in monitor.records] == SAMPLED
    assert monitor.notices == []
    # No graph more, no break, no recompilation; and what was not sampled ran compiled.
    assert backend.compiled == unwatched.compiled
    assert backend.runs == (STEPS - len(SAMPLED)) * unwatched.compiled
    assert counted["stats"]["unique_graphs"] == expected["stats"]["unique_graphs"]
    for kind in ("graph_break", "recompile_limit", "unimplemented"):
        assert counted.get(kind, {}) == expected.get(kind, {})
    assert watched.losses == plain.losses
    for name, weight in plain.net.state_dict().items():
        assert torch.equal(watched.net.state_dict()[name], weight), name


@pytest.mark.parametrize("compiled", COMPILED)
def test_sampled_steps_give_the_numbers_of_eager_mode(compiled: Any) -> None:
    eager, reference, monitor = Quiet, quiet(dense_steps=3, every_n_steps=5), quiet(dense_steps=3, every_n_steps=5)
    train(eager, loader(16, samples=8 * STEPS, batch=8), reference, steps=20)
    run(compiled, Backend(), monitor, max_steps=20)
    assert [record.step for record in monitor.records] == [0, 1, 2, 5, 10, 15]
    for number, (expected, record) in enumerate(zip(reference.records, monitor.records, strict=True)):
        assert len(record.residual_names) == 2
        assert_same_records(expected, record, rtol=0, without=LOOKED_AT if number > 2 else ())
        # The signs of rectifiers are looked at on every step of a batch this small, but for a compiled model.
        for one, steps in ((expected, expected.step), (record, number)):
            assert one.layer_table.at("net.1", Quantity.UNIT_SAMPLES) == 8 * (steps + 1)
    assert monitor.structure == reference.structure


def test_a_graph_with_a_compiled_backward_is_not_compiled_again() -> None:
    aot = torch._dynamo.lookup_backend("aot_eager")
    unwatched, backend = Backend(aot), Backend(aot)
    plain, _ = run(the_module_in_place, unwatched, None, max_steps=60)
    watched, _ = run(the_module_in_place, backend, InitMonitor(sinks=(), strict=True), max_steps=60)
    assert backend.compiled == unwatched.compiled
    assert watched.losses == plain.losses


class Evaluated(Quiet):
    """Evaluates in the middle of its accumulation, with the graph of an evaluation."""

    def validation_step(self, batch: Any, _batch_idx: int) -> None:
        self(batch[0])


def test_an_evaluation_between_two_batches_of_a_sampled_step_is_compiled_as_without_the_monitor() -> None:
    backends = []
    modules = []
    for monitor in (None, InitMonitor(sinks=(), strict=True, dense_steps=2, every_n_steps=4)):
        torch.manual_seed(11)
        backends.append(Backend())
        modules.append(Evaluated())
        module = the_module_in_place(modules[-1], backends[-1])
        data = loader(16, samples=8 * 24, batch=8)
        with fresh_compiler():
            trainer = pl.Trainer(
                max_steps=12, accumulate_grad_batches=2, val_check_interval=1, limit_val_batches=1, logger=False,
                num_sanity_val_steps=0, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, accelerator="cpu", callbacks=[monitor] if monitor else [],
            )  # fmt: skip
            trainer.fit(module, data, data)
    assert_equal(*modules)
    assert backends[1].compiled == backends[0].compiled
    assert monitor is not None
    assert [record.step for record in monitor.records] == [0, 1, 4, 8]
    assert monitor.records[0].layers["net.0.first"].forward.count == 2 * 8 * 16
    modules[1]._compiled_call_impl = None  # a compiled call cannot be pickled, with or without the monitor
    assert_free(modules[1])


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="inductor needs a C++ compiler on the CPU"
)
def test_a_model_compiled_by_inductor_is_measured_as_in_eager_mode() -> None:
    """Its own arithmetic differs from eager mode's in the last bits, so sampled steps differ from the others by that."""
    reference = quiet(dense_steps=2, every_n_steps=10)
    eager = train(Quiet, loader(16, samples=8 * STEPS, batch=8), reference, steps=24)
    monitor = quiet(dense_steps=2, every_n_steps=10)
    watched, counted = run(the_module_in_place, "inductor", monitor, max_steps=24)
    alone, expected = run(the_module_in_place, "inductor", None, max_steps=24)
    assert counted["stats"]["unique_graphs"] == expected["stats"]["unique_graphs"]
    assert counted.get("graph_break", {}) == expected.get("graph_break", {})
    assert_same_records(reference.records[0], monitor.records[0], rtol=0)
    np.testing.assert_allclose(watched.losses, alone.losses, rtol=1e-5)
    np.testing.assert_allclose(np.array(watched.losses), np.array(eager.losses), rtol=1e-5)
    for ours, theirs in zip(monitor.records, reference.records, strict=True):
        np.testing.assert_allclose(ours.column(Quantity.VARIANCE), theirs.column(Quantity.VARIANCE), rtol=1e-4)


def test_a_compiled_model_under_mixed_precision_is_measured_in_its_formats() -> None:
    backend, monitor = Backend(), quiet(dense_steps=2, every_n_steps=4)
    run(the_module_in_place, backend, monitor, max_steps=8, precision="bf16-mixed")
    assert backend.runs == 5 * backend.compiled
    assert monitor.structure.by_name()["net.0.first"].dtype == "bfloat16"


def test_a_compiled_model_can_be_watched_without_lightning() -> None:
    with fresh_compiler():
        net, backend = mlp(1, 8), Backend()
        model: Any = torch.compile(net, backend=backend)
        with init_monitor.watch(model, dense_steps=1, every_n_steps=3, sinks=(), strict=True) as m:
            for _ in range(4):
                with m.step():
                    model(torch.ones(4, 8)).mean().backward()
    assert (backend.compiled, backend.runs) == (1, 2)
    assert [(record.step, record.names) for record in m.records] == [(0, ("0", "1", "2")), (3, ("0", "1", "2"))]
