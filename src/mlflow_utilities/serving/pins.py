"""Pins: a tester's choice of a model, which holds for everything that a `with` block does, and nothing else."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.version import Version, VersionLike, shown

__all__ = ["Pin", "current_pin", "pin"]


@dataclass(frozen=True, slots=True)
class Pin:
    """The run, or the version, that is to answer; `owner` is whom it is for, None for everybody."""

    run_id: str | None
    version: str | None
    owner: object = None
    outer: Pin | None = None


_innermost: ContextVar[Pin | None] = ContextVar("mlflow_utilities.serving.pin", default=None)


def pin(
    run_id: str | None = None, *, version: VersionLike | None = None, owner: object = None
) -> AbstractContextManager[Pin]:
    """Let one run, or one version, answer every request that is made inside the `with` block.

    It holds for this task and those started inside; the innermost block counts. Active and Canary runs can be pinned.

    Args:
        run_id: the run, or else
        version: the version, e.g. `"1.4.2"`; of several runs, the Active one with the largest share.
        owner: pin only what this object chooses; None is all.

    Raises:
        InvalidInputError: both are given, or neither, or the run id is not a text, or the version is none.

    """
    if (run_id is None) == (version is None):
        raise InvalidInputError("a pin names a run or a version, not both or neither", hint="give one of them")
    if run_id is not None and (not isinstance(run_id, str) or not run_id):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"{shown(run_id)} is not a run id", hint="give the run_id of a model")
    return _pinned(run_id, None if version is None else Version.parse(version).without_build, owner)


def current_pin(owner: object = None) -> Pin | None:
    """Return the innermost pin that holds here for `owner`, or None."""
    found = _innermost.get()
    while found is not None and found.owner is not None and found.owner is not owner:
        found = found.outer
    return found


@contextmanager
def _pinned(run_id: str | None, version: str | None, owner: object) -> Generator[Pin]:
    made = Pin(run_id, version, owner, _innermost.get())
    token = _innermost.set(made)
    try:
        yield made
    finally:
        _innermost.reset(token)
