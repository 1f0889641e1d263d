"""Exit codes: how a command ended, for scripts."""

from __future__ import annotations

from enum import IntEnum

from mlflow_utilities.errors import (
    AlreadyExistsError,
    ConfigurationError,
    EndpointNotFoundError,
    InvalidInputError,
    InvalidParameterError,
    LedgerError,
    MissingDependencyError,
    MlflowConnectionError,
    MlflowTimeoutError,
    MlflowUtilitiesError,
    NotFoundError,
    PermissionDeniedError,
    RedirectError,
    RolloutConflictError,
    RolloutOutcomeUnknownError,
    RolloutTooLargeError,
    UnauthenticatedError,
)

__all__ = ["Exit", "NotConfirmedError", "NothingFoundError", "exit_of"]


class Exit(IntEnum):
    """How a command ended; `meaning` says it in words."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        """Make a code that has a meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done; also when everything was as wished already"
    FAILED = 1, "the server, or this machine, failed in a way that has no code of its own"
    USAGE = 2, "the command line or a setting cannot work, or a package is missing; nothing was written"
    REFUSED = 3, "the input was refused; nothing was written"
    NOT_FOUND = 4, "there is no such experiment, run, model or file; nothing was written"
    CONFLICT = 5, "somebody else changed the rollout first; nothing was written"
    UNREACHABLE = 6, "the server did not answer, or not in time"
    UNKNOWN = 7, "the answer to a change was lost: run the same command again, it settles the outcome"
    FORBIDDEN = 8, "the credentials are missing, were refused, or do not suffice"
    NOT_CONFIRMED = 9, "the change was not confirmed; nothing was written"
    LEDGER = 10, "the stored ledger of the rollout cannot be used"
    BUG = 70, "a defect of this program"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    CLOSED = 141, "the program that read the output closed it"


class NothingFoundError(InvalidInputError, LookupError):
    """What the command line names does not exist."""


class NotConfirmedError(MlflowUtilitiesError):
    """A change in production was not confirmed; nothing was written."""


# The first class that fits decides, so the special ones stand first.
_EXITS: tuple[tuple[type[Exception], Exit], ...] = (
    (NothingFoundError, Exit.NOT_FOUND),
    (NotConfirmedError, Exit.NOT_CONFIRMED),
    (RolloutConflictError, Exit.CONFLICT),
    (RolloutOutcomeUnknownError, Exit.UNKNOWN),
    (LedgerError, Exit.LEDGER),
    (UnauthenticatedError, Exit.FORBIDDEN),
    (PermissionDeniedError, Exit.FORBIDDEN),
    (RedirectError, Exit.USAGE),
    (ConfigurationError, Exit.USAGE),
    (MissingDependencyError, Exit.USAGE),
    (EndpointNotFoundError, Exit.FAILED),
    (NotFoundError, Exit.NOT_FOUND),
    (InvalidInputError, Exit.REFUSED),
    (InvalidParameterError, Exit.REFUSED),
    (AlreadyExistsError, Exit.REFUSED),
    (RolloutTooLargeError, Exit.REFUSED),
    (MlflowConnectionError, Exit.UNREACHABLE),
    (MlflowTimeoutError, Exit.UNREACHABLE),
    (MlflowUtilitiesError, Exit.FAILED),
    (OSError, Exit.FAILED),
)


def exit_of(error: BaseException) -> Exit:
    """Return the exit code of an error; what is not this package's own is a bug."""
    if isinstance(error, InvalidInputError) and isinstance(error.__cause__, NotFoundError):
        return Exit.NOT_FOUND
    return next((code for cls, code in _EXITS if isinstance(error, cls)), Exit.BUG)
