"""What `watch` shows: pure rules, from a rollout and the poll that follows it to rows, lines and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.serving.values import PollError

__all__ = ["Row", "Seen", "as_json", "change_line", "differs", "poll_line", "rows", "who_line"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known after a poll.

    `document` is None while nothing was rolled out, or nothing was learnt yet (`reached` is False). `error` is what the
    poll met, `took` its seconds, `at` when it ended (ms since 1970), `wait` the seconds until the next one, `failures`
    how many polls failed in a row.
    """

    submodel: str
    document: Document | None
    reached: bool
    error: PollError | None
    took: float
    at: int
    wait: float
    failures: int = 0

    @property
    def generation(self) -> int:
        """The generation that is in force, 0 before the first."""
        return self.document.generation if self.document else 0


@dataclass(frozen=True, slots=True)
class Row:
    """A live run: `share` is its part of the requests of its version, for a canary the part that is copied to it."""

    version: str
    run_id: str
    status: ModelStatus
    share: float


def rows(document: Document | None) -> list[Row]:
    """Return the live runs, newest version first, and of a version the largest share first."""
    live = [] if document is None else [Row(*row) for row in _rows(document)]
    live.sort(key=lambda row: (row.status is ModelStatus.Canary, -row.share, row.run_id))
    live.sort(key=lambda row: Version.parse(row.version), reverse=True)
    return live


def _rows(document: Document) -> Iterator[tuple[str, str, ModelStatus, float]]:
    for version, entries in document.live.items():
        for entry in entries:
            yield version, entry.run, entry.status, _share(entry)


def _share(entry: LiveEntry) -> float:
    slots = entry.mirror if entry.status is ModelStatus.Canary else sum(end - start for start, end in entry.slots)
    return slots / TOTAL


def differs(before: Seen | None, now: Seen) -> bool:
    """Return whether there is news: another generation, or the server is lost, is back, or fails in another way."""
    if before is None or before.generation != now.generation or before.reached != now.reached:
        return True
    return (before.error and before.error.kind) != (now.error and now.error.kind)


def change_line(before: Seen | None, now: Seen) -> str:
    """Return one line for a change, without the time."""
    if now.error is not None:
        known = f"generation {now.generation} stays" if now.reached else "nothing is known yet"
        return _one_line(f"{now.error.kind}: {now.error.message}; {known}; next poll in {duration(now.wait)}")
    back = "MLflow is back; " if before is not None and before.error is not None else ""
    document = now.document
    if document is None:
        return f"{back}nothing is rolled out yet"
    return f"{back}generation {document.generation}: {_live(document)}; {who_line(document)}"


def _live(document: Document) -> str:
    listed = [f"{row.version} {row.run_id[:8]} {row.status.name} {row.share:.4g}" for row in rows(document)]
    return ", ".join(listed) or "no live run"


def who_line(document: Document) -> str:
    """Return who made a generation, with which verb, when and why."""
    why = f": {document.why}" if document.why else ""
    return _one_line(f"{document.verb} by {document.who} at {document.at}{why}")


def _one_line(text: str) -> str:
    """Return a text that others wrote without what moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def poll_line(now: Seen, wait: float) -> str:
    """Return how the last poll went and when the next one comes, in `wait` seconds."""
    coming = f"next in {duration(max(wait, 0.0))}"
    took = f"{now.took * 1000:.0f} ms" if now.took < 1 else f"{now.took:.1f} s"
    if now.error is None:
        return f"last poll took {took}; {coming}"
    times = "poll failed" if now.failures == 1 else f"{now.failures} polls failed in a row"
    return _one_line(f"{times}, the last after {took}; {coming}: {now.error.kind}: {now.error.message}")


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def as_json(now: Seen) -> dict[str, Any]:
    """Return what is known as plain values; times in ms since 1970, durations in seconds, shares in [0, 1]."""
    document, error = now.document, now.error
    return {
        "time": now.at,
        "submodel_name": now.submodel,
        "generation": document.generation if document else None,
        "runs": [
            {"run_id": row.run_id, "version": row.version, "status": row.status.name, "test_fraction": row.share}
            for row in rows(document)
        ],
        "verb": document.verb if document else None,
        "who": document.who if document else None,
        "why": document.why if document else None,
        "at": document.at if document else None,
        "revoked": list(document.revoked) if document else [],
        "poll": {
            "ok": error is None,
            "took": round(now.took, 4),
            "next": round(now.wait, 1),
            "failures": now.failures,
            "error": None if error is None else {"kind": error.kind, "message": error.message},
        },
    }
