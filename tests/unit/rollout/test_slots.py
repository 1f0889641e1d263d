"""Slots: how requests are divided among runs, and which of them move when that changes."""

from __future__ import annotations

import json
import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.slots import TOTAL, Ranges, count, merge, partition, reassign, share, slot_of, weight_of
from mlflow_utilities.rollout.version import shown

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "slot_vectors.json").read_text(encoding="utf-8"))

runs = st.sampled_from([f"run-{letter}" for letter in "abcdefgh"])
weights = st.one_of(
    st.floats(0, 1),
    st.floats(0, allow_infinity=False),
    st.integers(0, 100),
    st.fractions(0, 1, max_denominator=1000),
    st.sampled_from([0, 1e-9, 5e-324, 1, 0.1, 1 / 3]),
)
splits = st.dictionaries(runs, weights, min_size=1).filter(lambda split: any(map(float, split.values())))
# Several splits in turn leave the runs with slots in many pieces.
histories = st.lists(splits, min_size=2, max_size=4)


def quotas(split: dict[str, float]) -> dict[str, Fraction]:
    """Return the exact number of slots of each run, fractions included."""
    exact = {run: Fraction(float(weight)) for run, weight in split.items()}
    return {run: weight * TOTAL / sum(exact.values()) for run, weight in exact.items()}


def owners(assignment: dict[str, Ranges]) -> list[str]:
    """Return the run of each slot, after checking that each slot has exactly one."""
    owner = {slot: run for run, ranges in assignment.items() for start, end in ranges for slot in range(start, end)}
    assert sum(map(count, assignment.values())) == TOTAL
    assert sorted(owner) == list(range(TOTAL))
    return [owner[slot] for slot in range(TOTAL)]


def assigned(*steps: dict[str, float]) -> list[dict[str, Ranges]]:
    """Return the assignments that follow one another when the splits are applied in turn."""
    assignments: list[dict[str, Ranges]] = [{}]
    for split in steps:
        assignments.append(reassign(assignments[-1], partition(split)))
    return assignments[1:]


@pytest.mark.parametrize(("salt", "key", "slot"), VECTORS)
def test_the_published_slots(salt: str, key: str, slot: int) -> None:
    """A key's slot is the same in every release and in every other implementation."""
    assert slot_of(salt, key) == slot


def test_a_key_that_is_no_valid_unicode_has_a_slot() -> None:
    """A lone surrogate, as broken clients send, does not fail the request."""
    assert 0 <= slot_of("salt", "\ud800") < TOTAL


def chi_square(observed: Counter[Any], cells: int) -> float:
    """Pearson's statistic against equal frequencies."""
    expected = sum(observed.values()) / cells
    return sum((seen - expected) ** 2 for seen in observed.values()) / expected + expected * (cells - len(observed))


@pytest.mark.parametrize("pattern", ["user-{}", "{}", "{:032x}", "{}@example.org"])
def test_slots_are_used_evenly(pattern: str) -> None:
    """Keys as they are in practice, consecutive ones included, fill all slots alike."""
    observed = Counter(slot_of("salt", pattern.format(number)) for number in range(100_000))
    freedom = TOTAL - 1

    assert abs(chi_square(observed, TOTAL) - freedom) < 4 * math.sqrt(2 * freedom)


def test_two_salts_are_independent() -> None:
    """Where a key is under one salt says nothing of where it is under another, so rollouts do not share their users."""
    keys = [f"user-{number}" for number in range(100_000)]
    observed = Counter((slot_of("one", key) // 1000, slot_of("one|shadow", key) // 1000) for key in keys)

    assert abs(chi_square(observed, 100) - 99) < 4 * math.sqrt(2 * 99)


@given(splits)
def test_slots_always_add_up(split: dict[str, float]) -> None:
    """Every division has 10,000 slots; a positive weight has one at least, weight 0 has none."""
    counts = partition(split)

    assert sum(counts.values()) == TOTAL
    assert counts.keys() == split.keys()
    for run, weight in split.items():
        assert (counts[run] >= 1) is (float(weight) > 0)


@given(splits)
def test_slots_are_within_one_of_the_exact_share(split: dict[str, float]) -> None:
    """Rounding moves a run by less than one slot, except for what it gives to runs too small for a slot."""
    counts, exact = partition(split), quotas(split)
    forced = sum(1 for quota in exact.values() if 0 < quota < 1)

    for run, quota in exact.items():
        assert -1 - forced < counts[run] - quota < 1


@given(splits, st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_count(split: dict[str, float], random: Any) -> None:
    """The division depends on names and weights, not on the order they are given in."""
    shuffled = list(split.items())
    random.shuffle(shuffled)

    assert partition(dict(shuffled)) == partition(split)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"a": 0.7, "b": 0.3}, {"a": 7000, "b": 3000}),
        ({"a": 0.1, "b": 0.2, "c": 0.7}, {"a": 1000, "b": 2000, "c": 7000}),
        ({"a": 1, "b": 1, "c": 1}, {"a": 3334, "b": 3333, "c": 3333}),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, {"a": 3334, "b": 3333, "c": 3333}),
        ({"a": 2, "b": 1}, {"a": 6667, "b": 3333}),
        ({"a": 1.0, "b": 1e-9}, {"a": 9999, "b": 1}),
        ({"a": 1.0, "b": 5e-324, "c": 5e-324}, {"a": 9998, "b": 1, "c": 1}),
        ({"a": 1.0, "b": 0.0}, {"a": 10_000, "b": 0}),
        ({"a": 1e308, "b": 1e308}, {"a": 5000, "b": 5000}),
        ({"a": 5e-324}, {"a": 10_000}),
        ({"a": 0.5, "b": 0.5001}, {"a": 5000, "b": 5000}),
        ({"a": Fraction(1, 4), "b": Fraction(3, 4)}, {"a": 2500, "b": 7500}),
    ],
)
def test_divisions_of_every_day(split: dict[str, Any], expected: dict[str, int]) -> None:
    """Tenths, thirds, weights that do not add up to one, and very small and large ones divide as expected."""
    assert partition(split) == expected


def test_ten_thousand_runs_have_a_slot_each() -> None:
    """As many runs as slots fit, however unequal; one more is refused with the number of runs."""
    split = {f"run-{number}": 1.0 + number for number in range(8)}
    assert set(partition(split, total=8).values()) == {1}

    with pytest.raises(InvalidInputError, match="8 runs do not fit into 7 slots"):
        partition({**split, "off": 0.0}, total=7)


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (float("nan"), "nan of run r cannot be used"),
        (float("inf"), "inf of run r cannot be used"),
        (float("-inf"), "-inf of run r cannot be used"),
        (-0.1, "-0.1 of run r cannot be used"),
        (-1, "-1 of run r cannot be used"),
        (True, "True of run r is not a number"),
        (False, "False of run r is not a number"),
        ("0.5", "'0.5' of run r is not a number"),
        (None, "None of run r is not a number"),
        (1j, "1j of run r is not a number"),
        (Decimal("0.5"), "Decimal('0.5') of run r is not a number"),
        (10**400, "of run r is too large"),
        (10**5000, "of run r is too large"),
        (Fraction(10**5000), "of run r is too large"),
    ],
    ids=shown,
)
def test_a_weight_that_cannot_be_used_is_refused(weight: Any, reason: str) -> None:
    """A weight that is no finite number from 0 up is refused with the run, its value and the fix."""
    for refuse in (lambda: weight_of("r", weight), lambda: partition({"r": weight, "other": 1.0})):
        with pytest.raises(InvalidInputError) as caught:
            refuse()

        assert reason in caught.value.message
        assert ">= 0" in (caught.value.hint or "")


@pytest.mark.parametrize("split", [{}, {"a": 0}, {"a": 0.0, "b": -0.0}])
def test_a_division_without_weight_is_refused(split: dict[str, float]) -> None:
    """At least one run must have a share."""
    with pytest.raises(InvalidInputError, match="are all zero"):
        partition(split)


@given(histories)
def test_assignments_partition_the_slots(history: list[dict[str, float]]) -> None:
    """Each slot has exactly one owner, in the counts asked for, in ordered ranges that do not touch."""
    for split, assignment in zip(history, assigned(*history), strict=True):
        owners(assignment)
        assert {run: count(ranges) for run, ranges in assignment.items()} == {
            run: slots for run, slots in partition(split).items() if slots
        }
        for ranges in assignment.values():
            assert ranges == merge(ranges)
            assert all(start < end for start, end in ranges)


@given(histories)
def test_as_few_slots_move_as_possible(history: list[dict[str, float]]) -> None:
    """What moves is the distance of the two divisions, up to a slot for the rounding of each run."""
    before, after = assigned(*history)[-2:]
    moved = sum(1 for one, other in zip(owners(before), owners(after), strict=True) if one != other)
    names = history[-2].keys() | history[-1].keys()
    counts = [{run: count(assignment.get(run, ())) for run in names} for assignment in (before, after)]
    exact = [quotas(split) for split in history[-2:]]

    assert moved == sum(abs(counts[0][run] - counts[1][run]) for run in names) / 2
    assert moved <= sum(abs(exact[0].get(run, 0) - exact[1].get(run, 0)) for run in names) / 2 + len(names)


@given(histories)
def test_a_run_that_grows_keeps_what_it_had(history: list[dict[str, float]]) -> None:
    """A run only gains slots or only loses slots, so nobody is moved away from a run that grows."""
    before, after = assigned(*history)[-2:]
    moves = {(one, other) for one, other in zip(owners(before), owners(after), strict=True) if one != other}

    assert not {one for one, _ in moves} & {other for _, other in moves}


@given(splits, st.integers(1, 5))
def test_the_same_counts_again_change_nothing(split: dict[str, float], times: int) -> None:
    """Assigning what is assigned already moves no slot and gives the same ranges."""
    assignments = assigned(*[split] * (times + 1))
    assert all(assignment == assignments[0] for assignment in assignments)


@given(st.lists(st.integers(1, 99), min_size=2, max_size=6, unique=True).map(sorted))
def test_a_ramp_never_moves_a_user_back(percents: list[int]) -> None:
    """While a run's share goes up, a user who has it keeps it, and the other run only loses users."""
    steps = assigned({"a": 1.0}, *({"a": 100 - percent, "b": percent} for percent in percents))
    slots = [{slot for slot, run in enumerate(owners(step)) if run == "b"} for step in steps]

    assert all(earlier <= later for earlier, later in pairwise(slots))
    assert [len(step) for step in slots] == [0, *(percent * 100 for percent in percents)]


def test_the_usual_ramp() -> None:
    """1, 5, 20 and 50 percent: each step holds the one before, and each run stays in few pieces."""
    steps = assigned({"a": 1}, *({"a": 100 - percent, "b": percent} for percent in (1, 5, 20, 50)))

    assert [share(step.get("b", ())) for step in steps] == [0.0, 0.01, 0.05, 0.2, 0.5]
    assert all(len(ranges) <= 2 for step in steps for ranges in step.values())


def test_a_replaced_run_moves_only_its_own_users() -> None:
    """When one run of three takes the place of another, the users of the others stay where they are."""
    before, after = assigned({"a": 0.4, "b": 0.3, "c": 0.3}, {"a": 0.4, "d": 0.3, "c": 0.3})

    assert (after["a"], after["c"], after["d"]) == (before["a"], before["c"], before["b"])


def test_a_run_in_pieces_keeps_its_longest() -> None:
    """A run that shrinks gives up whole pieces, shortest first, so that its ranges stay few."""
    before: dict[str, Ranges] = {"a": ((0, 100), (200, 5000)), "b": ((100, 200), (5000, TOTAL))}

    assert reassign(before, {"a": 4000, "b": 6000})["a"] == ((200, 4200),)


def test_no_active_run_owns_no_slot() -> None:
    """A division in which nobody has slots is empty, not an error: a version may have no Active run."""
    assert reassign({"a": ((0, TOTAL),)}, {"a": 0}) == {}
    assert reassign({}, {}) == {}


@pytest.mark.parametrize("counts", [{"a": 9999}, {"a": 10_001}, {"a": 10_001, "b": -1}, {"a": 5000, "b": 5001}])
def test_counts_that_do_not_add_up_are_refused(counts: dict[str, int]) -> None:
    """Slots that are missing or given twice are refused before anything is assigned."""
    with pytest.raises(InvalidInputError, match="do not add up to 10000"):
        reassign({}, counts)


def test_touching_ranges_become_one() -> None:
    """Ranges come back ordered, and those that touch or overlap as one."""
    assert merge([(5, 7), (0, 2), (2, 5), (8, 9), (8, 10)]) == ((0, 7), (8, 10))
    assert merge([]) == ()
