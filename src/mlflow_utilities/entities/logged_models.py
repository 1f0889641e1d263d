"""Logged models (MLflow 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import AliasChoices, BeforeValidator, Field, PlainValidator, model_validator

from mlflow_utilities.entities._base import Entity, key_values
from mlflow_utilities.entities.runs import Metric

__all__ = ["LoggedModel"]

_ON_THE_WIRE = {
    "LOGGED_MODEL_PENDING": "PENDING",
    "LOGGED_MODEL_READY": "READY",
    "LOGGED_MODEL_UPLOAD_FAILED": "FAILED",
}


def _status(value: Any) -> Any:
    return _ON_THE_WIRE.get(value, value) if isinstance(value, str) else value


class LoggedModel(Entity):
    """A logged model: the files a run saved, with their state. Times are in ms since 1970, UTC.

    `status` is "PENDING", "READY" or "FAILED", or what a newer server says.
    """

    model_id: str
    experiment_id: str
    name: str
    artifact_location: str | None = Field(
        default=None, validation_alias=AliasChoices("artifact_uri", "artifact_location")
    )
    creation_timestamp: int | None = Field(
        default=None, validation_alias=AliasChoices("creation_timestamp_ms", "creation_timestamp")
    )
    last_updated_timestamp: int | None = Field(
        default=None, validation_alias=AliasChoices("last_updated_timestamp_ms", "last_updated_timestamp")
    )
    status: Annotated[str | None, BeforeValidator(_status)] = None
    status_message: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    tags: Annotated[dict[str, str], PlainValidator(key_values)] = Field(default_factory=dict)
    params: Annotated[dict[str, str], PlainValidator(key_values)] = Field(default_factory=dict)
    metrics: list[Metric] = Field(default_factory=list[Metric])

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "info" not in value:
            return cast("Any", value)
        fields = cast("Mapping[str, Any]", value)
        info = fields["info"]
        data: Any = fields.get("data") or {}
        if not isinstance(info, Mapping) or not isinstance(data, Mapping):
            raise ValueError("info and data are not objects")
        return {**cast("Mapping[str, Any]", info), **cast("Mapping[str, Any]", data)}

    @property
    def model_uri(self) -> str:
        """The address MLflow loads it by."""
        return f"models:/{self.model_id}"
