"""The HTTP library: httpx2 where it is installed, else httpx. Nothing outside this package sees its types."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow_utilities.config import Settings
from mlflow_utilities.errors import (
    ConfigurationError,
    MissingDependencyError,
    MlflowConnectionError,
    MlflowTimeoutError,
    ProtocolError,
)

__all__ = ["library_of", "load_library", "make_connection", "translated"]

_NAMES = ("httpx2", "httpx")


def load_library(name: str | None) -> Any:
    """Return the module `httpx2` or `httpx`: the one named, else the first that is installed.

    Raises:
        ConfigurationError: another name was given.
        MissingDependencyError: the one named is not installed.

    """
    if name is None:
        name = next(name for name in _NAMES if importlib.util.find_spec(name))
    if name not in _NAMES:
        raise ConfigurationError(f"http_library is {name!r}", hint="use 'httpx' or 'httpx2'")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is not installed", hint=f'pip install "mlflow-utilities[{name}]"'
        ) from error


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


def make_connection(library: Any, settings: Settings, keepalive_expiry: float) -> Any:
    """Return a transport of the library that holds one connection."""
    proxy = library.Proxy(settings.proxy) if settings.proxy else None
    secure = settings.tracking_uri.startswith("https:") or (settings.proxy or "").startswith("https:")
    context = (
        _tls_context(library, settings.verify, settings.client_cert)
        if secure
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    return library.AsyncHTTPTransport(
        verify=context,
        trust_env=False,
        proxy=proxy,
        limits=library.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=keepalive_expiry),
    )


@functools.lru_cache(maxsize=16)
def _tls_context(library: Any, verify: bool | str, client_cert: str | None) -> ssl.SSLContext:
    try:
        if isinstance(verify, str):
            context = ssl.create_default_context()
            context.load_verify_locations(verify)
        else:
            context = library.create_ssl_context(verify=verify)
        if client_cert:
            context.load_cert_chain(client_cert)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"cannot use the certificates of verify={verify!r}, client_cert={client_cert!r}: {error}",
            hint="give paths of PEM files",
        ) from error
    return context


@contextmanager
def translated(library: Any, what: str) -> Iterator[None]:
    """Turn the library's errors into ours; `what` names the call."""
    try:
        yield
    except (library.ConnectTimeout, library.PoolTimeout) as error:
        raise MlflowTimeoutError(f"{what}: no connection in time", sent=False) from error
    except library.TimeoutException as error:
        raise MlflowTimeoutError(f"{what}: no answer in time") from error
    except (library.ConnectError, library.ProxyError) as error:
        permanent = "CERTIFICATE" in str(error).upper()
        hint = "see MLFLOW_TRACKING_SERVER_CERT_PATH" if permanent else "is the server running at this address?"
        raise MlflowConnectionError(
            f"{what}: cannot connect: {error}", sent=False, permanent=permanent, hint=hint
        ) from error
    except library.LocalProtocolError as error:
        raise ProtocolError(f"{what}: the request cannot be sent: {error}") from error
    except (library.NetworkError, library.RemoteProtocolError) as error:
        raise MlflowConnectionError(f"{what}: the connection broke: {error or type(error).__name__}") from error
    except library.DecodingError as error:
        raise ProtocolError(f"{what}: the answer's encoding is broken: {error}") from error
    except (library.UnsupportedProtocol, library.InvalidURL) as error:
        raise ConfigurationError(f"{what}: {error}") from error
