"""Connections: a fixed number of lanes, each with one connection of its own, each used by one call at a time.

A lane whose call did not end well (an error, a cancelled caller) is thrown away with its connection. So nothing a
cancelled call leaves behind in the HTTP library can block a later one, and no call waits inside the library's pool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import anyio

__all__ = ["BorrowedLane", "Lane", "Lanes", "OwnLane"]

_CLOSING = 2.0


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

    async def exchange(self, request: Any) -> Any:
        """Send a request and return the answer, its body not yet read."""
        return await self._transport.handle_async_request(request)

    async def close(self) -> None:
        """Give up the connection."""
        await self._transport.aclose()


class BorrowedLane:
    """A lane on the caller's own HTTP client, which stays the caller's to close."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def exchange(self, request: Any) -> Any:
        """Send a request and return the answer, its body not yet read."""
        return await self._client.send(request, stream=True, follow_redirects=False)

    async def close(self) -> None:
        """Leave the caller's client as it is."""


class Lanes:
    """At most `size` lanes; the one used last is used next, so that few connections stay open."""

    def __init__(self, size: int, make: Callable[[], Lane]) -> None:
        self._gate = anyio.Semaphore(size, fast_acquire=True)
        self._make = make
        self._idle: list[Lane] = []
        self._all: set[Lane] = set()
        self._closed = False

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[Lane]:
        """Wait for a free lane and lend it."""
        await self._gate.acquire()
        try:
            lane = self._idle.pop() if self._idle else self._new()
            try:
                yield lane
            except BaseException:
                await self._throw_away(lane)
                raise
            if self._closed:
                await self._throw_away(lane)
            else:
                self._idle.append(lane)
        finally:
            self._gate.release()

    def _new(self) -> Lane:
        lane = self._make()
        self._all.add(lane)
        return lane

    async def _throw_away(self, lane: Lane) -> None:
        self._all.discard(lane)
        with anyio.move_on_after(_CLOSING, shield=True):
            await lane.close()

    async def close(self) -> None:
        """Close every connection, those in use too."""
        self._closed = True
        self._idle.clear()
        with anyio.move_on_after(_CLOSING, shield=True):
            while self._all:
                await self._all.pop().close()
