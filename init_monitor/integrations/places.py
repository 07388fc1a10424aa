"""Where a Trainer's run is stored: in the folder of its logger, or in its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

FOLDER = "init_monitor_logs"
"""Below the Trainer's ``default_root_dir``: a folder for each fit, where no logger has one."""


class RunPlace(NamedTuple):
    """Where to store a run.

    Attributes:
        log_dir: the folder itself, if a logger has one for this run.
        runs_dir: else where to create a new folder for it.
    """

    log_dir: Path | None = None
    runs_dir: Path | None = None


def run_place(trainer: Trainer) -> RunPlace:
    """Return where the run goes.

    The folder of the first logger that has one, or where the Trainer itself puts the checkpoints of such a logger
    (``save_dir/name/version``), or a new folder below ``default_root_dir``. With ``fast_dev_run`` nothing is stored, as
    the Trainer stores nothing then either.
    """
    if getattr(trainer, "fast_dev_run", False):
        return RunPlace()
    root = _local(getattr(trainer, "default_root_dir", None))
    for logger in trainer.loggers:
        folder = _local(_asked(logger, "log_dir"))
        if folder is not None:
            return RunPlace(log_dir=folder)
    for logger in trainer.loggers:
        save_dir = _local(_asked(logger, "save_dir")) or root
        name, version = _asked(logger, "name"), _asked(logger, "version")
        # Weights & Biases, MLflow and others know their run by an id.
        if save_dir is not None and isinstance(version, (str, int)) and str(version):
            own = version if isinstance(version, str) else f"version_{version}"
            return RunPlace(log_dir=save_dir / str(name or "") / own)
        root = save_dir
    return RunPlace(runs_dir=None if root is None else root / FOLDER)


def _asked(logger: object, attribute: str) -> object:
    try:
        return getattr(logger, attribute, None)
    except Exception:  # noqa: BLE001 - a logger is foreign code, the training must not pay for it
        return None


def _local(directory: object) -> Path | None:
    """Return a directory on this machine; a bucket is none."""
    if isinstance(directory, (str, Path)) and str(directory) and "://" not in str(directory):
        return Path(directory)
    return None
