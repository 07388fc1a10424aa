"""Weights & Biases offline and MLflow with a file store: what a training left there is read back. ``make loggers`` runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import InitMonitor
from init_monitor.sinks.vocabularies import REPORT_FILE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.loggers, pytest.mark.filterwarnings("ignore", "error::init_monitor.InitMonitorWarning")]


def trained(logger: Any) -> InitMonitor:
    net = mlp(12, 16)
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
    monitor = InitMonitor(dense_steps=3, every_n_steps=4)
    fit(Classifier(net), loader(16, samples=256, batch=16), monitor, steps=12, logger=logger)
    assert any(finding.severity == "critical" for finding in monitor.findings)
    assert monitor.notices == []
    return monitor


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    logger = WandbLogger(project="p", save_dir=str(tmp_path), offline=True)
    alerts: list[str] = []
    alert = logger.experiment.alert

    def noted(**words: Any) -> None:
        alerts.append(words["title"])
        alert(**words)

    monkeypatch.setattr(logger.experiment, "alert", noted)
    monitor = trained(logger)
    run = logger.experiment
    summary = dict(run.summary)
    counts = {name: summary[f"init_monitor/{name}"] for name in ("critical", "warning", "info")}
    assert counts == {name: sum(one.severity == name for one in monitor.findings) for name in counts}
    assert f"{counts['critical']} critical" in summary["init_monitor/verdict"]
    assert summary["init_monitor/findings"]["nrows"] == len(monitor.findings)
    assert summary["trainer/global_step"] == monitor.records[-1].step
    critical = [f"{one.code} {one.rule}" for one in monitor.findings if one.severity == "critical"]
    assert set(alerts) >= set(critical)
    wandb.finish()
    (table,) = sorted(tmp_path.rglob("init_monitor/findings_*.table.json"))[-1:]
    content = json.loads(table.read_text(encoding="utf-8"))
    assert content["columns"][:3] == ["step", "severity", "code"]
    assert {row[2] for row in content["data"]} == {one.code for one in monitor.findings}
    assert list(tmp_path.rglob("offline-run-*"))


def test_mlflow_with_a_file_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from pytorch_lightning.loggers import MLFlowLogger

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    logger = MLFlowLogger(tracking_uri=(tmp_path / "mlruns").as_uri())
    monitor = trained(logger)
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    run = client.get_run(logger.run_id)
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("init_monitor.")}
    assert tags["init_monitor.critical"] == str(sum(one.severity == "critical" for one in monitor.findings))
    assert all(one.code in tags["init_monitor.findings"] for one in monitor.findings)
    history = client.get_metric_history(logger.run_id, "init_monitor_summary/variance/log10_max")
    assert [point.step for point in history] == [record.step for record in monitor.records]
    page = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{REPORT_FILE}")
    assert page.startswith("<!doctype html>")
    assert all(one.rule in page for one in monitor.findings)
