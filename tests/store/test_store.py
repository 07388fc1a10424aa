"""The run store: what is written is what is read back, and what cannot be read says why."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import linears, record
from hypothesis import given, settings, strategies as st

from init_monitor.errors import StoreError
from init_monitor.records import Figure, Finding, Residual, Role, Severity, StepRecord, Structure, Table
from init_monitor.records.quantities import LAYER_QUANTITIES, PARAMETER_QUANTITIES, Quantity
from init_monitor.store import RunWriter, StoredRun, json_value, read_run, run_file

if TYPE_CHECKING:
    from pathlib import Path

NET = linears(3)
RELATIVE_ERROR_OF_9_DIGITS = 5e-9


def steps(*numbers: int, structure: Structure = NET) -> list[StepRecord]:
    return [record(structure, {Quantity.VARIANCE: 1.0 + step}, step=step) for step in numbers]


def finding(step: int = 0, **changes: Any) -> Finding:
    made = Finding(
        rule="exploding-activations",
        code="IM101",
        severity=Severity.CRITICAL,
        layers=("net.0", "net.1"),
        step=step,
        message="The variance grows 512× per layer.",
        evidence={"growth": Figure(512.0, "× per layer"), "overflow": Figure(math.inf)},
        expected={"growth": Figure(1.0, "× per layer")},
        remedy="Initialise with He.\n\nnn.init.kaiming_normal_(w)",
        source="He et al. 2015, Eq. 10",
    )
    return dataclasses.replace(made, **changes)


def written(path: Path, records: list[StepRecord], structure: Structure = NET, **options: Any) -> Path:
    with RunWriter(path, **options) as writer:
        for one in records:
            writer.write(one, structure=structure)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    def refuse(token: str) -> None:
        message = f"{token} is not strict JSON"
        raise AssertionError(message)

    return [json.loads(line, parse_constant=refuse) for line in path.read_text("ascii").splitlines()]


def same_numbers(read: Any, wrote: Any) -> None:
    for quantity in (*LAYER_QUANTITIES, *PARAMETER_QUANTITIES):
        np.testing.assert_allclose(
            read.column(quantity), wrote.column(quantity), rtol=RELATIVE_ERROR_OF_9_DIGITS, atol=0, err_msg=quantity
        )


any_float = st.floats(allow_nan=True, allow_infinity=True)
names = st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=4).map(tuple)


@st.composite
def step_records(draw: st.DrawFn) -> StepRecord:
    def columns(quantities: tuple[Quantity, ...], length: int) -> dict[Quantity, Any]:
        chosen = draw(st.sets(st.sampled_from(quantities), max_size=4))
        return {q: np.array(draw(st.lists(any_float, min_size=length, max_size=length)), np.float64) for q in chosen}

    layer_names, parameter_names = draw(names), draw(names)
    return StepRecord(
        step=draw(st.integers(0, 10**9)),
        time=draw(st.floats(0, 4e9)),
        layer_table=Table(layer_names, columns(LAYER_QUANTITIES, len(layer_names))),
        parameter_table=Table(parameter_names, columns(PARAMETER_QUANTITIES, len(parameter_names))),
        exact=draw(st.booleans()),
        optimizer=draw(st.text(max_size=5)),
        learning_rate=draw(any_float),
        weight_decay=draw(any_float),
        momentum=draw(any_float),
        loss_scaled=draw(st.booleans()),
        stepped=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(step_records(), max_size=3, unique_by=lambda one: one.step))
def test_any_records_come_back_with_nine_digits(
    tmp_path_factory: pytest.TempPathFactory, wrote: list[StepRecord]
) -> None:
    path = written(tmp_path_factory.mktemp("run") / "run.jsonl", wrote, Structure())
    lines(path)
    read = read_run(path).records
    for back, original in zip(read, sorted(wrote, key=lambda one: one.step), strict=True):
        for word in ("step", "time", "names", "parameter_names", "exact", "optimizer", "loss_scaled", "stepped"):
            assert getattr(back, word) == getattr(original, word), word
        for name in ("learning_rate", "weight_decay", "momentum"):
            wanted = getattr(original, name)
            np.testing.assert_allclose(getattr(back, name), wanted, rtol=RELATIVE_ERROR_OF_9_DIGITS)
        same_numbers(back, original)


@given(st.lists(st.floats(width=32), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_every_float32_comes_back_as_the_same_float32(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float]
) -> None:
    path = written(tmp_path_factory.mktemp("run") / "run.jsonl", [record(NET, {Quantity.MEAN: numbers})])
    back = read_run(path).records[0].column(Quantity.MEAN)
    np.testing.assert_array_equal(back.astype(np.float32), np.array(numbers, np.float32))


def test_whole_numbers_are_exact_up_to_2_to_the_53(tmp_path: Path) -> None:
    count = [1234567890123.0, 2.0**53 - 1, 7.0]
    back = read_run(written(tmp_path / "run.jsonl", [record(NET, {Quantity.COUNT: count})])).records[0]
    assert back.column(Quantity.COUNT).tolist() == count


def test_nan_and_infinities_are_written_as_strings_so_that_every_line_is_strict_json(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", [record(NET, {Quantity.VARIANCE: [math.nan, math.inf, -math.inf]})])
    step = lines(path)[-1]
    assert step["columns"] == {"variance": ["NaN", "Infinity", "-Infinity"]}
    back = read_run(path).records[0].column(Quantity.VARIANCE)
    np.testing.assert_array_equal(back, [math.nan, math.inf, -math.inf])


def test_a_column_that_was_not_measured_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", [record(NET, {Quantity.MEAN: 1.0, Quantity.SATURATED_FRACTION: math.nan})])
    assert lines(path)[-1]["columns"] == {"mean": [1, 1, 1]}
    assert np.isnan(read_run(path).records[0].column(Quantity.SATURATED_FRACTION)).all()


def test_structure_findings_settings_and_versions_come_back_equal(tmp_path: Path) -> None:
    layer = dataclasses.replace(
        NET.layers[1],
        inputs=("b", "c"),
        activation="ReLU",
        name="a#1",
        normalised=True,
        dtype="float16",
        flat_below=True,
        piecewise_linear=True,
        role=Role.OTHER,
    )
    structure = Structure((layer, *NET.layers), (Residual("blocks.0#1", "blocks.0", "identity", "x", "F"),))
    path = tmp_path / "run.jsonl"
    with RunWriter(path, settings={"include": ("a*", "b*"), "window": 256}, versions={"torch": "2.13"}) as writer:
        writer.write(record(structure, {Quantity.MEAN: 0.5}), (finding(),), structure)
    run = read_run(path)
    assert run.structure == structure
    assert run.findings == [finding()]
    assert str(run.findings[0].evidence["growth"]) == "512× per layer"
    assert run.findings[0].severity is Severity.CRITICAL
    (header,) = run.headers
    assert (header.schema, header.settings, header.versions) == (
        1,
        {"include": ["a*", "b*"], "window": 256},
        {"torch": "2.13"},
    )


def test_names_and_structure_are_written_only_when_they_change(tmp_path: Path) -> None:
    other = linears(2)
    path = tmp_path / "run.jsonl"
    with RunWriter(path) as writer:
        for structure, numbers in ((NET, (0, 1)), (other, (2, 3)), (NET, (4,))):
            for one in steps(*numbers, structure=structure):
                writer.write(one, structure=structure)
    kinds = [line["kind"] for line in lines(path)]
    changed = ["structure", "names", "step"]
    assert kinds == ["header", *changed, "step", *changed, "step", *changed]
    assert [one.names for one in read_run(path).records] == [NET.names] * 2 + [other.names] * 2 + [NET.names]


def test_each_step_is_on_disk_before_the_next_and_without_closing(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path)
    for count, one in enumerate(steps(0, 1, 2), start=1):
        writer.write(one, structure=NET)
        assert len(read_run(path).records) == count
    writer.close()


def test_a_run_cut_at_any_byte_is_read_up_to_the_last_whole_step(tmp_path: Path) -> None:
    small = linears(1)
    whole = written(tmp_path / "run.jsonl", steps(0, 1, structure=small), small).read_bytes()
    header_end = whole.index(b"\n") + 1
    cut = tmp_path / "cut.jsonl"
    for end in range(header_end, len(whole)):
        cut.write_bytes(whole[:end])
        # A line that only lacks its line end is whole.
        complete = sum(b'"kind":"step"' in line and line.endswith(b"}}") for line in whole[:end].split(b"\n"))
        assert [one.step for one in read_run(cut).records] == list(range(complete)), end


def test_a_resumed_run_drops_the_cut_line_and_begins_a_new_stretch(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0, 1, 2))
    path.write_bytes(path.read_bytes()[:-20])
    written(path, steps(2, 3))
    run = read_run(path)
    assert [one.step for one in run.records] == [0, 1, 2, 3]
    assert len(run.headers) == 2


def test_a_cut_line_longer_than_a_block_is_dropped_as_a_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0))
    path.write_bytes(path.read_bytes() + b'{"kind":"step","columns":"' + b"x" * 200_000)
    written(path, steps(1))
    assert [one.step for one in read_run(path).records] == [0, 1]


def test_a_header_that_was_cut_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"kind":"header","sch')
    assert [one.step for one in read_run(written(path, steps(5))).records] == [5]


def test_of_two_records_of_one_step_the_last_wins(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0, 1, 2))
    again = record(NET, {Quantity.VARIANCE: 99.0}, step=1)
    run = read_run(written(path, [again]))
    assert [one.column(Quantity.VARIANCE)[0] for one in run.records] == [1.0, 99.0, 3.0]


def test_an_equal_finding_of_two_stretches_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for step in (0, 1):
        with RunWriter(path) as writer:
            writer.write(steps(step)[0], (finding(), finding(step=7)), NET)
    assert read_run(path).findings == [finding(), finding(step=7)]


def test_a_step_never_takes_its_names_from_an_earlier_stretch(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0))
    written(path, steps(1))
    whole = path.read_text("ascii").splitlines(keepends=True)
    last_names = max(i for i, line in enumerate(whole) if '"kind":"names"' in line)
    path.write_text("".join(whole[:last_names] + whole[last_names + 1 :]))
    run = read_run(path)
    assert [one.step for one in run.records] == [0]
    assert (
        f"line {last_names + 1}: the line is corrupt (the step refers to names 0, which are not in the file)"
        in run.notices[0]
    )


def test_a_run_is_found_by_file_by_directory_and_by_log_directory(tmp_path: Path) -> None:
    file = written(run_file(tmp_path), steps(0))
    assert file == tmp_path / "init_monitor" / "run.jsonl"
    for path in (file, file.parent, tmp_path, str(tmp_path)):
        run = read_run(path)
        assert isinstance(run, StoredRun)
        assert run.path == file


def test_what_a_later_version_adds_is_ignored(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0))
    entries = lines(path)
    entries[-1]["columns"]["entropy"] = [1, 2, 3]
    entries[-1]["phase"] = "warm-up"
    entries[1]["layers"][0]["stride"] = 2
    entries.insert(1, {"kind": "remark", "text": "hello"})
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    run = read_run(path)
    assert run.structure == NET
    assert set(run.records[0].columns) == {Quantity.VARIANCE}


def message_of(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        read_run(path)
    return str(caught.value)


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert message_of(tmp_path / "nothing").startswith(f"no such run: {tmp_path / 'nothing'} does not exist; give the ")


def test_an_empty_directory_says_what_was_expected_in_it(tmp_path: Path) -> None:
    assert f"no run in {tmp_path}: expected init_monitor/run.jsonl in it; give the log directory" in message_of(
        tmp_path
    )


def test_a_directory_of_runs_lists_them(tmp_path: Path) -> None:
    for version in range(5):
        written(run_file(tmp_path / f"version_{version}"), steps(0))
    assert message_of(tmp_path).endswith("give one of them: version_0, version_1, version_2 and 2 more")


def test_an_empty_file_says_that_nothing_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.touch()
    assert message_of(path) == f"{path} is empty: the run wrote nothing yet; train for at least one step"


@pytest.mark.parametrize(
    ("schema", "advice"), [(3, "upgrade init_monitor"), (0, "read it with the version that wrote")]
)
def test_another_schema_version_says_which_was_expected(tmp_path: Path, schema: int, advice: str) -> None:
    path = written(tmp_path / "run.jsonl", steps(0))
    entries = lines(path)
    entries[0]["schema"] = schema
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    message = message_of(path)
    assert f"line 1: the run has schema version {schema}, expected 1 or 2; {advice}" in message
    before = path.read_bytes()
    with pytest.raises(StoreError, match="schema version"):
        RunWriter(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("corrupt", "reason"),
    [
        (b'{"kind":"step","step":', "no JSON: Expecting value"),
        (b'{"kind":"step"}', "the line misses 'names'"),
        (b'{"kind":"step","names":7}', "the step refers to names 7, which are not in the file"),
        (b"\xff\xfe", "no JSON: 'utf"),
        (b"[]", "the line is a list of 0, expected an object"),
        (b"", "no JSON: Expecting value"),
        (b'{"kind":["step"]}', "kind is a list of 1, expected a string"),
        (b'{"kind":"step","names":' + b"9" * 400 + b"}", "names is a number of 1329 bits, expected a whole number"),
        (b"[" * 200_000 + b"]" * 200_000, "lists or objects are nested too deep"),
    ],
)
def test_a_corrupt_line_is_left_out_and_named_by_its_number(tmp_path: Path, corrupt: bytes, reason: str) -> None:
    path = written(tmp_path / "run.jsonl", steps(0, 1))
    good = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*good[:4], corrupt, *good[4:], b""]))
    run = read_run(path)
    assert ([one.step for one in run.records], run.structure, run.skipped) == ([0, 1], NET, 1)
    (notice,) = run.notices
    assert notice.startswith(f"{path}, line 5: the line is corrupt ({reason}")
    assert notice.endswith("); it was left out.")
    path.write_bytes(b"\n".join([*good[:4], corrupt, b"null", b"{", *good[4:], b""]))
    run = read_run(path)
    assert ([one.step for one in run.records], run.skipped) == ([0, 1], 3)
    assert run.notices[0].startswith(f"{path}, line 5: the line is corrupt ({reason}")
    assert run.notices[0].endswith("); it and 2 more lines were left out.")


def test_a_column_of_the_wrong_length_leaves_its_step_out(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0, 1))
    path.write_bytes(path.read_bytes().replace(b'"variance":[1,1,1]', b'"variance":[1,1]'))
    run = read_run(path)
    assert [one.step for one in run.records] == [1]
    assert "line 4: the line is corrupt (variance has 2 numbers, expected 3); it was left out." in run.notices[0]


def test_two_headers_are_two_runs_and_each_can_be_named(tmp_path: Path) -> None:
    path = run_file(tmp_path)
    other = linears(2)
    written(path, steps(0, 1, 2), settings={"window": 7}, first_step=0)
    written(path, steps(2, 3), first_step=2)  # resumed: the same run
    written(path, steps(0, 1, structure=other), other, first_step=0)
    newest, first = read_run(tmp_path), read_run(f"{tmp_path}@1")
    assert [one.step for one in newest.records] == [0, 1]
    assert (newest.number, newest.count, newest.structure) == (2, 2, other)
    assert newest.notices == (f"{path} holds 2 runs; this is the last, and {tmp_path}@1 names the other.",)
    assert [one.step for one in first.records] == [0, 1, 2, 3]
    assert (first.number, first.count, first.structure, first.notices) == (1, 2, NET, ())
    assert [dict(one.settings) for one in first.headers] == [{"window": 7}, {}]
    assert read_run(f"{path}@2").records[0].names == other.names
    for number in ("0", "3", "999999999"):
        with pytest.raises(StoreError, match=f"there is no run {number} in .*: it holds 2 runs, number 1 to 2"):
            read_run(f"{tmp_path}@{number}")
    written(path, steps(0))
    assert (
        read_run(tmp_path).notices[0].endswith(f"this is the last, and {tmp_path}@1 to {tmp_path}@2 name the others.")
    )


def test_what_is_wrong_in_one_run_is_not_said_of_another(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0, 1), first_step=0)
    path.write_bytes(path.read_bytes() + b"null\n")
    written(path, steps(0, 1), first_step=0)
    assert (read_run(path).skipped, len(read_run(path).notices)) == (0, 1)
    assert read_run(f"{path}@2").notices == ()
    first = read_run(f"{path}@1")
    assert (first.skipped, len(first.records)) == (1, 2)
    assert "line 6: the line is corrupt (the line is null, expected an object); it was left out" in first.notices[0]


def test_files_that_do_not_say_where_a_training_began_are_told_apart_by_their_first_step(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0, 50))
    written(path, steps(50, 100))
    assert read_run(path).count == 1
    written(path, steps(0, 1))
    run = read_run(path)
    assert (run.count, [one.step for one in run.records]) == (2, [0, 1])


def test_a_run_that_has_only_begun_hides_none_before_it_unless_it_is_new(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", steps(0, 50))
    written(path, [], first_step=51)
    assert [one.step for one in read_run(path).records] == [0, 50]
    written(path, [], first_step=0)
    assert read_run(path).records == []
    assert len(read_run(f"{path}@1").records) == 2


def test_a_directory_that_is_called_like_a_number_of_a_run_is_itself(tmp_path: Path) -> None:
    written(run_file(tmp_path / "run@1"), steps(0))
    assert len(read_run(tmp_path / "run@1").records) == 1
    assert read_run(f"{tmp_path / 'run@1'}@1").number == 1


def test_a_path_is_quoted_short_and_without_what_a_terminal_obeys(tmp_path: Path) -> None:
    assert "no such run: " in message_of(tmp_path / "a\x1b[2J\u202e")
    assert "a\\x1b[2J\\u202e does not exist" in message_of(tmp_path / "a\x1b[2J\u202e")
    for long in (tmp_path / ("x" * 5000), tmp_path / "/".join(["x" * 200] * 30)):
        message = message_of(long)
        assert "File name too long" in message
        assert len(message) < 400
    assert "null" in message_of(tmp_path / "a\0b") or "does not exist" in message_of(tmp_path / "a\0b")


@pytest.mark.parametrize("content", [b"step,loss\n0,1.0\n", b'{"kind":"step"}\n', b"3\n"])
def test_a_file_that_is_no_run_is_neither_read_nor_appended_to(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    assert "line 1: the file does not begin with a header; it is not a run of init_monitor" in message_of(path)
    with pytest.raises(StoreError, match="does not begin with a header"):
        RunWriter(path)
    path.write_bytes(content[:1])
    with pytest.raises(StoreError, match="exists and is not a run of init_monitor; move it away"):
        RunWriter(path)
    assert path.read_bytes() == content[:1]


def test_a_run_that_cannot_be_opened_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "run.jsonl", steps(0))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The tests may run as root, whom no permission stops.
    monkeypatch.setattr(type(path), "open", refuse)
    assert message_of(path) == f"cannot read {path}: Permission denied"


def test_a_value_without_json_form_becomes_its_text() -> None:
    assert json_value({"severity": Severity.INFO, "on": True, "nothing": None, "where": {1: {2.5}}}) == {
        "severity": "info",
        "on": True,
        "nothing": None,
        "where": {"1": "{2.5}"},
    }


def test_a_stored_run_is_read_without_torch_lightning_or_rich(tmp_path: Path) -> None:
    written(run_file(tmp_path), steps(0))
    code = (
        "import sys; from init_monitor.store import read_run; assert len(read_run(sys.argv[1]).records) == 1;"
        "print(*{'torch', 'lightning', 'pytorch_lightning', 'rich', 'tensorboard'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
