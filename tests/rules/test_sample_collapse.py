from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from builders import blocks, in_a_row, linear, linears, only, record
from hypothesis import given, strategies as st
from models import Classifier, fit, loader, mlp
from torch import Tensor, nn

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records import INPUT, Finding, History, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import SampleCollapse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import StepRecord

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
RULE = SampleCollapse()

DEEP = linears(6, activation="ReLU")


def shares(values: Sequence[float], *, gain: Any = 2.0, structure: Structure = DEEP, step: int = 0) -> StepRecord:
    columns = {Quantity.BETWEEN_SAMPLE_SHARE: values, Quantity.EXPECTED_GAIN: gain}
    return record(structure, columns, step=step)


def judged(*records: StepRecord, structure: Structure = DEEP) -> list[Finding]:
    return list(RULE.judge(History(records, structure)))


def fading(to: float) -> list[float]:
    """Shares of six layers from 0.5 down to ``to`` · 0.5 in the last two."""
    return [0.5, *(0.5 * to ** (i / 4) for i in range(1, 4)), 0.5 * to, 0.5 * to]


def lasting(to: float, *, count: int = 8, apart: int = 20, **options: Any) -> list[Finding]:
    structure = options.get("structure", DEEP)
    records = [shares(fading(to), step=apart * i, **options) for i in range(count)]
    return judged(*records, structure=structure)


def test_nothing_arriving_is_told_at_the_first_look() -> None:
    finding = only(judged(shares(fading(1e-8))))
    assert (finding.code, finding.rule, finding.severity) == ("IM702", "sample-collapse", WARNING)
    assert finding.evidence["between_sample_share"] == pytest.approx(0.5e-8)
    assert finding.evidence["entering_share"] == 0.5
    assert "All samples look the same to" in finding.message


@pytest.mark.parametrize(("to", "fires"), [(1.01e-6, False), (0.99e-6, True)])
def test_at_the_first_look_the_bound_is_what_a_format_keeps(to: float, *, fires: bool) -> None:
    assert bool(judged(shares(fading(to)))) is fires


@pytest.mark.parametrize(
    ("to", "count", "apart", "severity"),
    [
        (0.5e-6, 8, 8, CRITICAL),
        (0.5e-6, 7, 20, WARNING),
        (0.5e-6, 8, 7, WARNING),
        (0.9e-3, 8, 15, WARNING),
        (0.9e-3, 8, 14, None),
        (0.9e-3, 7, 50, None),
        (1.1e-3, 20, 50, None),
    ],
)
def test_what_lasts_is_worse_and_may_be_less(to: float, count: int, apart: int, severity: Severity | None) -> None:
    assert [f.severity for f in lasting(to, count=count, apart=apart)] == ([severity] if severity else [])


def test_a_share_that_rises_is_a_network_that_wakes() -> None:
    rising = [shares(fading(1e-5 * 1.3**i), step=20 * i) for i in range(10)]
    falling = [replace(one, step=20 * i) for i, one in enumerate(reversed(rising))]
    assert judged(*rising) == []
    assert only(judged(*falling)).severity is WARNING


def test_a_head_alone_may_be_all_bias() -> None:
    assert judged(shares([0.5, 0.4, 0.4, 0.3, 0.3, 1e-9])) == []
    assert judged(shares([0.5, 0.4, 0.4, 0.3, 0.3, math.nan])) == []


def test_heads_side_by_side_are_one_level() -> None:
    trunk = DEEP.layers[:4]
    heads = tuple(linear(4 + i, f"head.{i}", inputs=("net.3",)) for i in range(2))
    structure = Structure((*trunk, *heads))
    assert judged(shares([0.5, 0.4, 0.4, 0.3, 1e-9, 1e-9], structure=structure), structure=structure) == []


def test_a_layer_in_the_middle_that_sees_no_sample_is_healthy() -> None:
    # Learned queries, position tables: the same for every sample, and what follows looks at the input again.
    assert judged(shares([0.5, 0.0, 0.0, 0.0, 0.3, 0.3])) == []


def test_beside_skip_connections_only_what_lasts_counts() -> None:
    structure = blocks(2)
    assert judged(shares(fading(1e-8), structure=structure), structure=structure) == []
    assert only(lasting(1e-8, structure=structure)).severity is CRITICAL


def test_samples_that_are_alike_themselves_are_not_judged() -> None:
    assert judged(shares([0.9e-5, *[1e-13] * 5])) == []
    assert judged(shares([1.1e-5, *[1e-13] * 5])) != []
    assert judged(shares([math.nan] * 6)) == []
    assert judged(shares([0.0] * 6)) == []


def test_the_share_is_measured_against_the_layers_that_take_the_input() -> None:
    # The position table comes first and is the same for every sample.
    table = linear(0, "positions", inputs=(INPUT,), kind="Embedding")
    words = linear(1, "words", inputs=(INPUT,), kind="Embedding")
    rest = tuple(linear(i, f"net.{i}") for i in range(2, 6))
    structure = Structure((table, *in_a_row((words, *rest))))
    healthy = shares([0.0, 0.03, 0.02, 0.02, 0.01, 0.01], structure=structure)
    assert judged(healthy, structure=structure) == []
    gone = shares([0.0, 0.03, 1e-3, 1e-5, 1e-9, 1e-9], structure=structure)
    assert only(judged(gone, structure=structure)).evidence["entering_share"] == pytest.approx(0.03)


def test_weights_that_are_too_small_are_to_blame() -> None:
    one = only(judged(shares([0.5, 0.4, 1e-9, 1e-9, 1e-9, 1e-9], gain=[2, 2, 1e-6, 2, 2, 1])))
    assert one.layers == ("net.2",)
    assert "nn.init.kaiming_normal_(model.net[2].weight" in one.remedy_code
    every = only(judged(shares(fading(1e-8), gain=1 / 3)))
    assert every.layers == tuple(f"net.{i}" for i in range(6))
    assert "every output" not in every.remedy


def test_where_all_weights_are_right_the_layer_that_loses_it_is_named() -> None:
    found = only(judged(shares([0.5, 0.4, 0.4, 1e-9, 1e-9, 1e-9], gain=[2, 2, 2, 2, 2, 1])))
    assert found.layers == ("net.3",)


def test_a_collapse_that_training_made_is_a_matter_of_the_learning_rate() -> None:
    healthy = shares([0.5, 0.4, 0.4, 0.3, 0.3, 0.3])
    gone = [shares([0.5, 0.4, 0.4, 1e-9, 1e-9, 1e-9], step=i) for i in range(1, 4)]
    assert judged(healthy, *gone[:2]) == []
    finding = only(judged(healthy, *gone))
    assert finding.layers == ("net.3", "net.4", "net.5")
    assert "training caused this" in finding.message
    assert "learning rate" in finding.remedy_sentence


@given(st.floats(1e-12, 1), st.floats(1e-12, 1))
def test_less_arriving_is_never_a_milder_finding(a: float, b: float) -> None:
    def rank(to: float) -> int:
        return max((f.severity.rank for f in lasting(to)), default=-1)

    assert rank(min(a, b)) >= rank(max(a, b))


def test_every_finding_is_complete() -> None:
    finding = only(lasting(1e-8))
    assert "Schoenholz" in finding.source
    assert set(finding.expected) <= set(finding.evidence)
    compile(finding.remedy_code, "remedy", "exec")


def default(depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(depth, 64)


def he(depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(depth, 64, nn.init.kaiming_normal_)


@pytest.mark.parametrize(("net", "codes"), [(default(20), ["IM702"]), (default(5), []), (he(20), []), (he(50), [])])
def test_in_a_training_a_deep_default_initialisation_collapses_and_hes_does_not(
    net: nn.Sequential, codes: list[str]
) -> None:
    monitor = InitMonitor(rules=(RULE,), sinks=(), strict=True)
    fit(Classifier(net, lr=1e-3), loader(64), monitor, steps=6)
    assert [f.code for f in monitor.findings] == codes


def test_a_collapse_that_lasts_becomes_critical() -> None:
    monitor = InitMonitor(rules=(RULE,), sinks=(), strict=True, every_n_steps=10)
    fit(Classifier(default(20), lr=1e-3), loader(64, samples=2048), monitor, steps=60)
    assert [f.severity for f in monitor.findings] == [WARNING, CRITICAL]


def test_the_remedy_lets_the_samples_differ_again() -> None:
    model, x = default(20), torch.randn(64, 64)
    finding = only(f for f in init_monitor.check(model, x).findings if f.code == "IM702")
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": model})  # noqa: S102
    after = init_monitor.check(model, x)
    assert [f for f in after.findings if f.code == "IM702"] == []
    assert after.records[-1].layers["40"].between_sample_share > 1e-3


@pytest.mark.parametrize("same", ["one sample", "equal samples"])
def test_a_batch_that_does_not_vary_says_nothing(same: str) -> None:
    x = torch.randn(1, 64) if same == "one sample" else torch.randn(1, 64).expand(32, 64)
    assert init_monitor.check(default(20), x, rules=(RULE,)).findings == ()


def shares_at(values: dict[str, tuple[float, float]], structure: Structure, step: int, **fields: float) -> StepRecord:
    """A record of variance and between-sample share by layer."""
    columns = {
        Quantity.VARIANCE: [values[name][0] for name in structure.names],
        Quantity.BETWEEN_SAMPLE_SHARE: [values[name][1] for name in structure.names],
        Quantity.INPUT_VARIANCE: 1.0,
    }
    return record(structure, columns, step=step, optimizer="Adam", learning_rate=1e-3, **fields)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ((0.004, 1e-3), True),  # 0.03 between samples have become 4e-6
        ((0.0, math.nan), True),  # exactly the same
        ((0.004, 0.5), False),  # small, but told apart
        ((0.1, 5e-3), False),  # next to what is common to all, but no less than it was
    ],
)
def test_two_layers_are_enough_where_training_emptied_the_last(later: tuple[float, float], *, expected: bool) -> None:
    structure = Structure((linear(0, "first", inputs=(INPUT,)), linear(1, "last", inputs=("first",))))
    start = shares_at({"first": (1.0, 0.5), "last": (0.075, 0.4)}, structure, 0)
    after = [shares_at({"first": (1.0, 0.5), "last": later}, structure, step) for step in (50, 100)]
    found = list(SampleCollapse().judge(History([start, *after], structure)))
    assert bool(found) is expected
    if expected:
        assert only(found).layers == ("last",)
        assert "keep them apart" in only(found).remedy
        assert "nn.init" not in only(found).remedy
    assert list(SampleCollapse().judge(History([start, after[0]], structure))) == []


@pytest.mark.parametrize(
    ("variance", "inputs", "expected"),
    [(1e-4, (INPUT, "code"), True), (1e-2, (INPUT, "code"), False), (1e-4, ("code",), False)],
)
def test_a_code_that_is_drowned_by_noise_since_the_start(
    variance: float, inputs: tuple[str, ...], *, expected: bool
) -> None:
    structure = Structure(
        (linear(0, "first", inputs=(INPUT,)), linear(1, "code", inputs=("first",)), linear(2, "decoder", inputs=inputs))
    )
    healthy = {"first": (1.0, 0.5), "code": (0.02, 0.5), "decoder": (1.0, 0.5)}
    start = shares_at(healthy, structure, 0)
    after = [shares_at({**healthy, "code": (variance, 0.9)}, structure, step) for step in (50, 100)]
    found = list(SampleCollapse().judge(History([start, *after], structure)))
    assert bool(found) is expected
    if expected:
        assert only(found).layers == ("code",)
        assert "emptied this code" in only(found).message
        assert "The initial weights were fine" in only(found).remedy or "Lower" in only(found).remedy


def test_a_signal_that_had_faded_at_the_start_is_not_said_to_have_been_fine() -> None:
    torch.manual_seed(0)
    layers = [part for _ in range(24) for part in (nn.Linear(48, 48), nn.ReLU())]
    net = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), *layers, nn.Linear(48, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net, lr=0.05), loader(16, samples=512, batch=32), monitor, steps=200, max_epochs=-1)
    collapsed = [finding for finding in monitor.findings if finding.code == "IM702"]
    assert any(finding.code == "IM102" and finding.step == 0 for finding in monitor.findings)
    assert collapsed
    assert all("were fine" not in f.remedy and "training caused this" not in f.message for f in collapsed)


class Coder(nn.Module):
    """A variational autoencoder whose noise is drawn inside of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 48), nn.Tanh())
        self.centre, self.spread = nn.Linear(48, 4), nn.Linear(48, 4)
        self.back = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 12))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        m, v = self.centre(h), self.spread(h)
        return self.back(m + (0.5 * v).exp() * torch.randn_like(m)), m, v


class Bound(Classifier):
    """Its loss, with a weight for the KL term."""

    def __init__(self, prior: float) -> None:
        super().__init__(Coder(), lr=3e-3, optimizer="Adam")
        self.prior = prior

    def training_step(self, batch: Any, _batch_idx: int) -> Tensor:
        x = batch[0]
        made, m, v = self.net(x)
        kl = -0.5 * (1 + v - m.square() - v.exp()).sum(1).mean()
        loss: Tensor = (made - x).square().sum(1).mean() + self.prior * kl
        return loss


def coded(prior: float, every: int, steps: int) -> list[Finding]:
    """What is said of a VAE on twelve columns that three numbers explain."""
    torch.manual_seed(0)
    pictures = torch.randn(512, 3) @ torch.randn(3, 12) + 0.1 * torch.randn(512, 12)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pictures), batch_size=64, shuffle=True)
    monitor = InitMonitor(every_n_steps=every, sinks=())
    fit(Bound(prior), rows, monitor, steps=steps)
    return [one for one in monitor.findings if one.severity > Severity.INFO]


@pytest.mark.parametrize("every", [5, 50])
def test_a_code_that_a_term_of_the_loss_presses_out_is_told_before_it_is_gone(every: int) -> None:
    finding = only(coded(300.0, every, 130))
    assert finding.code == "IM702"
    assert set(finding.layers) == {"net.centre", "net.spread"}
    assert finding.evidence["outweighed"] > 10
    assert "KL term" in finding.remedy
    assert "nn.init" not in finding.remedy


@pytest.mark.parametrize("prior", [0.1, 1.0])
def test_a_code_that_is_used_is_not_said_to_be_pressed_out(prior: float) -> None:
    assert coded(prior, 5, 200) == []


@pytest.mark.parametrize(
    ("share", "force", "expected"),
    [
        (0.02, 30.0, True),  # balances at 2e-5 of the variance
        (0.02, 3.0, False),  # at 2e-3: it may hold its own
        (0.2, 300.0, False),  # still far from lost
        (0.06, 300.0, False),  # has not fallen by far
        (0.02, math.nan, False),  # no gradient is known
    ],
)
def test_a_code_in_noise_is_judged_by_where_the_forces_balance(share: float, force: float, *, expected: bool) -> None:
    structure = Structure(
        (
            linear(0, "first", inputs=(INPUT,)),
            linear(1, "mean", inputs=("first",)),
            linear(2, "variance", inputs=("first",)),
            linear(3, "decoder", inputs=("mean", "variance")),
        )
    )

    def at(step: int, share: float) -> StepRecord:
        columns = {
            Quantity.VARIANCE: [1.0, share, share, 1.0],
            Quantity.BETWEEN_SAMPLE_SHARE: 0.9,
            Quantity.INPUT_VARIANCE: 1.0,
            Quantity.GRADIENT_MEAN_SQUARE: [1.0, 1e-4 * force**2, 2e-4 * force**2, 5e-5],
            Quantity.EXPECTED_BACKWARD_GAIN: 2.0,
        }
        return record(structure, columns, step=step, optimizer="Adam", learning_rate=1e-3)

    found = judged(at(0, 0.4), *(at(step, share) for step in (50, 100)), structure=structure)
    assert bool(found) is expected
