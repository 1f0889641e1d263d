"""From a change to the document that records it, and to the runs whose tags and metrics it changes."""

from __future__ import annotations

from dataclasses import replace

from mlflow_utilities.rollout.document import OffEntry
from mlflow_utilities.rollout.draft import (
    MOST_REVOKED,
    Change,
    State,
    build,
    changed_runs,
    is_fulfilled,
    normal,
)
from mlflow_utilities.rollout.status import ModelStatus
from support.rollouts import active, canary, document, facts, heading, state

Disabled, New, Active, Canary = ModelStatus

A = active("a", (0, 10_000))
OFF = (OffEntry("p", Disabled, 3), OffEntry("q", New, 4), OffEntry("r", Disabled, 5))


def test_the_heading_is_recorded() -> None:
    """Generation, parent, operation, verb and time are those of the heading; who and why are cut to their limits."""
    made = build(State(None), Change({"1.0.0": (A,)}, {}, ()), heading(1, who="w" * 101, why="y" * 201, verb="adopt"))

    assert (made.generation, made.parent, made.op, made.verb, made.at) == (
        1,
        0,
        "1" * 16,
        "adopt",
        "2026-01-01T00:00:00Z",
    )
    assert (made.who, made.why, made.restores, made.poll) == ("w" * 100, "y" * 200, None, None)


def test_salt_and_poll_are_copied() -> None:
    """The first generation decides the salt for ever, and the poll hint stays until somebody changes it."""
    first = build(State(None), Change({}, {}, ()), heading(1))
    assert first.salt == "1" * 8

    before = state(document({}, 5, salt="abcdef01", poll=30))
    made = build(before, Change({}, {}, ()), heading(6))
    assert (made.salt, made.poll) == ("abcdef01", 30)


def test_entries_of_runs_that_left_are_carried() -> None:
    """What is not confirmed stays, with the generation it has."""
    made = build(state(document({}, off=OFF)), Change({}, {}, ()), heading(6))

    assert made.off == OFF


def test_confirmed_entries_are_dropped() -> None:
    """An entry goes when its own generation was seen in the run's metric; another generation says nothing."""
    before = state(document({}, off=OFF))
    made = build(before, Change({}, {}, ()), heading(6), {("p", 3), ("q", 3), ("r", 6)})

    assert made.off == OFF[1:]


def test_entries_of_live_runs_are_dropped() -> None:
    """A run that is live again is not off."""
    made = build(state(document({}, off=OFF)), Change({"1.0.0": (canary("p", 1),)}, {}, ()), heading(6))

    assert made.off == OFF[1:]


def test_entries_are_replaced_by_newer_ones() -> None:
    """A run that leaves again, or changes between New and Disabled, has one entry: the new one, even if confirmed."""
    change = Change({}, {"q": Disabled, "b": New}, ())
    made = build(state(document({}, off=OFF)), change, heading(6), {("q", 6), ("q", 4)})

    assert made.off == (OFF[0], OFF[2], OffEntry("b", New, 6), OffEntry("q", Disabled, 6))


def test_rollouts_have_one_order() -> None:
    """Versions without runs are dropped, and the order of versions and runs does not matter."""
    entries = (active("b", (5000, 10_000)), active("a", (0, 5000)))

    assert list(normal({"2.0.0": (A,), "1.0.0": entries, "3.0.0": ()}).items()) == [
        ("1.0.0", entries[::-1]),
        ("2.0.0", (A,)),
    ]


def test_the_newest_revoked_runs_are_kept() -> None:
    """The list of revoked runs has a limit, and the oldest go first."""
    runs = tuple(f"r{number}" for number in range(MOST_REVOKED + 2))

    assert build(State(None), Change({}, {}, runs), heading(1)).revoked == runs[2:]


def test_a_change_is_fulfilled_when_nothing_would_differ() -> None:
    """Live runs, in any order, runs that leave, and revoked runs decide it; restoring does not."""
    before = state(document({"1.0.0": (A, canary("c", 5))}, revoked=("z",)))
    same = Change({"1.0.0": (canary("c", 5), A), "2.0.0": ()}, {}, ("z",), restores=1)

    assert is_fulfilled(before, same)
    assert not is_fulfilled(before, replace(same, off={"n": Disabled}))
    assert not is_fulfilled(before, replace(same, revoked=("z", "y")))
    assert not is_fulfilled(before, replace(same, live={"1.0.0": (A, canary("c", 6))}))
    assert is_fulfilled(State(None), Change({}, {}, ()))


def test_the_changed_runs_are_those_to_be_shown() -> None:
    """A run whose status or share changed is shown; one that only has other slots of the same number is not."""
    before = document({"1.0.0": (active("a", (0, 5000)), active("b", (5000, 10_000)), canary("c", 5), canary("d", 5))})
    live = {"1.0.0": (active("b", (0, 5000)), active("c", (5000, 10_000)), canary("d", 6))}
    after = document(live, 6, off=(OffEntry("old", Disabled, 5), OffEntry("a", Disabled, 6), OffEntry("n", New, 6)))

    assert changed_runs(before, after) == {
        "c": (Active, 0.5),
        "d": (Canary, 0.0006),
        "a": (Disabled, 0.0),
        "n": (New, 0.0),
    }
    assert changed_runs(after, after) == {"a": (Disabled, 0.0), "n": (New, 0.0)}
    assert changed_runs(None, document({"1.0.0": (A,)}, 1)) == {"a": (Active, 1.0)}


def test_the_status_of_a_run_in_a_state() -> None:
    """The document decides; a run that it does not name has what its metric says, and an unknown one is New."""
    current = state(
        document({"1.0.0": (A,)}, off=OFF),
        facts("a"),
        facts("b", active_state=2.0),
        facts("n"),
        facts("q", active_state=0.0),
    )

    assert {run: current.status(run)[0] for run in ("a", "b", "n", "q", "p", "unknown")} == {
        "a": Active,
        "b": Disabled,
        "n": New,
        "q": New,
        "p": Disabled,
        "unknown": New,
    }
    assert state(None, facts("b", "1.0.0", 2.0, 0.3)).status("b") == (Active, 0.3)
