"""What is logged to a run: metrics, params, tags, inputs, outputs; and the history of a metric."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from mlflow_utilities.testing.in_memory.experiments import TAGS
from mlflow_utilities.testing.in_memory.fields import Field, Fields, Message, Repeated, read
from mlflow_utilities.testing.in_memory.names import (
    KEY_LENGTH,
    PARAM_LENGTH,
    checked_key,
    checked_length,
    checked_tag,
    invalid_value,
    truncated,
)
from mlflow_utilities.testing.in_memory.paging import page
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid, missing
from mlflow_utilities.testing.in_memory.runs import (
    RUN_ID,
    RUN_NAME,
    active_run,
    rename,
    run_id_of,
    show_metric,
)
from mlflow_utilities.testing.in_memory.state import Metric, Run, State

__all__ = ["HANDLERS"]

_LARGEST = 1.7976931348623157e308
_METRIC: dict[str, str] = {
    "key": "string",
    "value": "double",
    "timestamp": "int64",
    "step": "int64",
    "model_id": "string",
    "dataset_name": "string",
    "dataset_digest": "string",
}
_NEEDED = Field("string", required=True)


def _metric_of(state: State, run_id: str, values: Mapping[str, Any], path: str) -> Metric:
    key, value, timestamp = values.get("key", ""), values.get("value", 0.0), values.get("timestamp", 0)
    prefix = f"{path}." if path else ""
    if bool(values.get("dataset_name")) != bool(values.get("dataset_digest")):
        raise invalid("Both dataset_name and dataset_digest must be provided if one is provided")
    checked_key(key, f"{prefix}name")
    if timestamp < 0:
        about = f"metric '{key}' (value={value}). Timestamp must be a nonnegative long (64-bit integer) "
        raise invalid(invalid_value(f"{prefix}timestamp", timestamp, about))
    checked_length("Metric name", KEY_LENGTH, key)
    is_nan = math.isnan(value)
    return Metric(
        key,
        0.0 if is_nan else max(-_LARGEST, min(_LARGEST, value)),
        timestamp,
        values.get("step", 0),
        next(state.orders),
        values.get("model_id") or None,
        values.get("dataset_name") or None,
        values.get("dataset_digest") or None,
        run_id,
        is_nan,
    )


def _store(run: Run, metric: Metric) -> None:
    """Keep a metric unless the same is there."""
    identity = metric.key, metric.timestamp, metric.step, metric.value, metric.is_nan
    if identity not in run.logged:
        run.logged.add(identity)
        run.metrics.setdefault(metric.key, []).append(metric)


def _store_on_model(state: State, metric: Metric) -> None:
    """Keep a metric at its logged model too, where NaN becomes 0."""
    model = state.logged_models.get(metric.model_id or "")
    if model is None:
        raise Refused("FOREIGN KEY constraint failed", "BAD_REQUEST")
    for other in model.metrics:
        if (other.key, other.timestamp, other.step, other.run_id) == (
            metric.key,
            metric.timestamp,
            metric.step,
            metric.run_id,
        ):
            if other.value == metric.value:
                return
            raise Refused("UNIQUE constraint failed: logged_model_metrics.model_id", "BAD_REQUEST")
    model.metrics.append(metric)


def _log_metric(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        **RUN_ID,
        "key": _NEEDED,
        "value": Field("double", required=True),
        "timestamp": Field("int64", required=True),
        "step": Field("int64"),
        "model_id": Field("string"),
        "dataset_name": Field("string"),
        "dataset_digest": Field("string"),
    }
    values = read(request, fields)
    run_id = run_id_of(values)
    if values.get("model_id"):
        active_run(state, run_id)
    metric = _metric_of(state, run_id, values, "")
    run = active_run(state, run_id)
    if metric.model_id:
        _store_on_model(state, metric)
    _store(run, metric)
    return {}


def _log_param(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {**RUN_ID, "key": _NEEDED, "value": Field("string")})
    key, value = _checked_param(values.get("key", ""), values.get("value", ""), "")
    run = active_run(state, run_id_of(values))
    old = run.params.setdefault(key, value)
    if old != value:
        raise invalid(
            f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}'"
            f" for run ID='{run.run_id}'. Attempted logging new value '{value}'."
        )
    return {}


def _checked_param(key: str, value: str, path: str) -> tuple[str, str]:
    checked_key(key, f"{path}.key" if path else "key")
    return checked_length("Param key", KEY_LENGTH, key), truncated(value, PARAM_LENGTH)


def _log_batch(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(request, Fields) and request.unreadable:
        raise Refused("Internal Server Error", "INTERNAL_ERROR")
    fields = {
        "run_id": _NEEDED,
        "metrics": Field(Repeated(Message(_METRIC))),
        "params": Field(TAGS),
        "tags": Field(TAGS),
    }
    values = read(request, fields)
    _check_present(request, "metrics", ("key", "value", "timestamp"))
    _check_present(request, "params", ("key",))
    _check_present(request, "tags", ("key",))
    run_id = values.get("run_id", "")
    if re.match(r"^[a-zA-Z0-9][\w\-]{0,255}$", run_id) is None:
        raise invalid(invalid_value("run_id", run_id))
    metrics = [
        _metric_of(state, run_id, metric, f"metrics[{at}]") for at, metric in enumerate(values.get("metrics", []))
    ]
    params = _numbered(values, "params", _checked_param)
    tags = _numbered(values, "tags", checked_tag)
    _check_limits(metrics, params, tags)
    run = active_run(state, run_id)
    # Each group is a commit of its own there: a later one that fails leaves the earlier ones stored.
    _store_params(run, params)
    for metric in metrics:
        _store(run, metric)
    for metric in metrics:
        if metric.model_id:
            _store_on_model(state, metric)
    for key, value in tags:
        _store_tag(run, key, value)
    return {}


def _numbered(
    values: Mapping[str, Any], group: str, check: Callable[[str, str, str], tuple[str, str]]
) -> list[tuple[str, str]]:
    return [
        check(item.get("key", ""), item.get("value", ""), f"{group}[{at}]")
        for at, item in enumerate(values.get(group, []))
    ]


def _check_present(request: Mapping[str, Any], group: str, names: Sequence[str]) -> None:
    """Refuse a group with an item that lacks a field, as it stands in the request."""
    items = request.get(group, [])
    if items is None:
        raise Refused("Internal Server Error", "INTERNAL_ERROR")
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            raise Refused("Internal Server Error", "INTERNAL_ERROR")
        fields = cast("dict[str, Any]", item)
        for name in names:
            if fields.get(name) is None or fields[name] == "":
                raise invalid(
                    f"Missing value for required parameter '{group}[{at}].{name}'."
                    " See the API docs for more information about request parameters."
                )


def _check_limits(metrics: list[Metric], params: list[tuple[str, str]], tags: list[tuple[str, str]]) -> None:
    counts = (("metrics", 1000, len(metrics)), ("params", 100, len(params)), ("tags", 100, len(tags)))
    total = len(metrics) + len(params) + len(tags)
    for what, limit, count in (*counts, ("metrics, params, and tags", 1000, total)):
        if count > limit:
            raise invalid(
                f"A batch logging request can contain at most {limit} {what}. Got {count} {what}."
                f" Please split up {what} across multiple requests and try again."
            )
    keys = [key for key, _ in params]
    if twice := [key for at, key in enumerate(keys) if key in keys[:at]]:
        raise invalid(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request contains only one"
            " param value per param key."
        )


def _store_params(run: Run, params: list[tuple[str, str]]) -> None:
    """Store all of them or, when one would change, none."""
    changes = [
        {"key": key, "old_value": run.params[key], "new_value": value}
        for key, value in params
        if run.params.get(key, value) != value
    ]
    if changes:
        raise invalid(
            f"Changing param values is not allowed. Params were already logged='{changes}' for run ID='{run.run_id}'."
        )
    for key, value in params:
        run.params.setdefault(key, value)


def _store_tag(run: Run, key: str, value: str) -> None:
    if key == RUN_NAME:
        rename(run, value)
    else:
        run.tags[key] = value


def _set_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {**RUN_ID, "key": _NEEDED, "value": Field("string")})
    key, value = checked_tag(values.get("key", ""), values.get("value", ""))
    _store_tag(active_run(state, run_id_of(values)), key, value)
    return {}


def _delete_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"run_id": _NEEDED, "key": _NEEDED})
    run = active_run(state, values.get("run_id", ""))
    if run.tags.pop(values["key"], None) is None:
        raise missing(f"No tag with name: {values['key']} in run with id {run.run_id}")
    return {}


def _get_history(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        **RUN_ID,
        "metric_key": _NEEDED,
        "page_token": Field("string"),
        "max_results": Field("int32", checked=False),
    }
    values = read(request, fields)
    most: int | None = values.get("max_results")
    if most is not None and most <= 0:
        raise invalid(f"Invalid value {most} for parameter 'max_results' supplied. It must be a positive integer.")
    run = state.runs.get(run_id_of(values))
    history = run.metrics.get(values["metric_key"], []) if run else []
    history = sorted(history, key=lambda metric: (metric.timestamp, metric.step, metric.value))
    shown, token = page(history, values.get("page_token", ""), most)
    answer: dict[str, Any] = {"metrics": [show_metric(metric) for metric in shown]} if shown else {}
    return {**answer, "next_page_token": token} if token else answer


HANDLERS = {
    ("POST", "runs/log-metric"): _log_metric,
    ("POST", "runs/log-parameter"): _log_param,
    ("POST", "runs/log-batch"): _log_batch,
    ("POST", "runs/set-tag"): _set_tag,
    ("POST", "runs/delete-tag"): _delete_tag,
    ("GET", "metrics/get-history"): _get_history,
}
