"""No secret in any error, repr or log line, whatever the server does with what it was sent."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities import AsyncMlflowClient, Timeout
from mlflow_utilities._transport.redaction import redact
from mlflow_utilities.config import read_settings
from mlflow_utilities.errors import ConfigurationError, MlflowUtilitiesError
from support.clock import FakeClock
from support.stub_server import Answer, Received, StubServer, run_stub

pytestmark = pytest.mark.anyio

SECRET = "S3cret/+pass word"
PAIR = base64.b64encode(f"ana:{SECRET}".encode()).decode()
FORMS = (SECRET, PAIR, quote(SECRET, safe=""), quote(SECRET), quote_plus(SECRET))


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """Give a server."""
    with run_stub() as server:
        yield server


def said(error: BaseException) -> str:
    """Return everything that a traceback of an error, and of what led to it, shows."""
    lines = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    parts = [lines, str(error), repr(error), str(error.args), str(vars(error))]
    parts += [said(link) for link in (error.__cause__, error.__context__) if link is not None]
    return "\n".join(parts)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return all log lines, but for those in which httpcore tells at DEBUG what the server answered."""
    return "\n".join(line for line in caplog.text.splitlines() if " receive_response" not in line)


def echoing(make: Callable[[str], Answer]) -> Callable[[Received], Answer]:
    """Return a script whose answers repeat the credentials in all their forms."""
    return lambda received: make(" ".join((received.headers["authorization"], *FORMS)))


ECHOES: dict[str, Callable[[str], Answer]] = {
    "error message": lambda text: Answer(400, json.dumps({"error_code": "BAD_REQUEST", "message": text}).encode()),
    "error detail": lambda text: Answer(422, json.dumps({"detail": [{"input": text}]}).encode()),
    "error page": lambda text: Answer(404, f"<title>{text}</title>".encode()),
    "server error": lambda text: Answer(500, text.encode()),
    "refused credentials": lambda text: Answer(401, text.encode()),
    "redirect": lambda text: Answer(
        302, text.encode(), (("location", f"https://ana:{quote(text)}@x/{text}?t={text}"),)
    ),
    "not JSON": lambda text: Answer(body=text.encode()),
    "not an object": lambda text: Answer(body=json.dumps([text]).encode()),
    "not HTTP": lambda text: Answer(verbatim=f"{text}\r\n\r\n".encode(), then="close"),
    "broken head": lambda text: Answer(verbatim=f"HTTP/1.1 200 OK\r\n{text}\r\n\r\n".encode(), then="close"),
    "broken body": lambda text: Answer(body=text.encode(), cut_after=5, then="close"),
    "broken chunks": lambda text: Answer(
        verbatim=f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{text}\r\n\r\n".encode(), then="close"
    ),
    "broken encoding": lambda text: Answer(body=text.encode(), headers=(("content-encoding", "gzip"),)),
    "stalled": lambda text: Answer(body=text.encode(), cut_after=5, then="stall"),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
async def test_what_the_server_repeats_is_not_repeated(
    stub: StubServer, http_library: str, caplog: pytest.LogCaptureFixture, echo: Callable[[str], Answer]
) -> None:
    """Neither the error, nor what led to it, nor any log line at any level has the password in any form."""
    caplog.set_level(logging.DEBUG)
    stub.script = echoing(echo)
    uri = stub.uri.replace("//", f"//ana:{quote(SECRET, safe='')}@")
    limits = Timeout(read=0.02)
    async with AsyncMlflowClient(
        uri, environ={}, http_library=http_library, clock=FakeClock(), timeout=limits, max_retries=1
    ) as client:
        with pytest.raises(MlflowUtilitiesError) as caught:
            await client.request("GET", "runs/get")
        shown = [said(caught.value), repr(client), client.tracking_uri]

    assert any(name == "mlflow_utilities" for name, _, _ in caplog.record_tuples)
    assert not [form for form in FORMS for text in (*shown, logged(caplog)) if form in text]
    assert stub.requests[0].headers["authorization"] == f"Basic {PAIR}"


@given(token=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*<>'\""), min_size=4))
def test_no_token_survives_in_a_message(token: str) -> None:
    """Whatever printable token is quoted in an error or in its cause, in whatever form, it is replaced."""
    cause = ValueError(f"<{token!r}> <{quote(token)}> <{token}>")
    error = MlflowUtilitiesError(f"<{token}>")
    error.__cause__ = cause
    redact(error, [token])

    assert str(error) == "<***>"
    assert str(cause) == "<'***'> <***> <***>"


@pytest.mark.parametrize("token", ["line\nbreak-token", "zero\0-token", "schlüssel-token", "tab\t-token"])
@pytest.mark.parametrize("fetched", [True, False], ids=["callable", "text"])
async def test_a_token_that_no_header_can_hold_is_not_shown(stub: StubServer, token: str, fetched: bool) -> None:
    """The HTTP library would quote it in its own error: it is refused before."""
    source: Any = (lambda: token) if fetched else token

    async def use() -> None:
        async with AsyncMlflowClient(stub.uri, environ={}, token=source) as client:
            await client.server_version()

    with pytest.raises(ConfigurationError, match="no header can hold") as caught:
        await use()
    assert token not in said(caught.value)
    assert stub.requests == []


@pytest.mark.parametrize(
    "environ",
    [
        {"MLFLOW_TRACKING_URI": f"ftp://ana:{SECRET}@host"},
        {"MLFLOW_TRACKING_URI": f"http://ana:{SECRET}@host/?q"},
        {"MLFLOW_TRACKING_URI": f"http://ana:{SECRET}@host:port"},
        {"MLFLOW_TRACKING_URI": f"http://ana:{SECRET}@[host"},
        {"MLFLOW_TRACKING_URI": f"ana:{SECRET}@host:5000"},
        {"MLFLOW_TRACKING_URI": "http://ana:S3cret@host/?next=http://x"},
        {"MLFLOW_TRACKING_URI": "http://host", "MLFLOW_REGISTRY_URI": f"http://ana:{SECRET}@other"},
    ],
    ids=range(7),
)
def test_addresses_that_cannot_work_are_named_without_their_password(environ: dict[str, str]) -> None:
    """The error shows the address at most without user and password."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(environ)

    assert "S3cret" not in said(caught.value)


def test_settings_do_not_show_secrets() -> None:
    """Their repr leaves out password, token and proxy."""
    environ = {"HTTP_PROXY": f"http://ana:{SECRET}@proxy:3128"}
    shown = [
        repr(read_settings(environ, tracking_uri="http://host", username="ana", password=SECRET)),
        repr(read_settings(environ, tracking_uri="http://host", token=SECRET)),
    ]

    assert all("S3cret" not in text for text in shown)


async def test_a_proxy_that_refuses_is_named_without_its_password(
    http_library: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The proxy repeats its credentials; 407 is final."""
    caplog.set_level(logging.DEBUG)
    refusal = f"HTTP/1.1 407 {SECRET}\r\ncontent-length: 0\r\n\r\n".encode()
    with run_stub(lambda received: Answer(verbatim=refusal, then="close")) as proxy:
        environ = {"HTTPS_PROXY": proxy.uri.replace("//", f"//ana:{quote(SECRET, safe='')}@")}
        async with AsyncMlflowClient("https://mlflow.test", environ=environ, http_library=http_library) as client:
            with pytest.raises(MlflowUtilitiesError) as caught:
                await client.server_version()

    assert "S3cret" not in said(caught.value) + logged(caplog)
    assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {PAIR}"
    assert len(proxy.requests) == 1
