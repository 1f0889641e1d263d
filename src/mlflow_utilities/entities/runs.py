"""Runs, and what is logged to them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator

from mlflow_utilities.entities._base import Entity, key_values, metric_values

__all__ = [
    "Dataset",
    "DatasetInput",
    "InputTag",
    "LoggedModelInput",
    "LoggedModelOutput",
    "Metric",
    "Param",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunOutputs",
    "RunTag",
]


class RunInfo(Entity):
    """What identifies a run. Times are in ms since 1970, UTC; `end_time` is None until it ended."""

    run_id: str
    run_name: str | None = None
    experiment_id: str
    user_id: str | None = None
    status: str = "RUNNING"
    start_time: int | None = None
    end_time: int | None = None
    artifact_uri: str | None = None
    lifecycle_stage: str | None = None


class RunData(Entity):
    """The params, the latest value of each metric, and the tags of a run.

    Times and steps of metrics are in `get_metric_history`.
    """

    params: Annotated[dict[str, str], PlainValidator(key_values)] = Field(default_factory=dict)
    metrics: Annotated[dict[str, float], PlainValidator(metric_values)] = Field(default_factory=dict)
    tags: Annotated[dict[str, str], PlainValidator(key_values)] = Field(default_factory=dict)


class InputTag(Entity):
    """A tag of a dataset as used by a run."""

    key: str
    value: str = ""


class Dataset(Entity):
    """A dataset."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema_: str | None = Field(default=None, alias="schema")
    profile: str | None = None

    @property
    def schema(self) -> str | None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The columns, as JSON text."""
        return self.schema_


class DatasetInput(Entity):
    """A dataset that a run used."""

    dataset: Dataset
    tags: list[InputTag] = Field(default_factory=list[InputTag])


class LoggedModelInput(Entity):
    """A logged model that a run used."""

    model_id: str


class LoggedModelOutput(Entity):
    """A logged model that a run made, at a step."""

    model_id: str
    step: int = 0


class RunInputs(Entity):
    """What a run used."""

    dataset_inputs: list[DatasetInput] = Field(default_factory=list[DatasetInput])
    model_inputs: list[LoggedModelInput] = Field(default_factory=list[LoggedModelInput])


class RunOutputs(Entity):
    """What a run made."""

    model_outputs: list[LoggedModelOutput] = Field(default_factory=list[LoggedModelOutput])


class Run(Entity):
    """A run: the output of one training."""

    info: RunInfo
    data: RunData = Field(default_factory=RunData)
    inputs: RunInputs = Field(default_factory=RunInputs)
    outputs: RunOutputs = Field(default_factory=RunOutputs)


class Metric(Entity):
    """One point of a metric: `timestamp` in ms since 1970, UTC; NaN and infinities are values.

    A `timestamp` of None, which no server sends, means the time at which the point is logged.
    """

    key: str
    value: float
    timestamp: int | None = None
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    run_id: str | None = None

    def __init__(self, key: Any = None, value: Any = None, timestamp: Any = None, step: Any = 0, **more: Any) -> None:
        super().__init__(**{"key": key, "value": value, "timestamp": timestamp, "step": step, **more})


class Param(Entity):
    """A param: written once, never changed."""

    key: str
    value: str = ""

    def __init__(self, key: Any = None, value: Any = "", **more: Any) -> None:
        super().__init__(**{"key": key, "value": value, **more})


class RunTag(Entity):
    """A tag."""

    key: str
    value: str = ""

    def __init__(self, key: Any = None, value: Any = "", **more: Any) -> None:
        super().__init__(**{"key": key, "value": value, **more})
