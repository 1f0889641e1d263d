"""Pages of a search: an offset, written as MLflow writes its tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from mlflow_utilities.testing.in_memory.refusals import invalid

__all__ = ["check_max_results", "page_of"]

T = TypeVar("T")


def check_max_results(value: int, most: int, *, least: int = 1) -> int:
    """Return the size of a page when MLflow accepts it."""
    if value < least:
        raise invalid(f"Invalid value {value} for parameter 'max_results' supplied. It must be a positive integer")
    if value > most:
        raise invalid(f"Invalid value {value} for parameter 'max_results' supplied. It must be at most {most}")
    return value


def page_of(found: Sequence[T], size: int, token: str) -> tuple[list[T], str | None]:
    """Return one page, and the token of the next one if there is more."""
    start = _offset(token)
    end = start + size
    return list(found[start:end]), _token(end) if len(found) > end else None


def _token(offset: int) -> str:
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        text = base64.b64decode(token, validate=True)
    except ValueError as error:
        raise invalid("Invalid page token, could not base64-decode") from error
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise invalid(f"Invalid page token, decoded value={text!r}") from error
    offset = cast("dict[str, object]", value).get("offset") if isinstance(value, dict) else None
    if not isinstance(offset, int) or isinstance(offset, bool):
        raise invalid(f"Invalid page token, parsed value={value!r}")
    return offset
