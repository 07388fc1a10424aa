"""A TensorBoard with the tab, and a browser that looks at it and lets nothing improper pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / "screenshots"
"""Git-ignored; looked at before a change of the page is accepted."""

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # One process for all pages of a TensorBoard, which then compiles its code once.
    "--process-per-site",
]
LOOPBACK = {"localhost", "127.0.0.1"}
WAIT_MS = 60_000
"""Machines are shared and slow at times."""

SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
MAP = "section[data-quantity={}] .surface"
"""A picture of the overview, by its quantity."""

RUNNER = """
import sys
from tensorboard import default, program
from init_monitor.tensorboard_plugin.loader import InitMonitorLoader
board = program.TensorBoard(plugins=[*default.get_static_plugins(), InitMonitorLoader()])
board.configure(argv=["tensorboard", *sys.argv[1:]])
board.main()
"""


def missing(what: str, unproven: str) -> NoReturn:
    """Skip a test for want of a program that `make test` installs where it may; CI has to have it."""
    message = f"no {what}: {unproven} (make test installs it where it may)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def chromium() -> str:
    """Where the browser is."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return found or missing("chromium", "the page was not looked at")


@contextmanager
def tensorboard(logdir: Path, *arguments: str, fast: bool = False, grows: bool = False) -> Iterator[str]:
    """Start TensorBoard on a free port and give its address, with a slash at its end, once it has read what is there.

    It reads once: reading anew every second, where nothing is new, takes a fifth of a core. Only what ``grows`` is read again,
    and what the ``fast`` loader reads, a program of its own that answers before it has read.
    """
    again = fast or grows
    reads = ["--reload_interval", "1"] if again else ["--reload_interval", "0", "--reload_task", "blocking"]
    loads = f"--load_fast={str(fast).lower()}"
    command = [sys.executable, "-c", RUNNER, "--logdir", str(logdir), "--port", "0", loads, *reads, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    log = logdir.parent / f"{logdir.name}-{time.monotonic_ns()}.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        address = _address(server, log)
        if again:
            _wait_for_runs(address)
        yield address
    finally:
        server.terminate()
        server.wait()


def _address(server: Any, log: Path) -> str:
    deadline = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < deadline:
        said = log.read_text()
        assert server.poll() is None, said
        found = re.search(r"http://localhost:\d+/\S*", said)
        if found:
            return found.group().rstrip("/") + "/"
        time.sleep(0.1)
    pytest.fail(f"TensorBoard did not start: {log.read_text()}")


def _wait_for_runs(address: str) -> None:
    """TensorBoard answers at once and reads on beside."""
    before = b""
    for _ in range(100):
        with urllib.request.urlopen(f"{address}data/plugin/init_monitor/runs") as answer:  # noqa: S310 - our own server
            now = answer.read()
        if now == before:
            return
        before = now
        time.sleep(1.5)


class Watched:
    """A page, and all that went wrong on it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.origins: set[str] = set()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.wrong.append(f"page error: {error}"))
        page.on("console", self._said)
        page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        text = message.text
        # CSP violations are errors on the console, too. TensorBoard itself looks for its letters beside its path prefix, and on a busy
        # machine drops some of what its own Time Series asks for: a connection that ends, not an answer that is wrong.
        address = message.location.get("url", "")
        own = "/font-roboto/" in address or ("/plugin/timeseries/" in address and "net::ERR_" in text)
        if message.type == "error" and not own:
            self.wrong.append(f"console: {text} ({message.location.get('url')})")

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname not in LOOPBACK:
            self.wrong.append(f"request beyond loopback: {request.url}")
        elif parts.scheme in {"http", "https"}:
            self.origins.add(f"{parts.scheme}://{parts.netloc}")

    def forget(self) -> None:
        """Take away what the page kept in the browser: whoever opens the next one has never been there."""
        chrome = self.page.context.new_cdp_session(self.page)
        for origin in self.origins:
            chrome.send(
                "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "cookies,local_storage,indexeddb"}
            )

    def open_tab(self, address: str, *, dark: bool = False, **link: object) -> Any:
        """Open TensorBoard at our tab, as a link would, and return the tab's frame."""
        words = "".join(f"&p.init_monitor.{key}={quote(str(value), safe='')}" for key, value in link.items())
        first = self.page.context.pages[0]
        if not first.url.startswith(address):
            first.goto(f"{address}data/plugins_listing")
        self.page.goto("about:blank")
        self.page.goto(f"{address}{'?darkMode=true' if dark else ''}#init_monitor{words}")
        return self.frame()

    def frame(self) -> Any:
        """Return the frame of the tab, once it has drawn."""
        self.page.wait_for_selector("iframe[src*='name=init_monitor']", state="attached")
        handle = self.page.query_selector("iframe[src*='name=init_monitor']")
        frame = handle.content_frame()
        settled(frame)
        return frame

    def shot(self, name: str) -> None:
        """Keep a picture for a person to look at."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))


def settled(frame: Any) -> None:
    """Wait until nothing is being fetched, and what came is drawn."""
    frame.wait_for_selector(".im[data-state=ready], .im .nothing")
    frame.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser."""
    try:
        playwright = import_module("playwright.sync_api")
    except ImportError:
        missing("playwright", "the page was not looked at")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield running
        finally:
            running.close()


@contextmanager
def context_of(running: Any, **options: Any) -> Iterator[Any]:
    """Open what pages share: they take TensorBoard's megabytes of code from one cache, and nothing is compressed for each."""
    context = running.new_context(viewport={"width": 1440, "height": 1000}, **options)
    # One that nobody looks at stays open, so that their process does.
    context.new_page()
    try:
        yield context
    finally:
        context.close()


@contextmanager
def looked_at(context: Any) -> Iterator[Watched]:
    """Open a page, and fail if anything went wrong on it; the next one finds nothing of what it kept."""
    page = Watched(context.new_page())
    try:
        yield page
    finally:
        page.forget()
        for one in context.pages[1:]:
            one.close()
    if page.wrong:
        pytest.fail("\n".join(page.wrong))


@contextmanager
def watched(running: Any, **options: Any) -> Iterator[Watched]:
    """Open a page that shares nothing with others, and fail if anything went wrong on it."""
    with context_of(running, **options) as context, looked_at(context) as page:
        yield page


COLOURS = """(canvas) => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}"""
"""How many colours a canvas shows: an empty one has one, axes alone a few dozen (their letters have soft edges)."""


def number(text: str) -> float:
    """Read a number as the page writes it."""
    text = text.translate(SUPERSCRIPT).replace(",", "")
    found = re.fullmatch(r"(-?[\d.]+)(?:×10(-?\d+))?( %)?", text.strip())
    assert found, text
    return float(found[1]) * 10.0 ** int(found[2] or 0) * (0.01 if found[3] else 1.0)


def hover(page: Watched, frame: Any, selector: str, x: float, y: float) -> dict[str, str]:
    """Point at a share of the width and height of a picture, and read the box that appears."""
    frame.locator(selector).first.scroll_into_view_if_needed()
    box = frame.locator(selector).first.bounding_box()
    page.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    frame.wait_for_selector(".tooltip:not([hidden])")
    return {
        "title": frame.inner_text(".tooltip .tip-title"),
        **{
            row.locator("span").inner_text(): row.locator("b").inner_text()
            for row in frame.locator(".tooltip .reading").all()
        },
    }
