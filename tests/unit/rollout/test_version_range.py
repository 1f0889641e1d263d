"""Version ranges: which versions each notation chooses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.rollout.version_range import MAX_LENGTH, VersionRange

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "semver_ranges.json").read_text(encoding="utf-8"))

number = st.integers(0, 3)
tails = st.sampled_from(["", "", "", "-0", "-1", "-alpha", "-alpha.1", "-rc.1"])
releases = st.builds("{}.{}.{}".format, number, number, number)
full = st.builds("{}{}".format, releases, tails)
versions = full.map(Version.parse)
partials = st.sampled_from(["*", "1", "2.x", "0", "1.2", "0.1", "0.0", "1.*", "3.1.x"])
operators = st.sampled_from(["", "=", "==", "!=", ">", ">=", "<", "<=", "^", "~"])


def terms(operands: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Terms of a range over the given versions."""
    return st.builds("{}{}".format, operators, operands) | st.builds("{} - {}".format, operands, operands)


def ranges(operands: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Ranges of up to six terms over the given versions."""
    together = st.builds(
        lambda parts, comma: comma.join(parts),
        st.lists(terms(operands), min_size=1, max_size=3),
        st.sampled_from([" ", ",", " , "]),
    )
    return st.lists(together, min_size=1, max_size=2).map(" || ".join)


any_range = ranges(full | partials)


def holding(text: str, candidates: list[Version], *, prereleases: bool = False) -> set[Version]:
    """Return the versions that a range holds for."""
    parsed = VersionRange.parse(text)
    return {version for version in candidates if parsed.contains(version, prereleases=prereleases)}


@pytest.mark.parametrize(
    ("notation", "text", "chosen", "others"),
    [(notation, *case) for notation in ("npm", "python", "prereleases") for case in VECTORS[notation]],
)
def test_a_range_chooses_its_versions(notation: str, text: str, chosen: list[str], others: list[str]) -> None:
    """Each notation holds for the versions that npm's or Python's own rules give, and for no other."""
    parsed = VersionRange.parse(text)
    asked = notation == "prereleases"

    assert [version for version in chosen if not parsed.contains(version, prereleases=asked)] == []
    assert [version for version in others if parsed.contains(version, prereleases=asked)] == []


def test_the_vectors_are_many() -> None:
    """The vectors are not cut short unnoticed."""
    groups = [VECTORS["npm"], VECTORS["python"], VECTORS["prereleases"]]
    assert sum(len(chosen) + len(others) for group in groups for _, chosen, others in group) >= 500


@pytest.mark.parametrize(("text", "part"), VECTORS["malformed"])
def test_a_malformed_range_is_refused(text: str, part: str) -> None:
    """What is not a range is refused with the range, the offending part, and examples."""
    with pytest.raises(InvalidInputError) as caught:
        VersionRange.parse(text)

    assert caught.value.message.startswith(f"{part!r} in the version range {text!r}: ")
    assert "^1.4" in (caught.value.hint or "")


@pytest.mark.parametrize("value", [1, 1.4, True, b"1", {1: 2}, object()], ids=lambda value: type(value).__name__)
def test_what_is_no_text_is_refused(value: Any) -> None:
    """Numbers and other objects are refused; 1.4 without quotes would lose the 0 of 1.40."""
    with pytest.raises(InvalidInputError, match="is not a version range") as caught:
        VersionRange.parse(value)

    assert "give a string" in (caught.value.hint or "")


def test_a_range_has_a_greatest_length() -> None:
    """A range of 1,024 characters is read; one more is refused, with a message that is not as long."""
    text = "1.0.0 || " * 113 + "1.0.123"
    assert len(text) == MAX_LENGTH
    assert "1.0.123" in VersionRange.parse(text)

    with pytest.raises(InvalidInputError, match="too long") as caught:
        VersionRange.parse(f"{text}4")

    assert len(str(caught.value)) < 250


def test_a_number_too_large_for_a_version_is_refused() -> None:
    """A range whose upper end could not be written as a version is refused, not a crash."""
    with pytest.raises(InvalidInputError, match="in the version range"):
        VersionRange.parse("^" + "9" * 124)


@pytest.mark.parametrize(
    "value", [(1, 2, 3), [1, 2, 3], Version(1, 2, 3), "1.2.3", "v1.2.3", "=1.2.3", "==1.2.3", "== 1.2.3"]
)
def test_one_version_is_a_range(value: Any) -> None:
    """A version in any form stands for exactly itself, and `exact` gives it."""
    parsed = VersionRange.parse(value)

    assert parsed.exact == Version(1, 2, 3)
    assert parsed.matching(["1.2.2", "1.2.3", "1.2.4", "1.2.3-rc.1"]) == [Version(1, 2, 3)]


def test_an_exact_version_keeps_its_text() -> None:
    """Pre-release and build metadata of the version that is named are kept."""
    assert str(VersionRange.parse("1.2.3-rc.1+b7").exact) == "1.2.3-rc.1+b7"


@pytest.mark.parametrize(
    "value", [None, "*", "1.2", "^1.2.3", "!=1.2.3", ">=1.2.3", "1.2.3 || 1.2.4", "1.2.3 1.2.3", "latest"]
)
def test_other_ranges_name_no_single_version(value: str | None) -> None:
    """A range that is not one version written out has no `exact`."""
    assert VersionRange.parse(value).exact is None


@pytest.mark.parametrize("value", [(1, 2), (1, 2, -3), (1, 2, 3, 4)])
def test_numbers_that_are_no_version_are_refused(value: Any) -> None:
    """Integers that do not make a version do not make a range either."""
    with pytest.raises(InvalidInputError, match="is not a semantic version"):
        VersionRange.parse(value)


def test_no_restriction_is_every_version() -> None:
    """None lists everything, pre-releases included, while `*` lists the releases."""
    present = ["1.0.0", "2.0.0-rc.1", "0.1.0-0"]

    assert list(map(str, VersionRange.parse(None).matching(present))) == ["2.0.0-rc.1", "1.0.0", "0.1.0-0"]
    assert list(map(str, VersionRange.parse("*").matching(present))) == ["1.0.0"]
    assert VersionRange.parse(None) != VersionRange.parse("*")


def test_latest_is_the_highest_release() -> None:
    """`latest` is compared by numbers, and a pre-release is the latest only when asked for."""
    latest = VersionRange.parse(" latest ")
    present = ["1.9.0", "1.10.0", "1.2.0", "2.0.0-rc.1"]

    assert latest.is_latest
    assert latest.matching(present) == [Version(1, 10, 0)]
    assert latest.highest(present) == Version(1, 10, 0)
    assert latest.matching(present, prereleases=True) == [Version.parse("2.0.0-rc.1")]
    assert latest.matching(["2.0.0-rc.1"]) == []
    assert latest.highest(["2.0.0-rc.1"]) is None
    assert latest.matching([]) == []


def test_latest_cannot_be_asked_of_one_version() -> None:
    """Whether one version is the latest depends on the others, so `contains` refuses instead of guessing."""
    with pytest.raises(InvalidInputError, match="depends on the others") as caught:
        VersionRange.parse("latest").contains("1.0.0")

    assert "matching" in (caught.value.hint or "")
    with pytest.raises(InvalidInputError):
        assert "1.0.0" in VersionRange.parse("latest")


def test_matches_come_highest_first_and_once() -> None:
    """Matches are sorted by precedence; of versions equal but for their build, the first given is kept."""
    present = ["1.2.0", (1, 10, 0), Version.parse("1.9.0"), "v1.2.0", "1.10.0+late", "2.0.0"]

    assert list(map(str, VersionRange.parse("^1").matching(present))) == ["1.10.0", "1.9.0", "1.2.0"]
    assert VersionRange.parse("^1").highest(present) == Version(1, 10, 0)
    assert VersionRange.parse("^3").highest(present) is None


def test_what_is_matched_must_be_versions() -> None:
    """A candidate that is no version is refused, not left out silently."""
    with pytest.raises(InvalidInputError, match=r"'1\.2' is not a semantic version"):
        VersionRange.parse("^1").matching(["1.2"])
    with pytest.raises(InvalidInputError):
        assert "1.2" in VersionRange.parse(None)


@pytest.mark.parametrize("text", ["^1.2", " >=1.4,<2 ", "latest", "v1.2.3"])
def test_a_range_shows_what_was_given(text: str) -> None:
    """Messages show the range as the user wrote it."""
    assert str(VersionRange.parse(text)) == text
    assert repr(VersionRange.parse(text)) == f"VersionRange({text!r})"
    assert str(VersionRange.parse(None)) == "any version"
    assert str(VersionRange.parse((1, 2, 3))) == "1.2.3"


def test_a_range_is_a_value() -> None:
    """Ranges of the same terms are equal with one hash, can be pickled, and are not parsed twice."""
    one, other = VersionRange.parse(">=1.4,<2"), VersionRange.parse(">= 1.4.x  <2.X")

    assert one == other
    assert hash(one) == hash(other)
    assert one != VersionRange.parse(">=1.4,<3")
    assert pickle.loads(pickle.dumps(one)) == one
    assert VersionRange.parse(one) is one
    with pytest.raises(AttributeError):
        one.text = "*"  # type: ignore[misc]


@given(ranges(releases | partials), st.lists(versions))
def test_a_range_without_prereleases_never_chooses_one(text: str, candidates: list[Version]) -> None:
    """Whatever the operators, a pre-release is chosen only where one is named or asked for."""
    assert not any(version.is_prerelease for version in VersionRange.parse(text).matching(candidates))


@given(any_range, st.lists(versions))
def test_a_chosen_prerelease_was_named(text: str, candidates: list[Version]) -> None:
    """A pre-release is chosen only if the range spells out a pre-release of the same three numbers."""
    for version in VersionRange.parse(text).matching(candidates):
        assert not version.is_prerelease or "{}.{}.{}-".format(*version.release) in text


@given(any_range, st.lists(versions))
def test_matching_agrees_with_contains(text: str, candidates: list[Version]) -> None:
    """`matching` gives what `contains` holds for, in descending order, and `highest` is its first."""
    parsed = VersionRange.parse(text)
    chosen = parsed.matching(candidates)

    assert set(chosen) == {version for version in candidates if version in parsed}
    assert chosen == sorted(set(chosen), reverse=True)
    assert parsed.highest(candidates) == max(chosen, default=None)
    assert set(chosen) <= set(parsed.matching(candidates, prereleases=True))


@given(number, number, number, tails, st.lists(versions, max_size=20), st.booleans())
def test_caret_is_its_comparators(
    major: int, minor: int, micro: int, tail: str, candidates: list[Version], prereleases: bool
) -> None:
    """`^` is from its version up to the next change of the leftmost number that is not 0."""
    upper = (major + 1, 0, 0) if major else (0, minor + 1, 0) if minor else (0, 0, micro + 1)
    version = f"{major}.{minor}.{micro}{tail}"
    expanded = ">={} <{}.{}.{}-0".format(version, *upper)

    assert holding(f"^{version}", candidates, prereleases=prereleases) == holding(
        expanded, candidates, prereleases=prereleases
    )


@given(number, number, number, tails, st.lists(versions, max_size=20), st.booleans())
def test_tilde_is_its_comparators(
    major: int, minor: int, micro: int, tail: str, candidates: list[Version], prereleases: bool
) -> None:
    """`~` with three numbers, and `~=` too, is from its version up to the next minor one."""
    version = f"{major}.{minor}.{micro}{tail}"
    expanded = holding(f">={version} <{major}.{minor + 1}.0-0", candidates, prereleases=prereleases)

    assert holding(f"~{version}", candidates, prereleases=prereleases) == expanded
    assert holding(f"~={version}", candidates, prereleases=prereleases) == expanded


@given(number, number, st.lists(versions, max_size=20), st.booleans())
def test_open_numbers_are_their_prefix(major: int, minor: int, candidates: list[Version], prereleases: bool) -> None:
    """A version with open numbers holds for those that begin with it, in each way to write it."""
    minors = {v for v in candidates if v.release[:2] == (major, minor) and (prereleases or not v.is_prerelease)}
    majors = {v for v in candidates if v.major == major and (prereleases or not v.is_prerelease)}
    beginning = f"{major}.{minor}"

    for text in (beginning, f"{beginning}.x", f"=={beginning}.*", f"~{beginning}", f">={beginning} <={beginning}"):
        assert holding(text, candidates, prereleases=prereleases) == minors
    for text in (
        f"{major}",
        f"{major}.x",
        f"{major}.*.*",
        f"~{major}",
        f"^{major}",
        f"~={major}.0",
        f"{major} - {major}",
    ):
        assert holding(text, candidates, prereleases=prereleases) == majors


@given(full | partials, full | partials, st.lists(versions, max_size=20), st.booleans())
def test_a_hyphen_is_two_comparators(low: str, high: str, candidates: list[Version], prereleases: bool) -> None:
    """`a - b` is `>=a <=b`, open numbers included."""
    assert holding(f"{low} - {high}", candidates, prereleases=prereleases) == holding(
        f">={low}, <={high}", candidates, prereleases=prereleases
    )


@given(any_range, any_range, st.lists(versions, max_size=20), st.booleans())
def test_two_bars_are_a_union(one: str, other: str, candidates: list[Version], prereleases: bool) -> None:
    """`||` chooses what either side chooses, and nothing else."""
    either = holding(one, candidates, prereleases=prereleases) | holding(other, candidates, prereleases=prereleases)
    assert holding(f"{one}||{other}", candidates, prereleases=prereleases) == either


@given(terms(full | partials), terms(full | partials), st.lists(versions, max_size=20))
def test_neighbours_are_an_intersection(one: str, other: str, candidates: list[Version]) -> None:
    """Two terms side by side choose the releases that both choose, with a comma as with a space."""
    released = [version for version in candidates if not version.is_prerelease]
    both = holding(one, released) & holding(other, released)

    assert holding(f"{one} {other}", released) == both
    assert holding(f"{one},{other}", released) == both
    assert holding(f"{one} {other}", candidates) == holding(f"{one}, {other}", candidates)


@given(full | partials, st.lists(versions, max_size=20))
def test_not_equal_is_the_complement(operand: str, candidates: list[Version]) -> None:
    """`!=` chooses exactly the versions that `==` leaves."""
    equal = holding(f"=={operand}", candidates, prereleases=True)
    assert holding(f"!={operand}", candidates, prereleases=True) == set(candidates) - equal


@given(st.text(max_size=30) | st.text("0123456789.xX*^~<>=!|,- vrc", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text causes any other error than InvalidInputError, and what is accepted can be asked."""
    try:
        parsed = VersionRange.parse(text)
    except InvalidInputError:
        return
    assert parsed.is_latest or parsed.contains("1.0.0") is ("1.0.0" in map(str, parsed.matching(["1.0.0", "2.0.0"])))
