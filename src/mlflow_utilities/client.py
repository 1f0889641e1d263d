"""The client: every REST operation, put together from its parts."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio.to_thread

from mlflow_utilities._clock import Clock, SystemClock
from mlflow_utilities._protocol.answers import text_of
from mlflow_utilities._transport import HttpTransport
from mlflow_utilities._unset import UNSET
from mlflow_utilities._version import __version__
from mlflow_utilities.auth import make_authenticator
from mlflow_utilities.config import as_retries, as_timeout, read_settings
from mlflow_utilities.errors import ConfigurationError, InvalidInputError, ProtocolError
from mlflow_utilities.resources.experiments import ExperimentsApi
from mlflow_utilities.resources.logged_models import LoggedModelsApi
from mlflow_utilities.resources.logging import LoggingApi
from mlflow_utilities.resources.model_versions import ModelVersionsApi
from mlflow_utilities.resources.registered_models import RegisteredModelsApi
from mlflow_utilities.resources.runs import RunsApi
from mlflow_utilities.stores.methods import ArtifactsApi
from mlflow_utilities.typing import (
    Call,
    JsonObject,
    Limits,
    Safety,
    Sender,
    Timeout,
    TimeoutArgument,
    TokenSource,
)

__all__ = ["AsyncMlflowClient", "opened"]

_SAFETIES = {"GET": Safety.READ, "HEAD": Safety.READ, "POST": Safety.CREATE}
_VERSION = re.compile(r"\d+(\.\w+)+")


class AsyncMlflowClient(
    ExperimentsApi, RunsApi, LoggingApi, RegisteredModelsApi, ModelVersionsApi, LoggedModelsApi, ArtifactsApi
):
    """An async client of one MLflow server, with the method names of MLflow's own `MlflowClient`.

    Use it as an async context manager, or call `aclose()`. It belongs to one event loop and one process.

    Args: `tracking_uri` (else MLFLOW_TRACKING_URI); `username` and `password`, or `token` (text, callable or async
    callable, called again after a 401); `timeout` in seconds for a whole call, or a `Timeout`; `max_retries`;
    `max_concurrency` requests at once; `keepalive_expiry` seconds that an idle connection is kept; `workspace` name;
    `verify` (False, or the path of a CA bundle); `client_cert` path; `http_client` (an httpx or httpx2 AsyncClient that
    stays yours to close: its headers are sent too, its base_url is not used, and plain httpx 0.28 loses connections of
    its pool when callers are cancelled); `http_library` ("httpx" or "httpx2"); `environ` instead of the process's;
    `clock` for tests. What is not given comes from MLflow's environment variables.

    Raises ConfigurationError when settings cannot work, MissingDependencyError when `http_library` is not installed.
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
        verify: bool | str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        http_client: object | None = None,
        http_library: str | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if http_client is not None and not (verify is None and client_cert is None):
            raise ConfigurationError("verify or client_cert was given with http_client", hint="set them on http_client")
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
        return self._settings.username or next((name for name in names if name), None) or _account()

    @property
    def state(self) -> dict[str, Any]:
        """What other parts of this package keep for a client and all that `with_options` makes of it."""
        return self._state

    def __repr__(self) -> str:
        return f"AsyncMlflowClient({self.tracking_uri!r})"

    async def __aenter__(self) -> Self:
        self._transport.check_usable()
        await anyio.to_thread.run_sync(self._warm_up)
        return self

    def _warm_up(self) -> None:
        """Import and build what the first decoded answer needs, outside the event loop."""
        from mlflow_utilities import entities

        self._transport.warm_up()
        for name in ("Run", "Experiment", "ModelVersion", "RegisteredModel", "LoggedModel", "FileInfo", "Metric"):
            getattr(entities, name).model_rebuild()

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
        """Return this client with another default `timeout` or `max_retries`.

        Connections are shared: closing either closes both. Raises ConfigurationError for values that cannot work.
        """
        retry = self._transport.default_retry
        if max_retries is not None:
            retry = replace(retry, max_retries=as_retries(max_retries))
        limits = as_timeout(timeout, self._transport.default_timeout, ConfigurationError)
        other = object.__new__(AsyncMlflowClient)
        other.__dict__.update(self.__dict__)
        other._transport = self._transport.with_defaults(limits, retry)
        other._sender = other._transport
        return other

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | Sequence[str]] | None = None,
        json: Mapping[str, Any] | None = None,
        safety: Safety | None = None,
        timeout: TimeoutArgument = UNSET,
    ) -> JsonObject:
        """Call an endpoint that has no method yet and return its JSON object.

        `path` is `/api/...`, or what follows `/api/2.0/mlflow/`. `params` is the query; a list repeats its key.
        `safety` says what repeating may do: GET is taken as READ, POST as CREATE (not repeated once it may have
        arrived), others as IDEMPOTENT. Raises InvalidInputError for what cannot be sent, else as every call.
        """
        if not (method.isascii() and method.isalpha()):
            raise InvalidInputError(f"the method is {method!r}", hint="use GET, POST, PUT, PATCH or DELETE")
        if not (path.isascii() and path.isprintable()) or any(ch in path for ch in "?# "):
            raise InvalidInputError(f"the path is {path!r}", hint="give the query as params=, and quote the rest")
        method = method.upper()
        call = Call(
            method,
            path if path.startswith("/") else f"/api/2.0/mlflow/{path}",
            query=_query(params or {}),
            body=json,
            safety=safety or _SAFETIES.get(method, Safety.IDEMPOTENT),
        )
        return await self._sender.send_json(call, timeout=timeout)

    async def server_version(self, *, timeout: TimeoutArgument = UNSET) -> str:
        """Return the version of MLflow that the server runs, e.g. "3.17.2". GET /version.

        Raises ProtocolError when something else than MLflow answers.
        """
        text = text_of(await self._sender.send(Call("GET", "/version"), timeout=timeout), 80)
        if not _VERSION.fullmatch(text):
            raise ProtocolError("GET /version: the answer is not a version", hint="is this the address of MLflow?")
        return text


@asynccontextmanager
async def opened(client: AsyncMlflowClient | None) -> AsyncGenerator[AsyncMlflowClient]:
    """Give the caller's client, or one from the environment for this call alone.

    Raises:
        InvalidInputError: it is something else than an AsyncMlflowClient.

    """
    if client is not None:
        if not isinstance(client, AsyncMlflowClient):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"client is a {type(client).__name__}", hint="give an AsyncMlflowClient")
        yield client
        return
    async with AsyncMlflowClient() as own:
        yield own


def _query(params: Mapping[str, str | Sequence[str]]) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for key, value in params.items():
        for item in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [None]:
            if not isinstance(item, str):
                raise InvalidInputError(f"the query parameter {key} is {value!r}", hint="give text, or a list of texts")
            pairs.append((key, item))
    return tuple(pairs)


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        return "unknown"
