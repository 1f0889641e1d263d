"""What each search of MLflow's server can filter by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["SEARCHES", "Operators", "Search"]

Operators: TypeAlias = tuple[str, ...]

_EQUAL: Operators = ("=", "!=")
_LIST: Operators = ("IN", "NOT IN")
_NULL: Operators = ("IS NULL", "IS NOT NULL")
_NUMBER: Operators = (*_EQUAL, "<", "<=", ">", ">=")
_TEXT: Operators = (*_EQUAL, "LIKE", "ILIKE")
_LISTED: Operators = (*_TEXT, *_LIST)


@dataclass(frozen=True, slots=True)
class Search:
    """Operators of one search: by kind for fields with keys of the user, by kind and name for MLflow's own fields.

    `quotes` are those of values that its parser knows, `attribute_prefix` is what precedes attributes, and `codes` has
    the texts that stand for the names of an attribute's values.
    """

    method: str
    keyed: Mapping[str, Operators]
    named: Mapping[str, Mapping[str, Operators]] = field(default_factory=dict[str, Mapping[str, Operators]])
    quotes: str = "'\""
    attribute_prefix: str = ""
    line_break_in_keys: bool = True
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


# The server keeps the state of a logged model as a number, and compares that number.
_LOGGED_MODEL_STATUSES: Mapping[str, str] = {
    "PENDING": "1",
    "READY": "2",
    "FAILED": "3",
    "LOGGED_MODEL_PENDING": "1",
    "LOGGED_MODEL_READY": "2",
    "LOGGED_MODEL_UPLOAD_FAILED": "3",
}

SEARCHES: Mapping[str, Search] = {
    "runs": Search(
        method="search_runs",
        keyed={"Metric": _NUMBER, "Param": (*_TEXT, *_NULL), "Tag": (*_TEXT, *_NULL)},
        named={
            "Attribute": {
                "run_id": _LISTED,
                "run_name": _TEXT,
                "status": _TEXT,
                "user_id": _TEXT,
                "artifact_uri": _TEXT,
                "start_time": _NUMBER,
                "end_time": _NUMBER,
            },
            "Dataset": {"name": _LISTED, "digest": _LISTED, "context": _LISTED},
        },
        attribute_prefix="attributes.",
    ),
    "experiments": Search(
        method="search_experiments",
        keyed={"Tag": (*_TEXT, *_NULL)},
        named={
            "Attribute": {
                "name": _TEXT,
                "experiment_id": (*_EQUAL, *_LIST),
                "creation_time": _NUMBER,
                "last_update_time": _NUMBER,
            }
        },
    ),
    "registered_models": Search(
        method="search_registered_models",
        keyed={"Tag": _TEXT},
        named={"Attribute": {"name": _LISTED}},
    ),
    "model_versions": Search(
        method="search_model_versions",
        keyed={"Tag": _TEXT},
        named={
            "Attribute": {"name": _LISTED, "run_id": _LISTED, "source_path": _TEXT, "version_number": _NUMBER},
        },
    ),
    "logged_models": Search(
        method="search_logged_models",
        keyed={"Metric": _NUMBER, "Param": _LISTED, "Tag": _LISTED},
        named={
            "Attribute": {
                "name": _LISTED,
                "model_id": _LISTED,
                "model_type": _LISTED,
                "source_run_id": _LISTED,
                "experiment_id": (*_EQUAL, *_LIST),
                "status": (*_EQUAL, *_LIST),
                "status_message": _LISTED,
                "artifact_location": _LISTED,
                "creation_timestamp": _NUMBER,
                "last_updated_timestamp": _NUMBER,
            }
        },
        quotes="'",
        line_break_in_keys=False,
        codes={"status": _LOGGED_MODEL_STATUSES},
    ),
}
