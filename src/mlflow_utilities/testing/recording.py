"""The requests that an in-memory server got."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mlflow_utilities.testing.in_memory.exchange import Request

__all__ = ["RecordedRequest", "endpoint_of"]

_ROOTS = ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/", "/api/2.0/", "/ajax-api/2.0/")


def endpoint_of(path: str) -> str:
    """Return the part of a path that names the endpoint: "runs/search", "mlflow-artifacts/artifacts/..."."""
    for root in _ROOTS:
        if path.startswith(root):
            return path[len(root) :]
    return path.lstrip("/")


@dataclass(slots=True)
class RecordedRequest:
    """A request that arrived: `number` counts from 1, `status` is that of the answer and None where none was sent."""

    number: int
    request: Request
    status: int | None = None

    @property
    def method(self) -> str:
        """The HTTP method, in capitals."""
        return self.request.method

    @property
    def path(self) -> str:
        """The path, decoded, from its slash on."""
        return self.request.path

    @property
    def endpoint(self) -> str:
        """The path below the root of the API: "runs/search"."""
        return endpoint_of(self.request.path)

    @property
    def query(self) -> dict[str, list[str]]:
        """The values of the query by name."""
        return {name: list(values) for name, values in self.request.query.items()}

    @property
    def body(self) -> bytes:
        """The body as it was sent."""
        return self.request.body

    @property
    def json(self) -> Any:
        """The body decoded; None where there is none. Raises ValueError when it is not JSON."""
        return json.loads(self.request.body) if self.request.body else None

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint}"

    def __repr__(self) -> str:  # headers stay out: they may hold credentials
        return f"RecordedRequest({self.number}, '{self}', status={self.status})"
