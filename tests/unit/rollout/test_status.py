"""The four states of a run, and the ways to name one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.status import ModelStatus


def test_the_stored_numbers() -> None:
    """The numbers are a stored format: they and the names never change."""
    assert {member.name: member.value for member in ModelStatus} == {"Disabled": 0, "New": 1, "Active": 2, "Canary": 3}


def test_a_status_prints_as_its_name() -> None:
    """Tables and logs show the name; the number stays the value."""
    assert f"{ModelStatus.Active}|{ModelStatus.New:>8}|{ModelStatus.Canary!s}" == "Active|     New|Canary"
    assert int(ModelStatus.Active) == 2


@pytest.mark.parametrize("member", list(ModelStatus))
def test_each_way_to_give_a_status(member: ModelStatus) -> None:
    """A member, its number and its name in any case stand for the same state."""
    for value in (member, member.value, member.name, member.name.lower(), member.name.upper(), f" {member.name} "):
        assert ModelStatus.parse(value) is member


@pytest.mark.parametrize(
    "value",
    ["", " ", "active!", "Act", "2", "Production", "None", 4, -1, 0.5, float("nan"), True, False, None, [], b"New"],
    ids=repr,
)
def test_what_is_no_status_is_refused(value: Any) -> None:
    """Anything else is refused with its value and the four names; True is not the number 1."""
    with pytest.raises(InvalidInputError, match="is not a model status") as caught:
        ModelStatus.parse(value)

    assert repr(value) in caught.value.message
    assert caught.value.hint == "use one of Disabled, New, Active, Canary"


@given(st.text(max_size=10) | st.integers())
def test_any_value_is_a_member_or_refused(value: str | int) -> None:
    """Nothing is accepted whose name or number is not that of the state that comes back."""
    try:
        member = ModelStatus.parse(value)
    except InvalidInputError:
        assert value not in list(ModelStatus)
    else:
        assert value == member or str(value).strip().casefold() == member.name.casefold()
