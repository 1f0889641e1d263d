"""Which generation serves when MLflow shows another one than is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_utilities.rollout.document import Document
from mlflow_utilities.serving.precedence import why_behind

SHOWN = Document(generation=3, parent=2, op="0" * 16, verb="", who="", why="", at="", salt="aaaaaaaa", live={})


@pytest.mark.parametrize(
    ("generation", "salt", "expected"),
    [(2, "aaaaaaaa", None), (3, "aaaaaaaa", None), (4, "aaaaaaaa", "older than 4"), (4, "bbbbbbbb", None)],
)
def test_generations_of_one_ledger_only_go_up(generation: int, salt: str, expected: str | None) -> None:
    """An older one is refused unless it is of another ledger, which was begun anew."""
    reason = why_behind(SHOWN, generation, salt)

    assert reason is None if expected is None else expected in (reason or "")


def test_no_rollout_at_all_replaces_nothing() -> None:
    """Whatever served goes on."""
    nothing = replace(SHOWN, generation=0, salt="00000000")

    assert "no rollout" in (why_behind(nothing, 4, "bbbbbbbb") or "")
    assert why_behind(nothing, 0, "00000000") is None
