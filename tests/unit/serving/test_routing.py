"""Routing: which model answers a key, which canaries get a copy, and what is said when none can."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError, NoActiveModelError
from mlflow_utilities.rollout.slots import TOTAL, slot_of
from mlflow_utilities.serving.routing import Route, Snapshot
from mlflow_utilities.serving.selection import Selection
from mlflow_utilities.serving.values import Reason, Source
from support.rollouts import active, canary, document
from support.snapshots import served, snapshot

DATA = Path(__file__).parents[2] / "data"
SLOTS = json.loads((DATA / "slot_vectors.json").read_text(encoding="utf-8"))
PUBLISHED = json.loads((DATA / "routing_vectors.json").read_text(encoding="utf-8"))["generations"]

LIVE = {
    "1.4.0": (active("a", (0, 7000)), active("b", (7000, TOTAL)), canary("c", 5000)),
    "1.5.0": (canary("d", 2000), canary("e", 3000), canary("f", 0)),
}


def pairs(flat: list[int]) -> list[tuple[int, int]]:
    """Return the ranges that a flat list of bounds stands for."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def published(generation: dict[str, Any]) -> Snapshot:
    """Return the snapshot of a published generation."""
    actives = tuple(active(item["run"], *pairs(item["slots"])) for item in generation["actives"])
    canaries = tuple(canary(item["run"], item["mirror"]) for item in generation["canaries"])
    version = generation["version"]
    models = {entry.run: served(entry, version or "1.0.0", 5) for entry in (*actives, *canaries)}
    return Snapshot(
        Selection(5, generation["salt"], version, actives, canaries, frozenset()),
        models,
        models,
        source=Source.SERVER,
        submodel_name="fraud",
        experiment_id="7",
        without=frozenset(generation["revoked"]),
    )


def ids(models: Any) -> list[str]:
    """Return the run ids of models."""
    return [model.run_id for model in models]


def recomputed(generation: dict[str, Any], key: str) -> list[Any]:
    """Return a published line as its description says, in the plainest way."""
    text = f"{generation['salt']}|{key}".encode()
    shadow_text = f"{generation['salt']}|shadow|{key}".encode()
    slot, shadow = (int(sha256(each).hexdigest()[:16], 16) % 10_000 for each in (text, shadow_text))
    owners = [item["run"] for item in generation["actives"] for low, high in pairs(item["slots"]) if low <= slot < high]
    owner = next((run for run in owners if run not in generation["revoked"]), None)
    copies = [item["run"] for item in generation["canaries"] if shadow < item["mirror"]]
    return [key, slot, owner, shadow, [run for run in copies if run not in generation["revoked"]]]


def answer(current: Snapshot, key: str) -> str | None:
    """Return the run that answers a key, or None when the caller is told that there is none."""
    try:
        return current.choose(key).run_id
    except NoActiveModelError:
        return None


@pytest.mark.parametrize("generation", PUBLISHED, ids=lambda generation: generation["name"])
def test_the_published_answers(generation: dict[str, Any]) -> None:
    """A key has the run and the canaries that are published, and these follow from the published description."""
    current = published(generation)

    for line in generation["keys"]:
        key, slot, run, shadow, copies = line
        assert recomputed(generation, key) == line
        assert answer(current, key) == run
        route = current.route(key, 0)
        assert (route.slot, route.reason, route.model and route.model.run_id) == (slot, Reason.BUCKET, run)
        assert ids(current.mirrors(key, 0)) == ids(current.mirrors(None, shadow)) == copies


@pytest.mark.parametrize(("salt", "key", "slot"), SLOTS)
def test_the_published_slots_are_those_of_requests(salt: str, key: str, slot: int) -> None:
    """A request's slot is the published one."""
    assert snapshot(document(LIVE, salt=salt), "1.4.0").route(key, 0).slot == slot


@example(salt="5f1c9a77", key="\ud800 a lone surrogate")
@given(salt=st.text(), key=st.text(st.characters(exclude_categories=())))
def test_every_key_has_the_slot_that_the_writer_means(salt: str, key: str) -> None:
    """For any text, broken unicode included, requests are divided by `slot_of`, and copies by its shadow salt."""
    current = snapshot(document(LIVE, salt=salt), "1.4.0")
    slot, shadow = slot_of(salt, key), slot_of(f"{salt}|shadow", key)

    assert current.route(key, 0).slot == slot
    assert current.choose(key).run_id == ("a" if slot < 7000 else "b")
    assert set(ids(current.mirrors(key, 0))) == {
        run for run, mirror in (("c", 5000), ("d", 2000), ("e", 3000)) if shadow < mirror
    }


def test_many_keys_have_the_slot_that_the_writer_means() -> None:
    """Ten thousand keys as services have them are divided by `slot_of`."""
    current = snapshot(document(LIVE))

    for key in (f"user-{number}" for number in range(10_000)):
        assert current.route(key, 0).slot == slot_of(current.salt, key)


class Text(str):
    """A text that shows itself as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "other"

    def __format__(self, spec: str) -> str:
        return "other"

    def encode(self, *args: Any) -> bytes:  # noqa: D102
        return b"other"


def test_a_key_of_a_class_derived_from_text_counts_as_its_text() -> None:
    """Members of text enums, whose format differs between versions of Python, keep their slot."""
    assert snapshot(document(LIVE)).route(Text("user-1"), 0).slot == slot_of("0" * 8, "user-1")


@pytest.mark.parametrize("key", [b"user-1", 17, 1.5, None, ("user", 1), object()], ids=lambda key: type(key).__name__)
def test_a_key_that_is_no_text_is_refused(key: Any) -> None:
    """The message names the type, because the same user as text and as a number would be two users."""
    current = snapshot(document(LIVE))
    calls: list[Callable[[], object]] = [lambda: current.choose(key)]
    calls += [lambda: current.route(key, 0), lambda: current.mirrors(key, 0)] if key is not None else []

    for call in calls:
        with pytest.raises(InvalidInputError, match=f"not {type(key).__name__} "):
            call()


def test_a_request_without_key_goes_by_chance() -> None:
    """The number drawn is its slot, for the model and for the copies."""
    current = snapshot(document(LIVE), "1.4.0")

    assert current.route(None, 6999) == Route(current.find("a"), 6999, Reason.RANDOM)
    assert current.route(None, 7000) == Route(current.find("b"), 7000, Reason.RANDOM)
    assert [sorted(ids(current.mirrors(None, draw))) for draw in (0, 1999, 2000, 2999, 3000, 4999, 5000, 9999)] == [
        ["c", "d", "e"],
        ["c", "d", "e"],
        ["c", "e"],
        ["c", "e"],
        ["c"],
        ["c"],
        [],
        [],
    ]


@pytest.mark.parametrize("slot", [-1, TOTAL])
def test_there_are_ten_thousand_slots(slot: int) -> None:
    """A slot beyond the ends is refused; none counts from the end."""
    with pytest.raises(InvalidInputError, match=f"no slot {slot}"):
        snapshot(document(LIVE)).at(slot)


def test_a_snapshot_never_changes() -> None:
    """It cannot be changed, and what happens later to the mappings that it was made of does not count."""
    made = snapshot(document(LIVE))
    entries = (active("a", (0, 7000)), active("b", (7000, TOTAL)))
    models = {entry.run: served(entry, "1.4.0", 5) for entry in entries}
    current = Snapshot(made.selection, models, {}, source=Source.FILE, submodel_name="fraud", experiment_id="7")
    before = [current.at(slot) for slot in range(TOTAL)]
    models["a"] = models["b"]
    models.clear()

    assert [current.at(slot) for slot in range(TOTAL)] == before
    assert current.find("a").run_id == "a"
    for name in ("selection", "models", "source", "without", "_table"):
        with pytest.raises(AttributeError):
            setattr(current, name, None)
    for name in ("generation", "version", "salt", "anything"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(current, name, None)
    with pytest.raises(TypeError):
        current.models["a"] = before[-1]  # type: ignore[index]


def test_a_snapshot_says_what_it_is_of() -> None:
    """Generation, version, salt and source are those it was made with."""
    current = snapshot(document(LIVE, generation=9, salt="5f1c9a77"), "1.4.0")

    assert (current.generation, current.version, current.salt) == (9, "1.4.0", "5f1c9a77")
    assert (current.source, current.submodel_name, current.experiment_id) == (Source.SERVER, "fraud", "7")


def test_an_active_run_without_model_is_refused() -> None:
    """A generation of which a model is missing cannot be served by mistake."""
    made = snapshot(document(LIVE))

    with pytest.raises(InvalidInputError, match="Active run b"):
        Snapshot(
            made.selection,
            {"a": made.find("a")},
            made.canaries,
            source=Source.SERVER,
            submodel_name="fraud",
            experiment_id="7",
        )


def test_a_canary_without_model_gets_no_copies() -> None:
    """What a canary lacks never stands in the way of a generation."""
    made = snapshot(document(LIVE))
    current = Snapshot(
        made.selection,
        made.models,
        {"d": made.canaries["d"]},
        source=Source.SERVER,
        submodel_name="fraud",
        experiment_id="7",
    )

    assert ids(current.mirrors(None, 0)) == ["d"]
    with pytest.raises(NoActiveModelError, match="run c"):
        current.find("c")


def test_models_of_other_runs_are_let_go() -> None:
    """A snapshot keeps the models that it serves in memory, and no others."""
    made = snapshot(document({"1.0.0": (active("z", (0, TOTAL)),), **LIVE}), "1.4.0", "1.4.0")

    assert sorted(made.models) == ["a", "b"]
    assert sorted(made.canaries) == ["c"]


def test_revoked_runs_leave_exactly_their_slots_empty() -> None:
    """The other runs keep theirs: nobody is silently given to another model of an A/B test."""
    before = snapshot(document(LIVE))
    after = before.without_runs(["b", "e", "unknown"])

    for slot in range(TOTAL):
        if slot < 7000:
            assert after.at(slot) is before.at(slot)
        else:
            with pytest.raises(NoActiveModelError, match=f"run b of version 1.4.0 is revoked.*slot {slot} "):
                after.at(slot)
    assert sorted(ids(after.mirrors(None, 0))) == ["c", "d"]
    assert after.route(None, 8000) == Route(None, 8000, Reason.RANDOM)
    for run in ("b", "e"):
        with pytest.raises(NoActiveModelError):
            after.find(run)
    assert (after.generation, after.version, after.without) == (5, "1.4.0", frozenset("be"))
    assert before.at(8000).run_id == "b"


def test_revoked_runs_stay_out() -> None:
    """Taking out more keeps those out that are out; what is not there changes nothing."""
    first = snapshot(document(LIVE)).without_runs(["b"])

    assert first.without_runs(["b", "unknown"]) is first
    second = first.without_runs(["a"])
    assert second.without == {"a", "b"}
    for slot in (0, 6999, 7000, 9999):
        with pytest.raises(NoActiveModelError):
            second.at(slot)


def test_a_revoked_model_is_let_go() -> None:
    """Once the earlier snapshot is gone, nothing keeps a revoked model in memory."""
    made = snapshot(document(LIVE))
    model = weakref.ref(made.find("b"))
    made = made.without_runs(["b"])
    gc.collect()

    assert model() is None
    assert made.at(0).run_id == "a"


def test_no_active_run_at_all() -> None:
    """Every request is told so; the canaries can still be pinned."""
    current = snapshot(document({"1.5.0": (canary("d", TOTAL),)}))

    assert current.version is None
    with pytest.raises(NoActiveModelError, match="generation 5 of fraud has no Active run"):
        current.choose("user-1")
    assert current.route("user-1", 0).model is None
    assert current.find("d").run_id == "d"


@pytest.mark.parametrize(
    ("run_id", "version", "found"),
    [
        ("a", None, "a"),
        ("b", None, "b"),
        ("c", None, "c"),
        ("f", None, "f"),
        (None, "1.4.0", "a"),
        (None, "v1.4.0+build.7", "a"),
        (None, "1.5.0", "e"),
    ],
)
def test_a_model_is_found_by_run_and_by_version(run_id: str | None, version: str | None, found: str) -> None:
    """Canaries too; of a version, an Active run comes before a canary and a larger share before a smaller."""
    assert snapshot(document(LIVE)).find(run_id, version).run_id == found


def test_a_revoked_run_does_not_stand_for_its_version() -> None:
    """The version's next run does, a canary when no Active one is left."""
    current = snapshot(document(LIVE))

    assert current.without_runs(["a"]).find(version="1.4.0").run_id == "b"
    assert current.without_runs(["a", "b"]).find(version="1.4.0").run_id == "c"


@pytest.mark.parametrize(("run_id", "version"), [("g", None), (None, "1.4.1"), (None, "1.4.0-rc.1")])
def test_what_is_not_served_is_not_found(run_id: str | None, version: str | None) -> None:
    """The message lists what is."""
    with pytest.raises(NoActiveModelError, match=r"serves no .*1\.4\.0 \(a\)"):
        snapshot(document(LIVE)).find(run_id, version)


@pytest.mark.parametrize(("run_id", "version"), [(None, None), ("a", "1.4.0"), (None, "newest")])
def test_what_cannot_be_looked_for_is_refused(run_id: str | None, version: str | None) -> None:
    """A run or a version is named, not both, and a version must be one."""
    with pytest.raises(InvalidInputError):
        snapshot(document(LIVE)).find(run_id, version)
