"""Taking a generation into service: its models are loaded first, and only then does it answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.serving.facts import KnownRuns, UnusableRunsError, model_uri_of, served_model
from mlflow_utilities.serving.options import Following
from mlflow_utilities.serving.resident import Resident
from mlflow_utilities.serving.residents import LoadFailedError, Residents, Wanted
from mlflow_utilities.serving.routing import Snapshot
from mlflow_utilities.serving.selection import Selection, select
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Source

__all__ = ["Adopter", "Offer"]

_log = logging.getLogger("mlflow_utilities.serving")


@dataclass(frozen=True, slots=True)
class Offer:
    """A generation that could be served, where it is from, and what is known of its runs."""

    document: Document
    source: Source
    experiment_id: str
    submodel_name: str
    facts: Mapping[str, RunFacts] = field(default_factory=dict[str, RunFacts])
    locations: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Kept:
    """The generation before, and until when (monotonic seconds) it is kept for a rollback."""

    snapshot: Snapshot
    until: float


class Adopter:
    """Holds the snapshot that serves and the one before; `publish` is called with each new one."""

    def __init__(
        self,
        client: AsyncMlflowClient,
        following: Following,
        residents: Residents,
        *,
        publish: Callable[[Snapshot], None],
        adopted: Callable[[Offer], Awaitable[None]],
        rollback_window: float,
        jitter: bool,
    ) -> None:
        self.current: Snapshot | None = None
        self.pending: str | None = None
        self.offer: Offer | None = None
        self.locations: dict[str, str] = {}
        self._previous: Kept | None = None
        self._client = client
        self._following = following
        self._residents = residents
        self._known = KnownRuns()
        self._publish = publish
        self._adopted = adopted
        self._revoked: frozenset[str] = frozenset()
        self._window = rollback_window
        self._jitter = jitter

    @property
    def previous(self) -> Snapshot | None:
        """The snapshot before, while it is kept."""
        return self._previous.snapshot if self._previous else None

    def inherit(self, current: Snapshot | None) -> None:
        """Go on from a snapshot that serves already, as after a fork."""
        self.current = current

    async def adopt(self, offer: Offer) -> bool:
        """Serve what is offered, unless it is older than what serves or served already; return whether it changed.

        A revoked run stops at once. On failure, what serves goes on and `pending` says why.

        Raises:
            Exception: whatever prevents it; nothing else has changed.

        """
        self._expire()
        selection = select(offer.document, self._following.versions, self._following.canary_versions)
        current = self.current
        if current is not None and selection.generation < current.generation:
            self.pending = f"MLflow shows generation {selection.generation}, older than {current.generation}"
            return False
        if self._serves(offer, selection):
            self.pending = None
            return False
        if offer.source is Source.SERVER:
            self._revoked = selection.revoked
        self._stop_revoked()
        try:
            await self._switch(offer, selection)
        except Exception as error:
            self.pending = f"generation {selection.generation} cannot be served yet: {error}"
            raise
        self.pending = None
        return True

    def _serves(self, offer: Offer, selection: Selection) -> bool:
        serving = self.offer
        return (
            serving is not None
            and self.current is not None
            and (serving.document == offer.document or serving.document.op == offer.document.op)
            and serving.source is offer.source
            and not self._without(selection)
            and self._canaries_complete(selection)
        )

    def _without(self, selection: Selection) -> bool:
        """Whether a run of the current generation was taken out, for want of memory, say."""
        return self.current is not None and bool(self.current.without - selection.revoked)

    def _canaries_complete(self, selection: Selection) -> bool:
        missing = {entry.run for entry in selection.canaries} - set(self.current.canaries if self.current else ())
        return all(run in self._residents.failures for run in missing) if missing else True

    def _stop_revoked(self) -> None:
        current = self.current
        if current is not None and self._revoked.intersection(_runs(current)):
            self._set(current.without_runs(self._revoked))

    async def _switch(self, offer: Offer, selection: Selection) -> None:
        selection, facts = await self._look_up(offer, selection)
        seated = await self._residents.ensure(
            self._wanted(offer, facts, selection.actives),
            jitter=self._jitter and self.current is not None,
            runs=selection.runs,
        )
        ready = [entry for entry in selection.canaries if self._residents.is_loaded(entry.run)]
        seated.update(await self._residents.ensure(self._wanted(offer, facts, ready)))
        await self._adopted(self._seat(offer, selection, facts, seated))
        if len(ready) < len(selection.canaries):
            await self._add_canaries(offer, selection, facts, seated)

    async def _look_up(self, offer: Offer, selection: Selection) -> tuple[Selection, Mapping[str, RunFacts]]:
        """Read the runs that are not known yet; canaries that cannot be used are left out."""
        self._known.learn(offer.facts)
        try:
            return selection, await self._known.get(self._client, offer.experiment_id, selection.runs)
        except UnusableRunsError as error:
            if any(entry.run in error.failures for entry in selection.actives):
                raise
            _log.warning("canaries of generation %s: %s", selection.generation, error)
            usable = tuple(entry for entry in selection.canaries if entry.run not in error.failures)
            selection = replace(selection, canaries=usable)
            return selection, await self._known.get(self._client, offer.experiment_id, selection.runs)

    def _wanted(self, offer: Offer, facts: Mapping[str, RunFacts], entries: Sequence[LiveEntry]) -> list[Wanted]:
        return [
            Wanted(
                entry.run,
                model_uri_of(facts[entry.run]),
                offer.locations.get(entry.run) or self.locations.get(entry.run),
            )
            for entry in entries
        ]

    def _seat(
        self, offer: Offer, selection: Selection, facts: Mapping[str, RunFacts], seated: Mapping[str, Resident]
    ) -> Offer:
        def models(entries: Sequence[LiveEntry]) -> dict[str, ServedModel]:
            return {
                entry.run: served_model(
                    facts[entry.run], entry, selection.generation, seated[entry.run].hold(), self._client
                )
                for entry in entries
                if entry.run in seated
            }

        before = self.current
        snapshot = Snapshot(
            selection,
            models(selection.actives),
            models(selection.canaries),
            source=offer.source,
            submodel_name=offer.submodel_name,
            experiment_id=offer.experiment_id,
        )
        self.locations = {run: resident.location for run, resident in seated.items()}
        self.offer = replace(offer, facts={run: facts[run] for run in seated}, locations=self.locations)
        if before is not None and before.generation != snapshot.generation and before.models:
            self._previous = Kept(before, self._client.clock.monotonic() + self._window)
        self._set(snapshot.without_runs(self._revoked))
        return self.offer

    async def _add_canaries(
        self, offer: Offer, selection: Selection, facts: Mapping[str, RunFacts], seated: dict[str, Resident]
    ) -> None:
        """Load the canaries one by one: none of them keeps anything from being served."""

        async def load(entry: LiveEntry) -> None:
            try:
                seated.update(await self._residents.ensure(self._wanted(offer, facts, [entry]), jitter=self._jitter))
            except LoadFailedError as error:
                _log.warning("canary %s of generation %s: %s", entry.run, selection.generation, error)

        before = len(seated)
        async with anyio.create_task_group() as tasks:
            for entry in selection.canaries:
                if entry.run not in seated:
                    tasks.start_soon(load, entry)
        if len(seated) > before:
            self._seat(offer, selection, facts, seated)

    def take_out(self, run_ids: Sequence[str]) -> None:
        """Stop serving runs whose memory is needed: their requests have no answer until the next generation serves."""
        if self.current is not None:
            self._set(self.current.without_runs(frozenset(run_ids)))
        if self._previous is not None and set(_runs(self._previous.snapshot)).intersection(run_ids):
            self._previous = None

    def _expire(self) -> None:
        if self._previous is not None and self._client.clock.monotonic() >= self._previous.until:
            self._previous = None
            self._keep()

    def _set(self, snapshot: Snapshot) -> None:
        self.current = snapshot
        self._keep()
        self._publish(snapshot)

    def _keep(self) -> None:
        current = _runs(self.current) if self.current else ()
        spare = _runs(self._previous.snapshot) if self._previous else ()
        self._residents.keep(current, spare=[run for run in spare if run not in current])


def _runs(snapshot: Snapshot) -> tuple[str, ...]:
    return (*snapshot.models, *snapshot.canaries)
