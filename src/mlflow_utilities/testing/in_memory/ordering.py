"""order_by: one field, or one with its direction, in each of its texts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from mlflow_utilities.testing.in_memory.filter_language import holds_keyword
from mlflow_utilities.testing.in_memory.refusals import invalid

__all__ = ["ordered", "parse_order", "split_order"]

_Item = TypeVar("_Item")
_PART = r"""(?:[^\W\d]\w*|\d+[^\W\d]\w*|`[^`]*`|"[^"]*")"""
_CLAUSE = re.compile(rf"""({_PART}(?:\.(?:{_PART}|'[^']*')?)*)(?:\s+(\w+))?""")


def split_order(clause: str) -> tuple[str, bool]:
    """Return the field of a clause as it is written, and whether it ascends.

    Raises Refused for what is no field, optionally with ASC or DESC in any case.
    """
    match = _CLAUSE.fullmatch(clause)
    if match is None or holds_keyword(match[1]) or match[1].upper() in ("ASC", "DESC"):
        raise invalid(f"Invalid order_by clause '{clause}'. Could not be parsed.")
    direction = (match[2] or "asc").lower()
    if direction not in ("asc", "desc"):
        raise invalid(f"Invalid ordering key in order_by clause '{clause}'.")
    return match[1], direction == "asc"


def parse_order(clause: str, prefixes: Mapping[str, str], attributes: Iterable[str]) -> tuple[str, str, bool]:
    """Return entity, key and whether it ascends; `prefixes` and `attributes` as in a Grammar."""
    name, ascending = split_order(clause)
    prefix, dot, key = name.partition(".")
    if not dot:
        prefix, key = "attribute", name
    entity = prefixes.get(prefix)
    if entity is None:
        raise invalid(f"Invalid entity type '{prefix}'. Valid values are {sorted(prefixes)}")
    if len(key) >= 2 and key[0] == key[-1] and key[0] in "`'\"":
        key = key[1:-1]
    if entity == "attribute" and key not in attributes:
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{sorted(attributes)}'")
    return entity, key, ascending


def ordered(items: list[_Item], key: Callable[[_Item], str | float | None], *, ascending: bool) -> list[_Item]:
    """Sort stably; NaN comes after every value and what is absent after NaN, in both directions."""
    ranks: tuple[list[_Item], list[_Item], list[_Item]] = ([], [], [])
    for item in items:
        value = key(item)
        rank = 2 if value is None else int(isinstance(value, float) and math.isnan(value))
        ranks[rank].append(item)
    ranks[0].sort(key=key, reverse=not ascending)  # type: ignore[arg-type]
    return [item for rank in ranks for item in rank]
