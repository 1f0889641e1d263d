"""Building requests: the parts that never change are built once for each client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

from mlflow_utilities.errors import ConfigurationError, InvalidInputError
from mlflow_utilities.typing import Call, Timeout

__all__ = ["RequestBuilder", "encode_body"]

Headers = list[tuple[bytes, bytes]]

_OF_THE_REQUEST = frozenset((b"content-length", b"content-type", b"transfer-encoding", b"authorization"))


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return strict JSON.

    Raises:
        InvalidInputError: a value is not JSON, or is a bare NaN or infinity.

    """
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"the arguments cannot be sent as JSON: {error}", hint="use plain values") from error


class RequestBuilder:
    """Turns calls into the library's requests.

    Headers of a ready-made client are sent too, except those that have a meaning for MLflow's API.
    """

    def __init__(
        self, library: Any, base_url: str, user_agent: str, workspace: str | None, client: Any | None = None
    ) -> None:
        self._library = library
        self._base_url = base_url
        try:
            host: bytes = library.URL(base_url).netloc
        except library.InvalidURL as error:
            raise ConfigurationError(f"the tracking URI is not a URL: {error}") from None
        self._headers: Headers = [
            (b"host", host),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"gzip, deflate"),
            (b"connection", b"keep-alive"),
            (b"user-agent", user_agent.encode()),
        ]
        if workspace:
            self._headers.append((b"x-mlflow-workspace", workspace.encode()))
        self._client = client
        self._timeouts: dict[Timeout, dict[str, Any]] = {}

    def build(self, call: Call, authorization: bytes | None, timeout: Timeout, content: Any) -> Any:
        """Return the request; `content` is bytes, an async iterator of bytes, or None."""
        headers = self._headers.copy()
        if call.headers:
            headers = _over(headers, [(name.lower().encode(), value.encode()) for name, value in call.headers])
        if self._client is not None:
            headers = _over(self._borrowed(authorization), headers)
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

    def _borrowed(self, authorization: bytes | None) -> Headers:
        assert self._client is not None
        ours = _OF_THE_REQUEST if authorization else _OF_THE_REQUEST - {b"authorization"}
        pairs: Headers = self._client.headers.raw
        return [(name.lower(), value) for name, value in pairs if name.lower() not in ours]

    def _extensions(self, timeout: Timeout) -> dict[str, Any]:
        found = self._timeouts.get(timeout)
        if found is None:
            parts = {"connect": timeout.connect, "read": timeout.read, "write": timeout.write, "pool": timeout.pool}
            found = {"timeout": parts}
            if len(self._timeouts) >= 64:
                self._timeouts.clear()
            self._timeouts[timeout] = found
        return found.copy()


def _over(lower: Headers, upper: Headers) -> Headers:
    names = {name for name, _ in upper}
    return [pair for pair in lower if pair[0] not in names] + upper
