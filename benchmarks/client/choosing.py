"""Choosing the model for a key: the first line of benchmarks.choose, in a process of its own."""

from __future__ import annotations

import statistics

from benchmarks.choose import contenders, measure, new_document, new_snapshot

Found = dict[str, float]


def choose(contender: str, uri: str, times: int) -> Found:
    """Return the median seconds of one choice, nothing beside it."""
    name = "ActiveModels.choose"
    times_ns = measure({name: contenders(new_snapshot(new_document()))[name]})[name]
    return {"seconds": statistics.median(times_ns) * 1e-9}
