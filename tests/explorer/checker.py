"""A small explicit-state model checker: breadth-first over every interleaving of processes, crashes and faults.

A process is a chain of *stages*. A stage is a generator: it yields requests, is sent the answers, and returns the next
stage with its arguments (or None when the process is done). It must be a pure function of its arguments and answers,
for its state is exactly those: (stage, arguments, answers so far). A stage that returns forgets its answers, which
keeps the number of states small, and a stage that returns itself is a loop without new states.

One step of the world is one of
* a process has its next request carried out and gets the answer, atomically;
* a process on a lagging replica has a *read* answered from an older state of the server;
* a *write* is delayed: its sender times out now, the request is carried out at any later moment or never. This is a
  lost request, a lost answer and a late request in one;
* a delayed request is carried out; its answer goes nowhere;
* a process crashes for good (a process that comes after it is simply one more process);
* the replica catches up with the server.
Delays and crashes are limited by a budget. Requests of the model's `local` kind are no traffic: they cannot fail and
happen together with the step before them (a choice of the process, or a remark for the invariants).

Limits: a bound is not a proof. A step of the server is atomic. A delayed request is carried out once. Reads do not time
out, for a repeated read differs from a slow one in nothing. All of a replica is of one moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

__all__ = ["TIMEOUT", "Facts", "Model", "Outcome", "Process", "Request", "Script", "explore", "process"]

TIMEOUT = "timeout"

Request = tuple[Any, ...]
Script = Generator[Request, Any, "tuple[Callable[..., Any], tuple[Any, ...]] | None"]
Invariant = Callable[["Facts"], str | None]


class Facts(dict[tuple[Any, ...], Any]):
    """The server's state: a dictionary that is never changed, only copied with changes."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:  # type: ignore[override]
        """Hash once, for many states of the world share one state of the server."""
        if not hasattr(self, "_hash"):
            self._hash = hash(frozenset(self.items()))
        return self._hash

    def but(self, *changes: tuple[tuple[Any, ...], Any]) -> Facts:
        """Return a copy with some facts added or replaced."""
        copy = Facts(self)
        copy.update(changes)
        return copy


class Process(NamedTuple):
    """Where a process is: its stage, what that was started with, what it was answered."""

    stage: Callable[..., Script]
    arguments: tuple[Any, ...]
    answers: tuple[Any, ...] = ()


class World(NamedTuple):
    """A state: the server, its replica, the processes (None: done or crashed), what is under way, the budgets left."""

    server: Facts
    replica: Facts
    processes: tuple[Process | None, ...]
    delayed: frozenset[Request]
    delays: int
    crashes: int


@dataclass(frozen=True)
class Model:
    """What is explored: how the server answers, what must hold, who takes part, how much goes wrong.

    `carry_out` gives every possible (new state, answer). `check` is asked about every state of the server and
    `at_the_end` about those in which no process is left; both return what is wrong, or None.
    """

    carry_out: Callable[[Facts, Request], list[tuple[Facts, Any]]]
    check: Invariant
    server: Facts
    processes: tuple[Process, ...]
    reads: frozenset[str]
    local: frozenset[str]
    delays: int = 0
    crashes: int = 0
    lagging: tuple[int, ...] = ()
    at_the_end: Invariant = field(default=lambda server: None)


@dataclass(frozen=True)
class Outcome:
    """How many states were found, and the first violation with the steps that lead to it."""

    states: int
    violation: str | None = None
    trace: tuple[str, ...] = ()


def process(stage: Callable[..., Script], *arguments: object) -> Process:
    """Return a process that starts with a stage."""
    return Process(stage, arguments)


def explore(model: Model, most: int = 1_000_000) -> Outcome:
    """Visit every state within the budgets, nearest first, until an invariant is broken or no state is left."""
    _next_request.cache_clear()
    worlds = [World(model.server, model.server, model.processes, frozenset(), model.delays, model.crashes)]
    for index, start in enumerate(model.processes):
        worlds = [settled for world in worlds for settled in _settled(model, world, index, start)]
    came_from: dict[World, tuple[World, tuple[Any, ...]] | None] = dict.fromkeys(worlds)
    verdicts: dict[Facts, str | None] = {}
    queue = deque(worlds)
    while queue:
        world = queue.popleft()
        if world.server not in verdicts:
            verdicts[world.server] = model.check(world.server)
        violation = verdicts[world.server] or (None if any(world.processes) else model.at_the_end(world.server))
        if violation:
            return Outcome(len(came_from), violation, _trace(came_from, world))
        for step, following in _successors(model, world):
            if following not in came_from:
                came_from[following] = (world, step)
                queue.append(following)
        if len(came_from) > most:
            raise RuntimeError(f"more than {most} states: choose smaller bounds")
    return Outcome(len(came_from))


def _successors(model: Model, world: World) -> Iterator[tuple[tuple[Any, ...], World]]:
    for index, running in enumerate(world.processes):
        found = _next_request(running) if running else None
        if not running or not found:
            continue
        request = found[1]
        for server, answer in model.carry_out(world.server, request):
            for following in _answered(model, world._replace(server=server), index, running, answer):
                yield (index, request, answer), following
        if request[0] in model.reads:
            if index in model.lagging and world.replica is not world.server:
                for _, answer in model.carry_out(world.replica, request):
                    for following in _answered(model, world, index, running, answer):
                        yield (index, request, answer, "from the replica"), following
        elif world.delays:
            later = world._replace(delayed=world.delayed | {request}, delays=world.delays - 1)
            for following in _answered(model, later, index, running, TIMEOUT):
                yield (index, request, TIMEOUT), following
        if world.crashes:
            yield (index, "crashes"), _put(world._replace(crashes=world.crashes - 1), index, None)
    for request in world.delayed:
        for server, _ in model.carry_out(world.server, request):
            yield ("late", request), world._replace(server=server, delayed=world.delayed - {request})
    if model.lagging and world.replica is not world.server:
        yield ("the replica catches up",), world._replace(replica=world.server)


def _answered(model: Model, world: World, index: int, running: Process, answer: object) -> Iterator[World]:
    return _settled(model, world, index, running._replace(answers=(*running.answers, answer)))


def _settled(model: Model, world: World, index: int, running: Process) -> Iterator[World]:
    """Yield the worlds in which the process has its next request on the wire, with its local ones carried out."""
    found = _next_request(running)
    if not found or found[1][0] not in model.local:
        yield _put(world, index, found[0] if found else None)
        return
    for server, answer in model.carry_out(world.server, found[1]):
        yield from _answered(model, world._replace(server=server), index, found[0], answer)


def _put(world: World, index: int, running: Process | None) -> World:
    return world._replace(processes=(*world.processes[:index], running, *world.processes[index + 1 :]))


@cache
def _next_request(running: Process) -> tuple[Process, Request] | None:
    """Return the process at the stage it is in and the request it waits for, or None when it is done."""
    while True:
        script = running.stage(*running.arguments)
        try:
            request = next(script)
            for answer in running.answers:
                request = script.send(answer)
        except StopIteration as stop:
            if stop.value is None:
                return None
            running = Process(*stop.value)
        else:
            return running, request


def _trace(came_from: dict[World, tuple[World, tuple[Any, ...]] | None], world: World) -> tuple[str, ...]:
    steps: list[str] = []
    while (before := came_from[world]) is not None:
        world, step = before
        who = f"process {step[0]}" if isinstance(step[0], int) else step[0]
        steps.append(" ".join(map(_shown, (who, *step[1:]))))
    return tuple(reversed(steps))


def _shown(part: str | int | tuple[Any, ...] | None) -> str:
    if isinstance(part, tuple):
        return f"({', '.join(map(_shown, part))})"
    text = str(part)
    return text if len(text) < 40 else f"{text[:12]}.."
