"""Time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

import anyio
from anyio.lowlevel import checkpoint

from mlflow_utilities._clock import SystemClock

__all__ = ["FakeClock", "PromptClock", "SteppedClock"]

_TURNS = 40
_TURN_OF_THREADS = 0.001


_SHORT = 3.0
_FASTER = 100.0


class PromptClock(SystemClock):
    """The machine's time, but waits of up to 3 seconds take a hundredth of that: what a server has unless told another.

    Those are the waits that spread the load of a fleet, and those between repetitions; time limits and polls are as
    they always are.
    """

    async def sleep(self, seconds: float) -> None:
        """Wait, but not for long."""
        await super().sleep(seconds / _FASTER if seconds <= _SHORT else seconds)


class FakeClock:
    """A clock for a client on which waiting takes no time: `sleep` lets the time pass at once.

    Give it to code that waits now and then, such as a client that tries again; not to a service that polls, which
    would poll without end: that one wants a `SteppedClock`.

    Args: `now_ms`, the time it starts with, in milliseconds since 1970; `chance`, what `random()` gives, in [0, 1).
    """

    def __init__(self, *, now_ms: int = 1_790_000_000_000, chance: float = 0.5) -> None:
        self.chance = chance
        self.slept: list[float] = []
        self._elapsed = 0.0
        self._start_ms = now_ms
        self._limits: list[tuple[float, anyio.CancelScope]] = []

    def monotonic(self) -> float:
        """Return the seconds that passed."""
        return self._elapsed

    def now_ms(self) -> int:
        """Return the start, plus what passed, in milliseconds since 1970."""
        return self._start_ms + round(self._elapsed * 1000)

    def random(self) -> float:
        """Return `chance`."""
        return self.chance

    def advance(self, seconds: float) -> None:
        """Let time pass: limits that are over cancel what runs in them."""
        self._elapsed += seconds
        for end, scope in self._limits:
            if end <= self._elapsed:
                scope.cancel()
        self._limits = [(end, scope) for end, scope in self._limits if end > self._elapsed]

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once, and note it in `slept`."""
        self.slept.append(seconds)
        self.advance(seconds)
        await checkpoint()

    def time_limit(self, seconds: float) -> anyio.CancelScope:
        """Return a scope that is cancelled once the seconds have passed."""
        scope = anyio.CancelScope()
        self._limits.append((self._elapsed + seconds, scope))
        return scope

    async def run_out(self) -> None:
        """Let time pass until every limit that was set is over."""
        while self._limits:
            self.advance(min(end for end, _ in self._limits) - self._elapsed)
            await checkpoint()


class SteppedClock:
    """A clock for a client and a service, which stands still until a test calls `advance`.

    Args: `now_ms`, the time it starts with, in milliseconds since 1970; `seed` of what `random()` gives.
    """

    def __init__(self, *, now_ms: int = 1_790_000_000_000, seed: int = 1) -> None:
        self.now = now_ms
        self._elapsed = 0.0
        self._chance = Random(seed)
        self._numbers = count()
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []

    def monotonic(self) -> float:
        """Return the seconds that passed."""
        return self._elapsed

    def now_ms(self) -> int:
        """Return the start, plus what passed; setting `now` makes the wall clock jump."""
        return self.now + round(self._elapsed * 1000)

    def random(self) -> float:
        """Return a number in [0.0, 1.0)."""
        return self._chance.random()

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has come that far."""
        if seconds <= 0:
            await checkpoint()
            return
        woken = anyio.Event()
        self._at(seconds, woken.set)
        await woken.wait()

    def time_limit(self, seconds: float) -> anyio.CancelScope:
        """Return a scope that `advance` cancels."""
        scope = anyio.CancelScope()
        self._at(seconds, scope.cancel)
        return scope

    def _at(self, seconds: float, then: Callable[[], object]) -> None:
        heappush(self._waiting, (self._elapsed + seconds, next(self._numbers), then))

    async def advance(self, seconds: float) -> None:
        """Let time pass, moment by moment: whoever is due runs until every task waits for something again.

        A task that waits for a thread or a socket counts as waiting: such a test waits for an event of its own, or
        uses `advance_until`.
        """
        end = self._elapsed + seconds
        await _settled()
        while self._waiting and self._waiting[0][0] <= end:
            self._elapsed, _, then = heappop(self._waiting)
            then()
            while self._waiting and self._waiting[0][0] <= self._elapsed:
                heappop(self._waiting)[2]()
            await _settled()
        self._elapsed = end

    async def advance_until(self, condition: Callable[[], bool], *, step: float = 1.0, at_most: float = 1000.0) -> None:
        """Let time pass, `step` seconds at a time, until `condition()` holds; threads get their turn in between.

        Raises AssertionError when it does not hold after `at_most` seconds of this clock.
        """
        end = self._elapsed + at_most
        while not condition():
            if self._elapsed >= end:
                raise AssertionError(f"the condition did not hold within {at_most:g} s of the clock")
            await self.advance(step)
            await anyio.sleep(_TURN_OF_THREADS)


async def _settled() -> None:
    # On asyncio, wait_all_tasks_blocked looks only every 0.1 s while some task is not done.
    for _ in range(_TURNS):
        await checkpoint()
    await anyio.wait_all_tasks_blocked()
