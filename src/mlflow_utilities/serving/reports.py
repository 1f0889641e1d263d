"""What a failed poll means: how it is reported, and whether polling on at the usual pace makes sense."""

from __future__ import annotations

from mlflow_utilities.errors import (
    ClientStateError,
    ConfigurationError,
    InvalidInputError,
    LedgerError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RolloutError,
    UnauthenticatedError,
)
from mlflow_utilities.serving.values import PollError

__all__ = ["describe", "is_slow", "retry_after"]

_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (UnauthenticatedError, "unauthenticated"),
    (PermissionDeniedError, "forbidden"),
    (NotFoundError, "not found"),
    (RateLimitedError, "rate limited"),
    (MlflowApiError, "server"),
    (MlflowTimeoutError, "timeout"),
    (MlflowConnectionError, "network"),
    (RolloutError, "ledger"),
    (ClientStateError, "client"),
    (ConfigurationError, "unauthenticated"),  # during a poll, only the source of the token raises it
    (InvalidInputError, "not found"),  # the names are well-formed, and the server has no such experiment
)


def describe(error: BaseException, now_ms: int) -> PollError:
    """Return the report of a failed poll, which happened at `now_ms` (ms since 1970).

    What is none of this package's errors comes from an answer of another shape than MLflow's: "invalid data".
    """
    kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), "invalid data")
    status = error.status if isinstance(error, MlflowApiError) else None
    text = str(error) or type(error).__name__
    return PollError(kind=kind, message=text, time=now_ms, http_status=status)


def is_slow(error: BaseException) -> bool:
    """Return whether only a person can mend it: 401, 403, 404, and a ledger that is deleted or cannot be read."""
    return isinstance(error, UnauthenticatedError | PermissionDeniedError | NotFoundError | LedgerError)


def retry_after(error: BaseException) -> float | None:
    """Return the seconds the server asked to be left alone for, or None."""
    return error.retry_after if isinstance(error, MlflowApiError) else None
