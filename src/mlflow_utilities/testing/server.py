"""An MLflow tracking server in memory."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from mlflow_utilities._clock import Clock
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.testing import asgi
from mlflow_utilities.testing.clock import PromptClock
from mlflow_utilities.testing.faults import Faults
from mlflow_utilities.testing.in_memory import routes
from mlflow_utilities.testing.in_memory.exchange import Answer, Request
from mlflow_utilities.testing.in_memory.refusals import UnsupportedByInMemoryMlflow
from mlflow_utilities.testing.in_memory.state import State
from mlflow_utilities.testing.local_files import read_folder
from mlflow_utilities.testing.recording import RecordedRequest
from mlflow_utilities.testing.transports import make_http_client, make_transport

__all__ = ["InMemoryMlflow"]


class InMemoryMlflow:
    """An MLflow 3 server for tests: experiments, runs, registry, logged models, artifacts, in memory.

    It is used as a transport of httpx or httpx2 (`client()`, `http_client()`, `transport()`), and is itself an ASGI
    app. Every thread and task may use it at once. What it does not imitate raises UnsupportedByInMemoryMlflow in the
    test; as an ASGI app it answers 501 and remembers it in `unsupported`.

    Args:
        clock: the time of the server, of its faults and of the clients it makes; a `PromptClock` by default.
        seed: of the ids it gives; the same calls give the same ids.

    """

    def __init__(self, *, clock: Clock | None = None, seed: int = 0) -> None:
        self._clock: Clock = PromptClock() if clock is None else clock
        # An address of its own: caches of models and rollouts tell servers apart by it.
        self._tracking_uri = f"http://mlflow-{uuid.uuid4().hex[:12]}.test"
        self._lock = threading.RLock()
        self.state = State(now_ms=self._clock.now_ms, seed=seed, read_folder=read_folder)
        self.faults = Faults()
        self.requests: list[RecordedRequest] = []
        self.unsupported: list[str] = []

    def __repr__(self) -> str:
        return f"InMemoryMlflow({len(self.requests)} requests, {len(self.state.runs)} runs)"

    @property
    def tracking_uri(self) -> str:
        """The address that its clients are given, another for each server; nothing listens there."""
        return self._tracking_uri

    @property
    def clock(self) -> Clock:
        """The time of the server, its faults and its clients."""
        return self._clock

    @property
    def lines(self) -> list[str]:
        """The requests so far, each as "POST runs/search"."""
        return [str(request) for request in self.requests]

    def client(self, **options: Any) -> AsyncMlflowClient:
        """Return a client of this server, which shares its clock.

        It holds nothing that must be closed. Args: `options` of AsyncMlflowClient; `http_library` "httpx" or "httpx2".
        Settings of the environment do not count unless `environ` is given. Errors are those of AsyncMlflowClient.
        """
        library = options.pop("http_library", None)
        fixed: dict[str, Any] = {
            "clock": self._clock,
            "environ": {"USER": "tester"},
            "http_client": self.http_client(library),
        }
        return AsyncMlflowClient(self.tracking_uri, **fixed | options)

    def http_client(self, library: str | None = None, **options: Any) -> Any:
        """Return an AsyncClient of httpx or httpx2 that sends everything to this server.

        Args: `library`, "httpx" or "httpx2", else httpx2 where it is installed; `options` of its constructor. Raises
        MissingDependencyError when it is not installed.
        """
        return make_http_client(self, library, **options)

    def transport(self, library: str | None = None) -> Any:
        """Return the same as an async transport, for an AsyncClient of your own: `AsyncClient(transport=...)`."""
        return make_transport(self, library)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve as an ASGI 3 app, e.g. by `uvicorn --factory mlflow_utilities.testing:InMemoryMlflow`."""
        await asgi.serve(self, scope, receive, send)

    def forget_requests(self) -> None:
        """Let `requests` begin anew."""
        with self._lock:
            self.requests.clear()

    def record(self, request: Request) -> RecordedRequest:
        """Remember a request; called by what carries it."""
        with self._lock:
            recorded = RecordedRequest(len(self.requests) + 1, request)
            self.requests.append(recorded)
        return recorded

    def answer(self, request: Request) -> Answer:
        """Do what was asked; called by what carries the request.

        Raises UnsupportedByInMemoryMlflow for what it does not imitate.
        """
        with self._lock:
            try:
                return routes.answer(self.state, request)
            except UnsupportedByInMemoryMlflow as error:
                self.unsupported.append(str(error))
                raise
