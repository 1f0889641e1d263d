"""One round of a commit: what is read, refused, planned and built before anything is written."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import RolloutConflictError
from mlflow_utilities.rollout.adoption import adopted
from mlflow_utilities.rollout.calls import runs_by_id
from mlflow_utilities.rollout.document import Document, OffEntry
from mlflow_utilities.rollout.draft import Change, Heading, State, build, normal
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.reader import Ledger
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["Options", "Outcome", "Wish", "Work", "adopted_document", "document_of", "pending_off"]

_ADOPTION = "live runs without a ledger, as their metrics had them"


@dataclass(frozen=True, slots=True)
class Options:
    """How a change is made: who and why, which generation it may follow, and whether it is only planned."""

    who: str
    why: str = ""
    expected_generation: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What a verb wants. `plan` is pure and refuses bad input.

    `runs` are read and checked each time it is planned; `reads_live` adds the live ones of `version`. A wish for a
    `version`, or for the `whole` rollout, is not planned again on top of another change of the same; `planned_on` is
    the document that it was already decided on.
    """

    verb: str
    plan: Callable[[State], Change]
    runs: frozenset[str]
    version: str | None = None
    whole: bool = False
    reads_live: bool = False
    planned_on: Document | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a wish: the current document (with a dry run, the planned one), and whom it changed."""

    after: Document | None
    changes: Mapping[str, ModelStatus] = field(default_factory=dict[str, ModelStatus])
    written: bool = False
    projected: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Work:
    """One call of `commit`, over its rounds."""

    client: AsyncMlflowClient
    ledger: Ledger
    wish: Wish
    options: Options
    known: Mapping[str, RunFacts]
    known_at: int = 0
    expected: int | None = None
    first: Document | None = None
    begun: bool = False
    lags: int = 0
    lost: int = 0
    floor: int = 1
    warnings: list[str] = field(default_factory=list[str])

    async def state(self, document: Document | None) -> State:
        """Read the runs that the wish names, and those that left and are not confirmed: at most one search."""
        wanted = set(self.wish.runs)
        if document is not None:
            wanted.update(entry.run for entry in pending_off(self.ledger, document))
            if self.wish.reads_live:
                wanted.update(entry.run for entry in document.live.get(self.wish.version or "", ()))
        found = dict(self.known)
        missing = wanted.difference(found)
        if missing:
            found.update(await runs_by_id(self.client, self.ledger.experiment.experiment_id, missing))
        return State(document, found, self.ledger.experiment.experiment_id, self.ledger.submodel)

    def check_conflict(self, document: Document | None) -> None:
        """Refuse to plan on top of somebody else's change of the same thing.

        Raises:
            RolloutConflictError: there is one.

        """
        if not self.begun:
            self.begun, self.first = True, self.wish.planned_on or document
        if self.expected is not None or not (self.wish.version or self.wish.whole):
            return
        before = normal(self.first.live) if self.first else {}
        now = normal(document.live) if document else {}
        version = self.wish.version
        same = before == now if version is None else before.get(version) == now.get(version)
        if not same:
            raise self.conflict(document, "changed the same runs first")

    def is_behind(self, document: Document | None) -> bool:
        """Return whether the rollout is no longer the generation that the caller expects.

        Raises:
            RolloutConflictError: it cannot be this call's own commit whose answer was lost.

        """
        current = document.generation if document else 0
        if self.expected is None or current == self.expected:
            return False
        if document is None or current < self.expected or document.parent != self.expected:
            raise self.conflict(document, f"made it generation {current}, and {self.expected} was expected")
        return True

    def conflict(self, document: Document | None, what: str) -> RolloutConflictError:
        """Return the error that names the change that was first."""
        who = f"{document.who} ({document.verb}, generation {document.generation})" if document else "somebody"
        return RolloutConflictError(
            f"{who} {what}; nothing was written", current=document, hint="look at the rollout, and decide again"
        )


def pending_off(ledger: Ledger, document: Document) -> list[OffEntry]:
    """Return the entries of `off` that this client has not seen confirmed."""
    return [entry for entry in document.off if (entry.run, entry.generation) not in ledger.confirmed]


def document_of(work: Work, generation: int, state: State, change: Change) -> Document:
    """Return the document that records a change, with an operation id of its own."""
    parent = state.document.generation if state.document else 0
    heading = _heading(work.client, work.options.who, generation, parent, work.wish.verb, work.options.why)
    return build(state, change, heading, work.ledger.confirmed)


def _heading(client: AsyncMlflowClient, who: str, generation: int, parent: int, verb: str, why: str) -> Heading:
    moment = datetime.fromtimestamp(client.clock.now_ms() // 1000, UTC)
    return Heading(
        generation=generation,
        parent=parent,
        op=secrets.token_hex(8),
        verb=verb,
        who=who,
        why=why,
        at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        salt=secrets.token_hex(4),
    )


def adopted_document(
    client: AsyncMlflowClient, runs: list[RunFacts], generation: int, options: Options
) -> tuple[Document, list[str]] | None:
    """Return the first generation, as it takes over what metrics say is live, and warnings; None if nothing is."""
    found = adopted(runs)
    if found is None:
        return None
    change, warnings = found
    heading = _heading(client, options.who, generation, 0, "adopt", _ADOPTION)
    return build(State(None), change, heading), warnings
