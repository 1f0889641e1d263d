"""A stub of an MLflow server that answers from memory: what clients cost is left. Run: python -m benchmarks.stub."""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio
from anyio.abc import SocketAttribute, SocketStream

__all__ = ["wide_run"]


def wide_run(number: int) -> dict[str, object]:
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


def _answers() -> dict[str, bytes]:
    """Return the body of each path."""
    small = json.dumps({"run": wide_run(1)}, indent=2)
    page = json.dumps({"runs": [wide_run(number) for number in range(1000)]}, indent=2)
    return {"/api/2.0/mlflow/runs/get": small.encode(), "/api/2.0/mlflow/runs/search": page.encode()}


async def _serve(stream: SocketStream, answer: Callable[[str], bytes]) -> None:
    data = b""
    async with stream:
        while True:
            while b"\r\n\r\n" not in data:
                try:
                    data += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
            head, _, data = data.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            while len(data) < length:
                data += await stream.receive()
            data = data[length:]
            body = answer(head.split(b" ")[1].partition(b"?")[0].decode())
            header = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            await stream.send(header.encode() + body)


async def main() -> None:
    """Serve until killed; the first line of the output is the address."""
    answers = _answers()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    print(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", flush=True)
    await listener.serve(lambda stream: _serve(stream, lambda path: answers.get(path, b"{}")))


if __name__ == "__main__":
    anyio.run(main)
