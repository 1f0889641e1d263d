"""All results of a search, page by page, decoded one at a time so that the event loop goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

from anyio.lowlevel import checkpoint

from mlflow_utilities._clock import Clock
from mlflow_utilities._protocol.paging import PageReader
from mlflow_utilities.errors import ProtocolError
from mlflow_utilities.typing import Call, Sender, TimeoutArgument

__all__ = ["Results", "Turns"]

_TURN = 0.002  # seconds

T = TypeVar("T")


class Turns:
    """Lets other tasks run after each 2 ms of work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()

    async def take(self) -> None:
        """Let other tasks run if it is their turn."""
        if self._clock.monotonic() - self._began > _TURN:
            await checkpoint()
            self._began = self._clock.monotonic()


class Results(AsyncIterator[T], Generic[T]):
    """Iterates over the results of a search; the next page is asked for when the last one is used up.

    It may be left at any point: it holds no connection.
    """

    def __init__(
        self,
        sender: Sender,
        clock: Clock,
        call: Callable[[str | None], Call],
        key: str,
        decode: Callable[[Any], T],
        timeout: TimeoutArgument,
    ) -> None:
        self._sender = sender
        self._turns = Turns(clock)
        self._call = call
        self._key = key
        self._decode = decode
        self._timeout = timeout
        self._asked_for: str | None = None
        self._reader: PageReader | None = None
        self._elements: Iterator[Any] = iter(())

    async def __anext__(self) -> T:
        while True:
            for raw in self._elements:
                await self._turns.take()
                return self._decode(raw)
            await self._next_page()

    async def _next_page(self) -> None:
        token = self._reader.token if self._reader is not None else None
        if self._reader is not None and not token:
            raise StopAsyncIteration
        if token is not None and token == self._asked_for:
            raise ProtocolError(f"the server answers the page {token!r} with itself as the next page")
        body = await self._sender.send(self._call(token), timeout=self._timeout)
        self._asked_for = token
        self._reader = PageReader(body, self._key)
        self._elements = iter(self._reader)
