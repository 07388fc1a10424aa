"""An environment per library below ``build/clients``: their requirements contradict each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements")
TORCH = "torch==2.13.0"
MONITOR = ("pytorch-lightning>=2.4", "rich>=13", "tensorboard>=2.18", "pillow>=10.1", "numpy>=1.26")
"""What init_monitor itself needs; it is imported from the checkout."""


def python_of(name: str, environments: Path, requirements: Path = REQUIREMENTS) -> Path:
    """Return the interpreter of ``name``'s environment, which is made if it is not there.

    Packages of ``<name>.no-deps.txt`` are installed without dependencies: next to a CPU torch their torchvision or
    triton could only be had with a second torch.

    Raises:
        CalledProcessError: if pip cannot install what is asked for.
    """
    home = environments / name
    python, made = home / "bin" / "python", home / ".made"
    wanted = "".join(path.read_text() for path in sorted(requirements.glob(f"{name}.*")))
    if made.is_file() and made.read_text() == wanted:
        return python
    print(f"Installing {name} into {home} (minutes, once) ...", flush=True)
    environments.mkdir(parents=True, exist_ok=True)
    pinned = environments / "torch.txt"
    pinned.write_text(TORCH + "\n")
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    pip = (str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-cache-dir")
    # First, because as a dependency torch would come with gigabytes of CUDA.
    _run(*pip, TORCH, "numpy")
    _run(*pip, "--constraint", str(pinned), "--requirement", str(requirements / f"{name}.txt"), *MONITOR)
    alone = requirements / f"{name}.no-deps.txt"
    if alone.is_file():
        _run(*pip, "--no-deps", "--requirement", str(alone))
    made.write_text(wanted)
    return python


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - commands of this module
