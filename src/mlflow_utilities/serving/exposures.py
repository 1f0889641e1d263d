"""Which exposures were told already, within a bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.serving.values import Exposure, Reason

__all__ = ["Exposures"]


class Exposures:
    """Tells the first exposure of a key to a run from its repetitions, from any thread.

    The least recently seen are forgotten first, so an exposure may be told again after `limit` others.

    Args:
        limit: how many are remembered, 1 or more.

    Raises:
        InvalidInputError: the limit is not an integer from 1 up.

    """

    def __init__(self, limit: int = 10_000) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"{limit!r} exposures cannot be remembered", hint="give an integer from 1 up")
        self._limit = limit
        self._seen: OrderedDict[tuple[str, str, Reason], None] = OrderedDict()
        self._lock = Lock()

    def record(self, exposure: Exposure) -> bool:
        """Return whether the exposure is to be told: False when the same key met the same run before.

        What a pin decided is kept apart: it does not count as the exposure that the key's slot makes later.
        """
        seen = (exposure.key, exposure.run_id, exposure.reason)
        with self._lock:
            if seen in self._seen:
                self._seen.move_to_end(seen)
                return False
            self._seen[seen] = None
            if len(self._seen) > self._limit:
                self._seen.popitem(last=False)
            return True

    def __len__(self) -> int:
        return len(self._seen)
