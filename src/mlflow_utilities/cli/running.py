"""Running what a command does: an event loop, a client, and the end of it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from mlflow_utilities.cli.options import Common

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient

__all__ = ["new_client", "run_with_client"]

T = TypeVar("T")
_TIMEOUT = 30.0


def new_client(common: Common) -> AsyncMlflowClient:
    """Return the client that the options and the environment describe.

    Raises:
        ConfigurationError: they cannot work, or name no server.

    """
    from mlflow_utilities.client import AsyncMlflowClient

    timeout = common.timeout
    if timeout is None and not os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT"):
        timeout = _TIMEOUT  # somebody waits for it
    return AsyncMlflowClient(common.tracking_uri, timeout=timeout)


def run_with_client(common: Common, work: Callable[[AsyncMlflowClient], Awaitable[T]]) -> T:
    """Run `work` with a client in an event loop of its own, and return what it returns."""

    async def main() -> T:
        async with new_client(common) as client:
            return await work(client)

    return anyio.run(main)
