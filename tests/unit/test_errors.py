"""The tree of errors."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

import mlflow_utilities
from mlflow_utilities import errors
from mlflow_utilities.errors import (
    MlflowApiError,
    MlflowConnectionError,
    MlflowUtilitiesError,
    NotFoundError,
    RolloutConflictError,
    RolloutOutcomeUnknownError,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_all_errors_have_one_base_and_are_exported() -> None:
    """`except MlflowUtilitiesError` catches everything."""
    defined = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }

    assert set(errors.__all__) == defined
    assert all(issubclass(cls, MlflowUtilitiesError) for cls in CLASSES)
    assert set(errors.__all__) <= set(mlflow_utilities.__all__)


def test_the_drawing_of_the_tree_is_the_tree() -> None:
    """The module's docstring shows every error below its parent."""
    drawn: dict[str, str | None] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").split("```text\n")[1].split("```")[0].splitlines():
        match = re.match(r"([│├└─ ]*)(\w+)", line)
        assert match
        depth = len(match[1])
        while parents and parents[-1][0] >= depth:
            parents.pop()
        drawn[match[2]] = parents[-1][1] if parents else None
        parents.append((depth, match[2]))

    assert drawn == {cls.__name__: _parent(cls) for cls in CLASSES}


def _parent(cls: type) -> str | None:
    return next((base.__name__ for base in cls.__bases__ if base in CLASSES), None)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InvalidParameterError", ValueError),
        ("NotFoundError", LookupError),
        ("PermissionDeniedError", PermissionError),
        ("MlflowConnectionError", ConnectionError),
        ("MlflowTimeoutError", TimeoutError),
        ("ConfigurationError", ValueError),
        ("ClientStateError", RuntimeError),
        ("MissingDependencyError", ImportError),
        ("InvalidInputError", ValueError),
        ("ArtifactError", OSError),
    ],
)
def test_errors_are_also_what_python_calls_them(name: str, builtin: type[Exception]) -> None:
    """Code that knows nothing of this package can catch them."""
    assert issubclass(getattr(errors, name), builtin)


def test_a_message_says_what_failed_and_what_helps() -> None:
    """Request line, status, code, message, hint."""
    error = NotFoundError(
        "Run 'x' not found",
        status=404,
        error_code="RESOURCE_DOES_NOT_EXIST",
        method="GET",
        path="/api/2.0/mlflow/runs/get",
        hint="check the id",
    )

    assert str(error) == "GET /api/2.0/mlflow/runs/get: 404 RESOURCE_DOES_NOT_EXIST: Run 'x' not found (check the id)"
    assert str(MlflowConnectionError("cut")) == "cut"


@pytest.mark.parametrize(
    "error",
    [
        MlflowUtilitiesError("a", hint="b"),
        MlflowApiError("a", status=500, error_code="X", method="GET", path="/x", retry_after=1.5, hint="b"),
        NotFoundError("a", status=404),
        MlflowConnectionError("a", sent=False, permanent=True),
        RolloutConflictError("a", current={"generation": 2}),
        RolloutOutcomeUnknownError("a", run_id="r", key="k", value="v", op="o"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling_and_copying(error: MlflowUtilitiesError) -> None:
    """Process pools and task queues send errors around."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))
