"""logged-models/search, whose filters are read by a parser of their own."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from mlflow_utilities.testing.in_memory.experiments import parse_experiment_id
from mlflow_utilities.testing.in_memory.fields import Field, Message, Repeated, read
from mlflow_utilities.testing.in_memory.filter_language import LISTS, NUMBERS, TEXTS, Comparison, compares
from mlflow_utilities.testing.in_memory.logged_models import STATUSES, show_logged_model
from mlflow_utilities.testing.in_memory.ordering import ordered
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid
from mlflow_utilities.testing.in_memory.state import LoggedModel, Metric, State

__all__ = ["HANDLERS"]

_DEFAULT_PAGE = 50
_ZERO_PAGE = 100
_ENTITIES = {"attributes": "attribute", "metrics": "metric", "params": "parameter", "tags": "tag"}
_ALIASES = {
    "creation_time": "creation_timestamp_ms",
    "creation_timestamp": "creation_timestamp_ms",
    "last_updated_timestamp": "last_updated_timestamp_ms",
}
_TIMES = ("creation_timestamp_ms", "last_updated_timestamp_ms")
_COLUMNS = {
    "artifact_location": "artifact_uri",
    **{
        name: name
        for name in (
            *("model_id", "experiment_id", "name", "status", "lifecycle_stage", "model_type", "source_run_id"),
            *("status_message", *_TIMES),
        )
    },
}
_PART = r"""(?:`[^`]*`|"[^"]*"|[\w.-]+)"""
_LIST = r"""\((?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^()'"])*\)"""
_CLAUSE = re.compile(
    rf"""\s*(?P<key>[A-Za-z_`]{_PART}*(?:\.{_PART})*)
    \s*(?P<operator>NOT\s+IN\b|IN\b|I?LIKE\b|!=|>=|<=|=|>|<)
    \s*(?P<value>'(?:''|\\'|[^'])*'|"[^"]*"|{_LIST}|-?[\w.][\w.+-]*)\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_AND = re.compile(r"\s*\bAND\b\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Order:
    field_name: str
    ascending: bool
    dataset_name: str | None
    dataset_digest: str | None


def _search(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    dataset = {"dataset_name": "string", "dataset_digest": "string"}
    order = {"field_name": "string", "ascending": "bool", **dataset}
    fields = {
        "experiment_ids": Field(Repeated("string"), required=True, items_checked=True),
        "filter": Field("string"),
        "datasets": Field(Repeated(Message(dataset))),
        "max_results": Field("int32"),
        "order_by": Field(Repeated(Message(order))),
        "page_token": Field("string"),
    }
    values = read(request, fields)
    datasets = [(one.get("dataset_name", ""), one.get("dataset_digest") or None) for one in values.get("datasets", [])]
    if not all(name for name, _ in datasets):
        raise invalid("`dataset_name` in the `datasets` clause must be specified.")
    orders = [_order_of(one) for one in values.get("order_by", [])]
    asked: dict[str, Any] = {
        "experiment_ids": values.get("experiment_ids", []),
        "filter_string": values.get("filter") or None,
        "order_by": [_as_json(one) for one in orders] or None,
    }
    offset = _offset(values["page_token"], asked) if values.get("page_token") else 0
    most = values.get("max_results", _DEFAULT_PAGE) or _ZERO_PAGE
    clauses = _parse(values.get("filter", ""))
    experiment_ids = {parse_experiment_id(text) for text in asked["experiment_ids"]}
    found = [
        model
        for model in state.logged_models.values()
        if model.lifecycle_stage == "active"
        and model.experiment_id in experiment_ids
        and _matches(model, clauses, datasets)
    ]
    found = _in_order(found, orders)[offset:]
    shown = [show_logged_model(model) for model in (found[:most] if most > 0 else [])]
    answer: dict[str, Any] = {"models": shown} if shown else {}
    if len(found) > most:
        answer["next_page_token"] = _token({**asked, "offset": offset + most})
    return answer


def _as_json(order: _Order) -> dict[str, Any]:
    return {
        "field_name": order.field_name,
        "ascending": order.ascending,
        "dataset_name": order.dataset_name,
        "dataset_digest": order.dataset_digest,
    }


def _order_of(values: Mapping[str, Any]) -> _Order:
    return _Order(
        values.get("field_name", ""),
        values.get("ascending", True),
        values.get("dataset_name") or None,
        values.get("dataset_digest") or None,
    )


def _token(values: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(values).encode()).decode()


def _offset(token: str, asked: Mapping[str, Any]) -> int:
    try:
        values: Any = json.loads(base64.b64decode(token).decode())
    except json.JSONDecodeError as error:
        raise invalid(f"Invalid page token: {token}. {error}") from None
    except ValueError:
        raise Refused("Internal Server Error", "INTERNAL_ERROR") from None
    if not isinstance(values, dict):
        raise Refused("Internal Server Error", "INTERNAL_ERROR")
    held = cast("Mapping[str, Any]", values)
    names = {"experiment_ids": "Experiment IDs", "filter_string": "Filter string", "order_by": "Order by"}
    for field, name in names.items():
        found = held.get(field) if field == "experiment_ids" else held.get(field) or None
        if found != asked[field]:
            raise invalid(
                f"{name} in the page token do not match what was requested. Expected: {asked[field]}. Found: {found}"
            )
    return held.get("offset") or 0


def _parse(text: str) -> list[Comparison]:
    clauses: list[Comparison] = []
    at = 0
    while text[at:].strip():
        if joint := _AND.match(text, at):
            at = joint.end()
            continue
        match = _CLAUSE.match(text, at)
        after = text[match.end() :] if match else ""
        if match is None or (after and not _AND.match(text, match.end() - 1) and not _AND.match(after)):
            raise invalid(
                f"Invalid filter string: {text!r}. Expected a list of comparisons separated by 'AND'"
                " (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01')."
            )
        clauses.append(_comparison(match["key"], " ".join(match["operator"].upper().split()), match["value"]))
        at = match.end()
    return clauses


def _comparison(name: str, operator: str, value: str) -> Comparison:
    if operator in LISTS and not value.startswith("("):
        raise invalid(f"Invalid filter string: {operator} {value} is no comparison with a list.")
    prefix, dot, key = name.partition(".")
    if dot and prefix not in _ENTITIES:
        raise invalid(f"Invalid entity type: {prefix!r}. Expected one of {list(_ENTITIES)}.")
    entity = _ENTITIES[prefix] if dot else "attribute"
    key = key.strip("`") if dot else _ALIASES.get(name, name).strip("`")
    numeric = entity == "metric" or (entity == "attribute" and _ALIASES.get(key, key) in _TIMES)
    allowed = NUMBERS if numeric else TEXTS | LISTS
    if operator not in allowed:
        raise invalid(
            f"Invalid comparison operator for {name}: {operator!r}. Expected one of {tuple(sorted(allowed))}."
        )
    if entity == "attribute" and key not in _COLUMNS:
        raise Refused(f"type object 'SqlLoggedModel' has no attribute '{key}'", "INTERNAL_ERROR")
    try:
        compared = float(value) if numeric else _text(value)
    except (ValueError, SyntaxError):
        raise Refused("Internal Server Error", "INTERNAL_ERROR") from None
    if isinstance(compared, tuple) and operator not in LISTS:
        raise Refused(f"Error binding parameter: a list cannot be compared by {operator}", "BAD_REQUEST")
    return Comparison(entity, key, operator, compared)


def _text(value: str) -> str | tuple[str, ...]:
    """Return what is compared: of a text only single quotes are taken off, all of them."""
    if not value.startswith("("):
        return value.strip("'")
    read: object = ast.literal_eval(value)
    values = cast("tuple[object, ...]", read) if isinstance(read, tuple) else (read,)
    return tuple(str(item) for item in values)


def _matches(model: LoggedModel, clauses: Sequence[Comparison], datasets: Sequence[tuple[str, str | None]]) -> bool:
    of_metrics = [clause for clause in clauses if clause.entity == "metric"]
    if datasets and not of_metrics and not any(_is_of(metric, datasets) for metric in model.metrics):
        return False
    # Any value that was logged will do, not the latest alone.
    return all(
        any(
            metric.key == clause.key and compares(clause, metric.value) and (not datasets or _is_of(metric, datasets))
            for metric in model.metrics
        )
        if clause.entity == "metric"
        else compares(clause, _value(model, clause))
        for clause in clauses
    )


def _is_of(metric: Metric, datasets: Sequence[tuple[str, str | None]]) -> bool:
    return (metric.dataset_name, metric.dataset_digest) in datasets


def _value(model: LoggedModel, clause: Comparison) -> str | int | None:
    if clause.entity == "parameter":
        return model.params.get(clause.key)
    if clause.entity == "tag":
        return model.tags.get(clause.key)
    return str(STATUSES[model.status]) if clause.key == "status" else getattr(model, _COLUMNS[clause.key])


def _in_order(models: list[LoggedModel], orders: list[_Order]) -> list[LoggedModel]:
    terms = [*orders]
    names = {_ALIASES.get(order.field_name, order.field_name) for order in orders}
    if "creation_timestamp_ms" not in names:
        terms.append(_Order("creation_timestamp_ms", False, None, None))
    if "model_id" not in names:
        terms.append(_Order("model_id", True, None, None))
    for order in terms:
        _check_order(order)
    for order in reversed(terms):
        models = ordered(models, partial(_sort_value, order=order), ascending=order.ascending)
    return models


def _check_order(order: _Order) -> None:
    entity, dot, _ = order.field_name.partition(".")
    if dot and entity != "metrics":
        raise invalid(f"Invalid order by field name: {order.field_name}. Only metrics are supported.")
    if not dot and _ALIASES.get(order.field_name, order.field_name) not in _COLUMNS:
        raise invalid(f"Invalid order by field name: {order.field_name}")


def _sort_value(model: LoggedModel, order: _Order) -> str | float | None:
    _, dot, key = order.field_name.partition(".")
    if not dot:
        column = _COLUMNS[_ALIASES.get(order.field_name, order.field_name)]
        value: str | int | None = getattr(model, column)
        if column == "status":
            return STATUSES[model.status]
        return int(value) if column == "experiment_id" and value is not None else value
    metrics = [
        metric
        for metric in model.metrics
        if metric.key == key
        and order.dataset_name in (None, metric.dataset_name)
        and order.dataset_digest in (None, metric.dataset_digest)
    ]
    if not metrics:
        return None
    first_run = min(metrics, key=lambda metric: (-metric.timestamp, -metric.step, metric.run_id or ""))
    return first_run.value


HANDLERS = {("POST", "logged-models/search"): _search}
