"""Clocks that a test moves."""

from __future__ import annotations

import anyio
import pytest

from mlflow_utilities.testing import FakeClock, SteppedClock

pytestmark = pytest.mark.anyio


async def test_sleeping_on_a_fake_clock_takes_no_time() -> None:
    """A day passes at once, and is noted."""
    clock = FakeClock(now_ms=1_000)

    await clock.sleep(86_400.0)

    assert clock.slept == [86_400.0]
    assert clock.monotonic() == 86_400.0
    assert clock.now_ms() == 86_401_000


async def test_a_limit_on_a_fake_clock_ends_what_waits_longer() -> None:
    """Sleeping past a limit cancels the block, and a shorter sleep does not."""
    clock = FakeClock()
    with clock.time_limit(10.0) as scope:
        await clock.sleep(9.0)
        reached = clock.monotonic()
        await clock.sleep(2.0)

    assert reached == 9.0
    assert scope.cancelled_caught


async def test_limits_of_a_fake_clock_run_out() -> None:
    """Running out takes the time to the nearest limit, and then to the next."""
    clock = FakeClock()
    ended: list[float] = []
    with clock.time_limit(50.0):
        with clock.time_limit(10.0):
            await clock.run_out()
        ended.append(clock.monotonic())
        await clock.run_out()
    ended.append(clock.monotonic())

    assert ended == [10.0, 50.0]


async def test_chance_is_what_the_test_says() -> None:
    """A fake clock gives the chance it was given, a stepped one the same sequence for the same seed."""
    first, again, other = SteppedClock(seed=3), SteppedClock(seed=3), SteppedClock(seed=4)

    assert FakeClock(chance=0.25).random() == 0.25
    assert [first.random() for _ in range(3)] == [again.random() for _ in range(3)]
    assert first.random() != other.random()


async def test_a_stepped_clock_stands_still() -> None:
    """Sleepers wake in their order, when the clock has come that far."""
    clock = SteppedClock(now_ms=1_000)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper, "long", 3.0)
        tasks.start_soon(sleeper, "short", 1.0)
        await clock.advance(0.5)
        assert woken == []
        await clock.advance(2.0)
        assert woken == [("short", 1.0)]
        await clock.advance(1.0)

    assert woken == [("short", 1.0), ("long", 3.0)]
    assert clock.now_ms() == 4_500


async def test_time_passes_until_something_is_so() -> None:
    """The clock is advanced until the condition holds, and no further."""
    clock = SteppedClock()

    await clock.advance_until(lambda: clock.monotonic() >= 7.0, step=2.0)

    assert clock.monotonic() == 8.0


async def test_waiting_for_what_never_comes_fails() -> None:
    """A condition that does not hold in time fails the test."""
    with pytest.raises(AssertionError, match="within 5 s"):
        await SteppedClock().advance_until(lambda: False, at_most=5.0)
