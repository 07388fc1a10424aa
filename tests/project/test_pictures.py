"""Each page of the documentation has a picture that is there, small, described in words, and asks nobody for anything."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from benchmarks.pictures.__main__ import pictures
from benchmarks.pictures.drawing import BLUE, Drawing

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.untraced

DOCS = Path(__file__).parents[2] / "docs"
MOST_BYTES = 150_000
PAGES = sorted(set(re.findall(r"[\w/-]+\.md", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))))
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_WORDS = 20
"""Letters that say in words what a picture shows, at least."""


@pytest.fixture(scope="module")
def drawn() -> Mapping[str, str]:
    return pictures()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_a_picture_that_is_described(page: str) -> None:
    found = _PICTURE.findall((DOCS / page).read_text(encoding="utf-8"))
    assert found, f"docs/{page} has no picture"
    for words, place in found:
        assert len(words) >= _WORDS, words
        file = (DOCS / page).parent / place
        assert file.is_file(), place
        assert file.stat().st_size <= MOST_BYTES, f"{place}: {file.stat().st_size} bytes"


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        Path(place).name for page in PAGES for _, place in _PICTURE.findall((DOCS / page).read_text(encoding="utf-8"))
    }
    assert {file.name for file in (DOCS / "images").iterdir()} == shown


def test_a_picture_asks_no_server_and_has_paper_of_its_own() -> None:
    for file in (DOCS / "images").glob("*.svg"):
        text = file.read_text(encoding="utf-8")
        _texts(text)
        addresses = set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
        loads = [one for one in addresses if "rich" not in one and "textualize" not in one]
        assert not loads, (file.name, loads)
        assert "@font-face" not in text
        assert re.search(r"<rect[^>]*fill=\"#", text), file.name
    for file in (DOCS / "images").glob("*.png"):
        with Image.open(file) as picture:
            assert picture.size[0] >= 600, file.name


def test_the_pictures_are_what_the_script_draws(drawn: Mapping[str, str]) -> None:
    written = {file.name for file in (DOCS / "images").glob("*.svg")}
    assert set(drawn) == written, "run: make pictures"
    for name, text in drawn.items():
        if "terminal" in text:
            continue  # what the console prints: its words are tested where they are made
        kept = (DOCS / "images" / name).read_text(encoding="utf-8")
        # Numbers may differ in their last digits from machine to machine; words may not.
        assert _letters(kept) == _letters(text), f"{name}: run make pictures"


def test_letters_that_mean_something_to_xml_are_written_out() -> None:
    page = Drawing(100, 50)
    page.words(1, 1, "a < b & c")
    page.box(1, 1, 50, 20, BLUE, title="x > y")
    page.arrow((0, 0), (10, 10))
    assert _texts(page.svg()) == ["a < b & c", "x > y"]


def _texts(svg: str) -> list[str]:
    """Return the words of a picture of our own; it has to be well-formed."""
    root = ET.fromstring(svg)  # noqa: S314 - our own file
    return [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]


def _letters(svg: str) -> list[str]:
    return [letters for one in _texts(svg) for letters in re.findall(r"[A-Za-z]{4,}", one)]
