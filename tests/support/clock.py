"""Time that passes when a test says so."""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint

__all__ = ["FakeClock"]


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
