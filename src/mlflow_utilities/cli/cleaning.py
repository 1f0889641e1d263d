"""Which models `cache prune` removes, and how sizes and ages are written: pure rules."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mlflow_utilities.models.cache_values import Kept

__all__ = ["age", "age_of", "bytes_of", "size", "to_prune"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def to_prune(
    kept: Sequence[Kept], in_use: Collection[str], now: float, older_than: float | None, max_bytes: int | None
) -> list[Kept]:
    """Return what goes, used least recently first: damaged models, old ones, and as many as do not fit.

    Args:
        kept: all models.
        in_use: keys of those in use, which never go.
        now: seconds since 1970.
        older_than: seconds since the last use after which a model goes; None for no limit.
        max_bytes: bytes that may stay; None for no limit.

    """
    total = sum(item.size for item in kept)
    going: list[Kept] = []
    for item in sorted(kept, key=lambda item: item.used):
        if item.key in in_use:
            continue
        too_old = older_than is not None and now - item.used > older_than
        too_much = max_bytes is not None and total > max_bytes
        if too_old or too_much or not item.complete:
            going.append(item)
            total -= item.size
    return going


def bytes_of(text: str) -> int | None:
    """Return the bytes that `10GB`, `512MiB` or `1000` says; None when it says none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    return None if found is None else int(float(found[1]) * _UNITS[found[2] or ""])


def age_of(text: str) -> float | None:
    """Return the seconds that `30d`, `12h`, `90m`, `2w` or `45s` says; None when it says none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    return None if found is None else float(found[1]) * _SECONDS[found[2]]


def size(count: int) -> str:
    """Return bytes as people write them."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"


def age(seconds: float) -> str:
    """Return how long ago something was."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"
