"""Reading the slots of one ledger run: up to the first gap or pointer, burnt ones counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.rollout.chain import SlotsView, read_index, read_slots
from mlflow_utilities.rollout.codec import encode_document, encode_pointer
from mlflow_utilities.rollout.document import Burnt, Document, Newer, Pointer, index_key, slot_key
from support.documents import body_of, document, sealed

Y = Pointer("7e" * 16, "9f2c4e1ab07d3356")


def value_of(kind: str, number: int) -> str:
    """Return a value of a kind for a slot: d(ocument), p(ointer), n(ewer), b(urnt)."""
    written = encode_document(document(number))
    values = {
        "d": written,
        "p": encode_pointer(Y),
        "n": sealed({**body_of(written), "format": 2}),
        "b": written[:-1],
    }
    return values[kind]


def params_of(kinds: str, first: int = 5) -> dict[str, str]:
    """Return the params of a run whose slots hold these kinds, `-` for none, newest first as a server may send them."""
    found = {slot_key(number): value_of(kind, number) for number, kind in enumerate(kinds, first) if kind != "-"}
    return dict(reversed(found.items()))


def seen(view: SlotsView) -> str:
    """Return the kinds of the slots that were read."""
    letters: dict[type, str] = {Document: "d", Pointer: "p", Newer: "n", Burnt: "b"}
    return "".join(letters[type(kind)] for _, kind in view.entries)


@pytest.mark.parametrize(
    ("kinds", "read", "generation", "pointer", "newer"),
    [
        ("d", "d", 5, False, False),
        ("ddd", "ddd", 7, False, False),
        ("bdd", "bdd", 7, False, False),
        ("ddb", "ddb", 6, False, False),
        ("dbd", "dbd", 7, False, False),
        ("dbb", "dbb", 5, False, False),
        ("bb", "bb", None, False, False),
        ("ddp", "ddp", 6, True, False),
        ("dbp", "dbp", 5, True, False),
        ("p", "p", None, True, False),
        ("dd-d", "dd", 6, False, False),
        ("dd--p", "dd", 6, False, False),
        ("d-b-d", "d", 5, False, False),
        ("dnd", "dnd", 5, False, True),
        ("dn", "dn", 5, False, True),
        ("n", "n", None, False, True),
        ("ndd", "ndd", None, False, True),
        ("dnp", "dnp", 5, False, True),
        ("bnd", "bnd", None, False, True),
        ("dpb", "dp", 5, True, False),
        ("dpd", "dp", 5, True, False),
        ("dpn", "dp", 5, True, False),
        ("dpp", "dp", 5, True, False),
    ],
)
def test_what_a_run_holds(kinds: str, read: str, generation: int | None, pointer: bool, newer: bool) -> None:
    """Gaps and pointers end the run, burnt slots count, and nothing counts after a value of a newer format."""
    view = read_slots(params_of(kinds))

    assert seen(view) == read
    assert [number for number, _ in view.entries] == list(range(5, 5 + len(read)))
    assert (view.first, view.last, view.next_slot) == (5, 4 + len(read), 5 + len(read))
    assert (view.document.generation if view.document else None) == generation
    assert view.pointer == (Y if pointer else None)
    assert view.newer is newer
    assert view.characters == sum(len(value_of(kind, number)) for number, kind in enumerate(read, 5))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"alpha": "1", index_key("m"): encode_pointer(Y)},
        {slot_key(0): value_of("p", 0)},
        {"g.1": value_of("d", 1)},
        {"g.0000000001": value_of("d", 1)},
        {"g.00000001": value_of("d", 1)},
        {"G.000000001": value_of("d", 1)},
        {"xg.000000001": value_of("d", 1)},
        {"g.000000001 ": value_of("d", 1)},
        {"g.000000001\n": value_of("d", 1)},
        {"g.00000000\u0661": value_of("d", 1)},
        {"g.-00000001": value_of("d", 1)},
    ],
    ids=repr,
)
def test_other_params_are_no_slots(params: dict[str, str]) -> None:
    """Only `g.` and nine ASCII digits name a slot, and slot 0 does not exist."""
    assert read_slots(params) == SlotsView(0, 0, (), None, None, 1, False, 0)


def test_other_params_do_not_disturb() -> None:
    """Slots are read from among whatever else the run has."""
    params = params_of("dd")

    assert read_slots({"alpha": "1", **params, "g.6": "x", "g.": ""}) == read_slots(params)


def test_a_document_of_another_slot_is_burnt() -> None:
    """A value that was copied into the next slot says nothing there."""
    view = read_slots({slot_key(5): value_of("d", 5), slot_key(6): value_of("d", 5)})

    assert seen(view) == "db"
    assert view.document == document(5)


@given(st.text("dpnb-", max_size=12), st.integers(1, 999_999_900))
def test_reading_agrees_with_the_rules_stated_once_more(kinds: str, first: int) -> None:
    """For any sequence of kinds: what is read is a prefix without gap or pointer inside, and what follows from it."""
    view = read_slots(params_of(kinds, first))
    read = kinds.lstrip("-").split("-")[0]
    before_newer = read.split("n")[0]
    if "p" in before_newer:
        read = before_newer = read[: read.index("p") + 1]

    assert seen(view) == read
    assert view.newer == ("n" in read)
    assert (view.pointer is not None) == ("p" in before_newer)
    assert (view.document is not None) == ("d" in before_newer)
    assert view.next_slot == view.last + 1
    if view.document:
        assert view.document.generation == view.first + before_newer.rindex("d")


@given(st.text("dpnb", min_size=1, max_size=8), st.text("dpnb-", max_size=4))
def test_what_is_read_never_shrinks(kinds: str, later: str) -> None:
    """More slots never make a reader go back: the chain grows, moves on, or stays."""
    before, after = read_slots(params_of(kinds)), read_slots(params_of(kinds + later))

    assert after.entries[: len(before.entries)] == before.entries
    assert after.last >= before.last
    assert before.document is None or (
        after.document is not None and after.document.generation >= before.document.generation
    )
    assert before.pointer is None or after == before


def test_the_index_points_to_the_first_run() -> None:
    """A submodel's ledger begins where its key in the index says."""
    assert read_index({index_key("m"): encode_pointer(Y), index_key("n"): "x"}, "m") == Y


def test_a_submodel_without_a_ledger() -> None:
    """A submodel that the index does not know has no ledger yet."""
    assert read_index({index_key("n"): encode_pointer(Y)}, "m") is None


@pytest.mark.parametrize("generation", [1, 18])
def test_a_document_in_the_index_is_burnt(generation: int) -> None:
    """The index holds pointers alone."""
    assert isinstance(read_index({index_key("m"): encode_document(document(generation))}, "m"), Burnt)


@pytest.mark.parametrize("value", ["", "x", encode_pointer(Y)[:-1]], ids=["empty", "other", "cut"])
def test_a_foreign_value_in_the_index_is_burnt(value: str) -> None:
    """What is no pointer is told from a submodel without a ledger."""
    assert isinstance(read_index({index_key("m"): value}, "m"), Burnt)


def test_a_newer_format_in_the_index() -> None:
    """A newer release may begin a ledger in a way that this one does not know."""
    assert isinstance(read_index({index_key("m"): sealed({"format": 2, "next": "7e"})}, "m"), Newer)
