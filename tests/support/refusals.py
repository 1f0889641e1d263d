"""What bad input is tried on: an experiment with runs of every kind, and the check that a call is refused."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, mlflow_api
from support.runs import make_run
from support.transports import FaultTransport, faulty_client

__all__ = ["UNKNOWN", "Call", "World", "make_world", "refused"]

UNKNOWN = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class World:
    """An experiment with a rollout and runs of every kind, and experiments that cannot be meant.

    `a` and `b` are Active with 70 and 30 %, `c` is a Canary, `d` was live and is Disabled: four generations.
    """

    experiment_id: str
    name: str
    a: str
    b: str
    c: str
    d: str
    new: str
    revoked: str
    running: str
    failed: str
    deleted: str
    foreign: str
    sibling: str
    two: str
    other_id: str
    other_name: str
    other: str
    empty_id: str
    deleted_id: str
    deleted_name: str


async def make_world(uri: str) -> World:
    """Make the experiments and runs; nothing changes them afterwards."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    async with AsyncMlflowClient(uri) as client:
        experiment_id = await client.create_experiment(name)
        other_id = await client.create_experiment(f"{name}-other")
        deleted_id = await client.create_experiment(f"{name}-deleted")
        made = {run: await make_run(client, experiment_id, name) for run in ("a", "b", "c", "d", "new", "revoked")}
        made["running"] = await make_run(client, experiment_id, name, status="RUNNING")
        made["failed"] = await make_run(client, experiment_id, name, status="FAILED")
        made["deleted"] = await make_run(client, experiment_id, name)
        await client.delete_run(made["deleted"])
        made["foreign"] = (await client.create_run(experiment_id)).info.run_id
        await client.set_terminated(made["foreign"])
        made["sibling"] = await make_run(client, experiment_id, "sibling")
        made["two"] = await make_run(client, experiment_id, name, "2.0.0")
        made["other"] = await make_run(client, other_id, f"{name}-other")
        await client.delete_experiment(deleted_id)
        await mlflow_api.enable_run(made["d"], client=client)
        await mlflow_api.update_active_runs(
            {made["a"]: 7, made["b"]: 3}, "1.0.0", experiment_id=experiment_id, client=client
        )
        await mlflow_api.canary_run(made["c"], client=client)
        await mlflow_api.revoke_run(made["revoked"], "unsafe", client=client)
        await mlflow_api.enable_run(made["other"], client=client)
        empty_id = await client.create_experiment(f"{name}-empty")
    return World(
        experiment_id=experiment_id,
        name=name,
        other_id=other_id,
        other_name=f"{name}-other",
        empty_id=empty_id,
        deleted_id=deleted_id,
        deleted_name=f"{name}-deleted",
        **made,
    )


Call = Callable[[AsyncMlflowClient], Awaitable[object]]


async def refused(uri: str, call: Call, text: str, world: World | None = None) -> list[httpx.Request]:
    """Check that a call is refused and writes nothing; return what it sent.

    `text`, in which {fields} of the world are filled in, names what is wrong; the hint says what to do.
    """
    expected = text if world is None else text.format(**asdict(world))
    async with faulty_client(uri) as (client, transport):
        with pytest.raises(InvalidInputError) as refusal:
            await call(client)

        assert expected in refusal.value.message
        assert refusal.value.hint
        assert writes(transport) == []
        return transport.requests


def writes(transport: FaultTransport) -> list[str]:
    """Return the requests that are not reads."""
    sent = zip(transport.lines, transport.requests, strict=True)
    return [line for line, request in sent if request.method != "GET" and not request.url.path.endswith("/search")]
