"""The parts of a started service, put together."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.models.cache import default_cache_dir
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.serving.adopting import Adopter
from mlflow_utilities.serving.dispatch import Dispatcher
from mlflow_utilities.serving.mirroring import Mirror
from mlflow_utilities.serving.offers import Offer
from mlflow_utilities.serving.options import CanaryOptions, Following, LoadingOptions, check_callable, check_kind
from mlflow_utilities.serving.predicting import Predictor, check_predicts
from mlflow_utilities.serving.residents import Residents
from mlflow_utilities.serving.routing import Snapshot
from mlflow_utilities.serving.storing import Storage
from mlflow_utilities.serving.supervisor import Supervisor
from mlflow_utilities.serving.telemetry import Telemetry
from mlflow_utilities.serving.values import Change, Exposure, Prediction, Source

__all__ = ["Hooks", "Running", "enter"]

_EVENTS = 10_000
_HANDLER_TIMEOUT = 30.0
_FLUSH = 5.0

E = TypeVar("E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the owner of a service wants to be called, and how models are to be treated."""

    on_change: Callable[[Change], Any] | Sequence[Callable[[Change], Any]]
    on_exposure: Callable[[Exposure], Any] | None
    on_canary: Callable[[Prediction[Any], Prediction[Any], str | None], Any] | None
    telemetry: Telemetry
    loading: LoadingOptions
    canary: CanaryOptions
    plain_predict: bool

    def __post_init__(self) -> None:
        for listener in self.listeners:
            check_callable(listener, "on_change")
        check_callable(self.on_exposure, "on_exposure")
        check_callable(self.on_canary, "on_canary")
        check_kind(self.loading, LoadingOptions, "loading")
        check_kind(self.canary, CanaryOptions, "canary")

    @property
    def listeners(self) -> tuple[Callable[[Change], Any], ...]:
        """The functions that are told of changes."""
        given = self.on_change
        if isinstance(given, list | tuple):
            return tuple(cast("Sequence[Callable[[Change], Any]]", given))
        return (cast("Callable[[Change], Any]", given),)


@dataclass(frozen=True, slots=True)
class Running:
    """What exists between entering and leaving an ActiveModels."""

    client: AsyncMlflowClient
    following: Following
    telemetry: Telemetry
    residents: Residents
    adopter: Adopter
    supervisor: Supervisor
    mirror: Mirror
    listeners: tuple[Dispatcher[Change], ...]
    exposures: Dispatcher[Exposure] | None

    @property
    def dispatchers(self) -> tuple[Dispatcher[Any], ...]:
        """All that tells events."""
        return (*self.listeners, *((self.exposures,) if self.exposures else ()))

    @property
    def name(self) -> str:
        """What is served, for messages."""
        return self.following.name

    @property
    def age(self) -> float | None:
        """Seconds since MLflow was asked with success, None before that."""
        feed = self.supervisor.feed
        if feed is None or feed.last_success is None:
            return None
        return self.client.clock.monotonic() - feed.last_success

    @property
    def polls(self) -> int:
        """How many polls ended."""
        return self.supervisor.feed.polls if self.supervisor.feed is not None else 0

    @property
    def poll_hint(self) -> float | None:
        """Seconds between polls as the rollout itself wishes, if it does."""
        offer = self.adopter.offer
        return None if offer is None or offer.document.poll is None else float(offer.document.poll)

    def report(self) -> dict[str, Any]:
        """Return what a status shows of the parts."""
        feed, previous = self.supervisor.feed, self.adopter.previous
        wait = None if feed is None or feed.next_poll is None else feed.next_poll - self.client.clock.monotonic()
        return {
            "seen": self.supervisor.seen,
            "pending": self.adopter.pending,
            "previous": previous.generation if previous else None,
            "next_poll": None if wait is None else max(wait, 0.0),
            "failures": dict(self.residents.failures),
            "canaries": dict(self.mirror.counts),
            "bytes_loaded": self.residents.bytes_loaded,
            "events_dropped": sum(each.dropped for each in self.dispatchers),
            "events_failed": sum(each.failed for each in self.dispatchers),
        }

    def copy_to_canaries(self, snapshot: Snapshot, data: Any, key: str | None, prediction: Prediction[Any]) -> None:
        """Give the canaries that the key's share names a copy; costs no time when there are none."""
        if snapshot.canaries:
            canaries = snapshot.mirrors(key, int(self.client.clock.random() * TOTAL))
            if canaries:
                self.mirror.offer(data, key, prediction, canaries)


async def enter(
    stack: AsyncExitStack,
    client: AsyncMlflowClient | Callable[[], AsyncMlflowClient] | None,
    following: Following,
    hooks: Hooks,
    predictor: Predictor,
    changed: Callable[[], None],
    publish: Callable[[Snapshot], None],
) -> Running:
    """Put the parts together and start the background; leaving `stack` ends it."""
    if not isinstance(client, AsyncMlflowClient):
        client = _made(client)
        stack.push_async_callback(client.aclose)  # first: entering it may be cancelled
        await client.__aenter__()
    directory = following.cache_dir or default_cache_dir(os.environ)
    storage = Storage(client, following, directory / "serving", max_age=following.max_file_age)
    residents = _residents(client, following, hooks, lambda run_ids: adopter.take_out(run_ids))
    stack.push_async_callback(residents.aclose)

    async def adopted(offer: Offer) -> None:
        hooks.telemetry.adopted(offer.document.generation)
        if offer.source is Source.SERVER or offer.revoked:
            await storage.write(offer)

    def published(snapshot: Snapshot) -> None:
        publish(snapshot)
        mirror.forget(snapshot.canaries)
        changed()

    adopter = Adopter(
        client,
        following,
        residents,
        publish=published,
        adopted=adopted,
        rollback_window=hooks.loading.rollback_window,
        jitter=hooks.loading.jitter,
    )
    supervisor = Supervisor(
        client,
        following,
        adopter,
        storage,
        share_dir=directory / "serving" if following.share_polling else None,
        telemetry=hooks.telemetry,
        changed=changed,
    )
    mirror = _mirror(client, hooks, predictor)
    running = Running(
        client=client,
        following=following,
        telemetry=hooks.telemetry,
        residents=residents,
        adopter=adopter,
        supervisor=supervisor,
        mirror=mirror,
        listeners=tuple(_dispatcher(handler, client) for handler in hooks.listeners),
        exposures=_dispatcher(hooks.on_exposure, client) if hooks.on_exposure else None,
    )
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)
    for work in (residents.run, supervisor.run, mirror.run, *(each.run for each in running.dispatchers)):
        tasks.start_soon(work)
    stack.push_async_callback(_flush, running.dispatchers)
    return running


async def _flush(dispatchers: Sequence[Dispatcher[Any]]) -> None:
    """Let events that wait be told before the background ends."""
    async with anyio.create_task_group() as tasks:
        for each in dispatchers:
            tasks.start_soon(each.drain, _FLUSH)


def _made(client: Callable[[], AsyncMlflowClient] | None) -> AsyncMlflowClient:
    made = AsyncMlflowClient() if client is None else client()
    if not isinstance(made, AsyncMlflowClient):  # pyright: ignore[reportUnnecessaryIsInstance]
        if inspect.iscoroutine(made):
            made.close()
        raise InvalidInputError(
            f"the function that makes the client returned a {type(made).__name__}",
            hint="give a function, not an async one, that returns an AsyncMlflowClient",
        )
    return made


def _residents(
    client: AsyncMlflowClient,
    following: Following,
    hooks: Hooks,
    on_unload: Callable[[tuple[str, ...]], None],
) -> Residents:
    options = hooks.loading
    return Residents(
        client,
        cache_dir=following.cache_dir,
        flavors=options.flavors,
        memory_budget=options.memory_budget,
        memory_factor=options.memory_factor,
        policy=options.policy,
        load_timeout=options.timeout,
        check_digests=options.check_digests,
        warm_up=options.warm_up,
        check=check_predicts if hooks.plain_predict else None,
        trial=options.trial,
        max_bytes=options.cache_bytes,
        on_unload=on_unload,
    )


def _dispatcher(handler: Callable[[E], Any], client: AsyncMlflowClient) -> Dispatcher[E]:
    return Dispatcher(handler, limit=_EVENTS, clock=client.clock, timeout=_HANDLER_TIMEOUT)


def _mirror(client: AsyncMlflowClient, hooks: Hooks, predictor: Predictor) -> Mirror:
    options = hooks.canary
    return Mirror(
        predictor.function,
        on_canary=hooks.on_canary,
        timeout=options.timeout,
        concurrency=options.concurrency,
        queue_size=options.queue_size,
        copy=options.copy,
        clock=client.clock,
        telemetry=hooks.telemetry,
    )
