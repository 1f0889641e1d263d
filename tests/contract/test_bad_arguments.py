"""Arguments that are wrong by themselves: refused without any request, with the value and what to do."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mlflow_utilities import mlflow_api
from support.refusals import UNKNOWN, World, refused

pytestmark = pytest.mark.anyio

NAN, INF = math.nan, math.inf
RUN = UNKNOWN

# What would be good input of each verb, as far as can be said without asking.
GOOD: dict[str, dict[str, Any]] = {
    **{verb: {"run_id": RUN} for verb in ("enable_run", "disable_run", "canary_run", "change_status")},
    "revoke_run": {"run_id": RUN, "why": "unsafe"},
    **{
        verb: {"test_fraction_by_run": {RUN: 1}, "model_version": "1.0.0", "experiment_id": "1"}
        for verb in ("update_active_runs", "change_test_fractions")
    },
    "rollback": {"experiment_id": "1"},
    **{verb: {"model_version": None, "experiment_id": "1"} for verb in ("list_runs", "list_models")},
    "save_model": {"model": len, "model_version": "1.0.0", "experiment_name": f"no-{UNKNOWN}"},
}


async def refused_at_once(uri: str, verb: str, arguments: dict[str, Any], text: str) -> None:
    """Check that a verb with one bad argument is refused, and that nothing is sent."""
    call = getattr(mlflow_api, verb)

    assert await refused(uri, lambda c: call(**GOOD[verb] | arguments, client=c), text) == []


WEIGHTS: list[tuple[Any, str]] = [
    ({}, "{}"),
    (None, "None"),
    ([RUN], RUN),
    ({RUN: NAN}, "nan"),
    ({RUN: -1}, "-1"),
    ({RUN: INF}, "inf"),
    ({RUN: True}, "True"),
    ({RUN: "1"}, "'1'"),
    ({RUN: None}, "None"),
    ({RUN: 0}, "are all zero"),
    ({"": 1}, "''"),
    ({"a'b": 1}, "a'b"),
]


@pytest.mark.parametrize("verb", ["update_active_runs", "change_test_fractions"])
@pytest.mark.parametrize(("weights", "text"), WEIGHTS)
async def test_weights_that_can_never_be(server_uri: str, verb: str, weights: Any, text: str) -> None:
    """Weights have to be finite numbers from 0 up, not all 0, of runs."""
    await refused_at_once(server_uri, verb, {"test_fraction_by_run": weights}, text)


VERSIONS = ["1.0", "^1.0.0", "latest", "one", "", "01.0.0", (1, 0), (1, 0, -1), (True, 0, 0), None, 1.0]


@pytest.mark.parametrize("verb", ["update_active_runs", "change_test_fractions", "save_model"])
@pytest.mark.parametrize("version", VERSIONS, ids=repr)
async def test_versions_that_are_not_semantic(server_uri: str, verb: str, version: Any) -> None:
    """What is changed or saved has one semantic version: no range, no part of one."""
    await refused_at_once(server_uri, verb, {"model_version": version}, repr(version))


@pytest.mark.parametrize("verb", ["list_runs", "list_models"])
@pytest.mark.parametrize("version", ["one", ">=", "^", "1.0.0 -", (1, 2), 7], ids=repr)
async def test_ranges_that_cannot_be_read(server_uri: str, verb: str, version: Any) -> None:
    """A range that is not one is refused, and shown."""
    await refused_at_once(server_uri, verb, {"model_version": version}, str(version))


STATUSES: list[tuple[str, dict[str, Any], str]] = [
    ("change_status", {}, "neither new_active_state nor new_test_fraction"),
    *[("change_status", {"new_active_state": state}, repr(state)) for state in ("Live", 7, True, 2.5)],
    *[("change_test_fractions", {"active_state": state}, repr(state)) for state in ("Live", 7, True, 2.5)],
    ("change_test_fractions", {"active_state": "New"}, "New runs have no share"),
    ("change_test_fractions", {"active_state": 0}, "Disabled runs have no share"),
    ("change_test_fractions", {"active_state": "Canary", "test_fraction_by_run": {RUN: 1.5}}, "1.5"),
    ("list_runs", {"active_state": "Live"}, "'Live'"),
    ("list_models", {"active_state": 7}, "7"),
]


@pytest.mark.parametrize(("verb", "arguments", "text"), STATUSES)
async def test_statuses_that_are_none(server_uri: str, verb: str, arguments: dict[str, Any], text: str) -> None:
    """An unknown status, and one that can have no share, is refused."""
    await refused_at_once(server_uri, verb, arguments, text)


WRITING = [verb for verb in GOOD if verb not in ("list_runs", "list_models", "save_model")]
OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"why": "y" * 201}, "y" * 201),
    ({"why": 7}, "why is 7"),
    *[({"expected_generation": value}, f"expected_generation is {value!r}") for value in (-1, True, "3", 1.5)],
]


@pytest.mark.parametrize("verb", WRITING)
@pytest.mark.parametrize(("options", "text"), OPTIONS)
async def test_options_of_writing_verbs(server_uri: str, verb: str, options: dict[str, Any], text: str) -> None:
    """A reason that is no text or too long, and a generation that is none, are refused by every writing verb."""
    good = {"new_active_state": "Active"} if verb == "change_status" else {}
    await refused_at_once(server_uri, verb, good | options, text)


OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("revoke_run", {"why": " "}, "why is ' '"),
    *[("rollback", {"to_generation": value}, f"to_generation is {value!r}") for value in (True, "3", 1.5)],
    ("update_active_runs", {"extra_immutable_metadata": ["eu"]}, "extra_immutable_metadata is ['eu']"),
    ("change_test_fractions", {"extra_mutable_metadata": {7: 1}}, "extra_mutable_metadata is {7: 1}"),
    ("list_runs", {"extra_mutable_metadata": "auc"}, "extra_mutable_metadata is 'auc'"),
    ("list_models", {"extra_immutable_metadata": {"": 1}}, "extra_immutable_metadata is {'': 1}"),
]


@pytest.mark.parametrize(("verb", "arguments", "text"), OTHERS)
async def test_other_arguments(server_uri: str, verb: str, arguments: dict[str, Any], text: str) -> None:
    """Generations, reasons and metadata of a wrong kind are refused."""
    await refused_at_once(server_uri, verb, arguments, text)


SAVES: list[tuple[str, dict[str, Any], str]] = [
    (
        "a reserved param",
        {"immutable_metadata": {"lr": 1, "version": "2"}},
        "immutable_metadata has the keys ['version']",
    ),
    (
        "reserved params",
        {"immutable_metadata": {"submodel_name": "x", "micro_version": 1}},
        "['micro_version', 'submodel_name']",
    ),
    ("a reserved metric", {"mutable_metadata": {"active_state": 2}}, "mutable_metadata has the keys ['active_state']"),
    ("a reserved tag", {"mutable_metadata": {"rollout.generation": "2"}}, "['rollout.generation']"),
    ("a tag of MLflow", {"mutable_metadata": {"mlflow.user": "ana"}}, "'mlflow.user'"),
    ("a tag of the package", {"mutable_metadata": {"mlflow_utilities.x": "1"}}, "'mlflow_utilities.x'"),
    ("a truth value", {"mutable_metadata": {"good": True}}, "mutable_metadata['good'] is True"),
    ("nothing as a value", {"mutable_metadata": {"good": None}}, "mutable_metadata['good'] is None"),
    ("a list as a value", {"mutable_metadata": {"good": [1]}}, "mutable_metadata['good'] is [1]"),
    ("bytes as a value", {"mutable_metadata": {"good": b"1"}}, "mutable_metadata['good'] is b'1'"),
    ("a number too large", {"mutable_metadata": {"good": 10**400}}, "mutable_metadata['good'] is 1000"),
    ("a number too large to print", {"mutable_metadata": {"good": 10**5000}}, "mutable_metadata['good'] is a int"),
    ("metadata that is a list", {"immutable_metadata": ["eu"]}, "immutable_metadata is ['eu']"),
    ("metadata that is text", {"mutable_metadata": "auc"}, "mutable_metadata is 'auc'"),
    ("a key that is a number", {"immutable_metadata": {7: 1}}, "immutable_metadata is {7: 1}"),
    ("an empty key", {"mutable_metadata": {"": 1}}, "mutable_metadata is {'': 1}"),
    ("a quote in a param", {"immutable_metadata": {"a'b": 1}}, 'the key of a param is "a\'b"'),
    ("a quote in a metric", {"mutable_metadata": {"a'b": 1}}, 'the key of a metric is "a\'b"'),
    ("a quote in a tag", {"mutable_metadata": {"a'b": "x"}}, 'the key of a tag is "a\'b"'),
    ("a double slash", {"immutable_metadata": {"a//b": 1}}, "the key of a param is 'a//b'"),
    ("a long param key", {"immutable_metadata": {"k" * 251: 1}}, "has 251 characters"),
    ("a long metric key", {"mutable_metadata": {"k" * 251: 1}}, "has 251 characters"),
    ("a long tag key", {"mutable_metadata": {"k" * 251: "x"}}, "has 251 characters"),
    ("a long param", {"immutable_metadata": {"k": "v" * 6001}}, "param k has 6001 characters"),
    ("a long tag", {"mutable_metadata": {"k": "v" * 8001}}, "tag k has 8001 characters"),
    ("an unknown flavor", {"mlflow_subpackage": "no_such_flavor"}, "'no_such_flavor'"),
    ("a flavor that is no name", {"mlflow_subpackage": "../os"}, "'../os'"),
    ("a flavor that is a number", {"mlflow_subpackage": 7}, "mlflow_subpackage is 7"),
    ("a module that is no flavor", {"mlflow_subpackage": json}, "mlflow_subpackage is <module 'json'"),
    ("a part of mlflow that saves nothing", {"mlflow_subpackage": "entities"}, "mlflow.entities has no save_model"),
    ("an object no flavor saves", {"model": object()}, "builtins.object"),
    ("a class", {"model": World}, "the model is the class World"),
    ("an unknown option", {"flavor_options": {"colour": "red"}}, "takes no colour"),
    ("options that are a list", {"flavor_options": ["colour"]}, "flavor_options is ['colour']"),
    ("a name too long to register", {"experiment_name": "e" * 200, "submodel_name": "s" * 60}, "261 characters"),
]


@pytest.mark.parametrize(("arguments", "text"), [row[1:] for row in SAVES], ids=[row[0] for row in SAVES])
async def test_models_that_cannot_be_saved(server_uri: str, arguments: dict[str, Any], text: str) -> None:
    """save_model refuses bad arguments without any request: not even the experiment is created."""
    await refused_at_once(server_uri, "save_model", arguments, text)
