"""Arguments as MLflow's JSON: checked here, because the server drops values of a wrong type without a word."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

from mlflow_utilities.errors import InvalidInputError

__all__ = [
    "MAX_KEY",
    "MAX_PARAM",
    "MAX_TAG",
    "compact",
    "identifier",
    "integer",
    "key_of",
    "metric_json",
    "new_description",
    "number_json",
    "pairs_json",
    "stored_key",
    "text",
    "value_text",
]

MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 8000
_INT64 = 2**63
_KEY = re.compile(r"[/\w.\- :]+")


def compact(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def identifier(value: object, name: str) -> str:
    """Return an id or a name: text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidInputError(f"{name} is {value!r}", hint="give text that is not empty")
    return value


def text(value: object, name: str) -> str:
    """Return text, which may be empty."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} is {value!r}", hint="give text")
    return value


def integer(value: object, name: str, low: int = -_INT64) -> int:
    """Return an integer that MLflow can store."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) < _INT64:
        raise InvalidInputError(f"{name} is {value!r}", hint=f"give an integer from {low} to {_INT64 - 1}")
    return int(value)


def key_of(value: object, name: str) -> str:
    """Return the key of a metric, param or tag, by the rule that MLflow has for most of them, not for all.

    A key with a quote, which `runs/create` would store, cannot be searched for.
    """
    key = stored_key(value, name)
    if not _KEY.fullmatch(key):
        raise InvalidInputError(
            f"{name} is {key!r}", hint="use letters, digits, spaces, underscores, dashes, periods, colons and slashes"
        )
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise InvalidInputError(f"{name} is {key!r}", hint="leave out empty, '.' and '..' parts between slashes")
    return key


def stored_key(value: object, name: str) -> str:
    """Return a key that the server may hold, whatever its characters are."""
    key = identifier(value, name)
    if len(key) > MAX_KEY:
        raise InvalidInputError(f"{name} {key[:40]!r}... has {len(key)} characters", hint=f"use at most {MAX_KEY}")
    return key


def value_text(value: object, name: str, limit: int) -> str:
    """Return the value of a param or tag as text; a long one is refused, because the server would cut it."""
    result = value if isinstance(value, str) else str(value)
    if len(result) > limit:
        raise InvalidInputError(
            f"the value of {name} has {len(result)} characters, and the server would keep {limit}",
            hint="log it as an artifact",
        )
    return result


def new_description(value: object) -> str:
    """Return a description: without one the server would erase the old one, as with an empty one."""
    if value is None:
        raise InvalidInputError("there is no new description", hint='give text; "" removes the description')
    return text(value, "description")


def number_json(value: object, name: str) -> float | str:
    """Return a metric's value as MLflow's JSON has it: "NaN" and "Infinity" are texts."""
    if isinstance(value, bool) or not isinstance(value, Real):
        try:
            if isinstance(value, bool | str | bytes):
                raise TypeError
            number = float(cast("Any", value))
        except (TypeError, ValueError):
            raise InvalidInputError(f"the value of metric {name} is {value!r}", hint="give a number") from None
    else:
        try:
            number = float(value)
        except OverflowError:
            raise InvalidInputError(
                f"the value of metric {name} is too large for a float", hint="use float('inf')"
            ) from None
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def metric_json(metric: Any, now_ms: int) -> dict[str, Any]:
    """Return a metric of ours or of MLflow's as JSON."""
    key = key_of(getattr(metric, "key", None), "the key of a metric")
    timestamp = getattr(metric, "timestamp", None)
    return compact(
        key=key,
        value=number_json(getattr(metric, "value", None), key),
        timestamp=now_ms if timestamp is None else integer(timestamp, f"the timestamp of {key}", 0),
        step=integer(getattr(metric, "step", None) or 0, f"the step of {key}"),
        model_id=getattr(metric, "model_id", None),
        dataset_name=getattr(metric, "dataset_name", None),
        dataset_digest=getattr(metric, "dataset_digest", None),
    )


def pairs_json(
    pairs: object, name: str, limit: int, key_rule: Callable[[object, str], str] = key_of
) -> list[dict[str, str]]:
    """Return params or tags, given as a mapping or as objects with `key` and `value`, as JSON.

    Raises:
        InvalidInputError: a key is missing, is not one MLflow keeps, or is given twice with two values.

    """
    if pairs is None:
        return []
    if isinstance(pairs, Mapping):
        items: Iterable[tuple[object, object]] = cast("Mapping[object, object]", pairs).items()
    elif isinstance(pairs, Sequence | Iterable) and not isinstance(pairs, str):
        listed = cast("Iterable[object]", pairs)
        items = [(getattr(pair, "key", None), getattr(pair, "value", "")) for pair in listed]
    else:
        raise InvalidInputError(f"the {name}s are {pairs!r}", hint="give a mapping or a list")
    found: dict[str, str] = {}
    for key, value in items:
        checked = key_rule(key, f"the key of a {name}")
        result = value_text(value, f"{name} {checked}", limit)
        if found.setdefault(checked, result) != result:
            raise InvalidInputError(f"{name} {checked!r} is given twice, as {found[checked]!r} and {result!r}")
    return [{"key": key, "value": value} for key, value in found.items()]
