"""Records on disk: one JSON line per step, readable without torch, while the run still writes and after it was cut.

``<log_dir>/init_monitor/run.jsonl`` holds five kinds of lines, and names apart from numbers because names rarely change:

* ``header``: schema version, the monitor's settings, package versions, time of creation, first step. Every start of a
  training writes one. A resumed training appends to the file; one that begins at step 0 behind another is a run of its
  own, because some loggers give all runs one directory.
* ``structure``: the whole :class:`~init_monitor.records.Structure`, written when it changes.
* ``names``: names of layers, parameters and residual additions, written when they change; ``step`` lines refer to them
  by number.
* ``step``: one :class:`~init_monitor.records.StepRecord`: a list of numbers per quantity.
* ``finding``: one :class:`~init_monitor.records.Finding`.
* ``losses``: the training losses of the optimizer steps after the last sampled one; those before are in the steps.

A stored training has the columns of a step behind its JSON, packed (schema 2, :mod:`init_monitor.store.packed`); they may
be lists in it as well (schema 1). All else in a line is strict JSON in ASCII. Whole numbers below 2^53 are exact; other numbers have 9 significant digits, which
is enough to give back the same float32 (the time stamp is exact). NaN and ±Inf are the strings ``"NaN"``,
``"Infinity"`` and ``"-Infinity"``. A column that is NaN throughout is left out: both mean *not measured*. A reader
ignores kinds, fields and quantities that it does not know, and does without fields that an older version did not write,
so that adding one needs no new schema version. A line that does not hold what it should is left out, and counted:
:mod:`init_monitor.store.schema` says what it should hold.
"""

from __future__ import annotations

from init_monitor.store.lines import finding_json, json_value, losses_from, losses_json, structure_json
from init_monitor.store.places import RUN_FILE, fresh_folder, run_file
from init_monitor.store.reader import Header, StoredRun, read_run
from init_monitor.store.writer import RunWriter

__all__ = [
    "RUN_FILE",
    "Header",
    "RunWriter",
    "StoredRun",
    "finding_json",
    "fresh_folder",
    "json_value",
    "losses_from",
    "losses_json",
    "read_run",
    "run_file",
    "structure_json",
]
