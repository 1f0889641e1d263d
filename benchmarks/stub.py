"""A stub of an MLflow server that answers from memory: what clients cost is left. Run: python -m benchmarks.stub.

It answers several times as fast as the fastest client asks, so it runs on asyncio's protocols. A search finds as many
runs as the id of the experiment says, in pages of what was asked for.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - a server, and no part of the package
import json
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["page_of", "wide_run"]

API = b"/api/2.0/mlflow/"
CONTENT_LENGTH = b"content-length:"


def wide_run(number: int) -> dict[str, Any]:
    """Return a run with 8 params, 8 metrics and 8 tags."""
    run_id = f"{number:032x}"
    return {
        "info": {
            "run_id": run_id, "run_uuid": run_id, "run_name": f"run {number}", "experiment_id": "1", "user_id": "ana",
            "status": "FINISHED", "start_time": 1_795_000_000_000 + number, "end_time": 1_795_000_001_000 + number,
            "artifact_uri": f"mlflow-artifacts:/1/{run_id}/artifacts", "lifecycle_stage": "active",
        },
        "data": {
            "metrics": [{"key": f"m{k}", "value": k / 7, "timestamp": 1_795_000_000_000, "step": k} for k in range(8)],
            "params": [{"key": f"p{k}", "value": f"value {k}"} for k in range(8)],
            "tags": [{"key": f"t{k}", "value": f"value {k}"} for k in range(8)],
        },
        "inputs": {}, "outputs": {},
    }  # fmt: skip


@cache
def _runs(count: int) -> bytes:
    """Return the member of a page that holds its runs; MLflow indents its answers."""
    return json.dumps({"runs": [wide_run(number) for number in range(count)]}, indent=2).encode()[:-2]


def page_of(count: int, token: str = "") -> bytes:
    """Return the body of a page of runs."""
    return _runs(count) + (f',\n  "next_page_token": "{token}"' if token else "").encode() + b"\n}"


def _found(body: bytes) -> bytes:
    """Answer a search: the id of the experiment says how many runs there are."""
    asked = json.loads(body)
    total, size, begin = int(asked["experiment_ids"][0]), asked["max_results"], int(asked.get("page_token") or 0)
    end = min(begin + size, total)
    return page_of(end - begin, str(end) if end < total else "")


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def replies() -> Callable[[bytes, bytes], bytes]:
    """Return what answers a path and a body."""
    fixed = {
        API + b"runs/get": _reply(json.dumps({"run": wide_run(1)}, indent=2).encode()),
        b"/version": _reply(b"3.17.2"),
        b"/health": _reply(b"OK"),
    }
    empty = _reply(b"{}")

    def reply(path: bytes, body: bytes) -> bytes:
        if path.endswith(b"runs/search"):
            return _reply(_found(body))
        return fixed.get(path, empty)

    return reply


class Connection(asyncio.Protocol):
    """One connection, whose requests come one after the other."""

    def __init__(self, reply: Callable[[bytes, bytes], bytes]) -> None:
        self._reply = reply
        self._data = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            at = head.lower().find(CONTENT_LENGTH)
            length = int(head[at + len(CONTENT_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            self._transport.write(self._reply(head.split(b" ", 2)[1].partition(b"?")[0], body))


async def main() -> None:
    """Serve until stopped; the first line of the output is the address."""
    reply = replies()
    for count in (10, 100, 1000):
        _runs(count)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(reply), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit()
