"""The documentation site: built strictly, complete, and searched in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import browser

import init_monitor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PATIENCE = 60_000
"""Milliseconds that a busy machine may take to search."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it: a warning is an error."""
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_every_page_is_in_the_navigation(built: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in pages if f"{page.as_posix()}.md" not in navigation] == []
    assert all((built / page / "index.html").exists() or page.name == "index" for page in pages)


def test_the_reference_has_every_public_name(built: Path) -> None:
    page = (built / "reference" / "api" / "index.html").read_text(encoding="utf-8")
    spoken = {
        name
        for name in init_monitor.__all__
        if not name.startswith("_") and name not in {"recipes", "Figure", "Severity"}
    }
    assert [name for name in sorted(spoken) if name not in page] == []


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("dead relu", "IM301 dead-relu"), ("vanishing gradients", "IM202 vanishing-gradients")],
)
def test_a_search_finds_the_rule_first(words: str, wanted: str, address: str) -> None:
    with browser() as running:
        page = running.new_page(viewport={"width": 1400, "height": 900})
        elsewhere: list[str] = []
        page.on("request", lambda asked: elsewhere.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(address)
        page.click("input.md-search__input")
        page.keyboard.type(words)
        page.wait_for_selector(".md-search-result__item", timeout=PATIENCE)
        titles = page.locator(".md-search-result__item h1, .md-search-result__item h2").all_inner_texts()
    assert titles[0].strip() == "The rules"
    assert titles[1].strip().startswith(wanted)
    assert [url for url in elsewhere if not url.startswith(address)] == []  # it asks no other server for anything
