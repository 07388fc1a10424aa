"""The backend: TensorBoard asks here for the page and for the numbers it shows."""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from init_monitor.page.bundle import EXPLORER, STATIC
from init_monitor.page.payload import encoded
from init_monitor.page.series import Series, thinned
from init_monitor.page.stored_plan import stored_plan
from init_monitor.records.facts_json import facts_json
from init_monitor.records.quoting import printable, quoted
from init_monitor.records.registry import vectors
from init_monitor.records.tags import PLUGIN_NAME, SCHEMA_VERSION
from init_monitor.store.schema import MalformedError
from init_monitor.tensorboard_plugin.reading import EventReader, RunState, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.wrappers import Request, Response

    from init_monitor.records.quantities import Quantity

    App = Callable[..., Any]

MOST_COLUMNS = 2_000
"""Sampled steps that are sent at most: about what a screen has pixels for."""

_log = logging.getLogger("tensorboard")

_TYPES = {".js": "text/javascript", ".css": "text/css"}


class _RequestError(Exception):
    """What was asked for does not exist; the text is shown to the person."""


class InitMonitorPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """Serves the tab.

    Args:
        context: what TensorBoard gives every plugin; its data provider is used.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, context: Any) -> None:  # noqa: ANN401 - TensorBoard has no types
        super().__init__(context)
        self._reader = None if context.data_provider is None else EventReader(context.data_provider)

    def is_active(self) -> bool:
        """Return False: TensorBoard itself checks whether a run has data under this plugin's name."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Name the tab and its module."""
        return base_plugin.FrontendMetadata(es_module_path="/static/index.js", tab_name="Init Monitor")

    def get_plugin_apps(self) -> dict[str, App]:
        """Return the function that answers each address."""
        return {
            "/static/*": self._static,
            "/explorer/*": self._static,
            "/runs": _answering(self._runs),
            "/run": _answering(self._run),
            "/recipes": _answering(self._recipes),
            "/widths": _answering(self._widths),
            "/losses": _answering(self._losses),
            "/series": _answering(self._series),
            "/layer": _answering(self._layer),
        }

    @wrappers.Request.application  # type: ignore[arg-type]
    def _static(self, request: Request) -> Response:
        place, name = request.path.split("/")[-2:]
        folder = EXPLORER if place == "explorer" else STATIC
        file = next((one for one in folder.iterdir() if one.name == name and one.suffix in _TYPES), None)
        if file is None:
            return _respond(request, "not found", "text/plain", 404)
        return _respond(request, file.read_bytes(), _TYPES[file.suffix])

    def _runs(self, source: Source, request: Request) -> dict[str, Any]:  # noqa: ARG002 - all answers have one form
        """Answer with every run, what was measured of it, and the verdict on it."""
        runs = self._events.runs(source)
        shown = {quantity.value: quantity for quantity in vectors()}
        for state in runs.values():
            shown |= {quantity.value: quantity for quantity in state.quantities if quantity.value not in shown}
        return {
            "v": SCHEMA_VERSION,
            "quantities": [facts_json(quantity) for quantity in shown.values()],
            "widths": self._events.width_checks(source),
            "runs": [
                {
                    "name": name,
                    "step": state.step,
                    "time": state.time,
                    "written": max(step for step, _ in state.tags.values()),
                    "quantities": [str(quantity) for quantity in state.quantities],
                    "verdict": self._events.verdict(source, name, state),
                }
                for name, state in runs.items()
            ],
        }

    def _run(self, source: Source, request: Request) -> dict[str, Any]:
        run, state = self._asked(source, request)
        return self._events.outline(source, run, state)

    def _recipes(self, source: Source, request: Request) -> dict[str, Any]:
        """Answer with what a recipe is for each layer of a run."""
        run, _ = self._asked(source, request)
        return stored_plan(self._events.structure(source, run))

    def _widths(self, source: Source, request: Request) -> dict[str, Any]:
        """Answer with the newest coordinate check of a folder."""
        asked = request.args.get("run", "")
        try:
            found = self._events.width_check(source, asked)
        except MalformedError as error:
            message = (
                f"The coordinate check of {quoted(asked)} is not as init_monitor writes it ({quoted(str(error))})."
            )
            raise _RequestError(message) from error
        if found is None:
            message = f"There is no coordinate check in {quoted(asked)}; it may have been removed."
            raise _RequestError(message)
        return found

    def _losses(self, source: Source, request: Request) -> dict[str, Any]:
        """Answer with the training loss of the named runs, each thinned to a small curve; of all runs if none is named."""
        runs = self._events.runs(source)
        asked = request.args.getlist("run") or list(runs)
        return {run: self._events.spark(source, run, runs[run]) for run in asked if run in runs}

    def _series(self, source: Source, request: Request) -> bytes:
        run, state = self._asked(source, request)
        quantity = _quantity(request, state)
        series = self._events.series(source, run, quantity, state)
        shown = thinned(
            series, _columns(request), self._events.finding_steps(source, run), worst=quantity.facts.keeps_largest
        )
        return encoded(shown, run=run, quantity=str(quantity))

    def _layer(self, source: Source, request: Request) -> bytes:
        """Answer with every quantity of one layer, of its parameters and of the residual additions around it."""
        run, state = self._asked(source, request)
        wanted = set(request.args.getlist("name"))
        rows = [
            (quantity, name, series, i)
            for quantity in state.quantities
            for series in (self._events.series(source, run, quantity, state),)
            for i, name in enumerate(series.names)
            if name in wanted
        ]
        steps = np.unique(np.concatenate([series.steps for _, _, series, _ in rows] or [np.array([], np.int64)]))
        values = np.full((len(rows), len(steps)), np.nan, dtype=np.float32)
        for row, (_, _, series, i) in enumerate(rows):
            values[row, np.searchsorted(steps, series.steps)] = series.values[i]
        whole = Series(tuple(name for _, name, _, _ in rows), steps, values, len(steps))
        shown = thinned(whole, _columns(request), self._events.finding_steps(source, run))
        return encoded(shown, run=run, quantities=[str(quantity) for quantity, *_ in rows])

    @property
    def _events(self) -> EventReader:
        if self._reader is None:
            message = "TensorBoard was started without a data provider: leave out --generic_data=false."
            raise _RequestError(message)
        return self._reader

    def _asked(self, source: Source, request: Request) -> tuple[str, RunState]:
        run = request.args.get("run", "")
        state = self._events.runs(source).get(run)
        if state is None:
            message = f"There is no run {quoted(run)} that init_monitor watched; it may have been removed."
            raise _RequestError(message)
        return run, state


def _quantity(request: Request, state: RunState) -> Quantity:
    asked = request.args.get("quantity", "")
    known = {quantity.value: quantity for quantity in (*vectors(), *state.quantities)}
    if asked in known:
        return known[asked]
    message = f"There is no quantity {quoted(asked)}; expected one of {', '.join(known)}."
    raise _RequestError(message)


def _columns(request: Request) -> int:
    asked = request.args.get("columns", type=int, default=MOST_COLUMNS)
    return min(max(asked, 1), MOST_COLUMNS)


def _answering(answer: Callable[[Source, Request], dict[str, Any] | bytes]) -> App:
    @wrappers.Request.application
    def app(request: Request) -> Response:
        source = Source(plugin_util.context(request.environ), plugin_util.experiment_id(request.environ))
        try:
            content = answer(source, request)
        except _RequestError as error:
            return _respond(request, json.dumps({"error": str(error)}), "application/json", 404)
        except errors.PublicError:  # TensorBoard's own: it answers these itself
            raise
        except Exception as error:  # noqa: BLE001 - what one run makes of us must not take the application with it
            # Not as exc_info: text from the file would reach the terminal unescaped.
            trace = printable(traceback.format_exc(), lines=True)
            _log.warning("init_monitor cannot answer %s (%s)\n%s", request.path, quoted(str(error)), trace)
            message = (
                f"This cannot be shown ({type(error).__name__}: {quoted(str(error))}); TensorBoard's log says more."
            )
            return _respond(request, json.dumps({"error": message}), "application/json", 500)
        if isinstance(content, bytes):
            return _respond(request, content, "application/octet-stream")
        return _respond(request, json.dumps(content, allow_nan=False), "application/json")

    return app


def _respond(request: Request, content: str | bytes, content_type: str, code: int = 200) -> Response:
    response: Response = http_util.Respond(request, content, content_type, code=code)
    return response
