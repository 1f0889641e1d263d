"""Pins: what a tester chose holds inside the block, in this task, and nowhere else."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.serving.pins import current_pin, pin


def pinned(owner: object = None) -> str | None:
    """Return the run, or the version, that is pinned here."""
    found = current_pin(owner)
    return None if found is None else found.run_id or found.version


def test_nothing_is_pinned_at_first() -> None:
    """Without a block there is no pin."""
    assert current_pin() is None


def test_a_pin_holds_inside_its_block() -> None:
    """It names the run alone, and is over after the block."""
    with pin("run-a") as made:
        assert current_pin() is made
        assert (made.run_id, made.version) == ("run-a", None)
    assert current_pin() is None


@pytest.mark.parametrize(
    "version", ["1.4.2", "v1.4.2", "1.4.2+build.7", (1, 4, 2), Version.parse("1.4.2+build.7")], ids=repr
)
def test_a_version_is_pinned_however_it_is_spelt(version: Any) -> None:
    """Build metadata does not tell versions apart."""
    with pin(version=version) as made:
        assert (made.run_id, made.version) == (None, "1.4.2")


def test_the_innermost_pin_counts() -> None:
    """The outer one holds again after the inner block."""
    with pin("outer"):
        with pin(version="1.4.2"):
            assert pinned() == "1.4.2"
            with pin("inner"):
                assert pinned() == "inner"
            assert pinned() == "1.4.2"
        assert pinned() == "outer"
    assert pinned() is None


def test_a_pin_ends_with_an_error_too() -> None:
    """The error goes on, the pin does not."""
    with pytest.raises(RuntimeError, match="broken"), pin("run-a"):
        raise RuntimeError("broken")
    assert current_pin() is None


def test_a_pin_can_be_for_one_owner() -> None:
    """Of two submodels in one service, one is pinned, the other goes on by its slots; both can be."""
    one, other = object(), object()
    with pin("run-a", owner=one):
        assert (pinned(one), pinned(other), pinned()) == ("run-a", None, None)
        with pin("run-b", owner=other):
            assert (pinned(one), pinned(other)) == ("run-a", "run-b")
            with pin("run-c"):
                assert (pinned(one), pinned(other), pinned()) == ("run-c", "run-c", "run-c")
            with pin("run-d", owner=one):
                assert (pinned(one), pinned(other)) == ("run-d", "run-b")


@pytest.mark.anyio
async def test_pins_do_not_leak_between_tasks() -> None:
    """Two requests at the same time have their own pins, and a third has none."""
    ready = [anyio.Event(), anyio.Event()]
    seen: dict[str, list[str | None]] = {}

    async def request(name: str, own: anyio.Event, other: anyio.Event) -> None:
        with pin(name):
            own.set()
            await other.wait()
            seen[name] = [pinned()]
        seen[name].append(pinned())

    async with anyio.create_task_group() as group:
        group.start_soon(request, "run-a", ready[0], ready[1])
        group.start_soon(request, "run-b", ready[1], ready[0])
        await ready[0].wait()
        await ready[1].wait()
        assert pinned() is None

    assert seen == {"run-a": ["run-a", None], "run-b": ["run-b", None]}


@pytest.mark.anyio
async def test_a_pin_holds_in_tasks_and_threads_started_inside() -> None:
    """What a request starts belongs to it, and keeps the pin after the block is left."""
    seen: list[str | None] = []
    left = anyio.Event()

    async def part() -> None:
        await left.wait()
        seen.append(pinned())

    async with anyio.create_task_group() as group:
        with pin("run-a"):
            group.start_soon(part)
            seen.append(await anyio.to_thread.run_sync(pinned))
        left.set()

    assert seen == ["run-a", "run-a"]
    assert pinned() is None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"run_id": "run-a", "version": "1.4.2"},
        {"run_id": ""},
        {"run_id": 17},
        {"version": "newest"},
        {"version": "^1"},
        {"version": ""},
        {"version": 1.4},
    ],
    ids=repr,
)
def test_a_pin_that_says_nothing_clear_is_refused(wrong: dict[str, Any]) -> None:
    """Both or neither given, or no run id, or no version: before the block is entered."""
    with ExitStack() as stack, pytest.raises(InvalidInputError):
        stack.enter_context(pin(**wrong))
    with pytest.raises(InvalidInputError):
        pin(**wrong)
