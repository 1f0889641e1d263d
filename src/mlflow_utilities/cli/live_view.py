"""The live view of a rollout on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from mlflow_utilities._clock import Clock
from mlflow_utilities.cli.printing import fraction, moment
from mlflow_utilities.cli.tables import new_table
from mlflow_utilities.cli.watching import Seen, poll_line, rows, who_line
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["LiveView", "rendered"]

_SECOND = 1.0
_STYLES = {ModelStatus.Active: "green", ModelStatus.Canary: "yellow"}


class LiveView:
    """Redraws what is known after each poll, and every second how long the next one takes to come."""

    def __init__(self, color: bool, console: Console | None = None) -> None:
        console = console or Console(no_color=not color, highlight=False)
        self._live = Live(Text("asking the server ..."), console=console, auto_refresh=False)
        self._seen: Seen | None = None
        self._changes = 0
        self._due = 0.0

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, seen: Seen, *, changed: bool) -> None:
        """Draw what a poll left; `changed` counts it as a change."""
        self._seen = seen
        self._changes += changed
        self._due = time.monotonic() + seen.wait
        self._draw()

    async def tick(self, clock: Clock) -> None:
        """Draw the seconds that pass, until cancelled."""
        while True:
            await clock.sleep(_SECOND)
            self._draw()

    def _draw(self) -> None:
        if self._seen is not None:
            left = max(self._due - time.monotonic(), 0.0)
            self._live.update(rendered(self._seen, left, self._changes), refresh=True)


def rendered(seen: Seen, left: float, changes: int) -> RenderableType:
    """Return the picture of what is known, with `left` seconds until the next poll."""
    table = new_table(("version", "run", "status", "share"))
    for row in rows(seen.document):
        status = Text(row.status.name, style=_STYLES.get(row.status, ""))
        copies = " of copies" if row.status is ModelStatus.Canary else ""
        table.add_row(Text(row.version), Text(row.run_id), status, Text(f"{fraction(row.share)}{copies}"))
    document = seen.document
    if document is not None:
        head = Text(f"{seen.submodel}: generation {document.generation}", style="bold")
        body: list[RenderableType] = [Text(who_line(document)), table if document.live else Text("no live run")]
    else:
        head = Text(seen.submodel, style="bold")
        body = [Text("nothing is rolled out yet" if seen.reached else "nothing is known yet")]
    style = "red" if seen.error else "dim"
    changed = "1 change seen" if changes == 1 else f"{changes} changes seen"
    return Group(head, *body, Text(f"{moment(seen.at)}  {poll_line(seen, left)}; {changed}", style=style))
