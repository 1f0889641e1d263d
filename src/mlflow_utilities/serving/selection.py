"""What of a rollout one service serves: a pure function of the document and the version range."""

from __future__ import annotations

from dataclasses import dataclass

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
    `latest` those that are not lower than the version served.
    """
    with_active = {key: entries for key, entries in document.live.items() if _of(entries, ModelStatus.Active)}
    version = _highest(versions, with_active)
    canaries = [
        entry
        for key, entries in document.live.items()
        if _mirrors(key, version, versions, canary_versions)
        for entry in _of(entries, ModelStatus.Canary)
    ]
    return Selection(
        generation=document.generation,
        salt=document.salt,
        version=version,
        actives=_of(with_active[version], ModelStatus.Active) if version is not None else (),
        canaries=tuple(canaries),
        revoked=frozenset(document.revoked),
        poll=document.poll,
    )


def _of(entries: tuple[LiveEntry, ...], status: ModelStatus) -> tuple[LiveEntry, ...]:
    return tuple(entry for entry in entries if entry.status is status)


def _highest(versions: VersionRange, live: dict[str, tuple[LiveEntry, ...]]) -> str | None:
    exact = versions.exact
    if exact is not None:
        return exact.without_build if exact.without_build in live else None
    highest = versions.highest(live)
    return None if highest is None else next(key for key in live if Version.parse(key) == highest)


def _mirrors(key: str, served: str | None, versions: VersionRange, canary_versions: VersionRange | None) -> bool:
    version = Version.parse(key)
    if canary_versions is not None:
        return canary_versions.is_latest or canary_versions.contains(version)
    if versions.exact is not None or versions.is_latest:
        return served is None or version >= Version.parse(served)
    return versions.contains(version)
