"""What a run showed, for a person: printed, in a notebook, as Markdown, HTML, JSON or a DataFrame."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from init_monitor.randomness import kept_randomness, rendered
from init_monitor.records import LossCurve, Of, Severity, Structure
from init_monitor.records.tags import SCHEMA_VERSION
from init_monitor.store.lines import finding_json, json_value, losses_json, structure_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from init_monitor.analysis.length_scales import LengthScales
    from init_monitor.display.step_tables import TextTable
    from init_monitor.records import Finding, StepRecord
    from init_monitor.records.aim import Confirmation


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """A run so far: the records that are still in the window, every finding, and the network.

    Attributes:
        records: sampled steps, oldest first.
        findings: oldest first.
        structure: the network at the last sampled step.
        settings: the monitor's options.
        versions: of the packages that the run used, if they are known.
        losses: the training loss of every optimizer step, where known.
        scales: how deep the signal reaches, where :func:`init_monitor.check` measured it.
    """

    records: tuple[StepRecord, ...] = ()
    findings: tuple[Finding, ...] = ()
    structure: Structure = field(default_factory=Structure)
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    losses: LossCurve = field(default_factory=LossCurve)
    scales: LengthScales | None = None

    @classmethod
    def of(  # noqa: PLR0913 - what a run consists of
        cls,
        records: Sequence[StepRecord],
        findings: Sequence[Finding],
        structure: Structure,
        settings: Mapping[str, object],
        *,
        versions: Mapping[str, str] = MappingProxyType({}),
        losses: LossCurve | None = None,
        scales: LengthScales | None = None,
    ) -> Report:
        """Make a report of what a monitor holds."""
        curve = LossCurve() if losses is None else losses
        return cls(tuple(records), tuple(findings), structure, dict(settings), dict(versions), curve, scales)

    def __repr__(self) -> str:
        """Say what to think of the run, in a line."""
        return f"<Report: {self.verdict}>"

    @property
    def verdict(self) -> str:
        """One sentence: what to think of this network."""
        if not self.records:
            return "Nothing was measured yet."
        counts = {severity: sum(f.severity is severity for f in self.findings) for severity in Severity}
        named = [f"{counts[s]} {s}" for s in (Severity.CRITICAL, Severity.WARNING, Severity.INFO) if counts[s]]
        steps = f"{len(self.records)} sampled step{'s' if len(self.records) != 1 else ''}"
        if not named and self.losses.nonfinite_from is not None:
            return f"No finding in {steps}, but the loss is not finite from step {self.losses.nonfinite_from} on."
        from init_monitor.display.verdict import verdict_of  # noqa: PLC0415 - words for a person

        verdict = verdict_of(self.losses, self.structure, self.records)
        if not named:
            lead = "Healthy: no finding" if verdict.healthy else "No finding"
            return f"{lead} in {steps} of {len(self.records[-1].names)} layers; {verdict.words}."
        return f"{' and '.join(named)} finding{'s' if len(self.findings) != 1 else ''} in {steps}{verdict.beside_findings}."

    def confirm(self, finding: Finding) -> Confirmation | None:
        """Return whether this network shows what the remedy of a finding about it, as it was before, aims at.

        >>> import torch, init_monitor
        >>> model, batch = torch.nn.Sequential(*(torch.nn.Linear(32, 32) for _ in range(12))), torch.randn(64, 32)
        >>> for layer in model:
        ...     _ = torch.nn.init.normal_(layer.weight)
        >>> (finding,) = [one for one in init_monitor.check(model, batch).findings if one.code == "IM101"]
        >>> exec(finding.remedy_code)
        >>> init_monitor.check(model, batch).confirm(finding).holds
        True

        Args:
            finding: of a report that was made before its code was run.

        Returns:
            The number, and whether it is as expected; ``None`` if the remedy names none, or nothing was measured.
        """
        if finding.aim is None or not self.records:
            return None
        from init_monitor.analysis.aims import confirmed  # noqa: PLC0415 - a report that is only shown needs no analysis

        return confirmed(finding.aim, self.records[0], self.structure)

    @kept_randomness()
    def to_markdown(self) -> str:
        """Return the findings and the last step's signal propagation as Markdown."""
        from init_monitor.display.markdown import escaped, finding_markdown, markdown_table  # noqa: PLC0415 - printing only
        from init_monitor.page.loss_line import loss_words  # noqa: PLC0415

        loss = loss_words(self.losses)
        lines = ["# Signal propagation", "", self.verdict, "", *([escaped(loss), ""] if loss else [])]
        for finding in self.findings:
            lines += [finding_markdown(finding, level=2), ""]
        for i, table in enumerate(self._tables()):
            lines += [*[""][:i], f"## {table.title}", "", *markdown_table(table)]
            lines += ["", escaped(table.caption)] if table.caption else []
        return "\n".join(lines) + "\n"

    @kept_randomness()
    def to_html(self, path: str | Path | None = None, *, name: str = "this run") -> str:
        """Return one self-contained HTML page (nothing is loaded from anywhere), and write it to ``path`` if given.

        It holds the findings, the same pictures as the tab in TensorBoard, the layers at the last step, the network, and
        the settings of the monitor.

        Args:
            path: of the file.
            name: what the pictures call the run.
        """
        from init_monitor.page.document import ShownRun  # noqa: PLC0415 - printing only
        from init_monitor.page.report_page import report_page  # noqa: PLC0415

        run = ShownRun(name, self.records, self.findings, self.structure, self.losses)
        page = report_page(run, self.verdict, self._tables(), self.settings, self.versions)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    @kept_randomness()
    def to_json(self, path: str | Path | None = None) -> str:
        """Return the report as strict JSON (NaN and infinities as strings), and write it to ``path`` if given."""
        from init_monitor.display.length_scale_table import prediction  # noqa: PLC0415 - printing only

        text = json.dumps(
            {
                "schema": SCHEMA_VERSION,
                "verdict": self.verdict,
                "settings": json_value(dict(self.settings)),
                "versions": json_value(dict(self.versions)),
                "structure": structure_json(self.structure),
                "findings": [finding_json(finding) for finding in self.findings],
                "losses": losses_json(self.losses.since(0)),
                "length_scales": None
                if self.scales is None
                else json_value(asdict(self.scales) | {"prediction": prediction(self.scales)}),
                "layers": self._long(Of.LAYER),
                "parameters": self._long(Of.PARAMETER),
                "residuals": self._long(Of.RESIDUAL),
                **({"heads": self._long(Of.HEAD)} if any(one.head_names for one in self.records) else {}),
            },
            indent=1,
            allow_nan=False,
        )
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @kept_randomness()
    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per sampled step and layer, one column per quantity.

        Raises:
            ImportError: if pandas is not installed.
        """
        return _dataframe("to_dataframe", self.records, Of.LAYER)

    @kept_randomness()
    def to_residual_dataframe(self) -> pd.DataFrame:
        """Return one row per sampled step and residual addition, one column per residual quantity.

        Raises:
            ImportError: if pandas is not installed.
        """
        return _dataframe("to_residual_dataframe", self.records, Of.RESIDUAL)

    @kept_randomness()
    def to_head_dataframe(self) -> pd.DataFrame:
        """Return one row per sampled step and attention head, one column per quantity of heads.

        Raises:
            ImportError: if pandas is not installed.
        """
        return _dataframe("to_head_dataframe", self.records, Of.HEAD)

    @rendered
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as the console sink does, in what the console has: the table, a panel per finding, the verdict."""
        from rich.console import Group  # noqa: PLC0415 - printing only
        from rich.segment import Segment  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        from init_monitor.display.attention_table import attention_table  # noqa: PLC0415
        from init_monitor.display.formatting import has_unicode, spelled  # noqa: PLC0415
        from init_monitor.display.layer_table import findings_panel, propagation_table  # noqa: PLC0415
        from init_monitor.display.length_scale_table import drawn, prediction  # noqa: PLC0415
        from init_monitor.display.residual_table import residual_table  # noqa: PLC0415

        plain = not has_unicode(options.encoding)
        parts: list[RenderableType] = []
        if self.records:
            table = propagation_table(
                self.records[-1], self.structure, self.findings, width=options.max_width, plain=plain
            )
            parts.append(table)
            if self.records[-1].residual_names:
                residuals = residual_table(
                    self.records[-1], self.structure, self.findings, width=options.max_width, plain=plain
                )
                parts += [Text(""), residuals]
            if self.records[-1].head_names:
                heads = attention_table(
                    self.records[-1], self.structure, self.findings, width=options.max_width, plain=plain
                )
                parts += [Text(""), heads]
        if self.scales is not None:
            parts += [Text(""), drawn(self.scales, plain=plain), Text(prediction(self.scales)), Text("")]
        parts += [findings_panel(finding, plain=plain) for finding in self.findings]
        parts.append(Text(self.verdict))
        for text, style, control in console.render(Group(*parts), options):
            yield Segment(spelled(text, options.encoding), style, control)

    @kept_randomness()
    def __str__(self) -> str:
        """Return the report as plain text."""
        from io import StringIO  # noqa: PLC0415 - printing only

        from rich.console import Console  # noqa: PLC0415

        out = StringIO()
        Console(file=out, width=100, color_system=None, force_terminal=False).print(self)
        return out.getvalue()

    @kept_randomness()
    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        from init_monitor.page.loss_line import loss_words  # noqa: PLC0415 - printing only
        from init_monitor.page.report_page import findings_html, tables_html  # noqa: PLC0415

        above = findings_html(self.verdict, self.findings, loss_words(self.losses))
        return above + tables_html(self._tables())

    def _tables(self) -> list[TextTable]:
        from init_monitor.display.step_tables import step_tables  # noqa: PLC0415 - printing only

        tables = step_tables(self.records[-1], self.structure, self.findings) if self.records else []
        if self.scales is not None:
            from init_monitor.display.length_scale_table import length_scale_table  # noqa: PLC0415 - printing only

            tables.append(length_scale_table(self.scales))
        return tables

    def _long(self, of: Of) -> dict[str, Any]:
        """Return every number as JSON values, a row per sampled step and name."""
        from init_monitor.display.long_rows import long_columns, long_rows  # noqa: PLC0415 - printing only

        return {"columns": long_columns(of), "rows": [json_value(row) for row in long_rows(self.records, of)]}


def _dataframe(method: str, records: Sequence[StepRecord], of: Of) -> pd.DataFrame:
    from init_monitor.display.long_rows import long_columns, long_rows  # noqa: PLC0415 - printing only

    try:
        import pandas as pd  # noqa: PLC0415 - optional
    except ImportError as error:
        message = f"Report.{method}() needs pandas: pip install pandas."
        raise ImportError(message) from error
    return pd.DataFrame(long_rows(records, of), columns=long_columns(of))
