"""Names of slots and the frozen rules of a valid document."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.rollout.document import (
    FORMAT,
    MAX_VALUE,
    Document,
    LiveEntry,
    OffEntry,
    index_key,
    problem,
    slot_key,
    submodel_hash,
)
from mlflow_utilities.rollout.status import ModelStatus
from support.documents import EXAMPLE, active, canary, document, documents


def test_the_published_hash_of_a_submodel() -> None:
    """The vector of the specification, which keys of existing ledgers are made of."""
    assert submodel_hash("fraud/scorer") == "9c8b4bd68c8607840be2a169245d5cf9"
    assert index_key("fraud/scorer") == "s.9c8b4bd68c8607840be2a169245d5cf9"


def test_the_stored_numbers_are_frozen() -> None:
    """Format and limit are part of what is stored."""
    assert (FORMAT, MAX_VALUE) == (1, 5800)


@given(st.text(st.characters(exclude_categories=())))
def test_any_submodel_name_has_a_key(name: str) -> None:
    """A key is 34 plain characters, the same for every way to compose the name."""
    assert index_key(name) == index_key(unicodedata.normalize("NFC", name))
    assert index_key(name).removeprefix("s.").isalnum()
    assert len(index_key(name)) == 34


def test_a_submodel_is_one_however_its_name_is_composed() -> None:
    """An umlaut is one letter or two code points, and upper case is another submodel."""
    assert submodel_hash("f\u00fcr") == submodel_hash("fu\u0308r")
    assert submodel_hash("a") != submodel_hash("A")


@pytest.mark.parametrize(("number", "key"), [(1, "g.000000001"), (18, "g.000000018"), (999_999_999, "g.999999999")])
def test_keys_of_slots_sort_as_their_numbers(number: int, key: str) -> None:
    """A slot has nine digits."""
    assert slot_key(number) == key


@given(documents())
def test_a_valid_document_has_no_problem_in_its_slot_alone(valid: Document) -> None:
    """A document is valid in the slot of its generation, and in no other."""
    assert problem(valid, valid.generation) is None
    assert (
        problem(valid, valid.generation + 1) == f"generation {valid.generation} stands in slot {valid.generation + 1}"
    )


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        ({"1.0.0": ()}, "version 1.0.0 has no runs"),
        ({"1.0.0": (active("a"), active("a"))}, "run a is live twice"),
        ({"1.0.0": (active("a"),), "1.1.0": (active("a"),)}, "run a is live twice"),
        ({"1.0.0": (active("a"),), "1.1.0": (canary("a"),)}, "run a is live twice"),
        ({"1.0.0": (LiveEntry("a", ModelStatus.Active, (), 0),)}, "the slots or the mirror share of run a cannot be"),
        ({"1.0.0": (active("a", 0, 5, 5, 5, 5, 10000),)}, "the slots or the mirror share of run a cannot be"),
        ({"1.0.0": (active("a", 5, 0, 0, 10000),)}, "the slots or the mirror share of run a cannot be"),
        ({"1.0.0": (active("a", 5, 10000, 0, 5),)}, "the slots or the mirror share of run a cannot be"),
        ({"1.0.0": (active("a", 0, 6, 5, 10000),)}, "the slots or the mirror share of run a cannot be"),
        ({"1.0.0": (replace(active("a"), mirror=1),)}, "the slots or the mirror share of run a cannot be"),
        ({"1.0.0": (replace(canary("a"), slots=((0, 10000),)),)}, "canary a has slots"),
        ({"1.0.0": (active("a", 0, 9999),)}, "the slots of version 1.0.0 do not partition 0 to 10000"),
        ({"1.0.0": (active("a", 1, 10000),)}, "the slots of version 1.0.0 do not partition 0 to 10000"),
        ({"1.0.0": (active("a", 0, 10001),)}, "the slots of version 1.0.0 do not partition 0 to 10000"),
        ({"1.0.0": (active("a", -1, 10000),)}, "the slots of version 1.0.0 do not partition 0 to 10000"),
        (
            {"1.0.0": (active("a", 0, 5), active("b", 6, 10000))},
            "the slots of version 1.0.0 do not partition 0 to 10000",
        ),
        (
            {"1.0.0": (active("a", 0, 6), active("b", 5, 10000))},
            "the slots of version 1.0.0 do not partition 0 to 10000",
        ),
        ({"1.0.0": (active("a"), active("b"))}, "the slots of version 1.0.0 do not partition 0 to 10000"),
        (
            {"1.0.0": (active("a"),), "2.0.0": (active("b", 0, 1),)},
            "the slots of version 2.0.0 do not partition 0 to 10000",
        ),
    ],
)
def test_each_rule_of_the_live_runs(live: dict[str, tuple[LiveEntry, ...]], reason: str) -> None:
    """A set of live runs that breaks just one rule is refused with what is wrong."""
    assert problem(document(live=live), 1) == reason


@pytest.mark.parametrize(
    "live",
    [
        {},
        {"1.0.0": (canary("a"),)},
        {"1.0.0": (canary("a", 0), canary("b", 10000))},
        {"1.0.0": (active("a"),), "1.0.0-rc.1": (active("b"),), "2.0.0": (canary("c"),)},
        {"1.0.0": (active("a", 0, 1, 2, 3), active("b", 1, 2, 3, 10000))},
        {"1.0.0": (active("a", 0, 5, 5, 10000),)},
        {"1.0.0": (active("b", 5000, 10000), active("a", 0, 5000))},
    ],
)
def test_what_is_valid(live: dict[str, tuple[LiveEntry, ...]]) -> None:
    """Nothing live, canaries alone, several versions, interleaved and touching ranges, runs in any order."""
    assert problem(document(live=live), 1) is None


@pytest.mark.parametrize("status", [ModelStatus.Disabled, ModelStatus.New])
def test_a_live_run_is_not_off(status: ModelStatus) -> None:
    """A run cannot be live and have left, in whatever generation it left."""
    assert problem(replace(EXAMPLE, off=(OffEntry("0a" * 16, status, 3),)), 18) == (
        f"run {'0a' * 16} is live and also revoked or off"
    )


def test_a_live_run_is_not_revoked() -> None:
    """A revoked run cannot be live, as Canary neither."""
    assert (
        problem(replace(EXAMPLE, revoked=("ff", "2c" * 16)), 18) == f"run {'2c' * 16} is live and also revoked or off"
    )


def test_a_live_run_is_found_with_its_version() -> None:
    """A run is found in any version and at any place, and one that is not live is not."""
    found = document(live={"1.0.0": (active("a", 0, 5), active("b", 5, 10000)), "2.0.0": (canary("c"),)})

    assert found.find("b") == ("1.0.0", active("b", 5, 10000))
    assert found.find("c") == ("2.0.0", canary("c"))
    assert found.find("d") is None
    assert found.runs == {"a", "b", "c"}


def test_the_newest_entry_of_a_run_that_left_counts() -> None:
    """A run that left twice has the status that it left with last, in whatever order the entries stand."""
    entries = [
        OffEntry("a", ModelStatus.New, 7),
        OffEntry("b", ModelStatus.New, 9),
        OffEntry("a", ModelStatus.Disabled, 5),
    ]

    for off in (tuple(entries), tuple(reversed(entries))):
        assert document(off=off).off_entry("a") == OffEntry("a", ModelStatus.New, 7)
    assert document(off=tuple(entries)).off_entry("c") is None
