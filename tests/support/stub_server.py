"""An HTTP/1.1 server on loopback that does to each request what a test says: answer, stall, cut, close."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
import anyio.abc
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

__all__ = ["CUT", "STALL", "Answer", "Received", "Script", "StubServer", "error_answer", "json_answer", "run_stub"]


@dataclass(frozen=True)
class Received:
    """A request: `number` counts from 1 over the server, `connection` counts connections from 1."""

    number: int
    connection: int
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Return the target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Answer:
    """What the server does with a request.

    It sends the head (if `status` is not None) and the first `cut_after` bytes of the body (None: all of them), then
    does `then`: "keep" the connection, "close" it, or "stall" until the client goes. `verbatim` replaces all that is
    sent.
    """

    status: int | None = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None
    then: str = "keep"
    verbatim: bytes | None = None

    def raw(self) -> bytes:
        """Return the bytes to send."""
        if self.verbatim is not None:
            return self.verbatim
        if self.status is None:
            return b""
        headers = dict((("content-length", str(len(self.body))), ("content-type", "application/json"), *self.headers))
        lines = [f"HTTP/1.1 {self.status} Stub", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body[: self.cut_after]


STALL = Answer(status=None, then="stall")
CUT = Answer(status=None, then="close")

Script: TypeAlias = Callable[[Received], Answer]


def json_answer(value: Any, status: int = 200, *headers: tuple[str, str]) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, json.dumps(value).encode(), headers)


def error_answer(status: int, code: str, message: str = "said by the test", *headers: tuple[str, str]) -> Answer:
    """Return an error in MLflow's form."""
    return json_answer({"error_code": code, "message": message}, status, *headers)


def _fine(received: Received) -> Answer:
    return Answer()


@dataclass
class StubServer:
    """The server as a test sees it; `script` may be replaced at any time, `hello` is what a TLS handshake gets."""

    uri: str = ""
    script: Script = _fine
    hello: Answer = STALL
    tls: ssl.SSLContext | None = None
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def lines(self) -> list[str]:
        """The requests as "METHOD path"."""
        return [f"{received.method} {received.path}" for received in self.requests]

    def forget(self) -> None:
        """Count requests from the beginning."""
        self.requests.clear()

    async def wait_until(self, condition: Callable[[StubServer], bool], seconds: float = 20.0) -> None:
        """Wait until the condition holds; fail if it does not within the seconds."""
        if not await anyio.to_thread.run_sync(self._wait, condition, seconds):
            raise AssertionError(f"the server never came so far: {len(self.requests)} requests, {self.open} open")

    def _wait(self, condition: Callable[[StubServer], bool], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), seconds)

    async def serve(self, stream: anyio.abc.ByteStream) -> None:
        """Serve one connection."""
        with self._changed:
            self.connections += 1
            number = self.connections
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            self._changed.notify_all()
        try:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead, ssl.SSLError):
                async with stream:
                    await self._exchanges(await self._secured(stream), number)
        finally:
            with self._changed:
                self.open -= 1
                self._changed.notify_all()

    async def _secured(self, stream: anyio.abc.ByteStream) -> anyio.abc.ByteStream:
        if self.tls is None:
            return stream
        return await TLSStream.wrap(stream, server_side=True, ssl_context=self.tls, standard_compatible=False)

    async def _exchanges(self, stream: anyio.abc.ByteStream, connection: int) -> None:
        buffered = BufferedByteReceiveStream(stream)
        if self.tls is None:
            first = await stream.receive()
            if first.startswith(b"\x16"):
                await self._do(stream, self.hello)
                return
            buffered.feed_data(first)
        while True:
            received = await self._receive(buffered, connection)
            answer = self.script(received)
            await self._do(stream, answer)
            if answer.then != "keep":
                return

    async def _do(self, stream: anyio.abc.ByteStream, answer: Answer) -> None:
        await stream.send(answer.raw())
        if answer.then == "stall":
            await stream.receive()

    async def _receive(self, stream: BufferedByteReceiveStream, connection: int) -> Received:
        head = (await stream.receive_until(b"\r\n\r\n", 65536)).decode("latin-1")
        first, *rest = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        length = int(headers.get("content-length", "0"))
        body = await stream.receive_exactly(length) if length else b""
        with self._changed:
            received = Received(len(self.requests) + 1, connection, method, target, headers, body)
            self.requests.append(received)
            self._changed.notify_all()
        return received


@contextlib.contextmanager
def run_stub(script: Script = _fine, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[StubServer]:
    """Run a server in a thread of its own until the block ends."""
    server = StubServer(script=script, tls=tls)
    with start_blocking_portal("asyncio") as portal:
        listener = portal.call(_listener, port)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        server.uri = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}"
        serving = portal.start_task_soon(listener.serve, server.serve)
        try:
            yield server
        finally:
            serving.cancel()


async def _listener(port: int) -> anyio.abc.Listener[Any]:
    return await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port, backlog=1000)
