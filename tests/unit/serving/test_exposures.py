"""Exposures: each is told once, in a memory that has an end."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.serving.exposures import Exposures
from mlflow_utilities.serving.values import Exposure, Reason


def exposure(key: str, run_id: str = "run-a", reason: Reason = Reason.BUCKET, generation: int = 5) -> Exposure:
    """Return the exposure of a key to a run."""
    return Exposure(
        key=key,
        run_id=run_id,
        version="1.4.2",
        generation=generation,
        slot=17,
        reason=reason,
        experiment_id="7",
        submodel_name="fraud",
        time=1_795_000_000_000,
    )


def test_an_exposure_is_told_once() -> None:
    """A repetition is not told, in whichever generation; another key or another run is."""
    told = Exposures()

    assert told.record(exposure("ana"))
    assert not told.record(exposure("ana"))
    assert not told.record(exposure("ana", generation=6))
    assert told.record(exposure("bob"))
    assert told.record(exposure("ana", "run-b"))
    assert not told.record(exposure("ana"))
    assert len(told) == 3


def test_a_pinned_exposure_does_not_hide_the_real_one() -> None:
    """That a tester pinned the run for a key leaves the exposure by the key's slot to be told."""
    told = Exposures()

    assert told.record(exposure("ana", reason=Reason.PINNED))
    assert told.record(exposure("ana"))


def test_the_memory_has_an_end() -> None:
    """It never holds more than its limit; the least recently seen are forgotten, and told again."""
    told = Exposures(3)
    for key in ("a", "b", "c"):
        assert told.record(exposure(key))
    assert not told.record(exposure("a"))
    assert told.record(exposure("d"))

    assert len(told) == 3
    assert not told.record(exposure("a"))
    assert told.record(exposure("b"))
    sizes = []
    for number in range(1000):
        told.record(exposure(f"user-{number}"))
        sizes.append(len(told))
    assert set(sizes) == {3}


def test_threads_tell_each_exposure_once() -> None:
    """Eight threads that meet the same keys at the same time tell each key once between them."""
    told = Exposures()
    start = Barrier(8)
    counts: list[int] = []

    def meet() -> None:
        start.wait()
        counts.append(sum(told.record(exposure(f"user-{number}")) for number in range(2000)))

    threads = [Thread(target=meet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(counts) == 8
    assert sum(counts) == len(told) == 2000


@pytest.mark.parametrize("limit", [0, -1, 1.5, "10", True, None])
def test_a_limit_that_cannot_be_is_refused(limit: Any) -> None:
    """At least one exposure is remembered, and never any number of them."""
    with pytest.raises(InvalidInputError, match=repr(limit)):
        Exposures(limit)
