"""Following a ledger while the server, the network, the credentials or the ledger itself fail."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.errors import MlflowUtilitiesError, UnauthenticatedError
from mlflow_utilities.rollout.codec import encode_document
from mlflow_utilities.rollout.reader import Control
from mlflow_utilities.serving.feed import Feed
from support.clock import SteppedClock
from support.documents import document, sealed
from support.ledger_server import LedgerServer, Trickle, error
from support.stub_server import STALL, run_stub

pytestmark = pytest.mark.anyio

Fault = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


@contextlib.asynccontextmanager
async def following(server: LedgerServer, **options: object) -> AsyncGenerator[Feed]:
    """Give a feed that polls in the background and has generation 1."""
    async with server.client(**options) as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(2.0)
        assert generation(feed) == 1
        server.requests.clear()
        yield feed
        tasks.cancel_scope.cancel()


def generation(feed: Feed) -> int:
    """Return the generation that a feed has."""
    assert feed.latest is not None
    assert feed.latest.document is not None
    return feed.latest.document.generation


def kind(feed: Feed) -> str | None:
    """Return the kind of the last error."""
    return feed.last_error and feed.last_error.kind


def always(make: Callable[[], httpx.Response]) -> Fault:
    """Return a fault that answers every request."""

    async def fault(request: httpx.Request) -> httpx.Response:
        return make()

    return fault


def raising(cls: type[httpx.TransportError]) -> Fault:
    """Return a fault of the connection."""

    async def fault(request: httpx.Request) -> httpx.Response:
        raise cls("said by the test", request=request)

    return fault


OTHER_RUN = {"run": {"info": {"run_id": "b" * 32}, "data": {"params": [{"key": "g.000000009", "value": "?"}]}}}
OUTAGES = {
    "500": (always(lambda: error(500, "INTERNAL_ERROR")), "server", 6),
    "503 of a proxy": (always(lambda: error(503)), "server", 6),
    "429": (always(lambda: error(429, "REQUEST_LIMIT_EXCEEDED")), "rate limited", 6),
    "refused": (raising(httpx.ConnectError), "network", 6),
    "broken": (raising(httpx.ReadError), "network", 7),
    "401": (always(lambda: error(401)), "unauthenticated", 3),
    "403": (always(lambda: error(403, "PERMISSION_DENIED")), "forbidden", 3),
    "404 of a proxy": (always(lambda: error(404)), "not found", 6),
    "login page": (always(lambda: httpx.Response(200, html="<p>Log in</p>")), "invalid data", 6),
    "redirect": (always(lambda: httpx.Response(302, headers={"location": "/login"})), "server", 6),
    "empty": (always(lambda: httpx.Response(200)), "invalid data", 6),
    "another run": (always(lambda: httpx.Response(200, json=OTHER_RUN)), "invalid data", 6),
    "no info": (always(lambda: httpx.Response(200, json={"run": {"data": 5}})), "invalid data", 6),
}


@pytest.mark.parametrize(("fault", "expected", "bound"), OUTAGES.values(), ids=list(OUTAGES))
async def test_ten_minutes_of_an_outage(fault: Fault, expected: str, bound: int) -> None:
    """It costs a bounded number of requests, is reported, changes nothing, and ends by itself."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:
        before, polls = feed.latest, feed.polls
        server.fault = fault
        server.commit(2)
        await server.clock.advance(600.0)
        assert kind(feed) == expected
        assert feed.latest is before
        assert feed.last_success == before.at if before else False
        assert 2 <= len(server.requests) <= bound
        assert feed.polls - polls <= 6
        server.fault = None
        await server.clock.advance(350.0)
        assert feed.last_error is None
        assert generation(feed) == 2


async def test_half_of_the_answers_fail() -> None:
    """With every other answer a 500, the feed goes on, and asks less than without failures."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:

        async def half(request: httpx.Request) -> httpx.Response | None:
            return error(500, "INTERNAL_ERROR") if len(server.requests) % 2 else None

        server.fault = half
        server.commit(2)
        await server.clock.advance(900.0)
        assert generation(feed) == 2
        assert 6 <= len(server.requests) <= 30


async def test_a_connection_that_was_dropped_is_tried_once_more() -> None:
    """After a success, a broken connection costs one more request and no failure; a refused one is not repeated."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:

        async def dropped(request: httpx.Request) -> None:
            if len(server.requests) == 1:
                raise httpx.RemoteProtocolError("Server disconnected", request=request)

        server.fault = dropped
        server.commit(2)
        await feed.refresh()
        assert (generation(feed), len(server.requests), feed.last_error) == (2, 2, None)


async def test_retry_after_is_honoured() -> None:
    """A server that asks for two minutes is left alone for two minutes, one that asks for a day for five."""
    for seconds, least, most in ((120, 120, 150), (86_400, 300, 330)):
        server = LedgerServer(SteppedClock())
        async with following(server) as feed:
            server.fault = always(lambda seconds=seconds: error(503, retry_after=str(seconds)))
            await server.clock.advance(30.0)
            assert feed.next_poll is not None
            assert least <= feed.next_poll - server.times[-1] <= most


async def test_a_body_of_one_byte_a_second_is_cut() -> None:
    """A poll ends after 5 seconds, whatever trickles in, and polls never overlap."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:
        bodies: list[Trickle] = []

        async def trickling(request: httpx.Request) -> httpx.Response:
            bodies.append(Trickle(server.clock))
            return httpx.Response(200, stream=bodies[-1])

        server.fault = trickling
        await server.clock.advance(35.1)
        assert [body.sent for body in bodies] == [4]
        assert kind(feed) == "timeout"
        await server.clock.advance(600.0)
        assert all(body.sent == 4 for body in bodies)
        assert (server.most_active, generation(feed)) == (1, 1)


async def test_a_server_that_never_answers_is_given_up() -> None:
    """Over a real connection too: after 5 seconds the poll has failed, and the connection is closed."""
    clock = SteppedClock()
    with run_stub(lambda received: STALL) as stub:
        async with AsyncMlflowClient(stub.uri, clock=clock) as client, anyio.create_task_group() as tasks:
            feed = Feed(client, LedgerServer(clock).ledger(), delay=False)
            tasks.start_soon(feed.drive)
            await stub.wait_until(lambda server: len(server.requests) == 1)
            await clock.advance(5.0)
            with anyio.fail_after(20):
                await feed.wait(0)
            assert kind(feed) == "timeout"
            await stub.wait_until(lambda server: server.open == 0)
            tasks.cancel_scope.cancel()


async def test_a_replica_that_lags_behind() -> None:
    """A server that shows generation 8, 7, 8, 7 leaves the feed at 8 without an error."""
    server = LedgerServer(SteppedClock())
    for number in range(2, 9):
        server.commit(number)
    newest = dict(server.slots)
    async with server.client() as client:
        feed = Feed(client, server.ledger())
        for shown in (8, 7, 8, 7, 7):
            server.slots = {number: newest[number] for number in range(1, shown + 1)}
            await feed.refresh()
            assert (generation(feed), feed.last_error) == (8, None)


async def test_a_server_that_stays_behind_is_reported() -> None:
    """When it shows less than is known four times in a row, that is a failure, which ends with the lag."""
    server = LedgerServer(SteppedClock())
    server.commit(2)
    newest = dict(server.slots)
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(2.0)
        del server.slots[2]
        await server.clock.advance(200.0)
        assert (generation(feed), kind(feed)) == (2, "ledger")
        server.slots = newest
        await server.clock.advance(350.0)
        assert (generation(feed), feed.last_error) == (2, None)
        tasks.cancel_scope.cancel()


async def test_a_ledger_of_which_not_all_is_shown_yet_is_no_empty_one() -> None:
    """At first contact, a pointer to a run that does not show is a failure, not a rollout without models."""
    server = LedgerServer(SteppedClock())

    async def hidden(request: httpx.Request) -> httpx.Response | None:
        is_ledger = request.url.params.get("run_id") == "ledger70"
        return error(404, "RESOURCE_DOES_NOT_EXIST") if is_ledger else None

    server.fault = hidden
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(2.0)
        assert (feed.latest, kind(feed)) == (None, "ledger")
        server.fault = None
        await server.clock.advance(100.0)
        assert (generation(feed), feed.last_error) == (1, None)
        tasks.cancel_scope.cancel()


async def test_every_byte_of_a_document_may_be_damaged() -> None:
    """Whichever byte is wrong, the generation before stays, and the damage is reported until it is mended."""
    server = LedgerServer(SteppedClock())
    right = encode_document(document(2))
    async with server.client() as client:
        feed = Feed(client, server.ledger())
        for place in range(len(right)):
            server.slots[2] = right[:place] + chr(ord(right[place]) ^ 1) + right[place + 1 :]
            await feed.refresh()
            assert (generation(feed), kind(feed)) == (1, "invalid data")
        for end in range(0, len(right), 7):
            server.slots[2] = right[:end]
            await feed.refresh()
            assert (generation(feed), kind(feed)) == (1, "invalid data")
        server.commit(3)
        await feed.refresh()
        assert (generation(feed), feed.last_error) == (3, None)


async def test_every_byte_of_an_answer_may_be_damaged() -> None:
    """Whatever a proxy makes of the answer, the feed has one of the documents that were committed, and goes on."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:
        first = feed.latest and feed.latest.document
        second = server.commit(2)
        whole = json.dumps({"run": _run_of(server)}).encode()
        kinds: set[str | None] = set()
        for place in range(len(whole)):
            damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
            server.fault = always(lambda damaged=damaged: httpx.Response(200, content=damaged))
            with contextlib.suppress(MlflowUtilitiesError, LookupError, TypeError):
                await feed.refresh()
            kinds.add(kind(feed))
            seen = feed.latest and feed.latest.document
            assert seen in (first, second)
        assert {"invalid data", None} <= kinds
        server.fault = None
        await feed.refresh()
        assert (generation(feed), feed.last_error) == (2, None)


def _run_of(server: LedgerServer) -> dict[str, object]:
    params = [{"key": f"g.{number:09d}", "value": value} for number, value in server.slots.items()]
    return {"info": {"run_id": "ledger70", "experiment_id": "70"}, "data": {"params": params}}


async def test_an_unreadable_first_document_is_no_empty_rollout() -> None:
    """When nothing of a ledger can be read, there is no document, and no claim that there is none."""
    server = LedgerServer(SteppedClock())
    server.slots = {1: server.slots[1][:100]}
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(2.0)
        assert (feed.latest, kind(feed)) == (None, "invalid data")
        tasks.cancel_scope.cancel()


async def test_a_newer_format_keeps_what_is_known() -> None:
    """A document of a newer release is reported, the poll slows down, and the one before stays."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:
        server.slots[2] = sealed({"format": 2, "generation": 2})
        await server.clock.advance(700.0)
        assert (generation(feed), kind(feed)) == (1, "ledger")
        assert len(server.requests) <= 4
        assert "newer release" in (feed.last_error.message if feed.last_error else "")


async def test_a_rotated_token_needs_no_restart() -> None:
    """While the token is refused the source is asked again with each poll; a new one is used at once."""
    server = LedgerServer(SteppedClock())
    tokens = ["old"]
    asked: list[str] = []

    def source() -> str:
        asked.append(tokens[-1])
        return tokens[-1]

    valid = "old"

    async def guarded(request: httpx.Request) -> httpx.Response | None:
        return None if request.headers["authorization"] == f"Bearer {valid}" else error(401)

    server.fault = guarded
    async with server.client(token=source) as client:
        feed = Feed(client, server.ledger())
        await feed.refresh()
        valid = "new"
        server.commit(2)
        for _ in range(3):
            before = len(asked)
            with contextlib.suppress(UnauthenticatedError):
                await feed.refresh()
            assert len(asked) == before + 1
            assert (generation(feed), kind(feed)) == (1, "unauthenticated")
            assert feed.next_poll is not None
            assert feed.next_poll - server.clock.monotonic() >= 255
        tokens.append("new")
        await feed.refresh()
        assert (generation(feed), feed.last_error) == (2, None)


async def test_a_token_source_that_fails_is_reported() -> None:
    """An exception of the application's own function is a failed poll; the next one asks it again."""
    server = LedgerServer(SteppedClock())
    broken = True

    async def source() -> str:
        if broken:
            raise RuntimeError("no vault")
        return "token"

    async with server.client(token=source) as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(2.0)
        assert (feed.latest, kind(feed)) == (None, "unauthenticated")
        broken = False
        await server.clock.advance(100.0)
        assert (generation(feed), feed.last_error) == (1, None)
        tasks.cancel_scope.cancel()


async def test_a_deleted_ledger_is_reported_and_restored() -> None:
    """At first contact a deleted control experiment is a slow failure; restoring it is noticed without a restart."""
    server = LedgerServer(SteppedClock())
    server.stage = "deleted"
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(600.0)
        assert (feed.latest, kind(feed)) == (None, "ledger")
        assert len(server.requests) <= 3
        server.stage = "active"
        await server.clock.advance(350.0)
        assert (generation(feed), feed.last_error) == (1, None)
        tasks.cancel_scope.cancel()


async def test_a_ledger_deleted_meanwhile_is_reported_and_restored() -> None:
    """A service that knows the rollout goes on, reports it within a quarter of an hour, and recovers by itself."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:
        server.stage = "deleted"
        await server.clock.advance(935.0)
        assert (generation(feed), kind(feed)) == (1, "ledger")
        server.commit(2)
        for _ in range(4):
            await server.clock.advance(350.0)
            assert (generation(feed), kind(feed)) == (2, "ledger")
        server.stage = "active"
        await server.clock.advance(350.0)
        assert (generation(feed), feed.last_error) == (2, None)


async def test_a_run_of_the_ledger_that_was_removed_is_reported() -> None:
    """When the run that is followed is gone for good, the document stays, and a ledger begun anew is found."""
    server = LedgerServer(SteppedClock())

    async def gone(request: httpx.Request) -> httpx.Response | None:
        is_ledger = request.url.params.get("run_id") == "ledger70"
        return error(404, "RESOURCE_DOES_NOT_EXIST") if is_ledger else None

    async with following(server) as feed:
        server.fault = gone
        await server.clock.advance(300.0)
        assert (generation(feed), kind(feed)) == (1, "ledger")
        server.control_id = "71"
        server.slots = {2: encode_document(document(2))}
        await server.clock.advance(350.0)
        assert (generation(feed), feed.last_error) == (2, None)


async def test_a_ledger_begun_anew_is_found_though_the_old_one_answers() -> None:
    """Every ten minutes or so a poll looks whether the name leads elsewhere by now: one request more."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:
        await server.clock.advance(250.0)
        assert set(server.lines) == {"GET runs/get"}
        old = dict(server.slots)

        async def old_one(request: httpx.Request) -> httpx.Response | None:
            if request.url.params.get("run_id") != "ledger70":
                return None
            params = [{"key": f"g.{number:09d}", "value": value} for number, value in old.items()]
            run = {"info": {"run_id": "ledger70", "experiment_id": "70"}, "data": {"params": params}}
            return httpx.Response(200, json={"run": run})

        server.fault = old_one
        server.control_id = "71"
        server.slots = {2: encode_document(document(2))}
        await server.clock.advance(700.0)
        assert (generation(feed), feed.last_error) == (2, None)
        assert server.requests[-1].url.params["run_id"] == "ledger71"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_look_that_fails_is_no_failed_poll(status: int) -> None:
    """When the server fails just while the poll looks for a ledger begun anew, its answer counts all the same."""
    server = LedgerServer(SteppedClock())
    async with following(server) as feed:

        async def busy(request: httpx.Request) -> httpx.Response | None:
            return error(status) if "get-by-name" in request.url.path else None

        server.fault = busy
        for _ in range(20):
            await server.clock.advance(100.0)
            assert feed.last_error is None
        assert 2 <= server.lines.count("GET experiments/get-by-name") <= 7


async def test_a_ledger_begun_anew_during_a_poll_is_followed() -> None:
    """When this client begins the ledger anew while a poll waits for the old one's answer, the new one is followed."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client, anyio.create_task_group() as tasks:
        ledger = server.ledger()
        feed = Feed(client, ledger)
        await feed.refresh()
        answered = anyio.Event()
        old = server.right_answer(server.requests[-1])

        async def late(request: httpx.Request) -> httpx.Response | None:
            await answered.wait()
            return old if request.url.params.get("run_id") == "ledger70" else None

        server.fault = late
        tasks.start_soon(feed.refresh)
        await server.clock.advance(1.0)
        server.control_id = "71"
        server.slots = {2: encode_document(document(2))}
        ledger.move_to(Control("71", "index71", {}))
        answered.set()
        await feed.wait(1)
        assert (generation(feed), feed.last_error) == (2, None)
        server.commit(3)
        await feed.refresh()
        assert generation(feed) == 3


async def test_a_closed_client_does_not_end_the_driver() -> None:
    """Polls of a client that somebody closed fail, and are reported."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(2.0)
        await client.aclose()
        await server.clock.advance(600.0)
        assert (generation(feed), kind(feed)) == (1, "client")
        assert 3 <= feed.polls <= 7
        tasks.cancel_scope.cancel()
