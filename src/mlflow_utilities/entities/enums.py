"""MLflow's enumerations, with the values of `mlflow.entities`, ViewType aside: there they are 1, 2 and 3."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["LifecycleStage", "LoggedModelStatus", "RunStatus", "ViewType"]


class RunStatus(StrEnum):
    """State of a run."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class ViewType(StrEnum):
    """Which of the active and the deleted a search looks at."""

    ACTIVE_ONLY = "ACTIVE_ONLY"
    DELETED_ONLY = "DELETED_ONLY"
    ALL = "ALL"


class LifecycleStage(StrEnum):
    """Whether something is in use or in the bin."""

    ACTIVE = "active"
    DELETED = "deleted"


class LoggedModelStatus(StrEnum):
    """State of a logged model."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"
