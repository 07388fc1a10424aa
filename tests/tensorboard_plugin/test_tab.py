"""The tab as a person meets it: in a browser, in TensorBoard, on what a real training wrote."""

from __future__ import annotations

import base64
import csv
import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pytest
import tab_runs
from browser import COLOURS, MAP, WAIT_MS, Watched, hover, looked_at, number, settled, tensorboard, watched

from init_monitor.analysis.rectifiers import LEAST_SAMPLES
from init_monitor.records import settled as settled_findings
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tab_runs import Board


pytestmark = pytest.mark.slow

VIEWS = ("overview", "propagation", "residuals", "units", "layer", "findings", "compare", "recipes")
TOP, BOTTOM = 8, 41
"""Pixels into a picture where its first and its last row are: the frame above, the steps below."""
BOARD_COLOURS = """() => Object.fromEntries(
  [...document.querySelectorAll('tb-data-table-content-row[data-id]')].map((row) => [
    row.dataset.id.split('/').pop(),
    getComputedStyle(row.querySelector('.run-color-swatch')).backgroundColor.match(/\\d+/g).map(Number),
  ]),
)"""
"""Runs and their colours, as the table of runs in Time Series has them."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """Three real trainings: one whose signal vanishes, one that is well, one with residual blocks."""
    logs = tmp_path_factory.mktemp("logs")
    monitors = {
        "he": tab_runs.fit(logs / "he", tab_runs.deep, 2.0),
        "residual": tab_runs.fit(logs / "residual", tab_runs.residual, 1.0, rate=1e-6),
        "xavier": tab_runs.fit(logs / "xavier", tab_runs.deep, 1.0),
    }
    with tab_runs.shown(logs, monitors) as board:
        yield board


def measured(monitor: Any, quantity: Quantity, name: str, step: int) -> float:
    (one,) = [one for one in monitor.records if one.step == step]
    names = one.names if name in one.names else one.parameter_names
    return float(one.column(quantity)[names.index(name)])


# --- every view -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_view_draws_what_a_real_fit_wrote(dark: bool, page: Watched, board: Board) -> None:  # noqa: FBT001
    frame = page.open_tab(board.address, dark=dark, focus="xavier")
    assert frame.locator(".im").evaluate("(e) => e.classList.contains('dark')") is dark
    pictures = {
        "overview": 4,
        "propagation": 2,
        "residuals": 6,
        "units": 3,
        "layer": 12,
        "findings": 0,
        "compare": 3,
        "recipes": 2,
    }
    assert tuple(pictures) == VIEWS
    for view, count in pictures.items():
        if view == "residuals":
            frame.click(".run-name:has-text('residual')")
        frame.click(f".tab[title^={view.capitalize()}]")
        frame.wait_for_selector(f".tab[aria-selected=true][title^={view.capitalize()}]")
        settled(frame)
        canvases = frame.locator("canvas.plot")
        assert canvases.count() >= count, view
        for canvas in canvases.all():
            assert canvas.evaluate(COLOURS) > 20, view
        page.shot(f"{view}-{'dark' if dark else 'light'}")


@pytest.mark.parametrize("width", [700, 2200])
def test_a_narrow_and_a_wide_window_hold_the_overview(width: int, context: Any, board: Board) -> None:
    with looked_at(context) as page:
        page.page.set_viewport_size({"width": width, "height": 900})
        frame = page.open_tab(board.address)
        assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.shot(f"overview-{width}")


# --- pointing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "word"), [("variance", "variance"), ("gradient_variance", "gradient")])
def test_the_box_at_the_pointer_says_what_was_measured(quantity: str, word: str, page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, focus="xavier")
    for x, y in ((0.3, 0.2), (0.5, 0.5), (0.8, 0.8)):
        said = hover(page, frame, MAP.format(quantity), x, y)
        step = int(said["step"].replace(",", ""))
        expected = measured(board.monitors["xavier"], Quantity(quantity), said["title"], step)
        assert number(said[word]) == pytest.approx(expected, rel=5e-3)


def test_depth_runs_downward_and_time_to_the_right(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, focus="he"), board.monitors["he"]
    height = frame.locator(MAP.format("variance")).bounding_box()["height"]
    top = hover(page, frame, MAP.format("variance"), 0.2, TOP / height)
    bottom = hover(page, frame, MAP.format("variance"), 0.2, 1 - BOTTOM / height)
    assert top["title"] == monitor.structure.names[0]
    assert bottom["title"] == monitor.structure.names[-1]
    right = hover(page, frame, MAP.format("variance"), 0.89, 0.5)
    assert int(right["step"]) == monitor.records[-1].step
    # On a name it is the selected step, which here is the last; the first column begins where the names end.
    steps = [int(hover(page, frame, MAP.format("variance"), 0.01 * i, 0.5)["step"]) for i in range(1, 12)]
    assert steps[0] == monitor.records[-1].step
    assert next(step for step in steps if step != steps[0]) == monitor.records[0].step


def test_pointing_at_one_picture_reads_all_four(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, focus="xavier"), board.monitors["xavier"]
    said = hover(page, frame, MAP.format("gradient_variance"), 0.5, 0.4)
    step = int(said["step"])
    line = frame.inner_text(".readout").replace("\n", " ")
    assert said["title"] in line
    (value,) = re.findall(r"variance (\S+)", line)
    assert number(value) == pytest.approx(measured(monitor, Quantity.VARIANCE, said["title"], step), rel=5e-3)
    # The crosshair is drawn on every picture.
    for over in frame.locator("canvas.over").all():
        assert over.evaluate(COLOURS) > 1


def test_a_click_selects_step_and_layer_and_the_address_remembers(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, focus="xavier")
    said = hover(page, frame, MAP.format("variance"), 0.5, 0.3)
    page.page.mouse.down()
    page.page.mouse.up()
    frame.wait_for_selector(f".im[data-step='{said['step']}']")
    page.page.wait_for_function(f"location.hash.includes('p.init_monitor.step={said['step']}')", timeout=WAIT_MS)
    assert "p.init_monitor.layer=" in page.page.url
    # Opened again, the link shows the same.
    page.page.mouse.move(1, 1)
    page.page.reload()
    frame = page.frame()
    assert frame.get_attribute(".im", "data-step") == said["step"]
    assert said["title"] in frame.inner_text(".readout")


def test_a_click_on_a_name_opens_its_layer(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, focus="xavier")
    box = frame.locator(MAP.format("variance")).bounding_box()
    page.page.mouse.click(box["x"] + 12, box["y"] + 0.5 * box["height"])
    settled(frame)
    assert frame.locator(".tab[aria-selected=true]").inner_text() == "Layer"
    assert frame.locator(".layer-line select").input_value() in board.monitors["xavier"].structure.names


def test_the_loss_lies_over_the_slider_and_says_what_it_was(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, focus="xavier", runs="xavier"), board.monitors["xavier"]
    losses = dict(zip(monitor.loss_steps.tolist(), monitor.losses.tolist(), strict=True))
    assert len(losses) == 40
    said = frame.inner_text(".loss b")
    assert number(said) == pytest.approx(losses[monitor.records[-1].step], rel=5e-3)
    for x in (0.05, 0.5, 0.9):
        hovered = hover(page, frame, ".strip .surface", x, 0.5)
        assert number(hovered["loss"]) == pytest.approx(losses[int(hovered["step"])], rel=5e-3)
    # The same step is marked on the line and in every picture below it.
    for over in frame.locator("canvas.over").all():
        assert over.evaluate(COLOURS) > 1
    hovered = hover(page, frame, ".strip .surface", 0.4, 0.5)
    page.page.mouse.down()
    page.page.mouse.up()
    frame.wait_for_selector(".im:not([data-step='38'])")
    assert abs(int(frame.get_attribute(".im", "data-step")) - int(hovered["step"])) <= 1
    # The middle of the slider's thumb is where the line marks the step.
    slider, strip = (frame.locator(one).bounding_box() for one in (".slider", ".strip .surface"))
    assert slider["x"] == pytest.approx(strip["x"], abs=1)
    assert slider["width"] < strip["width"]  # step 39 was not measured: its loss lies beyond the slider


def test_losses_of_several_runs_are_told_apart(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, runs="he,xavier", step=5)
    said = hover(page, frame, ".strip .surface", 0.2, 0.5)
    step = int(said["step"])
    for run in ("he", "xavier"):
        losses = board.monitors[run]
        (expected,) = losses.losses[losses.loss_steps == step]
        assert number(said[run]) == pytest.approx(float(expected), rel=5e-3)


def test_the_lines_of_the_propagation_plot_are_the_measured_variances(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="propagation", runs="he,xavier", step=0)
    said = hover(page, frame, ".panel .surface", 0.7, 0.5)
    for run in ("he", "xavier"):
        expected = measured(board.monitors[run], Quantity.VARIANCE, said["title"], 0)
        assert number(said[run]) == pytest.approx(expected, rel=5e-3)


def test_the_residual_plot_and_its_sentence_say_what_was_measured(page: Watched, board: Board) -> None:
    frame, monitor = (
        page.open_tab(board.address, view="residuals", focus="residual", step=0),
        board.monitors["residual"],
    )
    said = hover(page, frame, ".panel:nth-of-type(2) .surface", 0.5, 0.5)
    first = {one.name: one for one in monitor.records[0].residuals}
    assert number(said["residual"]) == pytest.approx(first[said["title"]].growth, rel=5e-3)
    total = math.prod(one.growth for one in first.values())
    (written,) = re.findall(r"product over all of them is (\S+)\.$", frame.inner_text(".sentence"))
    assert number(written) == pytest.approx(total, rel=5e-3)


def test_the_unit_bars_add_up(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, view="units", runs="xavier"), board.monitors["xavier"]
    said = hover(page, frame, ".card .surface", 0.5, 0.8)
    assert said["type"] == "ReLU"
    shares = {key: number(value) for key, value in said.items() if key not in {"title", "type"}}
    units = monitor.records[-1].layers[said["title"]].units
    assert shares["dead (never positive)"] == pytest.approx(units.dead_fraction, abs=0.006)
    assert shares["always positive (linear)"] == pytest.approx(units.all_positive_fraction, abs=0.006)
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.02)


def test_dead_units_say_over_how_many_positions_they_were_counted(page: Watched, board: Board) -> None:
    # Until a thousand were seen they are few; the looks between the measured steps lead there.
    monitor = board.monitors["xavier"]
    frame = page.open_tab(board.address, focus="xavier")
    for x, few in ((0.15, True), (0.8, False)):
        said = hover(page, frame, MAP.format("dead_fraction"), x, 0.5)
        seen = measured(monitor, Quantity.UNIT_SAMPLES, said["title"], int(said["step"]))
        assert (0 < seen < LEAST_SAMPLES) is few
        assert said["positions per unit"] == f"{seen:,.0f}{' (few)' if few else ''}"
    for one, few in ((monitor.records[0], True), (monitor.records[-1], False)):
        frame = page.open_tab(board.address, view="units", runs="xavier", step=one.step)
        fewest = min(u.units.samples for u in one if u.units is not None)
        title = frame.inner_text(".card h3")
        assert f"at step {one.step}" in title
        assert (f"from {fewest:,.0f} positions per unit, too few to call one dead" in title) is few
        assert ("too few" in title) is few


# --- choosing -------------------------------------------------------------------------------------------------------


def test_the_slider_and_play_move_through_the_steps(page: Watched, board: Board) -> None:
    frame, steps = page.open_tab(board.address, view="propagation"), [r.step for r in board.monitors["he"].records]
    slider = frame.locator(".slider")
    assert int(slider.get_attribute("max")) == len(steps) - 1
    slider.fill("3")
    frame.wait_for_selector(f".im[data-step='{steps[3]}']")
    assert f"at step {steps[3]}" in frame.inner_text(".card h3")
    frame.click(".live")
    frame.wait_for_selector(f".im[data-step='{steps[-1]}']")
    # At the end it begins again, and stops at the end.
    frame.click(".play")
    frame.wait_for_selector(f".im:not([data-step='{steps[-1]}'])")
    frame.wait_for_selector(f".im[data-step='{steps[-1]}']")
    frame.wait_for_selector(".play[aria-label^=Play]")


def test_a_press_that_lasts_while_the_steps_play_is_a_click(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, runs="he")
    frame.click(".play")
    box = frame.locator(".tab[title^=Compare]").bounding_box()
    page.page.mouse.move(box["x"] + 9, box["y"] + 9)
    page.page.mouse.down()
    before = frame.get_attribute(".im", "data-step")
    frame.wait_for_selector(f".im:not([data-step='{before}'])")
    page.page.mouse.up()
    frame.wait_for_selector(".tab[aria-selected=true]:has-text('Compare')")


def test_the_filter_is_a_regular_expression_over_names(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, focus="xavier")
    frame.fill(".filter", r"net\.(4|6)$")
    settled(frame)
    assert hover(page, frame, MAP.format("variance"), 0.5, 0.2)["title"] == "net.4"
    assert hover(page, frame, MAP.format("variance"), 0.5, 0.8)["title"] == "net.6"
    frame.fill(".filter", "nothing like it")
    settled(frame)
    assert "No layer fits the filter" in frame.inner_text(".view")
    frame.fill(".filter", "net.(")
    settled(frame)
    assert "Not a regular expression" in frame.get_attribute(".filter", "title")
    height = frame.locator(MAP.format("variance")).bounding_box()["height"]
    assert hover(page, frame, MAP.format("variance"), 0.5, TOP / height)["title"] == "net.0"


def test_runs_are_switched_on_off_and_into_focus(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="compare")
    titles = frame.locator(".grid.columns h3")
    assert titles.count() == 3
    frame.click("[aria-label='Show he']")
    frame.wait_for_function("document.querySelectorAll('.grid.columns h3').length === 2")
    assert [title.split()[0] for title in titles.all_inner_texts()] == ["residual", "xavier"]
    frame.click(".run-name:has-text('he')")
    frame.wait_for_function("document.querySelectorAll('.grid.columns h3').length === 3")
    assert frame.locator(".run.focused .name").inner_text() == "he"


def test_the_table_of_compared_runs_takes_the_update_ratio_of_the_weights_alone(page: Watched, board: Board) -> None:
    """Biases begin at zero: a step changes them by any share of their size."""
    frame, newest = page.open_tab(board.address, view="compare", runs="he"), board.monitors["he"].records[-1]
    weights = [one.update_ratio for name, one in newest.parameters.items() if name.endswith("weight")]
    place = frame.locator(".runs thead th").all_inner_texts().index("median update ratio")
    shown = frame.locator(".runs tbody tr").locator("th, td").nth(place).inner_text()
    assert number(shown) == pytest.approx(np.median(weights), rel=5e-3)


def test_the_first_screen_lists_every_run_with_its_verdict_the_worst_first_and_shows_the_worst(
    page: Watched, board: Board
) -> None:
    frame = page.open_tab(board.address)
    order = ["info", "warning", "critical"]

    def badness(run: str) -> tuple[int, int]:
        found = [str(one.severity) for one in settled_findings(board.monitors[run].findings)]
        worst = max(found, key=order.index, default="")
        return (order.index(worst) if worst else -1, found.count(worst))

    listed = [row.get_attribute("data-run") for row in frame.locator(".verdict-table tbody tr").all()]
    assert sorted(listed) == sorted(board.monitors)
    assert [badness(run) for run in listed] == sorted(map(badness, listed), reverse=True)
    assert badness(listed[0]) > badness(listed[-1])
    # Its pictures are those below, and the chip above says how bad it is.
    assert frame.locator("tr.focused").get_attribute("data-run") == listed[0]
    assert frame.locator(".run.focused .name").inner_text() == listed[0]
    for run in listed:
        findings = settled_findings(board.monitors[run].findings)
        row, chip = frame.locator(f"tr[data-run={run}]"), frame.locator(f".run:has-text('{run}')").first
        assert (
            chip.locator(".sign")
            .get_attribute("aria-label")
            .endswith(f"{len(findings)} finding{'s' * (len(findings) != 1)}" if findings else "no findings")
        )
        worst = max(findings, key=lambda one: (one.severity.rank, -one.step), default=None)
        if worst is None:
            assert "no findings" in row.inner_text()
        else:
            assert f"{worst.code} {worst.rule}" in row.inner_text()
            assert row.locator(".number").inner_text() == str(worst.step)
        # Its loss is drawn, and the last one read.
        assert row.locator("path").get_attribute("d").count("L") == len(board.monitors[run].losses) - 1
        assert number(row.locator(".course b").inner_text()) == pytest.approx(board.monitors[run].losses[-1], rel=5e-3)
    frame.click("tr[data-run=he] .run-open")
    frame.wait_for_selector(".run.focused:has-text('he')")


def test_runs_have_tensorboards_own_colours_and_past_those_a_dash_of_their_own(tmp_path: Path, page: Watched) -> None:
    for k in range(16):
        tab_runs.large(tmp_path / "logs" / f"run{k:02}", layers=3, steps=2)
    with tensorboard(tmp_path / "logs") as address:
        frame = page.open_tab(address, runs=",".join(f"run{k:02}" for k in range(16)))
        frame.wait_for_function("document.querySelectorAll('.run.on').length === 16")
        lines = {
            chip.locator(".name").inner_text(): (
                chip.locator("line").get_attribute("stroke"),
                chip.locator("line").get_attribute("stroke-dasharray"),
            )
            for chip in frame.locator(".run").all()
        }
        assert len(lines) == len(set(lines.values())) == 16
        page.shot("runs-16")
        page.page.click("mat-tab-header >> text=Time Series")
        page.page.wait_for_selector("tb-data-table-content-row .run-color-swatch")
        theirs = {run: "#{:02x}{:02x}{:02x}".format(*rgb) for run, rgb in page.page.evaluate(BOARD_COLOURS).items()}
        assert len(theirs) >= 10
        assert theirs == {run: lines[run][0] for run in theirs}
        page.page.goto("about:blank")  # Time Series goes on asking while the server stops


def test_the_runs_that_are_shown_are_those_that_are_selected_in_the_other_tabs(page: Watched, board: Board) -> None:
    state = quote(base64.b64encode(b'{"he": false}').decode(), safe="")
    page.page.goto("about:blank")
    page.page.goto(f"{board.address}#init_monitor&runSelectionState={state}")
    frame = page.frame()
    assert sorted(frame.locator(".run.on .name").all_inner_texts()) == ["residual", "xavier"]
    # A choice made here is written where the other tabs look.
    frame.click("[aria-label='Show residual']")
    page.page.wait_for_function("(old) => !location.hash.includes(old)", arg=state)
    page.page.click("mat-tab-header >> text=Text")
    page.page.wait_for_selector("[id=checkbox-xavier]")
    ticked = {run: page.page.get_attribute(f"[id=checkbox-{run}]", "aria-checked") for run in board.monitors}
    assert ticked == {"he": "false", "residual": "false", "xavier": "true"}
    # Time Series keeps its filter of runs in the address, too.
    page.page.goto("about:blank")
    page.page.goto(f"{board.address}?runFilter=res|he#init_monitor")
    assert sorted(page.frame().locator(".run.on .name").all_inner_texts()) == ["he", "residual"]


def test_log_and_linear_draw_differently(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="propagation", runs="xavier")
    logarithmic = frame.locator(".main canvas.plot").first.evaluate("(canvas) => canvas.toDataURL()")
    frame.click(".segment:has-text('linear')")
    settled(frame)
    assert frame.locator(".main canvas.plot").first.evaluate("(canvas) => canvas.toDataURL()") != logarithmic


def test_turning_tensorboard_dark_turns_the_tab_dark(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address)
    corner = "(canvas) => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data]"
    light = frame.locator(".main canvas.plot").first.evaluate(corner)
    page.page.evaluate("document.body.classList.add('dark-mode')")
    frame.wait_for_selector(".im.dark")
    settled(frame)
    assert frame.locator(".main canvas.plot").first.evaluate(corner) != light
    ground = frame.evaluate("getComputedStyle(document.querySelector('.im')).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground))) < 60


def test_other_colours_can_be_chosen(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, palette="grey")
    pixels = frame.locator(".main canvas.plot").first.evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(canvas.width / 2, 20, 1, 200).data]"
    )
    assert max(abs(red - blue) for red, blue in zip(pixels[::4], pixels[2::4], strict=True)) < 12


TICKS = """async ([address, ...asked]) => {
  const {spread} = await import(`${address}data/plugin/init_monitor/static/scales.js`);
  return spread(...asked);
}"""


@pytest.mark.parametrize(("count", "room", "pitch"), [(49, 255, 14), (26, 245, 14), (3, 5, 14), (500, 620, 14)])
def test_ticks_are_evenly_apart_and_never_closer_than_their_letters(
    count: int, room: int, pitch: int, page: Watched, board: Board
) -> None:
    frame = page.open_tab(board.address)
    ticks = np.array(frame.evaluate(TICKS, [board.address, count, room, pitch]))
    gaps = np.diff(ticks)
    assert (ticks[0], ticks[-1]) == (0, count - 1)
    assert len(set(gaps[:-1])) <= 1
    assert gaps[-1] >= gaps[0]
    if count > 3:
        assert gaps.min() * room / (count - 1) >= pitch
        # As many as fit: one row closer, and letters would touch.
        assert (gaps[0] - 1) * room / (count - 1) < pitch


# --- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    [
        {"view": "constructor"},
        {"runs": "%E0%A4%A"},
        {"runs": "he,%"},
        {"step": "1e99"},
        {"layer": "nowhere", "view": "layer"},
        {"quantity": "__proto__", "view": "compare"},
        {"palette": "__proto__"},
    ],
    ids=str,
)
def test_a_link_that_was_cut_or_made_up_opens_the_tab_all_the_same(
    link: dict[str, Any], page: Watched, board: Board
) -> None:
    frame = page.open_tab(board.address, **link)
    # A picture, or the words that say why there is none.
    assert frame.locator("canvas.plot, .nothing").count() >= 1
    assert frame.locator(".run.on").count() >= 1
    assert frame.locator(".tab[aria-selected=true]").count() == 1


# --- findings -------------------------------------------------------------------------------------------------------


def test_findings_lead_to_their_layer_and_step_and_their_code_can_be_copied(running: Any, board: Board) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with watched(running, permissions=permissions) as page:
        frame = page.open_tab(board.address, view="findings", focus="xavier", runs="xavier")
        found = [one for one in board.monitors["xavier"].findings if one.remedy_code]
        worst = max(found, key=lambda one: one.severity.rank)
        entry = frame.locator(f"details:has-text('{worst.code}')").first
        assert worst.message in entry.inner_text()
        # Closed, it says in a line what it is about.
        assert not entry.locator(".gist").is_visible()
        entry.locator("summary").click()
        assert entry.locator(".gist").inner_text() == worst.message
        entry.locator("summary").click()
        entry.locator(".copy").click()
        frame.wait_for_selector(".copy:has-text('Copied')")
        assert page.page.evaluate("navigator.clipboard.readText()") == worst.remedy_code
        entry.locator(f".places .link:text-is('{worst.layers[0]}')").click()
        settled(frame)
        assert frame.locator(".layer-line select").input_value() == worst.layers[0]
        assert worst.code in frame.inner_text(".layer-findings")


def test_severities_are_switched_off_and_on(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="findings")
    every = sum(len(one.findings) for one in board.monitors.values())
    assert frame.locator("details.finding").count() == every
    warnings = sum(str(f.severity) == "warning" for one in board.monitors.values() for f in one.findings)
    assert warnings > 0
    frame.click(".chip.warning")
    frame.wait_for_function(f"document.querySelectorAll('details.finding').length === {every - warnings}")
    frame.click(".chip.warning")
    frame.wait_for_function(f"document.querySelectorAll('details.finding').length === {every}")


# --- keys -----------------------------------------------------------------------------------------------------------


def test_the_keyboard_does_what_the_help_says(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, focus="he", runs="he"), board.monitors["he"]
    steps, names = [one.step for one in monitor.records], monitor.structure.names
    frame.focus(".main")
    press = page.page.keyboard.press
    for key, step in (("Home", steps[0]), ("ArrowRight", steps[1]), ("ArrowLeft", steps[0]), ("End", steps[-1])):
        press(key)
        frame.wait_for_selector(f".im[data-step='{step}']")
    press("Shift+ArrowLeft")
    frame.wait_for_selector(f".im[data-step='{steps[-11]}']")
    for key, name in (("ArrowDown", names[0]), ("ArrowDown", names[1]), ("ArrowUp", names[0])):
        press(key)
        frame.wait_for_function("(name) => document.querySelector('.readout .name')?.textContent === name", arg=name)
    press("Enter")
    frame.wait_for_selector(".layer-line")
    assert frame.locator(".layer-line select").input_value() == names[0]
    for place, view in enumerate(VIEWS):
        press(str(place + 1))
        frame.wait_for_function(
            "(view) => document.querySelector('.tab[aria-selected=true]').textContent.toLowerCase().startsWith(view)",
            arg=view,
        )
    press("?")
    frame.wait_for_selector(".keys-box")
    page.shot("keys")
    press("Escape")
    frame.wait_for_selector(".keys-box", state="detached")
    press("/")
    page.page.keyboard.type("net.2")
    frame.wait_for_function("document.querySelector('.filter').value === 'net.2'")
    # What is typed into the filter is no command.
    assert frame.locator(".tab[aria-selected=true]").inner_text() == "Recipes"


# --- saving ---------------------------------------------------------------------------------------------------------


def test_the_numbers_of_a_picture_can_be_saved(page: Watched, board: Board) -> None:
    frame, monitor = page.open_tab(board.address, focus="xavier"), board.monitors["xavier"]
    with page.page.expect_download() as saved:
        frame.locator("section[data-quantity=variance] [aria-label*=CSV]").click()
    with open(saved.value.path(), newline="", encoding="utf-8") as file:  # noqa: PTH123
        header, *rows = csv.reader(file)
    assert header == ["name", *(str(one.step) for one in monitor.records)]
    assert [row[0] for row in rows] == list(monitor.structure.names)
    expected = np.stack([one.column(Quantity.VARIANCE) for one in monitor.records], axis=1)
    np.testing.assert_allclose(np.array([row[1:] for row in rows], dtype=float), expected, rtol=1e-6)


def test_a_picture_can_be_saved(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="propagation")
    with page.page.expect_download() as saved:
        frame.locator("[aria-label*=PNG]").first.click()
    with open(saved.value.path(), "rb") as file:  # noqa: PTH123
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
