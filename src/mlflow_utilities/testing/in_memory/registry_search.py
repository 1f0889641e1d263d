"""registered-models/search and model-versions/search; prompts are left out unless the filter asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from mlflow_utilities.testing.in_memory.fields import Field, Repeated, read
from mlflow_utilities.testing.in_memory.filter_language import (
    LISTS,
    NUMBERS,
    TEXTS,
    Comparison,
    Grammar,
    compares,
    parse,
)
from mlflow_utilities.testing.in_memory.names import invalid_value
from mlflow_utilities.testing.in_memory.ordering import ordered, parse_order, split_order
from mlflow_utilities.testing.in_memory.paging import page
from mlflow_utilities.testing.in_memory.refusals import Refused, UnsupportedByInMemoryMlflow, invalid
from mlflow_utilities.testing.in_memory.registered_models import IS_PROMPT, show_model, show_version
from mlflow_utilities.testing.in_memory.state import ModelVersion, RegisteredModel, State

__all__ = ["HANDLERS"]

_Item = TypeVar("_Item", RegisteredModel, ModelVersion)
_Order = tuple[str, bool]

_MOST_MODELS = 1000
_MOST_VERSIONS = 200_000
_FIELDS = {
    "filter": Field("string"),
    "max_results": Field("int64"),
    "order_by": Field(Repeated("string"), items_checked=True),
    "page_token": Field("string"),
}
_PREFIXES = {"attribute": "attribute", "tag": "tag", "tags": "tag"}
_TAGS = {"tag": TEXTS}
_NAMES = TEXTS | LISTS
_MODELS = Grammar(prefixes=_PREFIXES, attributes={"name": _NAMES}, entities=_TAGS, quoted_keys=False, nulls=False)
_VERSIONS = Grammar(
    prefixes=_PREFIXES,
    attributes={
        "name": _NAMES,
        "run_id": _NAMES,
        "source_path": TEXTS,
        "version_number": NUMBERS,
    },
    entities=_TAGS,
    numbers=frozenset({"version_number"}),
    quoted_keys=False,
    quoted_numbers=True,
    nulls=False,
)
_MODEL_ORDERS = {
    "name": "name",
    "timestamp": "last_updated_timestamp",
    "last_updated_timestamp": "last_updated_timestamp",
}
_VERSION_ORDERS = {
    "name": "name",
    "version_number": "version",
    "creation_timestamp": "creation_timestamp",
    "last_updated_timestamp": "last_updated_timestamp",
}
_COLUMNS = {"source_path": "source", "version_number": "version"}


def _search_models(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, _FIELDS)
    most = _at_most(values.get("max_results", 100), _MOST_MODELS)
    if most < 1:
        raise UnsupportedByInMemoryMlflow(f"registered-models/search with max_results={most}")
    clauses = parse(values.get("filter", ""), _MODELS)
    orders = _orders(values.get("order_by", []), _model_order)
    orders = orders if any(column == "name" for column, _ in orders) else [*orders, ("name", True)]
    models = list(state.registered_models.values())
    prompts = {model.name for model in models if model.tags.get(IS_PROMPT) == "true"}
    found = _in_order(_matching(models, clauses, prompts), orders)
    shown, token = page(found, values.get("page_token", ""), most)
    return _answer("registered_models", [show_model(model) for model in shown], token)


def _search_versions(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, _FIELDS)
    most = _at_most(values.get("max_results", _MOST_VERSIONS), _MOST_VERSIONS)
    if most < 1:
        raise invalid(f"Invalid value for max_results. It must be a positive integer, but got {most}")
    clauses = parse(values.get("filter", ""), _VERSIONS)
    for clause in clauses:
        if isinstance(clause.value, float):
            raise invalid(f"Invalid value for numeric attribute '{clause.key}': {clause.value!r}")
    orders = _orders(values.get("order_by") or ["last_updated_timestamp DESC"], _version_order)
    for column, ascending in (("name", True), ("version", False)):
        if all(column != other for other, _ in orders):
            orders.append((column, ascending))
    versions = [version for model in state.registered_models.values() for version in model.versions.values()]
    prompts = {version.name for version in versions if version.tags.get(IS_PROMPT) == "true"}
    found = _in_order(_matching(versions, clauses, prompts), orders)
    shown, token = page(found, values.get("page_token", ""), most)
    return _answer("model_versions", [show_version(version) for version in shown], token)


def _at_most(value: int, most: int) -> int:
    if value > most:
        hint = f" Hint: Value was of type '{type(value).__name__}'."
        raise invalid(
            f"{invalid_value('max_results', value, hint)}"
            " See the API docs for more information about request parameters."
        )
    return value


def _answer(name: str, shown: list[dict[str, Any]], token: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {name: shown} if shown else {}
    return {**answer, "next_page_token": token} if token else answer


def _model_order(clause: str) -> _Order:
    key, ascending = split_order(clause)
    if key not in _MODEL_ORDERS:
        raise invalid(f"Invalid order by key '{key}' specified. Valid keys are '{sorted(_MODEL_ORDERS)}'")
    return _MODEL_ORDERS[key], ascending


def _version_order(clause: str) -> _Order:
    _, key, ascending = parse_order(clause, _PREFIXES, _VERSION_ORDERS)
    if key not in _VERSION_ORDERS:
        raise invalid(f"Invalid order by key '{key}' specified. Valid keys are {sorted(_VERSION_ORDERS)}")
    return _VERSION_ORDERS[key], ascending


def _orders(order_by: list[str], order_of: Callable[[str], _Order]) -> list[_Order]:
    orders: list[_Order] = []
    for clause in order_by:
        column, ascending = order_of(clause)
        if any(column == other for other, _ in orders):
            raise Refused(f"`order_by` contains duplicate fields: {order_by}", "INTERNAL_ERROR")
        orders.append((column, ascending))
    return orders


def _in_order(items: list[_Item], orders: list[_Order]) -> list[_Item]:
    for column, ascending in reversed(orders):
        items = ordered(items, attrgetter(column), ascending=ascending)
    return items


def _matching(items: Sequence[_Item], clauses: list[Comparison], prompts: set[str]) -> list[_Item]:
    """Return what satisfies the clauses: models without the prompts, whatever else is said of them, or prompts."""
    if not _wants_prompts(clauses):
        items = [item for item in items if item.name not in prompts]
        clauses = [clause for clause in clauses if clause.entity != "tag" or clause.key != IS_PROMPT]
    return [item for item in items if all(compares(clause, _value(item, clause)) for clause in clauses)]


def _wants_prompts(clauses: list[Comparison]) -> bool:
    for clause in clauses:
        if clause.entity == "tag" and clause.key == IS_PROMPT:
            return (clause.operator, str(clause.value).lower()) in (("=", "true"), ("!=", "false"))
    return False


def _value(item: RegisteredModel | ModelVersion, clause: Comparison) -> Any:
    if clause.entity == "tag":
        return item.tags.get(clause.key)
    return getattr(item, _COLUMNS.get(clause.key, clause.key))


HANDLERS = {
    ("GET", "registered-models/search"): _search_models,
    ("GET", "model-versions/search"): _search_versions,
}
