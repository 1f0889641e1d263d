"""When to poll: pure functions of the interval, of chance and of what the last poll met."""

from __future__ import annotations

import math

from mlflow_utilities.errors import InvalidInputError

__all__ = ["Schedule"]

_START_WINDOW = 2.0
_SHORTEST_HINT = 5.0
_LONGEST_HINT = 3600.0


class Schedule:
    """Says how many seconds to wait before the next poll; every `chance` is a random number in [0, 1).

    Args: `interval` in seconds between polls that succeed; `longest` in seconds, which waits after failures do not
    exceed (twice the interval, where that is more). With 30 and 300 seconds, an outage of 10 minutes costs at most 6
    polls.

    Raises InvalidInputError when one of them is not a finite number above 0.
    """

    def __init__(self, interval: float, *, longest: float = 300.0) -> None:
        self._asked = _checked(interval, "interval")
        self._longest = _checked(longest, "longest")
        self._hint: float | None = None
        self._before: float | None = None
        self._begun = False

    @property
    def interval(self) -> float:
        """Mean seconds between polls that succeed: the document's hint, else what the service asked for."""
        return self._asked if self._hint is None else self._hint

    @property
    def longest(self) -> float:
        """Seconds that a wait after a failure does not exceed."""
        return max(self._longest, 2 * self.interval)

    @property
    def failing(self) -> bool:
        """Whether the last poll failed."""
        return self._before is not None

    def change(self, interval: float) -> None:
        """Poll at another interval from the next poll on; a document's hint still goes before it."""
        self._asked = _checked(interval, "interval")

    def first(self, chance: float) -> float:
        """Return the seconds before the very first poll: services that start together do not poll together."""
        return chance * min(_START_WINDOW, self.interval / 10)

    def phase(self, chance: float) -> float:
        """Return a moment anywhere within an interval: services that begin together are spread evenly over it."""
        return chance * self.interval

    def succeeded(self, chance: float, hint: float | None = None) -> float:
        """Return the seconds after a poll that succeeded: the interval, 15 % more or less.

        `hint` in seconds, from the document, replaces the interval (within 5 and 3600) until a document has none. The
        first success, and the first after failures, are followed by a wait anywhere within the interval.
        """
        self._hint = None if hint is None else min(max(hint, _SHORTEST_HINT), _LONGEST_HINT)
        spread = self.failing or not self._begun
        self._begun, self._before = True, None
        return self.phase(chance) if spread else self.interval * _jitter(chance)

    def failed(self, chance: float, *, slow: bool = False, retry_after: float | None = None) -> float:
        """Return the seconds after a poll that failed: 1.5 to 3 times the wait before, up to `longest`.

        `slow`, for what only a person can mend: `longest` at once, 15 % more or less. `retry_after` in seconds, from
        the server, is waited for, up to `longest`, and up to one interval more, for the server told everybody the same.
        """
        if slow:
            wait = self._before = self.longest
            wait *= _jitter(chance)
        else:
            before = self._before or self.interval
            low, high = min(1.5 * before, self.longest / 2), min(3 * before, self.longest)
            wait = self._before = low + (high - low) * chance
        if retry_after is not None:
            wait = max(wait, min(retry_after, self.longest) + self.phase(chance))
        return wait


def _jitter(chance: float) -> float:
    return 0.85 + 0.3 * chance


def _checked(seconds: float, name: str) -> float:
    if isinstance(seconds, bool) or not 0 < seconds < math.inf:
        raise InvalidInputError(f"{name} is {seconds!r}", hint="give a number of seconds above 0")
    return float(seconds)
