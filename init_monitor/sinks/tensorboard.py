"""TensorBoard: one event per sampled step, through the logger's own writer.

The writer computes checksums in pure Python, so bytes are the budget: a quantity is one float32 vector over all layers,
not a scalar per layer. The same event carries a few summary scalars, so that the Time Series tab is useful without any
plugin; each finding is also an entry of the Text tab, and pictures of depth × step to the Images tab when the run ends.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG

from init_monitor.display.heatmap import heatmap
from init_monitor.display.history_buffer import Trace
from init_monitor.errors import InitMonitorWarning
from init_monitor.records import Of, settled
from init_monitor.records.facts_json import facts_json
from init_monitor.records.quoting import printable
from init_monitor.records.registry import is_registered, quantities, vectors
from init_monitor.records.tags import FINDINGS_TAG, LAYOUT_TAG, LOSS_SCALAR_TAG, LOSSES_TAG, PLUGIN_NAME, vector_tag
from init_monitor.sinks import events
from init_monitor.sinks.custom_scalars import custom_scalars_layout
from init_monitor.sinks.file_writer import writer_source
from init_monitor.sinks.finding_texts import FindingTexts
from init_monitor.sinks.headlines import headlines
from init_monitor.sinks.summary import summary_scalars
from init_monitor.store import finding_json, losses_json, structure_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure
    from init_monitor.sinks.file_writer import FileWriter
    from init_monitor.sinks.sink import Run

HEATMAP_TAG = f"{PLUGIN_NAME}_heatmap"
PER_LAYER_TAG = f"{PLUGIN_NAME}_layers"

_NOTHING = (-1, 0.0)
"""Step and time before the first record."""


class TensorBoardSink:
    """Writes to every logger that has an event file; without one it does nothing.

    Args:
        per_layer_scalars: also write a scalar per layer (parameter, residual) and quantity. It costs two orders of magnitude more time per
            step than the vectors, and slows TensorBoard down.
        custom_scalars: also write a dashboard of the summary scalars for the Custom Scalars tab. TensorBoard knows only one
            for all runs: leave it out if you have your own. It shows all summary scalars, so all are written.
        all_scalars: write every summary scalar, about 25 in each step, instead of the few that say most
            (:mod:`init_monitor.sinks.headlines`).
    """

    def __init__(
        self, *, per_layer_scalars: bool = False, custom_scalars: bool = False, all_scalars: bool = False
    ) -> None:
        self.per_layer_scalars = per_layer_scalars
        self.custom_scalars = custom_scalars
        self.all_scalars = all_scalars
        self._begin(())

    def open(self, run: Run) -> None:
        """Find the writers."""
        found = [(type(logger).__name__, writer_source(logger)) for logger in run.loggers]
        self._begin(tuple((name, source) for name, source in found if source is not None))
        self._findings += run.findings

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        """Write one event."""
        if not self._targets:
            return
        self._findings += findings
        values = [
            *self._layout(record, structure),
            *self._found(changed=bool(findings)),
            *self._vectors(record),
            *self._losses(record.losses),
            *(events.scalar(tag, value) for tag, value in self._summary(record, structure).items()),
            *(self._layers(record) if self.per_layer_scalars else ()),
            *([custom_scalars_layout()] if self.custom_scalars and self._first(CONFIG_SUMMARY_TAG) else ()),
        ]
        self._write(Summary(value=values), record.step, record.time)
        self._last = record.step, record.time
        for quantity, trace in self._traces.items():
            table = record.table(quantity.facts.of)
            with np.errstate(divide="ignore", invalid="ignore"):
                trace.add(record.step, table.names, np.log10(table.column(quantity)))

    def conclude(self, losses: LossStretch, findings: tuple[Finding, ...]) -> None:
        """Write the losses of the last steps and what was found by them."""
        if not self._targets or self._last == _NOTHING:
            return
        self._findings += findings
        step, now = self._last
        values = [*self._found(changed=bool(findings)), *self._losses(losses)]
        self._write(Summary(value=values), max(step, *losses.steps.tolist(), *(f.step for f in findings)), now)

    def close(self) -> None:
        """Write the pictures and flush everything to disk."""
        if self._targets and self._last != _NOTHING:
            pictures = list(self._pictures())
            if pictures:
                self._write(Summary(value=pictures), *self._last)
            self._each(lambda writer: writer.flush())
        self._begin(())

    def _begin(self, targets: tuple[tuple[str, Callable[[], FileWriter | None]], ...]) -> None:
        self._targets = targets
        self._tags: set[str] = set()
        self._known: tuple[object, ...] | None = None
        self._written: dict[str, object] | None = None
        self._findings: list[Finding] = []
        self._texts = FindingTexts()
        self._last = _NOTHING
        self._traces = {quantity: Trace() for quantity in quantities() if quantity.facts.picture}

    def _write(self, summary: Summary, step: int, time: float) -> None:
        self._each(lambda writer: writer.add_summary(summary, global_step=step, walltime=time))

    def _each(self, act: Callable[[FileWriter], None]) -> None:
        """Act on every writer; one that fails is dropped after one warning, the others go on."""
        working = []
        for name, source in self._targets:
            error = _attempt(source, act)
            if error is None:
                working.append((name, source))
                continue
            warnings.warn(
                f"the event file of {name} could not be written ({type(error).__name__}: {error}); "
                "init_monitor sends it nothing more, everything else continues",
                InitMonitorWarning,
                stacklevel=4,
            )
        self._targets = tuple(working)

    def _first(self, tag: str) -> bool:
        first = tag not in self._tags
        self._tags.add(tag)
        return first

    def _layout(self, record: StepRecord, structure: Structure) -> Iterator[Summary.Value]:
        known = (record.names, record.parameter_names, record.residual_names, record.head_names, structure)
        if known == self._known:
            return
        self._known = known
        content = {
            "names": list(record.names),
            "parameter_names": list(record.parameter_names),
            "residual_names": list(record.residual_names),
            **({"head_names": list(record.head_names)} if record.head_names else {}),
            **structure_json(structure),
        }
        # A scale that is NaN makes a structure differ from itself: what would be written decides.
        if content == self._written:
            return
        self._written = content
        yield events.document(LAYOUT_TAG, content, "layout", first=self._first(LAYOUT_TAG))

    def _found(self, *, changed: bool) -> Iterator[Summary.Value]:
        # An empty list is written at the first step: "nothing found" differs from "not examined".
        if changed or FINDINGS_TAG not in self._tags:
            content = {"findings": [finding_json(finding) for finding in settled(self._findings)]}
            yield events.document(FINDINGS_TAG, content, "findings", first=self._first(FINDINGS_TAG))
        for tag, markdown in self._texts.new(self._findings):
            yield events.text(tag, markdown, first=self._first(tag))

    def _summary(self, record: StepRecord, structure: Structure) -> dict[str, float]:
        return summary_scalars(record, structure, None if self.all_scalars or self.custom_scalars else headlines())

    def _vectors(self, record: StepRecord) -> Iterator[Summary.Value]:
        for quantity in vectors():
            column = record.table(quantity.facts.of).columns.get(quantity)
            tag = vector_tag(quantity)
            # A tag begins with the first number: a network without sigmoids has no saturation to choose from.
            if column is None or not column.size or (tag not in self._tags and np.isnan(column).all()):
                continue
            # What a reader that does not have the quantity registered needs to show it.
            facts = facts_json(quantity) if is_registered(quantity) else None
            yield events.vector(tag, column, quantity.facts.of.plural, first=self._first(tag), facts=facts)

    def _losses(self, losses: LossStretch) -> Iterator[Summary.Value]:
        if not len(losses):
            return
        yield events.document(LOSSES_TAG, losses_json(losses), "losses", first=self._first(LOSSES_TAG))
        last = float(losses.values[-1])
        if np.isfinite(last):
            yield events.scalar(LOSS_SCALAR_TAG, last)

    @staticmethod
    def _layers(record: StepRecord) -> Iterator[Summary.Value]:
        for of in Of:
            table = record.table(of)
            for quantity in vectors(of):
                for name, value in zip(table.names, table.column(quantity).tolist(), strict=True):
                    if not np.isnan(value):
                        yield events.scalar(f"{PER_LAYER_TAG}/{quantity}/{printable(name)}", value)

    def _pictures(self) -> Iterator[Summary.Value]:
        for quantity, trace in self._traces.items():
            steps, names, matrix = trace.matrix()
            if matrix.size and not np.isnan(matrix).all():
                png = heatmap(matrix, steps=steps, names=names, title=quantity.facts.picture)
                yield events.image(f"{HEATMAP_TAG}/{quantity}", png)


def _attempt(source: Callable[[], FileWriter | None], act: Callable[[FileWriter], None]) -> Exception | None:
    try:
        writer = source()
        if writer is not None:
            act(writer)
    except Exception as error:  # noqa: BLE001 - a logger is foreign code, the training must not pay for it
        return error
    return None
