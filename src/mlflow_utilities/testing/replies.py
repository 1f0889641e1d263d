"""What a server makes of a request, faults included, before a carrier turns it into HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, Self

from mlflow_utilities._clock import Clock
from mlflow_utilities.testing.clock import FakeClock
from mlflow_utilities.testing.faults import Fault, Faults, ScriptedFault
from mlflow_utilities.testing.in_memory.exchange import Answer, Request
from mlflow_utilities.testing.recording import RecordedRequest

__all__ = ["Broken", "Pieces", "Refusing", "Reply", "Serving", "reply_to"]

_PIECE = 65536


class Refusing(Exception):  # noqa: N818 - what happens to a connection, caught by each carrier
    """The connection is refused."""


class Broken(Exception):  # noqa: N818 - what happens to a connection, caught by each carrier
    """The connection breaks; `answer` is what the server would have sent."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("cut by the test")
        self.answer = answer


class Serving(Protocol):
    """What a carrier needs of a server."""

    @property
    def clock(self) -> Clock:
        """The server's clock."""
        ...

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        ...

    def record(self, request: Request) -> RecordedRequest:
        """Remember a request."""
        ...

    def answer(self, request: Request) -> Answer:
        """Do what was asked."""
        ...


class Pieces:
    """The body of an answer, piece by piece; raises Broken where the fault cuts it."""

    def __init__(self, answer: Answer, fault: Fault | None, clock: Clock) -> None:
        self._answer = answer
        self._clock = clock
        self._size = (fault and fault.piece) or _PIECE
        self._pause = fault.seconds if fault and fault.piece else None
        self._cut = fault.cut_after if fault else None
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        body = self._answer.body
        if self._cut is not None and self._sent >= min(self._cut, len(body)):
            raise Broken(self._answer)
        if self._sent >= len(body):
            raise StopAsyncIteration
        if self._pause is not None:
            await self._clock.sleep(self._pause)
        end = self._sent + self._size if self._cut is None else min(self._sent + self._size, self._cut)
        piece = body[self._sent : end]
        self._sent += len(piece)
        return piece


@dataclass(frozen=True, slots=True)
class Reply:
    """A head, and a body to come."""

    answer: Answer
    pieces: Pieces

    @classmethod
    def of(cls, answer: Answer, fault: Fault | None, clock: Clock) -> Self:
        """Return the reply that a fault makes of an answer."""
        return cls(answer, Pieces(answer, fault, clock))


async def reply_to(server: Serving, request: Request) -> Reply:
    """Record the request, do what was asked, and let go wrong what should.

    Raises:
        Refusing: the connection is refused; the request does not count as received.
        Broken: the connection breaks before the head.
        UnsupportedByInMemoryMlflow: the server does not imitate this.

    """
    scripted = server.faults.take(request)
    if scripted is None:
        recorded = server.record(request)
        answer = server.answer(request)
        recorded.status = answer.status
        return Reply.of(answer, None, server.clock)
    if scripted.fault.refuses:
        raise Refusing
    return await _go_wrong(server, server.record(request), scripted)


async def _go_wrong(server: Serving, recorded: RecordedRequest, scripted: ScriptedFault) -> Reply:
    fault = scripted.fault
    answer = server.answer(recorded.request) if fault.reaches_server else fault.answer
    if fault.stalls:
        await _stall(server.clock, scripted)
    if answer is None:
        answer = server.answer(recorded.request)
    if fault.loses_answer:
        raise Broken(answer)
    recorded.status = answer.status
    return Reply.of(answer, fault, server.clock)


async def _stall(clock: Clock, scripted: ScriptedFault) -> None:
    if scripted.fault.seconds is not None:
        await clock.sleep(scripted.fault.seconds)
        return
    if isinstance(clock, FakeClock):
        await clock.run_out()
    await scripted.wait_released()
