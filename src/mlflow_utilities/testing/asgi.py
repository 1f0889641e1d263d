"""The in-memory server as an ASGI 3 app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import anyio

from mlflow_utilities.testing.in_memory.exchange import Answer, Request, json_answer
from mlflow_utilities.testing.in_memory.refusals import UnsupportedByInMemoryMlflow
from mlflow_utilities.testing.replies import Broken, Refusing, Reply, Serving, reply_to

__all__ = ["serve"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def serve(server: Serving, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Serve one scope: the life of the app, or one HTTP request."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    if scope["type"] != "http":
        raise NotImplementedError(f"the in-memory MLflow serves HTTP, not {scope['type']}")
    server.faults.serve_over_http()
    body = await _body(receive)
    if body is None:
        return
    request = _request(scope, body)
    async with anyio.create_task_group() as tasks:  # a client that goes ends a stall

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        await _answer(server, request, send)
        tasks.cancel_scope.cancel()


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _request(scope: Mapping[str, Any], body: bytes) -> Request:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(f"{root}/"):
        path = path[len(root) :]
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(scope["method"], path, query, headers, body)


async def _answer(server: Serving, request: Request, send: Send) -> None:
    try:
        reply = await reply_to(server, request)
    except UnsupportedByInMemoryMlflow as error:
        refused = json_answer({"error_code": "NOT_IMPLEMENTED", "message": str(error)}, 501)
        reply = Reply.of(refused, None, server.clock)
    except Refusing:
        text = "an ASGI app cannot refuse a connection, as the fault asks for"
        refused = json_answer({"error_code": "NOT_IMPLEMENTED", "message": text}, 501)
        reply = Reply.of(refused, None, server.clock)
    except Broken as broken:
        await _head(broken.answer, send)
        return  # with less than was announced: the web server closes the connection
    await _head(reply.answer, send)
    try:
        async for piece in reply.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except Broken:
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _head(answer: Answer, send: Send) -> None:
    headers = {"content-length": str(len(answer.body)), **answer.headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
