"""How requests are divided, and who moves when that changes, as the readers of a ledger see it."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.rollout import planner
from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.draft import State
from mlflow_utilities.rollout.slots import TOTAL, Ranges, partition, reassign
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.serving.routing import Snapshot
from support.rollouts import active, canary, document, facts, state, taken
from support.snapshots import snapshot

RUNS = [f"run-{letter}" for letter in "abcdef"]
KEYS = [f"user-{number}" for number in range(200)]

weights = st.floats(0, 1) | st.integers(0, 100) | st.sampled_from([0, 1e-9, 1, 0.1, 1 / 3])
splits = st.dictionaries(st.sampled_from(RUNS), weights, min_size=1).filter(
    lambda split: any(map(float, split.values()))
)
histories = st.lists(splits, min_size=2, max_size=4)


def generations(*steps: dict[str, float]) -> list[Snapshot]:
    """Return what a service has after each of the splits, applied in turn."""
    owned: dict[str, Ranges] = {}
    made: list[Snapshot] = []
    for number, split in enumerate(steps, 1):
        owned = reassign(owned, partition(split))
        entries = tuple(LiveEntry(run, ModelStatus.Active, ranges, 0) for run, ranges in owned.items())
        made.append(snapshot(document({"1.4.0": entries}, generation=number)))
    return made


def owners(current: Snapshot) -> list[str]:
    """Return the run that answers each slot."""
    return [current.at(slot).run_id for slot in range(TOTAL)]


def shares(split: dict[str, float]) -> dict[str, Fraction]:
    """Return the exact share of each run."""
    exact = {run: Fraction(float(weight)) for run, weight in split.items()}
    return {run: weight / sum(exact.values()) for run, weight in exact.items()}


def chi_square(observed: Counter[Any], cells: int) -> float:
    """Pearson's statistic against equal frequencies."""
    expected = sum(observed.values()) / cells
    return sum((seen - expected) ** 2 for seen in observed.values()) / expected + expected * (cells - len(observed))


@pytest.mark.parametrize("pattern", ["user-{}", "{}@example.org"])
def test_requests_use_all_slots_evenly(pattern: str) -> None:
    """Twice 100,000 consecutive keys fill all slots alike."""
    current = snapshot(document({"1.4.0": (active("a", (0, TOTAL)),)}, salt="5f1c9a77"))
    observed = Counter(current.route(pattern.format(number), 0).slot for number in range(100_000))
    freedom = TOTAL - 1

    assert abs(chi_square(observed, TOTAL) - freedom) < 4 * math.sqrt(2 * freedom)


def test_rollouts_do_not_share_their_users() -> None:
    """Which model of one rollout answers a user says nothing of which one of another does."""
    tenths = tuple(active(f"run-{number}", (number * 1000, (number + 1) * 1000)) for number in range(10))
    one, other = (snapshot(document({"1.4.0": tenths}, salt=salt)) for salt in ("5f1c9a77", "0badcafe"))
    keys = [f"user-{number}" for number in range(50_000)]
    observed = Counter((one.choose(key).run_id, other.choose(key).run_id) for key in keys)

    assert abs(chi_square(observed, 100) - 99) < 4 * math.sqrt(2 * 99)


@pytest.mark.parametrize("salt", ["5f1c9a77", "0badcafe", "00000000"])
def test_a_canary_sees_the_users_of_all_models_alike(salt: str) -> None:
    """Whether a request is copied does not depend on which model answers it, so a canary can be compared with each."""
    live = {"1.4.0": (active("a", (0, 3000)), active("b", (3000, TOTAL))), "1.5.0": (canary("c", 2000),)}
    current = snapshot(document(live, salt=salt))
    requests: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    for key in (f"user-{number}" for number in range(50_000)):
        run = current.choose(key).run_id
        requests[run] += 1
        copies[run] += len(current.mirrors(key, 0))

    rates = {run: copies[run] / requests[run] for run in "ab"}
    deviation = math.sqrt(0.2 * 0.8 * (1 / requests["a"] + 1 / requests["b"]))
    assert abs(rates["a"] - rates["b"]) < 4 * deviation
    assert abs(sum(copies.values()) / sum(requests.values()) - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 50_000)


@given(histories)
def test_a_change_moves_no_more_than_it_must(steps: list[dict[str, float]]) -> None:
    """The share of slots that change their model is the distance of the splits, give or take a slot for each model."""
    *_, before, after = generations(*steps)
    old, new = shares(steps[-2]), shares(steps[-1])
    runs = old.keys() | new.keys()
    distance = sum(abs(old.get(run, 0) - new.get(run, 0)) for run in runs) / 2 * TOTAL
    moved = sum(left != right for left, right in zip(owners(before), owners(after), strict=True))

    assert moved <= distance + len(runs)
    assert moved >= distance - len(runs)


@given(histories)
def test_a_key_changes_its_model_only_when_its_slot_does(steps: list[dict[str, float]]) -> None:
    """Who keeps the slot keeps the user."""
    *_, before, after = generations(*steps)

    for key in KEYS:
        slot = before.route(key, 0).slot
        assert slot is not None
        assert slot == after.route(key, 0).slot
        assert before.choose(key).run_id == before.at(slot).run_id
        assert after.choose(key).run_id == after.at(slot).run_id


@given(st.lists(st.integers(1, TOTAL - 1), min_size=2, max_size=6), st.integers(0, 3))
def test_a_ramp_loses_nobody(steps: list[int], others: int) -> None:
    """Whoever got B gets it at every larger share, however many other models give way."""
    rest = dict.fromkeys(RUNS[: others + 1], 1.0)

    def split(b: int) -> dict[str, float]:
        return {"b": float(b), **{run: (TOTAL - b) / len(rest) for run in rest}}

    had: set[int] = set()
    for current in generations(*map(split, sorted(steps))):
        has = {slot for slot, run in enumerate(owners(current)) if run == "b"}
        assert had <= has
        had = has


def test_the_usual_ramp() -> None:
    """From 1 to 5, 20 and 50 %: nobody leaves B, and everybody who is not in B stays in A."""
    keys = [f"user-{number}" for number in range(20_000)]
    had: set[str] = set()
    for share, current in zip(
        (0.01, 0.05, 0.2, 0.5), generations(*({"a": 1 - b, "b": b} for b in (0.01, 0.05, 0.2, 0.5))), strict=True
    ):
        has = {key for key in keys if current.choose(key).run_id == "b"}
        assert had < has
        assert abs(len(has) / len(keys) - share) < 4 * math.sqrt(share * (1 - share) / len(keys))
        had = has


def committed(before: State, split: dict[str, float]) -> State:
    """Return the state after an operator's change of the split."""
    return taken(before, planner.change_of(before, {"1.0.0": planner.split_live(before, "1.0.0", split, ())}))


@given(histories, st.integers(0, 3))
def test_a_rollback_brings_everybody_back(steps: list[dict[str, float]], back_to: int) -> None:
    """A generation that restores another has the same model for every slot and key."""
    states = [state(document({"1.0.0": (active(RUNS[0], (0, TOTAL)),)}), *map(facts, RUNS))]
    for split in steps:
        states.append(committed(states[-1], split))
    target = states[min(back_to, len(states) - 1)].document
    assert target is not None
    restored = taken(states[-1], planner.restore(states[-1], target)).document
    assert isinstance(restored, Document)
    before, after = snapshot(target), snapshot(restored)

    assert after.generation > before.generation
    assert owners(after) == owners(before)
    assert [after.choose(key).run_id for key in KEYS] == [before.choose(key).run_id for key in KEYS]
