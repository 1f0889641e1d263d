"""Splitting what is logged at once to the limits of `runs/log-batch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["split_batch"]

_MOST = 100
_TOTAL = 1000


def split_batch(
    params: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    tags: Sequence[dict[str, Any]],
    most_metrics: int = 1000,
) -> list[dict[str, list[dict[str, Any]]]]:
    """Return the bodies to send, in order: params, then metrics, then tags, as the server stores one body too.

    So a tag marks that everything before it is stored.
    """
    batches: list[dict[str, list[dict[str, Any]]]] = []
    for kind, items, most in (("params", params, _MOST), ("metrics", metrics, most_metrics), ("tags", tags, _MOST)):
        rest = list(items)
        while rest:
            last = batches[-1] if batches else {}
            room = min(most - len(last.get(kind, ())), _TOTAL - sum(map(len, last.values())))
            if not batches or room <= 0:
                batches.append({})
                continue
            last.setdefault(kind, []).extend(rest[:room])
            rest = rest[room:]
    return batches
