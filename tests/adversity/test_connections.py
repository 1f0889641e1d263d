"""Servers and networks that misbehave: what the caller sees, and how many requests were made."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest

from local_server import free_port
from mlflow_utilities import AsyncMlflowClient, Timeout
from mlflow_utilities.errors import (
    BadRequestError,
    EndpointNotFoundError,
    InvalidParameterError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    ServerError,
    UnauthenticatedError,
)
from support.clock import FakeClock
from support.stub_server import CUT, STALL, Answer, Received, StubServer, error_answer, json_answer, run_stub

pytestmark = pytest.mark.anyio

FINE = json_answer({"fine": True})
HALF = Answer(body=b'{"fine": true}', cut_after=5, then="close")
HALF_HEAD = Answer(verbatim=b"HTTP/1.1 200 OK\r\ncontent-le", then="close")
NOT_HTTP = Answer(verbatim=b"+OK POP3 server ready\r\n\r\n", then="close")
UNAVAILABLE = error_answer(503, "TEMPORARILY_UNAVAILABLE")

READ = ("POST", "runs/search", "read")
IDEMPOTENT = ("POST", "runs/set-tag", "idempotent")
CREATE = ("POST", "runs/create", "create")


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """Give a server."""
    with run_stub(lambda received: FINE) as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that a test moves."""
    return FakeClock()


Caller = Callable[..., Any]


@pytest.fixture
async def call(stub: StubServer, clock: FakeClock, http_library: str) -> AsyncIterator[Caller]:
    """Give a function that calls the server as READ, IDEMPOTENT or CREATE."""
    async with a_client(stub.uri, clock, http_library) as client:
        yield calling(client)


@asynccontextmanager
async def a_client(uri: str, clock: FakeClock, http_library: str, **options: Any) -> AsyncIterator[AsyncMlflowClient]:
    """Make a client that sees nothing of the environment."""
    async with AsyncMlflowClient(uri, clock=clock, http_library=http_library, environ={}, **options) as client:
        yield client


def calling(client: AsyncMlflowClient) -> Caller:
    """Return a function that makes one of the three kinds of calls."""
    from mlflow_utilities import Safety

    async def call(kind: tuple[str, str, str] = READ, **options: Any) -> Any:
        method, path, safety = kind
        return await client.request(method, path, json={}, safety=Safety(safety), **options)

    return call


def answers(*given: Answer) -> Callable[[Received], Answer]:
    """Return a script: the first answer for the first request, and the last one for all that follow."""
    return lambda received: given[min(received.number, len(given)) - 1]


async def test_an_idle_connection_closed_by_the_server_is_replaced(stub: StubServer, call: Caller) -> None:
    """The next call connects again: nobody notices."""
    stub.script = answers(Answer(body=b"{}", then="close"), FINE)
    await call(CREATE)
    await stub.wait_until(lambda server: server.open == 0)

    assert await call(CREATE) == {"fine": True}
    assert (len(stub.requests), stub.connections) == (2, 2)


async def test_an_idle_connection_is_not_used_after_its_expiry(
    stub: StubServer, clock: FakeClock, http_library: str
) -> None:
    """A connection that was idle for longer than `keepalive_expiry` is replaced."""
    async with a_client(stub.uri, clock, http_library, keepalive_expiry=0.0) as client:
        await client.request("GET", "runs/get")
        await client.request("GET", "runs/get")

    assert stub.connections == 2


@pytest.mark.parametrize("kind", [READ, IDEMPOTENT], ids=lambda kind: kind[2])
@pytest.mark.parametrize("broken", [CUT, HALF, HALF_HEAD, NOT_HTTP], ids=["cut", "half", "half-head", "not-http"])
async def test_a_broken_answer_is_asked_for_again_at_once(
    stub: StubServer, clock: FakeClock, call: Caller, kind: Any, broken: Answer
) -> None:
    """A connection that dies under a call that may be repeated costs one more request, and no waiting."""
    stub.script = answers(FINE, broken, FINE)
    await call(kind)

    assert await call(kind) == {"fine": True}
    assert (len(stub.requests), clock.slept) == (3, [])


@pytest.mark.parametrize("broken", [CUT, HALF, HALF_HEAD, NOT_HTTP], ids=["cut", "half", "half-head", "not-http"])
async def test_a_creation_whose_answer_breaks_is_not_sent_again(stub: StubServer, call: Caller, broken: Answer) -> None:
    """It may have been done: the error says so."""
    stub.script = answers(FINE, broken)
    await call(CREATE)

    with pytest.raises(MlflowConnectionError, match="runs/create: the connection broke") as caught:
        await call(CREATE)
    assert caught.value.sent
    assert len(stub.requests) == 2


async def test_answers_that_always_break_end_in_a_connection_error(
    stub: StubServer, clock: FakeClock, call: Caller
) -> None:
    """Six attempts, the second at once, the others after growing waits."""
    stub.script = answers(HALF)

    with pytest.raises(ConnectionError, match="the connection broke"):
        await call(READ)
    assert (len(stub.requests), clock.slept) == (6, [0.25, 0.5, 1.0, 2.0])


@pytest.mark.parametrize("kind", [READ, CREATE], ids=lambda kind: kind[2])
async def test_a_refused_connection_is_tried_again(clock: FakeClock, http_library: str, kind: Any) -> None:
    """Nothing was sent, so even a creation is tried again, six times in all; the error names the address."""
    address = f"http://127.0.0.1:{free_port()}"
    async with a_client(address, clock, http_library) as client:
        with pytest.raises(
            MlflowConnectionError, match=rf"cannot connect to {address}: .*is the server running"
        ) as caught:
            await calling(client)(kind)

    assert not caught.value.sent
    assert clock.slept == [0.125, 0.25, 0.5, 1.0, 2.0]


async def test_a_creation_refused_at_first_is_made_once(http_library: str) -> None:
    """The server comes up while the client waits for its second attempt: it sees one request."""
    port = free_port()
    with contextlib.ExitStack() as stack:

        class OpeningClock(FakeClock):
            async def sleep(self, seconds: float) -> None:
                await super().sleep(seconds)
                self.stub = stack.enter_context(run_stub(answers(FINE), port=port))

        clock = OpeningClock()
        async with a_client(f"http://127.0.0.1:{port}", clock, http_library) as client:
            assert await calling(client)(CREATE) == {"fine": True}

        assert len(clock.stub.requests) == 1


@pytest.mark.parametrize(
    ("stalled", "kind", "requests"),
    [
        (STALL, READ, 3),
        (STALL, CREATE, 1),
        (Answer(body=b'{"fine": true}', cut_after=5, then="stall"), READ, 3),
        (Answer(body=b'{"fine": true}', cut_after=5, then="stall"), CREATE, 1),
    ],
    ids=["read", "create", "half-read", "half-create"],
)
async def test_an_answer_that_stalls_runs_into_the_read_timeout(
    stub: StubServer, clock: FakeClock, http_library: str, stalled: Answer, kind: Any, requests: int
) -> None:
    """A read is tried again, a creation is not; its connection is closed."""
    stub.script = answers(stalled)
    async with a_client(stub.uri, clock, http_library, max_retries=2) as client:
        with pytest.raises(TimeoutError, match="no answer in time") as caught:
            await calling(client)(kind, timeout=Timeout(read=0.02, total=None))
        await stub.wait_until(lambda server: server.open == 0)

    assert isinstance(caught.value, MlflowTimeoutError)
    assert caught.value.sent
    assert len(stub.requests) == requests


@pytest.mark.parametrize("body", [None, 5], ids=["nothing", "half"])
async def test_an_answer_that_stalls_runs_into_the_total_deadline(
    stub: StubServer, clock: FakeClock, call: Caller, body: int | None
) -> None:
    """One deadline bounds the call as a whole; one request was made."""
    stub.script = answers(STALL if body is None else Answer(body=b'{"a": 1}', cut_after=body, then="stall"))

    async def time_passes() -> None:
        await stub.wait_until(lambda server: len(server.requests) == 1)
        clock.advance(120.0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(time_passes)
        with pytest.raises(MlflowTimeoutError, match=r"POST .*runs/search: not done within 120 s") as caught:
            await call(READ)
    assert caught.value.sent
    await stub.wait_until(lambda server: server.open == 0)
    assert len(stub.requests) == 1


async def test_the_deadline_counts_attempts_and_waits_together(
    stub: StubServer, clock: FakeClock, call: Caller
) -> None:
    """A stall after a failed attempt gets only what is left of the time; the error names the failure before."""
    stub.script = answers(UNAVAILABLE, STALL)

    async def time_passes() -> None:
        await stub.wait_until(lambda server: len(server.requests) == 2)
        clock.advance(9.9)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(time_passes)
        with pytest.raises(MlflowTimeoutError, match=r"not done within 10 s; the last attempt failed: .*503") as caught:
            await call(READ, timeout=10)
    assert isinstance(caught.value.__cause__, ServerError)


async def test_waiting_for_a_connection_is_bounded(stub: StubServer, clock: FakeClock, http_library: str) -> None:
    """When all connections stay busy, the call fails without having been sent."""
    stub.script = answers(STALL)

    async def time_passes() -> None:
        await anyio.wait_all_tasks_blocked()
        clock.advance(3.0)

    one = a_client(stub.uri, clock, http_library, max_concurrency=1, max_retries=0)
    async with one as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.server_version)
        await stub.wait_until(lambda server: len(server.requests) == 1)
        tasks.start_soon(time_passes)
        with pytest.raises(MlflowTimeoutError, match="busy for 3 s") as caught:
            await client.server_version(timeout=Timeout(pool=3.0))
        tasks.cancel_scope.cancel()
    assert not caught.value.sent
    assert len(stub.requests) == 1


@pytest.mark.parametrize("kind", [READ, IDEMPOTENT], ids=lambda kind: kind[2])
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_failing_server_is_asked_again(
    stub: StubServer, clock: FakeClock, call: Caller, kind: Any, status: int
) -> None:
    """Waits grow; the caller sees the answer of the third request."""
    failed = error_answer(status, "INTERNAL_ERROR") if status == 500 else Answer(status, b"<html>down</html>")
    stub.script = answers(failed, failed, FINE)

    assert await call(kind) == {"fine": True}
    assert (len(stub.requests), clock.slept) == (3, [0.125, 0.25])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (error_answer(500, "INVALID_STATE"), ServerError),
        (error_answer(500, "FEATURE_DISABLED"), ServerError),
        (error_answer(501, "NOT_IMPLEMENTED"), ServerError),
        (error_answer(400, "INVALID_PARAMETER_VALUE"), InvalidParameterError),
        (error_answer(400, "BAD_REQUEST"), BadRequestError),
        (error_answer(403, "PERMISSION_DENIED"), PermissionDeniedError),
        (Answer(418, b"short and stout"), MlflowApiError),
    ],
    ids=lambda value: value.body.decode()[16:40] if isinstance(value, Answer) else "",
)
async def test_what_repeating_cannot_help_is_raised_at_once(
    stub: StubServer, call: Caller, answer: Answer, error: type[MlflowApiError]
) -> None:
    """One request; the error has method, path, status, code and message."""
    stub.script = answers(answer)

    with pytest.raises(error) as caught:
        await call(READ)
    assert (caught.value.method, caught.value.path, caught.value.status) == (
        "POST",
        "/api/2.0/mlflow/runs/search",
        answer.status,
    )
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [500, 503])
async def test_a_creation_is_not_repeated_after_a_server_error(stub: StubServer, call: Caller, status: int) -> None:
    """The server may have done it before it failed."""
    stub.script = answers(error_answer(status, "INTERNAL_ERROR"))

    with pytest.raises(ServerError):
        await call(CREATE)
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (IDEMPOTENT, "(sqlite3.IntegrityError) UNIQUE constraint failed: tags.key"),
        (READ, "QueuePool limit of size 5 overflow 10 reached"),
    ],
    ids=["race", "pool"],
)
async def test_a_race_in_the_servers_database_is_repeated(
    stub: StubServer, call: Caller, kind: Any, message: str
) -> None:
    """BAD_REQUEST on a tag write, and an exhausted connection pool, are not the caller's mistake."""
    stub.script = answers(error_answer(400, "BAD_REQUEST", message), FINE)

    assert await call(kind) == {"fine": True}
    assert len(stub.requests) == 2


async def test_a_refused_tag_is_raised_in_the_end(stub: StubServer, call: Caller) -> None:
    """BAD_REQUEST on a tag write that never goes away is raised after five requests."""
    stub.script = answers(error_answer(400, "BAD_REQUEST"))

    with pytest.raises(BadRequestError):
        await call(IDEMPOTENT)
    assert len(stub.requests) == 5


@pytest.mark.parametrize("kind", [READ, CREATE], ids=lambda kind: kind[2])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_too_many_requests_waits_as_long_as_the_server_says(
    stub: StubServer, clock: FakeClock, call: Caller, kind: Any, form: str
) -> None:
    """Retry-After in seconds or as a date; the server did not do it, so a creation is repeated too."""
    moment = datetime.fromtimestamp(clock.now_ms() / 1000, UTC) + timedelta(seconds=7)
    text = "7" if form == "seconds" else format_datetime(moment, usegmt=True)
    stub.script = answers(error_answer(429, "REQUEST_LIMIT_EXCEEDED", "slow down", ("retry-after", text)), FINE)

    assert await call(kind) == {"fine": True}
    assert (len(stub.requests), clock.slept) == (2, [7.125])


async def test_a_longer_wait_than_is_bearable_is_left_to_the_caller(
    stub: StubServer, clock: FakeClock, call: Caller
) -> None:
    """An hour is not waited: the error says how long it would have been."""
    stub.script = answers(Answer(429, b"later", (("retry-after", "3600"),)))

    with pytest.raises(RateLimitedError) as caught:
        await call(READ)
    assert caught.value.retry_after == 3600.0
    assert (len(stub.requests), clock.slept) == (1, [])


async def test_a_storm_of_503_ends_with_the_deadline(stub: StubServer, clock: FakeClock, http_library: str) -> None:
    """Waits double until the next one would end after the deadline; then the server's error is raised."""
    stub.script = answers(UNAVAILABLE)
    clock.chance = 1.0
    async with a_client(stub.uri, clock, http_library, max_retries=20, timeout=10) as client:
        with pytest.raises(ServerError):
            await calling(client)(READ)

    assert clock.slept == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert len(stub.requests) == 6


async def test_an_expired_token_is_refreshed_once_for_all(
    stub: StubServer, clock: FakeClock, http_library: str
) -> None:
    """Eight calls with the old token share one refresh, and each is repeated once."""
    fetched: list[str] = []
    expired = error_answer(401, "UNAUTHENTICATED")

    async def token() -> str:
        fetched.append(f"token-{len(fetched)}")
        await anyio.lowlevel.checkpoint()
        return fetched[-1]

    stub.script = lambda received: expired if received.headers["authorization"] == "Bearer token-0" else FINE
    async with a_client(stub.uri, clock, http_library, token=token) as client, anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(calling(client), CREATE)

    assert fetched == ["token-0", "token-1"]
    used = [received.headers["authorization"] for received in stub.requests]
    assert used.count("Bearer token-1") == 8
    assert used.count("Bearer token-0") <= 8


@pytest.mark.parametrize(("refreshable", "requests"), [(True, 2), (False, 1)], ids=["callable", "text"])
async def test_a_token_that_stays_refused_is_raised(
    stub: StubServer, clock: FakeClock, http_library: str, refreshable: bool, requests: int
) -> None:
    """A second 401 is final, and so is the first one when there is nothing to refresh."""
    stub.script = answers(Answer(401, b"Unauthorized", (("www-authenticate", 'Basic realm="mlflow"'),)))
    token: Any = (lambda: "token") if refreshable else "token"
    async with a_client(stub.uri, clock, http_library, token=token) as client:
        with pytest.raises(UnauthenticatedError, match="check the username and password, or the token"):
            await calling(client)(READ)

    assert len(stub.requests) == requests


@pytest.mark.parametrize(
    "body", [b'{"runs": [', b"<html>Log in</html>", b"[1, 2]", b"\xff\xfe", b"[" * 100_000], ids=range(5)
)
async def test_an_answer_that_is_no_json_object_is_a_protocol_error(
    stub: StubServer, call: Caller, body: bytes
) -> None:
    """One request: asking again would not change what answers there."""
    stub.script = answers(Answer(body=body))

    with pytest.raises(ProtocolError, match="the answer is not"):
        await call(READ)
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (Answer(404, b"<!doctype html><title>404 Not Found</title>"), EndpointNotFoundError, "server older"),
        (Answer(405, b"<!doctype html><title>405</title>"), EndpointNotFoundError, "server older"),
        (json_answer({"detail": "Not Found"}, 404), EndpointNotFoundError, "Not Found"),
        (Answer(403, b"Invalid Host header - possible DNS rebinding attack"), PermissionDeniedError, "allowed-hosts"),
        (Answer(400, b"<title>400 Bad Request</title>"), InvalidParameterError, "400 Bad Request"),
    ],
    ids=["404", "405", "404-json", "403", "400"],
)
async def test_an_error_page_says_what_is_wrong(
    stub: StubServer, call: Caller, answer: Answer, error: type[Exception], match: str
) -> None:
    """A page of a router, of a proxy or of the security middleware is named as what it is, after one request."""
    stub.script = answers(answer)

    with pytest.raises(error, match=match):
        await call(READ)
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(stub: StubServer, clock: FakeClock, http_library: str, status: int) -> None:
    """The error names the address, without secrets in it; the credentials go nowhere else."""
    with run_stub() as elsewhere:
        target = elsewhere.uri.replace("//", "//ana:secret@") + "/mlflow?next=secret"
        stub.script = answers(Answer(status, b"", (("location", target),)))
        async with a_client(stub.uri, clock, http_library, token="the-token") as client:
            with pytest.raises(RedirectError) as caught:
                await calling(client)(READ)

    assert f"redirected to {elsewhere.uri}/mlflow" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert (len(stub.requests), elsewhere.requests) == (1, [])


async def test_a_compressed_answer_is_read(stub: StubServer, call: Caller) -> None:
    """Proxies compress."""
    stub.script = answers(Answer(body=gzip.compress(b'{"fine": true}'), headers=(("content-encoding", "gzip"),)))

    assert await call(READ) == {"fine": True}


async def test_a_broken_compression_is_a_protocol_error(stub: StubServer, call: Caller) -> None:
    """One request."""
    stub.script = answers(Answer(body=b"not gzip", headers=(("content-encoding", "gzip"),)))

    with pytest.raises(ProtocolError, match="encoding"):
        await call(READ)
    assert len(stub.requests) == 1


async def test_an_empty_answer_is_an_empty_object(stub: StubServer, call: Caller) -> None:
    """Some writes are answered with 204, or with nothing."""
    stub.script = answers(Answer(204, b""))

    assert await call(IDEMPOTENT) == {}


async def test_a_streamed_answer_is_repeated_until_its_headers_arrived(
    stub: StubServer, clock: FakeClock, http_library: str
) -> None:
    """An error before the body is repeated; a break within the body is the caller's to handle."""
    from mlflow_utilities.typing import Call

    stub.script = answers(UNAVAILABLE, HALF)
    async with a_client(stub.uri, clock, http_library) as client, client.sender.stream(Call("GET", "/file")) as body:
        pieces = body.iter_bytes()
        assert await anext(pieces) == b'{"fin'
        with pytest.raises(MlflowConnectionError, match="GET /file: the connection broke"):
            await anext(pieces)

    assert len(stub.requests) == 2


async def test_a_streamed_error_is_the_servers_error(stub: StubServer, clock: FakeClock, http_library: str) -> None:
    """An answer other than 2xx is read and raised."""
    from mlflow_utilities.typing import Call

    stub.script = answers(error_answer(403, "PERMISSION_DENIED"))
    async with a_client(stub.uri, clock, http_library) as client:
        with pytest.raises(PermissionDeniedError):
            async with client.sender.stream(Call("GET", "/file")):
                pytest.fail("there is no stream")
    assert len(stub.requests) == 1


async def test_an_upload_is_sent_again_from_the_beginning(
    stub: StubServer, clock: FakeClock, http_library: str
) -> None:
    """Each attempt reads its source anew."""
    from mlflow_utilities import Safety
    from mlflow_utilities.typing import Call

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    stub.script = answers(UNAVAILABLE, FINE)
    async with a_client(stub.uri, clock, http_library) as client:
        await client.sender.upload(Call("PUT", "/file", safety=Safety.IDEMPOTENT), pieces, 4)

    assert [received.body for received in stub.requests] == [b"abcd", b"abcd"]
