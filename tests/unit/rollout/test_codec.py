"""The bytes of the ledger: published values, what each kind of value is, and that no value makes reading fail."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.rollout.codec import decode_slot, encode_document, encode_pointer
from mlflow_utilities.rollout.document import MAX_VALUE, Burnt, Document, Newer, OffEntry, Pointer, problem
from mlflow_utilities.rollout.status import ModelStatus
from support.documents import EXAMPLE, EXAMPLE_VALUE, active, body_of, document, documents, seal, sealed

POINTER = Pointer("7e" * 16, "9f2c4e1ab07d3356")
POINTER_VALUE = '2c8cde18f94d{"format":1,"next":"7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e","op":"9f2c4e1ab07d3356"}'
PRINTABLE = "".join(sorted(set(string.printable) - set("\x0b\x0c")))

UNREADABLE = [
    "",
    "{}",
    "[]",
    "null",
    "1",
    '"text"',
    '[{"format":1}]',
    '{"format":1}',
    '{"format":1,"next":1,"op":"x"}',
    '{"format":1,"next":"x"}',
    '{"format":1,"next":"x","op":null}',
    '{"format":1,"generation":null,"next":"x","op":"y"}',
    '{"format":NaN}',
    '{"format":1,"generation":Infinity}',
    '{"format":1,"generation":1e999}',
    '{"format":1,"x":-Infinity,"next":"x","op":"y"}',
    "{'format':1}",
    '{"format":1,}',
    '{"format":1}{"format":1}',
    '{"format":1',
    "\ufeff{}",
    "\ud800",
    "\x00",
    "9" * 5000,
    '{"format":1,"generation":' + "9" * 5000 + "}",
    "[" * 5000,
    '{"a":' * 5000,
    '{"format":1,"x":' + "[" * 100_000 + "]" * 100_000 + "}",
]
OTHER_FORMATS: list[object] = [2, 0, -1, 10**300, 1.0, 1.5, True, "1", "2", None, [], {}, [[[]]]]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def changed(**fields: Any) -> str:
    """Return the published document with some fields replaced, and the right checksum."""
    return sealed({**body_of(EXAMPLE_VALUE), **fields})


def changed_entry(index: int, **fields: Any) -> str:
    """Return the published document with fields of one live run replaced, and the right checksum."""
    entries = body_of(EXAMPLE_VALUE)["live"]["1.4.0"]
    entries[index].update(fields)
    return changed(live={"1.4.0": entries})


def reason_of(value: str, slot: int = 18) -> str:
    """Return why a value is burnt."""
    kind = decode_slot(value, slot)
    assert isinstance(kind, Burnt)
    return kind.reason


def test_the_published_document_is_written_byte_for_byte() -> None:
    """The worked example of the specification, all of its 595 characters."""
    assert encode_document(EXAMPLE) == EXAMPLE_VALUE
    assert len(EXAMPLE_VALUE) == 595


def test_the_published_document_is_read() -> None:
    """The worked example means the document that it was made of."""
    assert decode_slot(EXAMPLE_VALUE, 18) == EXAMPLE


def test_the_published_pointer_is_written_and_read() -> None:
    """A pointer has 90 characters, in any slot and in the index."""
    assert encode_pointer(POINTER) == POINTER_VALUE
    assert len(POINTER_VALUE) == 90
    assert [decode_slot(POINTER_VALUE, slot) for slot in (0, 1, 18)] == [POINTER] * 3


@given(documents())
def test_a_valid_document_survives(written: Document) -> None:
    """Whatever is valid is read back as it was written, in ASCII, and written again as the same bytes."""
    value = encode_document(written)

    assert problem(written, written.generation) is None
    assert value.isascii()
    assert decode_slot(value, written.generation) == written
    assert encode_document(written) == value


@given(st.text(), st.text())
def test_a_pointer_survives(run: str, op: str) -> None:
    """A pointer is read back as it was written."""
    assert decode_slot(encode_pointer(Pointer(run, op)), 7) == Pointer(run, op)


@pytest.mark.parametrize("value", [EXAMPLE_VALUE, POINTER_VALUE], ids=["document", "pointer"])
def test_any_changed_character_burns_the_slot(value: str) -> None:
    """Each character in turn replaced by each other printable one, removed, doubled: nothing but the value itself."""
    for index, original in enumerate(value):
        before, after = value[:index], value[index + 1 :]
        others = [before + other + after for other in PRINTABLE if other != original]
        for broken in (*others, before + after, before + original * 2 + after):
            assert isinstance(decode_slot(broken, 18), Burnt)


def test_a_shortened_value_burns_the_slot() -> None:
    """A server that cuts values is noticed wherever it cuts."""
    cut = [EXAMPLE_VALUE[:length] for length in range(len(EXAMPLE_VALUE))]

    assert all(isinstance(decode_slot(value, 18), Burnt) for value in cut)


def test_changed_json_with_its_own_checksum_is_judged_by_the_rules() -> None:
    """With the checksum made right again, every changed character gives what the frozen rules say of it."""
    body = EXAMPLE_VALUE[12:]
    kinds: dict[type, int] = {Document: 0, Burnt: 0, Newer: 0}
    for index in range(len(body)):
        for other in '0}],"x':
            kind = decode_slot(seal(body[:index] + other + body[index + 1 :]), 18)
            kinds[type(kind)] += 1
            if isinstance(kind, Document):
                assert problem(kind, 18) is None
                assert decode_slot(encode_document(kind), 18) == kind

    assert all(kinds.values())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"generation": 17}, "generation 17 stands in slot 18"),
        ({"generation": 0}, "generation is out of range"),
        ({"generation": -18}, "generation is out of range"),
        ({"generation": "18"}, "generation is not an integer"),
        ({"generation": 18.0}, "generation is not an integer"),
        ({"generation": True}, "generation is not an integer"),
        ({"generation": None}, "generation is not an integer"),
        ({"generation": 10**400}, "stands in slot 18"),
        ({"parent": -1}, "parent is out of range"),
        ({"parent": False}, "parent is not an integer"),
        ({"op": 1}, "op is not text"),
        ({"verb": None}, "verb is not text"),
        ({"who": ["ana"]}, "who is not text"),
        ({"why": {}}, "why is not text"),
        ({"at": 0}, "at is not text"),
        ({"salt": "5F1C9A77"}, "salt is not 8 hex digits"),
        ({"salt": "5f1c9a7"}, "salt is not 8 hex digits"),
        ({"salt": "5f1c9a77\n"}, "salt is not 8 hex digits"),
        ({"live": []}, "an entry is not an object"),
        ({"live": {"1.4.0": {}}}, "live is not a list"),
        ({"live": {"1.4.0": []}}, "version 1.4.0 has no runs"),
        ({"live": {"1.4.0": ["0a"]}}, "an entry is not an object"),
        ({"off": None}, "off is not a list"),
        ({"off": ["3d"]}, "an entry is not an object"),
        ({"off": [{"run": "3d", "status": "Active", "generation": 1}]}, "status is not one of those allowed here"),
        ({"off": [{"run": 3, "status": "New", "generation": 1}]}, "run is not text"),
        ({"off": [{"run": "3d", "status": "New", "generation": "1"}]}, "generation is not an integer"),
        ({"off": [{"run": "0a" * 16, "status": "New", "generation": 1}]}, "is live and also revoked or off"),
        ({"revoked": {}}, "revoked is not a list"),
        ({"revoked": [1]}, "revoked is not text"),
        ({"revoked": ["2c" * 16]}, "is live and also revoked or off"),
        ({"poll": 4}, "poll is out of range"),
        ({"poll": 3601}, "poll is out of range"),
        ({"poll": None}, "poll is not an integer"),
        ({"restores": "3"}, "restores is not an integer"),
    ],
)
def test_each_rule_burns_a_document_that_breaks_it(fields: dict[str, Any], reason: str) -> None:
    """A document that breaks just one rule is no document, and says why."""
    assert reason in reason_of(changed(**fields))


@pytest.mark.parametrize(
    ("index", "fields", "reason"),
    [
        (0, {"slots": []}, "the slots or the mirror share of run"),
        (0, {"slots": [0, 7000, 7000]}, "slots are not pairs of integers"),
        (0, {"slots": [0, 7000.0]}, "slots are not pairs of integers"),
        (0, {"slots": [False, 7000]}, "slots are not pairs of integers"),
        (0, {"slots": "0,7000"}, "slots is not a list"),
        (0, {"slots": [7000, 0]}, "the slots or the mirror share of run"),
        (0, {"slots": [0, 0, 0, 7000]}, "the slots or the mirror share of run"),
        (0, {"slots": [3000, 7000, 0, 3000]}, "the slots or the mirror share of run"),
        (0, {"slots": [0, 6999]}, "do not partition 0 to 10000"),
        (0, {"slots": [0, 7001]}, "do not partition 0 to 10000"),
        (0, {"slots": [1, 7000]}, "do not partition 0 to 10000"),
        (0, {"slots": [-1, 7000]}, "do not partition 0 to 10000"),
        (1, {"slots": [7000, 10001]}, "do not partition 0 to 10000"),
        (1, {"slots": [7000, 9999]}, "do not partition 0 to 10000"),
        (0, {"mirror": 1}, "the slots or the mirror share of run"),
        (0, {"run": "1b" * 16}, "is live twice"),
        (2, {"run": "1b" * 16}, "is live twice"),
        (0, {"run": None}, "run is not text"),
        (0, {"status": "active"}, "status is not one of those allowed here"),
        (0, {"status": "Disabled"}, "status is not one of those allowed here"),
        (0, {"status": 2}, "status is not one of those allowed here"),
        (0, {"status": ["Active"]}, "status is not one of those allowed here"),
        (2, {"slots": [0, 10000]}, "has slots"),
        (2, {"mirror": -1}, "mirror is out of range"),
        (2, {"mirror": 10001}, "mirror is out of range"),
        (2, {"mirror": 0.05}, "mirror is not an integer"),
        (2, {"mirror": True}, "mirror is not an integer"),
    ],
)
def test_each_rule_of_a_live_run_burns_its_document(index: int, fields: dict[str, Any], reason: str) -> None:
    """A live run that breaks just one rule spoils the whole document."""
    assert reason in reason_of(changed_entry(index, **fields))


@pytest.mark.parametrize("name", sorted(set(body_of(EXAMPLE_VALUE)) - {"format", "poll"}))
def test_a_missing_field_burns_the_document(name: str) -> None:
    """Only `poll` and `restores` may be absent."""
    fields = body_of(EXAMPLE_VALUE)
    del fields[name]

    assert isinstance(decode_slot(sealed(fields), 18), Burnt)


def test_optional_fields_may_be_absent() -> None:
    """Without a poll hint and without a restored generation there is none."""
    fields = body_of(EXAMPLE_VALUE)
    del fields["poll"]
    kind = decode_slot(sealed(fields), 18)

    assert isinstance(kind, Document)
    assert (kind.poll, kind.restores) == (None, None)


@pytest.mark.parametrize(
    "value",
    [
        changed(canaries=9, zone={"eu": [1.5, None]}),
        changed(next="7e" * 16),
        changed_entry(0, weight=0.7),
        changed_entry(2, slots=[], note="a canary"),
        changed(off=[{"generation": 18, "run": "3d" * 16, "status": "Disabled", "why": "old"}]),
        seal(json.dumps({**body_of(EXAMPLE_VALUE), "extra": True}, indent=2)),
    ],
)
def test_unknown_fields_and_other_spacing_are_ignored(value: str) -> None:
    """What this release does not know is dropped, wherever it stands; only the checksum fixes the bytes."""
    assert decode_slot(value, 18) == EXAMPLE


def test_an_unknown_field_is_not_carried_over() -> None:
    """What was read with an unknown field is written without it."""
    kind = decode_slot(changed(canaries=9), 18)

    assert isinstance(kind, Document)
    assert encode_document(kind) == EXAMPLE_VALUE


@pytest.mark.parametrize("form", OTHER_FORMATS, ids=lambda form: repr(form)[:20])
def test_another_format_is_newer(form: object) -> None:
    """Any format but the integer 1 stops readers and writers, whatever else stands there."""
    assert isinstance(decode_slot(changed(format=form), 18), Newer)
    assert isinstance(decode_slot(sealed({"format": form}), 18), Newer)


def test_a_newer_value_with_a_wrong_checksum_is_burnt() -> None:
    """A format counts only when the bytes are those that were written."""
    assert isinstance(decode_slot("0" * 12 + changed(format=2)[12:], 18), Burnt)


def test_the_reason_of_a_newer_value_stays_short() -> None:
    """A format as long as a value does not fill a log line."""
    kind = decode_slot(sealed({"format": "9" * 5000}), 18)

    assert isinstance(kind, Newer)
    assert len(kind.reason) < 100


@pytest.mark.parametrize("body", UNREADABLE, ids=map(str, range(len(UNREADABLE))))
def test_anything_else_is_burnt(body: str) -> None:
    """What is neither a document, nor a pointer, nor of a newer format says nothing, with the right checksum too."""
    assert isinstance(decode_slot(seal(body), 18), Burnt)


def test_a_deeply_nested_format_is_not_a_failure() -> None:
    """A format that is a tower of lists is newer or unreadable, and never an exception."""
    for depth in (1, 100, 900, 990, 2000, 100_000):
        kind = decode_slot(seal('{"format":' + "[" * depth + "]" * depth + "}"), 18)
        assert isinstance(kind, Newer | Burnt)


def test_of_a_repeated_key_the_last_one_counts() -> None:
    """JSON with a key twice is read as every Python reads it, so that all agree."""
    body = EXAMPLE_VALUE[12:]

    assert decode_slot(seal(body[:-1] + ',"parent":16}'), 18) == document_with_parent(16)
    assert isinstance(decode_slot(seal(body[:-1] + ',"generation":17}'), 18), Burnt)
    assert isinstance(decode_slot(seal(body[:-1] + ',"format":2}'), 18), Newer)


def document_with_parent(parent: int) -> Document:
    """Return the published document with another parent."""
    kind = decode_slot(changed(parent=parent), 18)
    assert isinstance(kind, Document)
    return kind


@pytest.mark.parametrize("text", ["\ud800", "\udfff x", "a\x00b", "ü語😀", '"\\', "\u2028", "</script>"])
def test_any_text_survives_as_ascii(text: str) -> None:
    """Names and reasons may be any text, lone surrogates included."""
    written = document(who=text, why=text, verb=text, at=text, op=text)

    value = encode_document(written)

    assert value.isascii()
    assert decode_slot(value, 1) == written


@given(st.text(st.characters(exclude_categories=())), st.integers())
def test_no_text_makes_reading_fail(text: str, slot: int) -> None:
    """Foreign values are burnt, and never an exception."""
    assert isinstance(decode_slot(text, slot), Burnt)


@given(json_values, st.integers())
def test_no_json_makes_reading_fail(parsed: object, slot: int) -> None:
    """Any JSON with the right checksum is some kind of value, and never an exception."""
    kind = decode_slot(sealed(parsed), slot)

    assert isinstance(kind, Document | Pointer | Newer | Burnt)


@given(st.sampled_from(sorted(body_of(EXAMPLE_VALUE))), json_values)
def test_no_field_makes_reading_fail(name: str, field: object) -> None:
    """Any field may be anything: then the document is valid by the rules, or none."""
    kind = decode_slot(changed(**{name: field}), 18)

    assert isinstance(kind, Document | Newer | Burnt)
    assert not isinstance(kind, Document) or problem(kind, 18) is None


@given(st.integers(0, 2), st.sampled_from(["run", "status", "slots", "mirror"]), json_values)
def test_no_entry_makes_reading_fail(index: int, name: str, field: object) -> None:
    """Any field of a live run may be anything: then the document is valid by the rules, or burnt."""
    kind = decode_slot(changed_entry(index, **{name: field}), 18)

    assert isinstance(kind, Document | Burnt)
    assert not isinstance(kind, Document) or problem(kind, 18) is None


def test_canonical_bytes_do_not_depend_on_the_order_of_fields() -> None:
    """Versions given in another order are the same bytes: equal documents are equal values."""
    versions = {"1.0.0": (active("0a"),), "0.9.0": (active("1b"),)}
    backwards = dict(reversed(versions.items()))

    assert encode_document(document(live=versions)) == encode_document(document(live=backwards))


def split_of(runs: int, ranges: int, off: int) -> Document:
    """Return the largest document of its kind: long names, ranges that alternate between the runs, runs that left."""
    pieces = runs * ranges
    bounds = [index * (10_000 // pieces) for index in range(pieces)] + [10_000]
    entries = [
        active(f"{run:032x}", *(bound for at in range(run, pieces, runs) for bound in bounds[at : at + 2]))
        for run in range(runs)
    ]
    return largest({"1.4.0": tuple(entries)}, off)


def largest(live: dict[str, Any], off: int) -> Document:
    """Return a document with a name of 100 and a reason of 200 characters."""
    gone = tuple(OffEntry(f"{1000 + run:032x}", ModelStatus.Disabled, 18) for run in range(off))
    return document(18, live, op="f" * 16, verb="update_active_runs", who="w" * 100, why="y" * 200, off=gone, poll=30)


def versions_of(count: int) -> Document:
    """Return a document with a number of versions of one Active run each."""
    return largest({f"1.{number}.0": (active(f"{number:032x}"),) for number in range(count)}, 4)


@pytest.mark.parametrize(("ranges", "runs"), [(1, 54), (4, 41), (10, 27)])
def test_this_many_runs_fit_into_one_split(ranges: int, runs: int) -> None:
    """The published limits hold with the longest name and reason and four runs that left, and one more is too many."""
    assert problem(split_of(runs, ranges, 4), 18) is None
    assert len(encode_document(split_of(runs, ranges, 4))) <= MAX_VALUE
    assert len(encode_document(split_of(runs + 1, ranges, 4))) > MAX_VALUE


def test_this_many_versions_fit() -> None:
    """Versions with one Active run each: 49 with the longest name and reason and four runs that left."""
    assert len(encode_document(versions_of(49))) <= MAX_VALUE
    assert len(encode_document(versions_of(50))) > MAX_VALUE


def test_all_of_thirty_runs_can_be_replaced_at_once() -> None:
    """As many runs that leave as are live: 30 fit into one commit, and 31 do not."""
    assert len(encode_document(split_of(30, 1, 30))) <= MAX_VALUE
    assert len(encode_document(split_of(31, 1, 31))) > MAX_VALUE
