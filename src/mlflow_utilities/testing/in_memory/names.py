"""What keys and values may be: MLflow's limits, with its messages."""

from __future__ import annotations

import json
import posixpath
import re

from mlflow_utilities.testing.in_memory.refusals import invalid

__all__ = ["KEY_LENGTH", "PARAM_LENGTH", "checked_key", "checked_length", "checked_tag", "invalid_value", "truncated"]

KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000

_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:)"
    " and slashes (/)."
)


def invalid_value(path: str, value: object, message: str = "") -> str:
    """Return the message about a value at a path in the request."""
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f"Invalid value {shown} for parameter '{path}' supplied" + (f": {message}" if message else ".")


def checked_key(key: str, path: str) -> str:
    """Return the key of a metric, param or tag; raises Refused for one that MLflow does not take."""
    # A line break at the end slips through, as it does there.
    if not re.match(r"^[/\w.\- :]*$", key):
        raise invalid(invalid_value(path, key, _CHARACTERS))
    normal = posixpath.normpath(key)
    if normal != key or normal == "." or normal.startswith(("..", "/")):
        raise invalid(
            invalid_value(
                path,
                key,
                "Names may be treated as files in certain cases, and must not resolve to other names when treated as"
                f" such. This name would resolve to {normal!r}",
            )
        )
    return key


def checked_length(what: str, limit: int, value: str) -> str:
    """Return a text of at most `limit` characters; raises Refused for a longer one."""
    if len(value) > limit:
        raise invalid(f"'{what}' exceeds the maximum length of {limit} characters")
    return value


def truncated(value: str, limit: int) -> str:
    """Return the first `limit` characters, which is all that is stored of a long value."""
    return value[:limit]


def checked_tag(key: str, value: str, path: str = "") -> tuple[str, str]:
    """Return the tag of a run as it is stored."""
    where = f"{path}.key" if path else "key"
    checked_key(key, where)
    return checked_length(where, KEY_LENGTH, key), truncated(value, TAG_LENGTH)
