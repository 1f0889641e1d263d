"""The in-memory server as a transport of httpx and httpx2: the only module here that knows them."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from anyio.lowlevel import checkpoint

from mlflow_utilities._transport.library import load_library
from mlflow_utilities.testing.in_memory.exchange import Request
from mlflow_utilities.testing.replies import Broken, Pieces, Refusing, Reply, Serving, reply_to

__all__ = ["InMemoryTransport", "make_http_client", "make_transport"]


def make_transport(server: Serving, library: str | None) -> InMemoryTransport:
    """Return a transport of the library named, else of the one that is installed."""
    return InMemoryTransport(server, load_library(library))


def make_http_client(server: Serving, library: str | None, **options: Any) -> Any:
    """Return an AsyncClient of the library."""
    loaded = load_library(library)
    fixed = {"transport": InMemoryTransport(server, loaded), "trust_env": False}
    return loaded.AsyncClient(**(fixed | options))


class InMemoryTransport:
    """An async transport of httpx or httpx2; any number of clients and tasks may share it."""

    def __init__(self, server: Serving, library: Any) -> None:
        self._server = server
        self._library = library

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    async def handle_async_request(self, request: Any) -> Any:
        """Let the server answer, or let go wrong what should.

        Raises ConnectError, ReadError or ReadTimeout of the library for a fault, UnsupportedByInMemoryMlflow as it is.
        """
        received = await self._read(request)
        patience: float | None = request.extensions.get("timeout", {}).get("read")
        await checkpoint()
        reply = await self._within(patience, request, received)
        await checkpoint()
        body = _Body(self._library, self._server, reply.pieces, patience, request)
        return self._library.Response(reply.answer.status, headers=_with_length(reply), content=body, request=request)

    async def _read(self, request: Any) -> Request:
        body: bytes = await request.aread()
        declared = request.headers.get("content-length")
        if declared is not None and int(declared) != len(body):
            raise self._library.LocalProtocolError(
                f"{len(body)} bytes of a body whose Content-Length is {declared}", request=request
            )
        query = parse_qs(request.url.query.decode("ascii"), keep_blank_values=True)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers.raw}
        return Request(request.method, request.url.path, query, headers, body)

    async def _within(self, patience: float | None, request: Any, received: Request) -> Reply:
        try:
            if patience is None:
                return await reply_to(self._server, received)
            with self._server.clock.time_limit(patience):
                return await reply_to(self._server, received)
        except Refusing:
            raise self._library.ConnectError("refused by the test", request=request) from None
        except Broken as broken:
            raise self._library.ReadError(str(broken), request=request) from None
        raise self._library.ReadTimeout("no answer in time", request=request)


class _Body:
    """An answer's body, with the library's errors and the client's patience."""

    def __init__(self, library: Any, server: Serving, pieces: Pieces, patience: float | None, request: Any) -> None:
        self._library = library
        self._server = server
        self._pieces = pieces
        self._patience = patience
        self._request = request

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        await checkpoint()
        try:
            if self._patience is None:
                return await anext(self._pieces)
            with self._server.clock.time_limit(self._patience):
                return await anext(self._pieces)
        except Broken as broken:
            raise self._library.ReadError(str(broken), request=self._request) from None
        raise self._library.ReadTimeout("no more of the answer in time", request=self._request)


def _with_length(reply: Reply) -> dict[str, str]:
    return {"content-length": str(len(reply.answer.body)), **reply.answer.headers}
