"""Heads × depth on the page of propagation: where a run has attention, and only there."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import COLOURS, Watched, settled
from builders import linears, record

from init_monitor import Report
from init_monitor.records import Attention, Structure
from init_monitor.records.quantities import HEAD_VECTORS, Quantity

if TYPE_CHECKING:
    from pathlib import Path

DEPTH, HEADS = 5, 8
LAYERS = tuple(
    dataclasses.replace(layer, name=f"blocks.{i}.attn.qkv", module=f"blocks.{i}.attn.qkv")
    for i, layer in enumerate(linears(DEPTH).layers)
)
NET = Structure(
    LAYERS,
    attentions=tuple(
        Attention(f"blocks.{i}.attn", f"blocks.{i}.attn", HEADS, 64, "softmax", (f"blocks.{i}.attn.qkv",))
        for i in range(DEPTH)
    ),
)


def written(file: Path, net: Structure) -> Path:
    """Write a report of three steps; an entropy is the attention's place over 10, plus the head's over 100."""
    records = []
    for step in range(3):
        columns: dict[Quantity, Any] = {Quantity.VARIANCE: 1.0 + step}
        if net.attentions:
            place = np.repeat(np.arange(DEPTH), HEADS) / 10 + np.tile(np.arange(HEADS), DEPTH) / 100
            columns |= dict.fromkeys(HEAD_VECTORS, 1.0 + place * 10) | {
                Quantity.ATTENTION_ENTROPY: place,
                Quantity.ATTENTION_ONE_PLACE: 1 - place,
                Quantity.ATTENTION_FIRST: place / 2,
            }
        records.append(record(net, columns, step=step))
    Report.of(records, (), net, {}).to_html(file)
    return file


@pytest.mark.slow
def test_heads_are_columns_and_attentions_are_rows_with_their_numbers(tmp_path: Path, page: Watched) -> None:
    page.page.goto(written(tmp_path / "page.html", NET).as_uri())
    page.page.click(".tab[title^=Propagation]")
    settled(page.page)
    panel = page.page.locator("section.attention")
    assert panel.is_visible()
    cards = panel.locator("section.card:visible")
    assert cards.count() == len(HEAD_VECTORS)
    for canvas in panel.locator("canvas.plot").all():
        assert canvas.evaluate(COLOURS) > 5
    entropy = panel.locator("[data-quantity=attention_entropy]")
    entropy.scroll_into_view_if_needed()
    box = entropy.locator("canvas.over").bounding_box()
    heads = set()
    for share in (0.3, 0.45, 0.6, 0.75):
        # The third of five rows: 6 pixels above the cells, 38 below.
        page.page.mouse.move(box["x"] + share * box["width"], box["y"] + 6 + (box["height"] - 44) / 2)
        page.page.wait_for_selector(".tooltip:not([hidden])")
        assert page.page.inner_text(".tooltip .tip-title") == "blocks.2.attn"
        said = [one.replace("\n", " ") for one in page.page.locator(".tooltip .reading").all_inner_texts()]
        head = int(re.findall(r"\d+", said[0])[0])
        assert re.findall(r"[\d.]+", said[1]) == [str(20 + head)], said
        heads.add(head)
    assert len(heads) > 2
    page.shot("attention")


@pytest.mark.slow
def test_a_run_without_attention_has_no_such_panel(tmp_path: Path, page: Watched) -> None:
    page.page.goto(written(tmp_path / "page.html", Structure(LAYERS)).as_uri())
    page.page.click(".tab[title^=Propagation]")
    settled(page.page)
    assert page.page.locator("section.attention").is_hidden()
    assert page.page.locator("section.attention canvas").count() == 0
