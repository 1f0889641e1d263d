"""Serving: the refreshing and routing set of models inside a service."""

from mlflow_utilities.serving.active_models import ActiveModels
from mlflow_utilities.serving.options import CanaryOptions, LoadingOptions
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.telemetry import Telemetry
from mlflow_utilities.serving.values import (
    CanaryCounts,
    Change,
    Exposure,
    Health,
    PollError,
    Prediction,
    Reason,
    ServingState,
    ServingStatus,
    Source,
)

__all__ = [
    "ActiveModels",
    "CanaryCounts",
    "CanaryOptions",
    "Change",
    "Exposure",
    "Health",
    "LoadingOptions",
    "PollError",
    "Prediction",
    "Reason",
    "ServedModel",
    "ServingState",
    "ServingStatus",
    "Source",
    "Telemetry",
]
