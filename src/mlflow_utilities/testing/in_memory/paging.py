"""Pages: how many results there are on one, and the token of the next."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from mlflow_utilities.testing.in_memory.refusals import invalid

__all__ = ["LONGEST_PAGE", "checked_max_results", "page"]

_Item = TypeVar("_Item")
LONGEST_PAGE = 50_000


def checked_max_results(value: int, most: int = LONGEST_PAGE) -> int:
    """Return `max_results`; raises Refused unless it is 1 to `most`."""
    if value < 1:
        raise invalid(f"Invalid value {value} for parameter 'max_results' supplied. It must be a positive integer")
    if value > most:
        raise invalid(f"Invalid value {value} for parameter 'max_results' supplied. It must be at most {most}")
    return value


def _token_of(offset: int) -> str:
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def _offset_of(token: str) -> int:
    if not token:
        return 0
    try:
        decoded = base64.b64decode(token)
    except (binascii.Error, ValueError):
        raise invalid("Invalid page token, could not base64-decode") from None
    try:
        parsed: Any = json.loads(decoded)
    except ValueError:
        raise invalid(f"Invalid page token, decoded value={decoded!r}") from None
    offset = cast("dict[str, Any]", parsed).get("offset") if isinstance(parsed, dict) else None
    if not offset:
        raise invalid(f"Invalid page token, parsed value={parsed}")
    try:
        return int(offset)
    except (TypeError, ValueError):
        raise invalid(f"Invalid page token, not stringable {offset}") from None


def page(items: Sequence[_Item], token: str, max_results: int | None) -> tuple[list[_Item], str | None]:
    """Return the items of one page and the token of the next when there is one.

    Raises Refused for a token that is none.
    """
    begin = _offset_of(token)
    if max_results is None:
        return list(items[begin:]), None
    end = begin + max_results
    return list(items[begin:end]), _token_of(end) if end < len(items) else None
