"""What the package exports, and what its documentation strings promise."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlflow_utilities
from mlflow_utilities import errors

SOURCE = Path(mlflow_utilities.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(SOURCE)], "mlflow_utilities."))
LONGEST_DOCSTRING = 15
LONGEST_MODULE = 300


@pytest.mark.parametrize("name", ["mlflow_utilities", *MODULES])
def test_everything_exported_exists_once_and_is_sorted(name: str) -> None:
    """`__all__` of each module names what is there."""
    module = importlib.import_module(name)
    exported = list(getattr(module, "__all__", []))

    assert [item for item in exported if not hasattr(module, item)] == []
    assert len(exported) == len(set(exported))


def test_the_package_exports_every_error() -> None:
    """An error that can be raised can be imported from the top."""
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}

    assert classes - set(mlflow_utilities.__all__) == set()


def test_the_error_tree_in_the_documentation_is_the_real_one() -> None:
    """Each error is drawn in the module's documentation string, and derives from MlflowUtilitiesError."""
    classes = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]

    assert [cls.__name__ for cls in classes if cls.__name__ not in (errors.__doc__ or "")] == []
    assert [cls.__name__ for cls in classes if not issubclass(cls, errors.MlflowUtilitiesError)] == []


def documented(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the name and documentation string of everything public in a module."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_and_documentation_strings_stay_short(path: Path) -> None:
    """A module has at most 300 lines, a documentation string at most 15."""
    text = path.read_text()
    long = [name for name, docs in documented(ast.parse(text)) if len(docs.splitlines()) > LONGEST_DOCSTRING]

    assert long == []
    assert len(text.splitlines()) <= LONGEST_MODULE


def test_importing_and_constructing_loads_neither_entities_nor_mlflow() -> None:
    """What a service does at start stays light: entities come with the first decoded answer."""
    code = (
        "import sys, mlflow_utilities; mlflow_utilities.AsyncMlflowClient('http://127.0.0.1:1');"
        "print([n for n in ('pydantic.main', 'mlflow', 'numpy', 'yaml', 'mlflow_utilities.mlflow_api') "
        "if n in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
