"""Building requests: the parts that never change are built once for each client."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote_plus

from mlflow_utilities.errors import ConfigurationError, InvalidInputError
from mlflow_utilities.typing import Call, Timeout

__all__ = ["RequestBuilder", "encode_body"]

Headers = list[tuple[bytes, bytes]]
K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED = 64  # of what a client asks for again and again
_LONG = 4096
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


def _query(call: Call) -> str:
    try:
        return "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in call.query)
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{error.object!r} cannot be sent: it holds half of a character",
            hint="the bytes it was read from are not in the encoding that was expected",
        ) from error


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
            self._base: Any = library.URL(base_url)
            host: bytes = self._base.netloc
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
        self._usual: dict[tuple[bytes | None, bool], Any] = {}
        self._paths: dict[str, bytes] = {}

    def build(self, call: Call, authorization: bytes | None, timeout: Timeout, content: Any) -> Any:
        """Return the request; `content` is bytes, an async iterator of bytes, or None."""
        query = _query(call)
        if self._client is None and len(query) < _LONG and "?" not in call.path and "#" not in call.path:
            headers = self._own_headers(call, authorization)
            request = self._library.Request(
                call.method, self._base, headers=headers, content=content, extensions=self._extensions(timeout)
            )
            request.url = self._url(call.path, query)
            return request
        url = self._base_url + call.path + ("?" + query if query else "")
        return self._library.Request(
            call.method,
            url,
            headers=self._all_headers(call, authorization),
            content=content,
            extensions=self._extensions(timeout),
        )

    def _own_headers(self, call: Call, authorization: bytes | None) -> Any:
        """Return headers that the library does not have to read again for each request."""
        if call.headers:
            return self._all_headers(call, authorization)
        key = (authorization, call.body is not None)
        found = self._usual.get(key)
        if found is None:
            found = _remember(self._usual, key, self._library.Headers(self._all_headers(call, authorization)))
        return found

    def _url(self, path: str, query: str) -> Any:
        """Return the address of a request: only its path is parsed, and that once."""
        text = self._base_url + path
        target = self._paths.get(path)
        if target is None:
            target = _remember(self._paths, path, self._library.URL(text).raw_path)
        if query:
            text, target = f"{text}?{query}", target + b"?" + query.encode()
        return _known_url(self._library)(text, self._base, target)

    def _all_headers(self, call: Call, authorization: bytes | None) -> Headers:
        headers = self._headers.copy()
        if call.headers:
            headers = _over(headers, [(name.lower().encode(), value.encode()) for name, value in call.headers])
        if self._client is not None:
            headers = _over(self._borrowed(authorization), headers)
        if authorization:
            headers.append((b"authorization", authorization))
        if call.body is not None:
            headers.append((b"content-type", b"application/json"))
        return headers

    def _borrowed(self, authorization: bytes | None) -> Headers:
        assert self._client is not None
        ours = _OF_THE_REQUEST if authorization else _OF_THE_REQUEST - {b"authorization"}
        pairs: Headers = self._client.headers.raw
        return [(name.lower(), value) for name, value in pairs if name.lower() not in ours]

    def _extensions(self, timeout: Timeout) -> dict[str, Any]:
        found = self._timeouts.get(timeout)
        if found is None:
            parts = {"connect": timeout.connect, "read": timeout.read, "write": timeout.write, "pool": timeout.pool}
            found = _remember(self._timeouts, timeout, {"timeout": parts})
        return found.copy()


def _over(lower: Headers, upper: Headers) -> Headers:
    names = {name for name, _ in upper}
    return [pair for pair in lower if pair[0] not in names] + upper


def _remember(store: dict[K, V], key: K, value: V) -> V:
    if len(store) >= _REMEMBERED:
        store.clear()
    store[key] = value
    return value


@functools.cache
def _known_url(library: Any) -> Any:
    """Return a class of URLs of a server that is known: parsed only when more is asked than a transport asks."""

    class KnownURL(library.URL):  # type: ignore[misc]
        def __init__(self, text: str, base: Any, target: bytes) -> None:
            self.__dict__.update(_text=text, _base=base, _target=target)

        @property
        def raw_scheme(self) -> bytes:
            scheme: bytes = self.__dict__["_base"].raw_scheme
            return scheme

        @property
        def raw_host(self) -> bytes:
            host: bytes = self.__dict__["_base"].raw_host
            return host

        @property
        def port(self) -> int | None:
            port: int | None = self.__dict__["_base"].port
            return port

        @property
        def raw_path(self) -> bytes:
            target: bytes = self.__dict__["_target"]
            return target

        def __getattr__(self, name: str) -> Any:
            parsed = library.URL(self.__dict__["_text"]).__dict__
            if name not in parsed:
                raise AttributeError(name)
            self.__dict__.update(parsed)
            return parsed[name]

    return KnownURL
