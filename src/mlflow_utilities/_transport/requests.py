"""Building requests: the parts that never change are built once for each client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus, urlsplit

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.typing import Call, Timeout

__all__ = ["RequestBuilder", "encode_body"]


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return strict JSON.

    Raises:
        InvalidInputError: a value is not JSON, or is a bare NaN or infinity.

    """
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the arguments cannot be sent as JSON: {error}", hint="use plain values") from error


class RequestBuilder:
    """Turns calls into the library's requests."""

    def __init__(self, library: Any, base_url: str, user_agent: str, workspace: str | None) -> None:
        self._library = library
        self._base_url = base_url
        headers = [
            (b"host", urlsplit(base_url).netloc.encode()),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"gzip, deflate"),
            (b"connection", b"keep-alive"),
            (b"user-agent", user_agent.encode()),
        ]
        if workspace:
            headers.append((b"x-mlflow-workspace", workspace.encode()))
        self._headers = headers
        self._timeouts: dict[Timeout, dict[str, Any]] = {}

    def build(self, call: Call, authorization: bytes | None, timeout: Timeout, content: Any) -> Any:
        """Return the request; `content` is bytes, an async iterator of bytes, or None."""
        headers = self._merged(call.headers) if call.headers else list(self._headers)
        if authorization:
            headers.append((b"authorization", authorization))
        if call.body is not None:
            headers.append((b"content-type", b"application/json"))
        url = self._base_url + call.path
        if call.query:
            url += "?" + "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in call.query)
        return self._library.Request(
            call.method, url, headers=headers, content=content, extensions=self._extensions(timeout)
        )

    def _merged(self, extra: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
        own = [(name.lower().encode(), value.encode()) for name, value in extra]
        names = {name for name, _ in own}
        return [pair for pair in self._headers if pair[0] not in names] + own

    def _extensions(self, timeout: Timeout) -> dict[str, Any]:
        found = self._timeouts.get(timeout)
        if found is None:
            parts = {"connect": timeout.connect, "read": timeout.read, "write": timeout.write, "pool": timeout.pool}
            found = self._timeouts[timeout] = {"timeout": parts}
            if len(self._timeouts) > 64:
                self._timeouts = {timeout: found}
        return dict(found)
