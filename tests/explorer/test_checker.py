"""The checker itself: it visits what there is to visit, and finds the races that are put before it."""

from __future__ import annotations

import pytest

from explorer.checker import TIMEOUT, Facts, Model, Outcome, Process, Script, explore, process
from explorer.server import LOCAL, READS, answer


def count() -> Script:
    """Add one to a tag by reading and writing it, once more after a lost answer."""
    seen = yield ("get-tag", "counter", "value")
    told = yield ("set-tag", "counter", "value", (seen or 0) + 1)
    return (count, ()) if told == TIMEOUT else None


def walk(steps: int) -> Script:
    """Take steps that nobody else sees."""
    for step in range(steps):
        yield ("get-tag", "nothing", str(step))
    return None


def claim_once(me: str) -> Script:
    """Claim the only slot, and say so if it is won."""
    if (yield ("claim", "run", "slot", me)) == "won":
        yield ("remark", "won", me)
    return None


def read_own_write() -> Script:
    """Write a tag and expect to read it."""
    yield ("set-tag", "own", "value", 1)
    if (yield ("get-tag", "own", "value")) is None:
        yield ("broken", "the write is not there")
    return None


def counted(facts: Facts) -> int:
    """Return what the counter says."""
    return int(facts.get(("tag", "counter", "value"), 0))


def explored(*processes: Process, delays: int = 0, crashes: int = 0, lagging: tuple[int, ...] = ()) -> Outcome:
    """Explore processes of which one may win, which may count to their number, and which read what they wrote."""
    wanted = sum(running.stage is count for running in processes)

    def check(facts: Facts) -> str | None:
        if sum(fact[0] == "won" for fact in facts) > 1:
            return "two winners"
        return "counted twice" if counted(facts) > wanted else facts.get(("broken",))

    def at_the_end(facts: Facts) -> str | None:
        return "a lost update" if not crashes and counted(facts) < wanted else None

    server = Facts({("params", "run"): (), ("run", "run"): ("x", True, 1)})
    return explore(Model(answer, check, server, processes, READS, LOCAL, delays, crashes, lagging, at_the_end))


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_every_interleaving_is_visited(processes: int, steps: int) -> None:
    """Processes that know nothing of each other have the product of their states."""
    assert explored(*[process(walk, steps)] * processes).states == (steps + 1) ** processes


def test_crashes_are_tried_after_every_step() -> None:
    """A process of 4 steps that may crash has its 5 states, and one for having crashed."""
    assert explored(process(walk, 4), crashes=1).states == 6


def test_a_lost_update_is_found_by_its_shortest_trace() -> None:
    """Two processes that read, then write, lose an update when both read first."""
    outcome = explored(process(count), process(count))

    assert outcome.violation == "a lost update"
    kinds = [step.split("(")[1].split(",")[0] for step in outcome.trace]
    assert kinds == ["get-tag", "get-tag", "set-tag", "set-tag"]


def test_one_process_alone_loses_nothing() -> None:
    """Without a rival and without faults the same process is right."""
    assert explored(process(count)).violation is None


def test_a_delayed_write_is_carried_out_late() -> None:
    """A write that is repeated after a lost answer counts twice when the first one was only late."""
    outcome = explored(process(count), delays=1)

    assert outcome.violation == "counted twice"
    assert any(step.startswith("late (set-tag") for step in outcome.trace)


def test_a_write_once_param_has_one_winner() -> None:
    """Claims of one slot never have two winners, whatever is delayed or crashes."""
    outcome = explored(*(process(claim_once, me) for me in "ABC"), delays=2, crashes=1)

    assert outcome.violation is None
    assert outcome.states > 100


@pytest.mark.parametrize(("lagging", "violation"), [((), None), ((0,), "the write is not there")])
def test_a_lagging_read_shows_what_was(lagging: tuple[int, ...], violation: str | None) -> None:
    """Only a process on a lagging replica may not see its own write."""
    assert explored(process(read_own_write), lagging=lagging).violation == violation


def test_too_many_states_are_an_error() -> None:
    """Bounds that are too wide stop the test instead of the machine."""
    model = Model(answer, lambda facts: None, Facts(), (process(walk, 50),), READS, LOCAL)

    with pytest.raises(RuntimeError, match="more than 10 states"):
        explore(model, most=10)
