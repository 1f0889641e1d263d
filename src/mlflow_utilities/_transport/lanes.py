"""Connections: a fixed number of lanes, each with one connection of its own, each used by one call at a time.

A lane whose call did not end well (an error, a cancelled caller) is thrown away with its connection. So nothing a
cancelled call leaves behind in the HTTP library can block a later one, and no call waits inside the library's pool.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any, Protocol

import anyio

from mlflow_utilities._clock import Clock
from mlflow_utilities.errors import ClientStateError, MlflowTimeoutError

__all__ = ["BorrowedLane", "Lane", "Lanes", "OwnLane", "SecureLane"]

_CLOSING = 2.0
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Lane(Protocol):
    """One connection's worth of an HTTP library."""

    async def exchange(self, request: Any) -> Any:
        """Send a request and return the answer, its body not yet read."""
        ...

    async def close(self) -> None:
        """Give up the connection."""
        ...


class OwnLane:
    """A lane on a transport of our own."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._stream: Any = None
        self._connection: socket.socket | None = None

    async def exchange(self, request: Any) -> Any:
        """Send a request and return the answer, its body not yet read."""
        response = await self._transport.handle_async_request(request)
        stream = response.extensions.get("network_stream")
        if stream is not self._stream:
            self._stream, self._connection = stream, _connection_of(response)
        _acknowledge(self._connection)
        return response

    async def close(self) -> None:
        """Give up the connection."""
        await self._transport.aclose()


class SecureLane(OwnLane):
    """A lane on a transport of our own that speaks TLS.

    The libraries forget the socket of a handshake that is cancelled without closing it.
    """

    def __init__(self, transport: Any) -> None:
        super().__init__(transport)
        self._socket: Any = None

    async def exchange(self, request: Any) -> Any:
        """Send a request and return the answer, its body not yet read."""
        request.extensions["trace"] = self._notice
        return await super().exchange(request)

    async def _notice(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"]

    async def close(self) -> None:
        """Give up the connection."""
        try:
            await super().close()
        finally:
            if self._socket is not None:
                await self._socket.aclose()


class BorrowedLane:
    """A lane on the caller's own HTTP client, which stays the caller's to close."""

    def __init__(self, client: Any, **options: Any) -> None:
        self._client = client
        self._options = options
        self._response: Any = None

    async def exchange(self, request: Any) -> Any:
        """Send a request and return the answer, its body not yet read."""
        if self._client.is_closed:
            raise ClientStateError("the http_client is closed", hint="close it after the client that uses it")
        self._response = None
        self._response = await self._client.send(request, stream=True, follow_redirects=False, **self._options)
        _acknowledge(_connection_of(self._response))
        return self._response

    async def close(self) -> None:
        """Give the connection of an answer that was not read to its end back to the caller's client."""
        if self._response is not None:
            await self._response.aclose()


class Lanes:
    """At most `size` lanes; the one used last is used next, so that few connections stay open."""

    def __init__(self, size: int, make: Callable[[], Lane], clock: Clock) -> None:
        self._gate = anyio.Semaphore(size, fast_acquire=True)
        self._make = make
        self._clock = clock
        self._idle: list[Lane] = []
        self._all: set[Lane] = set()
        self._closed = False

    async def take(self, patience: float | None) -> Lane:
        """Wait for a free lane, at most `patience` seconds: then raise MlflowTimeoutError."""
        try:
            self._gate.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait(patience)
        if self._idle:
            return self._idle.pop()
        try:
            lane = self._make()
        except BaseException:
            self._gate.release()
            raise
        self._all.add(lane)
        return lane

    async def _wait(self, patience: float | None) -> None:
        if patience is None:
            await self._gate.acquire()
            return
        admitted = False
        with self._clock.time_limit(patience):
            await self._gate.acquire()
            admitted = True
        if not admitted:
            raise MlflowTimeoutError(
                f"all connections were busy for {patience:g} s", sent=False, hint="max_concurrency bounds them"
            )

    def give_back(self, lane: Lane) -> None:
        """Let others use a lane whose answer was read to its end."""
        if not self._closed:
            self._idle.append(lane)
        self._gate.release()

    async def throw_away(self, lane: Lane) -> None:
        """Close a lane whose call did not end well."""
        self._all.discard(lane)
        try:
            await _close(lane)
        finally:
            self._gate.release()

    def forget(self) -> None:
        """Let go of every lane without closing it: in a forked child the connections are the parent's."""
        self._closed = True
        self._idle.clear()
        self._all.clear()

    async def close(self) -> None:
        """Close every connection, those in use too."""
        self._closed = True
        self._idle.clear()
        while self._all:
            await _close(self._all.pop())


def _connection_of(response: Any) -> socket.socket | None:
    stream = response.extensions.get("network_stream")
    connection: socket.socket | None = stream.get_extra_info("socket") if stream is not None else None
    return connection


def _acknowledge(connection: socket.socket | None) -> None:
    """Have the head of an answer acknowledged now, so that its body may come without a pause of 40 ms.

    MLflow's servers send head and body apart and wait for the head to be acknowledged, which the kernel puts off.
    """
    if connection is not None and _QUICKACK is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


async def _close(lane: Lane) -> None:
    # A connection that breaks while it is closed is closed; the error that matters is the one before.
    with anyio.move_on_after(_CLOSING, shield=True), contextlib.suppress(Exception):
        await lane.close()
