"""The client: every REST operation, put together from its parts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import anyio.to_thread

from mlflow_utilities._clock import Clock, SystemClock
from mlflow_utilities._transport import HttpTransport
from mlflow_utilities._transport.transport import as_timeout
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities._version import __version__
from mlflow_utilities.auth import make_authenticator
from mlflow_utilities.config import read_settings
from mlflow_utilities.errors import ConfigurationError, InvalidInputError
from mlflow_utilities.resources.experiments import ExperimentsApi
from mlflow_utilities.resources.logged_models import LoggedModelsApi
from mlflow_utilities.resources.logging import LoggingApi
from mlflow_utilities.resources.model_versions import ModelVersionsApi
from mlflow_utilities.resources.registered_models import RegisteredModelsApi
from mlflow_utilities.resources.runs import RunsApi
from mlflow_utilities.retry import RetryPolicy
from mlflow_utilities.stores.methods import ArtifactsApi
from mlflow_utilities.typing import (
    Call,
    JsonObject,
    Limits,
    Safety,
    Sender,
    StreamedBody,
    Timeout,
    TimeoutArgument,
    TokenSource,
)

__all__ = ["AsyncMlflowClient"]

_SAFETIES = {"GET": Safety.READ, "HEAD": Safety.READ, "POST": Safety.CREATE}


class AsyncMlflowClient(
    ExperimentsApi, RunsApi, LoggingApi, RegisteredModelsApi, ModelVersionsApi, LoggedModelsApi, ArtifactsApi
):
    """An async client of one MLflow server, with the method names of MLflow's own `MlflowClient`.

    Use it as an async context manager, or call `aclose()`. It belongs to one event loop and one process.

    Args: `tracking_uri` (else MLFLOW_TRACKING_URI); `username` and `password`, or `token` (text, callable or async
    callable, called again after a 401); `timeout` in seconds for a whole call, or a `Timeout`; `max_retries`;
    `max_concurrency` requests at once; `workspace` name; `verify` (False, or the path of a CA bundle); `client_cert`
    path; `http_client` (an httpx or httpx2 AsyncClient that stays yours to close); `http_library` ("httpx" or
    "httpx2"); `environ` instead of the process's. What is not given comes from MLflow's environment variables.

    Raises ConfigurationError when settings cannot work.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        token: TokenSource | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int | None = None,
        max_concurrency: int = 8,
        keepalive_expiry: float = 1.5,
        workspace: str | None = None,
        verify: bool | str | None = None,
        client_cert: str | None = None,
        http_client: object | None = None,
        http_library: str | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(max_concurrency, bool) or not isinstance(max_concurrency, int) or max_concurrency < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"max_concurrency is {max_concurrency!r}", hint="use an integer >= 1")
        self._environ = os.environ if environ is None else environ
        self._settings = read_settings(
            self._environ,
            tracking_uri=tracking_uri,
            username=username,
            password=password,
            token=token,
            verify=verify,
            client_cert=client_cert,
            workspace=workspace,
            max_retries=max_retries,
            timeout=timeout,
        )
        self._clock = clock or SystemClock()
        self._transport = HttpTransport(
            self._settings,
            authorization=make_authenticator(self._settings),
            clock=self._clock,
            limits=Limits(max_concurrency, keepalive_expiry),
            user_agent=f"mlflow-utilities/{__version__}",
            http_client=http_client,
            http_library=http_library,
        )
        ArtifactsApi.__init__(self, self._transport)
        self._state: dict[str, Any] = {}

    @property
    def tracking_uri(self) -> str:
        """Address of the server, without credentials."""
        return self._settings.tracking_uri

    @property
    def clock(self) -> Clock:
        """Time and chance, as the client sees them."""
        return self._clock

    @property
    def sender(self) -> Sender:
        """What other parts of this package send calls of their own with."""
        return self._sender

    @property
    def user(self) -> str:
        """Who this client acts for, as rollout histories record it: the user name, else the account's name."""
        names = (self._environ.get(name) for name in ("LOGNAME", "USER", "USERNAME"))
        return self._settings.username or next((name for name in names if name), "unknown")

    @property
    def state(self) -> dict[str, Any]:
        """What other parts of this package keep for a client and all that `with_options` makes of it."""
        return self._state

    def __repr__(self) -> str:
        return f"AsyncMlflowClient({self.tracking_uri!r})"

    async def __aenter__(self) -> Self:
        self._transport.check_usable()
        await anyio.to_thread.run_sync(_warm_up)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; calls under way fail with ClientStateError. Closing twice does nothing."""
        await self._transport.aclose()

    def with_options(self, *, timeout: TimeoutArgument = UNSET, max_retries: int | None = None) -> AsyncMlflowClient:
        """Return this client with another default `timeout` or `max_retries`; connections are shared."""
        other = object.__new__(AsyncMlflowClient)
        other.__dict__.update(self.__dict__)
        settings = self._settings
        retry = settings.retry
        if max_retries is not None:
            if isinstance(max_retries, bool) or not 0 <= max_retries <= 20:
                raise ConfigurationError(f"max_retries is {max_retries!r}", hint="use an integer from 0 to 20")
            retry = RetryPolicy(max_retries, retry.backoff_factor, retry.max_delay, retry.respect_retry_after)
        limits = as_timeout(timeout, getattr(self._sender, "default_timeout", settings.timeout))
        other._sender = _Options(self._transport, limits, retry)
        return other

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        safety: Safety | None = None,
        timeout: TimeoutArgument = UNSET,
    ) -> JsonObject:
        """Call an endpoint that has no method yet and return its JSON object.

        `path` is `/api/...`, or what follows `/api/2.0/mlflow/`. `safety` says what repeating may do: GET is taken as
        READ, POST as CREATE (not repeated once it may have arrived), others as IDEMPOTENT.
        """
        method = method.upper()
        if "?" in path or "#" in path or any(ch.isspace() for ch in path):
            raise InvalidInputError(f"the path is {path!r}", hint="give the query as params=, and quote the rest")
        full = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        call = Call(
            method,
            full,
            query=tuple((params or {}).items()),
            body=json,
            safety=safety or _SAFETIES.get(method, Safety.IDEMPOTENT),
        )
        return await self._sender.send_json(call, timeout=timeout)

    async def server_version(self, *, timeout: TimeoutArgument = UNSET) -> str:
        """Return the version of MLflow that the server runs, e.g. "3.17.2". GET /version."""
        return (await self._sender.send(Call("GET", "/version"), timeout=timeout)).decode().strip()


class _Options:
    """A sender with defaults of its own over a shared transport."""

    def __init__(self, transport: HttpTransport, default_timeout: Timeout, retry: RetryPolicy) -> None:
        self._transport = transport
        self.default_timeout = default_timeout
        self._retry = retry

    def _timeout(self, timeout: TimeoutArgument) -> Timeout:
        return as_timeout(timeout, self.default_timeout)

    async def send(self, call: Call, *, timeout: TimeoutArgument = UNSET) -> bytes:
        return await self._transport.send(call, timeout=self._timeout(timeout), retry=self._retry)

    async def send_json(self, call: Call, *, timeout: TimeoutArgument = UNSET) -> JsonObject:
        return await self._transport.send_json(call, timeout=self._timeout(timeout), retry=self._retry)

    async def upload(
        self,
        call: Call,
        content: Callable[[], AsyncIterator[bytes]],
        size: int | None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> bytes:
        limits = UNSET if isinstance(timeout, Unset) else self._timeout(timeout)
        return await self._transport.upload(call, content, size, timeout=limits, retry=self._retry)

    def stream(self, call: Call, *, timeout: TimeoutArgument = UNSET) -> AbstractAsyncContextManager[StreamedBody]:
        return self._transport.stream(call, timeout=self._timeout(timeout), retry=self._retry)


def _warm_up() -> None:
    """Import and build what the first decoded answer needs, outside the event loop."""
    from mlflow_utilities import entities

    for name in ("Run", "Experiment", "ModelVersion", "RegisteredModel", "LoggedModel", "FileInfo", "Metric"):
        getattr(entities, name).model_rebuild()
