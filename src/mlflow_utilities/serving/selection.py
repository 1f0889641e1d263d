"""What of a rollout one service serves: a pure function of the document and the version range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.rollout.version_range import VersionRange

__all__ = ["Selection", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a generation that a service serves. `version` is None when no run in its range is Active."""

    generation: int
    salt: str
    version: str | None
    actives: tuple[LiveEntry, ...]
    canaries: tuple[LiveEntry, ...]
    revoked: frozenset[str]
    poll: int | None = None

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of all its runs, the Active ones first."""
        return tuple(entry.run for entry in (*self.actives, *self.canaries))


def select(document: Document, versions: VersionRange, canary_versions: VersionRange | None = None) -> Selection:
    """Return what a service with this range serves: the highest version in it that has an Active run.

    `canary_versions` says whose Canary runs get copies; None: those of the same range, and for an exact version or
    `latest` those that are not lower than the version served. Versions that are none are not served.
    """
    live = {version: entries for key, entries in document.live.items() if (version := _version_of(key)) is not None}
    actives = _with(live, ModelStatus.Active)
    canaries = _with(live, ModelStatus.Canary)
    served = versions.highest(actives)
    mirrored = _mirrored(canaries, versions, canary_versions, served)
    return Selection(
        generation=document.generation,
        salt=document.salt,
        version=None if served is None else served.without_build,
        actives=() if served is None else actives[served],
        canaries=tuple(entry for version in mirrored for entry in canaries[version]),
        revoked=frozenset(document.revoked),
        poll=document.poll,
    )


def _version_of(key: str) -> Version | None:
    """Return the version that a key of a document stands for: it is written in full and without build metadata."""
    try:
        version = Version.parse(key)
    except InvalidInputError:
        return None
    return version if version.without_build == key else None


def _with(live: Mapping[Version, tuple[LiveEntry, ...]], status: ModelStatus) -> dict[Version, tuple[LiveEntry, ...]]:
    """Return the versions that have runs of a status, with these runs."""
    found = {version: tuple(entry for entry in entries if entry.status is status) for version, entries in live.items()}
    return {version: entries for version, entries in found.items() if entries}


def _mirrored(
    canaries: Iterable[Version], versions: VersionRange, canary_versions: VersionRange | None, served: Version | None
) -> list[Version]:
    """Return the versions whose Canary runs get copies, the highest first."""
    if canary_versions is not None:
        return canary_versions.matching(canaries)
    lowest = versions.exact or served
    if versions.exact is None and not versions.is_latest:
        return versions.matching(canaries)
    return sorted((version for version in canaries if lowest is None or version >= lowest), reverse=True)
