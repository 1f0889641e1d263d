"""From a change that a verb wants to the document that records it, and to the runs it changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mlflow_utilities.rollout.document import Document, LiveEntry, OffEntry
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.status_rule import decide, fraction_of

__all__ = ["MOST_REVOKED", "Change", "Heading", "Live", "State", "build", "changed_runs", "is_fulfilled", "normal"]

Live = Mapping[str, tuple[LiveEntry, ...]]
MOST_REVOKED = 32


@dataclass(frozen=True, slots=True)
class State:
    """What a plan is made on: the current document (None = no ledger yet) and the runs that were read."""

    document: Document | None
    runs: Mapping[str, RunFacts] = field(default_factory=dict[str, RunFacts])
    experiment_id: str = ""
    submodel: str = ""

    @property
    def live(self) -> Live:
        """The live runs of each version."""
        return self.document.live if self.document else {}

    @property
    def revoked(self) -> tuple[str, ...]:
        """The runs that may never be live again."""
        return self.document.revoked if self.document else ()

    def status(self, run_id: str) -> tuple[ModelStatus, float]:
        """Return the status of a run and its share of requests."""
        facts = self.runs.get(run_id)
        if facts is None:
            return decide(run_id, self.document, None)
        return decide(run_id, self.document, facts.active_state, facts.test_fraction)


@dataclass(frozen=True, slots=True)
class Change:
    """The rollout as a verb wants it: all live runs, and the runs that become Disabled or New by it."""

    live: Live
    off: Mapping[str, ModelStatus]
    revoked: tuple[str, ...]
    restores: int | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """Who changes what, and where the document will stand."""

    generation: int
    parent: int
    op: str
    verb: str
    who: str
    why: str
    at: str
    salt: str


def normal(live: Live) -> dict[str, tuple[LiveEntry, ...]]:
    """Return live runs in one order, so that equal rollouts are equal values."""
    return {
        version: tuple(sorted(entries, key=lambda entry: entry.run))
        for version, entries in sorted(live.items())
        if entries
    }


def is_fulfilled(state: State, change: Change) -> bool:
    """Return whether the rollout already is what the change wants."""
    return not change.off and normal(change.live) == normal(state.live) and change.revoked == state.revoked


def build(
    state: State, change: Change, heading: Heading, confirmed: Collection[tuple[str, int]] = frozenset()
) -> Document:
    """Return the document of a change.

    `confirmed` has the (run, generation) pairs of `off` that the run's own metric shows, and which may be forgotten.
    """
    live = normal(change.live)
    now_live = {entry.run for entries in live.values() for entry in entries}
    document = state.document
    carried = [
        entry
        for entry in (document.off if document else ())
        if entry.run not in now_live and entry.run not in change.off and (entry.run, entry.generation) not in confirmed
    ]
    new = [OffEntry(run, status, heading.generation) for run, status in sorted(change.off.items())]
    return Document(
        generation=heading.generation,
        parent=heading.parent,
        op=heading.op,
        verb=heading.verb,
        who=heading.who[:100],
        why=heading.why[:200],
        at=heading.at,
        salt=document.salt if document else heading.salt,
        live=live,
        off=(*carried, *new),
        revoked=change.revoked[-MOST_REVOKED:],
        poll=document.poll if document else None,
        restores=change.restores,
    )


def changed_runs(before: Document | None, after: Document) -> dict[str, tuple[ModelStatus, float]]:
    """Return status and share of every run that a generation changed: what its projection writes."""
    found: dict[str, tuple[ModelStatus, float]] = {}
    for entries in after.live.values():
        for entry in entries:
            now = (entry.status, fraction_of(entry))
            old = before.find(entry.run) if before else None
            if old is None or (old[1].status, fraction_of(old[1])) != now:
                found[entry.run] = now
    found.update((entry.run, (entry.status, 0.0)) for entry in after.off if entry.generation == after.generation)
    return found
