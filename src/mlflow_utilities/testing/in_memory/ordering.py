"""The order of a search's results."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key
from typing import Any, TypeVar

from mlflow_utilities.testing.in_memory.filter_language import Grammar, identifier
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid

__all__ = ["Term", "parse_order", "sorted_by"]

T = TypeVar("T")
Term = tuple[str, str, bool]  # kind, key, ascending
_CLAUSE = re.compile(r"\s*(?P<key>.+?)(?:\s+(?P<way>ASC|DESC))?\s*", re.IGNORECASE | re.DOTALL)


def parse_order(clauses: Iterable[str], grammar: Grammar, *, duplicates: str = "INTERNAL_ERROR") -> list[Term]:
    """Return the terms of `order_by`.

    Raises:
        Refused: one cannot be read, or two are of the same key.

    """
    found: list[Term] = []
    for clause in clauses:
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise invalid(f"Invalid order_by clause '{clause}'. Could not be parsed.")
        if re.fullmatch(r"(?:[\w.]|`[^`]*`|\"[^\"]*\"|'[^']*')+", match["key"]) is None:
            raise invalid(f"Invalid order_by clause '{clause}'. Could not be parsed.")
        kind, key = identifier(match["key"], grammar)
        found.append((kind, key, (match["way"] or "ASC").upper() == "ASC"))
    keys = [(kind, key) for kind, key, _ in found]
    if len(set(keys)) < len(keys):
        raise Refused(f"`order_by` contains duplicate fields: {list(clauses)}", duplicates)
    return found


def sorted_by(items: Sequence[T], terms: Sequence[Term], look_up: Callable[[T, str, str], Any]) -> list[T]:
    """Return the items in the order of the terms: what is missing comes last, NaN before it, whatever the direction."""

    def compare(one: T, other: T) -> int:
        for kind, key, ascending in terms:
            found = _compare(look_up(one, kind, key), look_up(other, kind, key), ascending)
            if found:
                return found
        return 0

    return sorted(items, key=cmp_to_key(compare))


def _compare(one: Any, other: Any, ascending: bool) -> int:
    ranks = _rank(one), _rank(other)
    if ranks[0] != ranks[1]:
        return -1 if ranks[0] < ranks[1] else 1
    if ranks[0] or one == other:
        return 0
    return -1 if (one < other) == ascending else 1


def _rank(value: Any) -> int:
    if value is None:
        return 2
    return 1 if isinstance(value, float) and math.isnan(value) else 0
