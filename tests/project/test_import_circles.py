"""No module of the package imports itself by way of others, not even for the type checker."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module) -> Iterator[str]:
    """Every name that is imported when the module is, or when it is type-checked; not what a function imports."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)
        waiting += ast.iter_child_nodes(node)


def graph(package: Path) -> dict[str, set[str]]:
    paths = {module_name(path, package.parent): path for path in package.rglob("*.py")}

    def module_of(name: str) -> str | None:
        return name if name in paths else name.rpartition(".")[0] if name.rpartition(".")[0] in paths else None

    return {
        name: {found for one in imported(ast.parse(path.read_text())) if (found := module_of(one))} - {name}
        for name, path in paths.items()
    }


def test_nothing_imports_in_a_circle() -> None:
    modules = graph(ROOT / "init_monitor")
    assert "init_monitor.records.structure" in modules["init_monitor.records.history"]  # for the type checker only
    try:
        order = list(TopologicalSorter(modules).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' imports '.join(reversed(error.args[1]))}")
    assert len(order) == len(modules)


def test_a_circle_for_the_type_checker_is_one(tmp_path: Path) -> None:
    package = tmp_path / "made"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from made.two import Two\n")
    (package / "two.py").write_text("if True:\n    from made import one\n\n\ndef late():\n    import made.three\n")
    (package / "three.py").write_text("from made.two import late\n")
    modules = graph(package)
    assert modules["made.two"] == {"made.one"}
    assert modules["made.three"] == {"made.two"}
    with pytest.raises(CycleError):
        list(TopologicalSorter(modules).static_order())
