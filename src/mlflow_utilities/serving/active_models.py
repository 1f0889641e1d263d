"""The models of a service: refreshed in the background, chosen for each request by its key."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

from mlflow_utilities._clock import Clock, SystemClock
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, NotReadyError
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.version import VersionLike
from mlflow_utilities.rollout.version_range import RangeLike
from mlflow_utilities.serving.forks import remember
from mlflow_utilities.serving.options import (
    CanaryOptions,
    Fallback,
    LoadingOptions,
    Start,
    check_client,
    check_fallback,
    check_seconds,
    following,
)
from mlflow_utilities.serving.pins import Pin, current_pin, pin
from mlflow_utilities.serving.predicting import PredictFunction, Predictor, predict_with
from mlflow_utilities.serving.routing import Snapshot
from mlflow_utilities.serving.running import Hooks, Running, enter
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.state import Watch
from mlflow_utilities.serving.telemetry import NoTelemetry, SafeTelemetry, Telemetry
from mlflow_utilities.serving.telling import Chosen, Teller
from mlflow_utilities.serving.values import (
    Change,
    Exposure,
    Health,
    Prediction,
    Reason,
    ServingStatus,
    Source,
)

__all__ = ["ActiveModels"]

_log = logging.getLogger("mlflow_utilities.serving")


class ActiveModels:
    """The Active models of one submodel inside a service; use it as an async context manager.

    Args: `client`, or a function that makes one (to serve after a fork), else one from the environment; the experiment
    and submodel as in `list_models`; `model_version`, a version that stays or a range that follows the operators;
    `canary_version`, whose canaries get copies (None: all; else those of the same range); `refresh_interval` seconds
    between polls; `start`: "cached" begins with the last-known-good file or `bootstrap` (a document or its path),
    "fresh" waits for MLflow, "none" for nothing; `start_timeout` seconds that entering waits; `cache_dir` for models
    and that file; `predict(loaded, data)`, sync or async; `fallback` when it raises: "previous", or a function of
    (error, data, key); functions `on_change`, `on_exposure`, `on_canary(primary, canary, key)`; `share_polling` between
    the processes of a host; `max_file_age` in seconds; `max_threads` for predictions; `drain_timeout` seconds for those
    under way when it ends; `loading`, `canary`, `telemetry`.

    Raises InvalidInputError for arguments that cannot be.
    """

    def __init__(
        self,
        client: AsyncMlflowClient | Callable[[], AsyncMlflowClient] | None = None,
        *,
        experiment_name: str | None = None,
        experiment_id: str | None = None,
        model_version: RangeLike,
        submodel_name: str | None = None,
        canary_version: RangeLike | Unset = UNSET,
        refresh_interval: float = 30.0,
        start: Start = "cached",
        start_timeout: float = 10.0,
        cache_dir: str | os.PathLike[str] | None = None,
        bootstrap: object = None,
        predict: PredictFunction | None = None,
        fallback: Fallback | None = None,
        on_change: Callable[[Change], Any] | Sequence[Callable[[Change], Any]] = (),
        on_exposure: Callable[[Exposure], Any] | None = None,
        on_canary: Callable[[Prediction[Any], Prediction[Any], str | None], Any] | None = None,
        share_polling: bool = False,
        max_file_age: float | None = None,
        max_threads: int | None = None,
        drain_timeout: float = 30.0,
        loading: LoadingOptions | None = None,
        canary: CanaryOptions | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        check_seconds(start_timeout, "start_timeout")
        check_seconds(drain_timeout, "drain_timeout")
        check_client(client)
        self._following = following(
            experiment_name=experiment_name,
            experiment_id=experiment_id,
            submodel_name=submodel_name,
            model_version=model_version,
            canary_version=canary_version,
            refresh_interval=refresh_interval,
            start=start,
            cache_dir=cache_dir,
            bootstrap=bootstrap,
            share_polling=share_polling,
            max_file_age=max_file_age,
        )
        self._client = client
        self._start_timeout = start_timeout
        self._drain_timeout = drain_timeout
        told = NoTelemetry() if telemetry is None else SafeTelemetry(telemetry)
        self._hooks = Hooks(
            on_change=on_change,
            on_exposure=on_exposure,
            on_canary=on_canary,
            telemetry=told,
            loading=LoadingOptions() if loading is None else loading,
            canary=CanaryOptions() if canary is None else canary,
            plain_predict=predict is None,
        )
        self._predictor = Predictor(
            predict or predict_with, fallback=check_fallback(fallback), telemetry=told, threads=max_threads
        )
        self._running: Running | None = None
        self._stack: AsyncExitStack | None = None
        self._snapshot: Snapshot | None = None
        self._teller: Teller | None = None
        self._clock: Clock = SystemClock()
        self._watch = Watch(
            self._following.interval, lambda: (self._snapshot, self._running, self._predictor.in_flight)
        )
        self._abandoned: tuple[Any, ...] = ()
        remember(self)

    def __repr__(self) -> str:
        names = self._following
        return f"ActiveModels({names.experiment!r}, {str(names.versions)!r}, {self.status().state})"

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise InvalidInputError("this ActiveModels is running already", hint="make one for each block")
        async with AsyncExitStack() as stack:
            await self._start(stack)
            if self._following.start != "none":
                with self._clock.time_limit(self._start_timeout):
                    await self._watch.wait_for(self._is_ready)
                if not self._is_ready():
                    _log.warning("%s", self._not_ready())
            self._stack = stack.pop_all()
        return self

    async def _start(self, stack: AsyncExitStack) -> None:
        self._predictor.reset()
        for parent in self._abandoned[:1]:
            parent.adopter.forget()  # what serves stays in memory until it is replaced
        self._running = running = await enter(
            stack, self._client, self._following, self._hooks, self._predictor, self._watch.changed, self._publish
        )
        stack.callback(self._ended)
        self._clock = running.client.clock
        if running.exposures is not None:
            self._teller = Teller(running.exposures.offer, self._clock.now_ms)
        running.adopter.inherit(self._snapshot)
        self._watch.begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is None:  # a forked child leaves a block that its parent entered
            return
        self._snapshot = None
        self._watch.close()
        try:
            if not await self._predictor.drain(self._drain_timeout, self._clock):
                _log.warning("%d predictions were still under way", self._predictor.in_flight)
        finally:
            await stack.aclose()  # not with the error: a task group would wrap it

    def _ended(self) -> None:
        self._running = self._snapshot = self._teller = None
        self._watch.end()

    def after_fork(self) -> None:
        """Decide from what is loaded, in a forked child, and share nothing with the parent; called by itself."""
        if self._running is not None:  # kept: ending them would end what the parent uses
            self._abandoned = (self._running, self._stack, self._teller)
        self._running = self._stack = self._teller = None
        self._predictor.reset()

    def _publish(self, snapshot: Snapshot) -> None:
        if not self._watch.closing:
            self._snapshot = snapshot

    def choose(self, key: str | None = None) -> ServedModel:
        """Return the model that answers a key, the same one until operators move its slot: in memory, about 1 us.

        `key`: what to route by, e.g. a user id; None: by chance. The model stays usable for as long as it is held.
        Raises NotReadyError (nothing is loaded; its cause says why), NoActiveModelError (the rollout has no Active run
        for it), InvalidInputError (the key is no text).
        """
        snapshot = self._snapshot
        if snapshot is None or key is None or self._teller is not None or current_pin(self) is not None:
            return self._route(key, tell=True).model
        return snapshot.choose(key)

    async def predict(self, data: Any, key: str | None = None) -> Prediction[Any]:
        """Return the answer of the model that `choose` names, and that model; canaries get copies.

        It computes in a worker thread, or on the event loop if `predict` is async; a cancelled caller leaves the thread
        to itself. Raises what the predict function raises (unless there is a `fallback`), and what `choose` raises.
        """
        running, snapshot, route = self._running, self._snapshot, self._route(key, tell=False)
        with self._predictor.counted():
            prediction = await self._predictor.answer(data, key, route, lambda: self._before(key), self._clock)
            if prediction.reason is not Reason.FALLBACK:
                self._tell(key, route)
            if running is not None and snapshot is not None:
                running.copy_to_canaries(snapshot, data, key, prediction)
            return prediction

    def _before(self, key: str | None) -> ServedModel | None:
        """Return the model that answered the key in the generation before, while that is loaded."""
        previous = self._running.adopter.previous if self._running else None
        return previous.route(key, int(self._clock.random() * TOTAL)).model if previous else None

    @asynccontextmanager
    async def lease(self, key: str | None = None) -> AsyncGenerator[ServedModel]:
        """Give the model of `choose` for the length of a block; leaving the service waits for it. Same errors."""
        with self._predictor.counted():
            yield self._route(key, tell=True).model

    def pin(self, run_id: str | None = None, *, version: VersionLike | None = None) -> AbstractContextManager[Pin]:
        """Let one run or version, Active or Canary, answer all inside a `with` block, in this task: for testers.

        Raises InvalidInputError unless one is given; a request raises NoActiveModelError when it is not served.
        """
        return pin(run_id, version=version, owner=self)

    async def refresh(self) -> ServingStatus:
        """Ask MLflow now, wait until the newest generation serves, and return the status.

        Raises what prevents that: API errors, ModelError, LedgerError; NotReadyError before entering.
        """
        if self._running is None:
            raise self._not_ready()
        await self._running.supervisor.refresh()
        return self.status()

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until requests can be answered, at most `timeout` seconds (None: for ever), then raise NotReadyError."""
        if self._running is None:
            raise self._not_ready()
        running = self._running
        if timeout is not None:
            check_seconds(timeout, "timeout")
        with running.client.clock.time_limit(timeout) if timeout is not None else nullcontext():
            await self._watch.wait_for(lambda: self._is_ready() or self._running is not running)
        if not self._is_ready():
            raise self._not_ready()

    def status(self) -> ServingStatus:
        """Return the whole state."""
        return self._watch.status()

    def health(self) -> Health:
        """Return whether requests can be answered, for a readiness probe."""
        return self._watch.health(self._is_ready())

    def _is_ready(self) -> bool:
        snapshot = self._snapshot
        if snapshot is None or not snapshot.models or self._watch.closing:
            return False
        return self._following.start != "fresh" or snapshot.source is Source.SERVER

    def _route(self, key: str | None, *, tell: bool) -> Chosen:
        snapshot = self._snapshot
        if snapshot is None or self._watch.closing:
            raise self._not_ready()
        pinned = current_pin(self)
        if pinned is not None:
            chosen = Chosen(snapshot.find(pinned.run_id, pinned.version), None, Reason.PINNED)
        else:
            route = snapshot.route(key, int(self._clock.random() * TOTAL))
            assert route.slot is not None
            chosen = Chosen(snapshot.at(route.slot), route.slot, route.reason)
        if tell:
            self._tell(key, chosen)
        return chosen

    def _tell(self, key: str | None, chosen: Chosen) -> None:
        if self._teller is not None:
            self._teller.tell(key, chosen)

    def _not_ready(self) -> NotReadyError:
        return self._watch.not_ready()
