"""How much memory models may take, and what goes to make room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities import ModelError
from mlflow_utilities.serving.budget import Budget

LOADED = {"current": 40, "canary": 10, "before": 30, "older": 15, "leaving": 5}
GROUPS = {"leaving": ["leaving"], "spare": ["before", "older"], "kept": ["current", "canary"]}


@pytest.mark.parametrize(
    ("limit", "needed", "policy", "going"),
    [
        (None, 10**15, "availability_preserving", ()),
        (110, 10, "availability_preserving", ()),
        (105, 10, "availability_preserving", ("leaving",)),
        (100, 20, "availability_preserving", ("leaving", "older")),
        (100, 50, "availability_preserving", ("leaving", "older", "before")),
        (100, 60, "resource_preserving", ("leaving", "older", "before", "canary")),
        (100, 100, "resource_preserving", ("leaving", "older", "before", "canary", "current")),
    ],
)
def test_as_few_models_go_as_make_room(limit: int | None, needed: int, policy: str, going: tuple[str, ...]) -> None:
    """First what goes anyway, then what is for a rollback; what serves only by the policy resource_preserving."""
    assert Budget(limit, policy=policy).room_for(needed, LOADED, **GROUPS) == going  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("needed", "policy", "advice"),
    [
        (51, "availability_preserving", 'policy="resource_preserving"'),
        (101, "availability_preserving", "raise memory_budget"),
        (101, "resource_preserving", "raise memory_budget"),
    ],
)
def test_a_refusal_has_the_numbers_and_says_what_would_help(needed: int, policy: str, advice: str) -> None:
    """What is needed, taken and allowed, in bytes; the other policy only where it would make room."""
    with pytest.raises(ModelError) as caught:
        Budget(100, policy=policy).room_for(needed, LOADED, **GROUPS)  # type: ignore[arg-type]
    assert all(f"{number} " in caught.value.message for number in (needed, 100))
    assert advice in (caught.value.hint or "")


def test_a_model_counts_a_factor_times_its_files() -> None:
    """Rounded up."""
    assert Budget(100, 1.5).cost(3) == 5


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 50)),
    st.integers(0, 200),
    st.integers(1, 200),
    st.sampled_from(["availability_preserving", "resource_preserving"]),
)
def test_what_is_left_and_what_comes_never_exceed_the_limit(
    loaded: dict[str, int], needed: int, limit: int, policy: str
) -> None:
    """And each that goes is loaded, goes once, and none that serves goes by the wrong policy."""
    kept, spare = [run for run in loaded if run < "d"], [run for run in loaded if run >= "d"]
    try:
        going = Budget(limit, policy=policy).room_for(needed, loaded, spare=spare, kept=kept)  # type: ignore[arg-type]
    except ModelError:
        least = 0 if policy == "resource_preserving" else sum(loaded[run] for run in kept)
        assert least + needed > limit
        return
    assert len(set(going)) == len(going)
    assert set(going) <= set(loaded)
    assert sum(size for run, size in loaded.items() if run not in going) + needed <= limit
    assert policy == "resource_preserving" or not set(going) & set(kept)
