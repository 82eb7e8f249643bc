"""The structure of the package: sizes, names, and what an import loads."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import otomatch

SOURCE = Path(otomatch.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
PACKAGES = sorted(
    ".".join(("otomatch", *path.parent.relative_to(SOURCE).parts))
    for path in FILES
    if path.name == "__init__.py"
)
LEAVES = {"errors", "files"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def definitions(kind: type | tuple[type, ...]) -> Iterator[tuple[Path, ast.AST]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield path.relative_to(SOURCE), node


def is_command(function: ast.AST) -> bool:
    """True for the declaration of a command, whose options take most of its lines."""
    return any("command" in ast.unparse(found) for found in function.decorator_list)


def test_the_root_holds_the_rooms_and_two_leaf_files():
    entries = {path.name for path in SOURCE.iterdir()} - {"__pycache__"}
    rooms = {name.removeprefix("otomatch.") for name in PACKAGES if name.count(".") == 1}
    files = {"__init__.py", "__main__.py", "py.typed", *(f"{name}.py" for name in LEAVES)}
    assert entries == rooms | files
    assert len(entries) <= 18


def test_no_file_is_longer_than_300_lines():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path.name: count for path, count in lines.items() if count > 300} == {}


def test_no_function_but_the_declaration_of_a_command_is_longer_than_50_lines():
    long = [
        f"{path}: {node.name}"
        for path, node in definitions((ast.FunctionDef, ast.AsyncFunctionDef))
        if node.end_lineno - node.lineno + 1 > 50
        and not (path.parts[0] == "cli" and is_command(node))
    ]
    assert long == []


def test_no_class_has_more_than_15_methods():
    large = {
        f"{path}: {node.name}"
        for path, node in definitions(ast.ClassDef)
        if sum(isinstance(found, Function) for found in node.body) > 15
    }
    assert large == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_every_exported_name_exists_and_names_no_module(name):
    package = importlib.import_module(name)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    exported = getattr(package, "__all__", ())
    for public in exported:
        assert getattr(package, public) is not None
    assert len(set(exported)) == len(exported)
    if name != "otomatch":  # whose exports include modules
        assert modules.isdisjoint(exported)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_has_the_name_of_a_function_or_class_that_it_defines(path):
    if path.relative_to(SOURCE).parts[0] == "cli":  # a command has the name of its file
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert path.stem not in {getattr(node, "name", None) for node in tree.body}


@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import otomatch", ("torch", "numpy", "transformers", "lancedb", "pydantic")),
        ("import otomatch.cli", ("torch", "transformers", "lancedb", "matplotlib", "fastapi")),
        ("import otomatch.training.config", ("torch", "transformers")),
    ],
)
def test_an_import_loads_none_of_the_slow_packages(statement, unloaded):
    script = f"{statement}; import sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(unloaded).isdisjoint(found.stdout.split())


def test_the_package_is_typed():
    assert (SOURCE / "py.typed").is_file()
