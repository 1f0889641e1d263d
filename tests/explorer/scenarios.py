"""What is explored: configurations in which the protocol must hold, and variants of it that must be seen to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from explorer import commit, election, statuses
from explorer.checker import Model, Process, process
from explorer.commit import Writer, foreigner, reader
from explorer.commit_rules import commits
from explorer.election import election as elections
from explorer.statuses import Operator, lister
from explorer.statuses import statuses as rollouts

__all__ = ["HOLDS", "REJECTED", "Holds", "Rejected"]


class Holds(NamedTuple):
    """A configuration without a violation, and the fewest states that an honest exploration of it visits."""

    model: Callable[[], Model]
    floor: int


class Rejected(NamedTuple):
    """A variant of the protocol, what goes wrong with it, and a request without which it would not."""

    model: Callable[[], Model]
    violation: str
    culprit: str


def candidate(me: str, variant: str = "") -> Process:
    """Return a writer that needs the control experiment."""
    return process(election.writer, me, variant)


def writer(me: str, capacity: int = 1, variant: str = "", wish: str = "", legacy: bool = False) -> Process:
    """Return a writer of one wish, by default its own."""
    return process(commit.call, Writer(me, wish or me.lower(), capacity, variant, legacy))


def operator(me: str, *calls: str, variant: str = "") -> Process:
    """Return an operator who makes some calls."""
    return process(statuses.call, Operator(me, calls, variant))


def _late_listing(variant: str = "", delays: int = 0) -> Model:
    calls = operator("A", "enable R", "enable S", "enable T")
    return rollouts(calls, process(lister, variant), delays=delays, crashes=delays)


A, B, R = writer("A"), writer("B"), process(reader)
FIRST = [writer("A", legacy=True), writer("B", legacy=True)]
ENABLES = [operator("A", "enable R"), operator("B", "enable S")]

HOLDS: Mapping[str, Holds] = {
    "election, 2 writers, 2 delays, 2 crashes": Holds(
        lambda: elections(candidate("A"), candidate("B"), delays=2, crashes=2), 12_000
    ),
    "election, 3 writers, 1 crash": Holds(
        lambda: elections(candidate("A"), candidate("B"), candidate("C"), crashes=1), 2_500
    ),
    "election, lagging reads, 1 delay": Holds(
        lambda: elections(candidate("A"), candidate("B"), delays=1, lagging=(0,)), 30_000
    ),
    "election, cleaner, 1 delay, 1 crash": Holds(
        lambda: elections(candidate("A"), candidate("B"), process(election.cleaner), delays=1, crashes=1), 14_000
    ),
    "first commit, 2 writers, 2 delays, 1 crash": Holds(
        lambda: commits(A, B, generations=0, delays=2, crashes=1), 25_000
    ),
    "first commit, lagging reads, 1 delay": Holds(
        lambda: commits(A, B, generations=0, delays=1, lagging=(0, 1)), 22_000
    ),
    "rotation at every commit, 2 writers, reader, 1 delay, 1 crash": Holds(
        lambda: commits(A, B, R, delays=1, crashes=1), 14_000
    ),
    "3 writers, 1 delay": Holds(lambda: commits(writer("A", 2), B, writer("C", 2), delays=1), 30_000),
    "3 writers, 1 crash": Holds(lambda: commits(A, B, writer("C"), crashes=1), 2_500),
    "the same call twice at once, 2 delays, 1 crash": Holds(
        lambda: commits(writer("A", wish="w"), writer("B", wish="w"), delays=2, crashes=1), 15_000
    ),
    "lagging reader, 1 crash": Holds(lambda: commits(A, B, R, crashes=1, lagging=(2,)), 4_000),
    "lagging writers, 1 delay": Holds(lambda: commits(A, writer("B", 2), delays=1, lagging=(0, 1)), 6_000),
    "foreign value, 2 writers, 1 delay, 1 crash": Holds(
        lambda: commits(writer("A", 2), B, process(foreigner), delays=1, crashes=1), 30_000
    ),
    "2 foreign values, reader, 1 delay": Holds(
        lambda: commits(writer("A", 2), process(foreigner), process(foreigner), R, delays=1), 15_000
    ),
    "2 in place, then rotation, reader, 2 delays": Holds(
        lambda: commits(writer("A", 2), writer("B", 2), R, delays=2), 20_000
    ),
    "adoption and a change, 2 adopters, 1 delay, 1 crash": Holds(
        lambda: commits(*FIRST, generations=0, delays=1, crashes=1), 18_000
    ),
    "adoption and a change, lagging reads": Holds(lambda: commits(*FIRST, generations=0, lagging=(0, 1)), 22_000),
    "orphan cleaner, 2 writers, 1 delay": Holds(lambda: commits(A, B, process(commit.cleaner), delays=1), 25_000),
    "orphan cleaner, lagging": Holds(lambda: commits(A, B, process(commit.cleaner), lagging=(2,)), 6_000),
    "status, 2 enables, 2 delays, 2 crashes": Holds(lambda: rollouts(*ENABLES, delays=2, crashes=2), 1_000),
    "status, 2 enables and back to New, 2 delays, 1 crash": Holds(
        lambda: rollouts(*ENABLES, operator("C", "reset R"), delays=2, crashes=1), 25_000
    ),
    "status, 2 enables and disable, 1 delay, 1 crash": Holds(
        lambda: rollouts(*ENABLES, operator("C", "disable R"), delays=1, crashes=1), 18_000
    ),
    "listing, 3 enables, 1 delay, 1 crash": Holds(lambda: _late_listing(delays=1), 2_000),
    "listing, 2 enables and back to New, 1 delay": Holds(
        lambda: rollouts(ENABLES[0], operator("B", "enable S", "reset R"), process(lister), delays=1), 20_000
    ),
}


def _variant(name: str, *wishes: tuple[str, int], foreign: bool = False, delays: int = 0) -> Model:
    """Return writers on one ledger that all follow a variant: (wish, capacity) of each."""
    writers = [writer(me, capacity, name, wish) for me, (wish, capacity) in zip("ABC", wishes, strict=False)]
    return commits(*writers, *[process(foreigner)] * foreign, variant=name, delays=delays)


REJECTED: Mapping[str, Rejected] = {
    "the name first, the index afterwards": Rejected(
        lambda: elections(candidate("A", "name first"), candidate("B", "name first"), crashes=1),
        "has no index, for ever",
        "crashes",
    ),
    "the name first, a missing index repaired": Rejected(
        lambda: elections(*(candidate(me, "name first, repaired") for me in "AB")),
        "not the one that the name leads to",
        "set-tag",
    ),
    "candidates cleaned without the fence": Rejected(
        lambda: elections(candidate("A"), process(election.cleaner, "no fence")),
        "the winning experiment is deleted",
        "delete-experiment",
    ),
    "next is a key of its own": Rejected(
        lambda: _variant("next is a key of its own", ("a", 1), ("b", 2)), "b was reported as live and is not", "next"
    ),
    "seed, go on after the pointer": Rejected(
        lambda: _variant("seed, go on after the pointer", ("a", 1)), "a was reported as live and is not", "g.000000003"
    ),
    "orphan deleted without an answer": Rejected(
        lambda: _variant("orphan deleted without an answer", ("a", 1), delays=1), "on the chain and deleted", "late"
    ),
    "orphans cleaned without the fence": Rejected(
        lambda: commits(A, process(commit.cleaner, "no fence")), "on the chain and deleted", "delete-run"
    ),
    "the same op for two writers": Rejected(
        lambda: _variant("same op", ("w", 2), ("w", 2)), "two writers were told that generation 2 is theirs", "claim"
    ),
    "burnt slots do not count for the writer": Rejected(
        lambda: _variant("burnt slots do not count", ("a", 2), foreign=True), "A makes no progress", "rubbish"
    ),
    "the next slot after a lost answer": Rejected(
        lambda: _variant("next slot after a lost answer", ("a", 3), delays=1),
        "a was reported as live and is not",
        "timeout",
    ),
    "only a pointer in the last slot counts": Rejected(
        lambda: _variant("only a pointer in the last slot counts", ("a", 1), foreign=True),
        "not on the chain",
        "rubbish",
    ),
    "a run without slots is the end": Rejected(
        lambda: commits(*(writer(me, 1, "a run without slots is the end") for me in "AB"), lagging=(0, 1)),
        "goes on at 1",
        "from the replica",
    ),
    "status without off": Rejected(
        lambda: rollouts(*(operator(me, f"enable {run}", variant="no off") for me, run in ("AR", "BS")), crashes=1),
        "R is Disabled by the history and shown as New",
        "claim",
    ),
    "status by the tag": Rejected(
        lambda: rollouts(
            *(
                operator(me, call, variant="tag")
                for me, call in (("A", "enable R"), ("B", "enable S"), ("C", "reset R"))
            ),
            variant="tag",
        ),
        "R is New by the history and shown as Disabled",
        "set-tag",
    ),
    "listing, the runs first": Rejected(lambda: _late_listing("runs first"), "a listing of generation 3", "get-metric"),
}
