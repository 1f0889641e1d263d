"""Selection: which version and which canaries of a rollout a service with a range serves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.rollout import planner
from mlflow_utilities.rollout.document import Document, LiveEntry, OffEntry
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.rollout.version_range import RangeLike, VersionRange
from mlflow_utilities.serving.selection import Selection, select
from support.rollouts import active, canary, document, facts, state, taken

PRERELEASES = ["1.4.0-rc.1", "1.5.0-alpha", "2.0.0-rc.1"]
numbers = st.integers(0, 3)
releases = st.builds("{}.{}.{}".format, numbers, numbers, numbers)
versions = st.builds("{}{}".format, releases, st.sampled_from(["", "", "-rc.1", "-alpha"]))


def actives(*keys: str) -> dict[str, tuple[LiveEntry, ...]]:
    """Return versions that have one Active run each, whose id is the version."""
    return {key: (active(key, (0, TOTAL)),) for key in keys}


def canaries(*keys: str) -> dict[str, tuple[LiveEntry, ...]]:
    """Return versions that have one Canary run each, whose id is the version."""
    return {key: (canary(key, 500),) for key in keys}


def chosen(live: dict[str, tuple[LiveEntry, ...]], versions: RangeLike, mirrored: RangeLike = None) -> Selection:
    """Return what is selected of live runs; `mirrored` None is the default."""
    extra = None if mirrored is None else VersionRange.parse(mirrored)
    return select(document(live), VersionRange.parse(versions), extra)


def runs(entries: tuple[LiveEntry, ...]) -> list[str]:
    """Return the run ids of entries."""
    return [entry.run for entry in entries]


@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        ("^1", "1.10.0"),
        ("1.x", "1.10.0"),
        ("~1.4", "1.4.2"),
        ("~1.4.0", "1.4.2"),
        ("<2.0.0", "1.10.0"),
        (">=1.4,<1.5", "1.4.2"),
        ("1.4.2", "1.4.2"),
        ("=1.4.1", "1.4.1"),
        ("==1.4.1", "1.4.1"),
        ("v1.4.1", "1.4.1"),
        ("1.4.1+build.7", "1.4.1"),
        ((1, 4, 1), "1.4.1"),
        (Version.parse("1.4.1+build.7"), "1.4.1"),
        ("1.4.0-rc.1", "1.4.0-rc.1"),
        (">=2.0.0-rc.0", "2.0.0-rc.1"),
        ("*", "1.10.0"),
        ("latest", "1.10.0"),
        (None, "2.0.0-rc.1"),
        ("1.4.1 || 1.4.2", "1.4.2"),
        ("1.4.3", None),
        ("1.4.0", None),
        ("1.4.2-rc.1", None),
        ("^3", None),
        ("~1.9", None),
    ],
    ids=repr,
)
def test_a_service_serves_the_highest_active_version_of_its_range(wanted: Any, served: str | None) -> None:
    """Never a pre-release unless it is named or nothing at all is; one version alone is exactly that one."""
    live = actives("1.4.1", "1.10.0", "1.4.2", "1.9.0-rc.1", *PRERELEASES) | canaries("1.4.3", "3.0.0")
    selection = chosen(live, wanted)

    assert selection.version == served
    assert runs(selection.actives) == ([] if served is None else [served])


@given(
    st.lists(versions, min_size=1, max_size=8, unique=True), st.sampled_from(["^1", "~1.2", "<2.0.0", "*", "latest"])
)
def test_a_range_never_selects_a_prerelease(keys: list[str], text: str) -> None:
    """Whatever is Active, a range without a pre-release in it serves releases, the highest of those it holds for."""
    selection = chosen(actives(*keys), text)
    held = [Version.parse(key) for key in keys if "-" not in key and (text == "latest" or key in VersionRange(text))]

    assert selection.version == (str(max(held)) if held else None)


@pytest.mark.parametrize("text", ["^1", "~1.4", "<2.0.0", "latest", "1.4.2"])
@pytest.mark.parametrize(
    "change",
    [
        lambda old: replace(old, off=(OffEntry("1.4.3", ModelStatus.New, 6),)),
        lambda old: replace(old, live={**old.live, **canaries("1.4.3")}),
        lambda old: replace(old, live={**old.live, **actives("1.4.3-rc.1")}),
    ],
    ids=["New", "Canary", "pre-release"],
)
def test_what_is_not_active_does_not_change_serving(text: str, change: Any) -> None:
    """A higher version that is New, a canary or a pre-release leaves the lower one in place."""
    before: Document = document(actives("1.4.2"))
    after = replace(change(before), generation=6)
    old, new = (select(each, VersionRange.parse(text)) for each in (before, after))

    assert (new.version, new.actives) == (old.version, old.actives) == ("1.4.2", before.live["1.4.2"])


@pytest.mark.parametrize(("text", "then"), [("~1.4", "1.4.3"), ("latest", "1.4.3"), ("1.4.2", "1.4.2")])
def test_a_range_follows_the_operator_and_an_exact_version_stays(text: str, then: str) -> None:
    """Enabling 1.4.3 moves the services that asked for a range, and only these; disabling it moves them back."""
    wanted = VersionRange.parse(text)
    first = state(document(actives("1.4.2")), facts("1.4.2", "1.4.2"), facts("1.4.3", "1.4.3"))
    enabled = taken(first, planner.enable(first, "1.4.3"))
    disabled = taken(enabled, planner.disable(enabled, "1.4.3"))
    documents = [each.document for each in (first, enabled, disabled)]

    assert [select(each, wanted).version for each in documents if each] == ["1.4.2", then, "1.4.2"]


def test_an_exact_version_without_active_run_serves_nothing() -> None:
    """When its last Active run is disabled, no other version takes its place."""
    first = state(document(actives("1.4.2", "1.4.1")), facts("1.4.2", "1.4.2"), facts("1.4.1", "1.4.1"))
    after = taken(first, planner.disable(first, "1.4.2")).document
    assert after is not None

    assert (select(after, VersionRange("1.4.2")).version, select(after, VersionRange("1.4.2")).actives) == (None, ())
    assert select(after, VersionRange("~1.4")).version == "1.4.1"


@pytest.mark.parametrize(
    ("wanted", "mirrored", "copied"),
    [
        ("^1", None, ["1.5.0", "1.4.2", "1.3.0"]),
        ("~1.4", None, ["1.4.2"]),
        ("1.4.2", None, ["2.0.0", "2.0.0-rc.1", "1.5.0", "1.5.0-rc.1", "1.4.2"]),
        ("latest", None, ["2.0.0", "2.0.0-rc.1", "1.5.0", "1.5.0-rc.1", "1.4.2"]),
        ("1.4.9", None, ["2.0.0", "2.0.0-rc.1", "1.5.0", "1.5.0-rc.1"]),
        ("^3", None, []),
        ("^1", "^2", ["2.0.0"]),
        ("^1", "2.0.0-rc.1", ["2.0.0-rc.1"]),
        ("^1", "2.0.0-rc.1+build.7", ["2.0.0-rc.1"]),
        ("^1", "latest", ["2.0.0"]),
        ("1.4.2", "~1.3", ["1.3.0"]),
        ("1.4.2", ">=1.5.0-rc.0", ["2.0.0", "1.5.0", "1.5.0-rc.1"]),
        ("latest", "9.9.9", []),
    ],
)
def test_which_canaries_get_copies(wanted: str, mirrored: str | None, copied: list[str]) -> None:
    """Those of the range; beside an exact version or the latest, none that is lower; or those asked for."""
    live = canaries("1.3.0", "1.5.0-rc.1", "1.5.0", "2.0.0-rc.1", "2.0.0")
    live["1.4.2"] = (active("1.4.2 active", (0, TOTAL)), canary("1.4.2", 500))

    assert runs(chosen(live, wanted, mirrored).canaries) == copied


def test_every_canary_can_be_asked_for() -> None:
    """No restriction at all includes the pre-releases."""
    live = actives("1.4.2") | canaries("1.3.0", "2.0.0-rc.1")

    assert runs(select(document(live), VersionRange("1.4.2"), VersionRange(None)).canaries) == ["2.0.0-rc.1", "1.3.0"]


def test_nothing_active_at_all() -> None:
    """No version is served, and the canaries are those they would be."""
    selection = chosen(canaries("1.4.2", "2.0.0-rc.1"), "latest")

    assert (selection.version, selection.actives) == (None, ())
    assert runs(selection.canaries) == ["2.0.0-rc.1", "1.4.2"]


@pytest.mark.parametrize("key", ["", "1.4", "newest", "v1.4.9", "1.4.9+build.7", "1.4.09", "1" * 200])
@pytest.mark.parametrize("text", ["^1", "latest", "1.4.9", "1.4.2", None])
def test_a_key_that_is_no_version_is_passed_over(key: str, text: str | None) -> None:
    """What no release of this package writes does not stop a service from serving the rest."""
    odd = {key: (active("odd", (0, TOTAL)), canary("odd canary", 500))}
    good = {"1.4.2": (active("good", (0, TOTAL)), canary("good canary", 500))}

    assert chosen(odd | good, text) == chosen(good, text)


def test_the_rest_of_a_generation_is_carried_along() -> None:
    """Its number, salt, revoked runs and poll interval, and the ids of all runs, the Active ones first."""
    live = {"1.4.2": (canary("c", 500), active("a", (0, 4000)), active("b", (4000, TOTAL)))}
    made = document(live, generation=9, salt="5f1c9a77", revoked=("x", "y"), poll=60)
    selection = select(made, VersionRange("^1"))

    assert (selection.generation, selection.salt, selection.poll) == (9, "5f1c9a77", 60)
    assert selection.revoked == {"x", "y"}
    assert selection.runs == ("a", "b", "c")
