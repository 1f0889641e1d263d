"""When polls happen: waits of one poller, and what a fleet of a thousand asks of a server."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from heapq import heapify, heapreplace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.serving.schedule import Schedule

FLEET = 1000
INTERVAL = 30.0
MEAN = FLEET / INTERVAL
OUTAGE = (900.0, 1500.0)
END = 2700.0
Outcome = Callable[[Schedule, float, float], float]  # schedule, moment, chance -> seconds to the next poll


def simulated(outcome: Outcome, *, together: bool, seed: int = 1) -> list[tuple[float, int]]:
    """Return moment and poller of each poll of a fleet whose services start at once, or at any time."""
    chance = Random(seed)
    fleet = [Schedule(INTERVAL) for _ in range(FLEET)]
    starts = [0.0 if together else chance.random() * 100 for _ in fleet]
    due = [(start + fleet[n].first(chance.random()), n) for n, start in enumerate(starts)]
    heapify(due)
    polls: list[tuple[float, int]] = []
    while due[0][0] < END:
        now, n = due[0]
        polls.append(due[0])
        heapreplace(due, (now + outcome(fleet[n], now, chance.random()), n))
    return polls


def always(schedule: Schedule, now: float, chance: float) -> float:
    """Be a server that is well."""
    return schedule.succeeded(chance)


def ten_minutes_down(schedule: Schedule, now: float, chance: float) -> float:
    """Be a server that fails for ten minutes."""
    return schedule.failed(chance) if OUTAGE[0] <= now < OUTAGE[1] else schedule.succeeded(chance)


def back_at_a_date(schedule: Schedule, now: float, chance: float) -> float:
    """Be a server in maintenance that tells everybody until when."""
    if OUTAGE[0] <= now < OUTAGE[1]:
        return schedule.failed(chance, retry_after=OUTAGE[1] - now)
    return schedule.succeeded(chance)


def peak(moments: list[float], window: float) -> int:
    """Return how many of the sorted moments lie in any window of so many seconds."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def chi_square(moments: list[float], start: float, length: float, bins: int) -> float:
    """Return how far the moments are from being spread evenly over the time."""
    counts = Counter(int((moment - start) / length * bins) for moment in moments if start <= moment < start + length)
    expected = sum(counts.values()) / bins
    return sum((counts[number] - expected) ** 2 / expected for number in range(bins))


def test_a_fleet_that_starts_together_first_polls_evenly_over_the_start_window() -> None:
    """A thousand first polls spread over two seconds, and their peak is not three times the mean."""
    first: dict[int, float] = {}
    for moment, poller in simulated(always, together=True):
        first.setdefault(poller, moment)
    moments = sorted(first.values())
    assert moments[-1] < 2.0
    assert chi_square(moments, 0.0, 2.0, 20) < 43.8  # 19 degrees of freedom, p = 0.001
    assert peak(moments, 0.1) <= 3 * FLEET / 20


def test_a_fleet_that_starts_together_polls_evenly_afterwards() -> None:
    """After the first poll the phases are uniform over the interval, and peaks stay below three times the mean."""
    polls = simulated(always, together=True)
    moments = [moment for moment, _ in polls]
    met: Counter[int] = Counter()
    second = [moment for moment, poller in polls if met.update([poller]) or met[poller] == 2]
    assert len(second) == FLEET
    assert chi_square(second, 2.0, 28.0, 28) < 55.5  # 27 degrees of freedom, p = 0.001
    assert chi_square(moments, 2000.0, INTERVAL, 30) < 58.3  # 29 degrees of freedom, p = 0.001
    assert peak([moment for moment in moments if moment >= 2.0], 1.0) <= 3 * MEAN
    late = [moment for moment in moments if moment >= 600.0]
    assert len(late) / (END - 600) == pytest.approx(MEAN, rel=0.02)


@pytest.mark.parametrize("outage", [ten_minutes_down, back_at_a_date])
def test_recovery_is_spread(outage: Outcome) -> None:
    """After an outage no second has more than three times the mean, and within ten minutes all is as before."""
    moments = [moment for moment, _ in simulated(outage, together=False)]
    assert peak([moment for moment in moments if moment >= OUTAGE[0]], 1.0) <= 3 * MEAN
    late = [moment for moment in moments if moment >= OUTAGE[1] + 600]
    assert len(late) / (END - OUTAGE[1] - 600) == pytest.approx(MEAN, rel=0.05)


def test_ten_minutes_of_failures_cost_at_most_six_polls() -> None:
    """No poller of a thousand asks more than six times during ten minutes, and all are back five minutes later."""
    polls = simulated(ten_minutes_down, together=False)
    asked = Counter(poller for moment, poller in polls if OUTAGE[0] <= moment < OUTAGE[1])
    assert max(asked.values()) <= 6
    assert min(asked.values()) >= 2
    back = {poller for moment, poller in polls if OUTAGE[1] <= moment < OUTAGE[1] + 300}
    assert len(back) == FLEET


def test_six_polls_are_the_bound_and_not_luck() -> None:
    """With the shortest wait that chance can give each time, ten minutes take exactly six polls."""
    schedule = Schedule(30.0)
    moments = [0.0]
    while (moment := moments[-1] + schedule.failed(0.0)) < 600:
        moments.append(moment)
    assert len(moments) == 6


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30), st.floats(1, 3600), st.floats(1, 3600))
def test_waits_after_failures_stay_within_the_interval_and_the_longest(
    chances: list[float], interval: float, longest: float
) -> None:
    """However often polls fail, the wait is at least the interval and at most the longest."""
    schedule = Schedule(interval, longest=longest)
    for chance in chances:
        assert interval <= schedule.failed(chance) <= max(longest, 2 * interval)
        assert schedule.failing
    assert schedule.succeeded(0.5) <= interval
    assert not schedule.failing
    assert schedule.succeeded(0.5) == interval


def test_the_steady_wait_is_the_interval_within_fifteen_percent() -> None:
    """Chance moves the wait between 0.85 and 1.15 times the interval."""
    schedule = Schedule(100.0)
    assert schedule.succeeded(0.25) == 25.0
    assert [schedule.succeeded(chance) for chance in (0.0, 0.5, 1.0)] == pytest.approx([85.0, 100.0, 115.0])


@pytest.mark.parametrize(("hint", "interval"), [(60, 60.0), (1, 5.0), (100_000, 3600.0), (None, 30.0)])
def test_the_documents_hint_replaces_the_interval(hint: float | None, interval: float) -> None:
    """A hint within 5 seconds and one hour is the interval from then on; without one it is the service's own."""
    schedule = Schedule(30.0)
    schedule.succeeded(0.5, 7)
    assert schedule.succeeded(0.5, hint) == pytest.approx(interval)
    schedule.change(10.0)
    assert schedule.interval == (10.0 if hint is None else interval)


def test_failures_that_only_a_person_can_mend_slow_down_at_once() -> None:
    """Slow means the longest wait from the first failure on, 15 % more or less."""
    schedule = Schedule(30.0)
    assert [schedule.failed(chance, slow=True) for chance in (0.0, 0.5, 1.0)] == pytest.approx([255.0, 300.0, 345.0])
    assert schedule.failed(0.0) == 150.0


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(0.0, 45.0, 90.0), (120.0, 120.0, 150.0), (86_400.0, 300.0, 330.0)]
)
def test_retry_after_is_honoured_up_to_the_longest_wait(asked: float, least: float, most: float) -> None:
    """A server may ask for up to five minutes; it never makes polls more frequent, and answers are spread."""
    waits = [Schedule(30.0).failed(chance, retry_after=asked) for chance in (0.0, 0.5, 0.999)]
    assert min(waits) >= least
    assert max(waits) <= most
    assert len(set(waits)) == 3


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, True])
def test_intervals_that_cannot_be_are_refused(seconds: float) -> None:
    """An interval is a finite number above 0, and the message has the value."""
    with pytest.raises(InvalidInputError, match="interval is"):
        Schedule(seconds)
    with pytest.raises(InvalidInputError, match="longest is"):
        Schedule(30.0, longest=seconds)
    with pytest.raises(InvalidInputError, match="interval is"):
        Schedule(30.0).change(seconds)
