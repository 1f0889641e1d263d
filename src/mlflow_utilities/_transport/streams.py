"""An answer whose body is read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from mlflow_utilities._transport.guard import Guard
from mlflow_utilities._transport.library import translated
from mlflow_utilities._transport.redaction import redact
from mlflow_utilities.errors import MlflowUtilitiesError

__all__ = ["ReceivedStream"]


class ReceivedStream:
    """See `typing.StreamedBody`; `complete` once the body was read to its end."""

    def __init__(
        self, library: Any, response: Any, what: str, guard: Guard, secrets: Callable[[], tuple[str, ...]]
    ) -> None:
        self._library = library
        self._response = response
        self._what = what
        self._guard = guard
        self._secrets = secrets
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.complete = False

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the decoded body."""
        try:
            with translated(self._library, self._what):
                async for chunk in self._response.aiter_bytes():
                    yield chunk
        except MlflowUtilitiesError as error:
            self._guard.check_not_closed_meanwhile(error)
            redact(error, self._secrets())
            raise
        self.complete = True
