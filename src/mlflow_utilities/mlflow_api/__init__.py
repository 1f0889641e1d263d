"""The nine verbs of the framework, and what they return.

A *run* is the output of one training; a *model* is the logic saved with it; an *experiment* is the model project, and
may hold several *submodels*. Every verb takes `client=`; without it, it opens one from the environment for that call.
"""

from mlflow_utilities.mlflow_api.changing import canary_run, change_status, disable_run, enable_run, revoke_run
from mlflow_utilities.mlflow_api.listing import list_models, list_runs, rollout_history
from mlflow_utilities.mlflow_api.repairing import Repairs, reconcile
from mlflow_utilities.mlflow_api.saving import save_model
from mlflow_utilities.mlflow_api.splitting import change_test_fractions, rollback, update_active_runs
from mlflow_utilities.mlflow_api.values import LiveRun, Model, Rollout, RolloutEntry, SavedModel, VersionedRun

__all__ = [
    "LiveRun",
    "Model",
    "Repairs",
    "Rollout",
    "RolloutEntry",
    "SavedModel",
    "VersionedRun",
    "canary_run",
    "change_status",
    "change_test_fractions",
    "disable_run",
    "enable_run",
    "list_models",
    "list_runs",
    "reconcile",
    "revoke_run",
    "rollback",
    "rollout_history",
    "save_model",
    "update_active_runs",
]
