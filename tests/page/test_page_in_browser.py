"""The report in a real browser, opened from disk."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import COLOURS, Watched, settled, watched
from builders import blocks, linears, record
from test_page import FOUND, NET, curve, stored

from init_monitor import Report, cli
from init_monitor.page import bundle
from init_monitor.records import Facts, Finding, Of, Page, Role, Severity, register, unregister
from init_monitor.records.quantities import RESIDUAL_VECTORS, Quantity
from init_monitor.store import RunWriter, run_file

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def page(running: Any) -> Iterator[Watched]:
    with watched(running, color_scheme="dark") as opened:
        yield opened


@pytest.mark.slow
def test_the_report_opens_from_disk_and_shows_every_view(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    assert cli.main(["report", str(stored(tmp_path / "run", 2.0)), "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    assert "It grows </script> fast." in page.page.inner_text("main.report >> nth=0")
    assert page.page.locator(".im.dark").count() == 1
    for view in ("overview", "propagation", "residuals", "units", "layer", "findings", "compare"):
        page.page.click(f".tab[title^={view.capitalize()}]")
        settled(page.page)
        for canvas in page.page.locator("canvas.plot").all():
            assert canvas.evaluate(COLOURS) > 5
    assert page.page.locator(".tab .count").inner_text() == "1"
    page.shot("report-dark")


@pytest.mark.slow
def test_a_finding_without_layers_is_about_the_whole_network_and_passes_every_filter(
    tmp_path: Path, page: Watched
) -> None:
    whole = Finding(
        "update-ratio", "IM603", Severity.WARNING, (), 2, "The weights hardly move.", remedy="Learn faster."
    )
    records = [record(NET, {Quantity.VARIANCE: 1.0}, step=step) for step in range(3)]
    file = tmp_path / "page.html"
    Report.of(records, (FOUND, whole), NET, {}).to_html(file)
    page.page.goto(file.as_uri())
    page.page.click(".tab[title^=Findings]")
    settled(page.page)
    entries = page.page.locator("details.finding")
    assert [entry.locator("summary .muted").first.inner_text() for entry in entries.all()] == [
        "net.1",
        "the whole network",
    ]
    page.page.fill(".filter", "net.0")
    page.page.wait_for_function("document.querySelectorAll('details.finding').length === 1")
    assert entries.first.locator(".places").text_content() == "At step 2"


@pytest.mark.slow
def test_a_run_that_ended_in_nan_says_so_and_leads_back(tmp_path: Path, page: Watched) -> None:
    well, broken = {Quantity.VARIANCE: 1.0, Quantity.NONFINITE_COUNT: 0.0}, {Quantity.VARIANCE: math.nan}
    dead = {Quantity.DEAD_FRACTION: 0.25, Quantity.ALL_POSITIVE_FRACTION: 0.0}
    records = [record(NET, {**well, **dead}, step=step) for step in range(3)]
    records += [record(NET, {**broken, **dead, Quantity.NONFINITE_COUNT: 8.0}, step=step) for step in range(3, 6)]
    file = tmp_path / "page.html"
    Report.of(records, (), NET, {}).to_html(file)
    page.page.goto(file.as_uri())
    page.page.click(".tab[title^=Units]")
    settled(page.page)
    for step, category in ((5, "not finite (NaN or ∞)"), (2, "both signs (working)")):
        page.page.locator(".slider").fill(str(step))
        page.page.wait_for_selector(f".im[data-step='{step}']")
        settled(page.page)
        box = page.page.locator(".card .surface").first.bounding_box()
        page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 12)
        page.page.wait_for_selector(".tooltip:not([hidden])")
        shares = page.page.locator(".tooltip .reading").all_inner_texts()
        assert f"{category}75 %" in [one.replace("\n", "") for one in shares]
        page.page.mouse.move(0, 0)
        page.page.wait_for_selector(".tooltip", state="hidden")
    page.page.locator(".slider").fill("5")
    page.page.click(".tab[title^=Propagation]")
    page.page.click(".way-back .link:has-text('Go back to step 2')")
    page.page.wait_for_selector(".im[data-step='2']")
    settled(page.page)
    assert page.page.locator(".way-back").count() == 0


@pytest.mark.slow
def test_the_weights_of_attention_are_in_the_picture_of_the_updates(tmp_path: Path, page: Watched) -> None:
    names = ("a.in_proj_weight", "a.in_proj_bias", "a.out_proj.weight", "a.out_proj.bias")
    (layer,) = linears(1).layers
    attention = dataclasses.replace(layer, name="a[0]", role=Role.WEIGHT, weight="", bias="", parameters=names)
    scale = dataclasses.replace(layer, name="n", role=Role.NORMALISATION, weight="n.weight", parameters=("n.weight",))
    net = dataclasses.replace(NET, layers=(attention, scale))
    columns = {Quantity.VARIANCE: 1.0, Quantity.UPDATE_RATIO: 1e-3}
    records = [record(net, columns, step=step, parameter_names=[*names, "n.weight"]) for step in range(2)]
    file = tmp_path / "page.html"
    Report.of(records, (), net, {}).to_html(file)
    page.page.goto(file.as_uri())
    settled(page.page)
    with page.page.expect_download() as saved:
        page.page.locator("section[data-quantity=update_ratio] [aria-label*=CSV]").click()
    rows = Path(saved.value.path()).read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["name", "a.in_proj_weight", "a.out_proj.weight"]


@pytest.mark.slow
def test_on_a_narrow_screen_tables_are_moved_and_the_page_is_not(tmp_path: Path, page: Watched) -> None:
    net, file = blocks(2, named="a_rather_long_name_of_a_stage_of_the_network"), tmp_path / "page.html"
    residual = dict.fromkeys(RESIDUAL_VECTORS, 1.0)
    Report.of([record(net, {Quantity.VARIANCE: 1.0, **residual})], (), net, {}).to_html(file)
    page.page.set_viewport_size({"width": 600, "height": 800})
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.evaluate("document.querySelector('table.residuals').scrollWidth") > 600
    assert page.page.evaluate("document.documentElement.scrollWidth") == 600


@pytest.mark.slow
def test_the_comparison_opens_at_its_pictures(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    first, second = stored(tmp_path / "a"), stored(tmp_path / "b", 1000.0)
    assert cli.main(["compare", str(first), str(second), "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.locator(".grid.columns h3").all_inner_texts() == ["a Forward variance", "b Forward variance"]
    assert page.page.locator(".tab[aria-selected=true]").inner_text() == "Compare"
    # The keys of the rest of the page are not its business.
    page.page.evaluate("document.activeElement.blur()")
    page.page.keyboard.press("1")
    assert page.page.locator(".tab[aria-selected=true]").inner_text() == "Compare"


def strip_colours(page: Watched) -> int:
    colours: int = page.page.locator(".strip canvas.plot").evaluate(COLOURS)
    return colours


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_loss_that_broke_is_marked_where_it_broke_also_after_the_last_record(
    scheme: str, tmp_path: Path, running: Any
) -> None:
    falling = [2.5 * 0.9**step for step in range(60)] + [math.nan] * 36
    records = [record(NET, {Quantity.VARIANCE: 1.0}, step=step) for step in (*range(10), 50)]
    file = tmp_path / "page.html"
    Report.of(records, (), NET, {}, losses=curve(falling)).to_html(file)
    with watched(running, color_scheme=scheme) as page:
        page.page.goto(file.as_uri())
        settled(page.page)
        above = page.page.inner_text("main.report >> nth=0")
        assert "It is not finite from step 60 on." in above
        # Nobody calls such a run healthy.
        assert "ealthy" not in above + page.page.inner_text(".verdict-table")
        assert page.page.inner_text(".loss").split() == f"loss {2.5 * 0.9**50:.3g} not finite from step 60".split()
        page.page.locator(".slider").fill("3")
        page.page.wait_for_selector(".im[data-step='3']")
        settled(page.page)
        assert page.page.inner_text(".loss b") == f"{2.5 * 0.9**3:.3g}"
        box = page.page.locator(".strip .surface").bounding_box()
        page.page.mouse.move(box["x"] + box["width"] - 10, box["y"] + 30)
        said = [one.replace("\n", " ") for one in page.page.locator(".tooltip .reading").all_inner_texts()]
        assert said[1] == "loss NaN"
        assert 60 <= int(said[0].split()[1]) < 96
        # A click there selects the last record: nothing was measured after it.
        page.page.mouse.down()
        page.page.mouse.up()
        page.page.wait_for_selector(".im[data-step='50']")
        assert strip_colours(page) > 20
        page.shot(f"report-loss-{scheme}")


@pytest.mark.slow
def test_without_losses_there_is_no_line(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    assert cli.main(["report", str(stored(tmp_path / "run")), "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.locator(".strip canvas, .loss").count() == 0
    rail, track = (page.page.locator(one).bounding_box() for one in (".rail", ".track"))
    assert rail == track


@pytest.mark.slow
def test_a_fall_of_more_than_two_decades_is_drawn_on_a_log_scale(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    records = [record(NET, {Quantity.VARIANCE: 1.0}, step=step) for step in range(40)]
    Report.of(records, (), NET, {}, losses=curve(10.0 ** (-step / 10) for step in range(40))).to_html(file)
    page.page.goto(file.as_uri())
    settled(page.page)
    # In the middle of the steps a straight line on a log scale is in the middle; on a linear one it is at the bottom.
    middle = """(canvas) => {
      const {width, height} = canvas;
      const column = canvas.getContext('2d').getImageData(Math.round(width / 2), 0, 1, height - 2).data;
      const inked = [...Array(height - 2).keys()].filter((y) => column[4 * y + 3] > 127);
      return inked.reduce((sum, y) => sum + y, 0) / inked.length / height;
    }"""
    canvas = page.page.locator(".strip canvas.plot")
    assert canvas.evaluate(middle) == pytest.approx(0.5, abs=0.07)
    page.page.click(".segment:has-text('linear')")
    settled(page.page)
    assert canvas.evaluate(middle) > 0.8


@pytest.mark.slow
def test_there_is_one_median(page: Watched) -> None:
    """That of the page is numpy's, of odd and even numbers of values, with infinities and equal ones among them."""
    rng = np.random.default_rng(0)
    drawn = [np.exp(rng.normal(0, 9, size)).tolist() for size in range(1, 40)]
    lists = [*drawn, [0.313, 0.747], [2.0, 2.0, 1.0, 2.0], [-1.0, 0.0, 1e-300, 1e300], [0.0]]
    source = (bundle.STATIC / "median.js").read_text(encoding="utf-8")
    found = page.page.evaluate(
        """async ([source, lists]) => {
          const {median} = await import("data:text/javascript," + encodeURIComponent(source));
          return [lists.map(median), median([]), median([1, Infinity, Infinity]), median([1, Infinity])];
        }""",
        [source, lists],
    )
    assert found[0] == [float(np.median(one)) for one in lists]
    assert found[0][lists.index([0.313, 0.747])] == 0.53
    assert math.isnan(found[1])
    assert found[2:] == [math.inf, math.inf]


@pytest.mark.slow
def test_both_tables_of_a_comparison_say_the_same_median(tmp_path: Path, page: Watched) -> None:
    """The upper one is made in Python, the lower one by the page; of four layers the two in the middle are averaged."""
    net, file = linears(4), tmp_path / "page.html"
    directories = []
    for name, factor in (("a", 1.0), ("b", 100.0)):
        path = run_file(tmp_path / name)
        path.parent.mkdir(parents=True)
        variances = np.array([0.1, 0.313, 0.747, 2.0]) * factor
        names = ["net.0.weight", "net.0.bias", "net.1.weight"]
        columns: dict[Quantity, Any] = {Quantity.VARIANCE: variances, Quantity.UPDATE_RATIO: [1e-3, 0.9, 3e-3]}
        with RunWriter(path) as writer:
            writer.write(record(net, columns, parameter_names=names), (), net)
        directories.append(str(tmp_path / name))
    assert cli.main(["compare", *directories, "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    for what, expected in (("median variance", ["0.53", "53"]), ("median update ratio", ["0.002", "0.002"])):
        above = page.page.locator("main.report tr", has_text=what).last.locator("td").all_inner_texts()
        place = page.page.locator("table.runs thead th").all_inner_texts().index(what)
        below = [row.locator("th, td").nth(place).inner_text() for row in page.page.locator(".runs tbody tr").all()]
        assert above[-2:] == expected
        assert [float(one.replace("×10⁻³", "e-3")) for one in below] == [float(one) for one in expected]


@pytest.mark.slow
def test_a_registered_quantity_has_its_picture_on_the_overview(tmp_path: Path, page: Watched) -> None:
    facts = Facts(
        of=Of.LAYER,
        title="Crest factor",
        means="largest |x| over the root mean square",
        in_events=True,
        pages=(Page.OVERVIEW,),
        derive=lambda column: column("abs_max") / np.sqrt(column("mean_square")),
    )
    register("crest", facts)
    try:
        columns: dict[Quantity, Any] = {Quantity.VARIANCE: 1.0, Quantity.ABS_MAX: 6.0, Quantity.MEAN_SQUARE: 4.0}
        file = tmp_path / "page.html"
        Report.of([record(NET, columns, step=step) for step in range(3)], (), NET, {}).to_html(file)
    finally:
        unregister("crest")
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.locator("section[data-quantity=crest] h3").inner_text() == "Crest factor"
    with page.page.expect_download() as saved:
        page.page.locator("section[data-quantity=crest] [aria-label*=CSV]").click()
    rows = Path(saved.value.path()).read_text(encoding="utf-8").splitlines()
    assert rows == ["name,0,1,2", *(f"{name},3,3,3" for name in NET.names)]
