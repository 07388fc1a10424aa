"""What is published: the source archive builds itself, the description stands alone, the lowest versions are those stated."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import installed
import pytest

ROOT = Path(__file__).parents[2]


def _built(kind: str, source: Path, target: Path) -> Path:
    """Build with the installed backend: no network, no second environment."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=source, capture_output=True, check=True)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = _built("sdist", ROOT, tmp_path_factory.mktemp("dist"))
    target = tmp_path_factory.mktemp("source")
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    (source,) = target.iterdir()
    return source


def test_the_source_archive_has_what_its_tests_need(unpacked: Path) -> None:
    names = {path.name for path in unpacked.iterdir()}
    assert names >= {"LICENSE", "Makefile", "benchmarks", "docs", "examples", "tests"}
    assert not {"build", "dist", ".venv", "runs"} & names
    assert (unpacked / ".ci" / "run").is_file()
    assert (unpacked / "hatch_build.py").is_file()


def test_the_wheel_made_from_the_source_archive_holds_what_one_from_the_checkout_does(
    unpacked: Path, tmp_path: Path
) -> None:
    names = []
    for source, target in ((ROOT, tmp_path / "here"), (unpacked, tmp_path / "there")):
        with zipfile.ZipFile(_built("wheel", source, target)) as archive:
            names.append(archive.namelist())
    assert names[0] == names[1]


def test_the_description_is_the_readme_with_no_link_that_leads_nowhere(unpacked: Path) -> None:
    about = Parser().parsestr((unpacked / "PKG-INFO").read_text(encoding="utf-8"))
    text = str(about.get_payload())
    assert about["Author"] == "init-monitor contributors"
    assert about["Description-Content-Type"] == "text/markdown"
    assert re.findall(r"!?\]\((?!https:)[^)]*\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)) == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"^```.*?^```$", readme, flags=re.DOTALL | re.MULTILINE)
    assert len(code) > 4
    assert all(block in text for block in code)
    assert "the tutorial repairs them" in text
    assert "below `docs/`" in text.splitlines()[-1]


def test_the_lowest_versions_are_those_of_the_project_file() -> None:
    lowest = dict(pin.split("==") for pin in installed.floors((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert lowest["torch"] == "2.6"
    assert lowest["pytorch-lightning"] == "2.4"
    assert set(lowest) == {"numpy", "pillow", "pytorch-lightning", "rich", "scikit-learn", "tensorboard", "torch"}


def test_a_dependency_without_a_lowest_version_cannot_be_tried() -> None:
    with pytest.raises(ValueError, match=r"must say its lowest version, as in 'rich>=13', but found \['rich'\]"):
        installed.floors('dependencies = [\n    "rich",\n    "torch>=2.6",\n]\n')


def test_the_newest_versions_are_those_that_ci_installs() -> None:
    lowest, newest, further = installed.version_sets(("3.13",))
    assert "torch==2.13.0" in newest.pins
    assert further.pins == newest.pins
    assert further.pythons == ("python3.13",)
    assert lowest.pythons[0] == "python3.10"


def test_a_python_that_is_only_a_name_is_not_taken(tmp_path: Path) -> None:
    broken = tmp_path / "python3.99"
    broken.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    broken.chmod(0o755)
    assert installed.works(str(broken)) is None
    assert installed.works("no-such-python") is None
    assert installed.works(sys.executable) == sys.executable


def test_a_command_that_fails_ends_the_run_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?s)cannot do that.*failed with status 3"):
        installed.run(sys.executable, "-c", "import sys; print('cannot do that'); sys.exit(3)", cwd=tmp_path)
    assert installed.run(sys.executable, "-c", "print(1); print(2)", cwd=tmp_path) == "2"
