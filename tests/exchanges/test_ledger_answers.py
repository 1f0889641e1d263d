"""Answers of a server that lags, goes back or does not keep what it is given: what readers and writers make of them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.errors import (
    BadRequestError,
    LedgerCorruptError,
    LedgerMissingError,
    LedgerTruncatedError,
    MlflowApiError,
    RolloutError,
)
from mlflow_utilities.rollout.codec import encode_document, encode_pointer
from mlflow_utilities.rollout.document import Document, Pointer, index_key, slot_key
from mlflow_utilities.rollout.reader import Control, Ledger, ModelExperiment, Tip
from mlflow_utilities.rollout.writing import Written, write
from support.clock import FakeClock
from support.rollouts import EXPERIMENT, SUBMODEL, active, document

pytestmark = pytest.mark.anyio

CONTROL, INDEX, FIRST, SECOND = "42", "1d" * 16, "a1" * 16, "b2" * 16
BUSY = httpx.Response(503)


def generation(number: int, **fields: Any) -> Document:
    """Return a document with one Active run."""
    return document({"1.0.0": (active("0a" * 16, (0, 10_000)),)}, number, **fields)


@dataclass
class Server:
    """Runs by id, of which each reading may be answered otherwise; remembers what was sent."""

    runs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    controls: list[str] = field(default_factory=lambda: [CONTROL])
    reading: Callable[[str, int], dict[str, str] | httpx.Response | None] = lambda run_id, number: None
    refusals: list[httpx.Response] = field(default_factory=list[httpx.Response])
    sent: list[str] = field(default_factory=list[str])
    reads: int = 0

    @property
    def claimed(self) -> bool:
        """Whether a slot was claimed."""
        return "runs/log-parameter" in self.sent

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer as MLflow does."""
        path = request.url.path.removeprefix("/api/2.0/mlflow/")
        self.sent.append(path)
        if path == "experiments/get-by-name":
            tags = [{"key": "rollouts.index", "value": INDEX}]
            found = {"experiment_id": self.controls[-1], "name": "x", "lifecycle_stage": "active", "tags": tags}
            return httpx.Response(200, json={"experiment": found})
        if path == "runs/get":
            return self._run(request.url.params["run_id"])
        if path == "runs/create":
            if self.refusals:
                return self.refusals.pop()
            self.runs[SECOND] = {}
            info = {"run_id": SECOND, "experiment_id": CONTROL, "status": "RUNNING", "lifecycle_stage": "active"}
            return httpx.Response(200, json={"run": {"info": info, "data": {}}})
        if path == "runs/log-parameter":
            body = json.loads(request.content)
            self.runs[body["run_id"]].setdefault(body["key"], body["value"])
        return httpx.Response(200, json={})

    def _run(self, run_id: str) -> httpx.Response:
        self.reads += 1
        found = self.reading(run_id, self.reads)
        if isinstance(found, httpx.Response):
            return httpx.Response(found.status_code, content=found.content)
        params = self.runs.get(run_id) if found is None else found
        if params is None:
            return httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"})
        info = {"run_id": run_id, "experiment_id": self.controls[-1], "lifecycle_stage": "active"}
        data = {"params": [{"key": key, "value": value} for key, value in params.items()]}
        return httpx.Response(200, json={"run": {"info": info, "data": data}})


@dataclass
class World:
    """A ledger of two generations in one run, and a client."""

    server: Server
    client: AsyncMlflowClient
    clock: FakeClock
    ledger: Ledger

    async def generation(self) -> int:
        """Walk, and return the generation that the reader goes by."""
        tip = await self.ledger.walk(self.client)
        assert tip.document == self.ledger.document
        return tip.document.generation if tip.document else 0

    async def commit(self, *, full: bool = False) -> Written:
        """Commit generation 3, in place or to a new run."""
        tip = await self.ledger.walk(self.client)
        self.server.reads, self.server.sent = 0, []
        tip = replace(tip, slots=16) if full else tip
        return await write(self.client, self.ledger, Control(CONTROL, INDEX, {}), tip, generation(3))


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    """Give a ledger that ends with generation 2."""
    server = Server()
    server.runs[INDEX] = {index_key(SUBMODEL): encode_pointer(Pointer(FIRST, "9f" * 8))}
    server.runs[FIRST] = {slot_key(n): encode_document(generation(n)) for n in (1, 2)}
    clock = FakeClock()
    async with httpx.AsyncClient(transport=httpx.MockTransport(server.answer)) as http_client:
        client = AsyncMlflowClient("http://mlflow.test", http_client=http_client, clock=clock, max_retries=0)
        yield World(server, client, clock, Ledger(ModelExperiment(EXPERIMENT, "x", 1), SUBMODEL))
        await client.aclose()


async def test_generations_never_go_back(world: World) -> None:
    """A reader that is shown 8, 7, 8, 7 and nothing stays at 8, and goes on to 9."""
    seen: list[int] = []
    for number in (8, 7, 8, 7, 0, 9):
        shown = {slot_key(n): encode_document(generation(n)) for n in range(1, number + 1)}
        world.server.runs[FIRST] = shown
        seen.append(await world.generation())

    assert seen == [8, 8, 8, 8, 8, 9]


@pytest.mark.parametrize("shown", [{}, {SECOND: {}}], ids=["no run", "a run without slots"])
async def test_a_pointer_to_what_does_not_show_yet(world: World, shown: dict[str, dict[str, str]]) -> None:
    """The reader stays where it is, and goes on when the run and its slot show."""
    world.server.runs[FIRST][slot_key(3)] = encode_pointer(Pointer(SECOND, "9f" * 8))
    world.server.runs |= shown
    assert await world.generation() == 2
    assert (await world.ledger.walk(world.client)).lagging

    world.server.runs[SECOND] = {slot_key(3): encode_document(generation(3))}
    assert await world.generation() == 3
    assert world.ledger.position == SECOND


async def test_a_chain_that_leads_in_a_circle(world: World) -> None:
    """It is refused, and what was known stays."""
    assert await world.generation() == 2
    world.server.runs[FIRST][slot_key(3)] = encode_pointer(Pointer(SECOND, "9f" * 8))
    world.server.runs[SECOND] = {
        slot_key(3): encode_document(generation(3)),
        slot_key(4): encode_pointer(Pointer(FIRST, "9f" * 8)),
    }
    with pytest.raises(LedgerCorruptError, match="circle"):
        await world.ledger.walk(world.client)
    assert world.ledger.document == generation(2)


async def test_an_index_that_holds_something_else(world: World) -> None:
    """It is refused."""
    world.server.runs[INDEX] = {index_key(SUBMODEL): "rubbish"}
    with pytest.raises(LedgerCorruptError, match="not a pointer"):
        await world.ledger.walk(world.client)


async def test_a_ledger_that_was_removed_and_begun_again(world: World) -> None:
    """A reader keeps what it has while there is nothing else, and finds the new ledger by name."""
    assert await world.generation() == 2
    del world.server.runs[FIRST]
    with pytest.raises(LedgerMissingError, match=FIRST):
        await world.ledger.walk(world.client)
    assert world.ledger.document == generation(2)

    world.server.controls.append("43")
    world.server.runs[INDEX] = {index_key(SUBMODEL): encode_pointer(Pointer(SECOND, "9f" * 8))}
    world.server.runs[SECOND] = {slot_key(3): encode_document(generation(3))}
    assert await world.generation() == 3
    assert world.ledger.position == SECOND


async def test_reading_back_that_shows_nothing(world: World) -> None:
    """A commit in place that was answered stays a commit, with a warning after three looks."""
    old = dict(world.server.runs[FIRST])
    world.server.reading = lambda run_id, number: old if world.server.claimed else None

    written = await world.commit()

    assert (written.won, world.clock.slept) == (True, [0.5, 1.0])
    assert "not visible yet" in written.warnings[0]
    assert world.server.sent == ["runs/log-parameter", *["runs/get"] * 3]


async def test_reading_back_that_shows_it_late(world: World) -> None:
    """Then there is nothing to warn of."""
    old = dict(world.server.runs[FIRST])
    world.server.reading = lambda run_id, number: old if world.server.claimed and number < 3 else None

    assert await world.commit() == Written(won=True)


async def test_reading_back_that_fails(world: World) -> None:
    """The commit stays a commit, with a warning."""
    world.server.reading = lambda run_id, number: BUSY if world.server.claimed else None

    written = await world.commit()

    assert written.won
    assert "503" in written.warnings[0]


SPOILT: dict[str, tuple[Callable[[str], str], type[Exception], str]] = {
    "the beginning": (lambda value: value[:200], LedgerTruncatedError, "keeps 200 of"),
    "nothing": (lambda value: "", LedgerTruncatedError, "keeps 0 of"),
    "something else": (lambda value: value.replace("test", "TEST"), LedgerCorruptError, "not what was stored"),
}


@pytest.mark.parametrize("full", [False, True], ids=["in place", "in a new run"])
@pytest.mark.parametrize("kind", SPOILT)
async def test_reading_back_something_else(world: World, kind: str, full: bool) -> None:
    """A server that does not keep values is refused; in a new run before anything points to it, which is deleted."""
    spoil, error, text = SPOILT[kind]
    run_id = SECOND if full else FIRST

    def reading(read: str, number: int) -> dict[str, str] | None:
        params = world.server.runs.get(run_id, {})
        spoilt = read == run_id and slot_key(3) in params
        return params | {slot_key(3): spoil(params[slot_key(3)])} if spoilt else None

    world.server.reading = reading
    with pytest.raises(error, match=text):
        await world.commit(full=full)

    claims = world.server.sent.count("runs/log-parameter")
    assert (claims, "runs/delete" in world.server.sent) == (1, full)


async def test_a_new_run_that_does_not_show_yet(world: World) -> None:
    """Nothing points to it, and the error says that a replica lags."""
    world.server.reading = lambda run_id, number: {} if run_id == SECOND else None

    with pytest.raises(RolloutError, match="lags behind"):
        await world.commit(full=True)

    assert world.server.sent.count("runs/log-parameter") == 1
    assert slot_key(3) not in world.server.runs[FIRST]


async def test_a_new_run_that_cannot_be_read(world: World) -> None:
    """Nothing points to it."""
    world.server.reading = lambda run_id, number: BUSY if run_id == SECOND else None

    with pytest.raises(MlflowApiError, match="503"):
        await world.commit(full=True)

    assert slot_key(3) not in world.server.runs[FIRST]


async def test_a_pointer_that_came_second(world: World) -> None:
    """The new run is deleted, and the commit lost."""
    tip: Tip = await world.ledger.walk(world.client)
    world.server.runs[FIRST][slot_key(3)] = encode_document(generation(3, who="ben"))
    taken = httpx.Response(400, json={"error_code": "INVALID_PARAMETER_VALUE", "message": "changing params"})
    answer = world.server.answer

    def refuse(request: httpx.Request) -> httpx.Response:
        pointing = request.url.path.endswith("log-parameter") and FIRST.encode() in request.content
        return httpx.Response(400, content=taken.content) if pointing else answer(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http_client:
        client = AsyncMlflowClient("http://mlflow.test", http_client=http_client, clock=world.clock)
        written = await write(client, world.ledger, Control(CONTROL, INDEX, {}), replace(tip, slots=16), generation(3))
        await client.aclose()

    assert not written.won
    assert world.server.sent[-1] == "runs/delete"
    assert world.ledger.position == FIRST


BUSY_POOL = {"error_code": "BAD_REQUEST", "message": "QueuePool limit of size 5 overflow 10 reached"}


@pytest.mark.parametrize("often", [3, 4])
async def test_a_new_run_that_is_refused(world: World, often: int) -> None:
    """It is tried three times more, for one too many is harmless; then the refusal is raised."""
    world.server.refusals = [httpx.Response(400, json=BUSY_POOL) for _ in range(often)]

    if often == 3:
        assert (await world.commit(full=True)).won
    else:
        with pytest.raises(BadRequestError, match="QueuePool"):
            await world.commit(full=True)

    assert world.server.sent.count("runs/create") == 4
    assert (slot_key(3) in world.server.runs[FIRST]) is (often == 3)
