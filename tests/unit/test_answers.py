"""What an HTTP answer means."""

from __future__ import annotations

import json

import pytest

from mlflow_utilities import errors
from mlflow_utilities._protocol.answers import decode_object, error_of, text_of
from mlflow_utilities.errors import ProtocolError
from mlflow_utilities.typing import Call, Safety

CALL = Call("POST", "/api/2.0/mlflow/runs/create")


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (400, "BAD_REQUEST", "BadRequestError"),
        (400, "INVALID_PARAMETER_VALUE", "InvalidParameterError"),
        (400, "RESOURCE_ALREADY_EXISTS", "AlreadyExistsError"),
        (409, "RESOURCE_CONFLICT", "AlreadyExistsError"),
        (404, "RESOURCE_DOES_NOT_EXIST", "NotFoundError"),
        (404, "SOMETHING_NEW", "NotFoundError"),
        (404, "ENDPOINT_NOT_FOUND", "EndpointNotFoundError"),
        (404, None, "EndpointNotFoundError"),
        (405, None, "EndpointNotFoundError"),
        (401, "UNAUTHENTICATED", "UnauthenticatedError"),
        (401, None, "UnauthenticatedError"),
        (403, "PERMISSION_DENIED", "PermissionDeniedError"),
        (403, None, "PermissionDeniedError"),
        (409, None, "AlreadyExistsError"),
        (429, "REQUEST_LIMIT_EXCEEDED", "RateLimitedError"),
        (429, None, "RateLimitedError"),
        (500, "INTERNAL_ERROR", "ServerError"),
        (500, "INVALID_STATE", "ServerError"),
        (500, "SOMETHING_NEW", "ServerError"),
        (503, None, "ServerError"),
        (302, None, "RedirectError"),
        (418, None, "MlflowApiError"),
        (499, "CANCELLED", "MlflowApiError"),
    ],
)
def test_the_error_code_decides_and_then_the_status(status: int, code: str | None, name: str) -> None:
    """MLflow's codes and HTTP statuses do not agree, so the code comes first."""
    body = json.dumps({"error_code": code, "message": "why"}).encode() if code else b"<html>why</html>"
    error = error_of(CALL, status, {}, body, None)

    assert type(error) is getattr(errors, name)
    assert (error.method, error.path, error.status, error.error_code) == ("POST", CALL.path, status, code)
    assert status < 400 or "why" in str(error)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error_code": "X", "message": "why"}', "why"),
        (b'{"detail": "why"}', "why"),
        (b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>", "a web page, which says '404 Not Found'"),
        (b"<html><style>b {}</style><body>Log&nbsp;in\n <b>here</b></body>", "a web page, which says 'Log in here'"),
        (b"<html></html>", "<html></html>"),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
        (b'{"error_code": 5}', ""),
        (b'["why"]', '["why"]'),
        (b"  plain text \n", "plain text"),
        (b"", ""),
        (b"\xff", "\ufffd"),
        (b"x" * 5000, "x" * 200 + "..."),
        (json.dumps({"message": "x" * 5000}).encode(), "x" * 2000),
    ],
    ids=range(13),
)
def test_the_message_is_what_the_server_said(body: bytes, message: str) -> None:
    """From JSON or from a page, and never longer than a screen."""
    assert error_of(CALL, 418, {}, body, None).message == message


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://mlflow.test/login?next=1#x", "https://mlflow.test/login"),
        ("https://ana:pw@mlflow.test:8443/", "https://mlflow.test:8443/"),
        ("/login?token=1", "/login"),
        ("//mlflow.test/x", "://mlflow.test/x"),
        ("http://[bad", "an address that is not one"),
        (None, "nowhere"),
    ],
)
def test_a_redirect_names_its_target(location: str | None, shown: str) -> None:
    """Without user, password, query and fragment."""
    error = error_of(CALL, 302, {"location": location} if location else {}, b"moved", None)
    assert error.message == f"redirected to {shown}"
    assert error.hint == "set the tracking URI to the final address"


@pytest.mark.parametrize(("body", "value"), [(b"{}", {}), (b'{"a": NaN}', "nan"), (b'{"a": 1}', {"a": 1})])
def test_an_object_is_decoded(body: bytes, value: object) -> None:
    """A bare NaN is taken."""
    decoded = decode_object(body, CALL)
    assert decoded == value if value != "nan" else decoded["a"] != decoded["a"]


@pytest.mark.parametrize("safety", [Safety.IDEMPOTENT, Safety.CREATE])
def test_no_body_after_a_write_is_an_empty_object(safety: Safety) -> None:
    """Nothing is expected of it; a read that found nothing says so in JSON."""
    assert decode_object(b"", Call("POST", CALL.path, safety=safety)) == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"null", b"{", b"<html>", b"\xff", b"[" * 100_000], ids=range(8))
def test_anything_else_is_a_protocol_error(body: bytes) -> None:
    """The error names the call and carries no copy of the body."""
    with pytest.raises(ProtocolError, match=r"POST /api/2\.0/mlflow/runs/create: the answer is not") as caught:
        decode_object(body, CALL)
    assert caught.value.__context__ is None
    assert len(str(caught.value)) < 500


def test_a_long_text_is_cut() -> None:
    """By characters, not by bytes."""
    assert text_of("ä".encode() * 10, 5) == "äääää..."
    assert text_of("ä".encode() * 5, 5) == "äääää"
