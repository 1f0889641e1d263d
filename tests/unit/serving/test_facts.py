"""What a service knows of runs without a server, and the models it hands out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mlflow_utilities.rollout.document import LiveEntry
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.serving.facts import KnownRuns, UnusableRunsError, served_model
from support.rollouts import facts
from support.transports import faulty_client


@pytest.mark.anyio
async def test_what_was_learnt_needs_no_server() -> None:
    """Runs from a file are known without a request, only so many are kept, and known ones stay as they are."""
    ids = [f"{number:032x}" for number in range(5)]
    async with faulty_client("http://127.0.0.1:1", max_retries=0) as (client, transport):
        known = KnownRuns(limit=3)
        known.learn({run: facts(run) for run in ids[:3]})
        known.learn({ids[0]: facts(ids[0], "2.0.0")})
        assert str((await known.get(client, "7", ids[:1]))[ids[0]].version) == "1.0.0"
        known.learn({run: facts(run) for run in ids[3:]})

        assert set(await known.get(client, "7", [ids[0], *ids[3:]])) == {ids[0], *ids[3:]}
        assert transport.lines == []
        with pytest.raises(OSError, match="cannot connect"):
            await known.get(client, "7", [ids[1]])


@dataclass
class Held:
    """A hold of an object."""

    loaded: object


def test_a_served_model_has_all_that_a_listed_one_has() -> None:
    """Status and share are those of its entry, the rest is the run's."""
    run = facts("a" * 32, "1.2.3+build", params={"depth": "5"}, metrics={"auc": 0.9}, tags={"owner": "ana"})
    entry = LiveEntry("a" * 32, ModelStatus.Active, ((0, 2500), (9000, 9500)), 0)
    loaded = object()

    model = served_model(run, entry, 18, Held(loaded), None)

    assert model.loaded is loaded
    assert (model.run_id, str(model.version), model.submodel_name) == ("a" * 32, "1.2.3+build", "fraud")
    assert (model.status, model.test_fraction, model.generation) == (ModelStatus.Active, 0.3, 18)
    assert (model.immutable_metadata, model.mutable_metadata) == ({"depth": "5"}, {"auc": 0.9, "owner": "ana"})
    assert model.model_uri == f"runs:/{'a' * 32}/model"
    assert model.run.data.params["depth"] == "5"


def test_a_canary_run_has_its_share_of_copies_and_its_logged_model() -> None:
    """The share of a Canary run is that of copies; a run with one logged model is loaded by it."""
    run = facts("a" * 32)
    run.raw["outputs"] = {"model_outputs": [{"model_id": "m-1"}]}  # type: ignore[index]

    model = served_model(run, LiveEntry("a" * 32, ModelStatus.Canary, (), 500), 1, Held(None), None)

    assert (model.status, model.test_fraction, model.model_uri) == (ModelStatus.Canary, 0.05, "models:/m-1")
    with pytest.raises(UnusableRunsError):
        served_model(
            facts("a" * 32, params={"version": "x"}), LiveEntry("a" * 32, ModelStatus.Canary, (), 5), 1, Held(0), None
        )
