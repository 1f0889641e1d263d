"""Assertions about what a service or a job left in MLflow; a failure shows what was there instead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, cast

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, NotFoundError
from mlflow_utilities.filters import Attribute
from mlflow_utilities.mlflow_api.listing import list_runs, rollout_history
from mlflow_utilities.mlflow_api.values import RolloutEntry
from mlflow_utilities.rollout.facts import GENERATION_TAG
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.versioned_runs import VersionedRun
from mlflow_utilities.testing.recording import RecordedRequest
from mlflow_utilities.testing.server import InMemoryMlflow

__all__ = [
    "assert_model_registered",
    "assert_requested",
    "assert_requests",
    "assert_run_logged",
    "assert_status",
    "assert_status_changed_to",
    "assert_test_fractions",
]

_MISSING = object()
_MOST_ROWS = 40


async def assert_model_registered(
    name: str,
    *,
    client: AsyncMlflowClient,
    version: str | int | None = None,
    run: Any = None,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Fail unless a registered model has a version that is so.

    Args: its `name`; what the version must have, as far as given: the number `version`, the `run` it is of (an id or
    what has `run_id`), an `alias`, all of `tags`.
    """
    __tracebackhide__ = True
    try:
        found = await client.get_registered_model(name)
    except NotFoundError:
        names = sorted([model.name async for model in client.iter_registered_models()])
        raise AssertionError(_text(f"no registered model {name!r}", "there are", names)) from None
    wanted = {"version": None if version is None else str(version), "run": None if run is None else _id_of(run)}
    wanted["alias"] = alias
    versions = [one async for one in client.iter_model_versions(Attribute("name") == name)]
    seen: list[str] = []
    for one in versions:
        aliases = sorted(alias for alias, number in found.aliases.items() if str(number) == str(one.version))
        has = wanted["version"] in (None, str(one.version)) and wanted["run"] in (None, one.run_id)
        if has and (alias is None or alias in aliases) and not _differences(tags or {}, one.tags):
            return
        seen.append(f"version {one.version}: run={one.run_id!r}, aliases={aliases}, tags={dict(one.tags)}")
    asked = ", ".join(f"{key}={value!r}" for key, value in {**wanted, "tags": tags}.items() if value is not None)
    raise AssertionError(_text(f"registered model {name!r} has no version with {asked or 'anything'}", "it has", seen))


async def assert_status(
    run: Any, status: ModelStatus | str | int, *, client: AsyncMlflowClient, test_fraction: float | None = None
) -> None:
    """Fail unless a run (an id, or what has `run_id`) has this status and, if given, this share of the requests."""
    __tracebackhide__ = True
    wanted = ModelStatus.parse(status)
    runs = await _siblings(run, client)
    found = runs[_id_of(run)]
    if found.status is wanted and (test_fraction is None or _slots(found.test_fraction) == _slots(test_fraction)):
        return
    share = "" if test_fraction is None else f" with {test_fraction:g}"
    raise AssertionError(
        _text(f"run {found.run_id} is not {wanted}{share}: {_shown(found)}", "its submodel has", _rows(runs))
    )


async def assert_status_changed_to(
    run: Any,
    status: ModelStatus | str | int,
    *,
    client: AsyncMlflowClient,
    verb: str | None = None,
    why: str | None = None,
    who: str | None = None,
) -> None:
    """Fail unless the newest change of the rollout that concerned a run gave it this status.

    Args: the `run` (an id, or what has `run_id`); its new `status`; what the history must say of that change, as far as
    given: the `verb` ("enable_run"), `why` and `who`.
    """
    __tracebackhide__ = True
    wanted = ModelStatus.parse(status)
    runs = await _siblings(run, client)
    found = runs[_id_of(run)]
    history = await rollout_history(experiment_id=found.experiment_id, submodel_name=found.submodel_name, client=client)
    changes = _changes(history, found)
    if changes and found.status is wanted:
        last = changes[-1]
        given = (("verb", verb, last.verb), ("why", why, last.why), ("who", who, last.who))
        if all(asked is None or asked == said for _, asked, said in given):
            return
    asked = "".join(f" by {key}={value!r}" for key, value in (("verb", verb), ("why", why), ("who", who)) if value)
    rows = [f"{entry.generation}: {_in(entry, found.run_id)} by {entry.verb}, {_said(entry)}" for entry in changes]
    raise AssertionError(
        _text(f"run {found.run_id} did not change to {wanted}{asked}: {_shown(found)}", "its changes", rows)
    )


async def assert_test_fractions(
    test_fraction_by_run: Mapping[Any, float],
    *,
    client: AsyncMlflowClient,
    active_state: ModelStatus | str | int = ModelStatus.Active,
) -> None:
    """Fail unless exactly these runs have this status in their version, with these shares.

    Args: the share in [0, 1] by run (an id, or what has `run_id`), all of one submodel and version; the status, Active
    or Canary.
    """
    __tracebackhide__ = True
    if not test_fraction_by_run:
        raise InvalidInputError("no run is given", hint="give the shares of at least one run")
    status = ModelStatus.parse(active_state)
    wanted = {_id_of(run): float(share) for run, share in test_fraction_by_run.items()}
    runs = await _siblings(next(iter(wanted)), client)
    version = runs[next(iter(wanted))].version
    found = {run.run_id: run.test_fraction for run in runs.values() if run.version == version and run.status is status}
    if {run: _slots(share) for run, share in found.items()} != {run: _slots(share) for run, share in wanted.items()}:
        raise AssertionError(_text(f"the {status} runs of {version} are not {wanted}", "there are", _rows(runs)))


async def assert_run_logged(
    run: Any,
    *,
    client: AsyncMlflowClient,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, Any] | None = None,
    status: str | None = None,
) -> None:
    """Fail unless a run (an id, or what has `run_id`) has all of these params, latest metrics and tags.

    Params and tags are compared as text, metrics to a relative 1e-9; `status` is MLflow's, e.g. "FINISHED".
    """
    __tracebackhide__ = True
    found = await client.get_run(_id_of(run))
    wrong = [
        *(f"param {text}" for text in _differences(params or {}, found.data.params)),
        *(f"metric {text}" for text in _differences(metrics or {}, found.data.metrics)),
        *(f"tag {text}" for text in _differences(tags or {}, found.data.tags)),
    ]
    if status is not None and str(found.info.status) != status:
        wrong.append(f"status: {str(found.info.status)!r}, not {status!r}")
    if wrong:
        there = {"params": sorted(found.data.params), "metrics": sorted(found.data.metrics)}
        raise AssertionError(_text(f"run {_id_of(run)} was not logged so", f"of {there}", wrong))


def assert_requests(server: InMemoryMlflow, expected: Iterable[str]) -> None:
    """Fail unless the server got exactly these requests, in this order, since it began or `forget_requests()`.

    Each is "POST runs/search" or a pattern: "PUT mlflow-artifacts/artifacts/*", "* runs/get".
    """
    __tracebackhide__ = True
    if isinstance(expected, str):
        raise InvalidInputError(f"expected is {expected!r}", hint="give a list, one text for each request")
    patterns, lines = list(expected), server.lines
    if len(patterns) != len(lines) or not all(map(fnmatchcase, lines, patterns)):
        rows = [
            f"{'  ' if _fits(lines, patterns, index) else '! '}{_at(lines, index)}   expected {_at(patterns, index)}"
            for index in range(max(len(lines), len(patterns)))
        ]
        raise AssertionError(_text("the server got other requests", f"{len(lines)} came", rows))


def assert_requested(
    server: InMemoryMlflow, line: str, *, times: int | None = None, json: Mapping[str, Any] | None = None
) -> list[RecordedRequest]:
    """Fail unless the server got such a request; returns those it got.

    Args: `line`, "POST runs/create" or a pattern; `times`, how often exactly (None: at least once); `json`, what the
    body must hold among other things.
    """
    __tracebackhide__ = True
    same = [request for request in server.requests if fnmatchcase(str(request), line)]
    found = [request for request in same if json is None or _holds(request, json)]
    if len(found) == times or (times is None and found):
        return found
    often = "" if times is None else f" {times} times, but {len(found)}"
    rows = [f"{request} {request.body.decode(errors='replace')[:200]}" for request in same or server.requests]
    asked = "" if json is None else f" with {dict(json)}"
    raise AssertionError(_text(f"the server did not get {line!r}{asked}{often}", "it got", rows))


def _holds(request: RecordedRequest, wanted: Mapping[str, Any]) -> bool:
    try:
        body = request.json
    except ValueError:
        return False
    return isinstance(body, dict) and not _differences(wanted, cast("dict[str, Any]", body))


def _id_of(run: Any) -> str:
    found = getattr(run, "run_id", None) or getattr(getattr(run, "info", None), "run_id", None) or run
    if not isinstance(found, str):
        raise InvalidInputError(f"{run!r} is no run", hint="give a run id, or what has run_id")
    return found


async def _siblings(run: Any, client: AsyncMlflowClient) -> dict[str, VersionedRun]:
    """Return the listed runs of a run's submodel by id; the run is one of them."""
    run_id = _id_of(run)
    raw = await client.get_run(run_id)
    submodel = raw.data.params.get("submodel_name")
    if submodel is None:
        raise AssertionError(f"run {run_id} has no submodel_name: save_model did not make it")
    listed = await list_runs(None, experiment_id=raw.info.experiment_id, submodel_name=submodel, client=client)
    runs = {one.run_id: one for one in listed}
    if run_id not in runs:
        state = raw.info.status if raw.info.lifecycle_stage == "active" else raw.info.lifecycle_stage
        raise AssertionError(_text(f"run {run_id} is not listed (it is {state})", "its submodel has", _rows(runs)))
    return runs


def _changes(history: Iterable[RolloutEntry], run: VersionedRun) -> list[RolloutEntry]:
    """Return the generations that changed the run; what happens to a run that is not live, its tag alone tells."""
    marked = run.run.data.tags.get(GENERATION_TAG)
    changes: list[RolloutEntry] = []
    before: object = None
    for entry in history:
        now = entry.find(run.run_id)
        if now != before or str(entry.generation) == marked:
            changes.append(entry)
        before = now
    return changes


def _in(entry: RolloutEntry, run_id: str) -> str:
    found = entry.find(run_id)
    return "not live" if found is None else f"{found.status} {found.test_fraction:g}"


def _said(entry: RolloutEntry) -> str:
    return f"who={entry.who!r}, why={entry.why!r}"


def _slots(fraction: float) -> int:
    return round(fraction * TOTAL)


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    texts: list[str] = []
    for key, value in wanted.items():
        there = found.get(key, _MISSING)
        if there is _MISSING:
            texts.append(f"{key}: missing, not {value!r}")
        elif not _same(value, there):
            texts.append(f"{key}: {there!r}, not {value!r}")
    return texts


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted) or (math.isnan(found) and math.isnan(wanted))
    return bool(found == wanted) or (isinstance(found, str) and found == str(wanted))


def _shown(run: VersionedRun) -> str:
    return f"{run.status} {run.test_fraction:g}"


def _rows(runs: Mapping[str, VersionedRun]) -> list[str]:
    return [f"{run.run_id} {run.version} {_shown(run)}" for run in runs.values()]


def _at(lines: list[str], index: int) -> str:
    return lines[index] if index < len(lines) else "(nothing)"


def _fits(lines: list[str], patterns: list[str], index: int) -> bool:
    return index < min(len(lines), len(patterns)) and fnmatchcase(lines[index], patterns[index])


def _text(first: str, heading: str, rows: Iterable[str]) -> str:
    shown = list(rows) or ["(nothing)"]
    if len(shown) > _MOST_ROWS:
        shown = [*shown[:_MOST_ROWS], f"... and {len(shown) - _MOST_ROWS} more"]
    return "\n".join([f"{first}; {heading}:", *(f"  {row}" for row in shown)])
