"""A batch is split to the limits of the server, in an order in which the last tag means that all is stored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities._protocol.batches import split_batch

ORDER = ("params", "metrics", "tags")


def items(kind: str, count: int) -> list[dict[str, Any]]:
    """Return that many different items."""
    return [{"key": f"{kind}{number}"} for number in range(count)]


@given(st.integers(0, 450), st.integers(0, 3500), st.integers(0, 450))
def test_everything_is_sent_once_within_the_limits_and_in_order(params: int, metrics: int, tags: int) -> None:
    """At most 100 params, 1,000 metrics, 100 tags and 1,000 of all in one body; params, then metrics, then tags."""
    given_items = {kind: items(kind, count) for kind, count in zip(ORDER, (params, metrics, tags), strict=True)}

    batches = split_batch(*(given_items[kind] for kind in ORDER))

    sent = [(ORDER.index(kind), item) for batch in batches for kind in ORDER for item in batch.get(kind, [])]
    assert sent == [(ORDER.index(kind), item) for kind in ORDER for item in given_items[kind]]
    for batch in batches:
        assert 0 < sum(map(len, batch.values())) <= 1000
        assert len(batch.get("params", [])) <= 100
        assert len(batch.get("tags", [])) <= 100


@pytest.mark.parametrize(
    ("counts", "requests"),
    [
        ((0, 0, 0), 0),
        ((1, 1, 1), 1),
        ((100, 800, 100), 1),
        ((100, 801, 100), 2),
        ((250, 2500, 150), 6),
        ((101, 0, 0), 2),
    ],
)
def test_no_more_requests_are_made_than_the_limits_demand(counts: tuple[int, int, int], requests: int) -> None:
    """A body that has room is filled before the next one begins."""
    assert len(split_batch(*(items(kind, count) for kind, count in zip(ORDER, counts, strict=True)))) == requests
