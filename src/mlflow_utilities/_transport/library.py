"""The HTTP library: httpx2 where it is installed, else httpx. Nothing outside this package sees its types."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from mlflow_utilities._transport.lanes import OwnLane, SecureLane
from mlflow_utilities.config import Settings
from mlflow_utilities.errors import (
    ConfigurationError,
    MissingDependencyError,
    MlflowConnectionError,
    MlflowTimeoutError,
    ProtocolError,
)

__all__ = ["library_of", "load_library", "make_lane", "tls_context", "translated"]

_NAMES = ("httpx2", "httpx")
# What an answer of OpenSSL that repeating the call cannot change has in its name.
_PERMANENT_TLS = ("CERT", "UNKNOWN_CA", "WRONG_VERSION", "HTTP_REQUEST", "HANDSHAKE_FAILURE", "UNSUPPORTED_PROTOCOL")


def load_library(name: str | None) -> Any:
    """Return the module `httpx2` or `httpx`: the one named, else the first that is installed.

    Raises:
        ConfigurationError: another name was given.
        MissingDependencyError: it is not installed.

    """
    if name is None:
        name = "httpx2" if importlib.util.find_spec("httpx2") else "httpx"
    if name not in _NAMES:
        raise ConfigurationError(f"http_library is {name!r}", hint="use 'httpx' or 'httpx2'")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = "mlflow-utilities[httpx2]" if name == "httpx2" else name
        raise MissingDependencyError(f"{name} is not installed", hint=f'pip install "{package}"') from error


def library_of(client: object) -> Any:
    """Return the library that a ready-made client is of.

    Raises:
        ConfigurationError: it is not an AsyncClient of httpx or httpx2.

    """
    for cls in type(client).__mro__:
        root = cls.__module__.partition(".")[0]
        if root in _NAMES and cls.__name__ == "AsyncClient":
            return importlib.import_module(root)
    raise ConfigurationError(
        f"http_client is a {type(client).__name__}", hint="give an httpx.AsyncClient or an httpx2.AsyncClient"
    )


def make_lane(library: Any, settings: Settings, context: ssl.SSLContext, keepalive_expiry: float) -> OwnLane:
    """Return a lane on a transport of the library that holds one connection.

    Raises:
        ConfigurationError: the library cannot use the proxy.

    """
    limits = library.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=keepalive_expiry)
    try:
        proxy = library.Proxy(settings.proxy) if settings.proxy else None
        transport = library.AsyncHTTPTransport(verify=context, trust_env=False, proxy=proxy, limits=limits)
    except (ValueError, ImportError, library.InvalidURL):
        raise ConfigurationError(
            "the proxy of the environment cannot be used", hint="give HTTP_PROXY an http:// or https:// address"
        ) from None
    return SecureLane(transport) if _is_secure(settings) else OwnLane(transport)


def _is_secure(settings: Settings) -> bool:
    return settings.tracking_uri.startswith("https:") or (settings.proxy or "").startswith("https:")


def tls_context(library: Any, settings: Settings) -> ssl.SSLContext:
    """Return how to verify the server.

    Raises:
        ConfigurationError: a certificate file cannot be used.

    """
    if not _is_secure(settings):
        return _unused_context()
    verify = settings.verify
    try:
        if isinstance(verify, str):
            is_folder = os.path.isdir(verify)
            context = (
                ssl.create_default_context(capath=verify) if is_folder else ssl.create_default_context(cafile=verify)
            )
        elif verify and not settings.client_cert:
            return _default_context(library)
        else:
            context = library.create_ssl_context(verify=verify)
        if settings.client_cert:
            # A password, for the library would ask the terminal for the one of an encrypted key.
            context.load_cert_chain(settings.client_cert, password="")
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the certificates of verify={verify!r}, client_cert={settings.client_cert!r}: {error}",
            hint="give paths of PEM files; the key must not be encrypted",
        ) from error
    return context


@functools.cache
def _default_context(library: Any) -> ssl.SSLContext:
    context: ssl.SSLContext = library.create_ssl_context()
    return context


@functools.cache
def _unused_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def translated(library: Any, what: str, server: str = "the server") -> Generator[None]:
    """Turn the library's errors into ours; `what` names the call, `server` where it goes."""
    try:
        yield
    except (library.ConnectTimeout, library.PoolTimeout) as error:
        raise MlflowTimeoutError(f"{what}: no connection in time", sent=False) from error
    except library.TimeoutException as error:
        raise MlflowTimeoutError(f"{what}: no answer in time") from error
    except library.ProxyError as error:
        refused = str(error).startswith("4")
        raise MlflowConnectionError(f"{what}: the proxy: {error}", sent=False, permanent=refused) from error
    except library.LocalProtocolError as error:
        raise ProtocolError(f"{what}: the request cannot be sent: {error}") from error
    except (library.NetworkError, library.RemoteProtocolError, ssl.SSLError) as error:  # httpcore lets SSLError through
        raise _connection_error(library, what, server, error) from error
    except library.DecodingError as error:
        raise ProtocolError(f"{what}: the answer's encoding is broken: {error}") from error
    except (library.UnsupportedProtocol, library.InvalidURL) as error:
        raise ConfigurationError(f"{what}: {error}") from error


def _connection_error(library: Any, what: str, server: str, error: Exception) -> MlflowConnectionError:
    tls = _tls_error(error)
    text = str(error) or str(tls or type(error).__name__)
    if tls is not None and any(word in str(tls).upper().replace(" ", "_") for word in _PERMANENT_TLS):
        return MlflowConnectionError(
            f"{what}: no secure connection: {text}",
            sent=False,
            permanent=True,
            hint="see verify=, client_cert= and MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_TRACKING_CLIENT_CERT_PATH",
        )
    if isinstance(error, library.ConnectError):
        hint = "is the server running at this address?"
        return MlflowConnectionError(f"{what}: cannot connect to {server}: {text}", sent=False, hint=hint)
    return MlflowConnectionError(f"{what}: the connection broke: {text}")


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    seen: set[int] = set()  # an error that is raised again may be its own context
    while error is not None and not isinstance(error, ssl.SSLError) and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return error if isinstance(error, ssl.SSLError) else None
