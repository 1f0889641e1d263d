"""What names, versions, stages, aliases and tags of the registry may be."""

from __future__ import annotations

import posixpath
import re

from mlflow_utilities.testing.in_memory.names import KEY_LENGTH, checked_key, checked_length, invalid_value
from mlflow_utilities.testing.in_memory.refusals import invalid

__all__ = [
    "STAGES",
    "checked_alias",
    "checked_model_name",
    "checked_registry_tag",
    "free_alias",
    "stage_of",
    "version_of",
]

STAGES = ("None", "Staging", "Production", "Archived")
_ALIAS_LENGTH = 255
_TAG_LENGTH = 100_000


def checked_model_name(name: str, path: str = "name") -> str:
    """Return the name of a registered model; raises Refused for one that MLflow does not take."""
    if not name.strip():
        raise invalid(f"Missing value for required parameter '{path}'.")
    if "/" in name or ":" in name:
        raise invalid(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    normal = posixpath.normpath(name)
    if normal != name or normal == "." or normal.startswith(".."):
        raise invalid(
            invalid_value(
                "name",
                name,
                "Names may be treated as files in certain cases, and must not resolve to other names when treated as"
                f" such. This name would resolve to {normal!r}",
            )
        )
    return name


def version_of(text: str) -> int:
    """Return the number of a version; raises Refused unless it is a whole number."""
    try:
        return int(text)
    except ValueError:
        raise invalid(f"Parameter 'version' must be an integer, got '{text}'.") from None


def stage_of(text: str) -> str:
    """Return a stage as it is written; raises Refused for one that is none."""
    for stage in STAGES:
        if stage.lower() == text.lower():
            return stage
    raise invalid(f"Invalid Model Version stage: {text}. Value must be one of {', '.join(STAGES)}.")


def checked_alias(alias: str) -> str:
    """Return an alias; raises Refused for one that MLflow does not take."""
    if not alias:
        raise invalid("Registered model alias name cannot be empty.")
    if re.match(r"^[\w\-]*$", alias) is None:
        raise invalid(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )
    return checked_length("Registered model alias name", _ALIAS_LENGTH, alias)


def free_alias(alias: str) -> str:
    """Return an alias that may be set; raises Refused for those that MLflow gives a meaning of its own."""
    if checked_alias(alias).lower() == "latest":
        raise invalid("'latest' alias name (case insensitive) is reserved.")
    if re.match(r"^[vV]\d+$", alias):
        raise invalid(f"Version alias name '{alias}' is reserved.")
    return alias


def checked_registry_tag(key: str, value: str) -> tuple[str, str]:
    """Return the tag of a registered model or of a version; raises Refused for one that MLflow does not take."""
    checked_key(key, "key")
    checked_length("key", KEY_LENGTH, key)
    return key, checked_length("value", _TAG_LENGTH, value)
