"""What an HTTP answer means: a value, or which error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from mlflow_utilities.errors import (
    EndpointNotFoundError,
    MlflowApiError,
    ProtocolError,
    api_error_class,
)
from mlflow_utilities.typing import Call, JsonObject

__all__ = ["decode_object", "error_of", "text_of"]

_MAX_MESSAGE = 2000
_HINTS = {
    301: "set the tracking URI to the final address",
    401: "check the username and password, or the token",
    403: "the credentials lack the permission, or the server's --allowed-hosts lacks this host name",
}


def decode_object(body: bytes, call: Call) -> JsonObject:
    """Return the JSON object of a body; an empty body is an empty object.

    Raises:
        ProtocolError: the body is something else.

    """
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise ProtocolError(
            f"{call.method} {call.path}: the answer is not JSON: {text_of(body, 80)!r}",
            hint="is this the address of an MLflow server, and not of a login page or a proxy?",
        ) from None
    if not isinstance(value, dict):
        raise ProtocolError(f"{call.method} {call.path}: the answer is not a JSON object: {text_of(body, 80)!r}")
    return cast("JsonObject", value)


def text_of(body: bytes, limit: int = _MAX_MESSAGE) -> str:
    """Return the beginning of a body as text."""
    text = body[: limit * 4].decode("utf-8", "replace").strip()
    return text if len(text) <= limit else text[:limit] + "..."


def error_of(
    call: Call, status: int, headers: Mapping[str, str], body: bytes, retry_after: float | None
) -> MlflowApiError:
    """Return the error that an answer other than 2xx stands for."""
    code, message = _read_error(body)
    cls = api_error_class(status, code)
    hint = _HINTS.get(301 if 300 <= status < 400 else status)
    if status == 404 and code is None:
        cls, hint = EndpointNotFoundError, "is the server older than this feature, or a path prefix missing in the URI?"
    if 300 <= status < 400:
        message = f"redirected to {headers.get('location', 'nowhere')}"
    return cls(
        message,
        status=status,
        error_code=code,
        method=call.method,
        path=call.path,
        retry_after=retry_after,
        hint=hint,
    )


def _read_error(body: bytes) -> tuple[str | None, str]:
    try:
        value: Any = json.loads(body)
    except ValueError:
        return None, text_of(body, 200)
    if not isinstance(value, dict):
        return None, text_of(body, 200)
    fields = cast("dict[str, Any]", value)
    code = fields.get("error_code")
    message = fields.get("message") or fields.get("detail") or ""
    text = message if isinstance(message, str) else json.dumps(message)
    return (code if isinstance(code, str) else None), text[:_MAX_MESSAGE]
