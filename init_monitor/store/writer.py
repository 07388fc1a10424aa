"""A run written while it happens: whole lines, flushed at every sampled step."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from init_monitor.records.tags import SCHEMA_VERSION
from init_monitor.store.lines import (
    Names,
    facts_of_step_json,
    finding_json,
    json_value,
    losses_json,
    names_json,
    step_columns,
    step_json,
    structure_json,
)
from init_monitor.store.packed import MARK, PACKED_VERSION
from init_monitor.store.reader import check_first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from typing_extensions import Self

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure

_BLOCK = 1 << 16
"""Bytes read at once when looking for the last line end: a run can be large, its last line is not."""


class RunWriter:
    """Appends a run to a file. Each call of :meth:`write` leaves whole lines on disk.

    Opening an existing run begins a new stretch in it; a last line that was cut short is removed first.

    Args:
        path: the file; its directory is made if it is missing.
        settings: the monitor's options.
        versions: package versions.
        first_step: optimizer step that the training begins with: 0 unless it is resumed; ``None`` if it is not known.
        pack: write columns as bytes, a fifth of what they take as lists (schema 2); else every line is plain JSON (schema 1).

    Raises:
        OSError: the file cannot be written.
        StoreError: the file exists and is not a run of this schema version; nothing was changed.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, object] | None = None,
        versions: Mapping[str, str] | None = None,
        first_step: int | None = None,
        *,
        pack: bool = False,
    ) -> None:
        self.path = path
        self._pack = pack
        self._structure: Structure | None = None
        self._structure_json: dict[str, Any] | None = None
        self._names: Names | None = None
        self._names_id = -1
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _make_appendable(path)
        self._file: BinaryIO = path.open("ab")
        header = {
            "kind": "header",
            "schema": PACKED_VERSION if pack else SCHEMA_VERSION,
            "settings": json_value(dict(settings or {})),
            "versions": json_value(dict(versions or {})),
            "created": time.time(),
            **({} if first_step is None else {"first_step": first_step}),
        }
        self._put([_line(header)])

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, also after an error."""
        self.close()

    def write(self, record: StepRecord, findings: Iterable[Finding] = (), structure: Structure | None = None) -> None:
        """Append one sampled step, the findings that are new at it, and the structure if it changed."""
        lines: list[bytes] = []
        written = self._structure_json
        if structure is not None and structure != self._structure:
            # A scale that is NaN makes a structure differ from itself: what would be written decides.
            written = structure_json(structure)
            if written != self._structure_json:
                lines.append(_line({"kind": "structure", **written}))
        names, names_id = Names.of(record), self._names_id
        if names != self._names:
            names_id += 1
            lines.append(_line(names_json(names, names_id)))
        if self._pack:
            lines.append(_line(facts_of_step_json(record, names_id)) + MARK + step_columns(record))
        else:
            lines.append(_line(step_json(record, names_id)))
        self._put([*lines, *map(_finding_line, findings)])
        self._names, self._names_id = names, names_id
        self._structure, self._structure_json = self._structure if structure is None else structure, written

    def conclude(self, losses: LossStretch, findings: Iterable[Finding] = ()) -> None:
        """Append the losses of the steps after the last sampled one, and the findings that are new by them."""
        lines = [_line({"kind": "losses", **losses_json(losses)})] if len(losses) else []
        self._put([*lines, *map(_finding_line, findings)])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, lines: Sequence[bytes]) -> None:
        self._file.write(b"".join(line + b"\n" for line in lines))
        self._file.flush()


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False, separators=(",", ":")).encode("ascii")


def _finding_line(finding: Finding) -> bytes:
    return _line({"kind": "finding", **finding_json(finding)})


def _make_appendable(path: Path) -> None:
    """Cut off an unfinished last line, after making sure that the file is a run."""
    with path.open("r+b") as file:
        check_first_line(path, file.readline())
        end = kept = file.seek(0, 2)
        newline = -1
        while kept > 0 and newline < 0:
            start = max(0, kept - _BLOCK)
            file.seek(start)
            newline = file.read(kept - start).rfind(b"\n")
            kept = start + newline + 1
        if kept < end:
            file.truncate(kept)
