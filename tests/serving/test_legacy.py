"""Experiments of the earlier framework, as a service follows them: live runs without a ledger are generation 0."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, LedgerMissingError, RolloutError, mlflow_api
from mlflow_utilities.rollout.document import problem
from mlflow_utilities.rollout.experiments import find_ledger
from mlflow_utilities.rollout.reader import Ledger
from mlflow_utilities.rollout.status_rule import fraction_of
from mlflow_utilities.serving.last_known_good import Identity, LastKnownGood, StoredModel, as_document, parse
from mlflow_utilities.serving.legacy import legacy_document
from support.clock import FakeClock
from support.ledgers import new_clock
from support.runs import legacy_run
from support.transports import faulty_client

pytestmark = pytest.mark.anyio
State: TypeAlias = tuple[float | None, float | None]


class ChangingClock(FakeClock):
    """A clock on which somebody does something during each wait."""

    def __init__(self, then: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._then = then

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and do it."""
        await super().sleep(seconds)
        await self._then()


async def made(client: AsyncMlflowClient, name: str, *states: State) -> tuple[str, list[str]]:
    """Make an experiment with runs of version 1.0.0 in these states."""
    experiment = await client.create_experiment(name)
    return experiment, [await legacy_run(client, experiment, name, (1, 0, 0), *state) for state in states]


async def ledger_of(client: AsyncMlflowClient, experiment: str, submodel: str | None = None) -> Ledger:
    """Return the ledger, which there is not yet."""
    return await find_ledger(client, experiment, None, submodel)


async def test_live_runs_are_generation_0_and_the_first_write_keeps_them(server_uri: str, unique_name: str) -> None:
    """Shares are those that adoption gives as generation 1, which a service then finds as its ledger."""
    states: list[State] = [(2.0, 0.6), (2.0, 0.4), (3.0, 0.5), (2.0, math.nan), (0.0, 0.0), (1.0, 0.0), (None, None)]
    async with faulty_client(server_uri, clock=new_clock()) as (client, transport):
        experiment, runs = await made(client, unique_name, *states)
        other = await legacy_run(client, experiment, unique_name, (2, 0, 0), 2.0, 1.0)
        await legacy_run(client, experiment, "another", (1, 0, 0), 2.0, 1.0)
        await legacy_run(client, experiment, unique_name.upper(), (1, 0, 0), 2.0, 1.0)
        ledger = await ledger_of(client, experiment)
        assert (await ledger.walk(client)).document is None

        found = await legacy_document(client, ledger)
        assert found is not None
        document, facts = found
        shares = {e.run: (e.status.name, fraction_of(e)) for entries in document.live.values() for e in entries}
        assert shares == {
            runs[0]: ("Active", 0.6),
            runs[1]: ("Active", 0.4),
            runs[2]: ("Canary", 0.5),
            other: ("Active", 1.0),
        }
        assert (document.generation, document.salt, problem(document, 0)) == (0, "00000000", None)
        assert facts.keys() == shares.keys()
        transport.forget()
        assert await legacy_document(client, ledger) == found
        assert transport.lines == ["POST runs/search"]

        assert (await mlflow_api.disable_run(runs[2], client=client)).generation == 2
        (adopt, _) = await mlflow_api.rollout_history(experiment_id=experiment, client=client)
        first = {run.run_id: (run.status.name, run.test_fraction) for run in adopt.live}
        assert (adopt.generation, first) == (1, shares)

    async with AsyncMlflowClient(server_uri) as service:
        tip = await (await ledger_of(service, experiment)).walk(service)
        assert tip.document is not None
        assert tip.document.generation == 2
        actives = {e.run: e.slots for es in document.live.values() for e in es if e.slots}
        assert {e.run: e.slots for es in tip.document.live.values() for e in es} == actives


async def test_a_ledger_begun_meanwhile_is_followed(server_uri: str, unique_name: str) -> None:
    """When the runs show a ledger that was not there a moment ago, its document is returned, and not an error."""
    async with faulty_client(server_uri, clock=new_clock()) as (client, _):
        experiment, (run, shadow) = await made(client, unique_name, (2.0, 1.0), (3.0, 1.0))
        ledger = await ledger_of(client, experiment)
        assert (await ledger.walk(client)).document is None
        async with AsyncMlflowClient(server_uri, clock=new_clock()) as operator:
            await mlflow_api.disable_run(shadow, client=operator)

        found = await legacy_document(client, ledger)

        assert found is not None
        assert (found[0].generation, found[0].runs, set(found[1])) == (2, {run}, {run})


async def test_a_ledger_that_is_lost_is_not_taken_for_none(server_uri: str, unique_name: str) -> None:
    """Runs that show generations, and no ledger: an error, as metrics alone may be half of a change."""
    async with faulty_client(server_uri, clock=new_clock()) as (client, _):
        experiment, (_, shadow) = await made(client, unique_name, (2.0, 1.0), (3.0, 1.0))
        await mlflow_api.disable_run(shadow, client=client)
        control = await client.get_experiment_by_name(f"mlflow-utilities/rollouts/{experiment}")
        assert control is not None
        await client.rename_experiment(control.experiment_id, f"{unique_name}-gone")
        async with AsyncMlflowClient(server_uri, clock=new_clock()) as service:
            with pytest.raises(LedgerMissingError):
                await legacy_document(service, await ledger_of(service, experiment))


async def test_nothing_live_is_none(server_uri: str, unique_name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Runs that are out, or live without a share, make no rollout; the latter is told once."""
    async with faulty_client(server_uri, clock=new_clock()) as (client, transport):
        experiment, (out, _) = await made(client, unique_name, (0.0, 0.0), (None, None))
        ledger = await ledger_of(client, experiment)
        transport.forget()
        assert await legacy_document(client, ledger) is None
        assert await legacy_document(client, ledger) is None
        assert transport.lines == ["POST runs/search"] * 3
        await client.log_metric(out, "active_state", 2.0)
        with caplog.at_level(logging.WARNING, "mlflow_utilities.serving"):
            assert await legacy_document(client, ledger) is None
            assert await legacy_document(client, ledger) is None
        assert [record.getMessage() for record in caplog.records] == [
            f"no Active run of version 1.0.0 has a share: {[out]} are Disabled now"
        ]


@pytest.mark.parametrize("known", [False, True])
async def test_half_a_change_is_not_believed(server_uri: str, unique_name: str, known: bool) -> None:
    """A reading that meets half of a change is not returned: neither at first nor after a change."""
    async with AsyncMlflowClient(server_uri) as operator:
        experiment, (old, new) = await made(operator, unique_name, (2.0, 1.0), (0.0, 1.0))
        steps = [(new, 2.0)]

        async def go_on() -> None:
            if steps:
                await operator.log_metric(steps[0][0], "active_state", steps.pop(0)[1])

        async with faulty_client(server_uri, clock=ChangingClock(go_on)) as (client, transport):
            ledger = await ledger_of(client, experiment)
            if known:
                rest, steps = steps, []
                await legacy_document(client, ledger)
                steps = rest
            await operator.log_metric(old, "active_state", 0.0)
            transport.forget()
            found = await legacy_document(client, ledger)

            assert found is not None
            assert set(found[1]) == {new}
            assert transport.lines == ["POST runs/search"] * 3


async def test_what_never_settles_is_an_error_and_what_was_trusted_stays(server_uri: str, unique_name: str) -> None:
    """Four readings that all differ are a RolloutError; once things are as they were, one reading is enough again."""
    async with AsyncMlflowClient(server_uri) as operator:
        experiment, (run,) = await made(operator, unique_name, (2.0, 0.5))
        shares = []

        async def change() -> None:
            if shares:
                await operator.log_metric(run, "test_fraction", shares.pop(0))

        async with faulty_client(server_uri, clock=ChangingClock(change)) as (client, transport):
            ledger = await ledger_of(client, experiment)
            before = await legacy_document(client, ledger)
            shares += [0.1, 0.2, 0.3, 0.5]
            await change()
            transport.forget()
            with pytest.raises(RolloutError, match="differ in 4 readings"):
                await legacy_document(client, ledger)
            assert transport.lines == ["POST runs/search"] * 4
            await operator.log_metric(run, "test_fraction", 0.5)
            after = await legacy_document(client, ledger)
            assert before is not None
            assert after is not None
            assert after[0] == before[0]
            assert len(transport.lines) == 5


@pytest.mark.parametrize("submodel", ["it's", 'a "b"', 'it\'s "c"', "back\\slash", "naïve \N{SNOWMAN}"])
async def test_any_submodel_name_is_found(server_uri: str, unique_name: str, submodel: str) -> None:
    """Names that a filter cannot express are looked for among all live runs."""
    async with faulty_client(server_uri, clock=new_clock()) as (client, _):
        experiment = await client.create_experiment(unique_name)
        run = await legacy_run(client, experiment, submodel, (1, 0, 0), 2.0, 1.0)

        found = await legacy_document(client, await ledger_of(client, experiment, submodel))

        assert found is not None
        assert list(found[1]) == [run]


async def test_generation_0_is_kept_in_the_file(server_uri: str, unique_name: str) -> None:
    """The last-known-good of an experiment without a ledger comes back with real runs."""
    async with faulty_client(server_uri, clock=new_clock()) as (client, _):
        experiment, _ = await made(client, unique_name, (2.0, 1.0))
        found = await legacy_document(client, await ledger_of(client, experiment))
    assert found is not None
    identity = Identity(server_uri, unique_name, unique_name, "1.x")
    models = tuple(StoredModel(facts.raw, f"runs:/{run}/model", None) for run, facts in found[1].items())
    kept = LastKnownGood(identity, experiment, unique_name, found[0], models, 1)

    assert parse(as_document(kept), submodel_name=unique_name) == kept


async def test_errors_of_the_server_are_passed_on(server_uri: str, unique_name: str) -> None:
    """A failed search is its error, and says nothing about what is live."""
    async with faulty_client(server_uri, clock=new_clock(), max_retries=0) as (client, transport):
        experiment, _ = await made(client, unique_name, (2.0, 1.0))
        ledger = await ledger_of(client, experiment)
        transport.script = lambda number, request: httpx.Response(500, text="down")
        with pytest.raises(Exception, match="500"):
            await legacy_document(client, ledger)
