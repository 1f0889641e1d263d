"""Which models could not be loaded, why, and from when on it may be tried again: no I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from mlflow_utilities.errors import MlflowConnectionError, MlflowTimeoutError, RateLimitedError, ServerError

__all__ = ["Failures"]

_FIRST = 60.0
_LONGEST = 3600.0
_LONGEST_OF_OUTAGES = 300.0
_MOST = 1000
_OUTAGES = (MlflowConnectionError, MlflowTimeoutError, RateLimitedError, ServerError)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
    pause: float
    until: float


class Failures:
    """Remembers the last failure of each run. Times are in seconds of a monotonic clock.

    A run may be tried again after 60 s, then after twice as long each time: up to an hour, or up to five minutes while
    the server does not answer, so that a long outage does not cost another hour after it.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failure] = OrderedDict()

    def remember(self, run_id: str, error: Exception, now: float) -> None:
        """Note that loading a run failed."""
        before = self._failures.pop(run_id, None)
        longest = _LONGEST_OF_OUTAGES if isinstance(error, _OUTAGES) else _LONGEST
        pause = min(longest, before.pause * 2) if before and before.pause else _FIRST
        self._failures[run_id] = _Failure(error, pause, now + pause)
        self._bound()

    def refuse(self, run_id: str, error: Exception, now: float) -> None:
        """Note that a run was not tried, which costs nothing and may be looked at again at once."""
        if run_id not in self._failures:
            self._failures[run_id] = _Failure(error, 0.0, now)
            self._bound()

    def blocking(self, run_id: str, now: float) -> Exception | None:
        """Return the failure because of which a run may not be tried again yet."""
        failure = self._failures.get(run_id)
        return failure.error if failure is not None and now < failure.until else None

    def forget(self, run_id: str) -> None:
        """Allow to try a run at once; also after success."""
        self._failures.pop(run_id, None)

    def reasons(self, run_ids: Collection[str]) -> dict[str, str]:
        """Return why each of these runs could not be loaded, of those that could not."""
        return {
            run_id: f"{_name(failure.error)}: {failure.error}"
            for run_id, failure in self._failures.items()
            if run_id in run_ids
        }

    def _bound(self) -> None:
        while len(self._failures) > _MOST:
            self._failures.popitem(last=False)


def _name(error: Exception) -> str:
    """Return the name of the public class that an error belongs to."""
    return next(base.__name__ for base in type(error).__mro__ if not base.__name__.startswith("_"))
