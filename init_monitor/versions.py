"""Which versions of what a run was made with."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def versions_of(*packages: str) -> dict[str, str]:
    """Return the version of Python, of this package, of torch and TensorBoard, and of further packages, where installed."""
    found = {"python": platform.python_version()}
    for package in ("init-monitor", "torch", *packages, "tensorboard"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
