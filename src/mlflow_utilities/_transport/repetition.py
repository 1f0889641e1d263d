"""One call from its first attempt to its end: credentials, repetition, one total deadline, closing of the client."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import anyio

from mlflow_utilities._clock import Clock
from mlflow_utilities._transport.guard import Guard
from mlflow_utilities._transport.redaction import redact
from mlflow_utilities.errors import MlflowTimeoutError, MlflowUtilitiesError, UnauthenticatedError
from mlflow_utilities.retry import RetryPolicy, decide
from mlflow_utilities.typing import Call, Safety

__all__ = ["Attempt", "Authorization", "Progress", "Repeater"]

T = TypeVar("T")

_log = logging.getLogger("mlflow_utilities")


class Authorization(Protocol):
    """What the transport needs of credentials."""

    async def header(self) -> tuple[bytes | None, int]:
        """Return the header's value, and a number that stands for these credentials."""
        ...

    async def refresh(self, used: int) -> bool:
        """Replace the credentials `used`; return whether trying again makes sense."""
        ...

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must not appear in any message."""
        ...


@dataclass(slots=True)
class Progress:
    """How far a call came: attempts begun, whether the server may have seen one, and how the last one failed."""

    attempts: int = 0
    sent: bool = False
    error: MlflowUtilitiesError | None = None


Attempt = Callable[[bytes | None, Progress], Awaitable[T]]


class Repeater:
    """Makes attempts at a call until one succeeds, repeating cannot help, or time is up."""

    def __init__(
        self, authorization: Authorization, clock: Clock, guard: Guard, secrets: Callable[[], tuple[str, ...]]
    ) -> None:
        self._authorization = authorization
        self._secrets = secrets
        self._clock = clock
        self._guard = guard
        self._under_way: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """End every call under way with ClientStateError."""
        for scope in tuple(self._under_way):
            scope.cancel()

    async def run(self, call: Call, attempt: Attempt[T], total: float | None, policy: RetryPolicy) -> T:
        """Return what the first successful attempt gives; `total` seconds bound all of them together."""
        self._guard.check()
        progress = Progress()
        deadline = None if total is None else self._clock.monotonic() + total
        scope = anyio.CancelScope() if total is None else self._clock.time_limit(total)
        self._under_way.add(scope)
        try:
            with scope:
                return await self._repeated(call, attempt, policy, deadline, progress)
        finally:
            self._under_way.discard(scope)
        self._guard.check_not_closed_meanwhile()
        last = progress.error
        said = "" if last is None else f"; the last attempt failed: {str(last).removesuffix(f' ({last.hint})')}"
        raise MlflowTimeoutError(
            f"{call.method} {call.path}: not done within {total or 0.0:g} s{said}",
            sent=progress.sent,
            hint=None if last is None else last.hint,
        ) from last

    async def _repeated(
        self, call: Call, attempt: Attempt[T], policy: RetryPolicy, deadline: float | None, progress: Progress
    ) -> T:
        refreshed = False
        failures = 0
        while True:
            used = 0
            progress.attempts += 1
            try:
                authorization, used = await self._authorization.header()
                return await attempt(authorization, progress)
            except MlflowUtilitiesError as error:
                self._guard.check_not_closed_meanwhile(error)
                progress.error = redact(error, self._secrets())
                self._tell(call, progress)
                if isinstance(error, UnauthenticatedError) and not refreshed:
                    refreshed = True
                    if await self._authorization.refresh(used):
                        continue
                delay = decide(error, failures, call.safety, policy, self._clock.random())
                if delay is None or (deadline is not None and self._clock.monotonic() + delay >= deadline):
                    raise
            failures += 1
            # A creation is repeated only when the server cannot have seen it, or said that it did not do it.
            progress.sent = call.safety is not Safety.CREATE
            if delay:
                await self._clock.sleep(delay)

    def _tell(self, call: Call, progress: Progress) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            kind = type(progress.error).__name__
            _log.debug("%s %s: attempt %d failed: %s", call.method, call.path, progress.attempts, kind)
