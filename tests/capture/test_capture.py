"""Hooks on real modules: what is measured, how often it talks to the host, and that nothing stays behind."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from models import mlp
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from init_monitor.capture.accumulator import accumulator_of
from init_monitor.capture.capture import Capture
from init_monitor.capture.scope import Scope
from init_monitor.capture.step_facts import StepFacts
from init_monitor.measures import Knee, Layout, Reduction
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.records import StepRecord


def capture_of(model: nn.Module, on_failure: Callable[[str, Exception], None] | None = None, **options: Any) -> Capture:
    def fail(name: str, error: Exception) -> None:
        raise AssertionError(name) from error

    return Capture(model, Scope(**options), on_failure or fail)


def one_step(
    model: nn.Module, batches: list[torch.Tensor], *, capture: Capture | None = None, **options: Any
) -> tuple[StepRecord, Capture]:
    capture = capture or capture_of(model, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    capture.open_step()
    for i, batch in enumerate(batches):
        if i:
            capture.begin_batch()
        output = model(batch)
        loss = torch.stack([t.square().mean() for t in _tensors(output)]).sum() / len(batches)
        loss.backward()
        if i + 1 < len(batches):
            capture.end_batch()
    capture.before_optimizer(model.parameters())
    optimizer.step()
    capture.after_optimizer()
    capture.end_batch()
    optimizer.zero_grad()
    return capture.record(capture.close_step(), StepFacts(0)), capture


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, dict):
        return [t for item in value.values() for t in _tensors(item)]
    if isinstance(value, (tuple, list)):
        return [t for item in value for t in _tensors(item)]
    return [t for item in vars(value).values() for t in _tensors(item)]


def oracle(model: nn.Module, names: list[str], batches: list[torch.Tensor]) -> dict[str, dict[str, float]]:
    """Naive: keep every output and its gradient, concatenate, reduce in float64."""
    model = copy.deepcopy(model)
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    gradients: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    inputs: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for name in names:

        def keep(_m: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor, name: str = name) -> None:
            kept[name].append(out.detach().clone())
            inputs[name].append(args[0].detach().clone())
            out.register_hook(lambda g, name=name: gradients[name].append(g.clone()))

        model.get_submodule(name).register_forward_hook(keep)
    for batch in batches:
        (model(batch).square().mean() / len(batches)).backward()
    result = {}
    for name in names:
        x = torch.cat([t.double().reshape(-1) for t in kept[name]])
        g = torch.cat([t.double().reshape(-1) for t in gradients[name]])
        i = torch.cat([t.double().reshape(-1) for t in inputs[name]])
        result[name] = {
            "mean": float(x.mean()),
            "variance": float(x.var(correction=0)),
            "mean_square": float(x.square().mean()),
            "abs_max": float(x.abs().max()),
            "zero_fraction": float((x == 0).double().mean()),
            "gradient_mean": float(g.mean()),
            "gradient_variance": float(g.var(correction=0)),
            "gradient_abs_max": float(g.abs().max()),
            "input_mean_square": float(i.square().mean()),
        }
    return result


def conv_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.LeakyReLU(0.1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.Tanh(),
    )


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: mlp(3, 16), (24, 16)), (conv_net, (12, 3, 16, 16)), (conv_net, (96, 3, 40, 40))],
    ids=["mlp", "conv", "conv with tensors larger than a block"],
)
def test_every_layer_agrees_with_the_oracle(
    make: Callable[[], nn.Sequential], shape: tuple[int, ...], pieces: int
) -> None:
    torch.manual_seed(0)
    model = make().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # batch statistics would differ between one batch and three
    batches = list(torch.randn(shape).chunk(pieces))
    record, capture = one_step(copy.deepcopy(model), batches)
    expected = oracle(model, list(record.names), batches)
    assert list(record.names) == [
        n for n, m in model.named_children() if not isinstance(m, (nn.Flatten, nn.AdaptiveAvgPool2d))
    ]
    for i, name in enumerate(record.names):
        for quantity, value in expected[name].items():
            measured = record.column(Quantity(quantity))[i]
            if quantity == "input_mean_square" and math.isnan(measured):
                assert capture.structure.layers[i].role != "weight"
                continue
            scale = math.sqrt(expected[name]["gradient_variance" if "gradient" in quantity else "variance"])
            tolerance = 1e-5 * scale if quantity.endswith("mean") else 0
            assert measured == pytest.approx(value, rel=1e-5, abs=tolerance), (name, quantity)


def test_local_gains_agree_with_theory_and_with_autograd() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 200))
    capture = capture_of(model)
    capture.open_step()
    output = model(torch.randn(2000, 400))
    (output * torch.randn_like(output)).mean().backward()
    capture.measure_parameters()
    capture.end_batch()
    record = capture.record(capture.close_step(), StepFacts(0))
    last = record.layers["2"]
    linear = model[2]
    assert isinstance(linear, nn.Linear)
    weight = linear.weight.detach()
    assert last.expected_gain == pytest.approx(300 * float(weight.var(correction=0)), rel=0.05)
    assert last.gain == pytest.approx(last.expected_gain, rel=0.15)
    assert last.expected_backward_gain == pytest.approx(200 * float(weight.var(correction=0)), rel=0.05)
    before = record.layers["1"].backward
    assert before is not None
    assert last.backward is not None
    assert last.backward_gain == pytest.approx(before.variance / last.backward.mean_square, rel=1e-9)
    assert last.backward_gain == pytest.approx(last.expected_backward_gain, rel=0.15)
    assert record.layers["0"].gain == pytest.approx(1 / 3, rel=0.1)


def test_parameters_and_updates_agree_with_naive_norms() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Linear(400, 1))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    x = torch.randn(32, 300)
    reference = copy.deepcopy(model)
    reference(x).square().mean().backward()
    gradients = {name: p.grad for name, p in reference.named_parameters() if p.grad is not None}
    record, _ = one_step(model, [x])
    after = dict(model.named_parameters())
    for name, parameter in record.parameters.items():
        assert parameter.count == before[name].numel()
        assert parameter.norm == pytest.approx(float(before[name].double().norm()), rel=1e-5)
        assert parameter.variance == pytest.approx(float(before[name].double().var(correction=0)), rel=1e-5, abs=1e-12)
        assert parameter.gradient_norm == pytest.approx(float(gradients[name].double().norm()), rel=1e-5)
        ratio = float((after[name].detach() - before[name]).double().norm() / before[name].double().norm())
        # 120,000 weights are more than are followed: the ratio then comes from an even sample.
        sampled = parameter.count > 1 << 16
        assert parameter.update_ratio == pytest.approx(ratio, rel=0.03 if sampled else 1e-4)
    assert record.stepped


class SyncCounter(TorchDispatchMode):
    """Counts what would wait for the device: scalars read, and copies from it to the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero"}:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "staged"])
@pytest.mark.parametrize("pieces", [1, 4])
def test_a_sampled_step_makes_exactly_one_transfer_to_the_host(
    monkeypatch: pytest.MonkeyPatch, pieces: int, kernel: str, *, exact: bool
) -> None:
    calls: Counter[str] = Counter()
    for method in ("cpu", "item", "tolist", "numpy", "__bool__", "__float__", "__int__"):
        original = getattr(torch.Tensor, method)

        def counted(
            self: torch.Tensor, *args: Any, _original: Any = original, _name: str = method, **kwargs: Any
        ) -> Any:
            calls[_name] += 1
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, method, counted)
    model = conv_net()
    batches = list(torch.randn(32, 3, 24, 24).chunk(pieces))
    capture = capture_of(model, exact=exact)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    counter = SyncCounter()
    with counter:
        capture.open_step()
        for batch in batches:
            capture.begin_batch()
            model(batch).square().mean().backward()
            capture.end_batch(torch.tensor(0.5))
        capture.before_optimizer(model.parameters())
        optimizer.step()
        capture.after_optimizer()
        capture.end_batch()
        assert counter.seen == {}
        assert set(calls) <= {"numpy"}
        capture.record(capture.close_step(), StepFacts(0))
    assert counter.seen == {}
    # One copy, and the view of that copy as an array. The compiled kernel writes where the host reads.
    assert calls["cpu"] == (kernel == "eager")
    assert set(calls) <= {"cpu", "numpy"}  # on the CPU a view as an array is no transfer


def test_beside_the_cpu_nothing_but_the_drain_looks_at_a_number() -> None:
    """On the meta device there are no numbers: whatever asked for one, or waited for it, would raise."""
    accumulator = accumulator_of(torch.device("meta"), exact=True)
    rows = [accumulator.new_row() for _ in range(4)]
    for _ in range(2):
        rectified = Reduction(Layout(0, 1), rectifier=True, knee=Knee(0.0, 1.0))
        accumulator.take(rows[0], torch.empty(8, 16, device="meta"), rectified)
        accumulator.take(rows[1], torch.empty(8, 16, 4, 4, device="meta", dtype=torch.bfloat16), rectified)
        accumulator.take(rows[2], torch.empty(3, 1 << 22, device="meta"), gradient=True)
        accumulator.take(rows[3], torch.empty(0, device="meta"))
        accumulator.end_batch(torch.empty((), device="meta"))


def test_micro_batches_give_the_record_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    model = mlp(3, 32)
    x = torch.randn(64, 32)
    whole, _ = one_step(copy.deepcopy(model), [x])
    split, _ = one_step(copy.deepcopy(model), list(x.chunk(4)))
    assert whole.names == split.names
    for quantity, column in whole.columns.items():
        np.testing.assert_allclose(split.column(quantity), column, rtol=1e-5, atol=1e-9, err_msg=str(quantity))


def test_in_place_activations_are_measured_before_and_after() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 16)
    apart = mlp(3, 16)
    inside = copy.deepcopy(apart)
    for module in inside.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    expected, _ = one_step(apart, [x])
    measured, capture = one_step(inside, [x])
    assert measured.names == expected.names
    for quantity, column in expected.columns.items():
        np.testing.assert_allclose(measured.column(quantity), column, rtol=1e-6, atol=1e-12, err_msg=str(quantity))
    assert capture.structure.layers[0].activation == "ReLU"


class SharedReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.relu = nn.Linear(8, 8), nn.Linear(8, 8), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.relu(self.b(self.relu(self.a(x))) * 2)
        return output


def test_a_module_called_twice_is_two_taps() -> None:
    torch.manual_seed(0)
    model = SharedReLU()
    x = torch.randn(16, 8)
    record, capture = one_step(model, [x])
    assert record.names == ("a", "relu#1", "b", "relu#2")
    assert capture.structure.by_name()["b"].inputs == ("relu#1",)
    assert record.layers["relu#1"].forward.variance != record.layers["relu#2"].forward.variance


@dataclass
class Out:
    logits: torch.Tensor
    extra: tuple[torch.Tensor, torch.Tensor]


class ReturnsDataclass(nn.Linear):
    def forward(self, x: torch.Tensor) -> Any:
        y = super().forward(x)
        return Out(y, (y * 2, torch.arange(3)))


class ReturnsDict(nn.Linear):
    def forward(self, x: torch.Tensor) -> Any:
        return {"y": super().forward(x), "n": 3, "mask": torch.ones(2, dtype=torch.bool)}


def test_every_floating_tensor_in_tuples_dicts_and_dataclasses_is_a_tap() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 6, batch_first=True)
            self.mapping, self.data = ReturnsDict(6, 3), ReturnsDataclass(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.lstm(x)[0]
            output: torch.Tensor = self.mapping(y)["y"].mean() + self.data(y).logits.mean()
            return output

    torch.manual_seed(0)
    model, x = Net(), torch.randn(5, 7, 4)
    out, (h, c) = model.lstm(x)
    record, _ = one_step(model, [x])
    assert record.names == ("lstm[0]", "lstm[1][0]", "lstm[1][1]", "mapping[y]", "data[logits]", "data[extra][0]")
    for name, tensor in (("lstm[0]", out), ("lstm[1][0]", h), ("lstm[1][1]", c)):
        expected = float(tensor.detach().double().var(correction=0))
        assert record.layers[name].forward.variance == pytest.approx(expected, rel=1e-5)
    assert record.layers["data[extra][0]"].backward is None
    assert record.layers["data[logits]"].backward is not None


def test_frozen_layers_are_measured_forward_and_have_no_gradient() -> None:
    model = mlp(2, 8)
    model[0].requires_grad_(requires_grad=False)
    record, _ = one_step(model, [torch.randn(16, 8)])
    assert record.layers["0"].backward is None
    assert record.layers["1"].backward is None
    assert record.layers["2"].backward is not None


def test_forwards_without_gradients_are_not_training_signal() -> None:
    model = mlp(1, 8)
    capture = capture_of(model)
    capture.open_step()
    with torch.no_grad():
        model(torch.randn(4, 8) * 1e6)
    model(torch.ones(4, 8)).sum().backward()
    capture.end_batch()
    record = capture.record(capture.close_step(), StepFacts(0))
    assert record.layers["0"].forward.count == 32
    assert record.layers["0"].forward.abs_max < 100


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_is_not_counted_twice(*, reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self, inner: nn.Sequential) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = checkpoint(self.inner, x, use_reentrant=reentrant)
            return output

    torch.manual_seed(0)
    inner = mlp(2, 8)
    x = torch.randn(16, 8, requires_grad=True)
    expected, _ = one_step(copy.deepcopy(inner), [x])
    measured, _ = one_step(Checkpointed(inner), [x])
    assert [name.removeprefix("inner.") for name in measured.names] == list(expected.names)
    for name, layer in expected.layers.items():
        ours = measured.layers[f"inner.{name}"]
        assert ours.forward.count == layer.forward.count
        assert ours.forward.variance == pytest.approx(layer.forward.variance, rel=1e-6)
        assert ours.backward is not None
        assert layer.backward is not None
        assert ours.backward.count == layer.backward.count
        assert ours.backward.variance == pytest.approx(layer.backward.variance, rel=1e-6)


def test_a_gradient_penalty_does_not_pass_for_the_gradient_of_the_loss() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    capture = capture_of(model)
    capture.open_step()
    x = torch.randn(16, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    capture.end_batch()
    record = capture.record(capture.close_step(), StepFacts(0))
    backward = record.layers["1"].backward
    assert backward is not None
    assert backward.count == 16 * 8


def test_nothing_stays_on_the_model_and_nothing_is_kept_alive() -> None:
    model = conv_net()
    alive: list[weakref.ref[torch.Tensor]] = []
    model[3].register_forward_hook(lambda _m, _i, out: alive.append(weakref.ref(out)))
    one_step(model, [torch.randn(4, 3, 16, 16)])
    gc.collect()
    assert [ref() for ref in alive] == [None]
    assert all(not m._forward_hooks or m is model[3] for m in model.modules())
    assert all(not m._forward_hooks_with_kwargs for m in model.modules())
    assert all(p._backward_hooks is None or not p._backward_hooks for p in model.parameters())


def test_copies_of_a_hooked_model_do_not_report() -> None:
    model = mlp(1, 8)
    capture = capture_of(model)
    capture.open_step()
    twin, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    for other in (twin, pickled):
        other(torch.randn(4, 8) * 1e6).sum().backward()
    model(torch.ones(4, 8)).sum().backward()
    capture.end_batch()
    record = capture.record(capture.close_step(), StepFacts(0))
    assert record.layers["0"].forward.count == 32
    assert record.layers["0"].forward.abs_max < 100


def test_a_layer_that_fails_is_switched_off_and_the_others_go_on() -> None:
    class Odd(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            class Trap(dict[str, object]):
                def items(self) -> Any:
                    message = "no items for you"
                    raise RuntimeError(message)

            return Trap(y=super().forward(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd, self.fine = Odd(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.fine(self.odd(x)["y"])
            return output

    failed: list[tuple[str, str]] = []
    net = Net()
    capture = capture_of(net, on_failure=lambda name, error: failed.append((name, str(error))))
    for _ in range(2):
        record, _ = one_step(net, [torch.randn(3, 4)], capture=capture)
        assert record.names == ("fine",)
        assert record.layers["fine"].backward is not None
    assert failed == [("odd", "no items for you")]


def test_staged_samples_are_close_and_say_so() -> None:
    torch.manual_seed(0)
    model = mlp(2, 256)
    x = torch.randn(512, 256)
    exact, _ = one_step(copy.deepcopy(model), [x])
    staged, _ = one_step(copy.deepcopy(model), [x], exact=False)
    assert exact.exact
    assert not staged.exact
    assert staged.layers["1"].units is None
    assert staged.layers["0"].forward.count <= 4096
    np.testing.assert_allclose(staged.column(Quantity.VARIANCE), exact.column(Quantity.VARIANCE), rtol=0.15)
    np.testing.assert_allclose(
        staged.column(Quantity.GRADIENT_VARIANCE), exact.column(Quantity.GRADIENT_VARIANCE), rtol=0.25
    )


def test_nonfinite_activations_are_counted_at_the_layer_that_made_them() -> None:
    model = mlp(2, 8)
    with torch.no_grad():
        model.get_parameter("2.weight")[0, 0] = math.nan
    record, _ = one_step(model, [torch.randn(16, 8)])
    assert record.layers["0"].forward.nonfinite_count == 0
    assert record.layers["2"].forward.nonfinite_count == 16
    assert record.layers["2"].forward.count == 16 * 7
    assert math.isfinite(record.layers["2"].forward.variance)


def test_an_output_without_a_single_number_says_nothing_about_its_units() -> None:
    model = mlp(1, 8)
    record, capture = one_step(model, [torch.randn(16, 8)])
    assert record.layers["1"].units is not None
    broken, _ = one_step(model, [torch.full((16, 8), math.nan)], capture=capture)
    assert broken.layers["1"].forward.nonfinite_count == 16 * 8
    assert np.isnan(broken.column(Quantity.DEAD_FRACTION)).all()
    assert np.isnan(broken.column(Quantity.UNIT_SAMPLES)).all()


def test_saturation_is_the_share_beyond_the_knee() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 30), nn.Sigmoid(), nn.Linear(30, 5), nn.Softmax(-1)
    )
    with torch.no_grad():
        for index in (0, 2, 4):
            model.get_parameter(f"{index}.weight").mul_(30)
    x = torch.randn(64, 20)
    tanh = model[:2](x).detach()
    sigmoid, softmax = model[:4](x).detach(), model(x).detach()
    record, _ = one_step(model, [x])
    knee = math.sqrt(0.95)
    assert record.layers["1"].saturated_fraction == pytest.approx(float((tanh.abs() >= knee).double().mean()))
    assert record.layers["3"].saturated_fraction == pytest.approx(
        float(((2 * sigmoid - 1).abs() >= knee).double().mean()), abs=1e-3
    )
    assert record.layers["5"].saturated_fraction == pytest.approx(float((softmax.amax(1) >= 0.99).double().mean()))
    assert 0.2 < record.layers["1"].saturated_fraction < 1


def test_a_collapsed_representation_has_no_share_between_samples() -> None:
    model = mlp(1, 16)
    record, _ = one_step(model, [torch.randn(1, 16).expand(64, 16).contiguous()])
    assert record.layers["0"].between_sample_share == pytest.approx(0, abs=1e-4)
    apart, _ = one_step(model, [10 * torch.randn(64, 16)])
    assert apart.layers["0"].between_sample_share > 0.9


def test_more_calls_than_max_layers_are_counted_as_dropped() -> None:
    capture = capture_of(mlp(3, 8), max_layers=3)
    assert "max_layers=3" in capture.notices[0]
    record, _ = one_step(SharedReLU(), [torch.randn(4, 8)], max_layers=3)
    assert len(record.names) == 3


def test_a_second_step_starts_from_nothing() -> None:
    model = mlp(1, 8)
    capture = capture_of(model)
    first, _ = one_step(model, [100 * torch.ones(4, 8)], capture=capture)
    second, _ = one_step(model, [torch.zeros(4, 8)], capture=capture)
    assert first.layers["0"].forward.count == second.layers["0"].forward.count == 32
    assert second.layers["0"].forward.abs_max < first.layers["0"].forward.abs_max


def test_an_aborted_step_leaves_neither_hooks_nor_numbers() -> None:
    model = mlp(1, 8)
    capture = capture_of(model)
    capture.open_step()
    model(100 * torch.ones(4, 8)).sum().backward()
    capture.abort()
    assert not any(m._forward_hooks for m in model.modules())
    record, _ = one_step(model, [torch.zeros(4, 8)], capture=capture)
    assert record.layers["0"].forward.count == 32
    assert record.layers["0"].forward.abs_max < 1


def test_a_branch_not_taken_is_absent_and_comes_back() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.use_b = nn.Linear(4, 4), nn.Linear(4, 4), True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.b(self.a(x)) if self.use_b else self.a(x)
            return output

    model = Branching()
    capture = capture_of(model)
    for use_b, names in ((True, ("a", "b")), (False, ("a",)), (True, ("a", "b"))):
        model.use_b = use_b
        record, _ = one_step(model, [torch.randn(3, 4)], capture=capture)
        assert record.names == capture.structure.names == names
