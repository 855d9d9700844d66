"""Rules of the house that no linter knows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("backend", "workers", "migrations")
BANNED = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "manager",
    "managers",
    "service",
    "services",
    "misc",
    "handler",
}
LONGEST_FUNCTION = 60
LONGEST_FILE = 400


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without the docstring."""
    first = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return (function.end_lineno or 0) - first[0].lineno + 1


def test_imports_point_downward() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_no_function_is_long() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name} {length(function)}"
        for path in sources()
        if "versions" not in path.parts  # a migration is as long as its tables
        for function in functions(path)
        if length(function) > LONGEST_FUNCTION
    ]
    assert long == []


def test_no_file_is_long() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in sources() if "versions" not in path.parts}
    assert [f"{path.relative_to(ROOT)} {count}" for path, count in lines.items() if count > LONGEST_FILE] == []


def test_no_module_is_named_after_nothing() -> None:
    assert [path for path in sources() if path.stem in BANNED or path.parent.name in BANNED] == []


def test_no_line_waits_for_later() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X ")
    waiting = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(mark in line for mark in marks)
    ]
    assert waiting == []


def test_only_the_edges_commit() -> None:
    """Rooms never commit: routes do through SessionDep, everything else through session_scope."""
    commits = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    ]
    assert commits == []


def test_only_the_settings_read_the_environment() -> None:
    allowed = {"migrations/env.py"}
    read = {
        str(path.relative_to(ROOT))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    # a process that starts others hands them an environment: it does not read settings from its own
    assert {path for path in read if not path.startswith(("backend/embedded/", "backend/commands/"))} <= allowed


@pytest.mark.parametrize("package", ["backend", "workers"])
def test_every_module_can_be_imported(package: str) -> None:
    for module in walk_packages(import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
