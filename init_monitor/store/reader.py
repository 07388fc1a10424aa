"""A run read back: tolerant of what a running or a cut training leaves behind, plain about what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from init_monitor.errors import StoreError
from init_monitor.records import Finding, StepRecord, Structure
from init_monitor.records.quantities import PLUGIN_NAME, SCHEMA_VERSION
from init_monitor.store.lines import Names, finding_from, names_from, step_from, structure_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

RUN_FILE = "run.jsonl"

_HEADER_START = b'{"kind":"header"'

_LISTED_RUNS = 3
"""How many runs an error message lists: enough to recognise the layout, short enough to read."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a stretch of a run began with.

    Attributes:
        schema: version of the format.
        settings: the monitor's options, as JSON values.
        versions: package versions.
        created: seconds since the epoch.
    """

    schema: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    created: float


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run read back from disk.

    Attributes:
        path: the file it was read from.
        headers: one per stretch, oldest first; a run that was never resumed has one.
        structure: the newest structure (empty if none was written).
        records: by ascending step; of several records of one step the one written last.
        findings: oldest first, equal ones once.
    """

    path: Path
    headers: tuple[Header, ...]
    structure: Structure = field(default_factory=Structure)
    records: list[StepRecord] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def run_file(log_dir: Path) -> Path:
    """Return where the run of a log directory is stored."""
    return log_dir / PLUGIN_NAME / RUN_FILE


def read_run(path: Path | str) -> StoredRun:
    """Read a run: a log directory, the ``init_monitor`` directory in it, or the file itself.

    A last line without its line end belongs to a step that is being written, or was cut; it is left out.

    Raises:
        StoreError: there is no run, it has another schema version, or a line is corrupt; the message says which.
    """
    file = _locate(Path(path))
    reader = _Reader(file)
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                reader.take(number, line)
    except OSError as error:
        message = f"cannot read {file}: {error.strerror or error}"
        raise StoreError(message) from error
    return reader.finish()


def check_first_line(path: Path, line: bytes) -> None:
    """Raise :class:`StoreError` unless ``line`` is a header of this schema version (or the unfinished start of one)."""
    if line.endswith(b"\n"):
        _Reader(path).take(1, line)
    elif line and not line.startswith(_HEADER_START):
        message = f"{path} exists and is not a run of init_monitor; move it away"
        raise StoreError(message)


class _Reader:
    """What has been read so far, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._headers: list[Header] = []
        self._structure = Structure()
        self._names: dict[int, Names] = {}
        self._records: dict[int, StepRecord] = {}
        self._findings: dict[str, Finding] = {}

    def take(self, number: int, line: bytes) -> None:
        """Understand one line, or say why not."""
        try:
            entry = json.loads(line)
            if not self._headers and entry["kind"] != "header":
                raise ValueError(entry["kind"])  # noqa: TRY301 - the one place that knows what a bad first line means
            self._understand(number, entry)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            if not line.endswith(b"\n"):
                return
            if not self._headers:
                self._refuse(number, "the file does not begin with a header; it is not a run of init_monitor", error)
            reason = getattr(error, "msg", None) or (f"it misses {error}" if isinstance(error, KeyError) else error)
            self._refuse(number, f"the line is corrupt ({reason}); remove it to read the rest", error)

    def finish(self) -> StoredRun:
        """Return the run."""
        if not self._headers:
            message = f"{self._path} is empty: the run wrote nothing yet; train for at least one step"
            raise StoreError(message)
        records = [self._records[step] for step in sorted(self._records)]
        return StoredRun(self._path, tuple(self._headers), self._structure, records, list(self._findings.values()))

    def _understand(self, number: int, entry: dict[str, Any]) -> None:
        kind = entry["kind"]
        if kind == "header":
            self._headers.append(self._header(number, entry))
            self._names = {}
        elif kind == "structure":
            self._structure = structure_from(entry)
        elif kind == "names":
            self._names[entry["id"]] = names_from(entry)
        elif kind == "step":
            record = step_from(entry, self._names[entry["names"]])
            self._records[record.step] = record
        elif kind == "finding":
            self._findings[json.dumps(entry, sort_keys=True)] = finding_from(entry)

    def _header(self, number: int, entry: dict[str, Any]) -> Header:
        schema = entry["schema"]
        if schema != SCHEMA_VERSION:
            newer = isinstance(schema, int) and schema > SCHEMA_VERSION
            advice = "upgrade init_monitor" if newer else "read it with the version that wrote it"
            self._refuse(number, f"the run has schema version {schema}, expected {SCHEMA_VERSION}; {advice}")
        return Header(schema, dict(entry["settings"]), dict(entry["versions"]), float(entry["created"]))

    def _refuse(self, number: int, reason: str, cause: Exception | None = None) -> NoReturn:
        message = f"{self._path}, line {number}: {reason}"
        raise StoreError(message) from cause


def _locate(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.exists():
        message = f"no such run: {path} does not exist; give the log directory of a run that init_monitor watched"
        raise StoreError(message)
    for file in (run_file(path), path / RUN_FILE):
        if file.is_file():
            return file
    below = sorted(file.parent.parent.name for file in path.glob(f"*/{PLUGIN_NAME}/{RUN_FILE}"))
    message = f"no run in {path}: expected {PLUGIN_NAME}/{RUN_FILE} in it"
    if below:
        more = f" and {len(below) - _LISTED_RUNS} more" if len(below) > _LISTED_RUNS else ""
        message += f"; there are runs below it, give one of them: {', '.join(below[:_LISTED_RUNS])}{more}"
    else:
        message += "; give the log directory of a run that init_monitor watched"
    raise StoreError(message)
