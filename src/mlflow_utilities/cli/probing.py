"""The looks that `doctor` takes: at this machine, at the way to the server, at the server."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from anyio.streams.tls import TLSAttribute

from mlflow_utilities._transport.library import load_library, tls_context
from mlflow_utilities.cli.checks import (
    Check,
    Outcome,
    certificate_check,
    clock_check,
    extras_check,
    failed,
    space_check,
    store_check,
    version_check,
)
from mlflow_utilities.cli.cleaning import size
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.config import Settings
from mlflow_utilities.errors import ConfigurationError, MlflowApiError, MlflowUtilitiesError, NotFoundError
from mlflow_utilities.models.cache import default_cache_dir
from mlflow_utilities.typing import Call, JsonObject

__all__ = ["cache_on_disk", "extras", "http_library", "server", "way"]

_PORTS = {"http": 80, "https": 443}
_EXTRAS = ("mlflow", "httpx2", "prometheus-client", "opentelemetry-api", "openfeature-sdk")


def http_library() -> Check:
    """Return which HTTP library is used."""
    library = load_library(None)
    found = f"{library.__name__} {library.__version__}"
    if library.__name__ == "httpx":
        return Check("http", Outcome.OK, found, 'faster for many callers: pip install "mlflow-utilities[httpx2]"')
    return Check("http", Outcome.OK, found)


def extras() -> Check:
    """Return which optional packages are installed."""
    installed: dict[str, str | None] = {name: _version(name) for name in _EXTRAS}
    installed["mlflow"] = installed["mlflow"] or _version("mlflow-skinny")
    return extras_check(installed)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cache_on_disk(environ: Mapping[str, str]) -> Check:
    """Return whether the model cache can be written, without writing to it."""
    try:
        directory = default_cache_dir(environ)
    except ConfigurationError as error:
        return failed("cache", error)
    there = next((each for each in (directory, *directory.absolute().parents) if each.exists()), Path("/"))
    problem = None if there.is_dir() and os.access(there, os.W_OK | os.X_OK) else f"{there} is not yours to write"
    free = shutil.disk_usage(there).free
    return space_check(str(directory), problem, free, size(free))


@dataclass(frozen=True, slots=True)
class _Peer:
    """What a connection is made to: the server, or the proxy before it."""

    host: str
    port: int
    secure: bool
    is_proxy: bool


def _peer(settings: Settings) -> _Peer:
    parts = urlsplit(settings.proxy or settings.tracking_uri)
    return _Peer(
        parts.hostname or "", parts.port or _PORTS[parts.scheme], parts.scheme == "https", settings.proxy is not None
    )


async def way(settings: Settings, seconds: float) -> AsyncGenerator[Check]:
    """Yield how the name, the connection and TLS are, each allowed so many seconds; what fails comes last."""
    peer = _peer(settings)
    role = "the proxy " if peer.is_proxy else ""
    where = f"{role}{peer.host}:{peer.port}"
    try:
        with anyio.fail_after(seconds):
            found = await anyio.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a time-out too
        said = str(error) or f"no answer within {seconds:g} s"
        yield Check("dns", Outcome.FAIL, f"{role}{peer.host}: {said}", "check the name in the address, and the DNS")
        return
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    yield Check("dns", Outcome.OK, f"{role}{peer.host} is {', '.join(addresses)}")
    start = anyio.current_time()
    try:
        with anyio.fail_after(seconds):
            await (await anyio.connect_tcp(peer.host, peer.port)).aclose()
    except TimeoutError:
        yield Check(
            "tcp", Outcome.FAIL, f"{where}: no connection within {seconds:g} s", "is a firewall in the way? Is it up?"
        )
        return
    except OSError as error:
        said = "refused: nothing listens there" if _refused(error) else str(error)
        yield Check("tcp", Outcome.FAIL, f"{where}: {said}", "is the server running at this address?")
        return
    yield Check("tcp", Outcome.OK, f"{where} connected in {(anyio.current_time() - start) * 1000:.0f} ms")
    yield await _tls(settings, peer, where, seconds)


def _refused(error: OSError) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return True
        if isinstance(cause, BaseExceptionGroup):
            return all(isinstance(each, ConnectionRefusedError) for each in cause.exceptions)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        cause = cause.__cause__
    return False


async def _tls(settings: Settings, peer: _Peer, where: str, seconds: float) -> Check:
    if not peer.secure:
        if peer.is_proxy and settings.tracking_uri.startswith("https:"):
            return Check("tls", Outcome.SKIPPED, "the proxy leads to it; the requests below show whether it works")
        local = peer.host in ("localhost", "127.0.0.1", "::1")
        advice = None if local or (settings.username is None and settings.token is None) else "use an https:// address"
        found = "not used" if advice is None else "not used: the credentials can be read on the way"
        return Check("tls", Outcome.OK if advice is None else Outcome.WARN, found, advice)
    try:
        context = tls_context(load_library(None), settings)
        with anyio.fail_after(seconds):
            stream = await anyio.connect_tcp(
                peer.host, peer.port, tls=True, ssl_context=context, tls_standard_compatible=False
            )
            async with stream:
                spoken = stream.extra(TLSAttribute.tls_version)  # noqa: S610 - not Django's
                certificate = stream.extra(TLSAttribute.peer_certificate, None)  # noqa: S610
    except ConfigurationError as error:
        return failed("tls", error)
    except ssl.SSLCertVerificationError as error:
        return Check(
            "tls",
            Outcome.FAIL,
            f"{where}: the certificate is not trusted: {error.verify_message}",
            "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of the authority that signed it",
        )
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        advice = "does the server speak TLS at this port? Else use http://"
        return Check("tls", Outcome.FAIL, f"{where}: {reason}", advice)
    return certificate_check(spoken, certificate, verified=settings.verify is not False, now=datetime.now(UTC))


async def server(client: AsyncMlflowClient, settings: Settings) -> AsyncGenerator[Check]:
    """Yield whether MLflow answers and accepts the credentials, its version, its store and its clock."""
    start = client.clock.monotonic()
    header: str | None = None
    try:
        async with client.sender.stream(Call("GET", "/health")) as answer:
            header = answer.headers.get("date")
            async for _ in answer.iter_bytes():
                pass
        answered = f"GET /health answered in {(client.clock.monotonic() - start) * 1000:.0f} ms"
    except MlflowApiError as error:
        answered = f"GET /health answered {error.status}"  # something in front of MLflow may refuse just this
    except MlflowUtilitiesError as error:
        yield failed("server", error)
        return
    took, now = client.clock.monotonic() - start, datetime.now(UTC)
    yield Check("server", Outcome.OK, answered)
    try:
        experiments = await client.search_experiments(max_results=20)
    except MlflowUtilitiesError as error:
        yield failed("auth", error)
        return
    yield Check("auth", Outcome.OK, _credentials(settings))
    try:
        yield version_check(await client.server_version())
        yield store_check(await _info(client), [each.experiment_id for each in experiments])
    except MlflowUtilitiesError as error:
        yield failed("version", error)
        return
    yield clock_check(header, now, took)


def _credentials(settings: Settings) -> str:
    if settings.username is not None:
        return f"accepted as user {settings.username!r}"
    return "the token was accepted" if settings.token is not None else "no credentials are sent, and none are wanted"


async def _info(client: AsyncMlflowClient) -> JsonObject | None:
    try:
        return await client.request("GET", "/api/3.0/mlflow/server-info")
    except NotFoundError:
        return None
