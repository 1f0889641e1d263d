"""The four states a model's run can be in."""

from __future__ import annotations

from enum import IntEnum

from mlflow_utilities.errors import InvalidInputError

__all__ = ["ModelStatus"]


class ModelStatus(IntEnum):
    """State of a run; the numbers are a stored format and never change."""

    Disabled = 0
    New = 1
    Active = 2
    Canary = 3

    def __str__(self) -> str:
        """Return the name, as tables and logs show it."""
        return self.name

    def __format__(self, spec: str) -> str:
        """Return the name, laid out as text."""
        return format(self.name, spec)

    @classmethod
    def parse(cls, value: ModelStatus | str | int) -> ModelStatus:
        """Return the state that a member, its name (in any case) or its number stands for.

        Raises:
            InvalidInputError: there is no such state.

        """
        if isinstance(value, str):
            for member in cls:
                if member.name.casefold() == value.strip().casefold():
                    return member
        elif not isinstance(value, bool):
            try:
                return cls(value)
            except ValueError:
                pass
        names = ", ".join(member.name for member in cls)
        raise InvalidInputError(f"{value!r} is not a model status", hint=f"use one of {names}")
