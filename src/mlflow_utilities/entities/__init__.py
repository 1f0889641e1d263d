"""What the server knows about, with the attribute names of `mlflow.entities`; imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_utilities.entities.artifacts import FileInfo
    from mlflow_utilities.entities.enums import LifecycleStage, LoggedModelStatus, RunStatus, ViewType
    from mlflow_utilities.entities.experiments import Experiment
    from mlflow_utilities.entities.logged_models import LoggedModel
    from mlflow_utilities.entities.page import Page
    from mlflow_utilities.entities.registry import ModelVersion, RegisteredModel
    from mlflow_utilities.entities.runs import (
        Dataset,
        DatasetInput,
        InputTag,
        LoggedModelInput,
        LoggedModelOutput,
        Metric,
        Param,
        Run,
        RunData,
        RunInfo,
        RunInputs,
        RunOutputs,
        RunTag,
    )

__all__ = [
    "Dataset",
    "DatasetInput",
    "Experiment",
    "FileInfo",
    "InputTag",
    "LifecycleStage",
    "LoggedModel",
    "LoggedModelInput",
    "LoggedModelOutput",
    "LoggedModelStatus",
    "Metric",
    "ModelVersion",
    "Page",
    "Param",
    "RegisteredModel",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunOutputs",
    "RunStatus",
    "RunTag",
    "ViewType",
]

_MODULES = {
    "artifacts": ("FileInfo",),
    "enums": ("LifecycleStage", "LoggedModelStatus", "RunStatus", "ViewType"),
    "experiments": ("Experiment",),
    "logged_models": ("LoggedModel",),
    "page": ("Page",),
    "registry": ("ModelVersion", "RegisteredModel"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'runs')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
