"""A run read back: tolerant of what a running or a cut training leaves behind, plain about what is wrong."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from init_monitor.errors import StoreError
from init_monitor.records import Finding, LossCurve, LossStretch, StepRecord, Structure, settled
from init_monitor.records.quoting import quoted, quoted_path
from init_monitor.records.tags import SCHEMA_VERSION
from init_monitor.store import schema
from init_monitor.store.lines import (
    Names,
    finding_from,
    finding_json,
    losses_from,
    names_from,
    step_from,
    structure_from,
)
from init_monitor.store.packed import MARK, PACKED_VERSION
from init_monitor.store.places import found_file, named_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import NoReturn

_HEADER_START = b'{"kind":"header"'


@dataclass(frozen=True, slots=True)
class Header:
    """What a stretch of a run began with.

    Attributes:
        schema: version of the format.
        settings: the monitor's options, as JSON values.
        versions: package versions.
        created: seconds since the epoch; 0 if the file does not say.
        first_step: optimizer step that the training began with: 0 unless it was resumed; ``None`` if it is not known.
    """

    schema: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    created: float
    first_step: int | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run read back from disk.

    Attributes:
        path: the file it was read from.
        headers: one per stretch, oldest first; a run that was never resumed has one.
        structure: the newest structure (empty if none was written).
        records: by ascending step; of several records of one step the one written last.
        findings: oldest first, equal ones once.
        number: which run of the file it is, from 1.
        count: how many runs the file holds.
        skipped: lines that could not be read and were left out.
        notices: what is odd about the file, in sentences: lines left out, other runs in it.
        losses: the training loss of every optimizer step, where known.
    """

    path: Path
    headers: tuple[Header, ...]
    structure: Structure = field(default_factory=Structure)
    records: list[StepRecord] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    number: int = 1
    count: int = 1
    skipped: int = 0
    notices: tuple[str, ...] = ()
    losses: LossCurve = field(default_factory=LossCurve)


def read_run(path: Path | str) -> StoredRun:
    """Read a run: a log directory, the ``init_monitor`` directory in it, or the file itself.

    A file may hold several runs, because some loggers give all of them one directory: the last is read, or the k-th of
    ``path@k``. A last line without its line end belongs to a step that is being written, or was cut; it is left out.
    So is every other line that does not hold what it should; the run says how many, and why.

    Raises:
        StoreError: there is no run, or it has another schema version; the message says what to do.
    """
    asked, number = named_run(path)
    file = found_file(asked)
    reader = _Reader(file)
    try:
        with file.open("rb") as lines:
            for position, line in enumerate(lines, start=1):
                reader.take(position, line)
    except OSError as error:
        message = f"cannot read {quoted_path(file)}: {error.strerror or error}"
        raise StoreError(message) from error
    return reader.finish(number, quoted_path(asked))


def check_first_line(path: Path, line: bytes) -> None:
    """Raise :class:`StoreError` unless ``line`` is a header of this schema version (or the unfinished start of one)."""
    if line.endswith(b"\n"):
        _Reader(path).take(1, line)
    elif line and not line.startswith(_HEADER_START):
        message = f"{quoted_path(path)} exists and is not a run of init_monitor; move it away"
        raise StoreError(message)


@dataclass(slots=True)
class _Stretch:
    """What one start of a training wrote."""

    header: Header
    structure: Structure | None = None
    names: dict[int, Names] = field(default_factory=dict)
    records: list[StepRecord] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    last_losses: LossStretch = field(default_factory=LossStretch)
    skipped: int = 0
    reason: str = ""

    def skip(self, position: int, reason: str) -> None:
        """Count a line that cannot be read, and remember the first and why."""
        self.reason = self.reason or f"line {position}: the line is corrupt ({reason})"
        self.skipped += 1

    @contextmanager
    def skipping(self, position: int) -> Iterator[None]:
        """Do without what is malformed."""
        try:
            yield
        except schema.MalformedError as error:
            self.skip(position, str(error))

    @property
    def goes_on(self) -> bool:
        """Whether it is the same training as the stretch before: one that begins at step 0 is a new one."""
        first = self.header.first_step
        if first is None:
            first = self.records[0].step if self.records else 1
        return first > 0


class _Reader:
    """What has been read so far, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = quoted_path(path)
        self._file = path
        self._stretches: list[_Stretch] = []

    def take(self, position: int, line: bytes) -> None:
        """Understand one line, or remember why not."""
        try:
            text, mark, content = line.partition(MARK)
            entry = schema.parsed(text)
            kind = schema.text(schema.needed(entry, "kind"), "kind")
            if not self._stretches and kind != "header":
                raise schema.MalformedError(kind)  # noqa: TRY301 - the one place that knows what a bad first line means
            self._understand(position, kind, entry, content.removesuffix(b"\n") if mark else None)
        except schema.MalformedError as error:
            if not line.endswith(b"\n"):
                return
            if not self._stretches:
                self._refuse(position, "the file does not begin with a header; it is not a run of init_monitor", error)
            self._stretches[-1].skip(position, str(error))

    def finish(self, number: int | None, asked: str) -> StoredRun:
        """Return the run of this number, the last if none is given.

        Args:
            number: from 1.
            asked: what a person calls the file.
        """
        if not self._stretches:
            message = f"{self._path} is empty: the run wrote nothing yet; train for at least one step"
            raise StoreError(message)
        runs = _runs(self._stretches)
        chosen = len(runs) if number is None else number
        if not 1 <= chosen <= len(runs):
            several = f"{len(runs)} runs, number 1 to {len(runs)}" if len(runs) > 1 else "one run, number 1"
            message = f"there is no run {quoted(chosen)} in {self._path}: it holds {several}"
            raise StoreError(message)
        notices = []
        if len(runs) > 1 and number is None:
            first, before = f"{asked}@1", chosen - 1
            earlier = f"{first} names the other" if before == 1 else f"{first} to {asked}@{before} name the others"
            notices.append(f"{self._path} holds {chosen} runs; this is the last, and {earlier}.")
        skipped = sum(one.skipped for one in runs[chosen - 1])
        if skipped:
            reason, more = next(one.reason for one in runs[chosen - 1] if one.reason), skipped - 1
            left = f"it and {more:,} more line{'s' * (more > 1)} were left out" if more else "it was left out"
            notices.append(f"{self._path}, {reason}; {left}.")
        run = _joined(self._file, runs[chosen - 1])
        return replace(run, number=chosen, count=len(runs), skipped=skipped, notices=tuple(notices))

    def _understand(self, position: int, kind: str, entry: dict[str, Any], content: bytes | None) -> None:
        if kind == "header":
            self._begin(position, entry)
            return
        stretch = self._stretches[-1]
        if kind == "structure":
            stretch.structure = structure_from(entry)
        elif kind == "names":
            stretch.names[schema.whole(schema.needed(entry, "id"), "id")] = names_from(entry)
        elif kind == "step":
            names = stretch.names.get(schema.whole(schema.needed(entry, "names"), "names"))
            if names is None:
                message = f"the step refers to names {entry['names']}, which are not in the file"
                raise schema.MalformedError(message)
            stretch.records.append(step_from(entry, names, content))
        elif kind == "losses":
            stretch.last_losses = losses_from(entry)
        elif kind == "finding":
            stretch.findings.append(finding_from(entry))

    def _begin(self, position: int, entry: dict[str, Any]) -> None:
        """Begin a stretch with its header."""
        version = schema.needed(entry, "schema")
        if type(version) is not int or not SCHEMA_VERSION <= version <= PACKED_VERSION:
            newer = isinstance(version, int) and version > PACKED_VERSION
            advice = "upgrade init_monitor" if newer else "read it with the version that wrote it"
            expected = f"{SCHEMA_VERSION} or {PACKED_VERSION}"
            reason = f"the run has schema version {quoted(version)}, expected {expected}; {advice}"
            if not self._stretches:
                self._refuse(position, reason)
            raise schema.MalformedError(reason)
        fields: dict[str, Any] = {name: default for name, (_, default) in _HEADER_FIELDS.items()}
        stretch = _Stretch(Header(version, **fields))
        for name, (read, _) in _HEADER_FIELDS.items():
            # The run can be shown without them.
            with stretch.skipping(position):
                fields[name] = read(entry[name], name) if name in entry else fields[name]
        stretch.header = Header(version, **fields)
        self._stretches.append(stretch)

    def _refuse(self, position: int, reason: str, cause: Exception | None = None) -> NoReturn:
        message = f"{self._path}, line {position}: {reason}"
        raise StoreError(message) from cause


def _settings(value: object, where: str) -> dict[str, Any]:
    settings: dict[str, Any] = schema.plain(schema.mapping(value, where), where)
    return settings


def _versions(value: object, where: str) -> dict[str, str]:
    return {name: schema.text(one, f"{where} of {quoted(name)}") for name, one in schema.mapping(value, where).items()}


_HEADER_FIELDS: dict[str, tuple[Callable[[object, str], object], object]] = {
    "settings": (_settings, {}),
    "versions": (_versions, {}),
    "created": (schema.seconds, 0.0),
    "first_step": (schema.whole, None),
}
"""How each field is read, and what stands for one that is not there."""


def _runs(stretches: Sequence[_Stretch]) -> list[list[_Stretch]]:
    """Put stretches of one training together."""
    runs: list[list[_Stretch]] = []
    for stretch in stretches:
        if runs and stretch.goes_on:
            runs[-1].append(stretch)
        else:
            runs.append([stretch])
    return runs


def _joined(path: Path, stretches: Sequence[_Stretch]) -> StoredRun:
    structures = [one.structure for one in stretches if one.structure is not None]
    by_step = {record.step: record for one in stretches for record in one.records}
    findings = {json.dumps(finding_json(found), sort_keys=True): found for one in stretches for found in one.findings}
    losses = LossCurve()
    for one in stretches:
        for record in one.records:
            losses.add(record.losses)
        losses.add(one.last_losses)
    return StoredRun(
        path,
        tuple(one.header for one in stretches),
        structures[-1] if structures else Structure(),
        [by_step[step] for step in sorted(by_step)],
        settled(findings.values()),
        losses=losses,
    )
