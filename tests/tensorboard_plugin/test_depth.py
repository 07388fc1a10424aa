"""Deep networks in the tab: folded blocks, types, zoom, zeros, what nobody needs to look at, and every width of window."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tab_runs
from browser import COLOURS, MAP, WAIT_MS, Watched, hover, looked_at, number, settled
from builders import linears, record
from torch.utils.tensorboard import SummaryWriter

from init_monitor.display.cells import headings
from init_monitor.display.residual_rows import stream_growth
from init_monitor.records import Finding, Of, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.sinks import Run, TensorBoardSink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tab_runs import Board

pytestmark = pytest.mark.slow

STATIC = "data/plugin/init_monitor/static/"
TOP, ROW = 6, 14
"""Pixels above the first row of a picture, and of a row where the network has 14 of them."""


def small(directory: Path) -> None:
    """Write a run of three rectifiers, all of whose units work, without gradients; a finding names one at step 2."""
    writer, sink, net = SummaryWriter(str(directory)), TensorBoardSink(), linears(3)

    class Logger:
        experiment = writer

    sink.open(Run(loggers=(Logger(),)))
    columns: dict[Quantity, Any] = {
        Quantity.VARIANCE: 1.0,
        Quantity.DEAD_FRACTION: 0.0,
        Quantity.ALL_POSITIVE_FRACTION: 0.0,
        Quantity.UNIT_SAMPLES: 5_000.0,
    }
    loud = Finding("saturation", "IM303", Severity.WARNING, ("net.1",), 2, "Saturated.")
    for step in range(3):
        sink.emit(record(net, columns, step=step), (loud,) if step == loud.step else (), net)
    sink.close()
    writer.close()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A transformer after whose additions norms follow, a network of zeros, and one that shrinks its signal."""
    logs = tmp_path_factory.mktemp("logs")
    monitors = {
        "post_norm": tab_runs.fit(logs / "post_norm", lambda: tab_runs.Tokens(norm_first=False), 1.0, steps=12),
        "xavier": tab_runs.fit(logs / "xavier", tab_runs.deep, 1.0),
        "zero": tab_runs.fit(logs / "zero", tab_runs.deep, 0.0, steps=20),
    }
    small(logs / "small")
    with tab_runs.shown(logs, monitors) as board:
        yield board


def block(monitor: Any, name: str, quantity: Quantity, step: int) -> dict[str, float]:
    """The numbers of a block's layers by their names within it."""
    (one,) = [one for one in monitor.records if one.step == step]
    column = one.column(quantity)
    return {
        own[len(name) + 1 :]: float(value)
        for own, value in zip(one.names, column, strict=True)
        if re.match(rf"{re.escape(name)}[./]", own) and not np.isnan(value)
    }


def word(page: Watched, key: str) -> str:
    """What the address says; empty if nothing."""
    found = re.search(rf"p\.init_monitor\.{key}=([^&]*)", page.page.evaluate("location.hash"))
    return found[1] if found else ""


def wait_for(page: Watched, condition: str) -> None:
    page.page.wait_for_function(condition, timeout=WAIT_MS)


# --- blocks ---------------------------------------------------------------------------------------------------------


def test_the_layers_of_a_deep_network_are_folded_into_blocks_that_say_their_range(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, runs="post_norm", step=0), board.monitors["post_norm"]
    assert len(monitor.structure.names) > 70
    height = frame.locator(MAP.format("variance")).bounding_box()["height"]
    rows = [hover(page, frame, MAP.format("variance"), 0.5, (TOP + ROW * (i + 0.5)) / height) for i in range(14)]
    blocks = [f"net.encoder.layers.{i}" for i in range(12)]
    assert [row["title"] for row in rows] == ["net.embed", *blocks, "net.head"]
    assert [row["type"] for row in rows] == ["Linear", *["6 layers"] * 12, "Linear"]
    for said in rows[1:13]:
        numbers = block(monitor, said["title"], Quantity.VARIANCE, int(said["step"]))
        ends = {key.split(": ")[0]: (key.split(": ")[1], value) for key, value in said.items() if ": " in key}
        for end, pick in (("smallest", min), ("largest", max)):
            name, value = ends[end]
            assert number(value) == pytest.approx(pick(numbers.values()), rel=5e-3)
            assert number(value) == pytest.approx(numbers[name], rel=5e-3)
    page.shot("folded")


def test_a_click_or_a_key_opens_a_block_and_the_address_remembers(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, runs="post_norm")
    box = frame.locator(MAP.format("variance")).bounding_box()
    page.page.mouse.click(box["x"] + 20, box["y"] + TOP + 2.5 * ROW)
    wait_for(page, "/open=net.encoder.layers.1$/.test(location.hash)")
    page.page.mouse.move(1, 1)
    page.page.reload()
    frame = page.frame()
    height = frame.locator(MAP.format("variance")).bounding_box()["height"]
    names = [
        hover(page, frame, MAP.format("variance"), 0.5, (TOP + (height - 44) * (i + 0.5) / 20) / height)["title"]
        for i in range(20)
    ]
    assert names[:3] == ["net.embed", "net.encoder.layers.0", "net.encoder.layers.1"]
    inside = [
        one for one in board.monitors["post_norm"].structure.names if re.match(r"net\.encoder\.layers\.1[./]", one)
    ]
    assert [name for name in names[3:9] if name in inside] == names[3:9]
    assert names[9] == "net.encoder.layers.2"
    page.shot("unfolded")
    # The keys: all open, all folded, and Enter for the one that is selected.
    frame.focus(".main")
    press = page.page.keyboard.press
    press("f")
    wait_for(page, "location.hash.endsWith('open=*')")
    press("f")
    wait_for(page, "location.hash.endsWith('open=')")
    press("ArrowDown")
    press("ArrowDown")
    press("Enter")
    wait_for(page, "location.hash.endsWith('open=net.encoder.layers.0')")
    press("ArrowDown")
    press("Enter")
    frame.wait_for_selector(".layer-line")
    assert frame.locator(".layer-line select").input_value().startswith("net.encoder.layers.0")


def test_pointing_at_a_block_reads_its_range_in_every_picture(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, runs="post_norm", step=0), board.monitors["post_norm"]
    height = frame.locator(MAP.format("variance")).bounding_box()["height"]
    said = hover(page, frame, MAP.format("variance"), 0.5, (TOP + 4.5 * ROW) / height)
    line = frame.inner_text(".readout").replace("\n", " ")
    for name, quantity in (("variance", Quantity.VARIANCE), ("gradient", Quantity.GRADIENT_VARIANCE)):
        low, high = re.search(rf"{name} (\S+) … (\S+)", line).groups()  # type: ignore[union-attr]
        numbers = block(monitor, said["title"], quantity, int(said["step"])).values()
        assert (number(low), number(high)) == pytest.approx((min(numbers), max(numbers)), rel=5e-3)


def test_the_lines_over_depth_have_a_place_per_block(page: Watched, board: Board) -> None:
    frame, monitor = (
        page.open_tab(board.address, view="propagation", runs="post_norm", step=0),
        board.monitors["post_norm"],
    )
    said = hover(page, frame, ".panel .surface", 0.5, 0.5)
    numbers = block(monitor, said["title"], Quantity.VARIANCE, 0).values()
    low, high = said["post_norm"].split(" … ")
    assert (number(low), number(high)) == pytest.approx((min(numbers), max(numbers)), rel=5e-3)
    page.page.mouse.down()
    page.page.mouse.up()
    wait_for(page, f"location.hash.includes('open={said['title']}')")
    assert word(page, "open") == said["title"]


BLOCKS = """async ([address, names]) => {
  const {blocksOf} = await import(address + 'blocks.js');
  return [...blocksOf(names)].sort();
}"""


@pytest.mark.parametrize(
    ("names", "blocks"),
    [
        (["net.0", "net.1", "net.2"], []),
        (["b.0.fc", "b.0.act", "b.1.fc", "b.1.act", "head"], ["b.0", "b.1"]),
        # The halves of a model are not its blocks, nor are the layers of an MLP within a block.
        (
            [f"model.{half}.layers.{i}.mlp.{k}" for half in (0, 1) for i in range(3) for k in (0, 2)],
            [f"model.{half}.layers.{i}" for half in (0, 1) for i in range(3)],
        ),
        (["layer1.0.conv1", "layer1.0.bn1", "layer1.1.conv1", "layer1.1.bn1"], ["layer1.0", "layer1.1"]),
        (["down1.conv", "down1.norm", "down2.conv", "down2.norm", "out"], ["down1", "down2"]),
        (["h.0/relu", "h.0.fc#2", "h.1/relu", "h.1.fc#2"], ["h.0", "h.1"]),
        # One of a kind is no list.
        (["encoder.0.fc", "encoder.0.act", "head.fc"], []),
    ],
    ids=str,
)
def test_blocks_are_the_modules_of_the_longest_list(
    names: list[str], blocks: list[str], page: Watched, board: Board
) -> None:
    frame = page.open_tab(board.address)
    assert frame.evaluate(BLOCKS, [board.address + STATIC, names]) == blocks


# --- zoom -----------------------------------------------------------------------------------------------------------


def drag(page: Watched, frame: Any, start: tuple[float, float], end: tuple[float, float], selector: str) -> None:
    box = frame.locator(selector).first.bounding_box()
    page.page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.page.mouse.down()
    for share in (0.3, 0.7, 1.0):
        x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        page.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.page.mouse.up()
    settled(frame)


def test_a_dragged_box_is_zoomed_into_in_every_picture_and_the_link_holds_it(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, runs="xavier"), board.monitors["xavier"]
    steps, names = [one.step for one in monitor.records], list(monitor.structure.names)
    ends = [hover(page, frame, MAP.format("variance"), x, y) for x, y in ((0.4, 0.3), (0.6, 0.6))]
    drag(page, frame, (0.4, 0.3), (0.6, 0.6), MAP.format("variance"))
    words = frame.inner_text(".part")
    shown = re.search(r"steps (\d+) … (\d+), (\S+) … (\S+)", words)
    assert shown, words
    first, last = (int(one) for one in shown.groups()[:2])
    top, bottom = (names.index(one) for one in shown.groups()[2:])
    # What the box was drawn around, to the nearest column and row.
    for place, end in ((first, ends[0]), (last, ends[1])):
        assert abs(steps.index(place) - steps.index(int(end["step"]))) <= 1
    for place, end in ((top, ends[0]), (bottom, ends[1])):
        assert abs(place - names.index(end["title"])) <= 1
    page.shot("zoomed")
    for view, selector in (("propagation", ".panel .surface"), ("units", ".card .surface")):
        frame.click(f".tab[title^={view.capitalize()}]")
        settled(frame)
        for share in (0.15, 0.5, 0.9):
            x, y = (share, 0.5) if view == "propagation" else (0.5, share * 0.9)
            assert top <= names.index(hover(page, frame, selector, x, y)["title"]) <= bottom
    frame.click(".tab[title^=Layer]")
    settled(frame)
    for share in (0.3, 0.6, 0.9):
        said = hover(page, frame, ".grid.small .surface", share, 0.5)
        assert first <= int(said["title"].removeprefix("step ")) <= last
    slider = frame.locator(".slider")
    assert int(slider.get_attribute("max")) == steps.index(last) - steps.index(first)
    wait_for(page, "location.hash.includes('p.init_monitor.depth=')")
    page.page.mouse.move(1, 1)
    page.page.reload()
    frame = page.frame()
    assert frame.inner_text(".part") == words
    frame.click(".part")
    settled(frame)
    assert not frame.locator(".part").is_visible()


def test_wheel_keys_and_double_click_zoom_move_and_reset(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, runs="xavier"), board.monitors["xavier"]
    steps = [one.step for one in monitor.records]
    whole = (steps[0], steps[-1])

    def shown() -> tuple[tuple[int, int], bool]:
        """Steps that are shown, and whether only some of the layers are."""
        page.page.wait_for_timeout(100)
        settled(frame)
        part = frame.locator(".part")
        words = part.inner_text() if part.is_visible() else ""
        found = re.search(r"steps (\d+) … (\d+)", words)
        return (int(found[1]), int(found[2])) if found else whole, "net." in words

    hover(page, frame, MAP.format("variance"), 0.5, 0.5)
    page.page.keyboard.down("Control")
    page.page.mouse.wheel(0, -120)
    frame.wait_for_selector(".part:not([hidden])")
    page.page.keyboard.up("Control")
    closer, some = shown()
    assert steps[0] < closer[0] < closer[1] < steps[-1]
    assert some
    # Without a key the wheel moves the page.
    page.page.mouse.wheel(0, -120)
    assert shown() == (closer, True)
    drag(page, frame, (0.5, 0.5), (0.7, 0.5), MAP.format("variance"))
    inside, _ = shown()
    assert closer[0] <= inside[0] < inside[1] <= closer[1]
    page.page.keyboard.down("Shift")
    drag(page, frame, (0.5, 0.5), (0.8, 0.5), MAP.format("variance"))
    page.page.keyboard.up("Shift")
    moved, _ = shown()
    assert moved[0] < inside[0]
    assert steps.index(moved[1]) - steps.index(moved[0]) == steps.index(inside[1]) - steps.index(inside[0])
    box = frame.locator(MAP.format("variance")).bounding_box()
    page.page.mouse.dblclick(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    assert shown() == (whole, False)
    frame.focus(".main")
    press = page.page.keyboard.press
    press("+")
    near, some = shown()
    assert near != whole
    assert not some
    press(",")
    assert shown()[0][0] <= near[0]
    press("-")
    press("-")
    assert shown() == (whole, False)
    press("]")
    assert shown() == (whole, True)
    press("0")
    assert shown() == (whole, False)


SLICE = """async ([address, ...asked]) => (await import(address + 'zoom.js')).sliceAt(...asked)"""


@pytest.mark.parametrize(
    ("count", "shown", "shares", "expected"),
    [
        (100, [0, 100], [0.25, 0.75], [25, 75]),
        (100, [25, 75], [0.0, 0.5], [25, 50]),
        # Beyond either end nothing is shown: the part keeps its size.
        (100, [25, 75], [-1.0, 0.0], [0, 50]),
        (100, [25, 75], [1.0, 2.0], [50, 100]),
        (100, [25, 75], [-1.0, 2.0], None),
        # Two columns are shown at least; a narrow part still gets narrower, a wide one wider.
        (100, [40, 43], [0.4, 0.6], [41, 43]),
        (3, [0, 3], [0.1, 0.9], [0, 2]),
        (100, [40, 42], [-0.1, 1.1], [40, 43]),
        (1, [0, 1], [0.2, 0.4], None),
    ],
    ids=str,
)
def test_a_part_is_whole_columns_within_what_there_is(  # noqa: PLR0917 - four of them are the case
    count: int, shown: list[int], shares: list[float], expected: list[int] | None, page: Watched, board: Board
) -> None:
    frame = page.open_tab(board.address)
    assert frame.evaluate(SLICE, [board.address + STATIC, count, shown, shares]) == expected


# --- zeros, tints, and what nobody needs to look at -----------------------------------------------------------------

SCALE = """async ([address, low, high, zero]) => {
  const {logScale} = await import(address + 'scales.js');
  const scale = logScale(low, high, 6, {zero});
  return {zero: scale.at(0), low: scale.at(low), high: scale.at(high), nan: scale.at(NaN), ticks: scale.ticks};
}"""


def test_zero_has_a_place_of_its_own_below_every_power_of_ten(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address)
    scale = frame.evaluate(SCALE, [board.address + STATIC, 1e-3, 1e2, True])
    assert scale["zero"] == 0
    assert scale["low"] > 0.1
    assert scale["high"] == 1
    assert np.isnan(scale["nan"])
    assert scale["ticks"][0] == {"share": 0, "label": "0"}
    assert scale["ticks"][1]["share"] == pytest.approx(scale["low"])
    without = frame.evaluate(SCALE, [board.address + STATIC, 1e-3, 1e2, False])
    assert (without["low"], without["ticks"][0]["label"]) == (0, "10⁻³")


def test_a_signal_of_exact_zeros_is_drawn_as_zero(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, runs="zero")
    pixel = frame.locator(f"{MAP.format('variance')} canvas.plot").evaluate(
        "(c) => [...c.getContext('2d').getImageData(c.width / 2, c.height / 3, 1, 1).data]"
    )
    assert pixel == [0, 0, 0, 255]
    assert hover(page, frame, MAP.format("variance"), 0.5, 0.3)["variance"] == "0"
    frame.click(".tab[title^=Propagation]")
    settled(frame)
    assert hover(page, frame, ".panel .surface", 0.5, 0.5)["zero"] == "0"
    page.shot("zeros")


def test_the_tint_says_what_it_means_and_belongs_to_the_step_shown(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="propagation", runs="small", step=2)
    assert "named by findings of small up to step 2: IM303 saturation" in frame.inner_text(".legend")
    tinted = frame.locator(".main canvas.plot").first.evaluate(COLOURS)
    frame.focus(".main")
    page.page.keyboard.press("Home")
    frame.wait_for_selector(".im[data-step='0']")
    settled(frame)
    assert "named by" not in frame.inner_text(".legend")
    assert frame.locator(".main canvas.plot").first.evaluate(COLOURS) < tinted


def test_a_stream_that_is_normalised_after_each_addition_does_not_build_up(page: Watched, board: Board) -> None:
    monitor = board.monitors["post_norm"]
    frame = page.open_tab(board.address, view="residuals", runs="post_norm", step=0)
    said = frame.inner_text(".sentence")
    assert said.endswith("each is followed by a normalisation or another layer, so it does not build up.")
    console = stream_growth(monitor.records[0], monitor.structure)
    assert console is not None
    assert str(console).endswith("each is followed by a normalisation or another layer, so it does not build up")
    (factor,) = re.findall(r"multiplied by (\S+) per block", said)
    assert number(factor) == pytest.approx(10**console.log10_per_block, rel=5e-3)
    page.shot("post-norm")


def test_a_picture_of_nothing_but_zeros_of_what_is_wrong_is_one_line_until_it_is_asked_for(
    page: Watched, board: Board
) -> None:
    frame = page.open_tab(board.address, runs="small")
    slim = {one.get_attribute("data-quantity"): one for one in frame.locator(".card.slim").all()}
    assert {"dead_fraction", "gradient_variance"} <= set(slim)
    assert max(one.bounding_box()["height"] for one in slim.values()) < 50
    assert "0 % in all 3 layers at every step" in slim["dead_fraction"].inner_text()
    assert "Not measured in this run" in slim["gradient_variance"].inner_text()
    page.shot("slim")
    frame.click(".slim[data-quantity=dead_fraction] .link")
    frame.wait_for_selector("section[data-quantity=dead_fraction]:not(.slim) canvas.plot")
    frame.click(".tab[title^=Units]")
    settled(frame)
    assert "Every unit of all 3 rectifiers works" in frame.inner_text(".card.slim")
    frame.click(".card.slim .link")
    frame.wait_for_selector(".card:not(.slim) canvas.plot")


# --- windows --------------------------------------------------------------------------------------------------------

HIDDEN = """() => [...document.querySelectorAll('.im, .im *')].filter((one) => {
  const {overflowX} = getComputedStyle(one);
  return one.scrollWidth > one.clientWidth + 1 && ['auto', 'scroll'].includes(overflowX) && !one.matches('pre');
}).map((one) => one.className)"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [900, 1600])
def test_every_view_fits_its_window_without_a_hidden_scrollbar(
    width: int,
    dark: bool,  # noqa: FBT001
    context: Any,
    board: Board,
) -> None:
    with looked_at(context) as page:
        page.page.set_viewport_size({"width": width, "height": 1000})
        frame = page.open_tab(board.address, dark=dark)
        for view in ("overview", "propagation", "residuals", "units", "layer", "findings", "compare"):
            frame.click(f".tab[title^={view.capitalize()}]")
            settled(frame)
            assert frame.evaluate(HIDDEN) == [], view
            assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
            page.shot(f"{view}-{width}-{'dark' if dark else 'light'}")


# --- the report -----------------------------------------------------------------------------------------------------


def saved(page: Watched, frame: Any, label: str) -> list[list[str]]:
    """The numbers of a picture, as its button saves them."""
    with page.page.expect_download() as download:
        frame.locator(f"{label} [aria-label*=CSV]").first.click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:  # noqa: PTH123
        return list(csv.reader(file))


@pytest.mark.parametrize("run", ["post_norm", "xavier"])
def test_the_numbers_of_the_report_are_those_of_the_tab(run: str, tmp_path: Path, context: Any, board: Board) -> None:
    file = tmp_path / "report.html"
    board.monitors[run].report.to_html(file)
    with looked_at(context) as page:
        shown: dict[str, list[Any]] = {}
        for where in ("tab", "report"):
            frame = page.open_tab(board.address, runs=run) if where == "tab" else page.page
            if where == "report":
                page.page.goto(file.as_uri())
                settled(frame)
            quantities = ("variance", "gradient_variance", "update_ratio")
            found: list[Any] = [saved(page, frame, f"section[data-quantity={one}]") for one in quantities]
            for view, label in (("propagation", ".card"), ("units", ".card"), ("compare", ".card:has(.runs)")):
                frame.click(f".tab[title^={view.capitalize()}]")
                settled(frame)
                # A report is of one run, and may call it by the name of its directory.
                rows = saved(page, frame, label)
                found.append([row[1:] if view != "units" else row for row in rows])
            found.append(frame.inner_text(".loss b"))
            shown[where] = found
        assert shown["report"] == shown["tab"]
        assert len(shown["tab"][0]) == 1 + len(board.monitors[run].structure.names)
        # The tables of the report, which Python makes, say the same of the last step.
        titles = page.page.locator("table.layers thead th").all_inner_texts()
        rows = [row.locator("td").all_inner_texts() for row in page.page.locator("table.layers tbody tr").all()]
        place = titles.index(headings(Of.LAYER)[Quantity.VARIANCE].words)
        written = {row[0]: row[place] for row in rows}
        variances = {row[0]: float(row[-1]) for row in shown["tab"][0][1:]}
        compared = [name for name in written if name in variances and re.match(r"[\d.]", written[name])]
        assert len(compared) >= 10
        for name in compared:
            # The table has standard deviations, of two digits at least.
            assert float(written[name].split()[0]) == pytest.approx(variances[name] ** 0.5, rel=5e-2), name
