"""The terms of a version range: an operator and a version of which the last numbers may be left open.

The meaning of `^`, `~`, hyphens and open numbers is npm's: https://github.com/npm/node-semver#advanced-range-syntax.
That of `~=` is Python's: https://peps.python.org/pep-0440/#compatible-release.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.version import Version, shown

__all__ = ["Comparator", "parse_comparator", "words_of_first"]

_OPERATOR = re.compile(r"\^|~=|~|==|=|!=|>=|<=|>|<|")
_NUMBER = re.compile(r"0|[1-9][0-9]*")
_OPEN = frozenset("xX*")


@dataclass(frozen=True, slots=True)
class Comparator:
    """One term of a range: the versions from `low` to `high`, or with `excluded` all but these.

    Attributes: `low_open`: `low` was written without all its numbers, so its own pre-releases are part of what is
    meant; `named`: the pre-releases that were written, each of which asks for those of the same three numbers.
    """

    low: Version | None = None
    high: Version | None = None
    low_included: bool = True
    high_included: bool = False
    low_open: bool = False
    excluded: bool = False
    named: tuple[Version, ...] = ()

    @property
    def exact(self) -> Version | None:
        """The one version it holds for, or None."""
        return self.low if self.low is not None and self.low == self.high and not self.excluded else None

    def asks_for(self, prerelease: Version) -> bool:
        """Whether it names a pre-release of the same three numbers."""
        return any(named.release == prerelease.release for named in self.named)

    def holds(self, version: Version, *, prereleases: bool) -> bool:
        """Return whether the version is between the ends, or with `excluded` outside."""
        return (self._above(version, prereleases) and self._below(version)) is not self.excluded

    def _above(self, version: Version, prereleases: bool) -> bool:
        if self.low is None:
            return True
        if self.low_open and (prereleases or self.excluded):
            return version.release >= self.low.release
        return version > self.low or (self.low_included and version == self.low)

    def _below(self, version: Version) -> bool:
        return self.high is None or version < self.high or (self.high_included and version == self.high)


def words_of_first(words: Sequence[str]) -> int:
    """Return how many words the first term has: `>= 1.4` is one term, and so is `1.4 - 2.3`."""
    if words[1:2] == ["-"]:
        return 3
    return 2 if words[0] and _operator(words[0]) == words[0] else 1


def parse_comparator(words: Sequence[str]) -> Comparator:
    """Return the term that words stand for.

    Raises:
        InvalidInputError: they are not a term; the message says why.

    """
    if len(words) == 3:
        low, high = _at_least(_parse_operand(words[0])), _at_most(_parse_operand(words[2]))
        return replace(high, low=low.low, low_open=low.low_open, named=(*low.named, *high.named))
    term = "".join(words)
    operator = _operator(term)
    return _TERMS[operator](_parse_operand(term.removeprefix(operator)))


@dataclass(frozen=True, slots=True)
class _Operand:
    """A version, or the first numbers of one: then `version` is None."""

    numbers: tuple[int, ...]
    version: Version | None = None

    @property
    def low(self) -> Version | None:
        """The first release that begins with the numbers; None when every version does."""
        return self.version or (_release(self.numbers) if self.numbers else None)

    @property
    def named(self) -> tuple[Version, ...]:
        return (self.version,) if self.version is not None and self.version.is_prerelease else ()

    def until(self, place: int) -> Comparator:
        """From here up to the next change of the number at `place`, whose pre-releases are no longer part of it."""
        if not self.numbers:
            return Comparator()
        high = _before(_next(self.numbers[: place + 1]))
        return Comparator(self.low, high, low_open=self.version is None, named=self.named)


def _operator(term: str) -> str:
    match = _OPERATOR.match(term)
    return match[0] if match else ""


def _parse_operand(text: str) -> _Operand:
    parts = text.removeprefix("v").split(".")
    given = [part for part in parts if part not in _OPEN]
    if len(given) > 2 or "-" in text or "+" in text:
        version = Version.parse(text)
        return _Operand(version.release, version)
    if len(parts) > 3 or given != parts[: len(given)] or not all(map(_NUMBER.fullmatch, given)):
        raise InvalidInputError(f"{shown(text)} is not a version, nor the beginning of one")
    return _Operand(tuple(map(int, given)))


def _caret(operand: _Operand) -> Comparator:
    leftmost = (place for place, number in enumerate(operand.numbers) if number)
    return operand.until(next(leftmost, len(operand.numbers) - 1))


def _tilde(operand: _Operand) -> Comparator:
    return operand.until(min(1, len(operand.numbers) - 1))


def _compatible(operand: _Operand) -> Comparator:
    if len(operand.numbers) < 2:
        raise InvalidInputError("~= needs two or three numbers")
    return operand.until(len(operand.numbers) - 2)


def _equal(operand: _Operand) -> Comparator:
    if operand.version is None:
        return operand.until(len(operand.numbers) - 1)
    return Comparator(operand.version, operand.version, high_included=True, named=operand.named)


def _unequal(operand: _Operand) -> Comparator:
    return replace(_equal(operand), excluded=True, named=())


def _greater(operand: _Operand) -> Comparator:
    if not operand.numbers:
        return _NOTHING
    if operand.version is None:
        return Comparator(_next(operand.numbers), low_open=True)
    return Comparator(operand.version, low_included=False, named=operand.named)


def _at_least(operand: _Operand) -> Comparator:
    return Comparator(operand.low, low_open=operand.version is None, named=operand.named)


def _less(operand: _Operand) -> Comparator:
    if operand.low is None:
        return _NOTHING
    return Comparator(high=operand.version or _before(operand.low), named=operand.named)


def _at_most(operand: _Operand) -> Comparator:
    if operand.version is None and operand.numbers:
        return Comparator(high=_before(_next(operand.numbers)))
    return Comparator(high=operand.version, high_included=True, named=operand.named)


def _next(numbers: tuple[int, ...]) -> Version:
    """Return the first release after all those that begin with the numbers."""
    return _release((*numbers[:-1], numbers[-1] + 1))


def _release(numbers: tuple[int, ...]) -> Version:
    major, minor, micro = (*numbers, 0, 0, 0)[:3]
    return Version(major, minor, micro)


def _before(release: Version) -> Version:
    """Return the lowest version of these three numbers, which comes before its other pre-releases."""
    return replace(release, prerelease=(0,))


_NOTHING = Comparator(high=Version(0, 0, 0, (0,)))
_TERMS: dict[str, Callable[[_Operand], Comparator]] = {
    "": _equal,
    "=": _equal,
    "==": _equal,
    "!=": _unequal,
    "^": _caret,
    "~": _tilde,
    "~=": _compatible,
    ">": _greater,
    ">=": _at_least,
    "<": _less,
    "<=": _at_most,
}
