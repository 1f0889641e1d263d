"""Exact exchanges: what goes over the wire, through a ready-made HTTP client."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import httpx2
import pytest
import respx

from mlflow_utilities import AsyncMlflowClient, Safety
from mlflow_utilities.errors import (
    ClientStateError,
    ConfigurationError,
    InvalidInputError,
    MlflowConnectionError,
    ProtocolError,
)
from mlflow_utilities.typing import Call
from support.clock import FakeClock

pytestmark = pytest.mark.anyio

URI = "https://mlflow.test/prefix"
API = f"{URI}/api/2.0/mlflow"


def client_on(http_client: object, **options: Any) -> AsyncMlflowClient:
    """Make a client that sees nothing of the environment."""
    return AsyncMlflowClient(URI, environ={}, http_client=http_client, clock=FakeClock(), **options)


@asynccontextmanager
async def client_with(http_client: Any, **options: Any) -> AsyncGenerator[AsyncMlflowClient]:
    """Make a client likewise, and close both at the end."""
    async with http_client, client_on(http_client, **options) as client:
        yield client


@respx.mock
async def test_a_get_carries_its_query_and_no_body() -> None:
    """The query is quoted; a list repeats its key; the prefix of the tracking URI is kept."""
    route = respx.get(f"{API}/runs/get").respond(json={"a": 1})
    async with httpx.AsyncClient() as http_client, client_on(http_client) as client:
        answer = await client.request("get", "runs/get", params={"run_id": "ä b&c", "key": ["x", "y"]})

    request = route.calls.last.request
    assert answer == {"a": 1}
    assert str(request.url) == f"{API}/runs/get?run_id=%C3%A4+b%26c&key=x&key=y"
    assert request.read() == b""
    assert "content-type" not in request.headers


@respx.mock
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_body_is_strict_json(method: str) -> None:
    """DELETE too: MLflow reads the body there, and not the query."""
    route = respx.route(method=method, url=f"{URI}/api/3.0/x").respond(json={})
    async with httpx.AsyncClient() as http_client, client_on(http_client) as client:
        await client.request(method, "/api/3.0/x", json={"name": "ä", "n": 1})

    request = route.calls.last.request
    assert request.read() == b'{"name":"\\u00e4","n":1}'
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.content))


@respx.mock
async def test_headers_are_what_the_api_needs() -> None:
    """No cookie, no surprise; the workspace only when there is one."""
    route = respx.get(f"{URI}/version").respond(text="3.17.2\n")
    async with httpx.AsyncClient() as http_client:
        async with client_on(http_client, token="abc", workspace="team-a") as client:
            assert await client.server_version() == "3.17.2"
        plain = client_on(http_client)
        await plain.server_version()

    first, second = (call.request.headers for call in route.calls)
    assert {name: first[name] for name in first if name not in ("user-agent",)} == {
        "host": "mlflow.test",
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
        "authorization": "Bearer abc",
        "x-mlflow-workspace": "team-a",
    }
    assert first["user-agent"].startswith("mlflow-utilities/")
    assert "x-mlflow-workspace" not in second
    assert "authorization" not in second


@pytest.mark.parametrize("text", ["<html>Log in</html>", "", "v3", "\ufffd"])
@respx.mock
async def test_a_version_that_is_none_is_refused(text: str) -> None:
    """A login page that answers 200 is not MLflow."""
    respx.get(f"{URI}/version").respond(text=text)
    async with httpx.AsyncClient() as http_client, client_on(http_client) as client:
        with pytest.raises(ProtocolError, match="not a version"):
            await client.server_version()


def transport_of(library: Any, seen: list[Any]) -> Any:
    """Return a transport of either library that notes requests and answers with an empty object."""

    def answer(request: Any) -> Any:
        seen.append(request)
        return library.Response(200, json={})

    return library.MockTransport(answer)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_a_ready_made_client_stays_its_owners(library: Any) -> None:
    """It is used, and is open after the client was closed."""
    seen: list[Any] = []
    async with library.AsyncClient(transport=transport_of(library, seen)) as http_client:
        async with client_on(http_client) as client:
            await client.request("GET", "runs/get")
        assert not http_client.is_closed
        await http_client.get("https://elsewhere.test")

    assert [str(request.url) for request in seen] == [f"{API}/runs/get", "https://elsewhere.test"]


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_headers_of_a_ready_made_client_are_sent(library: Any) -> None:
    """Its own ones and its Authorization, but not those that MLflow's API needs otherwise; base_url is not used."""
    seen: list[Any] = []
    headers = {"x-gateway": "key", "accept": "text/plain", "authorization": "Digest 1", "content-type": "text/csv"}
    options = {"transport": transport_of(library, seen), "headers": headers, "base_url": "https://elsewhere.test"}
    async with library.AsyncClient(**options) as http_client, client_on(http_client) as client:
        await client.request("POST", "runs/create", json={})

    sent = seen[0].headers
    assert seen[0].url.host == "mlflow.test"
    assert [sent[name] for name in ("x-gateway", "accept", "authorization", "content-type")] == [
        "key",
        "application/json",
        "Digest 1",
        "application/json",
    ]


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize(("own", "sent"), [({}, "Basic YTpi"), ({"token": "abc"}, "Bearer abc")], ids=["its", "own"])
async def test_credentials_of_a_ready_made_client_are_used_when_there_are_no_others(
    library: Any, own: dict[str, str], sent: str
) -> None:
    """What the client itself was given comes first."""
    seen: list[Any] = []
    http_client = library.AsyncClient(
        transport=transport_of(library, seen), auth=("a", "b"), headers={"authorization": "Digest 1"}
    )
    async with http_client, client_on(http_client, **own) as client:
        await client.request("GET", "runs/get")

    assert seen[0].headers.get_list("authorization") == [sent]


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_redirects_are_refused_whatever_a_ready_made_client_does(library: Any) -> None:
    """Its follow_redirects has no effect."""
    transport = library.MockTransport(lambda request: library.Response(307, headers={"location": "https://else.test"}))
    async with client_with(library.AsyncClient(transport=transport, follow_redirects=True)) as client:
        with pytest.raises(Exception, match=r"redirected to https://else\.test"):
            await client.request("GET", "runs/get")


async def test_a_ready_made_client_that_is_closed_says_so() -> None:
    """The caller closed it too early."""
    async with httpx.AsyncClient() as http_client:
        client = client_on(http_client)

    with pytest.raises(ClientStateError, match="http_client is closed"):
        await client.server_version()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"http_client": object()}, "http_client is a object"),
        ({"http_client": httpx.Client()}, "http_client is a Client"),
        ({"http_client": httpx.AsyncClient(), "http_library": "httpx2"}, "leave one out"),
        ({"http_client": httpx.AsyncClient(), "verify": False}, "set them on http_client"),
        ({"http_library": "requests"}, "use 'httpx' or 'httpx2'"),
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"max_concurrency": True}, "max_concurrency is True"),
        ({"tracking_uri": "https://ho st"}, "tracking URI"),
        ({"tracking_uri": "https://ä..b"}, "tracking URI"),
        ({"environ": {"HTTPS_PROXY": "ftp://proxy"}}, "proxy"),
        ({"environ": {"HTTPS_PROXY": "http://proxy:port"}}, "proxy"),
        ({"environ": {"HTTPS_PROXY": "socks5://proxy"}}, "proxy"),
    ],
    ids=range(12),
)
def test_arguments_that_cannot_work_are_refused(options: dict[str, Any], match: str) -> None:
    """The constructor names the argument."""
    with pytest.raises(ConfigurationError, match=match):
        AsyncMlflowClient(**{"tracking_uri": URI, "environ": {}, **options})


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"path": "runs/get?run_id=1"}, "the path is"),
        ({"path": "runs/get it"}, "the path is"),
        ({"path": "runs/gët"}, "the path is"),
        ({"method": "GET /x HTTP/1.1\r\n"}, "the method is"),
        ({"params": {"n": 1}}, "query parameter n is 1"),
        ({"params": {"n": ["1", None]}}, "query parameter n is"),
        ({"json": {"value": float("nan")}}, "cannot be sent as JSON"),
        ({"json": {"value": object()}}, "cannot be sent as JSON"),
        ({"timeout": -1}, "the timeout is -1"),
        ({"timeout": float("nan")}, "the timeout is nan"),
        ({"timeout": True}, "the timeout is True"),
        ({"timeout": "5"}, "the timeout is '5'"),
    ],
    ids=range(12),
)
async def test_bad_input_is_refused_before_anything_is_sent(arguments: dict[str, Any], match: str) -> None:
    """The error names the value."""
    seen: list[Any] = []
    async with httpx.AsyncClient(transport=transport_of(httpx, seen)) as http_client, client_on(http_client) as client:
        with pytest.raises(InvalidInputError, match=match):
            await client.request(**{"method": "GET", "path": "runs/get", **arguments})

    assert seen == []


@pytest.mark.parametrize(
    ("method", "safety", "requests"),
    [("GET", None, 2), ("POST", None, 1), ("DELETE", None, 2), ("POST", Safety.READ, 2), ("GET", Safety.CREATE, 1)],
)
async def test_a_request_is_repeated_as_its_safety_allows(method: str, safety: Safety | None, requests: int) -> None:
    """GET is taken as READ, POST as CREATE, others as IDEMPOTENT; `safety` overrides."""
    seen: list[Any] = []

    def lose(request: Any) -> Any:
        seen.append(request)
        raise httpx.ReadError("lost")

    async with client_with(httpx.AsyncClient(transport=httpx.MockTransport(lose)), max_retries=1) as client:
        with pytest.raises(MlflowConnectionError, match="lost"):
            await client.request(method, "x", safety=safety)

    assert len(seen) == requests


ERRORS = {
    "ConnectTimeout": ("no connection in time", False),
    "PoolTimeout": ("no connection in time", False),
    "ReadTimeout": ("no answer in time", True),
    "WriteTimeout": ("no answer in time", True),
    "ConnectError": ("cannot connect", False),
    "ReadError": ("the connection broke", True),
    "WriteError": ("the connection broke", True),
    "CloseError": ("the connection broke", True),
    "RemoteProtocolError": ("the connection broke", True),
    "ProxyError": ("the proxy", False),
    "LocalProtocolError": ("cannot be sent", None),
    "DecodingError": ("encoding is broken", None),
    "UnsupportedProtocol": ("UnsupportedProtocol", None),
}


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("name", ERRORS)
async def test_no_error_of_the_http_library_comes_through(library: Any, name: str) -> None:
    """Each becomes one of ours, which knows whether the server can have seen the request."""
    text, sent = ERRORS[name]

    def fail(request: Any) -> Any:
        raise getattr(library, name)(name)

    async with client_with(library.AsyncClient(transport=library.MockTransport(fail)), max_retries=0) as client:
        with pytest.raises(Exception, match=text) as caught:
            await client.request("GET", "runs/get")

    assert type(caught.value).__module__ == "mlflow_utilities.errors"
    assert getattr(caught.value, "sent", None) is sent


async def test_what_happens_is_logged_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each answer and each failure, with method, path, status and attempt, and without the query."""
    caplog.set_level(logging.DEBUG, "mlflow_utilities")
    answers = [httpx.Response(503), httpx.Response(200, json={})]
    transport = httpx.MockTransport(lambda request: answers.pop(0))
    async with httpx.AsyncClient(transport=transport) as http_client, client_on(http_client) as client:
        await client.request("GET", "runs/get", params={"run_id": "hidden"})

    lines = [message for name, _, message in caplog.record_tuples if name == "mlflow_utilities"]
    assert lines == [
        "GET /api/2.0/mlflow/runs/get: 503, attempt 1",
        "GET /api/2.0/mlflow/runs/get: attempt 1 failed: ServerError",
        "GET /api/2.0/mlflow/runs/get: 200, attempt 2",
    ]


async def test_an_uploads_source_error_comes_through() -> None:
    """A file that cannot be read is not the network's fault; it is not tried again."""
    opened = 0

    async def pieces() -> Any:
        nonlocal opened
        opened += 1
        yield b"x"
        raise FileNotFoundError("gone")

    async def consume(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return httpx.Response(200)

    async with client_with(httpx.AsyncClient(transport=httpx.MockTransport(consume))) as client:
        with pytest.raises(FileNotFoundError, match="gone"):
            await client.sender.upload(Call("PUT", "/file", safety=Safety.IDEMPOTENT), pieces, None)

    assert opened == 1


async def test_at_most_max_concurrency_requests_are_made_at_once() -> None:
    """The others wait for their turn."""
    now = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await anyio.wait_all_tasks_blocked()
        now -= 1
        return httpx.Response(200, content=json.dumps({}).encode())

    async with (
        client_with(httpx.AsyncClient(transport=httpx.MockTransport(answer)), max_concurrency=3) as client,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(9):
            tasks.start_soon(client.request, "GET", "x")

    assert most == 3


async def test_a_call_without_limit_waits_for_its_turn() -> None:
    """`timeout=None` lifts the bound on waiting too, and any number of different limits may be used."""
    seen: list[Any] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        await anyio.lowlevel.checkpoint()
        return httpx.Response(200, json={})

    http_client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with client_with(http_client, max_concurrency=1) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(client.with_options(timeout=None).request, "GET", "x")
        for seconds in range(1, 101):
            await client.request("GET", "x", timeout=seconds)

    assert seen[:3] == [{"connect": 10.0, "read": None, "write": None, "pool": None}] * 3
    assert [limits["read"] for limits in seen[3:]] == list(range(1, 101))
