"""A failure at any place inside the monitor: the training goes on to the same bits, and it is said once.

Every function and method of measuring, judging and showing is made to fail, one at a time: at its first call only, and at
every call. With ``strict=True`` the same failure is raised as what it is.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from models import Classifier, fit, loader
from pytorch_lightning.loggers import TensorBoardLogger
from test_fuzz import clean
from torch import nn
from torch.overrides import _get_current_function_mode_stack, _pop_mode

import init_monitor
from init_monitor import DEFAULT_RULES, InitMonitor, InitMonitorError, InitMonitorWarning
from init_monitor.capture import hooks
from init_monitor.sinks import RunStoreSink, default_sinks
from init_monitor.store import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType, FunctionType, ModuleType

pytestmark = pytest.mark.untraced

STEPS, SAMPLES, WIDTH = 2, 8, 8

ROOMS = ("capture", "structure", "measures", "records", "rules.engine", "torch_compat", "training_loss", "standalone")
"""Packages and modules whose functions are made to fail."""

SPARED = (
    # These are what keeps a failure from the training: whatever they call may fail, they are too short to.
    "capture.hooks.LayerHooks._forward",
    "capture.hooks.LayerHooks._pass_on",
    "structure.calls.ModuleCalls._enter",
    "structure.calls.ModuleCalls._leave",
    "capture.hearing.hear",
    "capture.ranks.Ranks.put_together",
    "capture.ranks.Ranks.hear",
    "standalone.Watch.",
    # These run before the training or are one comparison.
    "capture.ranks.Ranks.__init__",
    "capture.backward_root.BackwardRoot.__init__",
    "capture.losses.LossMeter.__init__",
    "records.losses.LossCurve.__init__",
    "training_loss.TrainingLoss.__init__",
    "capture.schedule.Schedule.is_due",
    "capture.schedule.Patience.__init__",
    "structure.wrappers.",
    "standalone.watch",
    "rules.engine.Engine.__init__",
    "rules.engine._check",
    # Found once in a process, before this training.
    "measures.compiling.",
    "measures.native._loaded",
    "measures.native._path",
    "measures.native._without_gaps",
    "structure.score_rows._step",
    "standalone._optimizers",
    # Called by a table, where it cannot be replaced.
    "structure.sums._addition",
)

NEVER_DETACHED = (
    "capture.backward_root.BackwardRoot.end",
    "capture.hooks.LayerHooks.detach",
    "structure.calls.ModuleCalls.detach",
    "structure.probe.Probe.__exit__",
    "torch_compat.Attachment.remove",
)
"""Where these fail at every attempt, hooks stay: nobody else takes them off."""


class Place(NamedTuple):
    """A function or method, and how to replace it."""

    owner: Any
    name: str
    label: str
    original: FunctionType


def _modules(room: str) -> Iterator[ModuleType]:
    module = importlib.import_module(f"init_monitor.{room}")
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield importlib.import_module(f"{module.__name__}.{found.name}")


def _places() -> Iterator[Place]:
    for room in ROOMS:
        for module in _modules(room):
            for name, value in vars(module).items():
                own = inspect.isfunction(value) and not hasattr(value, "__wrapped__")
                if own and value.__module__ == module.__name__:
                    yield Place(module, name, f"{module.__name__}.{name}", value)
                elif inspect.isclass(value) and value.__module__ == module.__name__:
                    for method, function in vars(value).items():
                        written = method == "__init__" or not method.startswith("__")
                        if (
                            inspect.isfunction(function)
                            and written
                            and function.__code__.co_filename == module.__file__
                        ):
                            label = f"{module.__name__}.{name}.{method}"
                            yield Place(value, method, label, function)


class Fault:
    """Fails at the first call, or at all of them; counts."""

    def __init__(self, original: Callable[..., Any], error: type[Exception], *, always: bool) -> None:
        self.original, self.error, self.always, self.calls = original, error, always, 0

    def function(self) -> Callable[..., Any]:
        def failing(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.always or self.calls == 1:
                message = "forced"
                raise self.error(message)
            return self.original(*args, **kwargs)

        return failing


def _replace(monkeypatch: pytest.MonkeyPatch, place: Place, failing: Callable[..., Any]) -> None:
    """Put the failing function wherever the original is known by a name: modules import functions from one another."""
    monkeypatch.setattr(place.owner, place.name, failing)
    if not inspect.ismodule(place.owner):
        return
    for room in (*ROOMS, "monitor", "judgement"):
        for module in _modules(room):
            if vars(module).get(place.name) is place.original:
                monkeypatch.setattr(module, place.name, failing)


class Net(nn.Module):
    """One of everything that is measured: a weight, a norm, an activation, a function, a residual, attention, a repeated call."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()
        self.branch, self.drop, self.softmax = nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1), nn.Softmax(-1)
        self.cell, self.head = nn.GRU(WIDTH, WIDTH, batch_first=True), nn.Linear(WIDTH, 10)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = x + self.drop(nn.functional.gelu(self.branch(self.act(x))))
        y = self.branch(x).view(2, SAMPLES // 2, WIDTH)
        y = nn.functional.scaled_dot_product_attention(y, y, y, attn_mask=torch.eye(SAMPLES // 2))
        y = (torch.einsum("nid,njd->nij", y, y) / WIDTH**0.5 + 1).softmax(-1) @ y
        x = x + self.attention(y, y, y)[0].reshape(SAMPLES, WIDTH)
        x = self.cell(x.unsqueeze(1))[0].flatten(1)
        output: torch.Tensor = self.head(self.softmax(x))
        return output


class Seen(NamedTuple):
    """What came of a training."""

    losses: list[float]
    weights: list[torch.Tensor]
    random: torch.Tensor
    warned: list[str]
    model: nn.Module


def train(**options: Any) -> Seen:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses: list[float] = []

    def step() -> None:
        optimizer.zero_grad()
        for _ in range(2):
            loss = nn.functional.cross_entropy(model(torch.randn(SAMPLES, WIDTH)), torch.randint(0, 10, (SAMPLES,)))
            losses.append(loss.item())
            loss.backward()
        optimizer.step()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if options.pop("plain", False):
            for _ in range(STEPS):
                step()
        else:
            with init_monitor.watch(model, optimizer, **options) as monitor:
                for _ in range(STEPS):
                    with monitor.step():
                        step()
                monitor.state_dict()
    warned = [str(w.message) for w in caught if issubclass(w.category, InitMonitorWarning)]
    return Seen(losses, list(model.parameters()), torch.get_rng_state(), warned, model)


PLAIN = train(plain=True)


def _reached() -> dict[str, Place]:
    """Return the places that a training comes by: the others could fail without anybody noticing."""
    seen: set[object] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        train(sinks=())
    finally:
        sys.setprofile(None)
    found = {place.label.removeprefix("init_monitor."): place for place in _places() if place.original.__code__ in seen}
    return {label: place for label, place in found.items() if not label.startswith(SPARED)}


PLACES = _reached()


def unchanged(seen: Seen) -> bool:
    same = seen.losses == PLAIN.losses and torch.equal(seen.random, PLAIN.random)
    return same and all(torch.equal(a, b) for a, b in zip(seen.weights, PLAIN.weights, strict=True))


@pytest.fixture(autouse=True)
def no_mode_stays() -> Iterator[None]:
    """Take off what a test of :data:`NEVER_DETACHED` leaves on this thread, for the tests after it."""
    yield
    while _get_current_function_mode_stack():
        _pop_mode()


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
@pytest.mark.parametrize("label", PLACES)
def test_a_failure_anywhere_is_said_once_and_changes_nothing(
    label: str, monkeypatch: pytest.MonkeyPatch, *, always: bool
) -> None:
    # Memory that runs out, a full disk and plain mistakes are all caught: a different one at each place.
    error = (RuntimeError, MemoryError, OSError, AssertionError)[len(label) % 4]
    fault = Fault(PLACES[label].original, error, always=always)
    _replace(monkeypatch, PLACES[label], fault.function())
    seen = train(sinks=())
    assert fault.calls > 0
    assert unchanged(seen)
    assert clean(seen.model) or (always and label in NEVER_DETACHED)
    assert all("forced" in notice for notice in seen.warned)
    # The layers and the probe, which is what sees everything between them, are switched off each for itself; so are
    # rules. Within them it is said once, however many layers there are.
    rules = label.startswith(("records.", "rules."))
    assert 1 <= len(seen.warned) <= (len(DEFAULT_RULES) if rules else 2) if always else len(seen.warned) == 1


@pytest.mark.parametrize("label", PLACES)
def test_strict_raises_the_same_failure(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault(PLACES[label].original, RuntimeError, always=False)
    _replace(monkeypatch, PLACES[label], fault.function())
    with pytest.raises(InitMonitorError, match="forced"):
        train(sinks=(), strict=True)


def test_the_places_are_all_there() -> None:
    assert len(PLACES) > 120
    assert {
        "capture.hooks.LayerHooks._measure",
        "capture.straight.Straight.drain",
        "capture.straight.Straight.take",
        "structure.residual.judge",
        "structure.probe.Probe._watches",
    } <= set(PLACES)


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.code)
def test_a_rule_that_fails_is_left_out_and_the_others_judge_on(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault(type(rule).judge, MemoryError, always=True)
    monkeypatch.setattr(type(rule), "judge", fault.function())
    seen = train(sinks=())
    assert unchanged(seen)
    assert fault.calls == 1
    (notice,) = seen.warned
    assert f"rule {rule.code}" in notice
    with pytest.raises(InitMonitorError, match="forced"):
        train(sinks=(), strict=True)


@pytest.mark.parametrize("error", [OSError, MemoryError, ValueError])
@pytest.mark.parametrize("moment", ["open", "emit", "close"])
@pytest.mark.parametrize("sink", default_sinks(), ids=lambda sink: type(sink).__name__)
def test_a_sink_that_fails_under_the_trainer_is_switched_off_alone(
    sink: Any, moment: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(monitor: InitMonitor | None, name: str) -> Classifier:
        torch.manual_seed(0)
        module = Classifier(Net())
        logger = TensorBoardLogger(tmp_path, name=name)
        fit(module, loader(WIDTH, samples=24, batch=SAMPLES), monitor, steps=STEPS, logger=logger)
        return module

    plain = run(None, "plain")
    fault = Fault(getattr(type(sink), moment), error, always=True)
    monkeypatch.setattr(type(sink), moment, fault.function())
    monitor = InitMonitor()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched = run(monitor, "watched")
    assert watched.losses == plain.losses
    assert fault.calls == 1
    assert [str(w.message) for w in caught if issubclass(w.category, InitMonitorWarning)] == [
        f"init_monitor: {text}" for text in monitor.notices
    ]
    (notice,) = monitor.notices
    assert type(sink).__name__ in notice
    assert len(monitor.records) == STEPS
    if not isinstance(sink, RunStoreSink):
        assert len(read_run(tmp_path / "watched" / "version_0").records) == STEPS


def test_ctrl_c_is_never_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hooks.LayerHooks, "_measure", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(sinks=())
