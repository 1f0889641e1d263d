"""A server that has one ledger and nothing else, in memory: for exact exchanges and for many pollers at once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import httpx
from anyio.lowlevel import checkpoint

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.rollout.codec import encode_document, encode_pointer
from mlflow_utilities.rollout.document import Document, Pointer, index_key, slot_key
from mlflow_utilities.rollout.names import EXPERIMENT_TAG, INDEX_TAG, control_name
from mlflow_utilities.rollout.reader import Ledger, ModelExperiment
from support.clock import SteppedClock
from support.documents import document

__all__ = ["LedgerServer", "Trickle", "error"]

Fault = Callable[[httpx.Request], "Awaitable[httpx.Response | None]"]
_CREATED = 1_790_000_000_000


def error(status: int, code: str | None = None, **headers: str) -> httpx.Response:
    """Return an error in MLflow's form, or one of something in front of MLflow."""
    content = {"error_code": code, "message": "said by the test"} if code else {}
    return httpx.Response(status, json=content, headers={name.replace("_", "-"): v for name, v in headers.items()})


class LedgerServer:
    """Answers as MLflow does for the experiment "model" with id 7 and its ledger; `fault` may answer in its place.

    `slots` are the values of the ledger run by number; `times` are the moments of the requests.
    """

    def __init__(self, clock: SteppedClock) -> None:
        self.clock = clock
        self.slots: dict[int, str] = {1: encode_document(document(1))}
        self.control_id = "70"
        self.stage = "active"
        self.exists = True
        self.fault: Fault | None = None
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        self.active = self.most_active = 0
        self.arrived = anyio.Event()

    def commit(self, generation: int, **fields: Any) -> Document:
        """Put a document into its slot."""
        made = document(generation, **fields)
        self.slots[generation] = encode_document(made)
        return made

    def ledger(self) -> Ledger:
        """Return the ledger as a client that has not looked yet knows it."""
        return Ledger(ModelExperiment("7", "model", _CREATED), "model")

    @property
    def lines(self) -> list[str]:
        """The requests as `METHOD last/two`."""
        return [f"{sent.method} {'/'.join(sent.url.path.split('/')[-2:])}" for sent in self.requests]

    @contextlib.asynccontextmanager
    async def client(
        self, *, headers: dict[str, str] | None = None, **options: Any
    ) -> AsyncGenerator[AsyncMlflowClient]:
        """Give a client of this server."""
        async with httpx.AsyncClient(transport=httpx.MockTransport(self._answer), headers=headers) as http_client:
            made = AsyncMlflowClient("http://ledger", http_client=http_client, clock=self.clock, **options)
            async with made:
                yield made

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(self.clock.monotonic())
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        arrived, self.arrived = self.arrived, anyio.Event()
        arrived.set()
        try:
            await checkpoint()
            answer = await self.fault(request) if self.fault else None
            return answer or self.right_answer(request)
        finally:
            self.active -= 1

    def right_answer(self, request: httpx.Request) -> httpx.Response:
        """Return what MLflow would answer."""
        query = request.url.params
        path = request.url.path.removeprefix("/api/2.0/mlflow/")
        if path == "experiments/get-by-name" and query["experiment_name"] == "model" and self.exists:
            return httpx.Response(200, json={"experiment": _experiment("7", "model", "active", {})})
        if path == "experiments/get-by-name" and query["experiment_name"] == control_name("7"):
            tags = {INDEX_TAG: f"index{self.control_id}", EXPERIMENT_TAG: str(_CREATED)}
            made = _experiment(self.control_id, control_name("7"), self.stage, tags)
            return httpx.Response(200, json={"experiment": made})
        index, ledger = f"index{self.control_id}", f"ledger{self.control_id}"
        if path == "runs/get" and query["run_id"] in (index, ledger):
            pointer = {index_key("model"): encode_pointer(Pointer(ledger, "0" * 16))}
            slots = {slot_key(number): value for number, value in self.slots.items()}
            params = slots if query["run_id"] == ledger else pointer
            return httpx.Response(200, json={"run": _run(query["run_id"], self.control_id, params)})
        return error(404, "RESOURCE_DOES_NOT_EXIST")


class Trickle(httpx.AsyncByteStream):
    """A body of which one byte comes each second."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Send for ever."""
        while True:
            await self._clock.sleep(1.0)
            self.sent += 1
            yield b" "


def _experiment(experiment_id: str, name: str, stage: str, tags: dict[str, str]) -> dict[str, Any]:
    return {
        "experiment_id": experiment_id,
        "name": name,
        "artifact_location": f"mlflow-artifacts:/{experiment_id}",
        "lifecycle_stage": stage,
        "creation_time": _CREATED,
        "last_update_time": _CREATED,
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }


def _run(run_id: str, experiment_id: str, params: dict[str, str]) -> dict[str, Any]:
    return {
        "info": {"run_id": run_id, "experiment_id": experiment_id, "status": "FINISHED", "lifecycle_stage": "active"},
        "data": {"params": [{"key": key, "value": value} for key, value in params.items()]},
    }
