"""What all entities share: frozen, open to fields of newer servers, read from MLflow's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

__all__ = ["Entity", "key_values", "metric_values"]


class Entity(BaseModel):
    """Base of the entities."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        defer_build=True,
        populate_by_name=True,
        protected_namespaces=(),
    )


def _items(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("a list of key and value was expected")
    return cast("Sequence[Mapping[str, Any]]", value)


def key_values(value: Any) -> dict[str, str]:
    """Return a list of key and value as a dict."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, str]", value))
    try:
        return {item["key"]: item.get("value", "") for item in _items(value)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("a list of key and value was expected") from error


def metric_values(value: Any) -> dict[str, float]:
    """Return a list of metrics as a dict of their values; "NaN" and "Infinity" are numbers."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, float]", value))
    try:
        return {item["key"]: float(item.get("value", 0.0)) for item in _items(value)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("a list of metrics was expected") from error
