"""Entities: what the server says, with the attribute names of MLflow's own, unchangeable and open to more."""

from __future__ import annotations

import math
from typing import Any

import mlflow.entities
import mlflow.entities.model_registry
import pytest
from pydantic import ValidationError

from mlflow_utilities import entities
from mlflow_utilities.entities import (
    Dataset,
    Experiment,
    LoggedModel,
    Metric,
    ModelVersion,
    Page,
    RegisteredModel,
    Run,
    RunData,
    RunTag,
)
from mlflow_utilities.errors import ProtocolError
from mlflow_utilities.resources._base import decoded

RUN = {
    "info": {
        "run_id": "r",
        "run_uuid": "r",
        "experiment_id": "1",
        "status": "PAUSED",
        "start_time": "9007199254740993",
    },
    "data": {
        "params": [{"key": "lr", "value": "0.1"}, {"key": "empty"}],
        "metrics": [{"key": "auc", "value": 0.5}, {"key": "nan", "value": "NaN"}, {"key": "low", "value": "-Infinity"}],
        "tags": [{"key": "t", "value": "x"}],
        "novelty": 1,
    },
    "inputs": {"dataset_inputs": [{"dataset": {"name": "d", "digest": "g", "schema": "{}"}}]},
    "later": {"a": 1},
}


def test_a_run_reads_like_one_of_mlflows() -> None:
    """Params, metrics and tags are dicts, int64 may come as text, NaN and infinities are numbers."""
    run = decoded(Run, RUN)

    assert (run.info.run_id, run.info.start_time, run.info.end_time) == ("r", 9007199254740993, None)
    assert run.data.params == {"lr": "0.1", "empty": ""}
    assert run.data.metrics["auc"] == 0.5
    assert math.isnan(run.data.metrics["nan"])
    assert run.data.metrics["low"] == -math.inf
    assert run.inputs.dataset_inputs[0].dataset.schema == "{}"
    assert run.outputs.model_outputs == []


def test_what_a_newer_server_says_is_kept() -> None:
    """Unknown fields are attributes, unknown values of enumerations stay what they are."""
    run: Any = decoded(Run, RUN)

    assert run.info.status == "PAUSED"
    assert run.info.run_uuid == "r"
    assert (run.data.novelty, run.later) == (1, {"a": 1})


def test_an_entity_cannot_be_changed() -> None:
    """It is what the server said."""
    run = decoded(Run, RUN)

    with pytest.raises(ValidationError):
        run.info.status = "FINISHED"


@pytest.mark.parametrize(
    ("entity", "value"),
    [
        (Run, None),
        (Run, "text"),
        (Run, {"info": {"run_id": "r"}}),
        (RunData, {"params": "lr=1"}),
        (RunData, {"params": [{"value": "1"}]}),
        (RunData, {"params": [7]}),
        (RunData, {"metrics": [{"key": "m", "value": "high"}]}),
        (RunData, {"metrics": [["m", 1]]}),
        (RunData, {"metrics": 7}),
        (Metric, {"key": "m", "value": None}),
        (Metric, {"value": 1.0}),
        (Experiment, {"name": "e"}),
        (Experiment, {"experiment_id": "1", "name": "e", "tags": [{"k": "v"}]}),
        (LoggedModel, {"info": 7}),
        (LoggedModel, {"info": {"model_id": "m", "experiment_id": "1", "name": "n"}, "data": [1]}),
        (RegisteredModel, {"name": "n", "aliases": [{"alias": "a"}]}),
        (RegisteredModel, {"name": "n", "aliases": 7}),
        (ModelVersion, {"name": "n", "version": None}),
    ],
)
def test_an_answer_of_another_shape_is_a_protocol_error(entity: Any, value: Any) -> None:
    """Neither a guess nor an error of the decoding library reaches the caller."""
    with pytest.raises(ProtocolError, match=entity.__name__):
        decoded(entity, value)


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        ("LOGGED_MODEL_PENDING", "PENDING"),
        ("LOGGED_MODEL_READY", entities.LoggedModelStatus.READY),
        ("LOGGED_MODEL_UPLOAD_FAILED", entities.LoggedModelStatus.FAILED),
        ("LOGGED_MODEL_ARCHIVED", "LOGGED_MODEL_ARCHIVED"),
    ],
)
def test_a_logged_model_is_flat_as_mlflows_and_has_its_states(wire: str, status: str) -> None:
    """The halves of the answer are one entity; times and location have the names of MLflow's entity."""
    model = decoded(
        LoggedModel,
        {
            "info": {
                "model_id": "m-1",
                "experiment_id": "1",
                "name": "n",
                "status": wire,
                "artifact_uri": "mlflow-artifacts:/1",
                "creation_timestamp_ms": "5",
                "tags": [{"key": "a", "value": "b"}],
            },
            "data": {"params": [{"key": "p", "value": "1"}], "metrics": [{"key": "m", "value": 1, "timestamp": 3}]},
        },
    )

    assert model.status == status
    assert (model.artifact_location, model.creation_timestamp) == ("mlflow-artifacts:/1", 5)
    assert (model.tags, model.params, model.metrics[0].timestamp) == ({"a": "b"}, {"p": "1"}, 3)
    assert model.model_uri == "models:/m-1"


@pytest.mark.parametrize(
    ("fields", "model_id"),
    [
        ({"source": "models:/m-1"}, "m-1"),
        ({"source": "models:/name/1"}, None),
        ({"source": "s3://b/models:/m-1"}, None),
        ({"source": "s3://b/x", "model_id": "m-2"}, "m-2"),
        ({}, None),
    ],
)
def test_the_logged_model_behind_a_version(fields: dict[str, str], model_id: str | None) -> None:
    """Read from the source, because MLflow's SQL store leaves the field empty; a server that fills it is believed."""
    assert decoded(ModelVersion, {"name": "n", "version": "1", **fields}).model_id == model_id


def test_aliases_of_a_registered_model_name_versions() -> None:
    """A dict, as in MLflow's entity."""
    model = decoded(RegisteredModel, {"name": "n", "aliases": [{"alias": "live", "version": 3}]})

    assert model.aliases == {"live": "3"}


def attributes(entity: Any) -> set[str]:
    """Return the public properties of an entity of MLflow's."""
    return {name for name in dir(entity) if isinstance(getattr(entity, name, None), property)}


REGISTRY = mlflow.entities.model_registry
LEFT_OUT = {
    Experiment: {"trace_location", "effective_trace_archival_retention", "workspace"},
    ModelVersion: {"deployment_job_state", "metrics", "params", "workspace"},
    RegisteredModel: {"deployment_job_id", "deployment_job_state", "workspace"},
}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Experiment, mlflow.entities.Experiment),
        (Run, mlflow.entities.Run),
        (entities.RunInfo, mlflow.entities.RunInfo),
        (RunData, mlflow.entities.RunData),
        (entities.RunInputs, mlflow.entities.RunInputs),
        (entities.RunOutputs, mlflow.entities.RunOutputs),
        (Metric, mlflow.entities.Metric),
        (entities.Param, mlflow.entities.Param),
        (RunTag, mlflow.entities.RunTag),
        (Dataset, mlflow.entities.Dataset),
        (entities.DatasetInput, mlflow.entities.DatasetInput),
        (entities.FileInfo, mlflow.entities.FileInfo),
        (LoggedModel, mlflow.entities.LoggedModel),
        (ModelVersion, REGISTRY.ModelVersion),
        (RegisteredModel, REGISTRY.RegisteredModel),
    ],
    ids=lambda entity: entity.__name__,
)
def test_an_entity_has_the_attributes_of_mlflows(ours: Any, theirs: Any) -> None:
    """Left out is only what no server without Databricks fills, or what is kept as an unknown field."""
    missing = attributes(theirs) - set(ours.model_fields) - set(dir(ours))

    assert missing == LEFT_OUT.get(ours, set())


def test_points_params_and_tags_are_made_as_mlflows_are() -> None:
    """By position: key, value, and for a point its time and step."""
    assert (Metric("m", 1, 2, 3).timestamp, Metric("m", 1, 2, 3).step) == (2, 3)
    assert (entities.Param("p", "1").value, RunTag("t", "x").key) == ("1", "t")


def test_a_page_is_a_sequence_with_a_token() -> None:
    """It compares to a list, and to another page by its token, too."""
    page = Page([1, 2, 3], "t")

    assert (page == [1, 2, 3], page[0], page[-1], page[1:], len(page)) == (True, 1, 3, [2, 3], 3)
    assert page == Page([1, 2, 3], "t")
    assert page != Page([1, 2, 3])
    assert Page([], "").token is None
    assert repr(page) == "Page([1, 2, 3], token='t')"


def test_every_exported_entity_exists_and_nothing_else() -> None:
    """They are imported on first use."""
    assert all(getattr(entities, name).__name__ == name for name in entities.__all__)
    assert dir(entities) == sorted(entities.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = entities.Nothing  # type: ignore[attr-defined]
