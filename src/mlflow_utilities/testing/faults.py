"""What goes wrong between a client and the server, as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.testing.in_memory.exchange import Answer, Request
from mlflow_utilities.testing.recording import endpoint_of
from mlflow_utilities.testing.signals import Signal

__all__ = ["Fault", "Faults", "ScriptedFault"]

_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}
_PROXY_PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body><center><h1>{0}</h1></center></body>\r\n</html>\r\n"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_REASONS = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out", 403: "Forbidden"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Fault:
    """What goes wrong with one request; make it with one of the class methods and give it to `server.faults.add`."""

    description: str
    answer: Answer | None = None
    reaches_server: bool = True
    refuses: bool = False
    loses_answer: bool = False
    cut_after: int | None = None
    stalls: bool = False
    seconds: float | None = None
    piece: int | None = None

    def __repr__(self) -> str:
        return f"Fault({self.description})"

    @classmethod
    def status(
        cls,
        status: int,
        *,
        retry_after: float | None = None,
        error_code: str | None = None,
        message: str = "said by the test",
    ) -> Fault:
        """Answer with an error in MLflow's form instead of doing what was asked.

        Args: `status` of HTTP, e.g. 503 or 429; `retry_after` seconds, for the header of that name; MLflow's
        `error_code`, else one that fits the status; the `message`.
        """
        if retry_after is not None:
            _at_least(retry_after, 0.0, "retry_after")
        code = error_code or _CODES.get(status, "INTERNAL_ERROR")
        headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        return cls._answering(
            f"status {status}", status, {"error_code": code, "message": message}, "application/json", headers
        )

    @classmethod
    def body(
        cls, body: bytes | str | Mapping[str, Any], *, status: int = 200, content_type: str = "application/json"
    ) -> Fault:
        """Answer with this body, whatever was asked; a mapping is sent as JSON."""
        return cls._answering(f"a body of the test, status {status}", status, body, content_type, {})

    @classmethod
    def wrong_json(cls) -> Fault:
        """Answer 200 with something that looks like JSON and is none."""
        return cls._answering("wrong JSON", 200, '{"runs": [{"info": ', "application/json", {})

    @classmethod
    def proxy_page(cls, status: int = 502) -> Fault:
        """Answer with the HTML page of a proxy that does not reach MLflow."""
        page = _PROXY_PAGE.format(f"{status} {_REASONS.get(status, 'Error')}")
        return cls._answering(f"the page of a proxy, status {status}", status, page, "text/html", {})

    @classmethod
    def refused(cls) -> Fault:
        """Refuse the connection; only through the transport, for an ASGI app cannot do that."""
        return cls(description="connection refused", reaches_server=False, refuses=True)

    @classmethod
    def lost_answer(cls) -> Fault:
        """Do what was asked, then break the connection before the answer; over ASGI, before the answer's body."""
        return cls(description="answer lost", loses_answer=True)

    @classmethod
    def cut(cls, after_bytes: int = 0) -> Fault:
        """Do what was asked, and break the connection after so many bytes of the answer's body."""
        _at_least(after_bytes, 0, "after_bytes")
        return cls(description=f"cut after {after_bytes} bytes", cut_after=after_bytes)

    @classmethod
    def stall(cls, seconds: float | None = None, *, done: bool = False) -> Fault:
        """Fall silent, then answer as usual.

        Args: `seconds` of the server's clock; None: until `release()` of what `add` returned, or until the client gives
        up. `done`: whether the server does what was asked before it falls silent. On a `FakeClock` no time is lost: a
        stall without seconds ends with the client's time-out.
        """
        if seconds is not None:
            _at_least(seconds, 0.0, "seconds")
        length = "until released" if seconds is None else f"for {seconds:g} s"
        return cls(description=f"stalled {length}", stalls=True, seconds=seconds, reaches_server=done)

    @classmethod
    def slow(cls, *, chunk_bytes: int = 1024, seconds: float = 0.1) -> Fault:
        """Send the answer's body in pieces of `chunk_bytes`, with `seconds` of the server's clock before each."""
        _at_least(chunk_bytes, 1, "chunk_bytes")
        _at_least(seconds, 0.0, "seconds")
        return cls(description=f"slow, {chunk_bytes} bytes each {seconds:g} s", piece=chunk_bytes, seconds=seconds)

    @classmethod
    def _answering(
        cls,
        description: str,
        status: int,
        body: bytes | str | Mapping[str, Any],
        content_type: str,
        headers: Mapping[str, str],
    ) -> Fault:
        if not _is_number(status, int) or not 200 <= status <= 599:
            raise InvalidInputError(f"status is {status!r}", hint="use a status of HTTP, 200 to 599")
        answer = Answer(status, _content(body), {"content-type": content_type, **headers})
        return cls(description=description, answer=answer, reaches_server=False)


def _content(body: object) -> bytes:
    if isinstance(body, Mapping):
        body = json.dumps(body)
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes):
        return body
    raise InvalidInputError(f"body is {body!r}", hint="give bytes, text, or a mapping for JSON")


def _at_least(value: float, least: float, name: str) -> None:
    whole = isinstance(least, int)
    if not _is_number(value, int if whole else (int, float)) or not value >= least:
        kind = "whole number" if whole else "number"
        raise InvalidInputError(f"{name} is {value!r}", hint=f"use a {kind} from {least:g} on")


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _check_meant(fault: object, path: object, method: object) -> None:
    """Raise InvalidInputError for what is no fault, and for requests that no server gets."""
    if not isinstance(fault, Fault):
        raise InvalidInputError(f"the fault is {fault!r}", hint="make one, such as Fault.status(503)")
    if path is not None and (not isinstance(path, str) or path.partition(" ")[0] in _METHODS):
        raise InvalidInputError(f"path is {path!r}", hint='give the endpoint, "runs/search", and method="POST"')
    if method is not None and (not isinstance(method, str) or method.upper() not in _METHODS):
        raise InvalidInputError(f"method is {method!r}", hint='use a method of HTTP, such as "POST"')


class ScriptedFault:
    """A fault with the requests it is meant for; `hits` counts those it met."""

    def __init__(self, fault: Fault, path: str | None, method: str | None, times: int | None, after: int) -> None:
        self.fault = fault
        self.hits = 0
        self._pattern = None if path is None else f"/{endpoint_of(path).strip('/')}"
        self._method = None if method is None else method.upper()
        self._left = times
        self._after = after
        self._hit = Signal()
        self._released = Signal()

    def __repr__(self) -> str:
        where = f"{self._method or 'any method'} {self._pattern or 'any path'}"
        return f"ScriptedFault({self.fault.description}, {where}, hits={self.hits})"

    def release(self) -> None:
        """Let stalled requests go on, and meet no more; any thread may call it."""
        self._left = 0
        self._released.set()

    async def wait_hit(self) -> None:
        """Wait until a request met the fault."""
        await self._hit.wait()

    async def wait_released(self) -> None:
        """Wait until `release` was called."""
        await self._released.wait()

    def meets(self, request: Request) -> bool:
        """Return whether the request is one of those meant, and count it; called by the server."""
        if self._left == 0 or self._method not in (None, request.method):
            return False
        if self._pattern is not None and not fnmatchcase(f"/{endpoint_of(request.path)}", self._pattern):
            return False
        if self._after > 0:
            self._after -= 1
            return False
        if self._left is not None:
            self._left -= 1
        self.hits += 1
        self._hit.set()
        return True


class Faults:
    """The faults of a server, `InMemoryMlflow.faults`: the first that is meant for a request is the one it meets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripted: list[ScriptedFault] = []
        self._over_http = False

    def add(
        self, fault: Fault, path: str | None = None, *, method: str | None = None, times: int | None = 1, after: int = 0
    ) -> ScriptedFault:
        """Let requests meet a fault; returns what releases it and counts them.

        Args: `path` of the endpoint, e.g. "runs/search", or a pattern, "mlflow-artifacts/artifacts/*"; None: any.
        `method` of HTTP; None: any. `times`: how many requests meet it; None: all. `after`: how many are let through
        first.

        Raises InvalidInputError for arguments that make no sense, and for a fault that an ASGI app that serves already
        cannot produce.
        """
        _check_meant(fault, path, method)
        if times is not None:
            _at_least(times, 1, "times")
        _at_least(after, 0, "after")
        if fault.refuses and self._over_http:
            raise InvalidInputError(
                "an ASGI app cannot refuse a connection", hint="use Fault.lost_answer(), or the transport"
            )
        scripted = ScriptedFault(fault, path, method, times, after)
        with self._lock:
            self._scripted.append(scripted)
        return scripted

    def clear(self) -> None:
        """Let nothing go wrong any more; stalled requests go on."""
        with self._lock:
            scripted, self._scripted = self._scripted, []
        for one in scripted:
            one.release()

    def take(self, request: Request) -> ScriptedFault | None:
        """Return the fault that a request meets; called by the server."""
        with self._lock:
            return next((scripted for scripted in self._scripted if scripted.meets(request)), None)

    def serve_over_http(self) -> None:
        """Refuse from now on what an ASGI app cannot produce; called by the server."""
        self._over_http = True
