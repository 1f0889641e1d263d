"""What is read from a run's JSON."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mlflow_utilities.errors import ProtocolError
from mlflow_utilities.rollout.facts import read_facts, version_params
from mlflow_utilities.rollout.version import Version
from support.rollouts import facts, raw_run


def test_a_run_as_the_framework_saves_it() -> None:
    """Everything is where the framework puts it, and metadata is what is left."""
    raw = raw_run(
        "r1",
        {"submodel_name": "fraud", **version_params(Version.parse("1.4.2-rc.1+b7")), "lr": "0.1"},
        {"active_state": (2.0, 18), "test_fraction": (0.7, 18), "auc": (0.9, 0)},
        {"active_state": "Active", "test_fraction": "0.7", "rollout.generation": "18", "mlflow.user": "ana",
         "mlflow_utilities.operation": "x", "team": "risk"},
        start_time=1000, end_time=2000,
    )  # fmt: skip
    found = read_facts(raw)

    assert (found.run_id, found.experiment_id, found.run_status, found.deleted) == ("r1", "7", "FINISHED", False)
    assert (found.submodel, str(found.version)) == ("fraud", "1.4.2-rc.1+b7")
    assert (found.active_state, found.test_fraction, found.step) == (2.0, 0.7, 18)
    assert (found.start_time, found.end_time) == (1000, 2000)
    assert found.immutable_metadata == {"lr": "0.1"}
    assert found.mutable_metadata == {"auc": 0.9, "team": "risk"}
    assert found.raw is raw


def test_integers_may_be_texts() -> None:
    """Servers write 64-bit integers as JSON texts, and so may ids of experiments be numbers."""
    raw = raw_run("r1", {}, {"active_state": ("3", "12")}, start_time="1000", end_time="2000", experiment_id=7)
    found = read_facts(raw)

    assert (found.active_state, found.step, found.start_time, found.end_time) == (3.0, 12, 1000, 2000)
    assert found.experiment_id == "7"


@pytest.mark.parametrize(("value", "number"), [("NaN", math.nan), ("Infinity", math.inf), ("-Infinity", -math.inf)])
def test_numbers_that_json_does_not_have(value: str, number: float) -> None:
    """NaN and the infinities arrive as texts, and are numbers."""
    found = read_facts(raw_run("r1", {}, {"test_fraction": (value, 0)})).test_fraction

    assert found is not None
    assert repr(found) == repr(number)


def test_what_may_be_absent() -> None:
    """A run without data, times or status is a run; the older name of its id is understood."""
    found = read_facts({"info": {"run_uuid": "r1", "experiment_id": "7"}})

    assert (found.run_id, found.run_status, found.deleted, found.step) == ("r1", "RUNNING", False, 0)
    assert (found.submodel, found.version, found.active_state, found.test_fraction) == (None, None, None, None)
    assert (found.start_time, found.end_time, found.model_ids, found.mutable_metadata) == (None, None, [], {})
    assert read_facts({"info": {"run_id": "r1", "experiment_id": "7"}, "data": None}).params == {}


def test_a_deleted_run() -> None:
    """A deleted run says so."""
    assert facts("r1", lifecycle_stage="deleted").deleted


VERSIONS: list[tuple[dict[str, str], str | None]] = [
    ({"major_version": "1", "minor_version": "2", "micro_version": "3"}, "1.2.3"),
    ({"major_version": "1.0", "minor_version": "2.0", "micro_version": "3.0"}, "1.2.3"),
    ({"major_version": "1", "minor_version": "2"}, None),
    ({"major_version": "1", "minor_version": "2", "micro_version": "x"}, None),
    ({"major_version": "1", "minor_version": "2", "micro_version": "-3"}, None),
    ({"major_version": "1", "minor_version": "2", "micro_version": "3", "version": "4.5.6"}, "4.5.6"),
    ({"version": "4.5.6-rc.1"}, "4.5.6-rc.1"),
    ({"major_version": "1", "minor_version": "2", "micro_version": "3", "version": "four"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("params", "version"), VERSIONS)
def test_the_version_of_a_run(params: dict[str, str], version: str | None) -> None:
    """The param `version` wins over the three numbers of the earlier framework; anything else is no version."""
    found = read_facts(raw_run("r1", params)).version

    assert (None if found is None else str(found)) == version


def test_version_params_are_read_back() -> None:
    """What `version_params` writes is the version that is read, build metadata included."""
    version = Version.parse("1.4.2-rc.1+build.5")
    found = read_facts(raw_run("r1", version_params(version)))

    assert str(found.version) == "1.4.2-rc.1+build.5"
    assert found.immutable_metadata == {}


def test_the_logged_models_of_a_run() -> None:
    """The ids of the logged models that the run made are found among its outputs."""
    raw = raw_run("r1", {})

    assert read_facts({**raw, "outputs": {"model_outputs": [{"model_id": "m-1"}, {}, {"model_id": ""}]}}).model_ids == [
        "m-1"
    ]
    assert read_facts({**raw, "outputs": None}).model_ids == []


MALFORMED: list[Any] = [
    None,
    [],
    "run",
    {},
    {"info": None},
    {"info": []},
    {"info": {}},
    {"info": {"run_id": "r1"}},
    {"info": {"experiment_id": "7"}},
    raw_run("r1", {}, {"auc": ("high", 0)}),
    raw_run("r1", {}, {"auc": (None, 0)}),
    raw_run("r1", {}, {"active_state": (1.0, "late")}),
    raw_run("r1", {}, {"active_state": (1.0, math.inf)}),
    raw_run("r1", {}, start_time="yesterday"),
    raw_run("r1", {}, end_time=math.inf),
    {**raw_run("r1", {}), "data": {"params": [{"value": "1"}]}},
    {**raw_run("r1", {}), "data": {"params": 5}},
    {**raw_run("r1", {}), "data": {"tags": ["a"]}},
    {**raw_run("r1", {}), "data": {"metrics": [7]}},
    {**raw_run("r1", {}), "data": "data"},
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_anything_else_is_not_a_run(raw: Any) -> None:
    """A malformed run is an error of the protocol, never another one."""
    with pytest.raises(ProtocolError, match="the answer is not a run"):
        read_facts(raw)


OWN = facts(
    "r1",
    params={"lr": "0.1", "deep": "True", "none": "None"},
    metrics={"auc": 0.9, "n": 3.0},
    tags={"team": "risk", "level": "3"},
)

MATCHES: list[tuple[dict[str, Any] | None, dict[str, Any] | None, bool]] = [
    (None, None, True),
    ({}, {}, True),
    ({"lr": "0.1"}, None, True),
    ({"lr": 0.1, "deep": True, "none": None}, None, True),
    ({"lr": 0.10001}, None, False),
    ({"lr": "0.1", "absent": "1"}, None, False),
    ({"absent": None}, None, False),
    ({"auc": 0.9}, None, False),
    (None, {"auc": 0.9, "n": 3, "team": "risk"}, True),
    (None, {"n": "3.0"}, True),
    (None, {"level": "3"}, True),
    (None, {"level": 3}, True),
    (None, {"auc": 0.8}, False),
    (None, {"team": "Risk"}, False),
    (None, {"absent": 1}, False),
    (None, {"absent": None}, False),
    (None, {"lr": "0.1"}, False),
    (None, {"auc": math.nan}, False),
    (None, {"active_state": 1.0}, False),
    ({"lr": "0.1"}, {"team": "other"}, False),
]


@pytest.mark.parametrize(("immutable", "mutable", "matches"), MATCHES)
def test_which_metadata_a_run_has(
    immutable: dict[str, Any] | None, mutable: dict[str, Any] | None, matches: bool
) -> None:
    """Immutable metadata are params, compared as text; mutable metadata are metrics, compared as numbers, and tags."""
    assert OWN.matches(immutable, mutable) is matches
