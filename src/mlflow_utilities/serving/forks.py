"""What happens to services in a forked child: they decide from what is loaded, and share nothing that is open."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["remember"]


class Forkable(Protocol):
    """What is told that this process is a forked child."""

    def after_fork(self) -> None:
        """Drop what belongs to the parent's event loop."""
        ...


_alive: WeakSet[Forkable] = WeakSet()


def remember(service: Forkable) -> None:
    """Tell `service` when it finds itself in a forked child; it is not kept alive for that."""
    _alive.add(service)


def _tell() -> None:
    for service in list(_alive):
        service.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
