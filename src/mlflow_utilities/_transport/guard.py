"""A client belongs to one process and one event loop, until it is closed."""

from __future__ import annotations

import os

from anyio.lowlevel import current_token

from mlflow_utilities.errors import ClientStateError

__all__ = ["Guard"]


class Guard:
    """Notices use after closing, in a forked child, and on another event loop."""

    def __init__(self) -> None:
        self.closed = False
        self._process = os.getpid()
        self._loop: object | None = None

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that made the client."""
        return os.getpid() != self._process

    def check(self) -> None:
        """Raise ClientStateError unless the client may be used here and now."""
        if self.closed:
            raise ClientStateError("the client is closed", hint="make a new one, or close it later")
        if self.forked:
            raise ClientStateError(
                "the client was made before this process was forked", hint="make the client after the fork"
            )
        loop = current_token()
        if self._loop is None:
            self._loop = loop
        elif self._loop != loop:
            raise ClientStateError(
                "the client is used on another event loop than before", hint="make one client for each event loop"
            )

    def check_not_closed_meanwhile(self, cause: BaseException | None = None) -> None:
        """Raise ClientStateError when the client was closed during a call."""
        if self.closed:
            raise ClientStateError("the client was closed during the call") from cause
