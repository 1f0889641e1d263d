"""One exchange: a free connection, a request, an answer or an error. `repetition` says when it is made again."""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import anyio

from mlflow_utilities._clock import Clock
from mlflow_utilities._protocol.answers import decode_object, error_of
from mlflow_utilities._transport.guard import Guard
from mlflow_utilities._transport.lanes import BorrowedLane, Lane, Lanes
from mlflow_utilities._transport.library import library_of, load_library, make_lane, tls_context, translated
from mlflow_utilities._transport.redaction import redact
from mlflow_utilities._transport.repetition import Authorization, Progress, Repeater
from mlflow_utilities._transport.requests import RequestBuilder, encode_body
from mlflow_utilities._transport.streams import ReceivedStream
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.config import Settings, as_timeout
from mlflow_utilities.errors import ConfigurationError, ProtocolError
from mlflow_utilities.retry import RetryPolicy, retry_after_seconds
from mlflow_utilities.typing import Call, JsonObject, Limits, Timeout, TimeoutArgument

__all__ = ["HttpTransport"]

_log = logging.getLogger("mlflow_utilities")


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
        self._authorization = authorization
        self._clock = clock
        self._server = settings.tracking_uri
        self._timeout = settings.timeout
        self._retry = settings.retry
        self._guard = Guard()
        self._proxy_password = urlsplit(settings.proxy or "").password or ""
        self._http_client: Any = http_client
        self._repeater = Repeater(authorization, clock, self._guard, self._secrets)
        if http_client is None:
            library = load_library(http_library)
            context = tls_context(library, settings)
            self._make: Callable[[], Lane] = lambda: make_lane(library, settings, context, limits.keepalive_expiry)
            if settings.proxy:
                self._make()  # a proxy that cannot work is refused here
        else:
            library = library_of(http_client)
            if http_library not in (None, library.__name__):
                raise ConfigurationError(
                    f"http_library is {http_library!r} and http_client is of {library.__name__}", hint="leave one out"
                )
            own_credentials = settings.username is not None or settings.token is not None
            options: dict[str, Any] = {"auth": None} if own_credentials else {}
            self._make = lambda: BorrowedLane(http_client, **options)
        self._library = library
        self._builder = RequestBuilder(library, settings.tracking_uri, user_agent, settings.workspace, http_client)
        self._lanes = Lanes(limits.max_concurrency, self._make, clock)

    def with_defaults(self, timeout: Timeout, retry: RetryPolicy) -> Self:
        """Return a transport with other defaults on the same connections."""
        other = copy.copy(self)
        other._timeout = timeout
        other._retry = retry
        return other

    @property
    def default_timeout(self) -> Timeout:
        """Limits of a call that names none."""
        return self._timeout

    @property
    def default_retry(self) -> RetryPolicy:
        """Repetition of every call."""
        return self._retry

    def check_usable(self) -> None:
        """Raise ClientStateError when closed, forked, or on another event loop."""
        self._guard.check()

    def warm_up(self) -> None:
        """Import what the first connection needs; this takes a while and may run in another thread."""
        self._make()

    async def aclose(self) -> None:
        """Close every connection; calls under way fail with ClientStateError. Closing twice does nothing."""
        if self._guard.closed:
            return
        if self._guard.forked:
            self._guard.closed = True
            self._lanes.forget()
            return
        self._guard.check()
        self._guard.closed = True
        self._repeater.stop()
        await self._lanes.close()

    async def send(self, call: Call, *, timeout: TimeoutArgument = UNSET) -> bytes:
        """Send, repeat where that is safe, and return the body of a 2xx answer; anything else is raised."""
        limits = as_timeout(timeout, self._timeout)
        content = None if call.body is None else encode_body(call.body)

        async def attempt(authorization: bytes | None, progress: Progress) -> bytes:
            request = self._builder.build(call, authorization, limits, content)
            return await self._exchange(call, request, limits, progress)

        return await self._repeater.run(call, attempt, limits.total, self._retry)

    async def send_json(self, call: Call, *, timeout: TimeoutArgument = UNSET) -> JsonObject:
        """Send likewise, and return the answer decoded; an empty body is an empty object."""
        body = await self.send(call, timeout=timeout)
        try:
            return decode_object(body, call)
        except ProtocolError as error:
            raise redact(error, self._secrets()) from None

    async def upload(
        self,
        call: Call,
        content: Callable[[], AsyncIterator[bytes]],
        size: int | None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> bytes:
        """Send a streamed body; `content` is called again for each repetition. Only a given time-out bounds it."""
        limits = as_timeout(timeout, self._timeout)
        total = None if isinstance(timeout, Unset) else limits.total
        length = () if size is None else (("content-length", str(size)),)
        sized = Call(call.method, call.path, call.query, None, call.safety, (*call.headers, *length))

        async def attempt(authorization: bytes | None, progress: Progress) -> bytes:
            stream = content()
            try:
                request = self._builder.build(sized, authorization, limits, stream)
                return await self._exchange(sized, request, limits, progress)
            finally:
                closing = getattr(stream, "aclose", None)
                if closing is not None:
                    with anyio.CancelScope(shield=True):
                        await closing()

        return await self._repeater.run(sized, attempt, total, self._retry)

    @asynccontextmanager
    async def stream(self, call: Call, *, timeout: TimeoutArgument = UNSET) -> AsyncGenerator[ReceivedStream]:
        """Open a call whose answer is read piece by piece; repeated until its headers arrived, which alone is bounded
        by the total time-out.
        """
        limits = as_timeout(timeout, self._timeout)

        async def attempt(authorization: bytes | None, progress: Progress) -> tuple[Lane, Any]:
            request = self._builder.build(call, authorization, limits, None)
            lane, response = await self._open(call, request, limits, progress)
            if not 200 <= response.status_code < 300:
                self._check(call, response, await self._rest(call, lane, response))
            return lane, response

        lane, response = await self._repeater.run(call, attempt, limits.total, self._retry)
        what = f"{call.method} {call.path}"
        received = ReceivedStream(self._library, response, what, self._guard, self._secrets)
        try:
            yield received
        except BaseException:
            await self._lanes.throw_away(lane)
            raise
        if received.complete:
            self._lanes.give_back(lane)
        else:
            await self._lanes.throw_away(lane)

    async def _exchange(self, call: Call, request: Any, limits: Timeout, progress: Progress) -> bytes:
        lane, response = await self._open(call, request, limits, progress)
        body = await self._rest(call, lane, response)
        self._check(call, response, body)
        return body

    async def _open(self, call: Call, request: Any, limits: Timeout, progress: Progress) -> tuple[Lane, Any]:
        lane = await self._lanes.take(limits.pool)
        progress.sent = True
        try:
            with translated(self._library, f"{call.method} {call.path}", self._server):
                response = await lane.exchange(request)
        except BaseException:
            await self._lanes.throw_away(lane)
            raise
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s %s: %d, attempt %d", call.method, call.path, response.status_code, progress.attempts)
        return lane, response

    async def _rest(self, call: Call, lane: Lane, response: Any) -> bytes:
        try:
            with translated(self._library, f"{call.method} {call.path}"):
                body = await _body_of(response)
        except BaseException:
            await self._lanes.throw_away(lane)
            raise
        self._lanes.give_back(lane)
        return body

    def _secrets(self) -> tuple[str, ...]:
        borrowed = self._http_client.headers.get("authorization", "") if self._http_client is not None else ""
        proxy = self._proxy_password
        return (*self._authorization.secrets(), proxy, unquote(proxy), borrowed.partition(" ")[2])

    def _check(self, call: Call, response: Any, body: bytes) -> None:
        status: int = response.status_code
        if 200 <= status < 300:
            return
        headers: Mapping[str, str] = response.headers
        wait = retry_after_seconds(headers.get("retry-after"), self._clock.now_ms())
        raise error_of(call, status, headers, body, wait)


async def _body_of(response: Any) -> bytes:
    """Return the body, past the library's decoding where there is nothing to decode."""
    if response.is_closed or "content-encoding" in response.headers:
        decoded: bytes = await response.aread()
        return decoded
    body = b"".join([part async for part in response.stream])
    await response.aclose()
    return body
