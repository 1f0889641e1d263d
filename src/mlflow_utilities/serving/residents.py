"""The models in memory: loaded once each, within a budget, kept while they are needed, destroyed off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import ClientStateError, ModelError
from mlflow_utilities.models.cache import MAX_BYTES, ModelCache
from mlflow_utilities.models.code_paths import ModuleClashError
from mlflow_utilities.serving import unloading
from mlflow_utilities.serving.attempt import forget_frames, until
from mlflow_utilities.serving.budget import Budget
from mlflow_utilities.serving.failures import Failures
from mlflow_utilities.serving.loader import Loader, Wanted
from mlflow_utilities.serving.loads import Load, LoadFailedError
from mlflow_utilities.serving.options import Policy
from mlflow_utilities.serving.resident import Resident
from mlflow_utilities.serving.roster import Roster

__all__ = ["LoadFailedError", "Residents", "Wanted"]

_LONGEST_SPREAD = 30.0
_SPREAD = 2.0
_LONGEST_END = 30.0


class Residents:
    """The models of one service in memory.

    Args: `flavors` that may be used (None: all); `memory_budget` in bytes (None: no limit), of which a model counts
    `memory_factor` times its files; `policy`, see `LoadingOptions`; `load_timeout` in seconds for loading, `warm_up`
    and `check` of one model, which are called with the object in a thread and raise to refuse it; `check_digests`
    reads the files again before each load; `trial` loads in a child process first; `max_bytes` of the cache on disk;
    `on_unload` is called with the runs that have to go to make room, before they do.

    Raises InvalidInputError for `flavors` or `max_bytes` that cannot be.
    """

    def __init__(
        self,
        client: AsyncMlflowClient,
        *,
        cache_dir: str | Path | None = None,
        flavors: Collection[str] | None = None,
        memory_budget: int | None = None,
        memory_factor: float = 1.0,
        policy: Policy = "availability_preserving",
        load_timeout: float = 600.0,
        check_digests: bool = False,
        warm_up: Callable[[Any], Any] | None = None,
        check: Callable[[Any], None] | None = None,
        trial: bool = False,
        max_bytes: int = MAX_BYTES,
        on_unload: Callable[[tuple[str, ...]], None] | None = None,
    ) -> None:
        hooks = {name: hook for name, hook in (("warm_up", warm_up), ("check", check)) if hook is not None}
        self._clock = client.clock
        self._loader = Loader(
            client,
            ModelCache(client, cache_dir, max_bytes),
            flavors=flavors,
            timeout=load_timeout,
            check_digests=check_digests,
            trial=trial,
            hooks=hooks,
        )
        self._budget = Budget(memory_budget, memory_factor, policy)
        self._timeout = load_timeout
        self._on_unload = on_unload
        self._failures = Failures()
        self._roster = Roster()
        self._loads: dict[str, Load] = {}
        self._room = anyio.Lock()
        self._running = anyio.Event()
        self._closed = False

    async def run(self) -> None:
        """Load what `ensure` asks for, until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._running.set()
                try:
                    await anyio.sleep_forever()
                finally:
                    self._running = anyio.Event()
        finally:
            for load in self._loads.values():  # those whose task was cancelled before it began
                load.done.set()
            self._loads.clear()

    async def ensure(
        self, wanted: Sequence[Wanted], *, jitter: bool = False, runs: Collection[str] | None = None
    ) -> dict[str, Resident]:
        """Return the models in memory, by run id, loaded if need be; a run that loads already is waited for.

        They stay until the next `keep`. Args: `jitter` spreads downloads over up to 2 s for each model, at most 30 s;
        `runs`, all that the newest generation needs (None: these as well as before): loads of others are given up.

        Raises LoadFailedError (of a run that failed: at once, until its pause is over), ClientStateError after closing.
        """
        self._check_open()
        items = {item.run_id: item for item in wanted}
        if runs is not None:
            self._roster.need_only({*runs, *items})
            self._give_up({*runs, *items})
        self._roster.need(items)
        missing = self._missing(items.values())
        _raise({item.run_id: error for item in missing if (error := self._refusal(item.run_id))})
        if missing:
            await self._begin(missing, jitter)
        loads = {run_id: self._loads.get(run_id) for run_id in items}
        found = {run_id: await self._outcome(run_id, load) for run_id, load in loads.items()}
        _raise({run_id: result for run_id, result in found.items() if isinstance(result, Exception)})
        self._roster.deliver(items)
        return {run_id: result for run_id, result in found.items() if isinstance(result, Resident)}

    def _check_open(self) -> None:
        if self._closed:
            raise ClientStateError("the models of this service were unloaded for good")

    def _missing(self, wanted: Iterable[Wanted]) -> list[Wanted]:
        return [item for item in wanted if item.run_id not in self._loads and self._roster.find(item.run_id) is None]

    def _refusal(self, run_id: str) -> Exception | None:
        blocking = self._failures.blocking(run_id, self._clock.monotonic())
        if blocking is None and self._loader.hangs(run_id):
            return ModelError(f"the thread that loaded run {run_id} before has not ended")
        return blocking

    async def _outcome(self, run_id: str, load: Load | None) -> Resident | Exception:
        if load is None:
            return self._roster.find(run_id) or ModelError(f"run {run_id} was unloaded while others were loaded")
        await load.done.wait()
        return load.result

    async def _begin(self, wanted: Sequence[Wanted], jitter: bool) -> None:
        """Start loading what is still missing, once there is room for all of it."""
        async with self._room:
            missing = self._missing(wanted)
            if not missing:
                return
            costs = await self._costs(missing)
            await self._make_room(missing, sum(costs.values()))
            while not self._running.is_set():  # it may have stopped meanwhile
                await self._running.wait()
            self._check_open()
            delay = min(_LONGEST_SPREAD, _SPREAD * len(missing)) * self._clock.random() if jitter else 0.0
            for item in missing:
                load = self._loads[item.run_id] = Load(item, costs[item.run_id], delay)
                self._tasks.start_soon(self._load, load)

    async def _costs(self, wanted: Sequence[Wanted]) -> dict[str, int]:
        if self._budget.limit is None:
            return dict.fromkeys((item.run_id for item in wanted), 0)
        costs: dict[str, int] = {}
        for item in wanted:
            try:
                costs[item.run_id] = self._budget.cost(await self._loader.measure(item))
            except Exception as error:
                self._failures.remember(item.run_id, forget_frames(error), self._clock.monotonic())
                _raise({item.run_id: error})
        return costs

    async def _make_room(self, wanted: Sequence[Wanted], needed: int) -> None:
        try:
            loading = {run_id: load.cost for run_id, load in self._loads.items()}
            taken = self._roster.costs(self._budget)
            taken.update({run_id: taken.get(run_id, 0) + cost for run_id, cost in loading.items()})
            going = self._budget.room_for(needed, taken, **self._roster.replaceable())
            await self._unload(going)
        except ModelError as error:
            for item in wanted:
                self._failures.refuse(item.run_id, error, self._clock.monotonic())
            _raise(dict.fromkeys((item.run_id for item in wanted), error))

    async def _unload(self, going: Collection[str]) -> None:
        """Destroy models, as soon as nobody uses them; `on_unload` sees to it that nobody begins to."""
        if not going:
            return
        named = self._roster.dismiss(going)
        if named and self._on_unload is not None:
            self._on_unload(named)
        leaving = self._roster.end(going)
        with self._clock.time_limit(self._timeout):
            for each in leaving:
                await until(each.when_gone)
            return
        used = ", ".join(each.run_id for each in leaving if not each.is_gone)
        raise ModelError(f"memory is needed, and the models of {used} are still used after {self._timeout:g} s")

    async def _load(self, load: Load) -> None:
        run_id = load.wanted.run_id
        try:
            with load.whole:
                await self._carry_out(load)
        except Exception as error:
            load.result = forget_frames(error)
            self._failures.remember(run_id, error, self._clock.monotonic())
        finally:
            self._loads.pop(run_id, None)
            load.done.set()

    async def _carry_out(self, load: Load) -> None:
        files = None
        with load.waiting:
            if load.delay and not await self._loader.is_cached(load.wanted):
                await self._clock.sleep(load.delay)
            files = await self._loader.fetch(load.wanted)
        if files is None:
            return
        try:
            resident = await self._loader.load(files)
        except ModuleClashError as error:
            resident = await self._load_instead(load.wanted, error)
        load.result = resident
        self._roster.add(resident)
        self._failures.forget(load.wanted.run_id)

    async def _load_instead(self, wanted: Wanted, clash: ModuleClashError) -> Resident:
        """Load after those whose modules clash were unloaded, if they may be."""
        serving = self._budget.policy == "resource_preserving"
        going = [] if clash.other is None else self._roster.with_modules(serving=serving)
        if not going:
            raise clash
        await self._unload(going)
        return await self._loader.load(await self._loader.fetch(wanted))

    def is_loaded(self, run_id: str) -> bool:
        """Return whether a run is in memory, and stays there for now."""
        return self._roster.is_staying(run_id)

    def get(self, run_id: str) -> Resident:
        """Return a run that is loaded; it stays until the next `keep`. Raises ModelError for others."""
        found = self._roster.find(run_id)
        if found is None:
            raise ModelError(f"run {run_id} is not loaded")
        return found

    def keep(self, run_ids: Iterable[str], spare: Iterable[str] = ()) -> None:
        """Say which runs stay loaded: those that serve, and those for a rollback (`spare`), the most important first.

        Others, but those that an unfinished `ensure` needs, are unloaded when their last hold dies. Spare ones go
        when there is no room for others.
        """
        self._roster.keep(run_ids, spare)

    def _give_up(self, needed: Collection[str]) -> None:
        """Stop loading others."""
        for run_id, load in self._loads.items():
            if run_id not in needed:
                load.waiting.cancel()

    def forget_failure(self, run_id: str) -> None:
        """Let the next `ensure` try a run at once."""
        self._failures.forget(run_id)

    @property
    def failures(self) -> Mapping[str, str]:
        """Why runs that are needed could not be loaded, by run id."""
        return self._failures.reasons(self._roster.wanted)

    @property
    def bytes_loaded(self) -> int:
        """The size of the files of all models that are in memory."""
        return self._roster.bytes

    def let_go(self) -> None:
        """Keep nothing any more, without waiting: what nobody holds is destroyed."""
        self._roster.clear()

    async def aclose(self) -> None:
        """Give up what is being loaded, and destroy what nobody holds; the rest follows when its last hold dies."""
        self._closed = True
        loads = list(self._loads.values())
        for load in loads:
            load.whole.cancel()
        self._roster.clear()
        for load in loads:
            await load.done.wait()
        if self._roster:
            with self._clock.time_limit(_LONGEST_END):
                await until(unloading.later)


def _raise(failures: Mapping[str, Exception]) -> None:
    if failures:
        raise LoadFailedError(failures) from next(iter(failures.values()))
