"""Loading within a memory budget, by both policies."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities import ModelError
from mlflow_utilities.serving.residents import LoadFailedError
from support.artifact_memory import ArtifactMemory
from support.clock import SteppedClock
from support.served_models import FLAVORS, Thing, Unloaded, comes_true, local_model, pickled, running, set_off

pytestmark = pytest.mark.anyio

SIZE, BUDGET = 1000, 1500


async def test_models_that_do_not_fit_are_refused_before_they_are_downloaded(tmp_path: Path) -> None:
    """What serves goes on; that is not counted as a failure, so the next try may follow at once and asks nothing."""
    server = ArtifactMemory()
    a, b = (server.add(run, FLAVORS, pickled(Thing(run), SIZE - len(FLAVORS))) for run in "ab")
    client = server.client(SteppedClock())
    async with running(client, cache_dir=tmp_path, memory_budget=BUDGET) as residents:
        hold = (await residents.ensure([a]))["a"].hold()
        residents.keep(["a"])
        for _ in range(2):
            with pytest.raises(LoadFailedError, match=r"1000 bytes .* 1000 are taken .* 1500 are allowed") as caught:
                await residents.ensure([b])
            assert "resource_preserving" in str(caught.value)
        assert (server.asked["b/MLmodel"], server.asked["b/model.pkl"]) == (0, 0)
        assert "1500 are allowed" in residents.failures["b"]
        assert (hold.loaded.label, residents.bytes_loaded) == ("a", SIZE)
        residents.keep([])
        del hold
        await residents.ensure([b])
        assert dict(residents.failures) == {}


async def test_a_gap_makes_room_by_the_other_policy(tmp_path: Path) -> None:
    """What serves is announced, unloaded when its last user is done, and only then the new model is loaded."""
    a, b = (local_model(tmp_path / run, Thing(run), size=SIZE) for run in "ab")
    told: list[tuple[str, ...]] = []
    options = {"memory_budget": BUDGET, "policy": "resource_preserving", "on_unload": told.append}
    async with running(**options) as residents, anyio.create_task_group() as tasks:
        hold = (await residents.ensure([a]))["a"].hold()
        residents.keep(["a"])
        results = await set_off(tasks, partial(residents.ensure, [b]))
        await comes_true(lambda: told)
        await anyio.wait_all_tasks_blocked()
        assert (told, results, residents.is_loaded("a")) == ([("a",)], [], False)
        unloaded = Unloaded(hold.loaded)
        del hold
        await comes_true(lambda: results)
        assert unloaded.happened
        assert results[0]["b"].hold().loaded.label == "b"
        assert residents.bytes_loaded == SIZE


async def test_a_model_that_never_fits_costs_nothing_that_serves(tmp_path: Path) -> None:
    """By neither policy."""
    a, b = local_model(tmp_path / "a", Thing("a"), size=SIZE), local_model(tmp_path / "b", Thing("b"), size=2 * SIZE)
    told: list[tuple[str, ...]] = []
    options = {"memory_budget": BUDGET, "policy": "resource_preserving", "on_unload": told.append}
    async with running(**options) as residents:
        await residents.ensure([a])
        residents.keep(["a"])
        with pytest.raises(LoadFailedError, match="raise memory_budget"):
            await residents.ensure([b])
        assert (told, residents.is_loaded("a")) == ([], True)


async def test_what_is_kept_for_a_rollback_goes_first(tmp_path: Path) -> None:
    """And what is needed again is not given up for something else."""
    a, b, c = (local_model(tmp_path / run, Thing(run), size=SIZE) for run in "abc")
    told: list[tuple[str, ...]] = []
    async with running(memory_budget=2 * SIZE, on_unload=told.append) as residents:
        await residents.ensure([a])
        residents.keep(["a"])
        await residents.ensure([b])
        residents.keep(["b"], spare=["a"])
        await residents.ensure([c])
        assert told == [("a",)]
        residents.keep(["c"], spare=["b"])
        with pytest.raises(LoadFailedError, match="1000 bytes"):
            await residents.ensure([b, a])
        assert residents.is_loaded("b")


async def test_models_in_use_for_too_long_are_not_waited_for(tmp_path: Path) -> None:
    """The new model is refused after the time-out, and loaded when they are gone."""
    a, b = (local_model(tmp_path / run, Thing(run), size=SIZE) for run in "ab")
    options = {"memory_budget": BUDGET, "policy": "resource_preserving", "load_timeout": 10.0}
    async with running(**options) as residents, anyio.create_task_group() as tasks:
        resident = (await residents.ensure([a]))["a"]
        hold = resident.hold()
        residents.keep(["a"])
        results = await set_off(tasks, partial(residents.ensure, [b]))
        await comes_true(lambda: not residents.is_loaded("a"))
        await residents._clock.advance(10.0)
        assert "the models of a are still used after 10 s" in str(results[0])
        del hold
        assert (await residents.ensure([b]))["b"].bytes == SIZE
        await anyio.to_thread.run_sync(resident._gone.wait)
        with pytest.raises(ModelError):
            resident.hold()


async def test_models_loaded_together_must_fit_together(tmp_path: Path) -> None:
    """None of them is loaded otherwise."""
    a, b = (local_model(tmp_path / run, Thing(run), size=SIZE) for run in "ab")
    async with running(memory_budget=BUDGET) as residents:
        with pytest.raises(LoadFailedError) as caught:
            await residents.ensure([a, b])
        assert set(caught.value.failures) == {"a", "b"}
        assert residents.bytes_loaded == 0
