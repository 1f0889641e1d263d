"""Registered models and their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import Field, PlainValidator

from mlflow_utilities.entities._base import Entity, key_values

__all__ = ["ModelVersion", "RegisteredModel"]


def _aliases(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, str]", value))
    try:
        return {item["alias"]: str(item["version"]) for item in cast("Sequence[Mapping[str, Any]]", value)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("a list of alias and version was expected") from error


class ModelVersion(Entity):
    """A version of a registered model. Times are in ms since 1970, UTC. Searches leave `aliases` empty."""

    name: str
    version: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None
    user_id: str | None = None
    current_stage: str | None = None
    description: str | None = None
    source: str | None = None
    run_id: str | None = None
    run_link: str | None = None
    status: str | None = None
    status_message: str | None = None
    tags: Annotated[dict[str, str], PlainValidator(key_values)] = Field(default_factory=dict)
    aliases: list[str] = Field(default_factory=list[str])

    @property
    def model_id(self) -> str | None:
        """The logged model behind this version, None if there is none."""
        said = (self.model_extra or {}).get("model_id")
        if isinstance(said, str) and said:
            return said
        source = self.source or ""
        return source.removeprefix("models:/") if source.startswith("models:/m-") else None


class RegisteredModel(Entity):
    """A registered model. Times are in ms since 1970, UTC; `aliases` maps each to its version."""

    name: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None
    description: str | None = None
    latest_versions: list[ModelVersion] = Field(default_factory=list[ModelVersion])
    tags: Annotated[dict[str, str], PlainValidator(key_values)] = Field(default_factory=dict)
    aliases: Annotated[dict[str, str], PlainValidator(_aliases)] = Field(default_factory=dict)
