"""Sequences that nobody thought of: the in-memory MLflow says what a real server says."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator

import pytest

from mlflow_utilities.testing.in_memory.state import State
from support.random_exchanges import PREPARATION, random_exchanges
from support.twins import Twins, get


@pytest.fixture
def twins(server_uri: str) -> Iterator[Twins]:
    """Give both servers with what the exchanges are about."""
    twins = Twins(server_uri, State(now_ms=itertools.count(1_700_000_000_000, 1000).__next__))
    twins.name(u=f"twins-{uuid.uuid4().hex}")
    for exchange in PREPARATION:
        assert twins.same(exchange).status == 200
    yield twins
    twins.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_random_sequence(twins: Twins, seed: int) -> None:
    """Both do and refuse the same, and in the end hold the same."""
    refused = 0
    for exchange in random_exchanges(seed, 60):
        refused += twins.same(exchange).status >= 400

    twins.same(get("runs/get", run_id="$r0"))
    twins.same(get("registered-models/get", name="$u"))
    assert 0 < refused < 40
