"""What the sink wrote, read back through TensorBoard's data provider, whichever loader it uses.

Steps may come twice, layers may come and go, another program may use our plugin name: what fits is shown, what does not
is left out and said in a sentence.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from tensorboard import errors
from tensorboard.data import provider as providers

from init_monitor.analysis.pace import weights_among
from init_monitor.page.loss_line import SPARK_POINTS, loss_line
from init_monitor.page.run_verdict import run_verdict
from init_monitor.page.series import Series, assembled, merged_names
from init_monitor.page.shown_finding import shown_finding
from init_monitor.records.quantities import Quantity
from init_monitor.records.quoting import clipped, printable, quoted
from init_monitor.records.registry import vectors
from init_monitor.records.tags import (
    FINDINGS_TAG,
    LAYOUT_TAG,
    LOSSES_TAG,
    PLUGIN_NAME,
    SCHEMA_VERSION,
    WIDTHS_TAG,
    vector_tag,
)
from init_monitor.store import schema
from init_monitor.tensorboard_plugin.parts import (
    NAME_FIELDS,
    described_parts,
    document_of,
    findings_in,
    losses_in,
    names_in,
    stored_structure,
    unknown_quantities,
    vector_of,
)
from init_monitor.tensorboard_plugin.width_checks import width_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Structure

ALL_POINTS = 1_000_000
"""How many tensors of a tag are asked for: more than the loaders keep."""

REMEMBERED_BYTES = 256 * 2**20
"""Matrices that are kept between requests: three runs of 500 layers and 1,000 steps have 22 of 2 MB each."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which experiment is requested, and for whom."""

    context: Any
    experiment: str


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run has come.

    Attributes:
        step: of the newest vector.
        time: when it was written, seconds since the epoch.
        tags: newest step and time of each tag.
        quantities: what was measured: those that are known here, then those that only the run knows.
    """

    step: int
    time: float
    tags: dict[str, tuple[int, float]]
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """The training loss of a run as far as it was written, as the pictures draw it, with what was odd about it."""

    newest: tuple[int, float]
    whole: dict[str, Any] | None
    spark: dict[str, Any] | None
    odd: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Document:
    time: float
    content: dict[str, Any]


class EventReader:
    """Reads runs.

    Args:
        provider: TensorBoard's data provider.
    """

    def __init__(self, provider: Any) -> None:  # noqa: ANN401 - TensorBoard has no types
        self._provider = provider
        self._remembered: OrderedDict[tuple[str, str, str], tuple[tuple[int, float], Series]] = OrderedDict()
        self._odd: dict[tuple[str, str], dict[str, None]] = {}
        """What was odd about the vectors of a run, as far as they were asked for: sentences, in order."""
        self._lines: dict[tuple[str, str], _Line] = {}
        """The loss of each run that was asked for; a long run has thousands of documents."""
        self._verdicts: dict[tuple[str, str], tuple[tuple[int, float], dict[str, Any]]] = {}
        self._lock = Lock()

    def runs(self, source: Source) -> dict[str, RunState]:
        """Return every run that has something of ours, by name: version_2 before version_10."""
        listed = self._provider.list_tensors(source.context, experiment_id=source.experiment, plugin_name=PLUGIN_NAME)
        found = {}
        for run, series in listed.items():
            tags = {
                tag: (int(one.max_step), _finite(one.max_wall_time)) for tag, one in series.items() if tag != WIDTHS_TAG
            }
            if tags:
                quantities = (
                    *(quantity for quantity in vectors() if vector_tag(quantity) in tags),
                    *unknown_quantities({tag: one.plugin_content for tag, one in series.items()}),
                )
                newest = [tags[vector_tag(quantity)] for quantity in quantities] or list(tags.values())
                found[run] = RunState(max(s for s, _ in newest), max(t for _, t in newest), tags, quantities)
        return dict(sorted(found.items(), key=lambda item: _natural(item[0])))

    def width_checks(self, source: Source) -> list[dict[str, Any]]:
        """Return the folders that hold a coordinate check, and when it was written."""
        listed = self._provider.list_tensors(source.context, experiment_id=source.experiment, plugin_name=PLUGIN_NAME)
        found = {run: _finite(tags[WIDTHS_TAG].max_wall_time) for run, tags in listed.items() if WIDTHS_TAG in tags}
        return [{"name": run, "time": found[run]} for run in sorted(found, key=_natural)]

    def width_check(self, source: Source, run: str) -> dict[str, Any] | None:
        """Return the newest coordinate check of a folder as JSON values, ``None`` if it has none.

        Raises:
            MalformedError: it was not written by :meth:`init_monitor.CoordinateCheck.save`.
        """
        notices: list[str] = []
        found = self._documents(source, run, WIDTHS_TAG, notices)
        if notices and not found:
            raise schema.MalformedError(notices[0])
        return width_check(found[-1].content) if found else None

    def outline(self, source: Source, run: str, state: RunState) -> dict[str, Any]:
        """Return a run's structure and findings as JSON values, with sentences about what is odd."""
        notices: list[str] = []
        layouts = self._documents(source, run, LAYOUT_TAG, notices)
        found = self._documents(source, run, FINDINGS_TAG, notices)
        names = {field: merged_names(names_in(one.content, field) for one in layouts) for field in _FIELDS}
        by_name, residuals = described_parts([one.content for one in layouts], notices)
        layers = [by_name[name] for name in names["names"] if name in by_name]
        findings = findings_in(found[-1].content, notices) if found else []
        line = self._line(source, run, state)
        notices += line.odd
        with self._lock:
            notices += self._odd.get((source.experiment, run), ())
        if not layouts:
            notices.append(
                "The run does not say which layers its numbers belong to: the start of its event file is missing, "
                "so layers are shown by number."
            )
        if not state.quantities:
            notices.append("No numbers have been written yet: they appear after the first sampled step.")
        elif Quantity.GRADIENT_VARIANCE not in state.quantities:
            notices.append("No gradient was measured yet: only the forward pass is shown.")
        return {
            "v": SCHEMA_VERSION,
            "run": run,
            "step": state.step,
            "time": state.time,
            **{field: list(names[field]) for field in _FIELDS},
            "layers": layers,
            "residuals": [residuals[name] for name in names["residual_names"] if name in residuals],
            "findings": [shown_finding(finding) for finding in findings],
            "weights": sorted({name for layer in layers for name in _weights(layer)}),
            "looked": bool(found),
            "losses": line.whole,
            "quantities": [str(quantity) for quantity in state.quantities],
            "notices": list(dict.fromkeys(notices)),
        }

    def structure(self, source: Source, run: str) -> Structure:
        """Return the network of a run, as far as its file describes it."""
        contents = [one.content for one in self._documents(source, run, LAYOUT_TAG, [])]
        return stored_structure(contents)

    def verdict(self, source: Source, run: str, state: RunState) -> dict[str, Any]:
        """Return what the list of runs says of a run."""
        newest = state.tags.get(FINDINGS_TAG)
        if newest is None:
            return run_verdict((), looked=False)
        key = (source.experiment, run)
        with self._lock:
            known = self._verdicts.get(key)
        if known is None or known[0] != newest:
            found = self._documents(source, run, FINDINGS_TAG, [])
            known = newest, run_verdict(findings_in(found[-1].content, []) if found else (), looked=bool(found))
            with self._lock:
                self._verdicts[key] = known
        return known[1]

    def spark(self, source: Source, run: str, state: RunState) -> dict[str, Any] | None:
        """Return the training loss of a run as a small curve, ``None`` if no loss is known."""
        return self._line(source, run, state).spark

    def finding_steps(self, source: Source, run: str) -> set[int]:
        """Return the steps at which something was found."""
        found = self._documents(source, run, FINDINGS_TAG, [])
        return {finding.step for finding in findings_in(found[-1].content, [])} if found else set()

    def series(self, source: Source, run: str, quantity: Quantity, state: RunState) -> Series:
        """Return one quantity of a run, every sampled step of it."""
        tag = vector_tag(quantity)
        newest = state.tags.get(tag)
        if newest is None:
            return assembled(())
        # The layout may be newer than the last vector of this tag, but then it does not name its numbers.
        key = (source.experiment, run, tag)
        with self._lock:
            known = self._remembered.get(key)
            if known is not None and known[0] == newest:
                self._remembered.move_to_end(key)
                return known[1]
        series = assembled(self._vectors(source, run, quantity))
        with self._lock:
            self._remembered[key] = (newest, series)
            self._remembered.move_to_end(key)
            while sum(one.values.nbytes for _, one in self._remembered.values()) > REMEMBERED_BYTES:
                self._remembered.popitem(last=False)
        return series

    def _read(self, source: Source, run: str, tag: str, notices: list[str]) -> list[Any]:
        try:
            read = self._provider.read_tensors(
                source.context,
                experiment_id=source.experiment,
                plugin_name=PLUGIN_NAME,
                downsample=ALL_POINTS,
                run_tag_filter=providers.RunTagFilter(runs=[run], tags=[tag]),
            )
        except errors.PublicError:  # the run is gone, or may not be read: TensorBoard answers that itself
            raise
        except Exception as error:  # noqa: BLE001 - a loader makes arrays of whatever a file holds
            notices.append(f"{tag} cannot be read ({type(error).__name__}: {_short(error)}); it is left out.")
            return []
        return list(read.get(run, {}).get(tag, ()))

    def _line(self, source: Source, run: str, state: RunState) -> _Line:
        """Return the training loss of a run."""
        newest = state.tags.get(LOSSES_TAG)
        if newest is None:
            return _Line((-1, 0.0), None, None, ())
        key = (source.experiment, run)
        with self._lock:
            known = self._lines.get(key)
        if known is None or known.newest != newest:
            notices: list[str] = []
            contents = [one.content for one in self._documents(source, run, LOSSES_TAG, notices)]
            curve = losses_in(contents, notices)
            known = _Line(newest, loss_line(curve), loss_line(curve, SPARK_POINTS), tuple(notices))
            with self._lock:
                self._lines[key] = known
        return known

    def _documents(self, source: Source, run: str, tag: str, notices: list[str]) -> list[_Document]:
        """Return JSON objects in the order they were written."""
        documents = []
        for datum in self._read(source, run, tag, notices):
            try:
                content = document_of(datum.numpy)
            except schema.MalformedError as error:
                notices.append(f"A value of {tag} was not written by init_monitor ({_short(error)}); it is left out.")
                continue
            version = content.get("v")
            if version != SCHEMA_VERSION:
                notices.append(
                    f"Part of the run has format {quoted(version)}, this tab reads {SCHEMA_VERSION}: "
                    "install the version of init-monitor that wrote it."
                )
                continue
            documents.append(_Document(_finite(datum.wall_time), content))
        return sorted(documents, key=lambda one: one.time)

    def _vectors(self, source: Source, run: str, quantity: Quantity) -> Iterator[tuple[int, tuple[str, ...], Any]]:
        odd: list[str] = []
        tag, left_out = vector_tag(quantity), 0
        layouts = self._documents(source, run, LAYOUT_TAG, [])
        times = [one.time for one in layouts]
        lists = [names_in(one.content, NAME_FIELDS[quantity.facts.of]) for one in layouts]
        for datum in self._read(source, run, tag, odd):
            vector = vector_of(datum.numpy)
            if vector is None:
                left_out += 1
                continue
            # The layout lies in the same event as the first vector it names, or in an earlier one; in a resumed run
            # steps come again with other layers, time does not.
            newest = bisect_right(times, _finite(datum.wall_time)) - 1
            fitting = [i for i in range(newest, -1, -1) if len(lists[i]) == len(vector)]
            fitting += [i for i in range(newest + 1, len(lists)) if len(lists[i]) == len(vector)]
            names = lists[fitting[0]] if fitting else tuple(f"[{i}]" for i in range(len(vector)))
            yield int(datum.step), names, vector
        if left_out:
            odd.append(f"Of {tag} {left_out} values are not vectors of numbers; they are left out.")
        with self._lock:
            known = self._odd.setdefault((source.experiment, run), {})
            known.update(dict.fromkeys(odd))


def _weights(layer: dict[str, Any]) -> Iterator[str]:
    parameters = layer.get("parameters")
    return weights_among(
        str(layer.get("role")),
        str(layer.get("kind")),
        str(layer.get("weight") or ""),
        map(str, parameters) if isinstance(parameters, list) else (),
    )


def _natural(name: str) -> list[tuple[str, int]]:
    """Return a sort key that orders numbers in names by value: each piece of text with the number after it."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name)]


_FIELDS = tuple(NAME_FIELDS.values())


def _short(error: Exception) -> str:
    return clipped(printable(str(error)))


def _finite(time: float) -> float:
    """Return when something was written; JSON has no form for a time that is NaN or infinite."""
    return float(time) if math.isfinite(time) else 0.0
