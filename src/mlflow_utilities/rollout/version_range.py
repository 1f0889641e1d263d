"""Ranges of semantic versions, in the notations of npm and of Python.

- `1.4.2`, `=1.4.2`, `==1.4.2`: exactly this version
- `1.4`, `1.4.x`, `==1.4.*`, `1`, `1.x`: those that begin with these numbers; `*`: all
- `^1.4.2`: `>=1.4.2 <2.0.0`, the leftmost number that is not 0 stays the same: `^0.4.2` is `>=0.4.2 <0.5.0`
- `~1.4.2`: `>=1.4.2 <1.5.0`; `~1`: `>=1.0.0 <2.0.0`
- `~=1.4.2`: `>=1.4.2 <1.5.0`; `~=1.4`: `>=1.4.0 <2.0.0`, as in Python
- `1.4.2 - 2.3`: from `1.4.2` to the last `2.3.x`
- `>1.4`, `>=1.4`, `<2`, `<=2`, `!=1.4.3`, `!=1.4.*`: what they say; numbers that are left out may be any
- `>=1.4,<2` or `>=1.4 <2`: both must hold; `^1.4 || ^2.1`: one of them must
- `latest`: the highest version

A pre-release matches only where one of the same three numbers is named by the terms that must hold together, as in
`>=2.0.0-rc.1`, or when it is asked for with `prereleases=True`. `None`, no restriction at all, is every version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.comparators import Comparator, parse_comparator, words_of_first
from mlflow_utilities.rollout.version import Version, VersionLike, numbers_of, shown

__all__ = ["MAX_LENGTH", "RangeLike", "VersionRange"]

MAX_LENGTH = 1024
RangeLike: TypeAlias = "VersionRange | Version | str | Sequence[int] | None"
_LATEST = "latest"
_EXAMPLES = "write for example 1.4.2, 1.x, ^1.4, ~1.4.2, >=1.4,<2, 1.4 - 2.3, ^1 || ^2 or latest"


@dataclass(frozen=True, slots=True, repr=False)
class VersionRange:
    """A condition on versions; use `matching` to choose. Ranges of the same terms are equal, however they are spelt.

    Attributes: `text`, the range as it was given; None is every version, pre-releases included.

    Raises:
        InvalidInputError: the text is not a range, or has more than 1,024 characters.

    """

    text: str | None = field(compare=False)
    # One of these must hold, of which all must hold; None stands for latest.
    _alternatives: tuple[tuple[Comparator, ...], ...] | None = field(init=False)

    @classmethod
    def parse(cls, value: RangeLike) -> VersionRange:
        """Return the range that a value stands for.

        Args:
            value: a range as a string; a version or three integers, for exactly that version; None for every version,
                pre-releases included; or a range, which is returned as it is.

        Raises:
            InvalidInputError: it is not a range.

        """
        if isinstance(value, VersionRange):
            return value
        if value is None or isinstance(value, str):
            return cls(value)
        if isinstance(value, Version) or numbers_of(value):
            return cls(str(Version.parse(value)))
        raise InvalidInputError(f"{shown(value)} is not a version range", hint=f"give a string: {_EXAMPLES}")

    def __post_init__(self) -> None:
        text = self.text
        if text is not None and len(text) > MAX_LENGTH:
            raise InvalidInputError(
                f"{shown(text)} is too long for a range", hint=f"use at most {MAX_LENGTH:,} characters"
            )
        alternatives: tuple[tuple[Comparator, ...], ...] | None
        if text is None:
            alternatives = ((),)
        elif text.strip() == _LATEST:
            alternatives = None
        else:
            alternatives = tuple(tuple(_comparators(part, text)) for part in text.split("||"))
        object.__setattr__(self, "_alternatives", alternatives)

    @property
    def exact(self) -> Version | None:
        """The one version that it names (`1.4.2`, `=1.4.2`, `==1.4.2`), or None."""
        match self._alternatives:
            case ((Comparator() as only,),):
                return only.exact
            case _:
                return None

    @property
    def is_latest(self) -> bool:
        """Whether it stands for the highest version, which `contains` cannot tell."""
        return self._alternatives is None

    def contains(self, version: VersionLike, *, prereleases: bool = False) -> bool:
        """Return whether a version matches.

        Args:
            version: the version to look at.
            prereleases: treat pre-releases as any other version.

        Raises:
            InvalidInputError: it is not a version; or the range is `latest`, which depends on the other versions: use
                `matching`.

        """
        candidate = Version.parse(version)
        if self._alternatives is None:
            raise InvalidInputError(
                f"whether {candidate} is the latest version depends on the others", hint="use matching(versions)"
            )
        anything = prereleases or self.text is None or not candidate.is_prerelease
        return any(
            (anything or any(comparator.asks_for(candidate) for comparator in comparators))
            and all(comparator.holds(candidate, prereleases=prereleases) for comparator in comparators)
            for comparators in self._alternatives
        )

    def __contains__(self, version: VersionLike) -> bool:
        return self.contains(version)

    def matching(self, versions: Iterable[VersionLike], *, prereleases: bool = False) -> list[Version]:
        """Return the versions that match, each once, highest first; `latest` gives one at most.

        Args:
            versions: those to choose from, in any order.
            prereleases: treat pre-releases as any other version. Without it, none of them is the latest.

        Raises:
            InvalidInputError: one of them is not a version.

        """
        ordered = sorted(dict.fromkeys(map(Version.parse, versions)), reverse=True)
        if self._alternatives is None:
            return [version for version in ordered if prereleases or not version.is_prerelease][:1]
        return [version for version in ordered if self.contains(version, prereleases=prereleases)]

    def highest(self, versions: Iterable[VersionLike], *, prereleases: bool = False) -> Version | None:
        """Return the highest version that matches, or None; arguments and errors are those of `matching`."""
        return next(iter(self.matching(versions, prereleases=prereleases)), None)

    def __str__(self) -> str:
        return "any version" if self.text is None else self.text

    def __repr__(self) -> str:
        return f"VersionRange({self.text!r})"


def _comparators(part: str, text: str) -> Iterator[Comparator]:
    """Read the terms that must hold together, which spaces and commas separate."""
    for piece in part.split(","):
        words = piece.split()
        if not words:
            reason = "something is missing beside a comma or ||" if text.strip() else "it is empty; * is every release"
            raise _refusal(part, text, reason)
        end = 0
        while end < len(words):
            start, end = end, end + words_of_first(words[end : end + 2])
            try:
                yield parse_comparator(words[start:end])
            except InvalidInputError as error:
                raise _refusal(" ".join(words[start:end]), text, error.message) from None


def _refusal(part: str, text: str, reason: str) -> InvalidInputError:
    return InvalidInputError(f"{shown(part.strip())} in the version range {shown(text)}: {reason}", hint=_EXAMPLES)
