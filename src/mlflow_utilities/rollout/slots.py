"""Slots: a version's requests are divided into 10,000 equal parts, and every Active run owns some of them.

Shares are counts of slots, so they always add up, and a key keeps its slot for ever: only a change of owner moves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from hashlib import sha256
from numbers import Real

from mlflow_utilities.errors import InvalidInputError

__all__ = ["TOTAL", "Ranges", "count", "merge", "partition", "reassign", "share", "slot_of", "weight_of"]

TOTAL = 10_000
Ranges = tuple[tuple[int, int], ...]


def slot_of(salt: str, key: str) -> int:
    """Return the slot (0 to 9,999) of a routing key; this function never changes."""
    digest = sha256(f"{salt}|{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % TOTAL


def count(ranges: Ranges) -> int:
    """Return how many slots the half-open ranges hold."""
    return sum(end - start for start, end in ranges)


def share(ranges: Ranges) -> float:
    """Return the share of requests (0.0 to 1.0) that the ranges stand for."""
    return count(ranges) / TOTAL


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the ranges in order, with those that touch made one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and merged[-1][1] >= start:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def weight_of(run: str, weight: object) -> float:
    """Return a weight as a float.

    Raises:
        InvalidInputError: it is not a number, or is NaN, infinite or negative.

    """
    if isinstance(weight, bool) or not isinstance(weight, Real):
        raise InvalidInputError(f"the weight {weight!r} of run {run} is not a number", hint="give a number >= 0")
    try:
        number = float(weight)
    except OverflowError:  # Python does not print integers of thousands of digits either
        raise InvalidInputError(f"the weight of run {run} is too large", hint="give a finite number >= 0") from None
    if not math.isfinite(number) or number < 0:
        raise InvalidInputError(f"the weight {weight!r} of run {run} cannot be used", hint="give a finite number >= 0")
    return number


def partition(weights: Mapping[str, float], total: int = TOTAL) -> dict[str, int]:
    """Divide `total` slots in proportion to the weights, by largest remainder.

    A positive weight gets at least one slot, however small it is; weight 0 gets none.

    Raises:
        InvalidInputError: a weight cannot be used, all are zero, or there are more runs than slots.

    """
    exact = {run: Fraction(weight_of(run, weight)) for run, weight in weights.items()}
    whole = sum(exact.values())
    if not whole:
        raise InvalidInputError(f"the weights {dict(weights)!r} are all zero", hint="give at least one run a share")
    positive = sum(1 for weight in exact.values() if weight)
    if positive > total:
        raise InvalidInputError(f"{positive} runs do not fit into {total} slots", hint="use fewer runs")
    quotas = {run: weight * total / whole for run, weight in exact.items()}
    counts = {run: math.floor(quota) for run, quota in quotas.items()}
    missing = total - sum(counts.values())
    for run in sorted(counts, key=lambda run: (counts[run] - quotas[run], run))[:missing]:
        counts[run] += 1
    for run in sorted(run for run, weight in exact.items() if weight and not counts[run]):
        counts[min(counts, key=lambda other: (-counts[other], other))] -= 1
        counts[run] = 1
    return counts


def reassign(current: Mapping[str, Ranges], target_counts: Mapping[str, int]) -> dict[str, Ranges]:
    """Give every run its count of slots while moving as few slots as possible.

    A run that grows keeps all it had, a run that shrinks only gives away. Runs with count 0 get no entry.

    Raises:
        InvalidInputError: the counts do not add up to 10,000.

    """
    wanted = {run: slots for run, slots in target_counts.items() if slots}
    if not wanted:
        return {}
    if sum(wanted.values()) != TOTAL or min(wanted.values()) < 0:
        raise InvalidInputError(f"the slot counts {wanted!r} do not add up to {TOTAL}", hint="use partition()")
    owned = {run: _keep(merge(current.get(run, ())), slots) for run, slots in wanted.items()}
    free = _complement(owned.values())
    for run in sorted(wanted, key=lambda run: (-wanted[run], run)):
        taken, free = _take(free, wanted[run] - count(owned[run]), owned[run])
        owned[run] = merge((*owned[run], *taken))
    return owned


def _keep(ranges: Ranges, limit: int) -> Ranges:
    """Give away the shortest ranges first, so that what is kept has few pieces."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(ranges, key=lambda pair: (pair[0] - pair[1], pair[0])):
        length = min(end - start, limit)
        if length:
            kept.append((start, start + length))
            limit -= length
    return merge(kept)


def _complement(taken: Iterable[Ranges]) -> Ranges:
    free: list[tuple[int, int]] = []
    position = 0
    for start, end in sorted(pair for ranges in taken for pair in ranges):
        if position < start:
            free.append((position, start))
        position = end
    if position < TOTAL:
        free.append((position, TOTAL))
    return tuple(free)


def _take(free: Ranges, need: int, owned: Ranges) -> tuple[Ranges, Ranges]:
    """Take `need` slots, from pieces next to what is owned first, then from the longest; return them and the rest."""
    starts = {start for start, _ in owned}
    ends = {end for _, end in owned}
    taken: list[tuple[int, int]] = []
    rest: list[tuple[int, int]] = []
    for start, end in sorted(free, key=lambda p: (p[0] not in ends and p[1] not in starts, p[0] - p[1], p[0])):
        length = min(end - start, need)
        need -= length
        cut = end - length if end in starts and start not in ends else start
        taken.extend([(cut, cut + length)] if length else [])
        rest.extend(pair for pair in ((start, cut), (cut + length, end)) if pair[0] < pair[1])
    return merge(taken), tuple(sorted(rest))
