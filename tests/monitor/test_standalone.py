"""`watch` in loops of one's own and `check` before any training: what they record, and that they change nothing."""

from __future__ import annotations

import copy
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from models import mlp
from torch import nn
from torch.utils.checkpoint import checkpoint

import init_monitor
from init_monitor import CriticalFindingError, OptionError
from init_monitor.sinks import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from init_monitor.standalone import Watch


def batches(count: int, width: int = 8, size: int = 32) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        yield torch.randn(size, width, generator=generator), torch.randint(0, 10, (size,), generator=generator)


def no_hooks(model: nn.Module) -> bool:
    return not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def train(m: Watch, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, pieces: int = 1) -> None:
    width = next(p.shape[1] for p in model.parameters() if p.dim() > 1)
    for x, y in batches(steps, width):
        with m.step():
            optimizer.zero_grad()
            for xs, ys in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
                (nn.functional.cross_entropy(model(xs), ys) / pieces).backward()
            optimizer.step()


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def explosive() -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(12, 256, nn.init.normal_)


# --- watch -----------------------------------------------------------------------------------------------------------


def test_the_dense_start_and_then_every_so_many_steps_are_recorded() -> None:
    model = mlp(2, 8)
    optimizer = sgd(model)
    with init_monitor.watch(model, optimizer, dense_steps=2, every_n_steps=4, sinks=(), strict=True) as m:
        train(m, model, optimizer, 10)
    assert [record.step for record in m.records] == [0, 1, 4, 8]
    assert m.structure.names == ("0", "1", "2", "3", "4")
    assert m.records[0].optimizer == "SGD"
    assert m.records[0].learning_rate == pytest.approx(0.1)
    assert m.records[-1].layers["0"].forward.count == 32 * 8
    assert m.findings == []
    assert m.notices == []
    assert m.report.records == tuple(m.records)
    assert m.report.settings["every_n_steps"] == 4


def test_updates_are_measured_around_the_optimizers_step() -> None:
    model = mlp(1, 8)
    optimizer = sgd(model)
    before = copy.deepcopy(model.state_dict())
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m:
        train(m, model, optimizer, 1)
    for name, parameter in m.records[0].parameters.items():
        old, new = before[name].double(), model.state_dict()[name].double()
        assert parameter.norm == pytest.approx(float(old.norm()), rel=1e-6)
        assert parameter.update_ratio == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-4)
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        assert parameter.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-6)


def test_several_forwards_in_one_step_are_one_batch_in_pieces() -> None:
    recorded = []
    for pieces in (1, 4):
        torch.manual_seed(0)
        model = mlp(2, 8)
        optimizer = sgd(model)
        with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m:
            train(m, model, optimizer, 3, pieces)
        recorded.append(m.records)
    for whole, parts in zip(*recorded, strict=True):
        assert whole.names == parts.names
        for quantity, column in whole.columns.items():
            np.testing.assert_allclose(parts.columns[quantity], column, rtol=2e-4, atol=1e-7, err_msg=str(quantity))
        for quantity, column in whole.parameter_columns.items():
            np.testing.assert_allclose(
                parts.parameter_columns[quantity], column, rtol=2e-4, atol=1e-7, err_msg=str(quantity)
            )


class TwoBlocks(nn.Module):
    """Two residual additions of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + nn.functional.relu(self.a(x))
        output: torch.Tensor = self.head(x + self.b(x))
        return output


def test_residual_additions_of_every_piece_are_seen_whatever_ran_before_it() -> None:
    recorded = []
    for pieces in (1, 4):
        torch.manual_seed(0)
        model = TwoBlocks()
        optimizer = sgd(model)
        with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m, m.step():
            with torch.no_grad():
                model(torch.ones(2, 8))
            for x in torch.randn(32, 8, generator=torch.Generator().manual_seed(0)).chunk(pieces):
                (model(x).square().mean() / pieces).backward()
            optimizer.step()
        recorded.append(m.records[0])
    whole, parts = recorded
    assert [residual.name for residual in m.structure.residuals] == ["#1", "#2"]
    assert whole.names == parts.names
    assert len(whole.residual_names) == 2
    assert whole.residual_names == parts.residual_names
    for quantity, column in {**whole.columns, **whole.residual_columns}.items():
        np.testing.assert_allclose(parts.column(quantity), column, rtol=1e-4, atol=1e-7, err_msg=str(quantity))


def test_a_recomputed_checkpoint_is_no_further_batch() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.b(self.a(x).relu())
            return output

    model = Checkpointed()
    optimizer = sgd(model)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m, m.step():
        # The model itself runs again inside the backward.
        output = checkpoint(model, torch.randn(16, 8), use_reentrant=False)
        output.square().mean().backward()
        optimizer.step()
    (record,) = m.records
    assert record.names[0] == "a"
    assert record.layers["a"].forward.count == 16 * 8
    assert record.layers["a"].backward is not None


def test_an_evaluation_inside_a_step_is_no_training_signal() -> None:
    model = mlp(1, 8)
    optimizer = sgd(model)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m, m.step():
        with torch.no_grad():
            model(1e6 * torch.ones(4, 8))
        model(torch.ones(4, 8)).mean().backward()
        optimizer.step()
    assert m.records[0].layers["0"].forward.count == 4 * 8
    assert m.records[0].layers["0"].forward.abs_max < 1e3


@pytest.mark.parametrize("container", [tuple, list])
def test_several_optimizers_are_all_measured(container: Callable[[Any], Any]) -> None:
    model = mlp(1, 8)
    first, second = torch.optim.Adam(model[0].parameters()), sgd(model[2], lr=0.5)
    with init_monitor.watch(model, container((first, second)), sinks=(), strict=True) as m, m.step():
        model(torch.ones(4, 8)).square().mean().backward()
        first.step()
        second.step()
    (record,) = m.records
    assert record.optimizer == "Adam, SGD"
    assert record.learning_rate == pytest.approx(0.5)
    assert set(record.parameters) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert all(parameter.update_ratio > 0 for parameter in record.parameters.values())


@pytest.mark.parametrize("given", [(), (None,)])
def test_without_an_optimizer_the_signal_is_measured_and_the_weights_are_not(given: tuple[Any, ...]) -> None:
    model = mlp(1, 8)
    with init_monitor.watch(model, *given, sinks=(), strict=True) as m, m.step():
        model(torch.ones(4, 8)).square().mean().backward()
    (record,) = m.records
    assert record.optimizer == ""
    assert math.isnan(record.learning_rate)
    assert record.parameter_names == ()
    assert record.layers["0"].backward is not None


def test_hooks_are_on_the_model_during_sampled_steps_only() -> None:
    model = mlp(1, 8)
    optimizer = sgd(model)
    with init_monitor.watch(model, optimizer, dense_steps=1, every_n_steps=2, sinks=(), strict=True) as m:
        assert no_hooks(model)
        for step in range(4):
            with m.step():
                assert no_hooks(model) is (step % 2 == 1)
            assert no_hooks(model)
        assert optimizer._optimizer_step_pre_hooks
    assert no_hooks(model)
    assert not optimizer._optimizer_step_pre_hooks


def pickled(model: nn.Sequential) -> nn.Sequential:
    twin: nn.Sequential = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    return twin


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_of_the_model_made_inside_a_step_does_not_report(
    twin_of: Callable[[nn.Sequential], nn.Sequential],
) -> None:
    model = mlp(1, 8)
    optimizer = sgd(model)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m, m.step():
        twin = twin_of(model)
        if twin_of is not copy.copy:  # a shallow copy shares the layers, and what hangs on them
            twin(torch.full((3, 8), 1e6))
        model(torch.ones(4, 8)).square().mean().backward()
        optimizer.step()
    assert m.records[0].layers["0"].forward.count == 4 * 8
    assert m.records[0].layers["0"].forward.abs_max < 1e3
    twin(torch.ones(4, 8))


def test_an_optimizer_that_computes_its_own_gradients_is_measured_when_it_has_them() -> None:
    model = mlp(1, 8)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    x = torch.randn(16, 8)

    def closure() -> float:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return float(loss.detach())

    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m, m.step():
        optimizer.step(closure)
    (record,) = m.records
    assert record.optimizer == "LBFGS"
    for parameter in record.parameters.values():
        assert parameter.gradient_norm > 0
        assert parameter.update_ratio > 0


@pytest.mark.parametrize("error", [ValueError("user code"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_an_exception_inside_a_step_passes_through_and_leaves_nothing(error: BaseException) -> None:
    model = mlp(1, 8)
    optimizer = sgd(model)
    m = init_monitor.watch(model, optimizer, sinks=(), strict=True)

    def interrupted() -> None:
        with m, m.step():
            model(torch.full((4, 8), 1e6))
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert no_hooks(model)
    assert not optimizer._optimizer_step_pre_hooks
    assert m.records == []


def test_a_loop_that_survives_a_failed_step_goes_on_with_that_step() -> None:
    model = mlp(1, 8)
    optimizer = sgd(model)

    def failing(m: Watch) -> None:
        with m.step():
            model(torch.full((4, 8), 1e6)).mean().backward()
            message = "out of memory"
            raise RuntimeError(message)

    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as m:
        train(m, model, optimizer, 1)
        with pytest.raises(RuntimeError, match="out of memory"):
            failing(m)
        assert no_hooks(model)
        train(m, model, optimizer, 1)
    assert [record.step for record in m.records] == [0, 1]
    assert m.records[1].layers["0"].forward.count == 32 * 8
    assert m.records[1].layers["0"].forward.abs_max < 1e3


def test_on_critical_stop_asks_the_loop_to_end() -> None:
    model = explosive()
    optimizer = sgd(model, lr=1e-30)
    with init_monitor.watch(model, optimizer, sinks=(), on_critical="stop") as m:
        assert not m.should_stop
        train(m, model, optimizer, 1)
    assert m.should_stop


def test_on_critical_raise_raises_after_the_step_with_the_finding_in_words() -> None:
    model = explosive()
    optimizer = sgd(model, lr=1e-30)
    with init_monitor.watch(model, optimizer, sinks=(), on_critical="raise") as m:
        with pytest.raises(CriticalFindingError, match="IM101 exploding-activations at step 0"):
            train(m, model, optimizer, 1)
        assert no_hooks(model)
        # Whoever catches it goes on with the next step, not with the same number again.
        train(m, model, optimizer, 1)
    assert [record.step for record in m.records] == [0, 1]


def test_the_console_is_the_sink_unless_others_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    model = mlp(2, 8)
    optimizer = sgd(model)
    with init_monitor.watch(model, optimizer, dense_steps=2) as m:
        train(m, model, optimizer, 2)
        shown = capsys.readouterr().out
        assert shown.splitlines()[0] == "Signal propagation at step 1: 5 layers"
        assert all(any(line.startswith(f"{i} ") for line in shown.splitlines()) for i in range(5))
    not_stored, verdict = capsys.readouterr().out.splitlines()
    assert (
        not_stored
        == "Not stored: watch(model, optimizer, log_dir=FOLDER) keeps the run for `init-monitor report FOLDER`."
    )
    assert verdict.startswith("Init Monitor: no findings in 2 steps (2 of them measured); ")


def test_who_chooses_the_sinks_is_not_told_that_nothing_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    model = mlp(2, 8)
    optimizer = sgd(model)
    with init_monitor.watch(model, optimizer, sinks=[ConsoleSink()]) as m:
        train(m, model, optimizer, 2)
    assert "stored" not in capsys.readouterr().out.lower()


Outcome = tuple[list[float], dict[str, torch.Tensor], torch.Tensor]


def looped(*, watched: bool) -> Outcome:
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(16, 10)
    )
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    m = init_monitor.watch(model, optimizer, dense_steps=3, every_n_steps=4, sinks=(), strict=True) if watched else None
    for x, y in batches(20):

        def one_step(x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))

        if m is None:
            one_step()
        else:
            with m.step():
                one_step()
    assert m is None or len(m.records) == 3 + 4
    return losses, model.state_dict(), torch.get_rng_state()


def test_a_watched_loop_is_bit_equal_to_the_same_loop_without() -> None:
    plain, watched = looped(watched=False), looped(watched=True)
    assert watched[0] == plain[0]
    assert all(torch.equal(watched[1][name], plain[1][name]) for name in plain[1])
    assert torch.equal(watched[2], plain[2])


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        TypeError, match=r"watch\(\) got an unknown option 'every_n_step'. Did you mean 'every_n_steps'"
    ):
        init_monitor.watch(mlp(1, 8), every_n_step=3)
    with pytest.raises(TypeError, match=r"check\(\) got an unknown option 'zzz'. It takes: every_n_steps, measure"):
        init_monitor.check(mlp(1, 8), torch.ones(2, 8), zzz=3)
    with pytest.raises(OptionError, match="dense_steps must be a whole number of at least 0"):
        init_monitor.watch(mlp(1, 8), dense_steps=-1)


def test_what_is_no_model_or_no_optimizer_is_refused_in_words() -> None:
    model: Any = [1]
    with pytest.raises(TypeError, match=r"watch\(model\) needs a torch.nn.Module, got list"):
        init_monitor.watch(model)
    with pytest.raises(TypeError, match=r"check\(model, batch\) needs a torch.nn.Module, got list"):
        init_monitor.check(model, torch.ones(1))
    with pytest.raises(TypeError, match=r"watch\(optimizer=\) takes a torch.optim.Optimizer .* got generator"):
        init_monitor.watch(mlp(1, 8), optimizer=mlp(1, 8).parameters())  # type: ignore[arg-type]
