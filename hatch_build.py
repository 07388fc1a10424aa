"""What building adds: the compiled kernel in the wheel, and a description whose links lead somewhere.

Without a compiler, or with `INIT_MONITOR_NO_NATIVE=1`, the wheel is pure Python.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface
from packaging.tags import sys_tags

if TYPE_CHECKING:
    from types import ModuleType

MEASURES = "init_monitor/measures"

WHERE_PAGES_ARE = "The pages named here are in the source archive, below `docs/`."
"""Last line of the description, as long as the documentation has no address of its own."""


class CompiledKernel(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the library to a wheel, which is then for one kind of system, and for every Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are collected; an editable install compiles when it first needs it."""
        if self.target_name != "wheel" or version == "editable":
            return
        compiling = _compiling(Path(self.root))
        self._made = tempfile.TemporaryDirectory()
        library = Path(self._made.name) / compiling.LIBRARY
        if compiling.compiled(library):
            build_data["force_include"][str(library)] = f"{MEASURES}/{compiling.LIBRARY}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove what was compiled: it is in the wheel."""
        if hasattr(self, "_made"):
            self._made.cleanup()


class Description(MetadataHookInterface):
    """Makes the package's description from the README: on an index there are no files beside it to link to."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description."""
        text = described((Path(self.root) / "README.md").read_text(encoding="utf-8"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def described(readme: str) -> str:
    """Return a README with the links to files of the checkout as plain words, but not in its code."""
    parts = re.split(r"(^```.*?^```$)", readme, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [re.sub(r"\[([^\]]+)\]\((?![a-z]+:|#)[^)]+\)", r"\1", text) for text in parts[::2]]
    return "".join(parts) + f"\n{WHERE_PAGES_ARE}\n"


def _compiling(root: Path) -> ModuleType:
    """Load the module that knows how, without the package around it, which needs torch."""
    spec = importlib.util.spec_from_file_location("compiling", root / MEASURES / "compiling.py")
    if spec is None or spec.loader is None:
        msg = f"{MEASURES}/compiling.py is missing from {root}: the source archive is incomplete."
        raise RuntimeError(msg)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _platform() -> str:
    """Return this system's tag. It promises no other one (manylinux): whoever builds here has not looked at that."""
    return next(tag.platform for tag in sys_tags() if not tag.platform.startswith(("manylinux", "musllinux")))
