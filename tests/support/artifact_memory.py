"""A server of artifacts in memory, for exchanges whose every byte and failure a test decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import httpx

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities._clock import Clock
from mlflow_utilities.serving.residents import Wanted

__all__ = ["URI", "ArtifactMemory"]

URI = "http://mlflow.test"
_ROOT = "/api/2.0/mlflow-artifacts/artifacts"


class ArtifactMemory:
    """Directories of files; `spoil(path, content)` may change what is sent, or raise what the connection does."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.spoil: Callable[[str, bytes], bytes | httpx.Response] = lambda _path, content: content

    def add(self, run_id: str, flavors: str, model: bytes) -> Wanted:
        """Add a model, and return it as a run."""
        self.files[f"{run_id}/MLmodel"] = flavors.encode()
        self.files[f"{run_id}/model.pkl"] = model
        location = f"mlflow-artifacts:/{run_id}"
        return Wanted(run_id, location, location)

    def client(self, clock: Clock) -> AsyncMlflowClient:
        """Return a client of this server."""
        transport = httpx.MockTransport(self._answer)
        return AsyncMlflowClient(URI, http_client=httpx.AsyncClient(transport=transport), clock=clock, max_retries=0)

    @property
    def downloads(self) -> int:
        """How many files were asked for."""
        return sum(count for path, count in self.asked.items() if path in self.files)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix(_ROOT).strip("/") or request.url.params.get("path", "")
        self.asked[path] += 1
        if path in self.files:
            sent = self.spoil(path, self.files[path])
            return sent if isinstance(sent, httpx.Response) else httpx.Response(200, content=sent)
        listed = [name.removeprefix(path + "/") for name in self.files if name.startswith(path + "/")]
        files = [{"path": name, "is_dir": False, "file_size": len(self.files[f"{path}/{name}"])} for name in listed]
        return httpx.Response(200, json={"files": files})
