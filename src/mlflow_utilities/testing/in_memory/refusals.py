"""How the server says no."""

from __future__ import annotations

__all__ = ["Refused", "UnsupportedByInMemoryMlflow", "invalid", "missing"]

_STATUS = {
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "NOT_IMPLEMENTED": 501,
}


class Refused(Exception):  # noqa: N818 - an answer, not an error of this program
    """The request is answered with this error, as MLflow answers it."""

    def __init__(self, message: str, error_code: str = "INVALID_PARAMETER_VALUE") -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code
        self.status = _STATUS.get(error_code, 500)


class UnsupportedByInMemoryMlflow(NotImplementedError):  # noqa: N818 - says what is missing
    """The in-memory MLflow does not imitate this part of MLflow; nothing is guessed."""


def invalid(message: str) -> Refused:
    """Return the refusal of a bad value."""
    return Refused(message)


def missing(message: str) -> Refused:
    """Return the refusal of something that does not exist."""
    return Refused(message, "RESOURCE_DOES_NOT_EXIST")
