"""Every error this package raises, in one tree.

```text
MlflowUtilitiesError
├── MlflowApiError                  the server answered with an error
│   ├── BadRequestError             BAD_REQUEST: a database race or an exhausted pool; often transient
│   ├── InvalidParameterError       INVALID_PARAMETER_VALUE (also ValueError)
│   ├── AlreadyExistsError          RESOURCE_ALREADY_EXISTS
│   ├── NotFoundError               RESOURCE_DOES_NOT_EXIST (also LookupError)
│   │   └── EndpointNotFoundError   this server has no such endpoint
│   ├── UnauthenticatedError        401
│   ├── PermissionDeniedError       403 (also PermissionError)
│   ├── RateLimitedError            429
│   ├── RedirectError               3xx: the tracking URI is not the final one
│   └── ServerError                 5xx
├── MlflowConnectionError           no answer arrived (also ConnectionError)
├── MlflowTimeoutError              no answer in time (also TimeoutError)
├── ProtocolError                   an answer that is not what MLflow sends
├── ConfigurationError              a setting that cannot work (also ValueError)
├── ClientStateError                the client is closed, forked or on another event loop (also RuntimeError)
├── MissingDependencyError          an optional package is needed (also ImportError)
├── InvalidInputError               an argument was refused before anything was sent (also ValueError)
├── ArtifactError                   artifact bytes could not be moved (also OSError)
├── ModelError                      a model could not be saved or loaded
├── ServingError                    a service has no model to answer with
│   ├── NotReadyError               no models are loaded yet; the cause says why
│   └── NoActiveModelError          the rollout has no Active run for this request
└── RolloutError                    the rollout could not be read or changed
    ├── RolloutConflictError        somebody else changed it first
    ├── RolloutOutcomeUnknownError  the answer was lost; make the same call again
    ├── RolloutTooLargeError        the document does not fit into one param
    └── LedgerError                 the stored ledger cannot be used
        ├── LedgerDeletedError      its run or experiment is deleted; restore it
        ├── LedgerMissingError      its run was removed for good
        ├── LedgerForeignError      it belongs to an earlier experiment of the same id
        ├── LedgerCorruptError      it holds what this protocol never writes
        ├── LedgerTruncatedError    the server shortens values
        └── LedgerNewerFormatError  a newer release wrote it
```
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AlreadyExistsError",
    "ArtifactError",
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
    "MissingDependencyError",
    "MlflowApiError",
    "MlflowConnectionError",
    "MlflowTimeoutError",
    "MlflowUtilitiesError",
    "ModelError",
    "NoActiveModelError",
    "NotFoundError",
    "NotReadyError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitedError",
    "RedirectError",
    "RolloutConflictError",
    "RolloutError",
    "RolloutOutcomeUnknownError",
    "RolloutTooLargeError",
    "ServerError",
    "ServingError",
    "UnauthenticatedError",
]


class MlflowUtilitiesError(Exception):
    """Base of every error of this package; `hint` says what usually helps."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(cls: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    """Make an error that was pickled, or copied: the constructors want more than `args`."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class MlflowApiError(MlflowUtilitiesError):
    """The server answered a call with an error.

    Attributes: `method` and `path` of the call, HTTP `status`, MLflow's `error_code` (None when the answer was not
    MLflow's JSON), the server's `message`, `retry_after` in seconds when the server named it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_code: str | None = None,
        method: str = "",
        path: str = "",
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.error_code = error_code
        self.method = method
        self.path = path
        self.retry_after = retry_after

    def __str__(self) -> str:
        code = f" {self.error_code}" if self.error_code else ""
        return f"{self.method} {self.path}: {self.status}{code}: {super().__str__()}"


class BadRequestError(MlflowApiError):
    """BAD_REQUEST: MLflow's store failed on a race, a full pool or a name that is taken."""


class InvalidParameterError(MlflowApiError, ValueError):
    """INVALID_PARAMETER_VALUE: the server refused a value; repeating it cannot help."""


class AlreadyExistsError(MlflowApiError):
    """RESOURCE_ALREADY_EXISTS: the name is taken."""


class NotFoundError(MlflowApiError, LookupError):
    """RESOURCE_DOES_NOT_EXIST: no such run, experiment, model or file."""


class EndpointNotFoundError(NotFoundError):
    """The server has no such endpoint: it is older than the feature, or the tracking URI lacks its path prefix."""


class UnauthenticatedError(MlflowApiError):
    """401: credentials are missing or were refused."""


class PermissionDeniedError(MlflowApiError, PermissionError):
    """403: the credentials are known and do not suffice, or the server refuses this host name."""


class RateLimitedError(MlflowApiError):
    """429: too many requests; `retry_after` has the seconds the server asked for."""


class RedirectError(MlflowApiError):
    """3xx: redirects are not followed, because they turn a POST into a GET; use the final address."""


class ServerError(MlflowApiError):
    """5xx: the server failed."""


class MlflowConnectionError(MlflowUtilitiesError, ConnectionError):
    """No answer: the connection was refused, cut or never made.

    `sent` is False when the server cannot have seen the request, `permanent` is True when repeating cannot help.
    """

    def __init__(self, message: str, *, sent: bool = True, permanent: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.permanent = permanent


class MlflowTimeoutError(MlflowUtilitiesError, TimeoutError):
    """No answer within the time allowed; `sent` is False when the server cannot have seen the request."""

    def __init__(self, message: str, *, sent: bool = True, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent


class ProtocolError(MlflowUtilitiesError):
    """The answer is not what an MLflow server sends: cut off, not JSON, or of another shape."""


class ConfigurationError(MlflowUtilitiesError, ValueError):
    """A setting, from an argument or from the environment, cannot work."""


class ClientStateError(MlflowUtilitiesError, RuntimeError):
    """The client was used after closing, in a forked child, or on another event loop than its first."""


class MissingDependencyError(MlflowUtilitiesError, ImportError):
    """An optional package is needed for this call; the message names the extra that installs it."""


class InvalidInputError(MlflowUtilitiesError, ValueError):
    """An argument was refused before anything was sent."""


class ArtifactError(MlflowUtilitiesError, OSError):
    """Artifact bytes could not be read, written or trusted."""


class ModelError(MlflowUtilitiesError):
    """A model could not be serialised, saved, found or loaded."""


class ServingError(MlflowUtilitiesError):
    """A service has no model to answer with."""


class NotReadyError(ServingError):
    """No models are loaded yet, or none any more; `__cause__` has what prevented it last."""


class NoActiveModelError(ServingError, LookupError):
    """The rollout, as the service knows it, has no Active run for this request."""


class RolloutError(MlflowUtilitiesError):
    """The rollout could not be read or changed."""


class RolloutConflictError(RolloutError):
    """Somebody else changed the rollout first; nothing was written. `current` is the document that won."""

    def __init__(self, message: str, *, current: Any = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.current = current


class RolloutOutcomeUnknownError(RolloutError):
    """The answer to a commit was lost: make the same call again, it settles the outcome either way."""

    def __init__(self, message: str, *, run_id: str, key: str, value: str, op: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.run_id = run_id
        self.key = key
        self.value = value
        self.op = op


class RolloutTooLargeError(RolloutError, ValueError):
    """The rollout does not fit into one param value; nothing was sent."""


class LedgerError(RolloutError):
    """The stored ledger cannot be used as it is."""


class LedgerDeletedError(LedgerError):
    """The ledger's run or experiment is deleted; restore it, the message says with which call."""


class LedgerMissingError(LedgerError):
    """A run of the ledger was removed for good."""


class LedgerForeignError(LedgerError):
    """The ledger belongs to an earlier experiment that had the same id."""


class LedgerCorruptError(LedgerError):
    """The ledger holds something that this protocol never writes, or the store rewrites params."""


class LedgerTruncatedError(LedgerError):
    """The server shortens param values, so it cannot hold a ledger."""


class LedgerNewerFormatError(LedgerError):
    """A newer release of this package wrote the ledger; update before writing."""
