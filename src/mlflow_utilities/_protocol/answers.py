"""What an HTTP answer means: a value, or which error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from mlflow_utilities.errors import (
    AlreadyExistsError,
    BadRequestError,
    EndpointNotFoundError,
    InvalidParameterError,
    MlflowApiError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    ServerError,
    UnauthenticatedError,
)
from mlflow_utilities.typing import Call, JsonObject, Safety

__all__ = ["api_error_class", "decode_object", "error_of", "text_of"]

_MAX_MESSAGE = 2000
_PAGE = 4000
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_NOT_JSON = object()
_HINTS = {
    401: "check the username and password, or the token",
    403: "the credentials lack the permission, or the server's --allowed-hosts lacks this host name",
}
_NO_ENDPOINT_HINT = "is the server older than this feature, or a path prefix missing in the tracking URI?"

_BY_CODE: dict[str, type[MlflowApiError]] = {
    "BAD_REQUEST": BadRequestError,
    "INVALID_PARAMETER_VALUE": InvalidParameterError,
    "RESOURCE_ALREADY_EXISTS": AlreadyExistsError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "RESOURCE_CONFLICT": AlreadyExistsError,
    "RESOURCE_DOES_NOT_EXIST": NotFoundError,
    "NOT_FOUND": NotFoundError,
    "ENDPOINT_NOT_FOUND": EndpointNotFoundError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "CUSTOMER_UNAUTHORIZED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "REQUEST_LIMIT_EXCEEDED": RateLimitedError,
    "RESOURCE_EXHAUSTED": RateLimitedError,
    "INTERNAL_ERROR": ServerError,
    "INVALID_STATE": ServerError,
    "TEMPORARILY_UNAVAILABLE": ServerError,
    "DEADLINE_EXCEEDED": ServerError,
    "FEATURE_DISABLED": ServerError,
}
_BY_STATUS: dict[int, type[MlflowApiError]] = {
    400: InvalidParameterError,
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: EndpointNotFoundError,
    405: EndpointNotFoundError,
    409: AlreadyExistsError,
    429: RateLimitedError,
}


def api_error_class(status: int, error_code: str | None) -> type[MlflowApiError]:
    """Return the error class for an answer: by MLflow's error code first, by HTTP status otherwise.

    A 404 or 405 without a code comes from the server's router, or from something in front of it: there is no endpoint.
    """
    if error_code in _BY_CODE:
        return _BY_CODE[error_code]
    if 300 <= status < 400:
        return RedirectError
    if status >= 500:
        return ServerError
    if status == 404 and error_code:
        return NotFoundError
    return _BY_STATUS.get(status, MlflowApiError)


def decode_object(body: bytes, call: Call) -> JsonObject:
    """Return the JSON object of a body; after a write, an empty body is an empty object.

    Raises:
        ProtocolError: the body is something else. MLflow answers a read that found nothing with `{}`: no body at all is
            no answer of its own, and must not be taken for an empty page.

    """
    if not body and call.safety is not Safety.READ:
        return {}
    value = _parsed(body)
    if value is _NOT_JSON:
        raise ProtocolError(
            f"{call.method} {call.path}: the answer is not JSON: {text_of(body, 80)!r}",
            hint="is this the address of an MLflow server, and not of a login page or a proxy?",
        )
    if not isinstance(value, dict):
        raise ProtocolError(f"{call.method} {call.path}: the answer is not a JSON object: {text_of(body, 80)!r}")
    return cast("JsonObject", value)


def _parsed(body: bytes) -> Any:
    """Return the value of a JSON body, or _NOT_JSON: json's own error would carry the body along."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _NOT_JSON


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
    hint = _HINTS.get(status)
    if cls is RedirectError:
        message, hint = f"redirected to {_target(headers)}", "set the tracking URI to the final address"
    elif cls is EndpointNotFoundError:
        hint = _NO_ENDPOINT_HINT
    return cls(
        message,
        status=status,
        error_code=code,
        method=call.method,
        path=call.path,
        retry_after=retry_after,
        hint=hint,
    )


def _target(headers: Mapping[str, str]) -> str:
    """Return where a redirect leads, without what may be secret: user, password, query."""
    location = headers.get("location")
    if not location:
        return "nowhere"
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an address that is not one"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path


def _page_text(body: bytes) -> str | None:
    """Return what a web page says, without its markup: the pages of proxies, and the server's own for no such route."""
    if body.lstrip()[:1] != b"<":
        return None
    from html import unescape  # only when something is wrong: its tables take a millisecond of every start

    page = body[:_PAGE].decode("utf-8", "replace")
    title = _TITLE.search(page)
    words = " ".join(unescape(_MARKUP.sub(" ", title[1] if title else page)).split())
    return f"a web page, which says {words[:200]!r}" if words else None


def _read_error(body: bytes) -> tuple[str | None, str]:
    value = _parsed(body)
    if not isinstance(value, dict):
        return None, _page_text(body) or text_of(body, 200)
    fields = cast("dict[str, Any]", value)
    code = fields.get("error_code")
    message = fields.get("message") or fields.get("detail") or ""
    text = message if isinstance(message, str) else json.dumps(message)
    return (code if isinstance(code, str) else None), text[:_MAX_MESSAGE]
