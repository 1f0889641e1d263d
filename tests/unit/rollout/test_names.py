"""Names, tags and notes of what holds a ledger."""

from __future__ import annotations

import json

import pytest

from mlflow_utilities.rollout import names
from mlflow_utilities.rollout.names import Hint, read_hint
from support.rollouts import active, canary, document

A, B, C = "0a" * 16, "1b" * 16, "2c" * 16


def test_the_names_of_the_specification() -> None:
    """Names and keys that other releases look for never change."""
    assert names.control_name("42") == "mlflow-utilities/rollouts/42"
    assert names.head_tag("fraud/scorer") == "rollouts.head.9c8b4bd68c8607840be2a169245d5cf9"
    assert (names.INDEX_TAG, names.EXPERIMENT_TAG, names.ROLE_TAG) == (
        "rollouts.index", "rollouts.experiment", "rollouts.role",
    )  # fmt: skip
    assert (names.SUBMODEL_TAG, names.FIRST_GENERATION_TAG, names.OP_TAG, names.NOTE_TAG) == (
        "rollouts.submodel", "rollouts.first_generation", "rollouts.op", "mlflow.note.content",
    )  # fmt: skip


def test_the_note_of_the_control_experiment() -> None:
    """The note says what the experiment is for, what not to do, and how to read it: to the letter."""
    assert names.control_note("42", "fraud") == (
        "Rollout ledger of experiment 42 (fraud), written by mlflow-utilities. It decides which models are live. "
        "Do not edit, rename or delete. Read it with: mlflow-utilities history --experiment-id 42."
    )


def test_composed_and_decomposed_names_are_the_same_submodel() -> None:
    """A name is hashed in one Unicode form."""
    assert names.head_tag("caf\u00e9") == names.head_tag("cafe\u0301")


def test_a_hint_is_read_back() -> None:
    """What a hint writes is what is read, with the keys of the specification."""
    hint = Hint(A, "g.000000017", B)

    assert json.loads(hint.text()) == {"from": A, "key": "g.000000017", "run": B}
    assert read_hint(hint.text()) == hint


RUBBISH = [
    None, "", "null", "{}", "[]", "1", "true", "NaN", '"text"', "{", "1" * 5000, "[" * 100_000,
    '{"from":"a","key":"b"}', '{"from":"a","key":"b","run":7}', '{"from":"a","key":"b","run":""}',
    '{"from":null,"key":"b","run":"c"}', '{"from":["a"],"key":"b","run":"c"}', '[{"from":"a","key":"b","run":"c"}]',
]  # fmt: skip


@pytest.mark.parametrize("value", RUBBISH, ids=[str(value)[:40] for value in RUBBISH])
def test_rubbish_is_no_hint(value: str | None) -> None:
    """A hint that anybody may have written is ignored when it is not one, and never an error."""
    assert read_hint(value) is None


def test_the_identity_of_an_experiment() -> None:
    """Id, name and creation time are kept in one order; the time is read back, 0 when it is unknown."""
    assert names.identity("42", "fraud", 1700) == '{"creation_time":1700,"id":"42","name":"fraud"}'
    assert names.identity_time(names.identity("42", "fraud", 1700)) == 1700
    assert names.identity_time(names.identity("42", "fraud", None)) == 0


@pytest.mark.parametrize(
    "value", [None, "", "{}", "[]", "7", '{"creation_time":"1"}', '{"creation_time":1.5}', '{"creation_time":true}']
)
def test_rubbish_names_no_creation_time(value: str | None) -> None:
    """An identity without an integer time names none."""
    assert names.identity_time(value) is None


def test_a_ledger_run_says_what_it_holds() -> None:
    """Its name and tags tell submodel, first generation and operation; long submodels are cut in the name only."""
    made = document({"1.4.0": (active(A, (0, 10_000)),)}, 18, op="9f2c4e1ab07d3356")

    assert names.ledger_run_name("fraud/scorer", 18) == "fraud/scorer: from generation 18"
    assert names.ledger_run_name("s" * 300, 18) == "s" * 200 + ": from generation 18"
    assert names.ledger_run_tags("s" * 300, made) == {
        "rollouts.role": "ledger",
        "rollouts.submodel": "s" * 300,
        "rollouts.first_generation": "18",
        "rollouts.op": "9f2c4e1ab07d3356",
        "mlflow.note.content": names.rollout_note(made),
    }


def test_the_note_of_a_rollout() -> None:
    """One line a version, with shares in percent, short run ids, and who changed it why."""
    live = {
        "1.4.0": (active(A, (0, 7000)), active(B, (7000, 10_000)), canary(C, 500)),
        "2.0.0": (active("f" * 32, (0, 10_000)),),
    }
    made = document(live, 18, who="ana@example.org", why="1.5 B looks good")

    assert names.rollout_note(made) == (
        "generation 18 · 1.4.0: 70 % 0a0a0a0a, 30 % 1b1b1b1b, canary 2c2c2c2c (5 %)"
        " · ana@example.org: 1.5 B looks good\n"
        "generation 18 · 2.0.0: 100 % ffffffff · ana@example.org: 1.5 B looks good"
    )


def test_the_note_of_a_rollout_without_runs_or_reason() -> None:
    """Nothing live is said in words, and no reason leaves nothing behind the name."""
    assert names.rollout_note(document({}, 3, who="ana")) == "generation 3 · nothing is live · ana"


def test_shares_in_notes_are_exact() -> None:
    """One slot is 0.01 %, and no digit is made up."""
    made = document({"1.0.0": (active(A, (0, 1)), active(B, (1, 10_000)), canary(C, 1))}, why="")

    assert "0.01 % 0a0a0a0a, 99.99 % 1b1b1b1b, canary 2c2c2c2c (0.01 %)" in names.rollout_note(made)


def test_a_note_has_a_limit() -> None:
    """A rollout of very many versions is cut to what a note may have."""
    live = {f"{number}.0.0": (canary(f"{number:032}", 1),) for number in range(300)}

    assert len(names.rollout_note(document(live, why="y" * 200))) == 5000
