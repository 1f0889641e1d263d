"""The methods that MLflow's client has, too, take the same arguments in the same order."""

from __future__ import annotations

import inspect
import types
from typing import Any

import pytest
from mlflow import MlflowClient

from mlflow_utilities import AsyncMlflowClient

ASYNCHRONOUS_LOGGING = {"synchronous"}  # MLflow's queue in a thread; awaiting is what this client has instead
DATABRICKS = {"deployment_job_id"}  # no other server knows it
STAGE_INSTEAD_OF_VERSION = {"stage"}  # deprecated by MLflow, and it names whichever version is there at that moment

LEFT_OUT = {
    "create_model_version": {"await_creation_for"},  # an open-source server answers when the version is ready
    "create_registered_model": DATABRICKS,
    "update_registered_model": DATABRICKS,
    "log_batch": ASYNCHRONOUS_LOGGING,
    "log_metric": ASYNCHRONOUS_LOGGING,
    "log_param": ASYNCHRONOUS_LOGGING,
    "set_tag": ASYNCHRONOUS_LOGGING,
    "set_model_version_tag": STAGE_INSTEAD_OF_VERSION,
    "delete_model_version_tag": STAGE_INSTEAD_OF_VERSION,
}
BY_NAME_ONLY = {  # those behind one that is left out: by position they would be taken for it
    "create_model_version": ["model_id"],
    "log_metric": ["dataset_name", "dataset_digest", "model_id"],
}
MORE = {"get_metric_history": ["max_results", "page_token"]}  # one page of it
NO_REQUEST = {"get_model_version_stages"}
OTHER_DEFAULTS = {
    ("search_runs", "run_view_type"): "ACTIVE_ONLY",  # MLflow's 1, by its name
    ("search_experiments", "view_type"): "ACTIVE_ONLY",
    ("download_artifacts", "path"): "",  # everything, as MLflow takes it
    ("set_model_version_tag", "version"): inspect.Parameter.empty,
    ("set_model_version_tag", "key"): inspect.Parameter.empty,
    ("set_model_version_tag", "value"): inspect.Parameter.empty,
    ("delete_model_version_tag", "version"): inspect.Parameter.empty,
    ("delete_model_version_tag", "key"): inspect.Parameter.empty,
}
SHARED = [
    name
    for name, member in inspect.getmembers(AsyncMlflowClient, inspect.isfunction)
    if not name.startswith("_") and isinstance(getattr(MlflowClient, name, None), types.FunctionType)
]


def parameters(client: Any, name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a method, without self."""
    found = dict(inspect.signature(getattr(client, name)).parameters)
    del found["self"]
    return found


@pytest.mark.parametrize("name", SHARED)
def test_a_method_takes_the_arguments_of_mlflows(name: str) -> None:
    """Same names and order; what differs is listed above, with the reason."""
    theirs = [each for each in parameters(MlflowClient, name) if each not in LEFT_OUT.get(name, set())]
    by_name = [each for each, kind in parameters(AsyncMlflowClient, name).items() if kind.kind is kind.KEYWORD_ONLY]
    by_position = [each for each in parameters(AsyncMlflowClient, name) if each not in by_name]

    more = [] if name in NO_REQUEST else ["timeout"]
    assert by_position + by_name == theirs + MORE.get(name, []) + more
    assert by_name == BY_NAME_ONLY.get(name, []) + more


@pytest.mark.parametrize("name", SHARED)
def test_a_method_has_the_defaults_of_mlflows(name: str) -> None:
    """What is left out means the same to both."""
    theirs = parameters(MlflowClient, name)

    different = {
        (name, each): own.default
        for each, own in parameters(AsyncMlflowClient, name).items()
        if each in theirs and own.default != theirs[each].default
    }

    assert different == {key: default for key, default in OTHER_DEFAULTS.items() if key[0] == name}


def test_most_of_mlflows_core_is_here() -> None:
    """Experiments, runs, logging, artifacts, registry and logged models."""
    assert len(SHARED) >= 65
