"""One call: a free connection, a request, an answer or an error, and its repetition where that is safe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import anyio

from mlflow_utilities._clock import Clock
from mlflow_utilities._protocol.answers import decode_object, error_of
from mlflow_utilities._transport.guard import Guard
from mlflow_utilities._transport.lanes import BorrowedLane, Lane, Lanes, OwnLane
from mlflow_utilities._transport.library import library_of, load_library, make_connection, translated
from mlflow_utilities._transport.requests import RequestBuilder, encode_body
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.config import Settings
from mlflow_utilities.errors import (
    ClientStateError,
    MlflowApiError,
    MlflowTimeoutError,
    MlflowUtilitiesError,
    UnauthenticatedError,
)
from mlflow_utilities.retry import RetryPolicy, decide, retry_after_seconds
from mlflow_utilities.typing import Call, JsonObject, Limits, Timeout

__all__ = ["Authorization", "HttpTransport", "as_timeout"]

T = TypeVar("T")


class Authorization(Protocol):
    """What the transport needs of credentials."""

    async def header(self) -> tuple[bytes | None, int]:
        """Return the header's value, and a number that stands for these credentials."""
        ...

    async def refresh(self, used: int) -> bool:
        """Replace the credentials `used`; return whether trying again makes sense."""
        ...

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must not appear in any message."""
        ...


class HttpTransport:
    """Sends calls to one server; see `typing.Sender`."""

    def __init__(
        self,
        settings: Settings,
        *,
        authorization: Authorization,
        clock: Clock,
        limits: Limits,
        user_agent: str,
        http_client: object | None = None,
        http_library: str | None = None,
    ) -> None:
        self._settings = settings
        self._authorization = authorization
        self._clock = clock
        self._library = library_of(http_client) if http_client is not None else load_library(http_library)
        self._builder = RequestBuilder(self._library, settings.tracking_uri, user_agent, settings.workspace)
        self._guard = Guard()

        def make() -> Lane:
            if http_client is not None:
                return BorrowedLane(http_client)
            return OwnLane(make_connection(self._library, settings, limits.keepalive_expiry))

        self._lanes = Lanes(limits.max_concurrency, make)

    async def aclose(self) -> None:
        """Close every connection; calls under way fail with ClientStateError."""
        self._guard.closed = True
        await self._lanes.close()

    def check_usable(self) -> None:
        """Raise ClientStateError when closed, forked, or on another event loop."""
        self._guard.check()

    async def send(
        self, call: Call, *, timeout: Timeout | float | Unset | None = UNSET, retry: RetryPolicy | None = None
    ) -> bytes:
        """Send, repeat where that is safe, and return the body of a 2xx answer; anything else is raised."""
        limits = as_timeout(timeout, self._settings.timeout)
        content = None if call.body is None else encode_body(call.body)

        async def attempt(authorization: bytes | None) -> bytes:
            request = self._builder.build(call, authorization, limits, content)
            with translated(self._library, f"{call.method} {call.path}"):
                async with self._lanes.lane() as lane:
                    response = await lane.exchange(request)
                    body: bytes = await response.aread()
            self._check(call, response, body)
            return body

        return await self._bounded(call, attempt, limits.total, retry)

    async def send_json(
        self, call: Call, *, timeout: Timeout | float | Unset | None = UNSET, retry: RetryPolicy | None = None
    ) -> JsonObject:
        """Send likewise, and return the answer decoded; an empty body is an empty object."""
        return decode_object(await self.send(call, timeout=timeout, retry=retry), call)

    async def upload(
        self,
        call: Call,
        content: Callable[[], AsyncIterator[bytes]],
        size: int | None,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
        retry: RetryPolicy | None = None,
    ) -> bytes:
        """Send a streamed body; `content` is called again for each repetition. Only a given time-out bounds it."""
        limits = as_timeout(timeout, self._settings.timeout)
        total = None if isinstance(timeout, Unset) else limits.total
        length = () if size is None else (("content-length", str(size)),)
        sized = Call(call.method, call.path, call.query, None, call.safety, (*call.headers, *length))

        async def attempt(authorization: bytes | None) -> bytes:
            stream = content()
            request = self._builder.build(sized, authorization, limits, stream)
            try:
                with translated(self._library, f"{call.method} {call.path}"):
                    async with self._lanes.lane() as lane:
                        response = await lane.exchange(request)
                        body: bytes = await response.aread()
            finally:
                closing = getattr(stream, "aclose", None)
                if closing is not None:
                    with anyio.CancelScope(shield=True):
                        await closing()
            self._check(call, response, body)
            return body

        return await self._bounded(call, attempt, total, retry)

    @asynccontextmanager
    async def stream(
        self, call: Call, *, timeout: Timeout | float | Unset | None = UNSET, retry: RetryPolicy | None = None
    ) -> AsyncIterator[ReceivedStream]:
        """Open a call whose answer is read piece by piece; repeated until its headers arrived, which alone is bounded
        by the total time-out.
        """
        limits = as_timeout(timeout, self._settings.timeout)
        what = f"{call.method} {call.path}"

        async def attempt(authorization: bytes | None) -> tuple[Any, Any]:
            request = self._builder.build(call, authorization, limits, None)
            manager = self._lanes.lane()
            with translated(self._library, what):
                lane = await manager.__aenter__()
                try:
                    response = await lane.exchange(request)
                    if not 200 <= response.status_code < 300:
                        self._check(call, response, await response.aread())
                except BaseException as error:
                    await manager.__aexit__(type(error), error, error.__traceback__)
                    raise
            return manager, response

        manager, response = await self._bounded(call, attempt, limits.total, retry)
        try:
            received = ReceivedStream(self._library, response, what)
            yield received
            if not received.complete:
                raise _LeftUnreadError
        except BaseException as error:
            await manager.__aexit__(type(error), error, error.__traceback__)
            if not isinstance(error, _LeftUnreadError):
                raise
        else:
            await manager.__aexit__(None, None, None)

    async def _bounded(
        self,
        call: Call,
        attempt: Callable[[bytes | None], Awaitable[T]],
        total: float | None,
        retry: RetryPolicy | None,
    ) -> T:
        self._guard.check()
        if total is None:
            return await self._repeated(call, attempt, retry or self._settings.retry, None)
        deadline = self._clock.monotonic() + total
        with anyio.move_on_after(total):
            return await self._repeated(call, attempt, retry or self._settings.retry, deadline)
        raise MlflowTimeoutError(f"{call.method} {call.path}: not done within {total:g} s")

    async def _repeated(
        self,
        call: Call,
        attempt: Callable[[bytes | None], Awaitable[T]],
        retry: RetryPolicy,
        deadline: float | None,
    ) -> T:
        number = 0
        refreshed = False
        while True:
            authorization, used = await self._authorization.header()
            try:
                return await attempt(authorization)
            except MlflowUtilitiesError as error:
                if self._guard.closed:
                    raise ClientStateError("the client was closed during the call") from error
                if isinstance(error, UnauthenticatedError) and not refreshed:
                    refreshed = True
                    if await self._authorization.refresh(used):
                        continue
                delay = decide(error, number, call.safety, retry, self._clock.random())
                if delay is None or (deadline is not None and self._clock.monotonic() + delay >= deadline):
                    raise
            number += 1
            if delay:
                await self._clock.sleep(delay)

    def _check(self, call: Call, response: Any, body: bytes) -> None:
        status: int = response.status_code
        if 200 <= status < 300:
            return
        headers: Mapping[str, str] = response.headers
        wait = retry_after_seconds(headers.get("retry-after"), self._clock.now_ms())
        raise self._redacted(error_of(call, status, headers, body, wait))

    def _redacted(self, error: MlflowApiError) -> MlflowApiError:
        for secret in self._authorization.secrets():
            if len(secret) >= 4 and secret in error.message:
                error.message = error.message.replace(secret, "***")
                error.args = (error.message,)
        return error


class _LeftUnreadError(Exception):
    """The consumer left before the end of the body, so the connection cannot be used again."""


class ReceivedStream:
    """An answer whose body is read piece by piece."""

    def __init__(self, library: Any, response: Any, what: str) -> None:
        self._library = library
        self._response = response
        self._what = what
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.complete = False

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the decoded body."""
        with translated(self._library, self._what):
            async for chunk in self._response.aiter_bytes():
                yield chunk
        self.complete = True


def as_timeout(timeout: Timeout | float | Unset | None, default: Timeout) -> Timeout:
    """Return the limits that a `timeout=` argument means: seconds for the whole call, None for no limit."""
    if isinstance(timeout, Unset):
        return default
    if timeout is None:
        return Timeout(default.connect, None, None, None, None)
    if isinstance(timeout, Timeout):
        return timeout
    return Timeout(default.connect, default.read, default.write, default.pool, float(timeout))
