"""Pictures of how things go together."""

from __future__ import annotations

from benchmarks.pictures.drawing import BLUE, GREEN, INK, ORANGE, SOFT, VIOLET, Drawing


def architecture() -> Drawing:
    """Draw the way of a tensor through the package."""
    page = Drawing(860, 270)
    stations = [
        ("capture", ("hooks, taps",), BLUE),
        ("measures", ("moments on", "the device"), BLUE),
        ("StepRecord", ("one copy to", "the host"), GREEN),
        ("rules", ("judge a window", "of records"), ORANGE),
        ("sinks", ("console, loggers,", "run store"), VIOLET),
    ]
    for i, (title, lines, colour) in enumerate(stations):
        x = 20 + i * 168
        page.box(x, 70, 140, 74, colour, title=title, lines=lines)
        if i:
            page.arrow((x - 28, 107), (x - 2, 107))
    page.words(90, 40, "a tensor of a layer", anchor="middle", colour=SOFT)
    page.arrow((90, 48), (90, 68))
    page.words(594, 40, "findings", anchor="middle", colour=SOFT)
    page.box(504, 190, 170, 54, SOFT, title="report", lines=("HTML, JSON, Markdown",))
    page.box(692, 190, 140, 54, SOFT, title="the tab", lines=("TensorBoard",))
    page.arrow((762, 146), (762, 188))
    page.arrow((720, 146), (610, 188))
    page.box(20, 190, 340, 54, SOFT, title="structure", lines=("layers, activations, additions: one probed forward",))
    page.arrow((174, 188), (200, 148))
    return page


def storage() -> Drawing:
    """Draw the files of a run, and who reads them."""
    page = Drawing(860, 250)
    page.words(20, 34, "lightning_logs/version_3/", bold=True)
    page.box(
        40,
        52,
        330,
        70,
        BLUE,
        title="init_monitor/run.jsonl",
        lines=("header, structure, names, step, step, finding, …",),
    )
    page.box(
        40,
        140,
        330,
        70,
        GREEN,
        title="events.out.tfevents…",
        lines=("layout, findings, losses; a vector per quantity",),
    )
    for y, title, line, start in (
        (30, "init-monitor report, compare", "no torch needed", 87),
        (100, "Init Monitor tab", "depth × step, for every layer", 175),
        (170, "Time Series, Text, Images", "without the tab", 175),
    ):
        page.box(540, y, 290, 56, SOFT, title=title, lines=(line,))
        page.arrow((372, start), (538, y + 28))
    page.words(205, 236, "written while the training runs; readable at any time", anchor="middle", size=12, colour=SOFT)
    return page


def distributed() -> Drawing:
    """Draw how the processes' shares become one record."""
    page = Drawing(860, 250)
    for rank in range(3):
        y = 26 + rank * 72
        page.box(20, y, 190, 56, BLUE, title=f"process {rank}", lines=("its share of the batch",))
        page.arrow((212, y + 28), (298, 126))
    page.box(
        300,
        84,
        230,
        84,
        GREEN,
        title="merged, exactly",
        lines=("counts, means, squared", "deviations; widest extremes"),
    )
    page.arrow((532, 126), (598, 126))
    page.box(
        600, 84, 236, 84, ORANGE, title="one record on each", lines=("the first process judges,", "prints and writes")
    )
    page.words(415, 196, "once per measured step; as long as the layer list", anchor="middle", size=12, colour=SOFT)
    return page


def libraries() -> Drawing:
    """Draw where the callback goes in when a library builds the Trainer."""
    page = Drawing(860, 170)
    page.box(20, 50, 180, 70, SOFT, title="your program", lines=("model.train(callbacks=…)",))
    page.box(240, 50, 160, 70, SOFT, title="the library", lines=("builds the Trainer",))
    page.box(440, 50, 170, 70, BLUE, title="InitMonitor()", lines=("finds out which Lightning",))
    page.arrow((202, 85), (238, 85))
    page.arrow((402, 85), (438, 85))
    for i, (title, colour) in enumerate((("console", VIOLET), ("loggers, the tab", VIOLET), ("run store", VIOLET))):
        y = 18 + i * 48
        page.box(670, y, 165, 38, colour, title=title)
        page.arrow((612, 85), (668, y + 19))
    page.words(525, 145, "losses and weights stay the same, bit for bit", anchor="middle", size=12, colour=SOFT)
    return page


def integrations() -> Drawing:
    """Draw the three ways in."""
    page = Drawing(860, 240)
    ways = [
        ("Lightning Trainer, LightningCLI, Hydra", "callbacks=[InitMonitor()]"),
        ("a loop of your own, Fabric, Accelerate", "with watch(model, optimizer) as m:"),
        ("Hugging Face Trainer", "callbacks=[InitMonitorCallback()]"),
    ]
    for i, (title, line) in enumerate(ways):
        y = 20 + i * 70
        page.box(20, y, 330, 56, BLUE, title=title, lines=(line,))
        page.arrow((352, y + 28), (438, 118))
    page.box(440, 76, 150, 84, GREEN, title="one monitor", lines=("same options,", "same rules"))
    page.arrow((592, 118), (648, 118))
    page.box(650, 60, 190, 116, ORANGE, title="m.findings", lines=("m.records", "m.structure", "m.notices", "m.report"))
    return page


def api() -> Drawing:
    """Draw what each name of the package gives."""
    page = Drawing(860, 290)
    rows = [
        (
            "before training",
            GREEN,
            (
                ("check(model, batch)", "Report"),
                ("recommend(model, batch)", "InitPlan"),
                ("coordinate_check(make)", "CoordinateCheck"),
            ),
        ),
        (
            "while it trains",
            BLUE,
            (
                ("InitMonitor()", ".findings"),
                ("watch(model, optimizer)", ".records"),
                ("InitMonitorCallback()", ".report"),
            ),
        ),
        (
            "afterwards",
            VIOLET,
            (
                ("read_run(folder)", "records, findings"),
                ("Report", ".to_html() .to_json()"),
                ("compare", "two runs side by side"),
            ),
        ),
    ]
    for row, (when, colour, names) in enumerate(rows):
        y = 20 + row * 88
        page.words(20, y + 40, when, bold=True)
        for i, (name, gives) in enumerate(names):
            page.box(150 + i * 236, y, 220, 68, colour, title=name, lines=(gives,))
    return page


def measures() -> Drawing:
    """Draw where each group of numbers is taken."""
    page = Drawing(860, 300)
    page.box(60, 110, 130, 74, SOFT, title="x", lines=("input",))
    page.box(300, 100, 190, 94, BLUE, title="layer", lines=("weight w, update Δw", "fan_in, fan_out"))
    page.box(600, 110, 130, 74, SOFT, title="y", lines=("output",))
    page.arrow((192, 132), (298, 132), BLUE)
    page.arrow((492, 132), (598, 132), BLUE)
    page.arrow((598, 164), (492, 164), ORANGE)
    page.arrow((298, 164), (192, 164), ORANGE)
    page.words(545, 122, "forward", anchor="middle", size=12, colour=BLUE)
    page.words(545, 182, "backward", anchor="middle", size=12, colour=ORANGE)
    page.words(665, 60, "mean, variance, max |y|,", anchor="middle", colour=BLUE)
    page.words(665, 78, "zeros, dead units, saturation", anchor="middle", colour=BLUE)
    page.words(665, 214, "the same of ∂loss/∂y", anchor="middle", colour=ORANGE)
    page.words(395, 60, "gain Var(y)/E[x²]", anchor="middle", colour=INK)
    page.words(395, 78, "against fan_in · Var(w)", anchor="middle", colour=INK)
    page.words(395, 218, "Var(w), ‖∂loss/∂w‖, ‖Δw‖/‖w‖", anchor="middle", colour=GREEN)
    page.line([(125, 184), (125, 262), (790, 262), (790, 147), (762, 147)], VIOLET, 1.5, dash="5 3")
    page.arrow((775, 147), (732, 147), VIOLET)
    page.words(
        460, 282, "skip x, branch F: Var(F)/Var(x), growth of the sum, correlation", anchor="middle", colour=VIOLET
    )
    return page
