"""When to stop asking something that fails, and when to try it again: a pure rule, the time is given."""

from __future__ import annotations

from collections import deque

__all__ = ["Breaker"]


class Breaker:
    """Opens after failures, lets a single trial through after a pause, and closes when the trial succeeds.

    It opens after `failures` failures in a row, or when a share of at least `rate` of the last `window` calls failed.
    The `pause` in seconds doubles with every trial that fails, up to `longest`. Times are seconds that never go back.
    """

    def __init__(
        self, *, failures: int = 5, rate: float = 0.5, window: int = 20, pause: float = 30.0, longest: float = 600.0
    ) -> None:
        self._failures = failures
        self._rate = rate
        self._shortest = pause
        self._longest = longest
        self._outcomes: deque[bool] = deque(maxlen=window)
        self._in_a_row = 0
        self._pause = pause
        self._until: float | None = None
        self._trying = False

    def is_open(self, now: float) -> bool:
        """Return whether it lets nothing through now."""
        return self._until is not None and now < self._until

    def allows(self, now: float) -> bool:
        """Return whether a call may be made; after a pause that is true once, for the trial.

        A trial whose outcome never comes is followed by another after the same pause.
        """
        if self._until is None:
            return True
        if now < self._until:
            return False
        self._until = now + self._pause
        self._trying = True
        return True

    def succeeded(self) -> None:
        """Note that a call succeeded."""
        if self._trying:
            self._close()
        elif self._until is None:
            self._in_a_row = 0
            self._outcomes.append(True)

    def failed(self, now: float) -> None:
        """Note that a call failed."""
        if self._trying:
            self._pause = min(self._pause * 2, self._longest)
            self._open(now)
        elif self._until is None:
            self._in_a_row += 1
            self._outcomes.append(False)
            if self._in_a_row >= self._failures or self._fails_often():
                self._open(now)

    def _fails_often(self) -> bool:
        seen = len(self._outcomes)
        return seen == self._outcomes.maxlen and self._outcomes.count(False) >= self._rate * seen

    def _open(self, now: float) -> None:
        self._until = now + self._pause
        self._trying = False

    def _close(self) -> None:
        self._until, self._trying = None, False
        self._pause, self._in_a_row = self._shortest, 0
        self._outcomes.clear()
