"""The routing of a service as OpenFeature flags: a submodel is a flag, the run that answers a user is its variant.

Importing this needs the extra `[openfeature]`, else it raises MissingDependencyError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from mlflow_utilities.errors import InvalidInputError, MissingDependencyError, NoActiveModelError, NotReadyError
from mlflow_utilities.serving.active_models import ActiveModels
from mlflow_utilities.serving.pins import current_pin
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Change, ServingState, ServingStatus

try:
    from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]
    from openfeature.event import ProviderEvent, ProviderEventDetails
    from openfeature.exception import ErrorCode, ProviderNotReadyError
    from openfeature.flag_evaluation import FlagResolutionDetails, Reason
    from openfeature.provider import AbstractProvider, Metadata  # pyright: ignore[reportMissingTypeStubs]
except ImportError as error:
    raise MissingDependencyError(
        "openfeature-sdk is needed for MlflowProvider", hint='pip install "mlflow-utilities[openfeature]"'
    ) from error

__all__ = ["MlflowProvider"]

T = TypeVar("T")


class MlflowProvider(AbstractProvider):  # type: ignore[misc]
    """An OpenFeature provider whose flags say which run answers a targeting key; evaluate them on the event loop.

    A flag is a string, the run id, or an object with `run_id`, `version`, `test_fraction`, `generation`,
    `experiment_id` and `submodel_name`. The variant is the run id; without a targeting key it is drawn by chance. To
    let the provider's status and events follow, give its `on_change` to each ActiveModels, then `add` that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._flags: dict[str, ActiveModels] = {}
        self._told: dict[str, object] = {}
        self._event: ProviderEvent | None = None

    def add(self, flag_key: str, models: ActiveModels) -> None:
        """Let a flag say what an ActiveModels chooses; the key is by custom the name of the submodel."""
        self._flags[flag_key] = models
        self._told[flag_key] = _choices(models.status())

    async def on_change(self, change: Change) -> None:
        """Tell OpenFeature what is different now: the `on_change` of each ActiveModels."""
        event, details = self._state()
        if event is not self._event:
            self._event = event
            self.emit(event, details)
        now = {key: _choices(models.status()) for key, models in self._flags.items()}
        changed = [key for key in now if now[key] != self._told.get(key)]
        self._told = now
        if changed:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))

    def _state(self) -> tuple[ProviderEvent, ProviderEventDetails]:
        for key, models in self._flags.items():
            health = models.health()
            if not health.ready:
                message = f"flag {key}: {health.reason}"
                return ProviderEvent.PROVIDER_ERROR, ProviderEventDetails(
                    message=message, error_code=ErrorCode.PROVIDER_NOT_READY
                )
        for models in self._flags.values():
            status = models.status()
            if status.state is not ServingState.READY:  # what is loaded goes on answering, whatever the reason
                return ProviderEvent.PROVIDER_STALE, ProviderEventDetails(message=status.reason)
        return ProviderEvent.PROVIDER_READY, ProviderEventDetails()

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Raise ProviderNotReadyError unless all flags can be answered; PROVIDER_READY follows when they can."""
        event, details = self._state()
        waits = event is ProviderEvent.PROVIDER_ERROR
        self._event = event if waits else ProviderEvent.PROVIDER_READY  # which the SDK emits after this
        if waits:
            raise ProviderNotReadyError(details.message)

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata("mlflow-utilities")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return the id of the run that answers the targeting key, or the default and why."""
        found = self._choose(flag_key, default_value, evaluation_context)
        return self._found(flag_key, found, found.run_id) if isinstance(found, ServedModel) else found

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        """Return what is to know of that run, or the default and why."""
        found = self._choose(flag_key, default_value, evaluation_context)
        return self._found(flag_key, found, _described(found)) if isinstance(found, ServedModel) else found

    def resolve_boolean_details(
        self, flag_key: str, default_value: Any, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        """Return the default: no flag is of this type."""
        if flag_key not in self._flags:
            return _failed(default_value, ErrorCode.FLAG_NOT_FOUND, f"there is no flag {flag_key}")
        return _failed(default_value, ErrorCode.TYPE_MISMATCH, f"flag {flag_key} is a string or an object")

    resolve_integer_details = resolve_float_details = resolve_boolean_details

    def _choose(
        self, flag_key: str, default: T, context: EvaluationContext | None
    ) -> ServedModel | FlagResolutionDetails[T]:
        if flag_key not in self._flags:
            return _failed(default, ErrorCode.FLAG_NOT_FOUND, f"there is no flag {flag_key}")
        try:
            return self._flags[flag_key].choose(context.targeting_key if context else None)
        except NotReadyError as error:
            return _failed(default, ErrorCode.PROVIDER_NOT_READY, str(error))
        except NoActiveModelError as error:
            return _failed(default, ErrorCode.GENERAL, str(error))
        except InvalidInputError as error:
            return _failed(default, ErrorCode.INVALID_CONTEXT, str(error))

    def _found(self, flag_key: str, model: ServedModel, value: T) -> FlagResolutionDetails[T]:
        pinned = current_pin(self._flags[flag_key]) is not None
        reason = Reason.TARGETING_MATCH if pinned else Reason.SPLIT
        # OpenTelemetry's hook takes `version` for the one of the rules, and `flagSetId` for where they are from.
        names = {"version": str(model.generation), "flagSetId": model.experiment_id}
        described = {**_described(model), "model_version": str(model.version), **names}
        return FlagResolutionDetails(value, reason=reason, variant=model.run_id, flag_metadata=described)


def _choices(status: ServingStatus) -> object:
    return status.generation, tuple(status.fractions.items())


def _failed(default: T, code: ErrorCode, message: str) -> FlagResolutionDetails[T]:
    return FlagResolutionDetails(default, error_code=code, error_message=message, reason=Reason.ERROR)


def _described(model: ServedModel) -> dict[str, Any]:
    fields = ("run_id", "test_fraction", "generation", "experiment_id", "submodel_name")
    return {name: getattr(model, name) for name in fields} | {"version": str(model.version)}
