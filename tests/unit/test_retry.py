"""When a failed call is repeated, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities import Safety
from mlflow_utilities.errors import (
    BadRequestError,
    InvalidInputError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    ServerError,
)
from mlflow_utilities.retry import RetryPolicy, decide, retry_after_seconds

POLICY = RetryPolicy()
NOW_MS = 1_790_000_000_000
READ, IDEMPOTENT, CREATE = Safety.READ, Safety.IDEMPOTENT, Safety.CREATE


def server_error(code: str | None, status: int = 500) -> ServerError:
    """Make a 5xx answer."""
    return ServerError("down", status=status, error_code=code)


def bad_request(path: str, message: str = "UNIQUE constraint failed") -> BadRequestError:
    """Make an answer of MLflow's store that failed."""
    return BadRequestError(message, status=400, error_code="BAD_REQUEST", path=f"/api/2.0/mlflow{path}")


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (MlflowConnectionError("cut"), {READ, IDEMPOTENT}),
        (MlflowConnectionError("refused", sent=False), {READ, IDEMPOTENT, CREATE}),
        (MlflowConnectionError("certificate", sent=False, permanent=True), set()),
        (MlflowTimeoutError("late"), {READ, IDEMPOTENT}),
        (MlflowTimeoutError("no connection", sent=False), {READ, IDEMPOTENT, CREATE}),
        (RateLimitedError("slowly", status=429), {READ, IDEMPOTENT, CREATE}),
        (server_error(None), {READ, IDEMPOTENT}),
        (server_error("INTERNAL_ERROR"), {READ, IDEMPOTENT}),
        (server_error("TEMPORARILY_UNAVAILABLE", 503), {READ, IDEMPOTENT}),
        (server_error("INVALID_STATE"), set()),
        (server_error("INVALID_STATE_TRANSITION"), set()),
        (server_error("FEATURE_DISABLED"), set()),
        (server_error("DATA_LOSS"), set()),
        (server_error(None, 501), set()),
        (MlflowApiError("slow", status=408), {READ, IDEMPOTENT}),
        (MlflowApiError("gone", status=410), set()),
        (NotFoundError("none", status=404), set()),
        (bad_request("/runs/set-tag"), {READ, IDEMPOTENT}),
        (bad_request("/runs/log-batch"), {READ, IDEMPOTENT}),
        (bad_request("/experiments/set-experiment-tag"), {READ, IDEMPOTENT}),
        (bad_request("/registered-models/alias"), {READ, IDEMPOTENT}),
        (bad_request("/logged-models/m-1/tags"), {READ, IDEMPOTENT}),
        (bad_request("/experiments/update"), set()),
        (bad_request("/runs/search", "QueuePool limit of size 5 overflow 10 reached"), {READ, IDEMPOTENT}),
        (ProtocolError("not JSON"), set()),
        (InvalidInputError("bad"), set()),
    ],
    ids=str,
)
def test_which_errors_are_repeated(error: Exception, repeated: set[Safety]) -> None:
    """By MLflow's error code first, by status else; a creation only when it was not done."""
    assert {safety for safety in Safety if decide(error, 1, safety, POLICY, 0.5) is not None} == repeated


@given(attempt=st.integers(0, 20), chance=st.floats(0, 1, exclude_max=True))
def test_waits_are_random_below_a_growing_bound(attempt: int, chance: float) -> None:
    """Full jitter, never longer than `max_delay`."""
    policy = RetryPolicy(max_retries=20, max_delay=3.0)
    delay = decide(server_error(None), attempt, READ, policy, chance)

    assert delay == (None if attempt == 20 else min(3.0, 0.25 * 2**attempt) * chance)


def test_a_call_that_lost_its_connection_is_repeated_at_once() -> None:
    """The first time: most often the server had closed an idle connection."""
    delays = [decide(MlflowConnectionError("cut"), attempt, READ, POLICY, 0.5) for attempt in range(3)]
    assert delays == [0.0, 0.25, 0.5]


def test_repetition_ends_after_max_retries() -> None:
    """No retries, no repetition."""
    assert decide(MlflowConnectionError("cut"), 0, READ, RetryPolicy(max_retries=0), 0.5) is None
    assert decide(server_error(None), 5, READ, POLICY, 0.5) is None


@pytest.mark.parametrize(
    ("policy", "asked", "delay"),
    [
        (POLICY, 7.0, 7.125),
        (POLICY, 0.0, 0.125),
        (POLICY, 30.0, 30.125),
        (POLICY, 31.0, None),
        (RetryPolicy(respect_retry_after=False), 31.0, 0.125),
    ],
)
def test_the_servers_wish_is_respected(policy: RetryPolicy, asked: float, delay: float | None) -> None:
    """Unless it is longer than bearable: then the caller decides."""
    error = RateLimitedError("slowly", status=429, retry_after=asked)
    assert decide(error, 0, READ, policy, 0.5) == delay


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("Fri, 99 Foo 2026 00:00:00 GMT", None),
        (format_datetime(datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW_MS / 1000, UTC) - timedelta(seconds=90), usegmt=True), 0.0),
        (format_datetime(datetime.fromtimestamp(NOW_MS / 1000 + 90, UTC).replace(tzinfo=None)), 90.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    """RFC 9110; anything else is as if it were not there."""
    assert retry_after_seconds(header, NOW_MS) == seconds
