"""HTTP transports for tests: they count requests, and fail where a test says so."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from enum import Enum

import httpx

from mlflow_utilities import AsyncMlflowClient

__all__ = ["Fault", "FaultTransport", "KilledError", "faulty_client"]


class KilledError(BaseException):
    """The process of the client died at this point."""


class Fault(Enum):
    """What happens to one request."""

    DIE_BEFORE = "the process dies before the request is sent"
    DIE_AFTER = "the process dies after the server answered"
    REFUSE = "the connection is refused"
    LOSE_ANSWER = "the server does it, and the connection breaks before the answer"


Script = Callable[[int, httpx.Request], Fault | httpx.Response | None]


def _no_fault(number: int, request: httpx.Request) -> None:
    return None


class FaultTransport(httpx.AsyncBaseTransport):
    """Sends to the real server, remembers every request, and asks `script(number, request)` what goes wrong.

    Numbers count from 1. A Response returned by the script is the answer, and the server does not see the request.
    """

    def __init__(self, script: Script = _no_fault) -> None:
        self.script = script
        self.requests: list[httpx.Request] = []
        self._inner = httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(keepalive_expiry=1.5))

    def forget(self) -> None:
        """Count from the beginning."""
        self.requests.clear()

    @property
    def lines(self) -> list[str]:
        """The requests as `METHOD last/two`, e.g. `POST runs/search`."""
        return [f"{sent.method} {'/'.join(sent.url.path.split('/')[-2:])}" for sent in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, or fail as the script says."""
        self.requests.append(request)
        fault = self.script(len(self.requests), request)
        if isinstance(fault, httpx.Response):
            return fault
        if fault is Fault.DIE_BEFORE:
            raise KilledError
        if fault is Fault.REFUSE:
            raise httpx.ConnectError("refused by the test", request=request)
        response = await self._inner.handle_async_request(request)
        if fault is None:
            return response
        await response.aread()
        await response.aclose()
        if fault is Fault.DIE_AFTER:
            raise KilledError
        raise httpx.ReadError("cut by the test", request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


@contextlib.asynccontextmanager
async def faulty_client(
    uri: str, script: Script = _no_fault, **options: object
) -> AsyncGenerator[tuple[AsyncMlflowClient, FaultTransport]]:
    """Give a client whose requests are counted and fail as `script` says, and its transport."""
    transport = FaultTransport(script)
    async with httpx.AsyncClient(transport=transport) as http_client:
        client = AsyncMlflowClient(uri, http_client=http_client, **options)  # type: ignore[arg-type]
        try:
            yield client, transport
        finally:
            await client.aclose()
