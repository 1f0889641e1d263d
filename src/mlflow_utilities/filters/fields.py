"""The fields that a search compares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NoReturn, cast

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.filters.clauses import Clause, Filter, NoLogic, Value, no_comparison

__all__ = ["Attribute", "Dataset", "Metric", "Param", "Tag"]

_INT64 = 2**63


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Field(NoLogic):
    key: str

    def __post_init__(self) -> None:
        _text(self.key, f"the key of {type(self).__name__}")
        if not self.key or "`" in self.key:
            raise InvalidInputError(
                f"the key of {type(self).__name__} is {self.key!r}",
                hint="MLflow's filters cannot name a key that is empty or has a backtick",
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r})"

    def __and__(self, other: object) -> NoReturn:
        raise no_comparison(self)

    def __rand__(self, other: object) -> NoReturn:
        raise no_comparison(self)

    def _compare(self, operator: str, value: Value) -> Filter:
        return Filter((Clause(type(self).__name__, str.__str__(self.key), operator, value),))


class _PatternField(_Field):
    __slots__ = ()

    def like(self, pattern: str) -> Filter:
        """Match text by a pattern, in its case: `%` is any text, `_` any character; a backslash differs by database."""
        return self._compare("LIKE", _text(pattern, f"the pattern of {self!r}"))

    def ilike(self, pattern: str) -> Filter:
        """Match text by a pattern as `like` does, in any case."""
        return self._compare("ILIKE", _text(pattern, f"the pattern of {self!r}"))

    def in_(self, values: Iterable[str]) -> Filter:
        """Match any of the texts, at least one; only some fields of some searches have it."""
        return self._compare("IN", _texts(values, self))

    def not_in(self, values: Iterable[str]) -> Filter:
        """Match none of the texts, where the field exists; only some fields of some searches have it."""
        return self._compare("NOT IN", _texts(values, self))


class _TextField(_PatternField):
    __slots__ = ()

    def __eq__(self, value: str) -> Filter:  # type: ignore[override]
        return self._compare("=", _text(value, f"the value of {self!r}"))

    def __ne__(self, value: str) -> Filter:  # type: ignore[override]
        return self._compare("!=", _text(value, f"the value of {self!r}"))

    def __hash__(self) -> int:
        return id(self)

    def __lt__(self, value: object) -> NoReturn:
        raise InvalidInputError(
            f"{self!r} has no order: MLflow keeps it as text",
            hint="compare a Metric, or filter the results where they arrive",
        )

    def __le__(self, value: object) -> NoReturn:
        self.__lt__(value)

    def __gt__(self, value: object) -> NoReturn:
        self.__lt__(value)

    def __ge__(self, value: object) -> NoReturn:
        self.__lt__(value)


class _OptionalField(_TextField):
    __slots__ = ()

    def is_null(self) -> Filter:
        """Match where the key does not exist; runs, and tags of experiments, on servers 3.x."""
        return self._compare("IS NULL", None)

    def is_not_null(self) -> Filter:
        """Match where the key exists, with any value; runs, and tags of experiments, on servers 3.x."""
        return self._compare("IS NOT NULL", None)


class Param(_OptionalField):
    """A param of a run or of a logged model; compared as text, so it has no order.

    `Param("lr") != "0.1"` holds only where the param exists with another value.
    """

    __slots__ = ()


class Tag(_OptionalField):
    """A tag of a run, experiment, registered model, model version or logged model.

    `Tag("team") != "fraud"` holds only where the tag exists with another value.
    """

    __slots__ = ()


class Dataset(_TextField):
    """The `name`, `digest` or `context` of a dataset that a run used.

    Each comparison holds if one of the datasets fits; two comparisons may be fulfilled by two datasets.
    """

    __slots__ = ()


class Metric(_Field):
    """A metric: the latest value of a run's metric, or any logged value of a logged model's.

    Compared with finite numbers. `Metric("auc") != 0.5` holds only where the metric exists with another value.
    """

    __slots__ = ()

    def __eq__(self, value: float) -> Filter:  # type: ignore[override]
        return self._compare("=", _number(value, self))

    def __ne__(self, value: float) -> Filter:  # type: ignore[override]
        return self._compare("!=", _number(value, self))

    def __hash__(self) -> int:
        return id(self)

    def __lt__(self, value: float) -> Filter:
        return self._compare("<", _number(value, self))

    def __le__(self, value: float) -> Filter:
        return self._compare("<=", _number(value, self))

    def __gt__(self, value: float) -> Filter:
        return self._compare(">", _number(value, self))

    def __ge__(self, value: float) -> Filter:
        return self._compare(">=", _number(value, self))


class Attribute(_PatternField):
    """A built-in field, such as `status` or `start_time` of a run.

    Each search has its own, and the error for another one names them. Times are integers, in milliseconds
    since 1970; version numbers are integers; everything else is text.
    """

    __slots__ = ()

    def __eq__(self, value: str | int) -> Filter:  # type: ignore[override]
        return self._compare("=", _text_or_integer(value, self))

    def __ne__(self, value: str | int) -> Filter:  # type: ignore[override]
        return self._compare("!=", _text_or_integer(value, self))

    def __hash__(self) -> int:
        return id(self)

    def __lt__(self, value: int) -> Filter:
        return self._compare("<", _text_or_integer(value, self))

    def __le__(self, value: int) -> Filter:
        return self._compare("<=", _text_or_integer(value, self))

    def __gt__(self, value: int) -> Filter:
        return self._compare(">", _text_or_integer(value, self))

    def __ge__(self, value: int) -> Filter:
        return self._compare(">=", _text_or_integer(value, self))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"{what} is {value!r}", hint=_other_field(value) or "MLflow keeps text: give a str")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{what} is {value!r}", hint="lone surrogates cannot be sent") from None
    return str.__str__(value)


def _texts(values: object, field: _Field) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidInputError(f"the values of {field!r} are {values!r}", hint="give a list of texts")
    texts = tuple(_text(value, f"a value of {field!r}") for value in cast("Iterable[object]", values))
    if not texts:
        raise InvalidInputError(
            f"the list of values of {field!r} is empty",
            hint="MLflow refuses it: leave out not_in([]), which everything fulfils, and in_([]), which nothing does",
        )
    return texts


def _number(value: object, field: _Field) -> int | float:
    if isinstance(value, bool) or not isinstance(value, Real) or not _finite(value):
        raise InvalidInputError(
            f"the value of {field!r} is {value!r}", hint=_other_field(value) or "give a finite number"
        )
    return int(value) if isinstance(value, Integral) else float(value)


def _finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _text_or_integer(value: object, field: _Field) -> str | int:
    if isinstance(value, str):
        return _text(value, f"the value of {field!r}")
    if isinstance(value, bool) or not isinstance(value, Integral) or not -_INT64 <= int(value) < _INT64:
        hint = _other_field(value) or "give a str, or an int of 64 bits: times are milliseconds since 1970"
        raise InvalidInputError(f"the value of {field!r} is {value!r}", hint=hint)
    return int(value)


def _other_field(value: object) -> str | None:
    return "MLflow compares a field with a value, never with another field" if isinstance(value, NoLogic) else None
