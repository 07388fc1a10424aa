"""Whatever a stored run holds, every form of the report comes out in a second, or one sentence and status 2."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from builders import blocks, record
from hostile_values import EVIL, VALUES, dumped, obeyed, places, replaced
from hypothesis import HealthCheck, given, settings, strategies as st

from init_monitor import cli
from init_monitor.records import Figure, Finding, LossStretch, Severity, StepRecord
from init_monitor.records.quantities import LAYER_QUANTITIES, PARAMETER_QUANTITIES, RESIDUAL_QUANTITIES
from init_monitor.store import RunWriter, read_run, run_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Structure

pytestmark = pytest.mark.untraced

NET = blocks(2)
LONGEST = 1.0
"""Seconds of CPU time that a command may take, on a machine that others use too."""

FORMS: tuple[list[str], ...] = ([], ["--json"], ["--md"], ["--html"])


def full_record(structure: Structure, step: int) -> StepRecord:
    quantities = (*LAYER_QUANTITIES, *PARAMETER_QUANTITIES, *RESIDUAL_QUANTITIES)
    return record(structure, dict.fromkeys(quantities, 0.5 + step), step=step)


def whole_run(directory: Path, *, pack: bool = False) -> Path:
    """A run that has a value in every field there is."""
    found = Finding(
        "exploding-activations", "IM101", Severity.CRITICAL, NET.names[:2], 1, "It explodes.",
        {"growth": Figure(512.0, "× per layer")}, {"growth": Figure(1.0, "× per layer")},
        "Initialise with He.\n\nnn.init.kaiming_normal_(w)", "He et al. 2015",
    )  # fmt: skip
    path = run_file(directory)
    options = {"include": ["a*"], "window": 256, "strict": False}
    with RunWriter(path, settings=options, versions={"torch": "2.13"}, first_step=0, pack=pack) as writer:
        writer.write(full_record(NET, 0), (), NET)
        last = dataclasses.replace(
            full_record(NET, 1), unoptimized=("a.weight",), optimizer="SGD", learning_rate=0.1,
            losses=LossStretch.of([(0, 2.5), (1, math.nan)]), loss_by_optimizer={"SGD": 2.0},
        )  # fmt: skip
        writer.write(last, (found,), NET)
        writer.conclude(LossStretch.of([(2, 2.25), (3, 2.0)]))
    return path


def asked(*words: str) -> tuple[int, str, str]:
    """Status, output and errors of the command line; it may take a second, if not at once then when asked again, and raise nothing."""
    for _ in range(2):  # a busy neighbour can double what one call costs
        out, errors = io.StringIO(), io.StringIO()
        began = time.process_time()
        with redirect_stdout(out), redirect_stderr(errors):
            status = cli.main(list(words))
        if time.process_time() - began < LONGEST:
            return status, out.getvalue(), errors.getvalue()
    message = f"{words} took more than {LONGEST} s, twice"
    raise AssertionError(message)


def every_form(directory: Path) -> Iterator[tuple[int, str, str]]:
    page = directory / "page.html"
    page.unlink(missing_ok=True)
    for form in FORMS:
        words = [*form, str(page)] if form == ["--html"] else form
        status, out, errors = asked("report", str(directory), *words)
        if form == ["--html"]:
            out += page_words(page)
        yield status, out, errors
    yield asked("compare", str(directory), str(directory))
    status, out, errors = asked("compare", str(directory), str(directory), "--html", str(page))
    yield status, out + page_words(page), errors


def page_words(page: Path) -> str:
    """What a page says, the strings that its script reads included."""
    if not page.exists():
        return ""
    text = page.read_text("utf-8")
    page.unlink()
    (numbers,) = re.findall(r'<script type="application/json" id="[^"]*">(.*?)</script>', text) or ["null"]
    return text + json.dumps(json.loads(numbers), ensure_ascii=False)


with TemporaryDirectory() as _directory:
    WHOLE = [json.loads(line) for line in whole_run(Path(_directory) / "lists").read_text("ascii").splitlines()]
    PACKED = whole_run(Path(_directory) / "packed", pack=True).read_bytes()
    PLACES = [path for path in places(WHOLE) if path]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), st.sampled_from(VALUES))
def test_any_value_in_any_field_gives_a_report_or_one_sentence(
    tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    hostile(tmp_path, replaced(WHOLE, place, value))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), min_size=2, max_size=6))
def test_several_at_once_too(tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    entries: list[Any] = WHOLE
    for place, value in changes:
        with suppress(TypeError, KeyError, IndexError):  # where an earlier change took the place away
            entries = replaced(entries, place, value)
    hostile(tmp_path, entries)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_bytes_that_a_disk_spoiled_too(tmp_path: Path, data: st.DataObject) -> None:
    lists = "".join(f"{json.dumps(entry)}\n" for entry in WHOLE).encode()
    whole = bytearray(data.draw(st.sampled_from([lists, PACKED])))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    hostile(tmp_path, bytes(whole))


def hostile(directory: Path, content: list[Any] | bytes) -> set[int]:
    """Store it, ask for every form of it, and return the statuses."""
    statuses = set()
    path = run_file(directory)
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, list):
        content = "".join(f"{dumped(entry)}\n" for entry in content).encode("utf-8", "surrogatepass")
    path.write_bytes(content)
    for status, out, errors in every_form(directory):
        assert status in {0, 2}
        # What was left out is said; where nothing could be read, that is all there is.
        assert (status == 2) == ("left out" in errors or not out), (status, out[:80], errors)
        assert errors.count("\n") <= 2
        assert len(errors) < 1000
        assert obeyed(out + errors) == set()
        statuses.add(status)
    return statuses


def test_a_whole_run_is_read_without_a_word(tmp_path: Path) -> None:
    assert hostile(tmp_path, WHOLE) == {0}
    assert read_run(tmp_path).notices == ()


@pytest.mark.parametrize("name", [EVIL, "x" * 10_000, "a." * 5_000, "a " * 5_000, "\u0301" * 5_000, "名" * 5_000])
def test_names_that_are_long_or_odd_are_shown_in_a_moment_and_obeyed_nowhere(tmp_path: Path, name: str) -> None:
    entries = json.loads(json.dumps(WHOLE).replace(json.dumps(NET.names[0])[1:-1], json.dumps(name)[1:-1]))
    assert hostile(tmp_path, entries) == {0}
    assert read_run(tmp_path).skipped == 0
    assert name in read_run(tmp_path).structure.layers[0].name


def test_a_bad_value_is_quoted_short_and_printable(tmp_path: Path) -> None:
    place = next(path for path in PLACES if path[-1] == "step")
    hostile(tmp_path, replaced(WHOLE, place, EVIL * 300))
    (notice,) = read_run(tmp_path).notices
    assert "step is 'evil\\x1b[2J\\x00" in notice
    assert notice.endswith("', expected a whole number from 0 and below 2^53); it was left out.")
    assert len(notice) < 500


def test_a_path_with_an_escape_is_quoted_without_it(tmp_path: Path) -> None:
    status, out, errors = asked("report", str(tmp_path / "a\x1b[2J" / ("x" * 3000)))
    assert (status, out) == (2, "")
    assert "a\\x1b[2J" in errors
    assert len(errors) < 500
    odd = tmp_path / "a\x1b[2Jb\u202e"
    whole_run(odd)
    for words in (["report", str(odd)], ["report", str(tmp_path)], ["compare", str(odd), str(odd)]):
        status, out, errors = asked(*words)
        assert obeyed(out + errors) == set()
    status, out, errors = asked("report", str(odd), "--html", str(odd / "page\x1b.html"))
    assert (status, obeyed(out)) == (0, set())
    assert obeyed((odd / "page\x1b.html").read_text("utf-8")) == set()
