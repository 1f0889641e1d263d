"""What `doctor` says of what it finds: pure rules, each from a fact to a line with what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ssl import cert_time_to_seconds
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mlflow_utilities.errors import (
    EndpointNotFoundError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    MlflowUtilitiesError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    UnauthenticatedError,
)

__all__ = [
    "Check",
    "Outcome",
    "certificate_check",
    "clock_check",
    "environment_check",
    "extras_check",
    "failed",
    "proxy_check",
    "redacted",
    "space_check",
    "store_check",
    "version_check",
]

_CREDENTIALS = (
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, or write them to "
    "~/.mlflow/credentials"
)
_DAYS = 14
_SKEW = 5.0
_SPACE = 1_000_000_000
_OLDEST = (2, 8, 1)
_LOGGED_MODELS = (3, 0)
_READ = re.compile(
    r"MLFLOW_(TRACKING_(URI|USERNAME|PASSWORD|TOKEN|AUTH|AWS_SIGV4|INSECURE_TLS|SERVER_CERT_PATH|CLIENT_CERT_PATH)"
    r"|REGISTRY_URI|WORKSPACE|HTTP_REQUEST_(TIMEOUT|MAX_RETRIES|BACKOFF_FACTOR)|HTTP_RESPECT_RETRY_AFTER_HEADER"
    r"|UTILITIES_CACHE_DIR|ALLOW_PICKLE_DESERIALIZATION)"
    r"|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|XDG_CACHE_HOME|NO_COLOR|(HTTPS?|ALL|NO)_PROXY"
)
_OURS = ("MLFLOW_TRACKING_", "MLFLOW_UTILITIES_")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET")


class Outcome(StrEnum):
    """ok; warn: it works, and something may surprise you; fail: it does not; skipped: it was not looked at."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `doctor`: what was looked at, how that is, what was found, and what to do about it."""

    name: str
    outcome: Outcome
    found: str
    advice: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Return it as plain values, for JSON."""
        return {"check": self.name, "outcome": self.outcome.value, "found": self.found, "advice": self.advice}


def failed(name: str, error: MlflowUtilitiesError) -> Check:
    """Return the line for a call that raised, with what its kind of error calls for."""
    return Check(name, Outcome.FAIL, _said(error), _advice(error))


def _said(error: MlflowUtilitiesError) -> str:
    if isinstance(error, MlflowApiError):
        return f"{error.method} {error.path}: {error.status}: {error.message}"
    return error.message


def _advice(error: MlflowUtilitiesError) -> str | None:
    if isinstance(error, UnauthenticatedError):
        return f"the server wants other credentials: {_CREDENTIALS}"
    if isinstance(error, PermissionDeniedError):
        return error.hint or "the credentials are known and do not suffice: ask who runs the server for permissions"
    if isinstance(error, RedirectError):
        return "set MLFLOW_TRACKING_URI to the address it leads to"
    if isinstance(error, EndpointNotFoundError | ProtocolError):
        return "is this the address of MLflow, with the path that it is served below?"
    if isinstance(error, RateLimitedError):
        return "the server asks for fewer requests: try again later"
    if isinstance(error, MlflowTimeoutError):
        return "a firewall that drops packets, or a server with too much to do: try a longer --timeout"
    if isinstance(error, MlflowConnectionError):
        return error.hint or "the server, or what is in front of it, broke the connection: look into its log"
    return error.hint or "look into the log of the server"


def version_check(text: str) -> Check:
    """Return what a server of this version can do."""
    parts = tuple(int(digits) for digits in re.findall(r"\d+", text)[:3])
    if parts < _OLDEST:
        return Check(
            "version",
            Outcome.FAIL,
            f"MLflow {text}: shortens params, so that it cannot hold a rollout",
            "update the server to 2.8.1 or newer",
        )
    if parts < _LOGGED_MODELS:
        return Check("version", Outcome.OK, f"MLflow {text}: rollouts; models are kept as artifacts of their runs")
    return Check("version", Outcome.OK, f"MLflow {text}: rollouts, logged models")


def store_check(info: Mapping[str, Any] | None, experiment_ids: Sequence[str]) -> Check:
    """Return whether the server keeps its data in a database.

    `info` is the answer of server-info, None from servers that have none (2.x): there the ids of experiments tell, for
    a database counts them, and the file store draws 18 digits.
    """
    kind = (info or {}).get("store_type")
    if kind == "FileStore":
        return _file_store("the server keeps its data in files")
    if isinstance(kind, str) and kind:
        return Check("store", Outcome.OK, "a database" if kind == "SqlStore" else f"a store of its own kind: {kind}")
    if any(len(each) == 18 and each.isdigit() for each in experiment_ids):
        return _file_store("the ids of experiments are those of MLflow's file store")
    return Check(
        "store",
        Outcome.WARN if not experiment_ids else Outcome.OK,
        "a database, as far as the ids of experiments tell" if experiment_ids else "the server does not say which",
        None if experiment_ids else "rollouts need a database: start the server with --backend-store-uri",
    )


def _file_store(found: str) -> Check:
    return Check(
        "store",
        Outcome.FAIL,
        f"{found}: its params are not write-once when several write, and rollouts are not supported",
        "start the server with a database: --backend-store-uri sqlite:///mlflow.db, or postgresql://...",
    )


def clock_check(header: str | None, now: datetime, took: float) -> Check:
    """Return how far the clocks of server and machine are apart: by the Date of an answer that took so many seconds."""
    try:
        there = parsedate_to_datetime(header) if header else None
    except ValueError:
        there = None
    if there is None:
        return Check("clock", Outcome.SKIPPED, "the server does not say what time it is")
    there = there.replace(tzinfo=UTC) if there.tzinfo is None else there
    ahead = (now - there).total_seconds()
    if abs(ahead) <= _SKEW + took:  # the header counts whole seconds, and was written before the answer arrived
        return Check("clock", Outcome.OK, f"within {_SKEW:.0f} s of the server's")
    return Check(
        "clock",
        Outcome.WARN,
        f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's ({there:%Y-%m-%d %H:%M:%S} UTC)",
        "set the clocks by NTP: the order of a rollout does not hang on them, times in histories and charts do",
    )


def certificate_check(spoken: str, certificate: Mapping[str, Any] | None, *, verified: bool, now: datetime) -> Check:
    """Return how a TLS connection is; `certificate` as the ssl module has it, empty when it was not verified."""
    if not verified:
        return Check(
            "tls",
            Outcome.WARN,
            f"{spoken}, the certificate is not checked",
            "unset MLFLOW_TRACKING_INSECURE_TLS, and name the authority by MLFLOW_TRACKING_SERVER_CERT_PATH",
        )
    until = (certificate or {}).get("notAfter")
    if not isinstance(until, str):
        return Check("tls", Outcome.OK, f"{spoken}, the certificate is trusted")
    days = (cert_time_to_seconds(until) - now.timestamp()) / 86400
    found = f"{spoken}, the certificate is trusted and valid for {days:.0f} days"
    if days < _DAYS:
        return Check("tls", Outcome.WARN, found, "who runs the server should renew it now")
    return Check("tls", Outcome.OK, found)


def redacted(name: str, value: str) -> str:
    """Return the value of a variable as it may be shown: no password, no token, no user of an address."""
    if _SECRET.search(name.upper()):
        return "***" if value else ""
    if "://" not in value:
        return value if "@" not in value else f"***@{value.rpartition('@')[2]}"
    try:
        parts = urlsplit(value)
    except ValueError:
        return "***"
    host = parts.netloc.rpartition("@")
    netloc = f"***@{host[2]}" if host[1] else parts.netloc
    return urlunsplit((parts.scheme, netloc, parts.path, "***" if parts.query else "", "***" if parts.fragment else ""))


def environment_check(environ: Mapping[str, str]) -> Check:
    """Return which variables are set that are read, and which are not although their name says so."""
    known = {name: value for name, value in environ.items() if _READ.fullmatch(name.upper())}
    shown = ", ".join(f"{name}={redacted(name, value)}" for name, value in sorted(known.items()))
    found = shown or "no variable is set that is read"
    strange = sorted(name for name in environ if name.startswith(_OURS) and name not in known)
    if not strange:
        return Check("environment", Outcome.OK, found)
    advice = f"nothing reads {', '.join(strange)}: is it spelt right?"
    return Check("environment", Outcome.WARN, found, advice)


def proxy_check(proxy: str | None, server: str, environ: Mapping[str, str]) -> Check:
    """Return whether requests to the server go through a proxy."""
    host = urlsplit(server).hostname or ""
    names = sorted(name for name in environ if name.lower().endswith("_proxy") and environ[name])
    if proxy is not None:
        found = f"requests to {host} go through {redacted('', proxy)}"
        if host in ("localhost", "127.0.0.1", "::1"):
            return Check("proxy", Outcome.WARN, found, f"this machine's own server: add {host} to NO_PROXY")
        return Check("proxy", Outcome.OK, found)
    if names:
        return Check("proxy", Outcome.OK, f"{', '.join(names)} set; requests to {host} go there directly")
    return Check("proxy", Outcome.OK, "none: requests go to the server directly")


def extras_check(installed: Mapping[str, str | None]) -> Check:
    """Return which optional packages are there; `installed` has the version of each, None where it is missing."""
    there = [f"{name} {version}" for name, version in installed.items() if version]
    missing = [name for name, version in installed.items() if not version]
    found = f"{', '.join(there) or 'none'}" + (f"; not installed: {', '.join(missing)}" if missing else "")
    if "mlflow" in missing:
        return Check(
            "extras",
            Outcome.OK,
            found,
            'to save models, and to load them by flavor: pip install "mlflow-utilities[mlflow]"',
        )
    return Check("extras", Outcome.OK, found)


def space_check(directory: str, problem: str | None, free: int | None, shown: str) -> Check:
    """Return whether the model cache can be written; `free` in bytes, `shown` is that for people."""
    if problem is not None:
        return Check(
            "cache", Outcome.FAIL, f"{directory} cannot be written: {problem}", "set MLFLOW_UTILITIES_CACHE_DIR"
        )
    if free is not None and free < _SPACE:
        return Check(
            "cache",
            Outcome.WARN,
            f"{directory}: only {shown} free",
            "mlflow-utilities cache prune, or set MLFLOW_UTILITIES_CACHE_DIR to another disk",
        )
    return Check("cache", Outcome.OK, f"{directory}, {shown} free")
