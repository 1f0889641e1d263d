"""Settings of a client: explicit arguments first, else the environment variables that MLflow's own client honours."""

from __future__ import annotations

import configparser
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from mlflow_utilities._unset import Unset
from mlflow_utilities.errors import ConfigurationError, InvalidInputError, MlflowUtilitiesError
from mlflow_utilities.retry import RetryPolicy
from mlflow_utilities.typing import Timeout, TimeoutArgument, TokenSource

__all__ = ["Settings", "as_retries", "as_timeout", "proxy_for", "read_settings"]

_TRUE = ("true", "1")
_FALSE = ("false", "0")
_MOST_RETRIES = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server is and how to talk to it. Secrets do not show in its repr."""

    tracking_uri: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: TokenSource | None = field(default=None, repr=False)
    verify: bool | str = True
    client_cert: str | None = None
    workspace: str | None = None
    proxy: str | None = field(default=None, repr=False)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: Timeout = field(default_factory=Timeout)


def read_settings(
    environ: Mapping[str, str],
    *,
    tracking_uri: str | None = None,
    username: str | None = None,
    password: str | None = None,
    token: TokenSource | None = None,
    verify: bool | str | os.PathLike[str] | None = None,
    client_cert: str | os.PathLike[str] | None = None,
    workspace: str | None = None,
    max_retries: int | None = None,
    timeout: Timeout | float | None = None,
) -> Settings:
    """Return the settings that arguments and environment give together.

    Raises:
        ConfigurationError: a value cannot work, two contradict each other, or no server is named.

    """
    uri, uri_user, uri_password = _split_uri(tracking_uri or environ.get("MLFLOW_TRACKING_URI"))
    _refuse_other_registry(environ, uri)
    if username is None and token is None and uri_user is not None:
        username, password = uri_user, uri_password
    if username is None and token is None:
        if password is not None:
            raise ConfigurationError("password was given without username", hint="give both")
        _refuse_plugins(environ)
        username, password, token = _ambient_credentials(environ)
    if username is not None and token is not None:
        raise ConfigurationError("both username and token were given", hint="give one of them")
    if username is not None and password is None:
        raise ConfigurationError(f"username {username!r} was given without password", hint="give both")
    if token is not None and not (callable(token) or (token and isinstance(token, str))):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"the token is empty, or a {type(token).__name__}", hint="give text or a callable")
    cert = client_cert or environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    return Settings(
        tracking_uri=uri,
        username=username,
        password=password,
        token=token,
        verify=_verify(environ) if verify is None else verify if isinstance(verify, bool) else os.fspath(verify),
        client_cert=os.fspath(cert) if cert else None,
        workspace=_workspace(workspace or environ.get("MLFLOW_WORKSPACE")),
        proxy=proxy_for(uri, environ),
        retry=_retry(environ, max_retries),
        timeout=_timeout(environ, timeout),
    )


def _split_uri(uri: str | None) -> tuple[str, str | None, str | None]:
    if not uri:
        raise ConfigurationError("no tracking URI", hint="pass tracking_uri= or set MLFLOW_TRACKING_URI")
    parts, host, port = _parsed(uri.strip())
    if parts.scheme not in ("http", "https") or not host or any(ch.isspace() for ch in host):
        raise ConfigurationError(
            f"the tracking URI {_without_secret(uri)!r} is not the address of a server",
            hint="only http:// and https:// servers are supported, as in http://127.0.0.1:5000; "
            "user and password in it must be quoted",
        )
    if parts.query or parts.fragment:
        raise ConfigurationError("the tracking URI has a query or a fragment", hint="leave it out")
    netloc = f"[{host}]" if ":" in host else host
    netloc = f"{netloc}:{port}" if port else netloc
    clean = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
    if parts.username is None:
        return clean, None, None
    return clean, unquote(parts.username), unquote(parts.password or "")


def _parsed(uri: str) -> tuple[SplitResult, str | None, int | None]:
    """Split an address; one that cannot be split has no host. What urllib says of it may be a piece of a password."""
    try:
        parts = urlsplit(uri)
        return parts, parts.hostname, parts.port
    except ValueError:
        return SplitResult("", "", "", "", ""), None, None


def _without_secret(uri: str) -> str:
    scheme, separator, rest = uri.partition("://") if "://" in uri else ("", "", uri)
    return scheme + separator + rest.rpartition("@")[2]


def _refuse_other_registry(environ: Mapping[str, str], uri: str) -> None:
    registry = environ.get("MLFLOW_REGISTRY_URI", "").strip()
    try:
        same = not registry or _split_uri(registry)[0] == uri
    except ConfigurationError:
        same = False
    if not same:
        raise ConfigurationError(
            f"MLFLOW_REGISTRY_URI names another server, {_without_secret(registry)!r}",
            hint="one client talks to one server: unset it, and use a second client for that registry",
        )


def _refuse_plugins(environ: Mapping[str, str]) -> None:
    for name in ("MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_AUTH"):
        if environ.get(name, "").strip().lower() not in ("", *_FALSE):
            raise ConfigurationError(f"{name} is set, and is not supported", hint="pass token= as a callable")


def _ambient_credentials(environ: Mapping[str, str]) -> tuple[str | None, str | None, TokenSource | None]:
    username = environ.get("MLFLOW_TRACKING_USERNAME")
    password = environ.get("MLFLOW_TRACKING_PASSWORD")
    if not (username and password):
        stored = _credentials_file(environ)
        username = username or stored.get("mlflow_tracking_username")
        password = password or stored.get("mlflow_tracking_password")
    if username and password:
        return username, password, None
    return None, None, environ.get("MLFLOW_TRACKING_TOKEN") or None


def _credentials_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    try:
        home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    except RuntimeError:  # a user without a home directory, as in some containers
        return {}
    path = home / ".mlflow" / "credentials"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser["mlflow"]) if parser.has_section("mlflow") else {}
    except (OSError, UnicodeDecodeError, configparser.Error):
        raise ConfigurationError(f"cannot read the credentials in {path}", hint="write them as an INI file") from None


def _verify(environ: Mapping[str, str]) -> bool | str:
    insecure = _flag(environ, "MLFLOW_TRACKING_INSECURE_TLS", default=False)
    bundle = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    if insecure and bundle:
        raise ConfigurationError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH contradict each other",
            hint="unset one of them",
        )
    if insecure:
        return False
    return bundle or environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or True


def _workspace(name: str | None) -> str | None:
    if name and not (name.isascii() and name.isprintable()):
        raise ConfigurationError(f"the workspace is {name!r}", hint="use printable ASCII: it is sent as a header")
    return name or None


def _retry(environ: Mapping[str, str], max_retries: int | None) -> RetryPolicy:
    default = RetryPolicy()
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    if max_retries is not None:
        retries = as_retries(max_retries)
    elif text := environ.get(name):
        retries = as_retries(int(text) if text.isascii() and text.isdigit() else text, name)
    else:
        retries = default.max_retries
    return RetryPolicy(
        max_retries=retries,
        backoff_factor=_number(environ, "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", default.backoff_factor),
        max_delay=default.max_delay,
        respect_retry_after=_flag(environ, "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", default=True),
    )


def as_retries(value: object, name: str = "max_retries") -> int:
    """Return a number of retries.

    Raises:
        ConfigurationError: it is not an integer from 0 to 20.

    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_RETRIES:
        raise ConfigurationError(f"{name} is {value!r}", hint=f"use an integer from 0 to {_MOST_RETRIES}")
    return value


def as_timeout(
    timeout: TimeoutArgument, default: Timeout, error: type[MlflowUtilitiesError] = InvalidInputError
) -> Timeout:
    """Return the limits that a `timeout=` argument means: seconds for the whole call, None for no limit.

    Raises:
        InvalidInputError: it is not a positive number; the constructor raises ConfigurationError instead.

    """
    if isinstance(timeout, Unset):
        return default
    if timeout is None:
        return Timeout(default.connect, None, None, None, None)
    if isinstance(timeout, Timeout):
        for part in ("connect", "read", "write", "pool", "total"):
            if (seconds := getattr(timeout, part)) is not None:
                _check_seconds(seconds, f"the {part} timeout", error)
        return timeout
    _check_seconds(timeout, "the timeout", error)
    seconds = float(timeout)
    return Timeout(min(seconds, default.connect or seconds), seconds, seconds, seconds, seconds)


def _check_seconds(value: object, name: str, error: type[MlflowUtilitiesError]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise error(f"{name} is {value!r}", hint="use a number of seconds above 0, or None for no limit")


def _timeout(environ: Mapping[str, str], timeout: Timeout | float | None) -> Timeout:
    default = Timeout()
    if timeout is not None:
        return as_timeout(timeout, default, ConfigurationError)
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    if not environ.get(name):
        return default
    seconds = _number(environ, name, 0.0)
    if not seconds:
        raise ConfigurationError(f"{name} is {environ[name]!r}", hint="use a number of seconds above 0")
    total = max(seconds, default.total or seconds)
    return Timeout(default.connect, seconds, seconds, default.pool, total)


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigurationError(f"{name} is {text!r}", hint="use a number >= 0")
    return number


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").strip().lower()
    if text and text not in (*_TRUE, *_FALSE):
        raise ConfigurationError(f"{name} is {text!r}", hint="use true or false")
    return text in _TRUE if text else default


def proxy_for(uri: str, environ: Mapping[str, str]) -> str | None:
    """Return the HTTP proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for a server, or None."""
    parts = urlsplit(uri)
    host = (parts.hostname or "").lower()
    lowered = {name.lower(): value for name, value in environ.items() if name.lower().endswith("_proxy") and value}
    for pattern in (item.strip().lower() for item in lowered.get("no_proxy", "").split(",")):
        name = pattern.rpartition(":")[0] if pattern.rpartition(":")[2].isdigit() else pattern
        if pattern == "*" or (name and (host == name.lstrip(".") or host.endswith("." + name.lstrip(".")))):
            return None
    proxy = lowered.get(f"{parts.scheme}_proxy") or lowered.get("all_proxy")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
