"""Time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

import anyio
from anyio.lowlevel import checkpoint

__all__ = ["FakeClock", "SteppedClock"]

_TURNS = 40


class FakeClock:
    """A `mlflow_utilities._clock.Clock`: sleeping advances it at once, and `chance` is what `random()` gives."""

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
        """Return the start, plus what passed."""
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
        """Return a scope that `advance` cancels."""
        scope = anyio.CancelScope()
        self._limits.append((self._elapsed + seconds, scope))
        return scope


class SteppedClock:
    """A `mlflow_utilities._clock.Clock` that stands still until `advance`; chance comes from a seeded generator."""

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

        A task that waits for a thread or a socket counts as waiting: such a test waits for an event of its own.
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


async def _settled() -> None:
    # On asyncio, wait_all_tasks_blocked looks only every 0.1 s while some task is not done.
    for _ in range(_TURNS):
        await checkpoint()
    await anyio.wait_all_tasks_blocked()
