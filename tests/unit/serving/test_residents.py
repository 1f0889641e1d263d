"""Models in memory: loaded once, kept while they are needed, destroyed on a thread of their own."""

from __future__ import annotations

import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mlflow_utilities import ClientStateError, InvalidInputError, ModelError
from mlflow_utilities.serving.residents import LoadFailedError
from support.artifact_memory import ArtifactMemory
from support.clock import FakeClock, SteppedClock
from support.served_models import (
    FLAVORS,
    Failing,
    Gate,
    Gated,
    Thing,
    Unloaded,
    comes_true,
    local_model,
    pickled,
    running,
    set_off,
)

pytestmark = pytest.mark.anyio


async def test_a_run_that_several_want_is_loaded_once(tmp_path: Path, unique_name: str) -> None:
    """Those who come while it loads wait for it, one that is cancelled breaks nothing, later ones get it at once."""
    gate = Gate(unique_name)
    wanted = local_model(tmp_path / "a", Gated(gate))
    async with running() as residents, anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as first:
            cancelled = await set_off(first, partial(residents.ensure, [wanted]))
            await gate.entered()
            first.cancel_scope.cancel()
        waiting = [await set_off(tasks, partial(residents.ensure, [wanted])) for _ in range(3)]
        gate.open()
        await residents.ensure([wanted])
        await anyio.wait_all_tasks_blocked()
        models = {id(results[0]["a"]) for results in waiting}
    assert (cancelled, len(models)) == ([], 1)
    assert gate.loads == 1


async def test_a_model_is_destroyed_when_the_last_hold_dies_off_the_event_loop(tmp_path: Path) -> None:
    """Across three generations; its bytes count until then, and its last hold may die on any thread."""
    runs = [local_model(tmp_path / f"run{number}", Thing(str(number)), size=1000) for number in range(4)]
    async with running() as residents:
        first = (await residents.ensure(runs[:1]))["run0"]
        hold = first.hold()
        unloaded = Unloaded(hold.loaded)
        for before, run in pairwise(runs):
            await residents.ensure([run])
            residents.keep([run.run_id], spare=[before.run_id])
        assert (hold.loaded.label, unloaded.happened) == ("0", False)
        assert residents.bytes_loaded >= 3000
        del hold
        await unloaded.wait()
        assert unloaded.thread not in (None, threading.get_ident(), threading.main_thread().ident)
        await anyio.to_thread.run_sync(first._gone.wait)
        assert first.is_gone
        assert 2000 <= residents.bytes_loaded < 3000
        with pytest.raises(ModelError, match="not loaded any more"):
            first.hold()


async def test_what_is_kept_stays_without_holds(tmp_path: Path) -> None:
    """And is destroyed once it is not kept; a rollback before that finds it as it was."""
    a, b = (local_model(tmp_path / name, Thing(name)) for name in "ab")
    async with running() as residents:
        resident = (await residents.ensure([a]))["a"]
        residents.keep(["a"])
        await residents.ensure([b])
        residents.keep(["b"], spare=["a"])
        assert (await residents.ensure([a]))["a"] is resident
        residents.keep(["a"], spare=["b"])
        residents.keep(["a"])
        assert [residents.is_loaded(run) for run in "ab"] == [True, False]
        assert residents.get("a").hold().loaded.label == "a"
        with pytest.raises(ModelError, match="not loaded"):
            residents.get("c")


async def test_a_model_in_a_cycle_is_destroyed_off_the_event_loop_too(tmp_path: Path) -> None:
    """The garbage collector runs for it where it was let go."""
    model = Thing("a")
    model.itself = model  # type: ignore[attr-defined]
    wanted = local_model(tmp_path / "a", model)
    async with running() as residents:
        unloaded = Unloaded((await residents.ensure([wanted]))["a"].hold().loaded)
        residents.keep([])
        await unloaded.wait()
    assert unloaded.thread != threading.get_ident()


async def test_a_load_that_failed_is_not_repeated_until_its_pause_is_over(tmp_path: Path) -> None:
    """The pause doubles; what was loaded stays, and the error has the reason of each run."""
    good, bad = local_model(tmp_path / "good", Thing("good")), local_model(tmp_path / "bad", Failing())
    async with running() as residents:
        clock = residents._clock
        residents.keep(await residents.ensure([good]))
        for pause in (60.0, 120.0, 240.0):
            with pytest.raises(LoadFailedError, match="made to fail") as caught:
                await residents.ensure([good, bad])
            assert set(caught.value.failures) == {"bad"}
            original = caught.value.failures["bad"]
            await clock.advance(pause - 1)
            with pytest.raises(LoadFailedError) as again:
                await residents.ensure([good, bad])
            assert again.value.failures["bad"] is original
            assert "made to fail" in residents.failures["bad"]
            await clock.advance(1)
        residents.forget_failure("bad")
        assert residents.failures == {}
        assert residents.get("good").hold().loaded.label == "good"


async def test_loading_that_hangs_is_left_to_itself(tmp_path: Path, unique_name: str) -> None:
    """After the time-out the run has failed, and is not tried again while its thread lives, whatever the pause."""
    gate = Gate(unique_name)
    wanted = local_model(tmp_path / "a", Gated(gate))
    async with running(load_timeout=10.0) as residents, anyio.create_task_group() as tasks:
        results = await set_off(tasks, partial(residents.ensure, [wanted]))
        await gate.entered()
        await residents._clock.advance(10.0)
        assert "took longer than 10 s" in str(results[0])
        await residents._clock.advance(60.0)
        with pytest.raises(LoadFailedError, match="has not ended"):
            await residents.ensure([wanted])
        gate.open()
        await threads_end()
        assert (await residents.ensure([wanted]))["a"].hold().loaded.label == "gated"
        assert gate.loads == 2


async def threads_end() -> None:
    """Wait until no thread loads."""
    for thread in threading.enumerate():
        if thread.name == "mlflow-utilities loading":
            await anyio.to_thread.run_sync(thread.join)


@pytest.mark.parametrize("name", ["warm_up", "check"])
async def test_a_model_that_is_refused_is_not_resident(tmp_path: Path, name: str) -> None:
    """By warming up or by the check, which run in the loading thread; it is destroyed there."""
    seen: list[tuple[int, Unloaded]] = []

    def refuse(model: Thing) -> None:
        seen.append((threading.get_ident(), Unloaded(model)))
        raise RuntimeError("not good enough")

    wanted = local_model(tmp_path / "a", Thing("a"))
    async with running(**{name: refuse}) as residents:
        with pytest.raises(LoadFailedError, match=f"{name} of .* failed: RuntimeError: not good enough"):
            await residents.ensure([wanted])
        assert residents.bytes_loaded == 0
    ((thread, unloaded),) = seen
    assert unloaded.thread == thread != threading.get_ident()


async def test_a_hundred_failing_loads_leave_nothing(tmp_path: Path) -> None:
    """Neither threads nor tasks nor models."""
    wanted = local_model(tmp_path / "a", Failing())
    good = local_model(tmp_path / "good", Thing("good"))
    async with running() as residents:
        residents.keep(await residents.ensure([good]))
        before: set[threading.Thread] = set()
        for number in range(100):
            with pytest.raises(LoadFailedError):
                await residents.ensure([good, wanted])
            residents.forget_failure("a")
            if number == 1:
                before = set(threading.enumerate())
        await threads_end()
        assert len(set(threading.enumerate()) - before) <= 1
        assert residents.get("good").hold().loaded.label == "good"
        assert (len(residents._loads), residents.bytes_loaded) == (0, residents.get("good").bytes)


async def test_a_load_that_a_newer_generation_does_not_need_is_given_up(tmp_path: Path) -> None:
    """Before it loads: who waits for it learns that, and nothing counts as failed."""
    server = ArtifactMemory()
    old, new = (server.add(name, FLAVORS, pickled(Thing(name))) for name in ("old", "new"))
    client = server.client(SteppedClock())
    async with running(client, cache_dir=tmp_path) as residents, anyio.create_task_group() as tasks:
        results = await set_off(tasks, partial(residents.ensure, [old], jitter=True))
        await residents.ensure([new], runs=["new"])
        await anyio.wait_all_tasks_blocked()
        assert "not wanted any more" in str(results[0])
        assert (residents.is_loaded("old"), dict(residents.failures)) == (False, {})
        assert server.asked["old/model.pkl"] == 0
        residents.keep(["new"])
        assert (await residents.ensure([old]))["old"].hold().loaded.label == "old"


async def test_a_load_that_is_not_needed_any_more_when_it_ends_is_destroyed(tmp_path: Path, unique_name: str) -> None:
    """A thread that loads cannot be stopped; what it brings is let go, or used when it is needed again by then."""
    gates = [Gate(unique_name + end) for end in ("1", "2")]
    runs = [local_model(tmp_path / f"run{number}", Gated(gate)) for number, gate in enumerate(gates)]
    async with running() as residents, anyio.create_task_group() as tasks:
        old = await set_off(tasks, partial(residents.ensure, runs[:1]))
        await gates[0].entered()
        new = await set_off(tasks, partial(residents.ensure, runs[1:], runs=["run1"]))
        await gates[1].entered()
        gates[0].open()
        await comes_true(lambda: old)
        unwanted = old[0]["run0"]
        await anyio.to_thread.run_sync(unwanted._gone.wait)
        back = await set_off(tasks, partial(residents.ensure, runs[:1], runs=["run0"]))
        again = await set_off(tasks, partial(residents.ensure, runs, runs=["run0", "run1"]))
        gates[1].open()
        await comes_true(lambda: new and back and again)
        assert new[0]["run1"] is again[0]["run1"]
        assert (gates[0].loads, gates[1].loads) == (2, 1)


@pytest.mark.parametrize(("models", "longest"), [(1, 2.0), (2, 4.0), (40, 30.0)])
async def test_downloads_of_a_generation_are_spread_when_another_one_serves(
    tmp_path: Path, models: int, longest: float
) -> None:
    """Over two seconds for each model, thirty at most; not at all at a cold start, nor for what is here already."""
    server, clock = ArtifactMemory(), FakeClock(chance=0.75)
    wanted = [server.add(f"r{number}", FLAVORS, pickled(Thing("a"))) for number in range(models + 1)]
    for cache in ("cold", "cold", "spread"):
        async with running(server.client(clock), cache_dir=tmp_path / cache) as residents:
            await residents.ensure(wanted[:1])
            await residents.ensure(wanted[1:], jitter=cache == "spread")
            if cache == "cold":
                assert all(pause <= 0.2 for pause in clock.slept)
    # Whoever clears the leftovers of dead downloads holds the lock of a living one for a moment.
    assert [pause for pause in clock.slept if pause > 0.2] == [0.75 * longest] * models


async def test_closing_gives_up_what_is_loaded_and_what_nobody_holds(tmp_path: Path, unique_name: str) -> None:
    """What is held stays until the hold dies; nothing can be loaded any more."""
    gate = Gate(unique_name)
    held, free = local_model(tmp_path / "held", Thing("held")), local_model(tmp_path / "free", Thing("free"))
    async with anyio.create_task_group() as tasks:
        async with running() as residents:
            found = await residents.ensure([held, free])
            hold, gone = found["held"].hold(), Unloaded(found["free"].hold().loaded)
            results = await set_off(tasks, partial(residents.ensure, [local_model(tmp_path / "late", Gated(gate))]))
            await gate.entered()
        await anyio.wait_all_tasks_blocked()
        assert isinstance(results[0], LoadFailedError)
        assert gone.happened
        assert hold.loaded.label == "held"
        unloaded = Unloaded(hold.loaded)
        gate.open()
        await threads_end()
        del hold
        await unloaded.wait()
        with pytest.raises(ClientStateError, match="for good"):
            await residents.ensure([free])


async def test_flavors_that_are_no_names_are_refused() -> None:
    """When the residents are made."""
    with pytest.raises(InvalidInputError, match="flavors"):
        async with running(flavors="sklearn"):
            pass
