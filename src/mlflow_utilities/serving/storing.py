"""What a service remembers between its starts: the generation it served last, or one that came with its image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import ArtifactError
from mlflow_utilities.models.threads import in_file_thread
from mlflow_utilities.rollout.facts import read_facts
from mlflow_utilities.serving import last_known_good
from mlflow_utilities.serving.facts import model_uri_of
from mlflow_utilities.serving.last_known_good import Identity, LastKnownGood, StoredModel
from mlflow_utilities.serving.offers import Offer
from mlflow_utilities.serving.options import Following
from mlflow_utilities.serving.values import Source

__all__ = ["Storage"]

_log = logging.getLogger("mlflow_utilities.serving")


class Storage:
    """The last-known-good file of one service, and its bootstrap document."""

    def __init__(
        self, client: AsyncMlflowClient, following: Following, directory: Path, *, max_age: float | None
    ) -> None:
        self.problem: str | None = None
        self._clock = client.clock
        self._bootstrap = following.bootstrap
        self._submodel = following.submodel_name
        self._max_age = max_age
        self._identity = Identity(
            tracking_uri=client.tracking_uri,
            experiment=following.experiment,
            submodel=following.submodel_name or "",
            versions=f"{following.versions} {following.canary_versions or ''}".strip(),
        )
        self._path = last_known_good.path_of(directory, self._identity)
        self._warned = False

    async def read(self) -> Offer | None:
        """Return what was served last, else the bootstrap document, else None; `problem` says what was wrong."""
        problems: list[str] = []
        for source, load in ((Source.FILE, self._read_file), (Source.BOOTSTRAP, self._read_bootstrap)):
            try:
                found = await in_file_thread(load)
                if found is not None:
                    return offer_of(found, source)
            except Exception as error:  # whatever a file has, the service goes on without it
                if source is Source.FILE and isinstance(error.__cause__, FileNotFoundError):
                    continue
                problems.append(f"{source}: {error}")
                _log.warning("%s: %s", source, error)
        self.problem = "; ".join(problems) or None
        return None

    def _read_file(self) -> LastKnownGood:
        found = last_known_good.read(self._path, self._identity)
        age = (self._clock.now_ms() - found.adopted_at) / 1000
        if self._max_age is not None and age > self._max_age:
            raise ArtifactError(f"{self._path} is {age:.0f} seconds old, more than the {self._max_age:.0f} allowed")
        return found

    def _read_bootstrap(self) -> LastKnownGood | None:
        given = self._bootstrap
        if given is None:
            return None
        if isinstance(given, Mapping):
            return last_known_good.parse(cast("Mapping[str, Any]", given), submodel_name=self._submodel)
        return last_known_good.read(Path(str(given)), None, submodel_name=self._submodel)

    async def write(self, offer: Offer) -> None:
        """Remember what serves now; a disk that cannot be written is a warning, not an error."""
        try:
            content = self.content(offer)
            with anyio.CancelScope(shield=True):  # a service that ends at once is to start from it, too
                await in_file_thread(lambda: last_known_good.write(self._path, content))
            self._warned = False
        except Exception as error:
            if not self._warned:
                _log.warning("the last-known-good file cannot be written: %s", error)
            self._warned = True

    def content(self, offer: Offer) -> LastKnownGood:
        """Return what the file says of a generation."""
        return LastKnownGood(
            identity=self._identity,
            experiment_id=offer.experiment_id,
            submodel_name=offer.submodel_name,
            document=offer.document,
            models=tuple(
                StoredModel(raw=facts.raw, model_uri=model_uri_of(facts), location=offer.locations.get(run))
                for run, facts in offer.facts.items()
            ),
            adopted_at=self._clock.now_ms() if offer.adopted_at is None else offer.adopted_at,
            revoked=tuple(sorted(offer.revoked)),
        )


def offer_of(found: LastKnownGood, source: Source) -> Offer:
    """Return a generation that was remembered as one that could be served."""
    facts = {(item := read_facts(stored.raw)).run_id: item for stored in found.models}
    locations = {
        read_facts(stored.raw).run_id: stored.location for stored in found.models if stored.location is not None
    }
    revoked = frozenset(found.revoked)
    return Offer(
        found.document,
        source,
        found.experiment_id,
        found.submodel_name,
        facts,
        locations,
        revoked=revoked,
        adopted_at=found.adopted_at,
    )
