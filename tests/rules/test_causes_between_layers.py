"""Faults that lie between the layers, or outside of the optimizer: the place is named, and no weight is blamed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from builders import linear, only, record
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity
from init_monitor.analysis.forces import OUTSIDE, outside_of
from init_monitor.records import INPUT, History, LossCurve, LossStretch, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import LossDivergence, SampleCollapse, VanishingActivations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor.records import StepRecord


def trained(
    model: nn.Module,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int = 60,
    rate: float = 3e-3,
    after: Callable[[], None] = lambda: None,
    given: Callable[[int], tuple[Tensor, Tensor]] | None = None,
) -> list[Finding]:
    """Train with Adam and return all that is louder than information."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for step in range(steps):
            x, y = (given or sets)(step)
            with watched.step() as now:
                loss = loss_of(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
            after()
    return [finding for finding in watched.findings if finding.severity > Severity.INFO]


def sets(step: int) -> tuple[Tensor, Tensor]:
    """32 sets of 8 elements around the centre of their class."""
    generator = torch.Generator().manual_seed(step)
    y = torch.randint(0, 4, (32,), generator=generator)
    centres = 2 * torch.randn(4, 6, generator=torch.Generator().manual_seed(99))
    return centres[y][:, None] + torch.randn(32, 8, 6, generator=generator), y


class Context(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dim = dim
        self.phi = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32))
        self.rho = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.phi(x)
        out: Tensor = self.rho(h.mean(self.dim, keepdim=True).expand_as(h).mean(1))
        return out


def test_a_mean_over_the_batch_is_named_by_the_layers_around_it_and_no_weight_is_blamed() -> None:
    found = trained(Context(0), F.cross_entropy)
    assert {finding.code for finding in found} == {"IM702"}
    assert found[-1].severity is Severity.CRITICAL
    assert found[-1].layers == ("rho.0",)
    assert "phi.2 still tells the samples apart" in found[-1].message
    assert "dimension 0, which is the batch" in found[-1].remedy
    assert "nn.init" not in found[-1].remedy


def test_a_mean_over_the_elements_is_not() -> None:
    assert trained(Context(1), F.cross_entropy) == []


class Reader(nn.Module):
    """Reads the first token of a text behind attention."""

    def __init__(self, *, inverted: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inverted = inverted
        self.embedding = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(16), enable_nested_tensor=False)
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        padding = tokens == 0
        ignored = ~padding if self.inverted else padding
        out: Tensor = self.head(self.encoder(self.embedding(tokens), src_key_padding_mask=ignored)[:, 0])
        return out


def texts(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(2, 20, (32, 8), generator=generator)
    tokens[:, 0], tokens[:, 6:] = 1, 0
    return tokens, (tokens[:, 1:6] < 8).sum(1).gt(1).long()


def test_a_mask_that_hides_all_words_is_named() -> None:
    finding = only(f for f in trained(Reader(inverted=True), F.cross_entropy, given=texts) if f.code == "IM702")
    assert finding.layers == ("head",)
    assert "self_attn[0] gives every sample the same, too" in finding.message
    assert "Look at the mask" in finding.remedy


def test_a_mask_that_hides_the_padding_is_not() -> None:
    assert trained(Reader(inverted=False), F.cross_entropy, given=texts) == []


def curve(losses: Sequence[float]) -> LossCurve:
    known = LossCurve()
    known.add(LossStretch.of(enumerate(losses)))
    return known


def alike(
    last: float, losses: Sequence[float], *, steps: Sequence[int] = (0, 1, 2, 60), before: float = 0.3
) -> list[Finding]:
    structure = Structure((linear(0, "first", inputs=(INPUT,)), linear(1, "last", inputs=("first",))))
    columns = {Quantity.BETWEEN_SAMPLE_SHARE: [before, last], Quantity.VARIANCE: 1.0}
    records = [record(structure, columns, step=step) for step in steps]
    return list(SampleCollapse().judge(History(records, structure, losses=curve(losses))))


@pytest.mark.parametrize(
    ("last", "before", "severity"),
    [
        (1e-12, 0.3, Severity.CRITICAL),  # rounding is all that is left
        (1e-8, 0.3, None),  # a bias may drown it, a single layer does not count
        (0.0, 1e-7, None),  # samples that are alike themselves
        (math.nan, 0.3, None),  # a constant: IM102
    ],
)
def test_what_is_left_must_be_rounding_and_what_is_read_must_differ(
    last: float, before: float, severity: Severity | None
) -> None:
    found = alike(last, [1.4] * 61, before=before)
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])


def test_without_a_level_loss_it_is_a_warning_and_in_a_run_that_learns_nothing() -> None:
    assert only(alike(0.0, [])).severity is Severity.WARNING
    assert alike(0.0, [3.0 * 0.95**i for i in range(61)]) == []


class Discrete(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.temperature = temperature
        self.encoder = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 16))
        self.decoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 6))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(F.softmax(self.encoder(x) / self.temperature, dim=-1))
        return out


@pytest.mark.parametrize(("temperature", "told"), [(1e-4, True), (1.0, False)])
def test_a_softmax_that_is_one_hot_is_where_the_gradient_is_lost(temperature: float, *, told: bool) -> None:
    def given(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 6, generator=torch.Generator().manual_seed(step))
        return x, x

    found = [f for f in trained(Discrete(temperature), F.mse_loss, given=given) if f.code == "IM202"]
    assert bool(found) is told
    for finding in found:
        assert "Most of it is lost in" in finding.message
        assert "softmax called in" in finding.message.casefold()
        assert "Raise the temperature" in finding.remedy
        assert "nn.init" not in finding.remedy


def test_weights_that_are_clipped_after_the_step_are_told_so() -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(5) for layer in (nn.Linear(32, 32), nn.LeakyReLU(0.2))]
    critic = nn.Sequential(*layers, nn.Linear(32, 1))

    def clip() -> None:
        for parameter in critic.parameters():
            parameter.data.clamp_(-0.01, 0.01)

    def given(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 32, generator=torch.Generator().manual_seed(step))
        return x, (x[:, :1] > 0).float()

    found = trained(critic, F.binary_cross_entropy_with_logits, given=given, after=clip)
    assert any("Something other than the optimizer changes the weights: after step 0" in f.remedy for f in found)
    assert not any("the loss itself rewards it" in f.remedy for f in found)
    assert not any(f.code == "IM302" for f in found)


@pytest.mark.parametrize(
    ("norm", "ratio", "told"),
    [
        (0.5, 0.01, True),
        (0.5, 0.6, False),  # the step itself may have done it
        (1 - OUTSIDE / 2, 0.0, False),
        (2.0, 0.01, True),
        (math.nan, 0.01, False),
    ],
)
def test_a_norm_changes_by_no_more_than_the_step(norm: float, ratio: float, *, told: bool) -> None:
    structure = Structure((linear(0, "only", inputs=(INPUT,)),))
    records = [
        record(structure, {Quantity.WEIGHT_NORM: value, Quantity.UPDATE_RATIO: ratio}, step=step)
        for step, value in enumerate((1.0, norm))
    ]
    assert (outside_of(History(records, structure)) is not None) is told
    apart = [records[0], record(structure, {Quantity.WEIGHT_NORM: norm, Quantity.UPDATE_RATIO: ratio}, step=50)]
    assert outside_of(History(apart, structure)) is None


@pytest.mark.parametrize(
    ("losses", "square", "told"),
    [
        ([10.0, *(-3.0 * i for i in range(120))], 12.0, True),
        ([10.0, *(-3.0 * i for i in range(120))], 5.0, False),  # outputs of a usual size
        ([10.0, *(-150.0 * (i < 20) - 300.0 * (i >= 20) for i in range(120))], 12.0, False),  # it has come to rest
        ([1.0, *(-0.1 * i for i in range(120))], 12.0, False),  # a likelihood may earn that
    ],
)
def test_a_loss_far_below_0_that_ever_larger_outputs_buy_falls_without_end(
    losses: list[float], square: float, *, told: bool
) -> None:
    structure = Structure((linear(0, "last", inputs=(INPUT,)),))
    records = [
        record(structure, {Quantity.MEAN_SQUARE: value}, step=step)
        for step, value in ((0, 0.1), (len(losses) - 1, square))
    ]
    history = History(records, structure, losses=curve(losses))
    found = list(LossDivergence().judge(history))
    assert bool(found) is told
    if told:
        assert "falls without end" in only(found).message
        assert "targets" in only(found).remedy


@pytest.mark.parametrize(
    ("began", "step", "told"),
    [
        (0.0, 1, False),  # it has just left 0
        (0.0, 10, True),  # and should have come further by now
        (1e-4, 1, True),  # drawn as small as that
    ],
)
def test_weights_that_start_at_zero_have_some_steps_to_leave_it(began: float, step: int, *, told: bool) -> None:
    structure = Structure(tuple(linear(i, f"net.{i}", inputs=(f"net.{i - 1}",) if i else (INPUT,)) for i in range(6)))
    small = [i in {1, 3, 5} for i in range(6)]

    def at(step: int, norm: float) -> StepRecord:
        gain = [1e-4 if one else 1.0 for one in small]
        columns = {
            Quantity.VARIANCE: [math.prod(gain[: i + 1]) for i in range(6)],
            Quantity.EXPECTED_GAIN: gain,
            Quantity.GAIN: gain,
            Quantity.WEIGHT_NORM: [norm if one else 1.0 for one in small],
        }
        return record(structure, columns, step=step, optimizer="AdamW")

    found = list(VanishingActivations().judge(History([at(0, began), at(step, 1e-3)], structure)))
    assert bool(found) is told


def test_saturation_by_weights_that_are_one_number_is_left_to_symmetry() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.05)

    def given(step: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(step)
        x = torch.rand(64, 64, generator=generator)
        return x, torch.randint(0, 4, (64,), generator=generator)

    assert {f.code for f in trained(model, F.cross_entropy, given=given, steps=12)} == {"IM501"}


class Graph(nn.Module):
    """Three rounds in which the 400 nodes of a graph hear their neighbours, by weights that sum to 1 over ``dim`` of the pairs."""

    def __init__(self, *, over_all: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.over_all = over_all
        self.rounds = nn.ModuleList(nn.Linear(12, 12) for _ in range(5))
        for one in self.rounds:
            nn.init.kaiming_normal_(one.weight, nonlinearity="relu")  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(7)
        self.near = (torch.rand(400, 400, generator=generator) < 0.01) | torch.eye(400, dtype=torch.bool)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.zeros(400, 400).masked_fill(~self.near, -math.inf)
        weights = torch.softmax(scores.flatten(), 0).view(400, 400) if self.over_all else torch.softmax(scores, 1)
        for one in self.rounds:
            x = weights @ torch.relu(one(x))
        out: Tensor = self.head(x)
        return out


def nodes(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step % 4)
    y = torch.randint(0, 4, (400,), generator=generator)
    return 2 * torch.eye(4)[y].repeat(1, 3) + torch.randn(400, 12, generator=generator), y


def test_a_softmax_over_all_pairs_makes_a_signal_fade_and_no_initial_weight_is_blamed() -> None:
    told = trained(Graph(over_all=True), F.cross_entropy, steps=30, given=nodes)
    found = [finding for finding in told if finding.code in {"IM102", "IM202"}]
    assert found
    for finding in found:
        assert "nn.init" not in finding.remedy
        assert "softmax over the wrong dimension" in finding.remedy


def test_a_softmax_over_the_neighbours_of_each_node_is_fine() -> None:
    assert trained(Graph(over_all=False), F.cross_entropy, steps=30, given=nodes) == []


@pytest.mark.parametrize(("std", "blamed"), [(0.05, True), (0.5, False)])
def test_weights_share_the_blame_if_they_lose_half_of_it(std: float, *, blamed: bool) -> None:
    """Six layers of width 16 before ReLUs; He's deviation is 0.35, and what lies between them divides by 100."""
    torch.manual_seed(0)

    class Divided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) / (1 if blamed else 100)

    parts = [nn.Sequential(nn.Linear(16, 16, bias=False), Divided()) for _ in range(6)]
    for part in parts:
        nn.init.normal_(part[0].weight, std=std)  # type: ignore[arg-type]
    report = init_monitor.check(nn.Sequential(*parts, nn.Linear(16, 4)), torch.randn(64, 16))
    found = [finding for finding in report.findings if finding.code == "IM102"]
    assert found
    assert ("nn.init" in found[0].remedy) is blamed
