"""The project around the code: what is shipped, what is promised, what the pages say."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LIGHT = (
    *("errors", "records", "store", "analysis", "rules", "remedies", "display", "sinks", "report", "comparison", "cli"),
    *("page.document", "tensorboard_plugin.plugin"),
)
"""Rooms that must work where torch is not installed."""

LONGEST_MODULE, MEDIAN_MODULE = 350, 150
"""Lines, docstrings included. One that grows beyond has two ideas: split it by them."""


def _python(code: str, *, directory: Path, path: Path | None = None) -> str:
    """Run code in a fresh interpreter that does not see the checkout unless ``path`` says so."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _wheel(target: Path, **environment: str) -> Path:
    """Build the wheel with the installed build backend: no network, no second environment."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        check=True,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, with whatever this machine has."""
    return _wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a machine without a compiler."""
    return _wheel(tmp_path_factory.mktemp("pure"), CC="no-such-compiler")


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, init_monitor\nprint([m for m in ('torch', 'numpy', 'rich', 'tensorboard') if m in sys.modules])"
    assert _python(code, directory=tmp_path, path=ROOT) == "[]\n"


@pytest.mark.parametrize("room", LIGHT)
def test_a_room_that_must_work_without_torch_does(room: str, tmp_path: Path) -> None:
    hide = "import sys\nfor name in ('torch', 'lightning', 'pytorch_lightning'): sys.modules[name] = None\n"
    _python(f"{hide}import init_monitor.{room}", directory=tmp_path, path=ROOT)


def test_every_name_of_the_table_of_contents_can_be_imported() -> None:
    import init_monitor

    for name in init_monitor.__all__:
        assert getattr(init_monitor, name) is not None


def test_the_wheel_works_from_an_empty_directory_and_not_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    code = (
        # An editable install puts the checkout on the path of every interpreter: take it off again.
        f"import sys\nsys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n"
        "import init_monitor, init_monitor.cli\n"
        "from init_monitor import InitMonitor\n"
        "print(init_monitor.__file__)\n"
        "print(init_monitor.__version__)"
    )
    where, version = _python(code, directory=tmp_path, path=unpacked).split()
    assert Path(where).is_relative_to(unpacked)
    assert f"-{version}-" in wheel.name


@pytest.mark.parametrize("kind", ["wheel", "pure_wheel"])
def test_a_wheel_reads_the_cpu_with_what_was_compiled_into_it_or_else_with_torch(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    built: Path = request.getfixturevalue(kind)
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "site")
    compiled = (tmp_path / "site" / "init_monitor" / "measures" / "one_read.so").is_file()
    assert built.name.endswith("-py3-none-any.whl") == (not compiled)
    assert "-py3-none-" in built.name
    # CI has a compiler; who has none builds what is pure.
    assert compiled == (kind == "wheel" and bool(os.environ.get("CI") or shutil.which("cc")))
    code = (
        f"import sys\nsys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n"
        "import torch\nfrom init_monitor.measures import moments, native\n"
        "print(native.in_use(), moments(torch.ones(7)).count)"
    )
    shown = _python(code, directory=tmp_path, path=tmp_path / "site")
    assert shown == f"{'native' if compiled else 'eager'} 7\n"


def test_the_wheel_holds_every_module_the_type_marker_and_the_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = (path for ending in ("py", "js", "css") for path in (ROOT / "init_monitor").rglob(f"*.{ending}"))
    modules = {str(path.relative_to(ROOT)) for path in files}
    assert modules <= names
    assert "init_monitor/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"init_monitor"}


def test_constraints_pin_exact_versions_and_name_no_host_and_no_index() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    pin = re.compile(r"^[a-z0-9-]+==[0-9a-z.]+( ; python_version (<|>=) \"3\.\d+\")?$")
    assert [line for line in lines if not pin.match(line)] == []
    assert "torch==2.13.0" in lines


def test_every_direct_dependency_is_pinned() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = set(re.findall(r'^\s*(?:\w+ = \[)?"([a-z0-9-]+)>=', project, flags=re.MULTILINE))
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {"torch", "rich", "pytest"} <= declared
    assert declared - pinned == set()


def test_a_module_keeps_to_one_idea() -> None:
    """Nobody reads a module of a thousand lines; those of the page have a test of their own in tests/page."""
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "init_monitor").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > LONGEST_MODULE} == {}
    assert statistics.median(lengths.values()) < MEDIAN_MODULE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_on_a_page_is_valid(page: Path) -> None:
    for block in _blocks(page, "python"):
        compile(block, f"{page.name}: {block[:40]!r}", "exec")


def test_the_blocks_of_the_readme_that_stand_alone_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alone = [block for block in _blocks(ROOT / "README.md", "python") if "import torch" in block]
    assert len(alone) >= 2
    for block in alone:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - the page's own code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_import_contract_has_its_section_in_the_documentation() -> None:
    contracts = re.findall(r'^name = "(.+)"\ntype = ', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(contracts) >= 5
    assert [name for name in contracts if f"### {name}\n" not in page] == []


def test_every_option_is_in_the_table_of_the_readme_with_its_default() -> None:
    from dataclasses import fields

    from init_monitor.options import Options

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for option in fields(Options):
        shown = "DEFAULT_RULES" if option.name == "rules" else f"{option.default!r}".replace("'", '"')
        assert f"| `{option.name}` | `{shown}` |" in readme
