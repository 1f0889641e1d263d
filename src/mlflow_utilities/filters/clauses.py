"""Filters as values: comparisons that must all hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from mlflow_utilities.errors import InvalidInputError

__all__ = ["PYTHON_NAMES", "Clause", "Filter", "NoLogic", "Value", "no_comparison"]

Value: TypeAlias = str | int | float | tuple[str, ...] | None

PYTHON_NAMES = {
    "=": "==",
    "LIKE": "like",
    "ILIKE": "ilike",
    "IN": "in_",
    "NOT IN": "not_in",
    "IS NULL": "is_null",
    "IS NOT NULL": "is_not_null",
}


class NoLogic:
    """What MLflow's filters do not have: OR, NOT, and a truth value."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise InvalidInputError(
            f"{self!r} is neither true nor false here",
            hint="combine with &, each comparison in parentheses; `and`, `or`, `not`, `in` and 0 < x < 1 do not work",
        )

    def __or__(self, other: object) -> NoReturn:
        raise InvalidInputError(
            "MLflow's filters have no OR", hint="search once for each alternative, or use in_() where the search has it"
        )

    def __ror__(self, other: object) -> NoReturn:
        self.__or__(other)

    def __invert__(self) -> NoReturn:
        raise InvalidInputError(
            "MLflow's filters have no NOT", hint="use the opposite comparison: != for ==, < for >=, not_in() for in_()"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Clause:
    """One comparison: the kind of field, its key, MLflow's operator, and the value."""

    kind: str
    key: str
    operator: str
    value: Value

    def __repr__(self) -> str:
        field, name = f"{self.kind}({self.key!r})", PYTHON_NAMES.get(self.operator, self.operator)
        if not name.isidentifier():
            return f"({field} {name} {self.value!r})"
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return f"{field}.{name}({'' if value is None else repr(value)})"


@dataclass(frozen=True, slots=True, repr=False)
class Filter(NoLogic):
    """Comparisons that must all hold, made by comparing a field and combined with `&`; `Filter()` lets everything pass.

    A filter never changes, filters of the same comparisons in the same order are equal, and `|`, `~`, `and`, `or` and
    `not` raise InvalidInputError, because MLflow cannot express them.
    """

    clauses: tuple[Clause, ...] = ()

    def __and__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise no_comparison(other)
        return Filter(self.clauses + other.clauses)

    def __rand__(self, other: object) -> NoReturn:
        raise no_comparison(other)

    def __repr__(self) -> str:
        return " & ".join(map(repr, self.clauses)) or "Filter()"


def no_comparison(value: object) -> InvalidInputError:
    """Return the error for something that is combined with `&` and is not a comparison."""
    return InvalidInputError(
        f"{value!r} is not a comparison",
        hint="put each comparison in parentheses: (Metric('a') > 1) & (Param('b') == 'c')",
    )
