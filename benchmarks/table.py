"""What a row of the table says: one measurement over another, or by itself, and whether it is where it must be."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Measured", "Place", "Results", "Row", "formatted", "measured", "ratio_of", "table", "times_text"]

# By case, contender and what was measured: the values of all rounds.
Results = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]

UNITS = {
    "s": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)),
    "bytes": (("MB", 1e6),),
    "/s": (("/s", 1.0),),
    "": (("", 1.0),),
}
SHORT = 3


@dataclass(frozen=True)
class Place:
    """Where a measurement is found."""

    case: str
    contender: str
    what: str = "seconds"


@dataclass(frozen=True)
class Row:
    """A comparison: `measured` over `base`, or alone; `at_least` or `at_most` is where it must be."""

    title: str
    measured: Place
    base: Place | None = None
    unit: str = "s"
    at_least: float | None = None
    at_most: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Measured:
    """What came out for a row: the medians, and the ratio or the value that the bound is for."""

    row: Row
    value: float
    base: float | None
    result: float

    @property
    def met(self) -> bool | None:
        """Whether it is where it must be; None if nothing is asked."""
        if self.row.at_least is not None:
            return self.result >= self.row.at_least
        return None if self.row.at_most is None else self.result <= self.row.at_most


def measured(row: Row, results: Results) -> Measured | None:
    """Return what came out: the median of the ratios of each round, whose two sides met the same noise."""
    values = _values(row.measured, results)
    base = _values(row.base, results) if row.base else None
    if not values or (row.base and not base):
        return None
    if base is None:
        median = statistics.median(values)
        return Measured(row, median, None, median)
    ratios = [one / other for one, other in zip(values, base, strict=False) if other]
    result = statistics.median(ratios) if ratios else float("inf")
    return Measured(row, statistics.median(values), statistics.median(base), result)


def ratio_of(other: Place, own: Place, results: Results) -> float | None:
    """Return how many times as slow the other is: as much time, or as low a rate."""
    pair = (own, other) if other.what.startswith("rate") else (other, own)
    found = measured(Row("", *pair), results)
    return None if found is None else found.result


def _values(place: Place, results: Results) -> Sequence[float]:
    return results.get(place.case, {}).get(place.contender, {}).get(place.what, ())


def formatted(value: float, unit: str) -> str:
    """Return a value with a unit that suits its size, to three digits."""
    steps = UNITS[unit]
    name, size = next((step for step in steps if abs(value) >= step[1]), steps[-1])
    number = value / size
    text = f"{number:,.0f}" if number >= 100 or (not name and number == int(number)) else f"{number:.{SHORT}g}"
    return text + ("" if name.startswith("/") or not name else " ") + name


def table(rows: Sequence[Row], results: Results) -> str:
    """Return the whole table in Markdown."""
    lines = ["| case | what | over what | result | measured | must be | met? |", "|---|---|---|--:|---|---|---|"]
    before = ""
    for row in rows:
        found = measured(row, results)
        title = "" if row.title == before else row.title
        before = row.title
        what, base = _names(row)
        if found is None:
            lines.append(f"| {title} | {what} | {base} | not measured | | {_bound(row)} | |")
            continue
        result = times_text(found.result) if row.base else f"{formatted(found.result, row.unit)}"
        both = formatted(found.value, row.unit)
        if found.base is not None:
            both += f" / {formatted(found.base, row.unit)}"
        met = {None: "", True: "yes", False: "**no**"}[found.met]
        lines.append(f"| {title} | {what} | {base} | {result} | {both if row.base else ''} | {_bound(row)} | {met} |")
    return "\n".join(lines)


def _names(row: Row) -> tuple[str, str]:
    label = f"{row.measured.contender}{', ' if row.label else ''}{row.label}"
    if row.base is None:
        return label, ""
    same = row.base.contender == row.measured.contender
    return label, "the same with 8 callers" if same and row.base.what == "rate of 8" else (
        f"{row.base.contender}, after 10,000 runs" if same else row.base.contender
    )


def times_text(ratio: float) -> str:
    """Return a ratio to two digits after the point or fewer."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def _bound(row: Row) -> str:
    bound = row.at_least if row.at_least is not None else row.at_most
    if bound is None:
        return ""
    word = "at least" if row.at_least is not None else "at most"
    return f"{word} {f'{bound:.3g}' if row.base else formatted(bound, row.unit)}"
