"""Experiments."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator

from mlflow_utilities.entities._base import Entity, key_values

__all__ = ["Experiment"]


class Experiment(Entity):
    """An experiment: a project with its runs. Times are in ms since 1970, UTC."""

    experiment_id: str
    name: str
    artifact_location: str | None = None
    lifecycle_stage: str | None = None
    tags: Annotated[dict[str, str], PlainValidator(key_values)] = Field(default_factory=dict)
    creation_time: int | None = None
    last_update_time: int | None = None
