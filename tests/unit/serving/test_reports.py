"""What a failed poll is reported as, and which ones slow polling down."""

from __future__ import annotations

import pytest

from mlflow_utilities.errors import (
    BadRequestError,
    ClientStateError,
    ConfigurationError,
    EndpointNotFoundError,
    InvalidInputError,
    LedgerCorruptError,
    LedgerDeletedError,
    LedgerNewerFormatError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    RolloutError,
    ServerError,
    UnauthenticatedError,
)
from mlflow_utilities.serving.reports import describe, is_slow, retry_after
from mlflow_utilities.serving.values import PollError

CASES: list[tuple[Exception, str, int | None, bool]] = [
    (UnauthenticatedError("no", status=401), "unauthenticated", 401, True),
    (PermissionDeniedError("no", status=403), "forbidden", 403, True),
    (NotFoundError("no", status=404), "not found", 404, True),
    (EndpointNotFoundError("no", status=404), "not found", 404, True),
    (RateLimitedError("later", status=429), "rate limited", 429, False),
    (ServerError("oh", status=503), "server", 503, False),
    (BadRequestError("QueuePool", status=400), "server", 400, False),
    (RedirectError("there", status=302), "server", 302, False),
    (MlflowApiError("what", status=418), "server", 418, False),
    (MlflowTimeoutError("late"), "timeout", None, False),
    (MlflowConnectionError("refused"), "network", None, False),
    (ProtocolError("not JSON"), "invalid data", None, False),
    (KeyError("info"), "invalid data", None, False),
    (LedgerDeletedError("restore"), "ledger", None, True),
    (LedgerCorruptError("circle"), "ledger", None, True),
    (LedgerNewerFormatError("format 2"), "ledger", None, True),
    (RolloutError("lags"), "ledger", None, False),
    (ConfigurationError("no token"), "unauthenticated", None, False),
    (InvalidInputError("there is no experiment"), "not found", None, False),
    (ClientStateError("closed"), "client", None, False),
]


@pytest.mark.parametrize(("error", "kind", "status", "slow"), CASES, ids=lambda value: type(value).__name__)
def test_each_error_has_its_kind(error: Exception, kind: str, status: int | None, slow: bool) -> None:
    """The report has the kind, the HTTP status if there was an answer, the text, and the time."""
    assert describe(error, 5) == PollError(kind=kind, message=str(error), time=5, http_status=status)
    assert is_slow(error) is slow


def test_an_error_without_a_text_is_named() -> None:
    """An exception that says nothing is reported by its class."""
    assert describe(AttributeError(), 5).message == "AttributeError"


def test_only_answers_say_when_to_come_back() -> None:
    """Retry-After is what the answer had; without an answer there is none."""
    assert retry_after(ServerError("later", status=503, retry_after=7.0)) == 7.0
    assert retry_after(ServerError("later", status=503)) is None
    assert retry_after(MlflowTimeoutError("late")) is None
