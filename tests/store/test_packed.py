"""Columns as bytes: the same numbers in a fifth of the room, and a cut file is read up to where it is whole."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import blocks, linears, record
from hypothesis import given, settings, strategies as st
from torch import nn

import init_monitor
from init_monitor.records import StepRecord, Table
from init_monitor.records.quantities import (
    HEAD_QUANTITIES,
    LAYER_QUANTITIES,
    PARAMETER_QUANTITIES,
    RESIDUAL_QUANTITIES,
    Quantity,
)
from init_monitor.sinks import RunStoreSink
from init_monitor.store import RunWriter, read_run, run_file
from init_monitor.store.packed import MARK, packed, unpacked
from init_monitor.store.schema import MalformedError

if TYPE_CHECKING:
    from pathlib import Path

    from init_monitor.records import Structure

NINE_DIGITS = 5e-9
MOST_BYTES = 15_000
"""Per measured step of 200 layers."""


def written(path: Path, records: list[StepRecord], structure: Structure, **options: Any) -> Path:
    with RunWriter(path, pack=True, **options) as writer:
        for one in records:
            writer.write(one, structure=structure)
    return path


def step_records(structure: Structure, *steps: int) -> list[StepRecord]:
    generator = np.random.default_rng(0)
    quantities = (*LAYER_QUANTITIES, *PARAMETER_QUANTITIES, *RESIDUAL_QUANTITIES)
    return [
        record(structure, {quantity: float(generator.lognormal()) for quantity in quantities}, step=step)
        for step in steps
    ]


def same_numbers(read: StepRecord, wrote: StepRecord) -> None:
    for quantity in (*LAYER_QUANTITIES, *PARAMETER_QUANTITIES, *RESIDUAL_QUANTITIES):
        np.testing.assert_allclose(
            read.column(quantity), wrote.column(quantity), rtol=NINE_DIGITS, atol=0, err_msg=str(quantity)
        )


any_float = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(width=32),
    st.integers(-(2**53) + 1, 2**53 - 1).map(float),
    st.sampled_from([0.0, -0.0, 5e-324, 2.2e-308, 1.7976931348623157e308, 1.0, -1.0]),
)


@st.composite
def parts(draw: st.DrawFn) -> list[dict[str, Any]]:
    def part(quantities: tuple[Quantity, ...]) -> dict[str, Any]:
        length = draw(st.integers(0, 5))
        chosen = draw(st.lists(st.sampled_from(quantities), max_size=8, unique=True))
        numbers = st.lists(any_float, min_size=length, max_size=length)
        return {str(one): np.array(draw(numbers), np.float64) for one in chosen} | {"": np.zeros(length)}

    always = [part(LAYER_QUANTITIES), part(PARAMETER_QUANTITIES), part(RESIDUAL_QUANTITIES)]
    return [*always, part(HEAD_QUANTITIES)] if draw(st.booleans()) else always


@settings(max_examples=200, deadline=None)
@given(parts())
def test_any_columns_come_back_with_nine_digits_and_whole_numbers_exactly(columns: list[dict[str, Any]]) -> None:
    content = packed(columns)
    assert b"\n" not in content
    back = unpacked(content, [len(part[""]) for part in columns])
    for part, read in zip(columns, back, strict=True):
        assert set(read) == {name for name, one in part.items() if not np.isnan(one).all()}
        for name, one in read.items():
            wrote = part[name]
            # The smallest numbers there are have fewer digits.
            np.testing.assert_allclose(one, wrote, rtol=NINE_DIGITS, atol=1e-315, err_msg=name)
            exact = ~np.isfinite(wrote) | ((np.floor(wrote) == wrote) & (np.abs(wrote) < 2**53))
            np.testing.assert_array_equal(one[exact], wrote[exact])
            with np.errstate(over="ignore"):
                single = wrote.astype(np.float32).astype(np.float64) == wrote
                np.testing.assert_array_equal(
                    one[single & (np.abs(wrote) > 1e-300)], wrote[single & (np.abs(wrote) > 1e-300)]
                )


def test_a_stored_run_comes_back(tmp_path: Path) -> None:
    net = blocks(3)
    wrote = step_records(net, 0, 1, 50)
    run = read_run(written(tmp_path / "run.jsonl", wrote, net, settings={"window": 7}))
    assert (run.structure, run.notices, run.headers[0].schema) == (net, (), 2)
    for back, original in zip(run.records, wrote, strict=True):
        assert (back.names, back.parameter_names) == (original.names, original.parameter_names)
        assert back.residual_names == original.residual_names
        same_numbers(back, original)


def test_a_run_of_lists_goes_on_as_one_of_bytes(tmp_path: Path) -> None:
    net = linears(3)
    wrote = step_records(net, 0, 1, 2)
    path = tmp_path / "run.jsonl"
    with RunWriter(path, first_step=0) as writer:
        writer.write(wrote[0], structure=net)
    written(path, wrote[1:], net, first_step=1)
    run = read_run(path)
    assert ([one.schema for one in run.headers], run.count) == ([1, 2], 1)
    for back, original in zip(run.records, wrote, strict=True):
        same_numbers(back, original)


def test_a_run_cut_at_any_byte_is_read_up_to_the_last_whole_step(tmp_path: Path) -> None:
    net = linears(2)
    whole = written(tmp_path / "run.jsonl", step_records(net, 0, 1, 2), net).read_bytes()
    ends = [i for i, one in enumerate(whole) if one == ord("\n")]
    assert len(ends) == 6  # a header, a structure, names, three steps
    cut = tmp_path / "cut.jsonl"
    for end in range(ends[0] + 1, len(whole), 7):
        cut.write_bytes(whole[:end])
        run = read_run(cut)
        # A line that only lacks its line end is whole.
        assert len(run.records) == sum(step_end <= end for step_end in ends[3:])
        assert run.notices == ()
        written(cut, step_records(net, 7), net)
        assert read_run(cut).records[-1].step == 7


@pytest.mark.parametrize(
    "spoil", [lambda one: one[:-9], lambda one: one[:20] + b"xxxx" + one[24:], lambda _: b"", zlib.compress]
)
def test_spoiled_bytes_leave_their_step_out(tmp_path: Path, spoil: Any) -> None:
    net = linears(2)
    path = written(tmp_path / "run.jsonl", step_records(net, 0, 1, 2), net)
    lines = path.read_bytes().split(b"\n")
    facts, _, content = lines[4].partition(MARK)
    lines[4] = facts + MARK + spoil(content)
    path.write_bytes(b"\n".join(lines))
    run = read_run(path)
    assert [one.step for one in run.records] == [0, 2]
    assert run.notices[0].startswith(f"{path}, line 5: the line is corrupt (")


@pytest.mark.parametrize(
    ("names", "planes"),
    [
        ([["mean"], [], []], 7),
        ([["mean"], [], []], 80),
        ([["mean"], []], 16),
        ([["mean"], [], 7], 16),
        ({"mean": 1}, 16),
        ([[7], [], []], 16),
        ([["mean"] * 100_000, [], []], 16),
        ("[" * 10_000, 16),
    ],
)
def test_bytes_that_say_something_else_are_malformed(names: Any, planes: int) -> None:
    text = json.dumps(names).encode() if not isinstance(names, str) else names.encode()
    content = zlib.compress(len(text).to_bytes(4, "little") + text + b"\0" * planes)
    for raw, escaped in ((b"\x10", b"\x10P"), (b"\n", b"\x10J")):
        content = content.replace(raw, escaped)
    with pytest.raises(MalformedError):
        unpacked(content, [2, 0, 0])


def test_a_run_without_heads_is_written_as_before_there_were_any_and_read_with_none() -> None:
    columns = [{"mean": np.array([1.0, 2.0])}, {}, {}]
    assert packed([*columns, {}]) == packed(columns)
    assert unpacked(packed(columns), [2, 0, 0, 0])[3] == {}


def test_a_bomb_is_not_inflated() -> None:
    with pytest.raises(MalformedError, match="longer than their names say"):
        unpacked(zlib.compress(b"\0" * 50_000_000).replace(b"\x10", b"\x10P").replace(b"\n", b"\x10J"), [2, 0, 0])


def test_a_measured_step_of_200_layers_takes_at_most_15_kb(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(100):
        layers += [nn.Linear(32, 32), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight)  # type: ignore[arg-type]
    model, steps = nn.Sequential(*layers), 4
    opt = torch.optim.Adam(model.parameters(), lr=1e-4)
    with init_monitor.watch(model, opt, log_dir=tmp_path, sinks=(RunStoreSink(),), rules=()) as m:
        for _ in range(steps):
            with m.step():
                opt.zero_grad()
                model(torch.randn(64, 32)).square().mean().backward()
                opt.step()
    run = read_run(tmp_path)
    for back, original in zip(run.records, m.records, strict=True):
        assert (back.step, back.time, back.names) == (original.step, original.time, original.names)
        same_numbers(back, original)
    lines = [len(line) for line in run_file(tmp_path).read_bytes().split(b"\n") if MARK in line]
    assert len(lines) == steps
    assert max(lines) <= MOST_BYTES, lines


def test_a_record_of_nothing_is_one_too(tmp_path: Path) -> None:
    empty = StepRecord(0, 0.0, Table(()))
    assert read_run(written(tmp_path / "run.jsonl", [empty], linears(1))).records[0].names == ()
