"""What goes on in the background of a service: finding the ledger, following it, taking generations into service."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import NotReadyError
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.experiments import find_ledger
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.reader import Ledger
from mlflow_utilities.serving.adopting import Adopter
from mlflow_utilities.serving.feed import Feed, feed_of, locate
from mlflow_utilities.serving.legacy import legacy_document
from mlflow_utilities.serving.offers import Offer
from mlflow_utilities.serving.options import Following
from mlflow_utilities.serving.precedence import why_behind
from mlflow_utilities.serving.reports import describe
from mlflow_utilities.serving.storing import Storage
from mlflow_utilities.serving.telemetry import Telemetry
from mlflow_utilities.serving.values import PollError, Source

__all__ = ["Supervisor"]

_log = logging.getLogger("mlflow_utilities.serving")
_NOTHING = Document(generation=0, parent=0, op="", verb="", who="", why="", at="", salt="00000000", live={})


class Supervisor:
    """Runs the background of one ActiveModels; nothing that fails here ends it.

    `changed` is called whenever something may have changed that a status shows.
    """

    def __init__(
        self,
        client: AsyncMlflowClient,
        following: Following,
        adopter: Adopter,
        storage: Storage,
        *,
        share_dir: Path | None,
        telemetry: Telemetry,
        changed: Callable[[], None],
    ) -> None:
        self.feed: Feed | None = None
        self.cause: BaseException | None = None
        self.seen: int | None = None
        self._error: PollError | None = None
        self._exception: Exception | None = None
        self._client = client
        self._following = following
        self._adopter = adopter
        self._storage = storage
        self._share_dir = share_dir
        self._telemetry = telemetry
        self._changed = changed
        self._ledger: Ledger | None = None
        self._found = anyio.Event()
        self._live = False
        self._offer: Offer | None = None
        self._poked = anyio.Event()
        self._adopting: anyio.CancelScope | None = None
        self._begun = 0
        self._finished = 0
        self._settled = anyio.Event()
        self._over = False
        self._remembered: Offer | None = None
        self._warned: set[str] = set()
        self._lost: PollError | None = None

    @property
    def problem(self) -> str | None:
        """Why neither the last-known-good file nor the bootstrap document could be used, if one was there."""
        return self._storage.problem

    @property
    def last_error(self) -> PollError | None:
        """Why MLflow could not be asked, as of the latest attempt; None when it could."""
        return (self.feed.last_error or self._lost) if self.feed is not None else self._error

    @property
    def exception(self) -> BaseException | None:
        """What keeps the newest generation from being served, or MLflow from being asked."""
        return self.cause or (self.feed and self.feed.exception) or self._exception

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await self._run()
        finally:
            self._over = True
            self._settled.set()

    async def _run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._adopt_for_ever)
            if self._following.start != "fresh":
                tasks.start_soon(self._remember)
            async with anyio.create_task_group() as finding:
                finding.start_soon(self._find)
                await self._found.wait()
                finding.cancel_scope.cancel()
            assert self._ledger is not None
            await self._follow(self._ledger, tasks)

    async def refresh(self) -> None:
        """Ask MLflow now and wait until what it shows is served, or cannot be.

        Raises:
            Exception: what the request met, or what prevents that the generation is served.

        """
        if self.feed is None:
            names = self._following
            found = await find_ledger(self._client, names.experiment_id, names.experiment_name, names.submodel_name)
            self._take(found)
            self.feed = self._feed_of(found)
        await self.feed.refresh()
        await self._propose_latest(self.feed)
        wanted = self._begun + 1  # not the attempt that is under way: it may have begun before something was repaired
        self._poke()
        while self._finished < wanted:
            if self._over:
                raise NotReadyError("this ActiveModels ended while it was refreshed", hint="use it inside `async with`")
            await self._settled.wait()
        if self.cause is not None:
            raise self.cause

    async def _remember(self) -> None:
        self._remembered = offer = await self._storage.read()
        if offer is not None and not self._live:
            self._propose(offer)
        self._poke()  # what MLflow showed meanwhile may not have been usable

    async def _find(self) -> None:
        names = self._following
        self._take(
            await locate(
                self._client,
                names.experiment_id,
                names.experiment_name,
                names.submodel_name,
                on_error=self._not_found,
                interval=names.interval,
            )
        )

    def _not_found(self, report: PollError, error: Exception) -> None:
        self._error, self._exception = report, error
        self._poke()
        self._changed()

    def _take(self, ledger: Ledger) -> None:
        if self._ledger is None:
            self._ledger = ledger
            self._found.set()

    def _feed_of(self, ledger: Ledger) -> Feed:
        return feed_of(self._client, ledger, share_dir=self._share_dir)

    async def _follow(self, ledger: Ledger, tasks: TaskGroup) -> None:
        if self.feed is None:
            self.feed = self._feed_of(ledger)
        with self.feed.subscribe(self._following.interval):
            tasks.start_soon(self.feed.drive)
            seen = self.feed.polls
            while True:
                try:
                    await self._propose_latest(self.feed)
                    self._lost = self._exception = None
                except Exception as error:
                    self._warn(f"cannot follow {self._following.name}: {error}")
                    self._lost, self._exception = describe(error, self._client.clock.now_ms()), error
                self._poke()
                self._changed()
                seen = await self.feed.wait(seen)
                met = self.feed.last_error
                self._telemetry.poll("ok" if met is None else met.kind, self.feed.took)

    async def _propose_latest(self, feed: Feed) -> None:
        latest, ledger = feed.latest, self._ledger
        if latest is None or ledger is None:
            return
        document, facts = latest.document, dict[str, RunFacts]()
        if document is None:
            document, facts = await legacy_document(self._client, ledger) or (_NOTHING, facts)
        self.seen = document.generation
        self._live = True
        before = self._offer
        if before is None or before.source is not Source.SERVER or before.document != document:
            self._propose(Offer(document, Source.SERVER, ledger.experiment.experiment_id, ledger.submodel, facts))

    def _propose(self, offer: Offer) -> None:
        before, self._offer = self._offer, offer
        if before is not None and before.document != offer.document and self._adopting is not None:
            self._adopting.cancel()
        self._poke()

    def _poke(self) -> None:
        self._poked.set()

    async def _adopt_for_ever(self) -> None:
        while True:
            await self._poked.wait()
            self._poked = anyio.Event()
            offer = self._offer
            if offer is None:
                continue
            self._begun += 1
            with anyio.CancelScope() as self._adopting:
                await self._adopt(offer)
                self._finished = self._begun
            self._adopting = None
            self._settled.set()
            self._settled = anyio.Event()
            self._changed()

    async def _adopt(self, offer: Offer) -> None:
        older = self._remembered
        if older is not None and self._is_behind(offer, older):
            await self._try(self._adopter.adopt, older)
        try:
            if await self._adopter.adopt(offer):
                self._warned.clear()
            self.cause = None
        except Exception as error:
            self._warn(f"generation {offer.document.generation} of {self._following.name}: {error}")
            self.cause = error
            await self._fall_back(offer)

    def _is_behind(self, offer: Offer, remembered: Offer) -> bool:
        """Whether a generation that was served once is newer than what MLflow shows, and than what serves."""
        known, current = remembered.document, self._adopter.current
        behind = why_behind(offer.document, known.generation, known.salt) is not None
        return behind and (current is None or current.generation < known.generation)

    async def _fall_back(self, failed: Offer) -> None:
        """Serve what was served before rather than nothing: what the file has, or what had to be unloaded."""
        adopter, older = self._adopter, self._remembered
        pending = adopter.pending
        if adopter.current is not None:
            await self._try(adopter.restore)
        elif older is not None and older is not failed:
            await self._try(adopter.adopt, older)
        adopter.pending = pending

    async def _try(self, work: Callable[..., Awaitable[object]], *args: Offer) -> None:
        try:
            await work(*args)
        except Exception as error:
            self._warn(f"what {self._following.name} served before: {error}")

    def _warn(self, text: str) -> None:
        """Log what was not logged since a generation was taken into service."""
        if text not in self._warned:
            self._warned.add(text)
            _log.warning("%s", text)
