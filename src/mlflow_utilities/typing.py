"""Public types that others implement or annotate with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias

from mlflow_utilities._unset import UNSET, Unset

__all__ = [
    "Call",
    "JsonObject",
    "Limits",
    "Safety",
    "Sender",
    "StreamedBody",
    "Timeout",
    "TimeoutArgument",
    "TokenSource",
]

JsonObject: TypeAlias = dict[str, Any]
TokenSource: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]


class Safety(Enum):
    """What repeating a call may do: READ and IDEMPOTENT calls may be repeated, CREATE calls only when they cannot have
    reached the server.
    """

    READ = "read"
    IDEMPOTENT = "idempotent"
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Timeout:
    """Time allowed for one request, in seconds; None means no bound."""

    connect: float | None = 10.0
    read: float | None = 60.0
    write: float | None = 60.0
    pool: float | None = 60.0
    total: float | None = 120.0


TimeoutArgument: TypeAlias = Timeout | float | Unset | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on connections: concurrent requests, and seconds an idle connection is kept."""

    max_concurrency: int = 8
    keepalive_expiry: float = 1.5


@dataclass(frozen=True, slots=True)
class Call:
    """One request: what is sent, and what repeating it may do. `path` is below the tracking URI, already quoted."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Mapping[str, Any] | None = None
    safety: Safety = Safety.READ
    headers: Sequence[tuple[str, str]] = ()


class StreamedBody(Protocol):
    """An answer whose body is read piece by piece."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers."""
        ...

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the decoded body."""
        ...


class Sender(Protocol):
    """What the REST methods need of a transport."""

    async def send(self, call: Call, *, timeout: Timeout | float | Unset | None = UNSET) -> bytes:
        """Send, retry where allowed, and return the body of a 2xx answer; anything else is raised."""
        ...

    async def send_json(self, call: Call, *, timeout: Timeout | float | Unset | None = UNSET) -> JsonObject:
        """Send likewise, and return the answer decoded; an empty body is an empty object."""
        ...

    async def upload(
        self,
        call: Call,
        content: Callable[[], AsyncIterator[bytes]],
        size: int | None,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> bytes:
        """Send a streamed body; `content` is called again for each repetition."""
        ...

    def stream(
        self, call: Call, *, timeout: Timeout | float | Unset | None = UNSET
    ) -> AbstractAsyncContextManager[StreamedBody]:
        """Open a call whose answer is read piece by piece; retried until its headers arrived."""
        ...
