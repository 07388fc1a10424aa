"""IM401: residual streams whose variance grows exponentially."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import along, chain, history, is_complete, linear, norm, only, parameter, record
from hypothesis import given, settings, strategies as st
from models import Classifier, fit, loader
from silent_blocks import NO_GRADIENT, quiet, silent
from torch import nn

import init_monitor
from init_monitor import InitMonitor
from init_monitor.analysis.residual_streams import Growth, streams
from init_monitor.records import Finding, History, LossCurve, LossStretch, Residual, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import small_branches, snippets
from init_monitor.rules import ExplodingActivations, ResidualGrowth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


WIDTH = 128


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def grown(past: History) -> list[Finding]:
    return list(ResidualGrowth().judge(past))


def doubling(count: int, growth: float = 2.0, start: float = 1.0) -> list[float]:
    return [start * growth**k for k in range(count + 1)]


def stream(levels: Sequence[float], *, gradients: Sequence[float] | None = None, **changes: Any) -> History:
    return history(chain(len(levels) - 1, **changes), along(levels, gradients=gradients))


def normed(structure: Structure) -> Structure:
    """Put a normalisation at the beginning of every branch."""
    layers, residuals = list(structure.layers), []
    for i, residual in enumerate(structure.residuals):
        layers.append(norm(len(layers), f"{residual.owner}.norm"))
        residuals.append(replace(structure.residuals[i], layers=(f"{residual.owner}.norm", *residual.layers)))
    return Structure(tuple(layers), tuple(residuals))


class Block(nn.Module):
    """A block without normalisation, He-initialised; ``combine`` says how skip and branch become one."""

    def __init__(self, combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], width: int = WIDTH) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.combine = combine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.combine(x, self.second(self.first(x.relu()).relu()))


def network(count: int, combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> nn.Module:
    return nn.Sequential(*(Block(combine) for _ in range(count)), nn.Linear(WIDTH, 10))


def measured(model: nn.Module, batch: torch.Tensor) -> History:
    report = init_monitor.check(model, batch, strict=True)
    return History(report.records, report.structure)


def paste(finding: Finding, model: nn.Module) -> None:
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": model})  # noqa: S102 - what a user is asked to paste


def test_twenty_unnormalised_he_blocks_double_the_variance_and_are_a_warning_or_worse() -> None:
    model = network(20, lambda x, f: x + f)
    finding = only(grown(measured(model, torch.randn(256, WIDTH))))
    assert (finding.code, finding.rule) == ("IM401", "residual-growth")
    assert finding.severity >= Severity.WARNING
    assert finding.layers == tuple(f"{i}#1" for i in range(20))
    assert finding.evidence["growth_per_block"] == pytest.approx(2, abs=0.15)
    assert finding.evidence["gradient_growth_per_block"] == pytest.approx(2, abs=0.15)
    assert 1.85**20 < finding.evidence["total_growth"] < 2.15**20
    assert abs(finding.evidence["correlation"]) < 3 / math.sqrt(WIDTH)


def test_the_code_of_the_finding_starts_every_branch_at_zero_and_the_growth_is_gone() -> None:
    model, batch = network(20, lambda x, f: x + f), torch.randn(64, WIDTH)
    head = parameter(model, "20.weight").clone()
    paste(only(grown(measured(model, batch))), model)
    assert all(float(parameter(model, f"{i}.second.weight").abs().max()) == 0 for i in range(20))
    assert all(float(parameter(model, f"{i}.first.weight").std()) > 0 for i in range(20))
    assert torch.equal(parameter(model, "20.weight"), head)
    past = measured(model, batch)
    assert grown(past) == []
    np.testing.assert_array_equal(past.last.column(Quantity.RESIDUAL_GROWTH), 1.0)


def test_a_branch_that_ends_in_a_relu_is_made_smaller_and_not_zero_which_would_kill_it() -> None:
    # relu(F) has E[F²]/2 and a mean: each addition still multiplies what it gets.
    model, batch = network(16, lambda x, f: x + (2 * f).relu()), torch.randn(64, WIDTH)
    finding = only(grown(measured(model, batch)))
    assert finding.severity >= Severity.WARNING
    before = float(parameter(model, "3.second.weight").std())
    paste(finding, model)
    assert float(parameter(model, "3.second.weight").std()) == pytest.approx(before / 4, rel=1e-3)
    assert [f for f in grown(measured(model, batch)) if f.severity > Severity.INFO] == []


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, f: (x + f) * 0.5**0.5,
        lambda x, f: x + f / 20,
        lambda x, f: math.sqrt(39 / 40) * x + math.sqrt(1 / 40) * f,
        lambda x, f: nn.functional.layer_norm(x + f, (WIDTH,)),
    ],
    ids=["1/sqrt(2)", "small branch", "RescaleNet", "post-norm"],
)
def test_the_remedies_themselves_give_no_finding(combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    assert grown(measured(network(20, combine), torch.randn(64, WIDTH))) == []


def test_a_relu_on_the_stream_does_not_hide_the_growth() -> None:
    finding = only(grown(measured(network(16, lambda x, f: (x + f).relu()), torch.randn(64, WIDTH))))
    assert finding.evidence["blocks"] == 16.0
    assert finding.evidence["growth_per_block"] > 1.5


def test_a_default_pre_norm_transformer_grows_linearly_and_is_healthy() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
    model = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
    past = measured(model, torch.randn(8, 16, 64))
    assert [s.blocks for s in streams(past.structure)] == [24]
    assert list(past.last.column(Quantity.RESIDUAL_GROWTH)[:1]) > [1.0]
    assert grown(past) == []


@pytest.mark.untraced
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_default_networks_of_torchvision_are_healthy(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    past = measured(getattr(models, name)(), torch.randn(4, 3, 64, 64))
    assert len(past.structure.residuals) >= 8
    assert grown(past) == []


def test_the_branches_of_a_transformer_start_as_small_as_the_plan_has_them() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    past = measured(model, torch.randn(8, 4, 16))
    code = small_branches.start_small(past.structure.residuals, past.structure)
    exec(compile(code, "remedy", "exec"), {"model": model})  # noqa: S102 - what a user is asked to paste
    planned = {
        plan.parameter: plan.target_variance
        for plan in init_monitor.recommend(model, torch.randn(8, 4, 16), style="theory").layers
    }
    for i in range(2):
        for name in ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"):
            drawn = float(parameter(model, f"layers.{i}.{name}").var())
            assert drawn == pytest.approx(planned[f"layers.{i}.{name}"], rel=0.4)
    # N(0, 2/(5 · 16)) for what reads the stream of 16 units; a quarter of that for what writes its 4 additions.
    assert planned["layers.0.linear2.weight"] == pytest.approx(2 / (5 * 16) / 4)
    assert measured(model, torch.randn(8, 4, 16)).last.column(Quantity.RESIDUAL_VARIANCE_RATIO).max() < 0.1


def test_exact_numbers_of_a_stream_that_doubles() -> None:
    finding = only(grown(stream(doubling(14), gradients=doubling(14)[::-1])))
    assert finding.severity is Severity.WARNING
    assert {name: float(figure) for name, figure in finding.evidence.items()} == pytest.approx(
        {
            "growth_per_block": 2.0,
            "blocks": 14,
            "total_growth": 2.0**14,
            "predicted_variance": 2.0**14,
            "variance_ratio": 1.0,
            "correlation": 0.0,
            "gradient_growth_per_block": 2.0,
            # rms 2^(k/2) reaches 65504 = 2^15.9993 at k = 32, and 3.4e38 = 2^128 at k = 256
            "overflow_block_float16": 32,
            "overflow_block": 256,
        }
    )
    assert "multiplies the variance by 2: over 14 blocks it grows 16,400×" in finding.message
    assert "The gradient also grows 2× per block on its way back." in finding.message
    assert "In float16 its rms would pass the largest number (65,500) at block 32." in finding.message
    assert "L = 14 (RescaleNet)" in finding.remedy_sentence
    assert 'for name in [f"net.{i}.second" for i in range(14)]:' in finding.remedy_code


@pytest.mark.parametrize(
    ("count", "dtype", "severity"),
    [
        (3, "float32", None),
        (4, "float32", Severity.INFO),
        (13, "float32", Severity.INFO),  # 8,192-fold
        (14, "float32", Severity.WARNING),  # 16,384-fold
        (27, "float16", Severity.WARNING),  # four times the rms: 4 · 2^13.5 = 46,341
        (28, "float16", Severity.CRITICAL),  # 4 · 2^14 = 65,536
        (28, "bfloat16", Severity.WARNING),
        (251, "bfloat16", Severity.WARNING),  # 4 · 2^125.5
        (252, "bfloat16", Severity.CRITICAL),  # 4 · 2^126 = 2^128
    ],
)
def test_the_severity_of_doubling_follows_from_its_consequence(
    count: int, dtype: str, severity: Severity | None
) -> None:
    found = grown(stream(doubling(count), dtype=dtype))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_one_sum_in_half_precision_decides_how_far_the_stream_may_go() -> None:
    structure = chain(28)
    residuals = [replace(r, dtype="float16" if i == 5 else "float32") for i, r in enumerate(structure.residuals)]
    past = history(Structure(structure.layers, tuple(residuals)), along(doubling(28)))
    finding = only(grown(past))
    assert finding.severity is Severity.CRITICAL
    assert "Its largest elements (4 times the rms) pass the largest float16 number" in finding.message


def test_a_stream_that_has_left_its_format_is_judged_by_the_blocks_before() -> None:
    levels = [*doubling(20), *[math.nan] * 20]
    finding = only(grown(stream(levels, dtype="float16")))
    assert finding.severity is Severity.CRITICAL
    assert finding.evidence["overflow_block"] == 32.0
    assert finding.evidence["predicted_variance"] == pytest.approx(2.0**40)
    assert "passes the largest float16 number (65,500) at block 32." in finding.message


def test_a_variance_that_is_infinite_has_overflowed_there() -> None:
    finding = only(grown(stream([*doubling(6, 1e5), math.inf, math.inf])))
    assert (finding.severity, finding.evidence["overflow_block"]) == (Severity.CRITICAL, 7.0)


def test_a_faster_start_brings_the_overflow_nearer() -> None:
    # From variance 2^10 on there are 22 doublings left to rms 2^16.
    finding = only(grown(stream(doubling(14, start=2.0**10), dtype="float16")))
    assert finding.evidence["overflow_block"] == 22.0
    assert "At this pace its rms passes the largest float16 number (65,500) at block 22." in finding.message


@pytest.mark.parametrize(
    ("optimizer", "gradient", "severity"),
    [
        ("SGD", 2.0, Severity.CRITICAL),
        ("", 2.0, Severity.CRITICAL),
        ("AdamW", 2.0, Severity.WARNING),
        ("SGD", 1.0, Severity.WARNING),
        ("SGD", math.nan, Severity.WARNING),
    ],
)
def test_forty_doublings_are_critical_if_the_gradient_doubles_too_and_nothing_rescales_it(
    optimizer: str, gradient: float, severity: Severity
) -> None:
    past = stream(doubling(40), gradients=doubling(40, gradient)[::-1])
    with_optimizer = History([replace(past.last, optimizer=optimizer)], past.structure)
    assert only(grown(with_optimizer)).severity is severity


def test_a_gradient_that_is_about_to_overflow_is_critical() -> None:
    # rms of the gradient at the first block: sqrt(1e5 · 2^14) = 40,477, and its peaks are four times that
    assert only(grown(stream(doubling(14), gradients=doubling(14)[::-1], dtype="float16"))).severity is Severity.WARNING
    large = doubling(14, start=1e5)[::-1]
    assert only(grown(stream(doubling(14), gradients=large, dtype="float16"))).severity is Severity.CRITICAL


def test_slow_exponential_growth_over_many_blocks_is_a_warning_unless_the_branches_are_normalised() -> None:
    # 1.2^60 = 5.6e4, and 1.2^30 = 237 in the later half
    levels = doubling(60, 1.2)
    assert only(grown(stream(levels))).severity is Severity.WARNING
    assert grown(history(normed(chain(60)), along(levels))) == []


def test_with_normalised_branches_doubling_counts_only_from_the_size_of_a_warning_on() -> None:
    assert grown(history(normed(chain(13)), along(doubling(13)))) == []
    assert only(grown(history(normed(chain(14)), along(doubling(14))))).severity is Severity.WARNING


@pytest.mark.parametrize("at", [1, 10, 19])
def test_one_jump_is_no_growth(at: int) -> None:
    assert grown(stream([1.0] * at + [1e8] * (21 - at))) == []


def test_a_jump_before_steady_doubling_does_not_count_into_its_severity() -> None:
    # 2^10 by doubling, and another 2^10 by one jump from a faint embedding.
    finding = only(grown(stream([1.0, *doubling(10, start=2.0**10)])))
    assert finding.severity is Severity.INFO
    assert finding.evidence["total_growth"] == 2.0**20


@pytest.mark.parametrize(("growth", "found"), [(1.45, 0), (1.55, 1)])
def test_growth_counts_as_exponential_from_one_and_a_half_per_block_on(growth: float, found: int) -> None:
    assert len(grown(stream(doubling(4, growth)))) == found


def test_the_steepest_linear_growth_of_the_shortest_stream_is_healthy() -> None:
    # Nothing at the start, then one unit per block: 2, 1.5 and 1.33 times.
    assert grown(stream([1e-9, 1.0, 2.0, 3.0, 4.0])) == []


def test_only_the_blocks_that_multiply_are_named() -> None:
    factors = [4.0, 1.0, 4.0] * 6
    finding = only(grown(stream([1.0, *np.cumprod(factors)])))
    assert finding.layers == tuple(f"net.{i}#1" for i in range(18) if i % 3 != 1)
    assert "net.1.second" not in finding.remedy_code


def test_an_activation_on_the_stream_is_measured_from_block_to_block() -> None:
    # What enters a block is half of the sum before it; from block to block it doubles.
    structure, levels = chain(10), np.array(doubling(10))
    columns = along(levels) | {Quantity.RESIDUAL_SUM_VAR: 2 * levels[1:], Quantity.RESIDUAL_GROWTH: 4.0}
    finding = only(grown(history(structure, columns)))
    assert finding.evidence["growth_per_block"] == pytest.approx(2)
    assert finding.evidence["total_growth"] == pytest.approx(2.0**10)


def _cut(**changes: Any) -> list[int]:
    """Return how many blocks the streams have when the sixth of ten additions is changed."""
    structure = chain(10)
    residuals = [replace(r, **changes) if i == 5 else r for i, r in enumerate(structure.residuals)]
    return [s.blocks for s in streams(Structure(structure.layers, tuple(residuals)))]


def test_a_stream_ends_at_a_normalisation_a_projection_and_another_start() -> None:
    assert _cut() == [10]
    assert _cut(normalised=True) == [6, 4]
    assert _cut(kind="projection", skip="net.5.map", follows="") == [5, 5]
    assert _cut(skip="input", follows="") == [5, 5]


def test_nested_and_long_additions_are_in_no_stream() -> None:
    assert _cut(nested=True) == _cut(long=True) == [5, 4]
    assert grown(stream(doubling(20), nested=True)) == []
    assert grown(stream(doubling(20), long=True)) == []


def test_a_second_addition_from_the_same_sum_is_a_stream_of_its_own() -> None:
    structure = chain(6)
    fork = replace(structure.residuals[5], name="side#1", follows=structure.residuals[4].name)
    both = Structure(structure.layers, (*structure.residuals, fork))
    assert [s.blocks for s in streams(both)] == [6, 1]


def test_the_skip_names_the_addition_before_where_nothing_else_does() -> None:
    plain = [replace(r, follows="") for r in chain(5).residuals]
    assert [s.blocks for s in streams(Structure((), tuple(plain)))] == [5]


def test_two_streams_that_double_are_one_finding() -> None:
    a, b = chain(14, prefix="a"), chain(16, prefix="b")
    both = Structure((*a.layers, *b.layers), (*a.residuals, *b.residuals))
    columns = {
        q: [*np.broadcast_to(x, 14), *np.broadcast_to(y, 16)]
        for (q, x), y in zip(along(doubling(14)).items(), along(doubling(16)).values(), strict=True)
    }
    finding = only(grown(history(both, columns)))
    assert len(finding.layers) == 30
    assert finding.evidence["blocks"] == 16.0
    assert "1 other stream" in finding.message
    compile(finding.remedy_code, "remedy", "exec")


def test_nothing_measured_is_nothing_found() -> None:
    assert grown(history(chain(10), {})) == []
    assert grown(history(Structure(), {})) == []


def test_the_variances_of_skip_and_sum_are_enough() -> None:
    levels = np.array(doubling(14))
    past = history(chain(14), {Quantity.RESIDUAL_SKIP_VAR: levels[:-1], Quantity.RESIDUAL_SUM_VAR: levels[1:]})
    finding = only(grown(past))
    assert len(finding.layers) == 14
    assert "correlation" not in finding.evidence
    assert "A branch has" not in finding.message


def test_additions_the_record_does_not_have_are_left_out() -> None:
    past = stream(doubling(14))
    longer = chain(18)
    finding = only(grown(History(past.records, longer)))
    # The first fourteen were measured; the prediction is for all eighteen.
    assert finding.evidence["predicted_variance"] == pytest.approx(2.0**18)
    assert finding.evidence["total_growth"] == pytest.approx(2.0**14)


def test_a_level_without_numbers_says_nothing() -> None:
    empty = Growth(np.full(5, np.nan))
    assert all(
        math.isnan(value)
        for value in (
            empty.per_block,
            empty.later,
            empty.later_factor,
            empty.total,
            empty.steady_total,
            empty.predicted,
        )
    )
    assert empty.overflow_block(1.0) == math.inf


growths = st.lists(st.floats(-2, 4), min_size=4, max_size=40)


@pytest.mark.untraced
@given(growths, st.integers(-60, 60))
def test_scaling_the_signal_and_the_gradient_changes_no_verdict(logs: list[float], power: int) -> None:
    levels = np.exp(np.cumsum([0.0, *logs]))

    def verdict(scale: float) -> list[tuple[object, ...]]:
        past = stream(levels * scale, gradients=levels[::-1] * scale, dtype="float64")
        return [(f.code, f.severity, f.layers) for f in grown(past)]

    assert verdict(1.0) == verdict(2.0**power)


@pytest.mark.untraced
@given(st.integers(4, 300), st.floats(1e-6, 1e9), st.floats(1e-6, 1e6), st.booleans())
def test_linear_growth_is_never_a_finding(count: int, added: float, start: float, inside: bool) -> None:  # noqa: FBT001
    levels = start * (1 + added * np.arange(count + 1))
    structure = chain(count)
    assert grown(history(normed(structure) if inside else structure, along(levels))) == []


@pytest.mark.untraced
@given(st.integers(14, 200), st.floats(1e-6, 1e6))
def test_exact_doubling_over_fourteen_blocks_is_always_a_warning_or_worse(count: int, start: float) -> None:
    assert only(grown(stream(doubling(count, start=start)))).severity >= Severity.WARNING


@given(st.integers(4, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_a_kept_variance_with_noise_is_never_a_finding(count: int, seed: int) -> None:
    # Width 512: Var(x + F) is off by a correlation of 1/sqrt(512) per block, plus measuring noise of 10 %.
    rng = np.random.default_rng(seed)
    levels = np.exp(np.cumsum(rng.normal(0, 2 / math.sqrt(512), count + 1)) + rng.normal(0, 0.1, count + 1))
    assert grown(stream(list(levels))) == []


@pytest.mark.untraced
@given(st.integers(4, 30), st.floats(1.0, 1e6), st.floats(1.0, 1e6))
def test_faster_growth_is_never_less_severe(count: int, a: float, b: float) -> None:
    def rank(growth: float) -> int:
        return max((f.severity.rank for f in grown(stream(doubling(count, growth)))), default=-1)

    assert rank(min(a, b)) <= rank(max(a, b))


@pytest.mark.parametrize(
    "past", [stream(doubling(20), gradients=doubling(20)[::-1]), silent(1e-9, gradient=NO_GRADIENT)]
)
def test_every_finding_is_complete_and_says_the_same_twice(past: History) -> None:
    found = [*grown(past), *quiet(past)]
    finding = only(found)
    assert found == [*grown(past), *quiet(past)]
    is_complete(finding)


def test_layers_with_a_running_number_are_addressed_by_its_pattern() -> None:
    structure = chain(30)
    code = small_branches.start_small(structure.residuals[3:], structure)
    assert 'for name in [f"net.{i}.second" for i in range(3, 30)]:' in code


def test_many_layers_without_a_pattern_are_listed_by_name() -> None:
    structure = chain(30)
    code = small_branches.start_small(structure.residuals[::2], structure)
    asked: list[str] = []

    class Model(nn.Module):
        def get_submodule(self, target: str) -> nn.Module:
            asked.append(target)
            return nn.Linear(2, 2)

    exec(compile(code, "remedy", "exec"), {"model": Model()})  # noqa: S102 - what a user is asked to paste
    assert asked == [f"net.{i}.second" for i in range(0, 30, 2)]


def test_a_recipe_for_some_layers_never_touches_others_of_their_class() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(40)))
    ends = [linear(i, str(i)) for i in range(1, 40, 2)]
    exec(compile(snippets.initialise(ends, snippets.ZERO), "remedy", "exec"), {"model": model})  # noqa: S102 - the same
    zero = [float(parameter(layer).abs().max()) == 0 for layer in model]
    assert zero == [False, True] * 20


def test_exploding_activations_in_a_deep_residual_net_zeroes_branch_ends_only() -> None:
    structure = chain(20)
    variance = [2.0**i for i in range(40)]
    past = history(structure, {Quantity.VARIANCE: variance, Quantity.GAIN: 1.0})
    assert "isinstance" not in only(ExplodingActivations().judge(past)).remedy_code


def test_an_addition_without_known_layers_has_a_remedy_in_words_only() -> None:
    bare = [replace(r, layers=(), branch="") for r in chain(14).residuals]
    finding = only(grown(history(Structure((), tuple(bare)), along(doubling(14)))))
    assert finding.remedy_code == ""
    assert isinstance(bare[0], Residual)


def test_the_remedy_says_why_it_names_some_of_the_branches() -> None:
    growth = np.where(np.arange(16) % 4 == 3, 1.05, 2.5)
    levels = np.cumprod(np.concatenate([[1.0], growth]))
    finding = only(grown(stream(list(levels))))
    assert len(finding.layers) == 12
    assert "for the 12 of 16 branches whose addition multiplies the variance by 1.5 or more" in finding.remedy_sentence
    assert "branches whose" not in only(grown(stream(doubling(16)))).remedy_sentence


# --- by consequence --------------------------------------------------------------------------------------------------


def starting_at(loss: float, *, blocks: int = 10, output: float = 4e3, losses: Sequence[float] = ()) -> History:
    net = chain(blocks)
    head = linear(len(net.layers), "head", width=10)
    net = Structure((*net.layers, head), net.residuals)
    columns = along(doubling(blocks)) | {Quantity.MEAN_SQUARE: output}
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate([loss, *losses])))
    return replace(history(net, columns, optimizer="Adam"), losses=curve)


@pytest.mark.parametrize(
    ("loss", "output", "severity"),
    [
        (24.0, 60.0, Severity.WARNING),  # ten classes: 2.3 by guessing
        (4.2e3, 4e3, Severity.WARNING),  # a squared error that is the network's own output
        (2.4, 4e3, Severity.INFO),
        (24.0, 0.5, Severity.INFO),  # a large target, which the output has no part in
        (math.nan, 4e3, Severity.INFO),
    ],
)
def test_growth_that_drowns_the_first_loss_is_a_warning_at_once(loss: float, output: float, severity: Severity) -> None:
    finding = only(grown(starting_at(loss, output=output)))
    assert finding.severity is severity
    assert ("The first loss is" in finding.message) is (severity is Severity.WARNING)


def test_it_stays_the_cause_of_what_the_first_steps_destroy_until_the_run_learns() -> None:
    begun = starting_at(24.0, output=60.0)
    gone = record(begun.structure, along([1.0] * 11), step=1, optimizer="Adam")
    later = replace(begun, records=[*begun.records, gone])
    assert only(grown(later)).severity is Severity.WARNING
    learned = starting_at(24.0, output=60.0, losses=[20 * 0.95**i for i in range(100)])
    assert grown(replace(learned, records=[*learned.records, gone])) == []


# --- far too large behind a normalisation -----------------------------------------------------------------------------


class PreNorm(nn.Module):
    """Residual blocks that normalise what they get, and a normalisation at the end."""

    def __init__(self, std: float | None, blocks: int = 3, width: int = 32) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.end, self.head = nn.LayerNorm(width), nn.Linear(width, 10)
        for part in self.blocks.modules():
            if isinstance(part, nn.Linear) and std is not None:
                nn.init.normal_(part.weight, std=std)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        output: torch.Tensor = self.head(self.end(x))
        return output


@pytest.mark.parametrize(("std", "told"), [(1.0, True), (0.02, False), (None, False), (32**-0.5, False)])
def test_branches_of_weights_far_too_large_are_told_though_the_end_is_normalised(
    std: float | None, *, told: bool
) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(PreNorm(std), optimizer="Adam", lr=1e-3), loader(32), monitor, steps=5)
    loud = [finding for finding in monitor.findings if finding.severity > Severity.INFO]
    assert [finding.code for finding in loud] == ["IM401"] * told
    for finding in loud:
        assert finding.step == 0
        assert set(finding.layers) == {f"net.blocks.{i}.{k}" for i in range(3) for k in (1, 3)}
        assert "net.blocks.2.1" in finding.remedy_code
        assert "net.blocks.2.3" in finding.remedy_code


def test_a_network_that_was_trained_before_may_have_branches_as_large_as_it_likes() -> None:
    torch.manual_seed(0)
    net = PreNorm(1.0)
    nn.init.normal_(net.end.weight, mean=1.0, std=0.1)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(net, optimizer="Adam", lr=1e-3), loader(32), monitor, steps=5)
    assert not [finding for finding in monitor.findings if finding.code == "IM401"]
