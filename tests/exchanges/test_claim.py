"""Claiming a slot of the ledger: what each answer of the server means, first and after an answer was lost."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import respx

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.errors import (
    BadRequestError,
    InvalidParameterError,
    LedgerDeletedError,
    LedgerMissingError,
    MlflowConnectionError,
    NotFoundError,
    PermissionDeniedError,
    RolloutOutcomeUnknownError,
    ServerError,
    UnauthenticatedError,
)
from mlflow_utilities.rollout.claim import CLAIM_DEADLINE, Claim, claim
from support.clock import FakeClock

pytestmark = pytest.mark.anyio

RUN, KEY, VALUE, OP = "7e" * 16, "g.000000018", "the value", "9f2c4e1ab07d3356"
OTHER = "another value"
LOST = httpx.ReadError("cut by the test")


def refused(status: int, code: str, message: str = "said by the server") -> httpx.Response:
    """Return an error in MLflow's form."""
    return httpx.Response(status, json={"error_code": code, "message": message})


def run(value: str | None = None, lifecycle_stage: str = "active") -> httpx.Response:
    """Return the ledger run, its slot holding `value`."""
    params = [{"key": "g.000000017", "value": "earlier"}]
    if value is not None:
        params.append({"key": KEY, "value": value})
    info = {"run_id": RUN, "experiment_id": "42", "lifecycle_stage": lifecycle_stage}
    return httpx.Response(200, json={"run": {"info": info, "data": {"params": params}}})


STORED = httpx.Response(200, json={})
INVALID = refused(400, "INVALID_PARAMETER_VALUE")
QUEUE_POOL = refused(400, "BAD_REQUEST", "QueuePool limit of size 5 overflow 10 reached")
GONE = refused(404, "RESOURCE_DOES_NOT_EXIST")


@dataclass
class Scripted:
    """A server whose answers are scripted; the last one of a script is repeated."""

    client: AsyncMlflowClient
    clock: FakeClock
    writes: respx.Route
    reads: respx.Route

    def answer(self, writes: Iterable[Any], reads: Iterable[Any] = ()) -> None:
        """Set the answers to runs/log-parameter and to runs/get."""
        self.writes.side_effect = _repeated(list(writes))
        self.reads.side_effect = _repeated([*reads] or [httpx.Response(500)])

    async def claim(self) -> Claim:
        """Claim the slot, and see that each attempt sent the same bytes."""
        try:
            return await claim(self.client, RUN, KEY, VALUE, OP)
        finally:
            bodies = {call.request.content for call in self.writes.calls}
            assert [json.loads(body) for body in bodies] == [{"run_id": RUN, "key": KEY, "value": VALUE}]


def _repeated(answers: list[Any]) -> Any:
    waiting: Iterator[Any] = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        found = next(waiting, answers[-1])
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    return answer


@pytest.fixture
async def server() -> AsyncGenerator[Scripted]:
    """Give a client on a scripted server."""
    router = respx.MockRouter(base_url="http://mlflow.test/api/2.0/mlflow", assert_all_called=False)
    clock = FakeClock()
    writes, reads = router.post("/runs/log-parameter"), router.get("/runs/get", params={"run_id": RUN})
    async with httpx.AsyncClient(transport=httpx.MockTransport(router.async_handler)) as http_client:
        client = AsyncMlflowClient("http://mlflow.test", http_client=http_client, clock=clock)
        yield Scripted(client, clock, writes, reads)
        await client.aclose()


DECIDING: dict[str, tuple[list[Any], list[Any], Claim]] = {
    "200": ([STORED], [], Claim.WON),
    "the slot holds another value": ([INVALID], [run(OTHER)], Claim.LOST),
    "the slot holds this value": ([INVALID], [run(VALUE)], Claim.WON),
    "a replica shows the other value late": ([INVALID], [run(), run(), run(OTHER)], Claim.LOST),
    "the run is deleted, the slot taken": ([INVALID], [run(OTHER, "deleted")], Claim.LOST),
    "a race in the database, then 200": ([QUEUE_POOL, QUEUE_POOL, STORED], [], Claim.WON),
    "a race in the database, then taken": ([QUEUE_POOL, INVALID], [run(OTHER)], Claim.LOST),
    "refused connections, then 200": ([httpx.ConnectError("no"), STORED], [], Claim.WON),
}


@pytest.mark.parametrize("before", [[], [LOST], [LOST, httpx.ConnectError("no"), LOST]], ids=len)
@pytest.mark.parametrize("name", DECIDING)
async def test_answers_that_decide(server: Scripted, name: str, before: list[Any]) -> None:
    """They decide in first position and after lost answers alike."""
    writes, reads, expected = DECIDING[name]
    server.answer([*before, *writes], reads)

    assert await server.claim() is expected
    assert server.writes.call_count == len(before) + len(writes)
    assert server.reads.call_count == len(reads)


@pytest.mark.parametrize("before", [[], [LOST]], ids=len)
async def test_a_deleted_run_names_the_call_that_restores_it(server: Scripted, before: list[Any]) -> None:
    """The error names `restore_run` and `restore_experiment` with the ids, after one look."""
    server.answer([*before, INVALID], [run(None, "deleted")])

    with pytest.raises(LedgerDeletedError) as caught:
        await server.claim()

    assert f"restore_run('{RUN}')" in str(caught.value)
    assert "restore_experiment('42')" in str(caught.value)
    assert server.reads.call_count == 1


@pytest.mark.parametrize("before", [[], [LOST]], ids=len)
async def test_a_value_that_is_refused_itself(server: Scripted, before: list[Any]) -> None:
    """An empty slot of an active run is looked at four times over 3 s, then the server's text is raised."""
    server.answer([*before, refused(400, "INVALID_PARAMETER_VALUE", "no such key")], [run()])

    with pytest.raises(InvalidParameterError, match="no such key"):
        await server.claim()

    assert server.reads.call_count == 4
    assert server.clock.slept[-3:] == [0.5, 1.0, 1.5]


async def test_a_run_that_goes_while_it_is_looked_at(server: Scripted) -> None:
    """It is missing."""
    server.answer([INVALID], [GONE])

    with pytest.raises(LedgerMissingError, match=RUN):
        await server.claim()


async def test_a_database_that_stays_busy(server: Scripted) -> None:
    """What never may have been stored is not unknown: the last refusal is raised at the deadline."""
    server.answer([QUEUE_POOL])

    with pytest.raises(BadRequestError, match="QueuePool"):
        await server.claim()

    assert CLAIM_DEADLINE - 3 < server.clock.monotonic() < CLAIM_DEADLINE
    assert server.writes.call_count > 10


DEFINITE: dict[str, tuple[Any, type[Exception]]] = {
    "404": (GONE, LedgerMissingError),
    "404 of the router": (httpx.Response(404, text="Not Found"), NotFoundError),
    "401": (httpx.Response(401, text="no"), UnauthenticatedError),
    "403": (refused(403, "PERMISSION_DENIED"), PermissionDeniedError),
}


@pytest.mark.parametrize("name", DEFINITE)
async def test_refusals_are_raised_at_once(server: Scripted, name: str) -> None:
    """A first attempt that was certainly not applied is not repeated."""
    answer, error = DEFINITE[name]
    server.answer([answer])

    with pytest.raises(error):
        await server.claim()

    assert server.writes.call_count == 1


@pytest.mark.parametrize("name", DEFINITE)
async def test_refusals_after_a_lost_answer_tell_nothing(server: Scripted, name: str) -> None:
    """The attempt whose answer was lost may have been applied, so the outcome is unknown, and says of what."""
    server.answer([LOST, DEFINITE[name][0]])

    with pytest.raises(RolloutOutcomeUnknownError, match="same call again") as caught:
        await server.claim()

    assert server.writes.call_count == 2
    assert (caught.value.run_id, caught.value.key, caught.value.value, caught.value.op) == (RUN, KEY, VALUE, OP)


OPEN: dict[str, Any] = {
    "408": httpx.Response(408),
    "429": refused(429, "REQUEST_LIMIT_EXCEEDED"),
    "500": refused(500, "INTERNAL_ERROR"),
    "500 INVALID_STATE": refused(500, "INVALID_STATE"),
    "503 of a proxy": httpx.Response(503, text="<html>busy</html>"),
    "200 of something else": httpx.Response(200, text="<html>welcome</html>"),
    "a time-out": httpx.ReadTimeout("no answer"),
    "a cut": LOST,
    "a cut answer": httpx.RemoteProtocolError("half an answer"),
}


@pytest.mark.parametrize("name", OPEN)
async def test_the_same_bytes_are_sent_until_the_deadline(server: Scripted, name: str) -> None:
    """An answer that leaves it open whether the value was stored is repeated for 30 s; then the outcome is unknown."""
    server.answer([OPEN[name]])

    with pytest.raises(RolloutOutcomeUnknownError, match=KEY) as caught:
        await server.claim()

    assert CLAIM_DEADLINE - 3 < server.clock.monotonic() < CLAIM_DEADLINE
    assert server.writes.call_count > 10
    assert caught.value.value == VALUE


@pytest.mark.parametrize("name", OPEN)
async def test_an_open_outcome_is_settled_by_the_next_answer(server: Scripted, name: str) -> None:
    """Stored by either attempt is stored once."""
    server.answer([OPEN[name], STORED])

    assert await server.claim() is Claim.WON
    assert server.writes.call_count == 2


async def test_a_server_that_cannot_be_reached(server: Scripted) -> None:
    """When every connection was refused nothing was stored, and the error says so at the deadline."""
    server.answer([httpx.ConnectError("refused")])

    with pytest.raises(MlflowConnectionError, match="refused") as caught:
        await server.claim()

    assert not caught.value.sent
    assert CLAIM_DEADLINE - 3 < server.clock.monotonic() < CLAIM_DEADLINE


async def test_a_server_that_cannot_be_reached_after_a_lost_answer(server: Scripted) -> None:
    """Then it is not known what the lost one did."""
    server.answer([LOST, httpx.ConnectError("refused")])

    with pytest.raises(RolloutOutcomeUnknownError):
        await server.claim()


async def test_a_refusal_that_cannot_be_looked_into(server: Scripted) -> None:
    """The server's failure is raised when nothing was lost before; else the outcome is unknown."""
    server.answer([INVALID], [httpx.Response(503)])
    with pytest.raises(ServerError):
        await server.claim()

    server.answer([LOST, INVALID], [httpx.Response(503)])
    with pytest.raises(RolloutOutcomeUnknownError):
        await server.claim()
