"""The coordinate check: slopes that theory gives are found, with a standard and a maximal update parametrisation."""

from __future__ import annotations

import io
import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import init_monitor
from init_monitor import InitMonitorError, OptionError
from init_monitor.analysis.width_growth import Growth, LayerGrowth, growth
from init_monitor.analysis.width_verdict import depends, overall, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from init_monitor import CoordinateCheck

WIDTHS = (64, 128, 256, 512)
BASE = 64
RATE = 1e-3
HIDDEN, OUT = ("2", "4"), "6"
cross_entropy = nn.functional.cross_entropy


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 32, generator=generator), torch.randint(10, (64,), generator=generator)


def standard(width: int) -> nn.Sequential:
    net = nn.Sequential(
        *(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
        nn.Linear(width, 10),
    )
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


def maximal_update(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Yang et al. 2022, table 3, for Adam; the output starts at 0, as they advise."""
    net = standard(width)
    nn.init.zeros_(net.get_parameter("6.weight"))
    groups = []
    for name, parameter in net.named_parameters():
        falls = name in {"2.weight", "4.weight", "6.weight"}
        groups.append({"params": [parameter], "lr": RATE * BASE / width if falls else RATE})
    return net, torch.optim.Adam(groups)


@pytest.fixture(scope="module")
def of_standard() -> CoordinateCheck:
    return init_monitor.coordinate_check(standard, WIDTHS, batch=batch(), loss_fn=cross_entropy)


@pytest.fixture(scope="module")
def of_maximal_update() -> CoordinateCheck:
    return init_monitor.coordinate_check(maximal_update, WIDTHS, batch=batch(), loss_fn=cross_entropy)


# --- slopes ---------------------------------------------------------------------------------------------------------


def test_with_a_maximal_update_parametrisation_nothing_depends_on_the_width(of_maximal_update: CoordinateCheck) -> None:
    for layer in of_maximal_update.layers:
        assert layer.change.slope == pytest.approx(0, abs=0.1), layer.layer
        if layer.layer not in {OUT, "output"}:
            assert layer.start.slope == pytest.approx(0, abs=0.1), layer.layer
    assert of_maximal_update["output"].start.is_zero
    assert of_maximal_update.off == ()
    assert of_maximal_update.verdict.startswith("None of 5 rows depends on the width")


def test_adam_with_a_standard_parametrisation_changes_wide_layers_more(of_standard: CoordinateCheck) -> None:
    # The entries of an Adam step do not depend on the width and add up over what a layer takes: up to width^1.
    assert of_standard["0"].own.slope == pytest.approx(0, abs=0.1)
    for name in HIDDEN:
        assert 0.5 < of_standard[name].own.slope < 1.1, name
        assert 0.5 < of_standard[name].change.slope < 1.2, name
    assert of_standard["output"].change.slope > 0.5
    assert [layer.layer for layer in of_standard.off] == [*HIDDEN, OUT, "output"]
    for name in (*HIDDEN, OUT):
        assert "needs a learning rate that falls as 1/width" in of_standard.verdict_of(name)
    assert of_standard.verdict_of("0") == "does not depend on the width"


def test_weights_of_one_variance_at_every_width_start_as_the_root_of_the_width() -> None:
    def make(width: int) -> nn.Module:
        net = nn.Sequential(nn.Linear(32, width), nn.Linear(width, width), nn.Linear(width, width))
        for layer in net:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=0.05)
            nn.init.zeros_(layer.bias)
        return net

    checked = init_monitor.coordinate_check(make, WIDTHS, batch=batch()[0], steps=1)
    slopes = [checked[name].start.slope for name in ("0", "1", "2")]
    assert slopes == pytest.approx([0, 0.5, 1.0], abs=0.1)
    assert "needs initial weights smaller by √width" in checked.verdict_of("1")
    assert "needs initial weights smaller by √width" in checked.verdict_of("2")


def test_plain_sgd_with_a_rate_for_every_width_teaches_the_first_layer_less() -> None:
    # The gradient of the first layer's outputs is that of the logits times weights of size 1/√width.
    checked = init_monitor.coordinate_check(
        standard,
        WIDTHS,
        batch=batch(),
        loss_fn=cross_entropy,
        optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.01),
    )
    assert checked.optimizer == "SGD"
    assert checked["0"].own.slope == pytest.approx(-0.5, abs=0.1)
    assert "needs a learning rate that grows as √width" in checked.verdict_of("0")


# --- the measuring --------------------------------------------------------------------------------------------------


def test_the_sizes_are_those_of_a_training_by_hand() -> None:
    checked = init_monitor.coordinate_check(standard, (16, 32), batch=batch(), loss_fn=cross_entropy, steps=2, seeds=1)
    for place, width in enumerate((16, 32)):
        torch.manual_seed(0)
        net = standard(width)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        x, y = batch()
        seen: list[torch.Tensor] = []
        own, given = [], []
        before = x
        for step in range(3):
            took = net[:2](x).detach()
            if seen:
                own.append(float((net[2](before).detach() - seen[-1]).double().square().mean()))
                given.append(float((took - before).double().square().mean()))
            before = took
            seen.append(net[2](took).detach())
            if step < 2:
                optimizer.zero_grad()
                cross_entropy(net(x), y).backward()
                optimizer.step()
        row = checked["2"]
        expected: dict[str, Any] = {
            "start": seen[0].double().square().mean().sqrt(),
            "after": seen[2].double().square().mean().sqrt(),
            "change": math.sqrt(sum(float((b - a).double().square().mean()) for a, b in pairwise(seen)) / 2),
            "own": math.sqrt(sum(own) / 2),
            "given": math.sqrt(sum(given) / 2),
        }
        for name, value in expected.items():
            assert getattr(row, name).values[place] == pytest.approx(float(value), rel=1e-5), name


def test_writing_in_place_and_dropout_change_no_measure() -> None:
    def plain(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(32, width), nn.Dropout(0.5), nn.ReLU(), nn.Linear(width, 4))

    def in_place(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(32, width), nn.Dropout(0.5, inplace=True), nn.ReLU(inplace=True), nn.Linear(width, 4)
        )

    options: dict[str, Any] = {"widths": (16, 32), "batch": batch()[0], "steps": 2, "seeds": 1}
    first, second = (init_monitor.coordinate_check(make, **options) for make in (plain, in_place))
    assert first.to_json() == second.to_json()

    still = init_monitor.coordinate_check(
        plain, **options, optimizer=lambda net: torch.optim.SGD(net.parameters(), lr=0.0)
    )
    assert all(layer.change.is_zero for layer in still.layers)
    assert still.verdict_of("0") == "is not changed by the steps"


def test_calls_blocks_embeddings_and_kinds_get_their_rows() -> None:
    class Shared(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.table = nn.Embedding(11, width)
            self.block = nn.Sequential(nn.Linear(width, width), nn.Tanh())
            self.fixed = nn.Linear(3, 3)
            self.head = nn.Linear(width, 3)

        def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
            x = self.table(tokens)
            x = x + self.block(x)
            x = x + self.block(x)
            return {"logits": self.fixed(self.head(x))}

    tokens = torch.arange(11).reshape(1, 11)
    checked = init_monitor.coordinate_check(Shared, (8, 16), batch=tokens, seeds=1)
    kinds = {layer.layer: layer.kind for layer in checked.layers}
    assert kinds == {
        "table": "input",
        "block.0": "hidden",
        "block.0#2": "hidden",
        "head": "output",
        "fixed": "fixed",
        "output": "",
    }
    with_block = init_monitor.coordinate_check(Shared, (8, 16), batch=tokens, seeds=1, include=("block", "head"))
    assert [layer.layer for layer in with_block.layers] == ["block", "block#2", "head", "output"]


def test_random_state_is_put_back() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    init_monitor.coordinate_check(standard, (8, 16), batch=batch(), loss_fn=cross_entropy, steps=1, seeds=1)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_what_is_not_finite_is_said() -> None:
    def make(width: int) -> nn.Module:
        net = nn.Sequential(nn.Linear(32, width), nn.Linear(width, 1))
        if width == 32:
            nn.init.constant_(net[0].weight, math.inf)  # type: ignore[arg-type]
        return net

    checked = init_monitor.coordinate_check(make, (16, 32), batch=batch()[0], steps=1, seeds=1)
    assert "is not finite at some width" in checked.verdict_of("0")
    json.loads(checked.to_json())


# --- the fit --------------------------------------------------------------------------------------------------------


def test_a_slope_and_its_error_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    widths = (64, 128, 256, 512)
    noise = rng.normal(0, 0.1, (3, 4))
    sizes = np.exp(0.7 * np.log(widths) + noise)
    fitted = growth(widths, sizes)
    x = np.tile(np.log(widths), 3)
    coefficients, covariance = np.polyfit(x, np.log(sizes).ravel(), 1, cov="unscaled")
    rest = np.log(sizes).ravel() - np.polyval(coefficients, x)
    assert fitted.slope == pytest.approx(coefficients[0])
    assert fitted.error == pytest.approx(math.sqrt(covariance[0, 0] * (rest @ rest) / 10))
    assert growth((1, 2), np.array([[0.0, 0.0]])).is_zero
    assert math.isnan(growth((1, 2, 3), np.array([[0.0, 1.0, math.nan]])).slope)


def flat(**off: Growth) -> LayerGrowth:
    even = Growth(0.0, 0.01, (1.0, 1.0))
    return LayerGrowth(
        "net.0",
        "hidden",
        **{name: off.get(name, even) for name in ("start", "after", "change", "own", "given", "taken")},
    )


def test_what_comes_from_the_input_is_not_laid_at_the_layers_door() -> None:
    steep = Growth(0.9, 0.02, (1.0, 2.0))
    assert verdict(flat(start=steep, taken=steep)) == "starts as width^0.90, as its input does"
    assert verdict(flat(change=steep, given=steep)) == "its change grows as width^0.90, as the change of its input does"
    assert "needs a learning rate that falls as 1/width" in verdict(flat(own=steep, change=steep))
    unsure = Growth(0.3, 0.2, (1.0, 2.0))
    assert not depends(flat(own=unsure, change=unsure))
    assert overall([flat(start=steep)]) == "1 of 1 rows depend on the width; the steepest, net.0, goes as width^0.90."


# --- showing --------------------------------------------------------------------------------------------------------


def test_it_shows_itself_on_the_console_in_a_notebook_and_in_files(
    of_standard: CoordinateCheck, tmp_path: Path
) -> None:
    text = str(of_standard)
    assert "own update" in text
    assert "2: its own update grows as width^0." in text
    assert repr(of_standard).startswith("CoordinateCheck(4 widths, 4 of 5 rows depend on the width;")
    assert len(repr(of_standard)) < 120
    assert "<svg" in of_standard._repr_html_()
    for name in ("check.png", "check.html", "check.json"):
        of_standard.save(tmp_path / name)
    picture = Image.open(io.BytesIO((tmp_path / "check.png").read_bytes()))
    assert picture.size == (1800, 840)
    assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20
    page = (tmp_path / "check.html").read_text("utf-8")
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")
    saved = json.loads((tmp_path / "check.json").read_text())
    assert saved["widths"] == [64, 128, 256, 512]
    assert saved["layers"][1]["own"]["slope"] == pytest.approx(of_standard["2"].own.slope)
    with pytest.raises(OptionError, match=r"the ending is \.png, \.html or \.json, or none for a folder, got '\.svg'"):
        of_standard.save(tmp_path / "check.svg")
    with pytest.raises(KeyError, match="no row 'x'; there are 0, 2, 4, 6, output"):
        of_standard["x"]


def test_a_deep_network_keeps_its_key_beside_the_plot() -> None:
    from init_monitor.display.width_plot import width_svg

    even = Growth(0.0, 0.01, (1.0, 1.0))
    layers = [LayerGrowth(f"n<{i}>", "hidden", *[even] * 6) for i in range(40)]
    svg = width_svg((8, 16), layers)
    assert "and 26 between" in svg
    assert "n&lt;0&gt;" in svg


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widths": (8,)}, r"two or more different whole numbers above 0, got \(8,\)"),
        ({"widths": (8, 0)}, "two or more different whole numbers"),
        ({"steps": 0}, r"steps=…\) is a whole number of at least 1, got 0"),
        ({"seeds": 1.5}, r"seeds=…\) is a whole number of at least 1, got 1.5"),
        ({"tolerance": 0}, "tolerance=…"),
        ({"make": lambda width: None}, r"make\(8\) returned NoneType, expected a torch.nn.Module"),
        ({"make": lambda width: (nn.Linear(32, width), 3)}, "the optimizer of width 8 is int"),
        ({"optimizer": lambda net: None}, "the optimizer of width 8 is NoneType"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(options: dict[str, Any], words: str) -> None:
    given = {"make": standard, "widths": (8, 16), "batch": batch()[0], **options}
    with pytest.raises(OptionError, match=words):
        init_monitor.coordinate_check(given.pop("make"), given.pop("widths"), **given)


def test_networks_that_share_no_layer_cannot_be_compared() -> None:
    class Odd(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.add_module(f"of_{width}", nn.Linear(32, width))

        def forward(self, x: torch.Tensor) -> list[object]:
            return [self.get_submodule(next(name for name, _ in self.named_children()))(x).sum(), None]

    with pytest.raises(InitMonitorError, match="have no layer in common"):
        init_monitor.coordinate_check(Odd, (8, 16), batch=batch()[0], steps=1, loss_fn=lambda out: out[0])
