"""How deep the signal reaches, before training: what is measured in real networks against mean-field formulas."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

import init_monitor
from init_monitor.analysis.length_scales import Course, LengthScales, Pace, difference, pace_of
from init_monitor.pair_correlation import pair_correlations

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, DEPTH, SAMPLES = 512, 25, 48
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def network(act: type[nn.Module], weight_variance: float, bias_variance: float, depth: int = DEPTH) -> nn.Sequential:
    """Fully connected, of one width: σ_w²/n and σ_b² as in Schoenholz et al. 2017."""
    torch.manual_seed(1)
    parts: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(layer.weight, std=math.sqrt(weight_variance / WIDTH))
        nn.init.normal_(layer.bias, std=math.sqrt(bias_variance))
        parts += [layer, act()]
    return nn.Sequential(*parts[:-1])


def scales_of(net: nn.Module, batch: torch.Tensor | None = None) -> LengthScales:
    torch.manual_seed(2)
    scales = init_monitor.check(net, torch.randn(SAMPLES, WIDTH) if batch is None else batch, rules=()).scales
    assert scales is not None
    return scales


def mean_field_tanh(weight_variance: float, bias_variance: float) -> tuple[float, float, float]:
    """q*, χ₁ and c* of Schoenholz et al. 2017, equations 3 to 8, by Gauss-Hermite quadrature."""
    q = 1.0
    for _ in range(300):
        q = weight_variance * float(WEIGHTS @ np.tanh(math.sqrt(q) * POINTS) ** 2) + bias_variance
    chi = weight_variance * float(WEIGHTS @ (1 - np.tanh(math.sqrt(q) * POINTS) ** 2) ** 2)
    first, second = np.meshgrid(POINTS, POINTS)
    both, c = np.outer(WEIGHTS, WEIGHTS), 0.5
    for _ in range(1000):
        other = c * first + math.sqrt(max(0.0, 1 - c * c)) * second
        product = np.tanh(math.sqrt(q) * first) * np.tanh(math.sqrt(q) * other)
        c = min(1.0, (weight_variance * float((both * product).sum()) + bias_variance) / q)
    return q, chi, c


def mean_field_relu(apart: float, layers: int) -> NDArray[np.float64]:
    """1 − c of He's weights over depth: the arc-cosine kernel (Cho & Saul 2009)."""
    values = [apart]
    for _ in range(layers - 1):
        c = 1 - values[-1]
        values.append(1 - (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi)
    return np.array(values)


# --- against mean-field theory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "biases"), [(1.3, 0.05), (1.0, 0.1)])
def test_in_the_ordered_phase_the_length_scale_is_that_of_theory(weights: float, biases: float) -> None:
    q, chi, c = mean_field_tanh(weights, biases)
    assert c == pytest.approx(1)
    scales = scales_of(network(nn.Tanh, weights, biases))
    assert scales.mean_square[-1] == pytest.approx(q, rel=0.25)
    assert scales.gradient == pytest.approx(chi, rel=0.03)
    assert scales.difference is not None
    assert scales.difference.course is Course.DECAYS
    assert scales.difference.scale == pytest.approx(-1 / math.log(chi), rel=0.15)


def test_in_the_chaotic_phase_samples_settle_apart() -> None:
    _, chi, c = mean_field_tanh(4.0, 0.05)
    scales = scales_of(network(nn.Tanh, 4.0, 0.05))
    found = scales.difference
    assert scales.gradient == pytest.approx(chi, rel=0.03)
    assert found is not None
    assert (found.course, found.more) == (Course.SETTLES, math.inf)
    assert found.rest == pytest.approx(1 - c, rel=0.15)


def test_relu_with_hes_weights_is_critical() -> None:
    scales = scales_of(network(nn.ReLU, 2.0, 0.0))
    expected = mean_field_relu(scales.apart[0], len(scales.apart))
    np.testing.assert_allclose(scales.apart[1:8], expected[1:8], rtol=0.15)
    assert scales.gradient == pytest.approx(1, abs=0.03)
    found = scales.difference
    assert found is not None
    assert found.course is Course.CRITICAL
    assert found.more > 1000


def test_a_relu_of_smaller_weights_loses_its_signal_but_keeps_samples_apart() -> None:
    # Without biases a ReLU network is homogeneous: what is relative does not depend on the scale of its weights.
    scales = scales_of(network(nn.ReLU, 1.6, 0.0))
    assert scales.signal == pytest.approx(0.8, rel=0.03)
    assert scales.gradient == pytest.approx(0.8, rel=0.03)
    assert scales.difference is not None
    assert scales.difference.course is Course.CRITICAL


def test_what_is_predicted_happens() -> None:
    net = network(nn.Tanh, 1.0, 0.1, depth=40)
    predicted = scales_of(net[:25])
    assert predicted.difference is not None
    deeper = scales_of(net)
    reached = next(i for i, apart in enumerate(deeper.apart) if apart <= 1e-6)
    assert len(predicted.apart) + predicted.difference.more == pytest.approx(reached, abs=4)
    assert deeper.difference is not None
    assert deeper.difference.more == 0


# --- the measuring --------------------------------------------------------------------------------------------------


def test_pairs_are_those_of_a_double_loop() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 7)).double()
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    structure = init_monitor.check(net, x, rules=()).structure
    found = pair_correlations(net, x, structure)
    assert set(found) == {"0", "3"}
    for name, layer in (("0", net[:1]), ("3", net)):
        rows = layer(x).detach().reshape(4, -1)
        square = float(rows.square().mean())
        products = [float((rows[a] * rows[b]).mean()) for a in range(4) for b in range(4) if a != b]
        # The two means of squares of a difference count each sample alike.
        assert found[name][0] == pytest.approx(square)
        assert found[name][1] == pytest.approx(1 - sum(products) / len(products) / square)


def test_calls_of_one_layer_are_told_apart_and_batches_of_one_say_nothing() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Linear(8, 8)
            self.rnn = nn.LSTM(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.shared(torch.tanh(self.shared(x)))
            out: torch.Tensor = self.rnn(y[None])[0][0]
            return out

    net, x = Twice(), torch.randn(5, 8)
    structure = init_monitor.check(net, x, rules=()).structure
    found = pair_correlations(net, x, structure)
    assert set(found) == {"shared#1", "shared#2"}
    assert found["shared#1"] != found["shared#2"]
    assert pair_correlations(net, x[:1], structure) == {}


def test_samples_that_are_alike_have_no_difference() -> None:
    scales = scales_of(network(nn.Tanh, 1.0, 0.1, depth=8), torch.ones(4, WIDTH))
    assert scales.difference is None


def test_a_short_chain_has_no_course() -> None:
    assert init_monitor.check(network(nn.Tanh, 1.0, 0.1, depth=6), torch.randn(4, WIDTH), rules=()).scales is None


def test_nothing_is_changed_and_a_network_that_runs_only_once_keeps_its_report() -> None:
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(nn.Tanh, 1.0, 0.1, depth=8)
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 1:
                message = "only once"
                raise ValueError(message)
            out: torch.Tensor = self.net(x)
            return out

    with pytest.warns(init_monitor.InitMonitorWarning, match="could not measure length scales: ValueError: only once"):
        report = init_monitor.check(Once(), torch.randn(4, WIDTH), rules=())
    assert report.scales is None
    assert len(report.records) == 1

    net = nn.Sequential(*network(nn.Tanh, 1.0, 0.1, depth=8), nn.BatchNorm1d(WIDTH), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert init_monitor.check(net, torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0))).scales is not None
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


# --- the course -----------------------------------------------------------------------------------------------------


def test_without_a_gradient_the_course_itself_is_taken() -> None:
    levels = np.arange(20.0)
    found = difference(levels, 0.5 * 0.8**levels)
    assert found is not None
    assert found.course is Course.DECAYS
    assert found.factor == pytest.approx(0.8)
    assert found.more == pytest.approx(math.log(found.now / 1e-6) / -math.log(0.8))


def test_the_rest_is_the_fixed_point_of_the_measured_map() -> None:
    values = [0.9]
    for _ in range(19):
        values.append(1.3 * values[-1] - 0.5 * values[-1] ** 2)
    found = difference(np.arange(20.0), np.array(values), Pace(math.log(1.3), 0.01))
    assert found is not None
    assert found.rest == pytest.approx(0.6)


def test_what_repeats_every_second_layer_is_told_from_scatter() -> None:
    levels = np.arange(20.0)
    even = pace_of(levels, -0.1 * levels + np.tile([0.0, 2.0], 10))
    assert even.value == pytest.approx(-0.1, abs=0.02)
    assert even.is_told
    walk = np.cumsum(np.random.default_rng(0).normal(0, 0.3, 20))
    assert not pace_of(levels, walk).is_told


def test_what_stays_stays() -> None:
    found = difference(np.arange(20.0), np.full(20, 0.3), Pace(0.0, 0.01))
    assert found is not None
    assert (found.course, found.more) == (Course.STAYS, math.inf)


# --- showing --------------------------------------------------------------------------------------------------------


def test_console_page_markdown_and_json_tell_it(tmp_path: Path) -> None:
    torch.manual_seed(2)
    report = init_monitor.check(network(nn.Tanh, 1.0, 0.1, depth=13), torch.randn(SAMPLES, WIDTH), rules=())
    sentence = "more such layers they cannot be told apart"
    for text in (str(report), report.to_markdown(), report.to_html(), report._repr_html_()):
        assert "Length scales over 12 weight layers in a row" in text
        assert sentence in " ".join(text.split())
    stored = json.loads(report.to_json())["length_scales"]
    assert stored["difference"]["course"] == "decays"
    assert sentence in stored["prediction"]


@pytest.mark.parametrize(
    ("weights", "act", "words"),
    [
        (4.0, nn.Tanh, "small differences grow, and settle near"),
        (2.0, nn.ReLU, "it falls with the square of the depth only"),
    ],
)
def test_a_course_is_said_in_words(weights: float, act: type[nn.Module], words: str) -> None:
    torch.manual_seed(2)
    report = init_monitor.check(network(act, weights, 0.0), torch.randn(SAMPLES, WIDTH), rules=())
    assert words in " ".join(str(report).split())
