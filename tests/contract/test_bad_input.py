"""Runs, shares and experiments that cannot be meant, on a real server: refused before anything is written."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.refusals import UNKNOWN, Call, World, make_world, refused

pytestmark = pytest.mark.anyio

NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def world(server_uri: str) -> World:
    """Give the experiments and runs that all tests of this module read."""
    return anyio.run(make_world, server_uri)


# --- Runs that cannot be meant ---------------------------------------------------------------------------------------

RunOf = Callable[[World], Any]
UNUSABLE: dict[str, tuple[RunOf, str]] = {
    "unknown": (lambda w: UNKNOWN, f"there is no run {UNKNOWN}"),
    "of no form": (lambda w: "../runs", "'../runs' is not a run id"),
    "not text": (lambda w: 17, "17 is not a run id"),
    "not saved by the framework": (lambda w: w.foreign, "run {foreign} has no submodel"),
    "running": (lambda w: w.running, "run {running} is RUNNING, not FINISHED"),
    "failed": (lambda w: w.failed, "run {failed} is FAILED, not FINISHED"),
    "deleted": (lambda w: w.deleted, "run {deleted} is deleted"),
    "revoked": (lambda w: w.revoked, "run {revoked} is revoked"),
}
ELSEWHERE: dict[str, tuple[RunOf, str]] = {
    "of another experiment": (lambda w: w.other, "run {other} is of experiment {other_id}, not of {experiment_id}"),
    "of another submodel": (lambda w: w.sibling, "run {sibling} is of submodel 'sibling', not of '{name}'"),
    "of another version": (lambda w: w.two, "run {two} is of version 2.0.0, not of 1.0.0"),
}

ONE_RUN: dict[str, tuple[str, dict[str, Any]]] = {
    "enable_run": ("enable_run", {}),
    "canary_run": ("canary_run", {}),
    "to Active": ("change_status", {"new_active_state": "Active", "new_test_fraction": 0.5}),
    "to Canary": ("change_status", {"new_active_state": "Canary"}),
    "enable_run, dry": ("enable_run", {"dry_run": True}),
}
TAKING_OUT: dict[str, tuple[str, dict[str, Any]]] = {
    "disable_run": ("disable_run", {}),
    "revoke_run": ("revoke_run", {"why": "unsafe"}),
    "to Disabled": ("change_status", {"new_active_state": "Disabled"}),
    "to New": ("change_status", {"new_active_state": "New"}),
}


def called(verb: str, **arguments: Any) -> Call:
    """Return the call of a verb."""
    method: Callable[..., Awaitable[object]] = getattr(mlflow_api, verb)
    return lambda client: method(**arguments, client=client)


@pytest.mark.parametrize("verb", ONE_RUN)
@pytest.mark.parametrize("kind", UNUSABLE)
async def test_one_run_that_cannot_serve(server_uri: str, world: World, verb: str, kind: str) -> None:
    """No verb makes a run live that is unknown, foreign, unfinished, deleted or revoked."""
    run, text = UNUSABLE[kind]
    name, arguments = ONE_RUN[verb]
    await refused(server_uri, called(name, run_id=run(world), **arguments), text, world)


@pytest.mark.parametrize("verb", TAKING_OUT)
@pytest.mark.parametrize("kind", ["unknown", "of no form", "not text", "not saved by the framework"])
async def test_one_run_that_is_not_known(server_uri: str, world: World, verb: str, kind: str) -> None:
    """A run that is not the framework's cannot be taken out either."""
    run, text = UNUSABLE[kind]
    name, arguments = TAKING_OUT[verb]
    await refused(server_uri, called(name, run_id=run(world), **arguments), text, world)


@pytest.mark.parametrize("kind", UNUSABLE | ELSEWHERE)
async def test_one_of_several_runs(server_uri: str, world: World, kind: str) -> None:
    """update_active_runs refuses all of its runs when one of them cannot be meant."""
    run, text = (UNUSABLE | ELSEWHERE)[kind]
    if kind == "revoked":
        text = "run {revoked} is Disabled, and Disabled runs are not candidates"
    if kind == "not text":
        text = "17"

    def call(c: AsyncMlflowClient) -> Awaitable[object]:
        return mlflow_api.update_active_runs({world.a: 0.5, run(world): 0.5}, "1.0.0", world.experiment_id, client=c)

    await refused(server_uri, call, text, world)


@pytest.mark.parametrize("kind", ["unknown", "of no form", "not saved by the framework", *ELSEWHERE])
@pytest.mark.parametrize("weight", [0, 0.5])
async def test_one_of_several_new_shares(server_uri: str, world: World, kind: str, weight: float) -> None:
    """change_test_fractions refuses a run of another place, also with weight 0."""
    run, text = (UNUSABLE | ELSEWHERE)[kind]

    def call(c: AsyncMlflowClient) -> Awaitable[object]:
        return mlflow_api.change_test_fractions(
            {world.a: 0.5, run(world): weight}, "1.0.0", world.experiment_id, client=c
        )

    await refused(server_uri, call, text, world)


STATUSES: list[tuple[str, Callable[[World, AsyncMlflowClient], Awaitable[object]], str]] = [
    ("a Disabled run to update", lambda w, c: update(w, c, {w.a: 1, w.d: 1}), "run {d} is Disabled, and Disabled runs"),
    ("a New run to change", lambda w, c: fractions(w, c, {w.a: 1, w.new: 1}), "run {new} is New, not Active"),
    ("a Canary to change", lambda w, c: fractions(w, c, {w.a: 1, w.c: 1}), "run {c} is Canary, not Active"),
    (
        "an Active run to mirror",
        lambda w, c: fractions(w, c, {w.a: 1}, active_state="Canary"),
        "run {a} is Active, not Canary",
    ),
    ("a share of a New run", lambda w, c: status(w.new, c, None, 0.5), "run {new} would be New with the share 0.5"),
    (
        "a share of a Disabled run",
        lambda w, c: status(w.d, c, None, 0.5),
        "run {d} would be Disabled with the share 0.5",
    ),
    ("New with a share", lambda w, c: status(w.a, c, "New", 0.5), "run {a} would be New with the share 0.5"),
    (
        "Active with 0.0",
        lambda w, c: status(w.a, c, "Active", 0.0),
        "run {a} cannot become Active: an Active run has a share",
    ),
    (
        "Active beside others",
        lambda w, c: status(w.new, c, 2),
        "2 runs of version 1.0.0 are Active, and no share is given",
    ),
    ("Active with everything", lambda w, c: status(w.a, c, None, 1.0), "the share 1.0 leaves nothing for 1 other"),
    (
        "alone with a part",
        lambda w, c: status(w.two, c, "Active", 0.5),
        "the only Active run of version 2.0.0, with the share 0.5",
    ),
    ("a share of NaN", lambda w, c: status(w.a, c, None, NAN), "nan"),
    ("a share below 0", lambda w, c: status(w.a, c, None, -0.5), "-0.5"),
    ("a share above 1", lambda w, c: status(w.c, c, "Canary", 1.5), "1.5 of run {c} is above 1"),
    ("a share that is infinite", lambda w, c: status(w.c, c, None, INF), "inf"),
    ("a share that is a truth value", lambda w, c: status(w.c, c, None, True), "True"),
    ("a share that is text", lambda w, c: status(w.c, c, None, "0.5"), "'0.5'"),
    (
        "metadata of another run",
        lambda w, c: update(w, c, {w.a: 1}, extra_mutable_metadata={"auc": 0.9}),
        "run {a} does not have the metadata {{'auc': 0.9}}",
    ),
    ("no such generation", lambda w, c: back(w, c, to_generation=99), "there is no generation 99"),
    ("generation 0", lambda w, c: back(w, c, to_generation=0), "there is no generation 0"),
    (
        "nothing before the first",
        lambda w, c: mlflow_api.rollback(experiment_id=w.other_id, client=c),
        "nothing was live before generation 1",
    ),
    (
        "no rollout at all",
        lambda w, c: mlflow_api.rollback(experiment_id=w.empty_id, client=c),
        "there is no rollout to go back in",
    ),
    ("no such generation to expect", lambda w, c: back(w, c, expected_generation=99), "there is no generation 99"),
]


def update(w: World, c: AsyncMlflowClient, weights: Any, version: Any = "1.0.0", **more: Any) -> Awaitable[object]:
    """Call update_active_runs on the experiment."""
    return mlflow_api.update_active_runs(weights, version, w.experiment_id, client=c, **more)


def fractions(w: World, c: AsyncMlflowClient, weights: Any, version: Any = "1.0.0", **more: Any) -> Awaitable[object]:
    """Call change_test_fractions on the experiment."""
    return mlflow_api.change_test_fractions(weights, version, w.experiment_id, client=c, **more)


def status(run: Any, c: AsyncMlflowClient, state: Any = None, share: Any = None, **more: Any) -> Awaitable[object]:
    """Call change_status."""
    return mlflow_api.change_status(run, state, share, client=c, **more)


def back(w: World, c: AsyncMlflowClient, **more: Any) -> Awaitable[object]:
    """Call rollback on the experiment."""
    return mlflow_api.rollback(experiment_id=w.experiment_id, client=c, **more)


@pytest.mark.parametrize(("call", "text"), [row[1:] for row in STATUSES], ids=[row[0] for row in STATUSES])
async def test_what_does_not_fit_the_rollout(
    server_uri: str, world: World, call: Callable[[World, AsyncMlflowClient], Awaitable[object]], text: str
) -> None:
    """Statuses, shares, metadata and generations that do not fit what is live are refused after reading it."""
    assert await refused(server_uri, lambda c: call(world, c), text, world)


# --- Experiments that cannot be meant --------------------------------------------------------------------------------

SHARES: dict[str, Any] = {"test_fraction_by_run": {UNKNOWN: 1}, "model_version": "1.0.0"}
BY_NAME: dict[str, dict[str, Any]] = {
    "update_active_runs": SHARES,
    "change_test_fractions": SHARES,
    "list_runs": {"model_version": None},
    "list_models": {"model_version": "latest"},
    "rollout_history": {},
    "rollback": {},
    "reconcile": {},
    "save_model": {"model": len, "model_version": "1.0.0"},
}

SILENT_NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "none given": ({}, "no experiment is named"),
    "an id that is a number": ({"experiment_id": 7}, "experiment_id is 7"),
    "an empty id": ({"experiment_id": ""}, "experiment_id is ''"),
    "an empty name": ({"experiment_name": " "}, "experiment_name is ' '"),
    "an empty submodel": ({"experiment_name": "x", "submodel_name": ""}, "submodel_name is ''"),
    "a submodel that is no text": ({"experiment_name": "x", "submodel_name": 7}, "submodel_name is 7"),
    "a long submodel": ({"experiment_name": "x", "submodel_name": "s" * 251}, "submodel_name has 251 characters"),
}
READ_NAMES: dict[str, tuple[Callable[[World], dict[str, Any]], str]] = {
    "arguments that disagree": (
        lambda w: {"experiment_id": w.experiment_id, "experiment_name": w.other_name},
        "experiment {experiment_id} has the name '{name}', not '{other_name}'",
    ),
    "an unknown id": (lambda w: {"experiment_id": "999999999999"}, "there is no experiment '999999999999'"),
    "an id that is no number": (lambda w: {"experiment_id": "no-such-id"}, "there is no experiment 'no-such-id'"),
    "a deleted experiment by id": (
        lambda w: {"experiment_id": w.deleted_id},
        "experiment {deleted_id} ({deleted_name}) is deleted",
    ),
    "a deleted experiment by name": (
        lambda w: {"experiment_name": w.deleted_name},
        "experiment {deleted_id} ({deleted_name}) is deleted",
    ),
}


@pytest.mark.parametrize("verb", BY_NAME)
@pytest.mark.parametrize("kind", SILENT_NAMES)
async def test_experiments_that_cannot_be(server_uri: str, verb: str, kind: str) -> None:
    """Names that cannot be are refused without any request."""
    names, text = SILENT_NAMES[kind]
    assert not await refused(server_uri, called(verb, **BY_NAME[verb], **names), text)


@pytest.mark.parametrize("verb", BY_NAME)
@pytest.mark.parametrize("kind", READ_NAMES)
async def test_experiments_that_are_not(server_uri: str, world: World, verb: str, kind: str) -> None:
    """Unknown and deleted experiments, and two arguments of two experiments, are refused after one look."""
    names, text = READ_NAMES[kind]
    sent = await refused(server_uri, called(verb, **BY_NAME[verb], **names(world)), text, world)
    assert len(sent) == 1


@pytest.mark.parametrize("verb", [verb for verb in BY_NAME if verb != "save_model"])
async def test_an_unknown_experiment_name(server_uri: str, verb: str) -> None:
    """Only save_model creates an experiment; all others refuse a name that does not exist."""
    name = f"no-{UNKNOWN}"
    call = called(verb, **BY_NAME[verb], experiment_name=name)
    await refused(server_uri, call, f"there is no experiment '{name}'")


async def test_the_rollout_is_as_it_was(server_uri: str, world: World) -> None:
    """A reader sees the same four generations, whatever was refused."""
    async with AsyncMlflowClient(server_uri) as client:
        history = await mlflow_api.rollout_history(experiment_id=world.experiment_id, client=client)

    assert [entry.generation for entry in history] == [1, 2, 3, 4]
    assert {run.run_id: run.test_fraction for run in history[-1].live} == {world.a: 0.7, world.b: 0.3, world.c: 1.0}
