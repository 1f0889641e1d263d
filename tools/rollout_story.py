"""The picture of a rollout over time: who owns which slots in each generation, computed by the planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlflow_utilities.rollout import planner, splits
from mlflow_utilities.rollout.draft import Change, State
from mlflow_utilities.rollout.slots import TOTAL, Ranges, count
from mlflow_utilities.rollout.status import ModelStatus
from tools.example_states import VERSION, committed, run_facts, start
from tools.svg import FAINT, INK, MUTED, Picture

__all__ = ["Step", "picture", "story", "table"]

RUNS = ("A", "B", "C")
COLOURS = {"A": "#3949ab", "B": "#b45309", "C": "#0f766e"}
WIDTH, LEFT, COLUMN, BAR = 400, 43, 51, 34
TOP, PLOT = 22, 240
LABELS = TOP + PLOT + 14
BADGES = LABELS + 24


@dataclass(frozen=True, slots=True)
class Step:
    """One generation: the call that made it, in words for the picture, and the state after it."""

    call: str
    words: str
    state: State

    @property
    def owned(self) -> dict[str, Ranges]:
        """The slots of each Active run."""
        return {entry.run: entry.slots for entries in self.state.live.values() for entry in entries if entry.slots}


def story() -> list[Step]:
    """Return the generations of the example, the state before the first one included."""
    state = start(*(run_facts(run) for run in RUNS))
    steps = [Step("", "saved", state)]
    for call, words, plan in _plans(steps):
        verb = call.split("(")[0]
        state = committed(state, plan(state), verb)
        steps.append(Step(call, words, state))
    return steps


def _plans(steps: list[Step]) -> list[tuple[str, str, Callable[[State], Change]]]:
    def split(**weights: float) -> Callable[[State], Change]:
        return lambda state: splits.update_active(state, weights, splits.Scope(VERSION))

    def roll_back(state: State) -> Change:
        earlier = steps[-2].state.document
        assert earlier is not None
        return planner.restore(state, earlier)

    return [
        ("enable_run(A)", "A alone", lambda state: planner.enable(state, "A")),
        ("canary_run(B)", "canary B", lambda state: planner.canary(state, "B")),
        ("update_active_runs({A: 0.9, B: 0.1})", "B 10%", split(A=0.9, B=0.1)),
        ("update_active_runs({A: 0.4, B: 0.5, C: 0.1})", "B 50%", split(A=0.4, B=0.5, C=0.1)),
        ("enable_run(B)", "B 100%", lambda state: planner.enable(state, "B")),
        ("rollback()", "rollback", roll_back),
    ]


def moved(before: Step, after: Step) -> tuple[int, int]:
    """Return how many slots changed their run, and how few could have for the new shares."""
    old, new = before.owned, after.owned
    kept = sum(_overlap(old.get(run, ()), ranges) for run, ranges in new.items())
    grown = sum(max(count(ranges) - count(old.get(run, ())), 0) for run, ranges in new.items())
    return TOTAL - kept, grown


def picture() -> str:
    """Return the chart: a bar for each generation, a band where slots keep their run."""
    steps = story()
    drawn = Picture(
        WIDTH,
        BADGES + 15 * len(RUNS) + 6,
        "A rollout over seven generations",
        "Each bar shows which run answers which of the 10,000 slots. Between bars, bands join the slots that keep their"
        " run; the rollback gives every slot back to the run that had it before.",
    )
    for slot in range(0, TOTAL + 1, 2500):
        y = TOP + PLOT * slot / TOTAL
        drawn.line(LEFT - 3, y, WIDTH, y)
        drawn.text(LEFT - 6, y + 3.5, f"{slot:,}", size=9, anchor="end")
    for number, step in enumerate(steps):
        _column(drawn, number, step)
        if number:
            _bands(drawn, number, steps[number - 1], step)
    for place, run in enumerate(RUNS):
        y = BADGES + 15 * place + 11
        drawn.rect(2, y - 9, 11, 11, fill=COLOURS[run], radius=2)
        drawn.text(18, y, run, size=11, anchor="start", bold=True)
    return drawn.done()


def table() -> str:
    """Return the generations as a Markdown table: the call, the shares, and how many slots moved."""
    lines = [
        "| generation | call | A | B | C | slots moved | fewest possible |",
        "|---|---|---|---|---|---|---|",
    ]
    steps = story()
    for number, step in enumerate(steps):
        states = [_words(step, run) for run in RUNS]
        figures = [f"{value:,}" for value in moved(steps[number - 1], step)] if number > 1 else ["", ""]
        call = f"`{step.call}`" if step.call else "three runs are saved"
        lines.append(f"| {' | '.join([str(number or ''), call, *states, *figures])} |")
    return "\n".join(lines)


def _words(step: Step, run: str) -> str:
    status, fraction = step.state.status(run)
    if status is ModelStatus.Canary:
        return f"Canary, {fraction:.0%} copied"
    return f"Active {fraction:.0%}" if status is ModelStatus.Active else status.name


def _column(drawn: Picture, number: int, step: Step) -> None:
    x = LEFT + number * COLUMN + (COLUMN - BAR) / 2
    middle = x + BAR / 2
    drawn.text(middle, TOP - 8, str(number) if number else "", size=12, bold=True)
    if not step.owned:
        drawn.rect(x, TOP, BAR, PLOT, stroke=FAINT, dash="4 3")
    for run, ranges in step.owned.items():
        for begin, end in ranges:
            drawn.rect(x, _y(begin), BAR, _y(end) - _y(begin), fill=COLOURS[run])
        begin, end = max(ranges, key=lambda pair: pair[1] - pair[0])
        drawn.text(middle, (_y(begin) + _y(end)) / 2 + 4, f"{run} {count(ranges) * 100 // TOTAL}", fill="#ffffff")
    drawn.text(middle, LABELS, step.words, size=10, bold=True)
    for place, run in enumerate(RUNS):
        status, _ = step.state.status(run)
        live = status in (ModelStatus.Active, ModelStatus.Canary)
        drawn.text(middle, BADGES + 15 * place + 11, status.name, size=10, fill=INK if live else MUTED)


def _bands(drawn: Picture, number: int, before: Step, after: Step) -> None:
    x = LEFT + number * COLUMN - (COLUMN - BAR) / 2
    for run, ranges in after.owned.items():
        for begin, end in ranges:
            for old_begin, old_end in before.owned.get(run, ()):
                low, high = max(begin, old_begin), min(end, old_end)
                if low < high:
                    drawn.rect(x, _y(low), COLUMN - BAR, _y(high) - _y(low), fill=COLOURS[run], opacity=0.35)


def _overlap(one: Ranges, other: Ranges) -> int:
    return sum(max(min(a[1], b[1]) - max(a[0], b[0]), 0) for a in one for b in other)


def _y(slot: int) -> float:
    return TOP + PLOT * slot / TOTAL
