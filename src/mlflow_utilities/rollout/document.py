"""The values of a ledger and when they are valid: a document is the complete rollout of one submodel.

A pointer says in which run the chain goes on. Keys and validity are format 1 of the ledger and never change within it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from mlflow_utilities.rollout.slots import TOTAL, Ranges
from mlflow_utilities.rollout.status import ModelStatus

__all__ = [
    "FORMAT",
    "MAX_VALUE",
    "Burnt",
    "Document",
    "LiveEntry",
    "Newer",
    "OffEntry",
    "Pointer",
    "SlotValue",
    "index_key",
    "problem",
    "slot_key",
    "submodel_hash",
]

FORMAT = 1
MAX_VALUE = 5800


@dataclass(frozen=True, slots=True)
class LiveEntry:
    """A run that gets requests: Active with slots, or Canary with a mirror share in 1/10,000."""

    run: str
    status: ModelStatus
    slots: Ranges
    mirror: int


@dataclass(frozen=True, slots=True)
class OffEntry:
    """A run that became Disabled or New with `generation`, which its metric does not confirm yet."""

    run: str
    status: ModelStatus
    generation: int


@dataclass(frozen=True, slots=True)
class Document:
    """The complete rollout of one submodel, as one generation of its ledger."""

    generation: int
    parent: int
    op: str
    verb: str
    who: str
    why: str
    at: str
    salt: str
    live: Mapping[str, tuple[LiveEntry, ...]]
    off: tuple[OffEntry, ...] = ()
    revoked: tuple[str, ...] = ()
    poll: int | None = None
    restores: int | None = None

    @property
    def runs(self) -> set[str]:
        """The ids of all live runs."""
        return {entry.run for entries in self.live.values() for entry in entries}

    def find(self, run_id: str) -> tuple[str, LiveEntry] | None:
        """Return the version and the live entry of a run, or None."""
        for version, entries in self.live.items():
            for entry in entries:
                if entry.run == run_id:
                    return version, entry
        return None

    def off_entry(self, run_id: str) -> OffEntry | None:
        """Return the newest off entry of a run, or None."""
        entries = [entry for entry in self.off if entry.run == run_id]
        return max(entries, key=lambda entry: entry.generation) if entries else None


@dataclass(frozen=True, slots=True)
class Pointer:
    """The chain goes on in run `next`."""

    next: str
    op: str


@dataclass(frozen=True, slots=True)
class Newer:
    """A newer release wrote this value: keep what you have and do not write."""

    reason: str


@dataclass(frozen=True, slots=True)
class Burnt:
    """A value that says nothing; readers and writers skip its slot."""

    reason: str


SlotValue = Document | Pointer | Newer | Burnt


def submodel_hash(name: str) -> str:
    """Return the 32 hex digits that stand for a submodel name in keys."""
    return sha256(unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def slot_key(number: int) -> str:
    """Return the param key of a slot, e.g. `g.000000018`."""
    return f"g.{number:09d}"


def index_key(name: str) -> str:
    """Return the param key of a submodel on the index run."""
    return f"s.{submodel_hash(name)}"


def problem(document: Document, slot: int) -> str | None:
    """Return why a document is not valid in a slot, or None when it is."""
    if document.generation != slot:
        return f"generation {document.generation} stands in slot {slot}"
    seen: set[str] = set()
    for version, entries in document.live.items():
        if not entries:
            return f"version {version} has no runs"
        for entry in entries:
            if entry.run in seen:
                return f"run {entry.run} is live twice"
            seen.add(entry.run)
        reason = _split_problem(version, entries)
        if reason:
            return reason
    out = seen.intersection(document.revoked).union(seen.intersection(entry.run for entry in document.off))
    return f"run {min(out)} is live and also revoked or off" if out else None


def _split_problem(version: str, entries: tuple[LiveEntry, ...]) -> str | None:
    owned: list[tuple[int, int]] = []
    for entry in entries:
        if entry.status is ModelStatus.Canary:
            if entry.slots:
                return f"canary {entry.run} has slots"
            continue
        flat = [bound for pair in entry.slots for bound in pair]
        if not flat or entry.mirror or flat != sorted(flat) or any(start >= end for start, end in entry.slots):
            return f"the slots or the mirror share of run {entry.run} cannot be"
        owned.extend(entry.slots)
    if not owned:
        return None
    owned.sort()
    gapless = all(left[1] == right[0] for left, right in pairwise(owned))
    if owned[0][0] == 0 and owned[-1][1] == TOTAL and gapless:
        return None
    return f"the slots of version {version} do not partition 0 to {TOTAL}"
