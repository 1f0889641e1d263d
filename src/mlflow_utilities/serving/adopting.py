"""Taking a generation into service: its models are loaded first, and only then does it answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import MlflowUtilitiesError
from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.serving.facts import KnownRuns, UnusableRunsError, model_uri_of, served_model
from mlflow_utilities.serving.offers import Kept, Offer
from mlflow_utilities.serving.options import Following
from mlflow_utilities.serving.precedence import why_behind
from mlflow_utilities.serving.resident import Resident
from mlflow_utilities.serving.residents import LoadFailedError, Residents, Wanted
from mlflow_utilities.serving.routing import Snapshot
from mlflow_utilities.serving.selection import Selection, select
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Source

__all__ = ["Adopter"]

_log = logging.getLogger("mlflow_utilities.serving")


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
        self._unusable: frozenset[str] = frozenset()
        self._warned: set[str] = set()
        self._window = rollback_window
        self._jitter = jitter

    @property
    def previous(self) -> Snapshot | None:
        """The snapshot before, while it is kept."""
        return self._previous.snapshot if self._previous else None

    def forget(self) -> None:
        """Let go of all generations: a forked child begins anew."""
        self.current = self.offer = self._previous = None
        self._residents.let_go()

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
        behind, failed = self._why_behind(offer.document), f"generation {selection.generation} cannot be served yet"
        if behind or self._serves(offer):
            self.pending = behind
            if not behind:
                await self._add_canaries(offer, selection)
            return False
        self._revoked = selection.revoked if offer.source is Source.SERVER else self._revoked | offer.revoked
        await self._stop_revoked()
        if not (self.pending or "").startswith(failed):
            self.pending = f"generation {selection.generation} is being loaded"
        try:
            await self._switch(offer, selection)
        except Exception as error:
            self.pending = f"{failed}: {error}"
            raise
        return True

    # What waits here holds no snapshot: its models could not be unloaded to make room for what is loaded.
    def _why_behind(self, shown: Document) -> str | None:
        current = self.current
        return None if current is None else why_behind(shown, current.generation, current.salt)

    def _serves(self, offer: Offer) -> bool:
        serving = self.offer
        return (
            serving is not None
            and self.current is not None
            and serving.document == offer.document
            and serving.source is offer.source
            and not self._is_short()
        )

    def _is_short(self) -> bool:
        """Whether a run of the current generation was taken out although it is not revoked: for want of memory."""
        return self.current is not None and bool(self.current.without - self._revoked)

    async def restore(self) -> None:
        """Load again what was taken out of the current generation for one that could not be loaded then."""
        if self.offer is not None and self._is_short():
            document = self.offer.document
            await self._switch(self.offer, select(document, self._following.versions, self._following.canary_versions))

    async def _stop_revoked(self) -> None:
        kept, current = self._previous, self.current
        if kept is not None:
            self._previous = replace(kept, snapshot=kept.snapshot.without_runs(self._revoked))
            self._keep()
        if current is not None and self._revoked.intersection(_runs(current)):
            self._set(current.without_runs(self._revoked))
            if self.offer is not None:  # a service that starts anew before its successor could be loaded leaves it out
                await self._adopted(replace(self.offer, revoked=self._revoked))

    async def _switch(self, offer: Offer, selection: Selection) -> None:
        actives = [entry for entry in selection.actives if entry.run not in self._revoked]
        canaries = [entry for entry in selection.canaries if entry.run not in self._revoked]
        facts = await self._look_up(offer, actives, canaries)
        seated = await self._residents.ensure(
            self._wanted(offer, facts, actives),
            jitter=self._jitter and self.current is not None,
            runs=[entry.run for entry in (*actives, *canaries)],
        )
        ready = [entry for entry in canaries if entry.run in facts and self._residents.is_loaded(entry.run)]
        seated.update(await self._residents.ensure(self._wanted(offer, facts, ready)))
        self._unusable, self._warned = frozenset(), set()
        await self._adopted(self._seat(offer, selection, facts, seated))
        await self._add_canaries(offer, selection)

    async def _look_up(
        self, offer: Offer, actives: Sequence[LiveEntry], canaries: Sequence[LiveEntry]
    ) -> Mapping[str, RunFacts]:
        """Return the Active runs, and canaries as far as they are known or can be read along with them."""
        self._known.learn(offer.facts)
        needed = [entry.run for entry in actives]
        unknown = self._known.unknown([*needed, *(entry.run for entry in canaries)])
        if unknown.isdisjoint(needed):
            usable = [entry.run for entry in canaries if entry.run not in unknown]
        else:
            usable = [entry.run for entry in canaries]
        try:
            return await self._known.get(self._client, offer.experiment_id, [*needed, *usable])
        except UnusableRunsError as error:
            if not error.failures.keys().isdisjoint(needed):
                raise
            usable = [run for run in usable if run not in error.failures]
            return await self._known.get(self._client, offer.experiment_id, [*needed, *usable])

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
            without=self._revoked.intersection(selection.runs),
        )
        self.locations = {run: resident.location for run, resident in seated.items()}
        seen = {run: facts[run] for run in seated}
        self.offer = replace(offer, facts=seen, locations=self.locations, revoked=self._revoked)
        if before is not None and before.generation != snapshot.generation and before.models:
            self._previous = Kept(before, self._client.clock.monotonic() + self._window)
        self.pending = None
        self._set(snapshot)
        return self.offer

    async def _add_canaries(self, offer: Offer, selection: Selection) -> None:
        """Load the canaries that are missing, one by one: none of them keeps anything from being served."""
        served = _runs(self.current) if self.current is not None else ()
        serving = [entry for entry in (*selection.actives, *selection.canaries) if entry.run in served]
        left_out = {*served, *self._revoked, *self._unusable}
        missing = [entry for entry in selection.canaries if entry.run not in left_out]
        if not missing:
            return
        facts = dict(await self._known.get(self._client, offer.experiment_id, [entry.run for entry in serving]))
        facts.update(await self._read_canaries(offer, missing))
        seated: dict[str, Resident] = {}

        async def load(entry: LiveEntry) -> None:
            # With those that serve, or a canary might take their place where memory is short.
            wanted = self._wanted(offer, facts, [*serving, entry])
            try:
                seated.update(await self._residents.ensure(wanted, jitter=self._jitter))
            except LoadFailedError as error:
                self._warn(selection.generation, error)

        async with anyio.create_task_group() as tasks:
            for entry in missing:
                if entry.run in facts:
                    tasks.start_soon(load, entry)
        if seated:
            await self._adopted(self._seat(offer, selection, facts, seated))

    async def _read_canaries(self, offer: Offer, canaries: Sequence[LiveEntry]) -> Mapping[str, RunFacts]:
        runs = [entry.run for entry in canaries]
        try:
            return await self._known.get(self._client, offer.experiment_id, runs)
        except UnusableRunsError as error:
            self._warn(offer.document.generation, error)
            self._unusable |= error.failures.keys()
            usable = [run for run in runs if run not in error.failures]
            return await self._known.get(self._client, offer.experiment_id, usable)
        except MlflowUtilitiesError as error:
            self._warn(offer.document.generation, error)
            return {}

    def _warn(self, generation: int, error: Exception) -> None:
        if str(error) not in self._warned:
            self._warned.add(str(error))
            _log.warning("canaries of generation %s: %s", generation, error)

    def take_out(self, run_ids: Sequence[str]) -> None:
        """Stop serving runs whose memory is needed: their requests have no answer until the next generation serves."""
        if self._previous is not None and set(_runs(self._previous.snapshot)).intersection(run_ids):
            self._previous = None
        if self.current is not None:
            self._set(self.current.without_runs(frozenset(run_ids)))

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
