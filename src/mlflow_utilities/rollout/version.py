"""Semantic versions as SemVer 2.0.0 defines them: https://semver.org."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import SupportsIndex, TypeAlias, cast

from mlflow_utilities.errors import InvalidInputError

__all__ = ["MAX_LENGTH", "Version", "VersionLike"]

MAX_LENGTH = 128
VersionLike: TypeAlias = "Version | str | Sequence[int]"
_Key: TypeAlias = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRERELEASE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD = r"[0-9A-Za-z-]+"
_SEMVER = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_PRERELEASE}(?:\.{_PRERELEASE})*))?(?:\+({_BUILD}(?:\.{_BUILD})*))?"
)


@dataclass(frozen=True, order=True, slots=True, repr=False)
class Version:
    """A semantic version; equality, hash and order follow SemVer's precedence, which ignores build metadata.

    Attributes: `major`, `minor`, `micro` (also `patch`), `prerelease` (its identifiers, numeric ones as int) and
    `build` (its identifiers).

    Raises:
        InvalidInputError: the parts are not a semantic version, or make one of more than 128 characters.

    """

    major: int = field(compare=False)
    minor: int = field(compare=False)
    micro: int = field(compare=False)
    prerelease: tuple[str | int, ...] = field(default=(), compare=False)
    build: tuple[str, ...] = field(default=(), compare=False)
    _key: _Key = field(init=False)

    @classmethod
    def parse(cls, value: VersionLike) -> Version:
        """Return the version that a string or three integers stand for; a leading "v" is dropped.

        Args:
            value: `"1.4.2"`, `"1.4.2-rc.1+build.7"`, `(1, 4, 2)`, or a version, which is returned as it is.

        Raises:
            InvalidInputError: it is not a semantic version, or has more than 128 characters.

        """
        if isinstance(value, Version):
            return value
        if isinstance(value, str):
            return _from_text(value)
        return _from_numbers(value)

    def __post_init__(self) -> None:
        if not all(map(_is_number, self.release)):
            raise _refusal(self.release, "major, minor and micro are integers from 0 up")
        match = _SEMVER.fullmatch(str(self))
        if match is None or len(str(self)) > MAX_LENGTH:
            raise _refusal(str(self), _fix(str(self)))
        prerelease = tuple(int(part) if part.isdigit() else part for part in _identifiers(match[4]))
        ranked = tuple((False, part, "") if isinstance(part, int) else (True, 0, part) for part in prerelease)
        object.__setattr__(self, "prerelease", prerelease)
        object.__setattr__(self, "build", _identifiers(match[5]))
        object.__setattr__(self, "_key", (*self.release, not prerelease, ranked))

    @property
    def patch(self) -> int:
        """The third number, by SemVer's name."""
        return self.micro

    @property
    def release(self) -> tuple[int, int, int]:
        """The three numbers."""
        return self.major, self.minor, self.micro

    @property
    def is_prerelease(self) -> bool:
        """Whether it comes before a release, as 1.4.2-rc.1 does."""
        return bool(self.prerelease)

    @property
    def without_build(self) -> str:
        """The version as a string without its build metadata: what identifies it."""
        tail = ".".join(map(str, self.prerelease))
        return f"{self.major}.{self.minor}.{self.micro}" + (f"-{tail}" if self.prerelease else "")

    def bump_major(self) -> Version:
        """Return the next major release: 2.0.0 after 1.4.2, and after 2.0.0-rc.1."""
        prepared = self.is_prerelease and not self.minor and not self.micro
        return Version(self.major + (not prepared), 0, 0)

    def bump_minor(self) -> Version:
        """Return the next minor release: 1.5.0 after 1.4.2, and after 1.5.0-rc.1."""
        prepared = self.is_prerelease and not self.micro
        return Version(self.major, self.minor + (not prepared), 0)

    def bump_patch(self) -> Version:
        """Return the next patch release: 1.4.3 after 1.4.2, and after 1.4.3-rc.1."""
        return Version(self.major, self.minor, self.micro + (not self.is_prerelease))

    def __str__(self) -> str:
        tail = ".".join(self.build)
        return self.without_build + (f"+{tail}" if self.build else "")

    def __repr__(self) -> str:
        return f"<Version {self}>"


def shown(value: object) -> str:
    """Return a value as an error message shows it: never long, and never failing."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print integers of thousands of digits
        text = f"a {type(value).__name__} with a very large number"
    return text if len(text) <= MAX_LENGTH + 2 else f"{text[:MAX_LENGTH]}..."


def _from_text(value: str) -> Version:
    text = value.removeprefix("v")
    match = _SEMVER.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise _refusal(value, _fix(text))
    return Version(int(match[1]), int(match[2]), int(match[3]), _identifiers(match[4]), _identifiers(match[5]))


def _from_numbers(value: object) -> Version:
    numbers = numbers_of(value)
    if len(numbers) != 3:
        raise _refusal(value, 'give a string such as "1.4.2" or three integers such as (1, 4, 2)')
    return Version(*numbers)


def numbers_of(value: object) -> tuple[int, ...]:
    """Return the integers of a sequence, also those of other libraries; none when it is anything else."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray, memoryview)):
        return ()
    parts = cast("Sequence[SupportsIndex]", value)
    try:
        return () if any(isinstance(part, bool) for part in parts) else tuple(map(index, parts))
    except TypeError:
        return ()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**MAX_LENGTH


def _identifiers(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


def _refusal(value: object, fix: str) -> InvalidInputError:
    return InvalidInputError(f"{shown(value)} is not a semantic version", hint=fix)


def _fix(text: str) -> str:
    """Say what to change in a text that is not a version."""
    if len(text) > MAX_LENGTH:
        return f"use at most {MAX_LENGTH} characters"
    if text != text.strip():
        return "remove the spaces around it"
    if re.fullmatch(rf"{_NUMBER}(\.{_NUMBER})?", text):
        return f"give all three numbers, such as {text}{'.0' * (2 - text.count('.'))}"
    if re.search(r"(^|[.-])0[0-9]+($|[.+-])", text):
        return "write numbers without leading zeros"
    if re.search(r"[\^~<>=*|,]|\.[xX]\b", text) or text == "latest":
        return "give one version such as 1.4.2, not a range"
    return "write MAJOR.MINOR.PATCH, such as 1.4.2 or 1.4.2-rc.1, in ASCII letters and digits"
