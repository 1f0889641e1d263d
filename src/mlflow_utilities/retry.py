"""When a failed call is repeated, and after how long. Decisions only: the transport does the waiting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mlflow_utilities.errors import (
    BadRequestError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    RateLimitedError,
    ServerError,
)
from mlflow_utilities.typing import Safety

__all__ = ["RetryPolicy", "decide", "retry_after_seconds"]

_RACY_WRITES = (
    "/runs/set-tag",
    "/runs/log-batch",
    "/runs/log-parameter",
    "/runs/log-metric",
    "/experiments/set-experiment-tag",
    "/registered-models/alias",
    "/registered-models/set-tag",
    "/model-versions/set-tag",
    "/tags",
)
_PERMANENT_CODES = ("INVALID_STATE", "INVALID_STATE_TRANSITION", "FEATURE_DISABLED", "NOT_IMPLEMENTED", "DATA_LOSS")
_MAX_BAD_REQUESTS = 4


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently calls are repeated.

    `max_retries` beyond the first attempt; waits are random between 0 and `backoff_factor` * 2**attempt seconds, at
    most `max_delay`; `respect_retry_after` waits as long as the server asks for, if that is within `max_delay`.
    """

    max_retries: int = 5
    backoff_factor: float = 0.25
    max_delay: float = 30.0
    respect_retry_after: bool = True


def decide(error: Exception, attempt: int, safety: Safety, policy: RetryPolicy, chance: float) -> float | None:
    """Return the seconds to wait before the call is repeated, or None when it must not be.

    `attempt` counts from 0; `chance` is a random number in [0, 1), for full jitter.
    """
    if attempt >= policy.max_retries or not _may_repeat(error, attempt, safety):
        return None
    delay = min(policy.max_delay, policy.backoff_factor * 2.0**attempt) * chance
    if isinstance(error, MlflowConnectionError) and error.sent and attempt == 0:
        return 0.0
    asked: float | None = error.retry_after if isinstance(error, MlflowApiError) else None
    if asked is None or not policy.respect_retry_after:
        return delay
    return asked + delay if asked <= policy.max_delay else None


def _may_repeat(error: Exception, attempt: int, safety: Safety) -> bool:
    repeatable = safety is not Safety.CREATE
    match error:
        case MlflowConnectionError():
            return not error.permanent and (repeatable or not error.sent)
        case MlflowTimeoutError():
            return repeatable or not error.sent
        case RateLimitedError():
            return True
        case BadRequestError():
            return repeatable and attempt < _MAX_BAD_REQUESTS and _is_transient(error)
        case ServerError():
            return repeatable and error.error_code not in _PERMANENT_CODES and error.status != 501
        case MlflowApiError():
            return repeatable and error.status == 408
        case _:
            return False


def _is_transient(error: BadRequestError) -> bool:
    """MLflow answers BAD_REQUEST to an exhausted database pool, and to two first writes of one tag."""
    return "QueuePool" in error.message or error.path.endswith(_RACY_WRITES)


def retry_after_seconds(header: str | None, now_ms: int) -> float | None:
    """Return the seconds a Retry-After header asks for (RFC 9110, number or date), or None."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds())
