"""Time and chance, in one place so that tests can supply their own."""

from __future__ import annotations

import random
import time
from typing import Protocol

import anyio

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the package needs of time and chance."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...

    def random(self) -> float:
        """Return a number in [0.0, 1.0)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def time_limit(self, seconds: float) -> anyio.CancelScope:
        """Return a scope that cancels what runs in it once the seconds have passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def random(self) -> float:
        """Return a number in [0.0, 1.0)."""
        return random.random()

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable."""
        await anyio.sleep(seconds)

    def time_limit(self, seconds: float) -> anyio.CancelScope:
        """Return a scope that cancels what runs in it once the seconds have passed."""
        return anyio.move_on_after(seconds)
