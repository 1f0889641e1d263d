"""`watch`: follow a rollout as services do, live on a terminal, else one line for each change."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import click

from mlflow_utilities.cli.following import Follower
from mlflow_utilities.cli.options import Common, FiniteRange, Named, common_options, experiment_options
from mlflow_utilities.cli.printing import moment, shown
from mlflow_utilities.cli.running import new_client
from mlflow_utilities.cli.watching import Seen, as_json, change_line, differs

if TYPE_CHECKING:
    from mlflow_utilities.cli.live_view import LiveView

__all__ = ["command"]

_CANNOT_REDRAW = ("dumb", "unknown")


@click.command()
@experiment_options
@click.option(
    "--interval",
    type=FiniteRange(min=0.1, max=3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between polls, 15 % more or less; longer while the server is down.",
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after N changes; what is found first is one."
)
@click.option(
    "--until-generation",
    type=click.IntRange(min=1),
    metavar="N",
    help="End once generation N, or a later one, is there.",
)
@common_options
@click.pass_obj
def command(common: Common, named: Named, interval: float, count: int | None, until_generation: int | None) -> None:
    """Follow a rollout live, as a service sees it.

    A poll is one GET. On a terminal the view is redrawn; else a line is printed for each change, with --json an object.
    A server that is down is waited for, ever longer, up to five minutes. Ctrl-C ends it.
    """
    stop = Stop(count, until_generation)
    if sys.stdout.isatty() and not common.json and os.environ.get("TERM") not in _CANNOT_REDRAW:
        from mlflow_utilities.cli.live_view import LiveView

        with LiveView(common.color) as view:
            anyio.run(_follow, common, named, interval, _Live(view, stop), view)
    else:
        anyio.run(_follow, common, named, interval, _Lines(common.json, stop), None)


class Stop:
    """Says when there is nothing more to wait for."""

    def __init__(self, count: int | None, generation: int | None) -> None:
        self._left = count
        self._generation = generation

    def after(self, seen: Seen, *, changed: bool) -> bool:
        """Return whether this is the end: the last change to wait for, or the generation."""
        if changed and self._left is not None:
            self._left -= 1
        return self._left == 0 or (self._generation is not None and seen.generation >= self._generation)


class _Lines:
    """Prints a line for each change."""

    def __init__(self, as_objects: bool, stop: Stop) -> None:
        self._as_objects = as_objects
        self._stop = stop
        self._before: Seen | None = None

    def __call__(self, seen: Seen) -> bool:
        """Take a poll; return whether it was the last."""
        before, self._before = self._before, seen
        changed = differs(before, seen)
        if changed:
            line = json.dumps(as_json(seen)) if self._as_objects else f"{moment(seen.at)}  {change_line(before, seen)}"
            click.echo(shown(line))
        return self._stop.after(seen, changed=changed)


class _Live:
    """Shows each poll in the view."""

    def __init__(self, view: LiveView, stop: Stop) -> None:
        self._view = view
        self._stop = stop
        self._before: Seen | None = None

    def __call__(self, seen: Seen) -> bool:
        """Take a poll; return whether it was the last."""
        before, self._before = self._before, seen
        changed = differs(before, seen)
        self._view.show(seen, changed=changed)
        return self._stop.after(seen, changed=changed)


async def _follow(
    common: Common, named: Named, interval: float, on_seen: Callable[[Seen], bool], view: LiveView | None
) -> None:
    async with new_client(common) as client:
        follower = Follower(client, named, interval=interval)
        async with anyio.create_task_group() as group:
            if view is not None:
                group.start_soon(view.tick, client.clock)
            await follower.run(on_seen)
            group.cancel_scope.cancel()
