"""Async SDK for the MLflow REST API, with semantic versions and rollouts for models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlflow_utilities._version import __version__ as __version__
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    AlreadyExistsError,
    ArtifactError,
    BadRequestError,
    ClientStateError,
    ConfigurationError,
    EndpointNotFoundError,
    InvalidInputError,
    InvalidParameterError,
    LedgerCorruptError,
    LedgerDeletedError,
    LedgerError,
    LedgerForeignError,
    LedgerMissingError,
    LedgerNewerFormatError,
    LedgerTruncatedError,
    MissingDependencyError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    MlflowUtilitiesError,
    ModelError,
    NoActiveModelError,
    NotFoundError,
    NotReadyError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    RolloutConflictError,
    RolloutError,
    RolloutOutcomeUnknownError,
    RolloutTooLargeError,
    ServerError,
    ServingError,
    UnauthenticatedError,
)
from mlflow_utilities.typing import Limits, Safety, Timeout

if TYPE_CHECKING:
    from mlflow_utilities import entities, filters, mlflow_api, serving
    from mlflow_utilities.mlflow_api import LiveRun, Model, Repairs, Rollout, RolloutEntry, SavedModel, VersionedRun
    from mlflow_utilities.rollout.status import ModelStatus
    from mlflow_utilities.rollout.version import Version
    from mlflow_utilities.rollout.version_range import VersionRange

_LAZY = {
    "LiveRun": "mlflow_utilities.mlflow_api",
    "Model": "mlflow_utilities.mlflow_api",
    "ModelStatus": "mlflow_utilities.rollout.status",
    "Repairs": "mlflow_utilities.mlflow_api",
    "Rollout": "mlflow_utilities.mlflow_api",
    "RolloutEntry": "mlflow_utilities.mlflow_api",
    "SavedModel": "mlflow_utilities.mlflow_api",
    "Version": "mlflow_utilities.rollout.version",
    "VersionRange": "mlflow_utilities.rollout.version_range",
    "VersionedRun": "mlflow_utilities.mlflow_api",
}
_MODULES = ("entities", "filters", "mlflow_api", "serving")

__all__ = [
    "AlreadyExistsError",
    "ArtifactError",
    "AsyncMlflowClient",
    "BadRequestError",
    "ClientStateError",
    "ConfigurationError",
    "EndpointNotFoundError",
    "InvalidInputError",
    "InvalidParameterError",
    "LedgerCorruptError",
    "LedgerDeletedError",
    "LedgerError",
    "LedgerForeignError",
    "LedgerMissingError",
    "LedgerNewerFormatError",
    "LedgerTruncatedError",
    "Limits",
    "LiveRun",
    "MissingDependencyError",
    "MlflowApiError",
    "MlflowConnectionError",
    "MlflowTimeoutError",
    "MlflowUtilitiesError",
    "Model",
    "ModelError",
    "ModelStatus",
    "NoActiveModelError",
    "NotFoundError",
    "NotReadyError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitedError",
    "RedirectError",
    "Repairs",
    "Rollout",
    "RolloutConflictError",
    "RolloutEntry",
    "RolloutError",
    "RolloutOutcomeUnknownError",
    "RolloutTooLargeError",
    "Safety",
    "SavedModel",
    "ServerError",
    "ServingError",
    "Timeout",
    "UnauthenticatedError",
    "Version",
    "VersionRange",
    "VersionedRun",
    "entities",
    "filters",
    "mlflow_api",
    "serving",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"mlflow_utilities.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
