from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from builders import linear, norm, only, parameter, record
from hypothesis import given, strategies as st
from models import Classifier, fit, loader, mlp
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import init_monitor
from init_monitor import InitMonitor
from init_monitor.analysis.activations import KNEE_DERIVATIVE, Bounds, activation_called
from init_monitor.analysis.bounded import steepest_of
from init_monitor.records import INPUT, Finding, History, Layer, Role, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import Saturation
from init_monitor.structure.nonlinearities import nonlinearity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor.records import StepRecord

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
RULE = Saturation()


def bounded(depth: int, name: str, kind: str = "Tanh", **changes: Any) -> Layer:
    layer = Layer(name=name, module=name, kind=kind, role=Role.ACTIVATION, depth=depth, activation=kind)
    return replace(layer, **changes)


def bounds_of(kind: str) -> Bounds:
    known = activation_called(kind)
    assert known is not None
    assert known.bounds is not None
    return known.bounds


def net(kind: str = "Tanh") -> tuple[Layer, ...]:
    """A bounded activation between two weight layers."""
    return (
        linear(0, "net.0", activation=kind, inputs=(INPUT,)),
        bounded(1, "net.1", kind, inputs=("net.0",)),
        linear(2, "net.2", inputs=("net.1",)),
    )


def seen(
    layers: Sequence[Layer], share: float, *, rms: float = 10.0, passing: float = 0.05, step: int = 0, **fields: Any
) -> StepRecord:
    """A record in which every activation has one share, and what feeds it has ``rms`` and gets ``passing`` back."""
    active = [layer.role is Role.ACTIVATION for layer in layers]
    given = {
        Quantity.SATURATED_FRACTION: [share if yes else math.nan for yes in active],
        Quantity.MEAN_SQUARE: rms**2,
        Quantity.VARIANCE: rms**2,
        Quantity.MEAN: 0.0,
        Quantity.GRADIENT_MEAN_SQUARE: [1.0 if yes else passing for yes in active],
        Quantity.GAIN: rms**2,
        Quantity.INPUT_MEAN_SQUARE: 1.0,
        Quantity.INPUT_MEAN: 0.0,
        Quantity.INPUT_VARIANCE: 1.0,
    }
    given.update({Quantity(name): fields.pop(name) for name in list(fields) if name in Quantity._value2member_map_})
    return record(Structure(tuple(layers)), given, step=step, **fields)


def judged(layers: Sequence[Layer], *records: StepRecord) -> list[Finding]:
    return list(RULE.judge(History(records, Structure(tuple(layers)))))


@pytest.mark.parametrize("kind", ["Tanh", "tanh", "Sigmoid", "Softsign", "Hardtanh", "hard_tanh", "Hardsigmoid"])
def test_the_saturated_share_at_the_start_decides(kind: str) -> None:
    layers, bounds = net(kind), bounds_of(kind)
    assert judged(layers, seen(layers, bounds.warning - 1e-6)) == []
    assert only(judged(layers, seen(layers, bounds.warning))).severity is WARNING
    assert only(judged(layers, seen(layers, bounds.critical))).severity is CRITICAL


@pytest.mark.parametrize("module", [nn.Tanh(), nn.Sigmoid(), nn.Softsign(), nn.Hardtanh(), nn.Hardsigmoid()])
def test_the_knees_are_where_the_measurement_counts_from(module: nn.Module) -> None:
    bounds, measured = bounds_of(type(module).__name__), nonlinearity_of(module)
    assert measured is not None
    assert measured.knee is not None
    x = torch.tensor(bounds.knee, dtype=torch.float64)
    assert float(module(x)) == pytest.approx(measured.knee.centre + measured.knee.reach, rel=1e-3)
    # The steepest place of each of them is 0.
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    module(zero).backward()
    assert zero.grad is not None
    assert float(zero.grad) ** 2 == pytest.approx(steepest_of(bounded(0, "act", type(module).__name__)))
    if "Hard" not in type(module).__name__:
        x.requires_grad_()
        module(x).backward()
        assert x.grad is not None
        assert float(x.grad / zero.grad) == pytest.approx(KNEE_DERIVATIVE, rel=0.01)


def test_the_layer_before_is_the_one_to_change() -> None:
    layers = net()
    finding = only(judged(layers, seen(layers, 0.85)))
    assert (finding.code, finding.rule) == ("IM303", "saturation")
    assert finding.layers == ("net.0",)
    assert "85 % of the outputs of net.1 (Tanh) are saturated from the start" in finding.message
    assert "net.0 multiplies what it gets by 100, where 1 keeps it" in finding.message
    assert "nn.init.xavier_normal_(model.net[0].weight)" in finding.remedy_code
    assert (finding.evidence["gain"], finding.expected["gain"]) == (100.0, 1.0)
    assert finding.evidence["gradient_passing"] == pytest.approx(0.05)


def test_an_input_that_is_too_large_is_named_instead_of_weights_that_are_fine() -> None:
    layers = net()
    past = seen(layers, 0.95, rms=100.0, gain=1.0, input_mean_square=1e4, input_mean=80.0, input_variance=3600.0)
    finding = only(judged(layers, past))
    assert "What net.0 gets has an rms of 100 already" in finding.message
    assert "(args[0] - 80) / 60" in finding.remedy_code
    assert "xavier" not in finding.remedy_code


@pytest.mark.parametrize(("known", "culprit"), [(("words",), "words"), ((), "words")])
def test_a_layer_that_only_passes_on_what_is_out_of_scale_is_not_the_one_to_change(
    known: tuple[str, ...], culprit: str
) -> None:
    layers = (
        linear(0, "words", kind="Embedding", inputs=(INPUT,)),
        linear(1, "hidden", inputs=known),
        bounded(2, "act", inputs=("hidden",)),
        linear(3, "out", inputs=("act",)),
    )
    past = seen(layers, 0.9, input_mean_square=[math.nan, 1e4, math.nan, 1.0], gain=[math.nan, 1.0, math.nan, 1.0])
    finding = only(judged(layers, past))
    assert finding.layers == (culprit,)
    assert "model.words.weight" in finding.remedy_code
    assert "hidden" not in finding.remedy_code


def test_a_normalisation_before_the_activation_starts_at_one() -> None:
    layers = (
        linear(0, "fc", inputs=(INPUT,)),
        norm(1, "bn", inputs=("fc",), weight="bn.weight", bias="bn.bias"),
        bounded(2, "act", inputs=("bn",)),
        linear(3, "out", inputs=("act",)),
    )
    finding = only(judged(layers, seen(layers, 0.8)))
    assert finding.layers == ("bn",)
    assert "nn.init.ones_(model.bn.weight)" in finding.remedy_code


def test_what_recovers_is_no_news() -> None:
    layers = net()
    assert judged(layers, seen(layers, 0.9), seen(layers, 0.3, step=1)) == []


def test_a_network_that_was_trained_before_did_not_start_here() -> None:
    layers = (*net(), norm(3, "ln", weight="ln.weight"))
    names = ["net.0.weight", "ln.weight"]
    for variance, fires in ((0.0, True), (0.01, False)):
        past = seen(layers, 0.8, parameter_names=names, weight_variance=[1.0, variance])
        assert bool(judged(layers, past)) is fires


def late(layers: Sequence[Layer], share: float, count: int = 3, **numbers: Any) -> list[Finding]:
    records = [seen(layers, 0.1)]
    records += [seen(layers, share, step=50 * i, **numbers) for i in range(1, count + 1)]
    return judged(layers, *records)


def test_what_training_saturates_is_a_matter_of_the_learning_rate() -> None:
    finding = only(late(net(), 0.98, passing=0.005, rms=12.0))
    assert finding.severity is WARNING
    assert finding.layers == ("net.0",)
    assert "are saturated at step 150" in finding.message
    assert "learning rate" in finding.remedy_sentence
    assert "gradient_clip_val" in finding.remedy_code
    assert only(late(net(), 0.98, passing=1e-5, rms=12.0)).severity is CRITICAL


@pytest.mark.parametrize(
    ("share", "numbers", "count"),
    [
        (0.80, {"passing": 0.005, "rms": 12.0}, 3),  # a well-trained tanh network
        (0.98, {"passing": 0.06, "rms": 12.0}, 3),  # the gradient still passes
        (0.98, {"passing": 0.005, "rms": 7.0}, 3),  # no further out than an image of black and white
        (0.98, {"passing": math.nan, "rms": 12.0}, 3),
        (0.98, {"passing": 0.005, "rms": 12.0}, 2),
    ],
)
def test_what_becomes_sharp_by_learning_is_left_alone(share: float, numbers: dict[str, float], count: int) -> None:
    assert late(net(), share, count, **numbers) == []


def test_the_output_of_the_network_may_become_certain_but_not_start_so() -> None:
    for kind in ("Sigmoid", "Tanh", "Softmax"):
        layers = (net()[0], bounded(1, "out", kind, inputs=("net.0",)))
        assert late(layers, 1.0, passing=1e-6, rms=50.0) == []
        assert only(judged(layers, seen(layers, 0.95, mean=0.1))).severity is WARNING


def test_a_gate_that_starts_open_by_its_bias_is_healthy() -> None:
    # Nothing takes the gate's tensor as it is: it multiplies another one.
    layers = (*net("Sigmoid")[:2], linear(2, "net.2"))
    by_bias = seen(layers, 1.0, variance=0.5, mean=6.0)
    assert judged(layers, by_bias) == []
    assert only(judged(layers, seen(layers, 1.0))).severity is WARNING


ATTENTION = (
    linear(0, "attn.q", inputs=(INPUT,)),
    bounded(1, "attn/softmax#1", "softmax", module="attn"),
    linear(2, "attn.out"),
)


@pytest.mark.parametrize(("share", "classes", "fires"), [(0.16, 1000, True), (0.14, 1000, False), (0.25, 4, False)])
def test_an_attention_that_starts_sharp_lacks_its_scale(share: float, classes: int, *, fires: bool) -> None:
    # In a causal mask of four places the first row has one place to look at: a quarter of the rows, by construction.
    found = judged(ATTENTION, seen(ATTENTION, share, mean=1 / classes))
    assert bool(found) is fires
    if fires:
        assert found[0].layers == ("attn",)
        assert "math.sqrt(q.shape[-1])" in found[0].remedy
        assert "Vaswani" in found[0].source


def test_an_attention_that_becomes_sharp_is_healthy() -> None:
    assert late(ATTENTION, 0.99, mean=0.01) == []


def test_a_softmax_module_is_named_by_the_module_that_holds_it() -> None:
    layers = (ATTENTION[0], bounded(1, "blocks.0.attn.soft", "Softmax"), linear(2, "out"))
    assert only(judged(layers, seen(layers, 0.5, mean=0.01))).layers == ("blocks.0.attn",)


def test_a_distribution_over_one_class_says_nothing() -> None:
    assert judged(ATTENTION, seen(ATTENTION, 1.0, mean=1.0, variance=0.0)) == []


def test_what_was_not_measured_is_not_saturated() -> None:
    layers = net()
    assert judged(layers, seen(layers, math.nan)) == []
    assert judged(layers, seen(layers, math.nan), seen(layers, 0.99, step=1)) == []


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_saturation_is_never_a_milder_finding(a: float, b: float) -> None:
    layers = net()

    def rank(share: float) -> int:
        return max((f.severity.rank for f in judged(layers, seen(layers, share))), default=-1)

    assert rank(min(a, b)) <= rank(max(a, b))


@pytest.mark.parametrize("finding", [*judged(net(), seen(net(), 0.85)), *late(net(), 0.98, passing=0.001, rms=12.0)])
def test_every_finding_is_complete(finding: Finding) -> None:
    assert "Glorot" in finding.source
    assert set(finding.expected) <= set(finding.evidence)
    compile(finding.remedy_code, "remedy", "exec")


def scaled(std: float) -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(3, 64, lambda weight: nn.init.normal_(weight, std=std), activation=nn.Tanh)


@pytest.mark.parametrize(
    ("std", "lr", "optimizer", "told"),
    [
        (0.125, 1e-2, "SGD", set()),
        (1.0, 1e-2, "SGD", {"at step 0", "from the start"}),
        (0.125, 1.0, "Adam", {"learning rate"}),
    ],
)
def test_in_a_training_the_wrong_scale_and_the_too_large_step_are_told_apart(
    std: float, lr: float, optimizer: str, told: set[str]
) -> None:
    monitor = InitMonitor(rules=(RULE,), sinks=(), strict=True)
    fit(Classifier(scaled(std), lr=lr, optimizer=optimizer), loader(64), monitor, steps=10)
    texts = [f"at step {f.step} {f.message} {f.remedy_sentence}" for f in monitor.findings]
    assert bool(texts) is bool(told)
    if texts:
        assert all(words in texts[0] for words in told), texts[0]
        assert set(monitor.findings[0].layers) <= {"net.0", "net.2", "net.4"}


class Attention(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(64, 64) for _ in range(4))
        self.scale = scale
        for layer in (self.q, self.k):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.scale * self.q(x) @ self.k(x).transpose(-2, -1)
        attended: torch.Tensor = self.out(torch.softmax(scores, -1) @ self.v(x))
        return attended


@pytest.mark.parametrize(("scale", "layers"), [(1 / 8, []), (1.0, ["0"])])
def test_in_a_check_a_missing_scale_is_found_in_the_attention(scale: float, layers: list[str]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Attention(scale), nn.Linear(64, 4))
    report = init_monitor.check(model, torch.randn(32, 16, 64), rules=(RULE,))
    assert [name for finding in report.findings for name in finding.layers] == layers


def test_the_remedy_heals_the_network_it_was_written_for() -> None:
    model, x = scaled(1.0), torch.randn(64, 64)
    finding = only(f for f in init_monitor.check(model, x).findings if f.code == "IM303")
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": model})  # noqa: S102
    assert [f for f in init_monitor.check(model, x).findings if f.code == "IM303"] == []


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize(("size", "loud"), [(16.0, True), (1.0, False)])
def test_a_recurrent_layer_that_its_input_drives_beyond_the_knee_is_told(
    kind: Callable[..., nn.RNNBase],
    size: float,
    loud: bool,  # noqa: FBT001
) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.cell, self.head = (
                nn.Embedding(20, 128),
                kind(128, 32, batch_first=True),
                nn.Linear(32, 4),
            )

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            states, _ = self.cell(size * self.embedding(tokens))
            out: torch.Tensor = self.head(states[:, -1])
            return out

    torch.manual_seed(0)
    net, tokens = Reader(), torch.randint(0, 20, (64, 12))
    report = init_monitor.check(net, tokens, lambda out: out.square().mean(), rules=(RULE,))
    assert [finding.severity for finding in report.findings] == ([WARNING] if loud else [])
    if not loud:
        return
    finding = report.findings[0]
    # The oracle: what the first weights make of the input, element by element.
    given = size * net.embedding(tokens) @ parameter(net.cell, "weight_ih_l0").T
    assert finding.layers == ("cell[0]",)
    assert float(finding.evidence["input_rms"]) == pytest.approx(16.0, rel=0.05)
    knee = bounds_of("Tanh").knee
    assert float(finding.evidence["saturated_fraction"]) == pytest.approx(
        float((given.abs() > knee).double().mean()), abs=0.03
    )
    assert "put a LayerNorm between them" in finding.remedy


class Copier(Classifier):
    """Gives its input back, by a squared or another error."""

    def __init__(self, last: nn.Module, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 24), last), optimizer="Adam")
        self.error = loss

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        return self.error(self(batch[0]), batch[0])


@pytest.mark.parametrize(
    ("low", "last", "loss", "told"),
    [
        (-1, nn.Sigmoid(), nn.functional.mse_loss, True),
        (0, nn.Sigmoid(), nn.functional.mse_loss, False),
        (0, nn.Sigmoid(), nn.functional.binary_cross_entropy, False),
        (-1, nn.Tanh(), nn.functional.mse_loss, False),
        (-2, nn.Tanh(), nn.functional.mse_loss, True),
    ],
)
def test_targets_beyond_the_bound_of_an_output_are_told_and_those_at_it_are_not(
    low: float, last: nn.Module, loss: Callable[..., torch.Tensor], *, told: bool
) -> None:
    """One element of ten is 1, the others are ``low``."""
    ink = torch.rand(512, 24, generator=torch.Generator().manual_seed(1)) < 0.1
    data = TensorDataset(torch.where(ink, 1.0, float(low)), torch.zeros(512))
    monitor = InitMonitor(sinks=(), strict=True, every_n_steps=25)
    fit(Copier(last, loss), DataLoader(data, batch_size=64), monitor, steps=200, max_epochs=-1)
    found = [one for one in monitor.findings if one.code == "IM303" and one.severity is not Severity.INFO]
    assert bool(found) is told
    if told:
        assert "The targets lie beyond what it can give" in found[0].message
        assert found[0].layers == ("net.3",)
        assert float(found[0].evidence["error_left"]) >= 0.25
