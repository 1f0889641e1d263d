"""What each verb makes of a run in each status: found by asking the rules of the package, not by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout import planner, splits
from mlflow_utilities.rollout.draft import Change, State, is_fulfilled
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.status import ModelStatus
from tools.example_states import VERSION, committed, run_facts, start

__all__ = ["matrix", "refusals", "refused_runs", "transitions"]

Plan = Callable[[State], Change]
ORDER = (ModelStatus.New, ModelStatus.Disabled, ModelStatus.Active, ModelStatus.Canary)
SCOPE = splits.Scope(VERSION)


def _set(status: ModelStatus | None, fraction: float | None) -> Plan:
    return lambda state: planner.change_status(state, "R", status, fraction)


def _active(**weights: float) -> Plan:
    return lambda state: splits.update_active(state, weights, SCOPE)


def _shares(status: ModelStatus, **weights: float) -> Plan:
    return lambda state: splits.change_fractions(state, weights, SCOPE, status)


CALLS: dict[str, Plan] = {
    "enable_run(R)": lambda state: planner.enable(state, "R"),
    "disable_run(R)": lambda state: planner.disable(state, "R"),
    "canary_run(R)": lambda state: planner.canary(state, "R"),
    "revoke_run(R, why)": lambda state: planner.revoke(state, "R"),
    'change_status(R, "Active")': _set(ModelStatus.Active, None),
    'change_status(R, "Active", 0.3)': _set(ModelStatus.Active, 0.3),
    'change_status(R, "Active", 0.0)': _set(ModelStatus.Active, 0.0),
    'change_status(R, "Canary")': _set(ModelStatus.Canary, None),
    'change_status(R, "Canary", 0.1)': _set(ModelStatus.Canary, 0.1),
    'change_status(R, "Disabled")': _set(ModelStatus.Disabled, None),
    'change_status(R, "New")': _set(ModelStatus.New, None),
    "change_status(R, None, 0.3)": _set(None, 0.3),
    "change_status(R, None, 0.0)": _set(None, 0.0),
    "update_active_runs({R: 0.3, S: 0.7})": _active(R=0.3, S=0.7),
    "update_active_runs({R: 0, S: 1})": _active(R=0, S=1),
    "update_active_runs({S: 1})": _active(S=1),
    "change_test_fractions({R: 0.3, S: 0.7})": _shares(ModelStatus.Active, R=0.3, S=0.7),
    "change_test_fractions({R: 0, S: 1})": _shares(ModelStatus.Active, R=0, S=1),
    "change_test_fractions({S: 1})": _shares(ModelStatus.Active, S=1),
    'change_test_fractions({R: 0.1}, active_state="Canary")': _shares(ModelStatus.Canary, R=0.1),
}
LIVE = [
    CALLS[call]
    for call in (
        "enable_run(R)",
        "canary_run(R)",
        'change_status(R, "Active", 0.3)',
        'change_status(R, "Canary")',
    )
]


@dataclass(frozen=True, slots=True)
class Result:
    """What a call made of R: the state after it, or why it was refused."""

    before: State
    after: State | None = None
    same: bool = False
    refusal: InvalidInputError | None = None


def result(status: ModelStatus, call: str) -> Result:
    """Return what a call makes of run R of a status, beside the Active run S of the same version."""
    state = _beside(status)
    try:
        change = CALLS[call](state)
    except InvalidInputError as error:
        return Result(state, refusal=error)
    return Result(state, committed(state, change, call.split("(")[0]), is_fulfilled(state, change))


def transitions() -> str:
    """Return the table of every call on a run of every status; refusals are numbered."""
    numbers = {text: number for number, text in enumerate(_refusal_texts(), 1)}
    lines = [f"| call | {' | '.join(f'R is {status.name}' for status in ORDER)} |", "|---" * (len(ORDER) + 1) + "|"]
    for call in CALLS:
        cells = [_cell(result(status, call), numbers) for status in ORDER]
        lines.append(f"| `{call}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def refusals() -> str:
    """Return the numbered errors of the table, each with its hint."""
    return "\n".join(f"{number}. {text}" for number, text in enumerate(_refusal_texts(), 1))


def matrix() -> str:
    """Return which verbs lead from a status to another."""
    found: dict[tuple[ModelStatus, ModelStatus], list[str]] = {}
    for status in ORDER:
        for call in CALLS:
            made = result(status, call)
            if made.after is None or made.same:
                continue
            verbs = found.setdefault((status, made.after.status("R")[0]), [])
            verb = f"`{call.split('(')[0]}`"
            if verb not in verbs:
                verbs.append(verb)
    lines = [f"| from | {' | '.join(f'to {status.name}' for status in ORDER)} |", "|---" * (len(ORDER) + 1) + "|"]
    for status in ORDER:
        cells = [_join(found.get((status, to), []), status, to) for to in ORDER]
        lines.append(f"| {status.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def refused_runs() -> str:
    """Return what is refused whatever the status of the run is."""
    lines = ["| R | `enable_run`, `canary_run`, `change_status` | `disable_run` |", "|---|---|---|"]
    for words, facts, revoked in _unusual():
        state = committed(start(run_facts("S")), planner.enable(start(run_facts("S")), "S"), "enable_run")
        state = State(state.document, {**state.runs, **({"R": facts} if facts else {})}, "1", "fraud")
        if revoked:
            state = committed(state, planner.revoke(state, "R"), "revoke_run")
        live = dict.fromkeys(_said(state, plan) for plan in LIVE)
        lines.append(f"| {words} | {' or '.join(live)} | {_said(state, CALLS['disable_run(R)'])} |")
    return "\n".join(lines)


def _unusual() -> list[tuple[str, RunFacts | None, bool]]:
    return [
        ("does not exist", None, False),
        ("was not saved by this framework", run_facts("R", version=None), False),
        ("is of another submodel", run_facts("R", submodel="abuse"), False),
        ("is of another experiment", run_facts("R", experiment="2"), False),
        ("is not finished", run_facts("R", run_status="RUNNING"), False),
        ("is deleted", run_facts("R", deleted=True), False),
        ("is revoked", run_facts("R"), True),
    ]


def _beside(status: ModelStatus) -> State:
    """Return a state where R has a status and S is Active in the same version."""
    off = status if status is ModelStatus.Disabled else ModelStatus.New
    state = start(run_facts("S"), run_facts("R", status=off))
    state = committed(state, planner.enable(state, "S"), "enable_run")
    if status is ModelStatus.Active:
        return committed(state, splits.update_active(state, {"R": 0.4, "S": 0.6}, SCOPE), "update_active_runs")
    if status is ModelStatus.Canary:
        return committed(state, planner.canary(state, "R"), "canary_run")
    return state


def _cell(made: Result, numbers: dict[str, int]) -> str:
    if made.after is None:
        return f"refused ({numbers[_text(made.refusal)]})"
    if made.same:
        return "no change"
    status, fraction = made.after.status("R")
    words = {
        ModelStatus.Active: f"**Active** {fraction:.0%}",
        ModelStatus.Canary: f"**Canary**, {fraction:.0%} copied",
    }.get(status, f"**{status.name}**")
    other, share = made.after.status("S")
    if (other, share) == made.before.status("S"):
        return words
    return f"{words}; S {f'{share:.0%}' if other is ModelStatus.Active else other.name}"


def _refusal_texts() -> list[str]:
    texts = [_text(result(status, call).refusal) for call in CALLS for status in ORDER]
    return [text for text in dict.fromkeys(texts) if text]


def _said(state: State, plan: Plan) -> str:
    try:
        change = plan(state)
    except InvalidInputError as error:
        return f"refused: {_text(error)}"
    return "no change" if is_fulfilled(state, change) else "allowed"


def _text(error: InvalidInputError | None) -> str:
    return str(error) if error else ""


def _join(verbs: list[str], start: ModelStatus, to: ModelStatus) -> str:
    words = ""
    if start is to and verbs:
        words = "for good: " if to is ModelStatus.Disabled else "another share: "
    return words + (", ".join(verbs) or "no verb")
