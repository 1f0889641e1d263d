"""Semantic versions: what is one, and which comes first."""

from __future__ import annotations

import copy
import json
import pickle
import re
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.version import MAX_LENGTH, Version, shown

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "semver_versions.json").read_text(encoding="utf-8"))

numbers = st.integers(0, 12) | st.integers(0, 10**20)
words = st.from_regex(r"[0-9]{0,3}[A-Za-z-][0-9A-Za-z-]{0,6}", fullmatch=True)
prereleases = st.lists(numbers.map(str) | words | st.sampled_from(["0", "1", "alpha", "rc"]), max_size=4)
builds = st.lists(st.from_regex(r"[0-9A-Za-z-]{1,6}", fullmatch=True), max_size=3)
small = st.builds("{}.{}.{}".format, *[st.integers(0, 2)] * 3)


@st.composite
def version_texts(draw: st.DrawFn) -> str:
    """Any semantic version; its three numbers are often those of another one."""
    core = draw(small | st.builds("{}.{}.{}".format, numbers, numbers, numbers))
    prerelease, build = ".".join(draw(prereleases)), ".".join(draw(builds))
    text = core + (f"-{prerelease}" if prerelease else "") + (f"+{build}" if build else "")
    return text[:MAX_LENGTH] if re.fullmatch(r".*[0-9A-Za-z]", text[:MAX_LENGTH]) else core


versions = version_texts().map(Version.parse)


def rank(left: str, right: str) -> int:
    """Compare two version texts, clause by clause of section 11 of the specification: -1, 0 or 1."""
    left, right = left.split("+")[0], right.split("+")[0]
    (core_left, _, tail_left), (core_right, _, tail_right) = left.partition("-"), right.partition("-")
    for one, other in zip(core_left.split("."), core_right.split("."), strict=True):
        if int(one) != int(other):
            return 1 if int(one) > int(other) else -1
    if not tail_left or not tail_right:
        return bool(tail_right) - bool(tail_left)
    for one, other in zip(tail_left.split("."), tail_right.split("."), strict=False):
        if one == other:
            continue
        if one.isdigit() and other.isdigit():
            return 1 if int(one) > int(other) else -1
        if one.isdigit() or other.isdigit():
            return -1 if one.isdigit() else 1
        return 1 if one.encode() > other.encode() else -1
    shorter = len(tail_left.split(".")) - len(tail_right.split("."))
    return (shorter > 0) - (shorter < 0)


def is_version(text: str) -> bool:
    """Tell by the regular expression that the specification publishes, after one leading "v"."""
    return re.fullmatch(VECTORS["expression"], text.removeprefix("v"), re.ASCII) is not None


@pytest.mark.parametrize("text", VECTORS["valid"])
def test_a_valid_version_is_kept_as_it_is(text: str) -> None:
    """Every valid example of the specification is read, and written back character by character."""
    assert str(Version.parse(text)) == text
    assert repr(Version.parse(text)) == f"<Version {text}>"


@pytest.mark.parametrize("text", VECTORS["invalid"])
def test_an_invalid_version_is_refused(text: str) -> None:
    """Every invalid example of the specification is refused, and the error names it."""
    with pytest.raises(InvalidInputError, match="is not a semantic version") as caught:
        Version.parse(text)

    assert repr(text) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("chain", VECTORS["ascending"])
def test_the_specifications_order(chain: list[str]) -> None:
    """The specification's chains ascend strictly."""
    for lower, higher in pairwise(map(Version.parse, chain)):
        assert lower < higher
        assert higher > lower
        assert lower != higher
    assert sorted(map(Version.parse, reversed(chain))) == list(map(Version.parse, chain))


@pytest.mark.parametrize("texts", VECTORS["same_precedence"])
def test_build_metadata_does_not_count(texts: list[str]) -> None:
    """Versions that differ in build metadata alone are equal, have one hash, and neither is greater."""
    for one, other in product(map(Version.parse, texts), repeat=2):
        assert one == other
        assert one <= other
        assert not one < other
        assert one.without_build == other.without_build
    assert len(set(map(Version.parse, texts))) == 1


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        ("", "MAJOR.MINOR.PATCH"),
        ("1", "such as 1.0.0"),
        ("1.2", "such as 1.2.0"),
        ("1.2.3.4", "MAJOR.MINOR.PATCH"),
        (" 1.2.3", "spaces"),
        ("1.2.3 ", "spaces"),
        ("1.2.3\n", "spaces"),
        ("01.2.3", "leading zeros"),
        ("1.2.3-01", "leading zeros"),
        ("1.2.3-rc.01+7", "leading zeros"),
        ("-1.2.3", "MAJOR.MINOR.PATCH"),
        ("1.-2.3", "MAJOR.MINOR.PATCH"),
        ("V1.2.3", "MAJOR.MINOR.PATCH"),
        ("vv1.2.3", "MAJOR.MINOR.PATCH"),
        ("1.2.3-", "MAJOR.MINOR.PATCH"),
        ("1.2.3+", "MAJOR.MINOR.PATCH"),
        ("1.2.3-é", "ASCII"),
        ("\u0661.2.3", "ASCII"),
        ("1.2.\u00b2", "ASCII"),
        ("^1.2.3", "not a range"),
        ("1.x", "not a range"),
        ("latest", "not a range"),
        ("1.2.3-" + "a" * MAX_LENGTH, "at most 128 characters"),
        ("9" * 10_000, "at most 128 characters"),
        (None, "three integers"),
        (True, "three integers"),
        (1.2, "three integers"),
        (123, "three integers"),
        (b"\x01\x02\x03", "three integers"),
        ({1, 2, 3}, "three integers"),
        ((), "three integers"),
        ((1, 2), "three integers"),
        ((1, 2, 3, 4), "three integers"),
        ((1, 2, True), "three integers"),
        ((1, 2, False), "three integers"),
        ((1, 2, 3.0), "three integers"),
        (["1", "2", "3"], "three integers"),
        ((1, 2, -3), "from 0 up"),
        ((10**5000, 0, 0), "from 0 up"),
        ((10**100, 10**100, 0), "at most 128 characters"),
    ],
    ids=shown,
)
def test_a_refusal_says_what_to_change(value: Any, fix: str) -> None:
    """What is not a version is refused with its value, cut to a readable length, and with the fix."""
    with pytest.raises(InvalidInputError) as caught:
        Version.parse(value)

    assert fix in (caught.value.hint or "")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("value", ["1.2.3", "v1.2.3", (1, 2, 3), [1, 2, 3], range(1, 4), Version(1, 2, 3)])
def test_each_way_to_give_a_version(value: Any) -> None:
    """A string, with a "v" or without, three integers and a version stand for the same; the "v" is not kept."""
    version = Version.parse(value)

    assert version == Version(1, 2, 3)
    assert str(version) == "1.2.3"


def test_integers_of_other_libraries_count() -> None:
    """Numbers that are integers without being int, as numpy's are, make a version of plain int."""

    class Number:
        def __index__(self) -> int:
            return 7

    version = Version.parse([Number(), 0, 1])  # type: ignore[list-item]

    assert version == Version(7, 0, 1)
    assert type(version.major) is int


def test_the_parts_of_a_version() -> None:
    """Each part has its name; numeric pre-release identifiers are int, build identifiers stay as they are."""
    version = Version.parse("1.2.3-rc.1.0a+build.007")

    assert (version.major, version.minor, version.micro, version.patch) == (1, 2, 3, 3)
    assert version.release == (1, 2, 3)
    assert version.prerelease == ("rc", 1, "0a")
    assert version.build == ("build", "007")
    assert version.without_build == "1.2.3-rc.1.0a"
    assert version.is_prerelease
    assert not Version(1, 2, 3, build=("a-b",)).is_prerelease


def test_the_constructor_makes_what_parse_makes() -> None:
    """Parts given one by one are brought into the same form, so that equal versions have equal parts."""
    version = Version(1, 2, 3, ("rc", "1"), ("b.7",))

    assert version.prerelease == ("rc", 1)
    assert version.build == ("b", "7")


@pytest.mark.parametrize(
    "parts",
    [
        (1, 2, "3"),
        (1, True, 3),
        (-1, 0, 0),
        (1, 2, 3, ("",)),
        (1, 2, 3, ("01",)),
        (1, 2, 3, (-1, "")),
        (1, 2, 3, "rc.1"),
        (1, 2, 3, ("a", "b c")),
        (1, 2, 3, (), ("+",)),
        (1, 2, 3, ("\u0661",)),
    ],
)
def test_the_constructor_refuses_what_parse_refuses(parts: tuple[Any, ...]) -> None:
    """No version exists that could not be written and read back."""
    with pytest.raises(InvalidInputError, match="is not a semantic version"):
        Version(*parts)


def test_a_version_cannot_be_changed() -> None:
    """A version is a value: it has no settable attribute."""
    with pytest.raises(AttributeError):
        Version(1, 2, 3).major = 2  # type: ignore[misc]


def test_a_version_is_not_its_text() -> None:
    """A string is never equal to a version, and cannot be ordered with one."""
    assert Version(1, 2, 3) != "1.2.3"
    with pytest.raises(TypeError):
        assert Version(1, 2, 3) < "1.2.4"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("start", "major", "minor", "patch"),
    [
        ("1.4.2", "2.0.0", "1.5.0", "1.4.3"),
        ("0.0.0", "1.0.0", "0.1.0", "0.0.1"),
        ("1.4.2-rc.1+b", "2.0.0", "1.5.0", "1.4.2"),
        ("1.5.0-rc.1", "2.0.0", "1.5.0", "1.5.0"),
        ("2.0.0-rc.1", "2.0.0", "2.0.0", "2.0.0"),
        ("1.9.9+b", "2.0.0", "1.10.0", "1.9.10"),
    ],
)
def test_the_next_release(start: str, major: str, minor: str, patch: str) -> None:
    """A bump drops pre-release and build, and of a pre-release gives the release that it prepares."""
    version = Version.parse(start)

    assert [str(version.bump_major()), str(version.bump_minor()), str(version.bump_patch())] == [major, minor, patch]


@given(version_texts())
def test_reading_and_writing_are_inverse(text: str) -> None:
    """What is read is written back as it was, with a "v" or without, and survives copying and pickling."""
    version = Version.parse(text)

    assert str(version) == text
    assert str(Version.parse(f"v{text}")) == text
    assert Version(version.major, version.minor, version.micro, version.prerelease, version.build) == version
    assert str(copy.deepcopy(version)) == text
    restored = pickle.loads(pickle.dumps(version))
    assert (restored, hash(restored), str(restored)) == (version, hash(version), text)


@given(version_texts(), version_texts())
def test_the_order_is_that_of_the_specification(left: str, right: str) -> None:
    """Exactly one of lower, equal and greater holds, and it is the one that the specification's clauses give."""
    one, other = Version.parse(left), Version.parse(right)
    expected = rank(left, right)

    assert (one > other) - (one < other) == expected
    assert (one == other) is (expected == 0)
    assert (one <= other, one >= other) == (expected <= 0, expected >= 0)
    assert expected != 0 or hash(one) == hash(other)


@given(st.lists(versions, min_size=3, max_size=6))
def test_the_order_is_total(chosen: list[Version]) -> None:
    """Sorting puts every pair in order, not only neighbours, whatever the order to begin with."""
    ordered = sorted(chosen)

    assert all(ordered[low] <= ordered[high] for high in range(len(ordered)) for low in range(high + 1))
    chosen.reverse()
    assert sorted(chosen) == ordered


@given(versions)
def test_a_release_follows_its_prereleases(version: Version) -> None:
    """A bump is the lowest release of its kind that comes after; nothing comes between a version and its parts."""
    release = Version(*version.release)

    assert (version < release) is version.is_prerelease
    assert Version(*version.release, (0,)) <= version
    assert version < version.bump_patch() <= version.bump_minor() <= version.bump_major()


@given(st.text(max_size=20) | st.text("0123456789.-+vx ", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """What the specification's own expression accepts is read and written back without its "v"; the rest is refused."""
    try:
        version = Version.parse(text)
    except InvalidInputError:
        assert not is_version(text)
    else:
        assert str(version) == text.removeprefix("v")
