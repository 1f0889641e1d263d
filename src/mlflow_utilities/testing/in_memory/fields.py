"""Reading the fields of a request, with the refusals of MLflow's handlers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

from mlflow_utilities.testing.in_memory.refusals import Refused, UnsupportedByInMemoryMlflow, invalid

__all__ = ["MAX_INT64", "Fields"]

MAX_INT64 = 2**63 - 1
_SEE = " See the API docs for more information about request parameters."


def _invalid_value(name: str, value: object) -> Refused:
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
    kind = type(value).__name__
    return invalid(f"Invalid value {shown} for parameter '{name}' supplied:  Hint: Value was of type '{kind}'.{_SEE}")


class Fields:
    """The arguments of a request: what is absent, null or of another type is told apart as MLflow does."""

    def __init__(self, given: Mapping[str, Any], *required: str) -> None:
        self._given = given
        for name in required:
            if given.get(name) in (None, ""):
                raise invalid(f"Missing value for required parameter '{name}'.{_SEE}")

    def has(self, name: str) -> bool:
        """Return whether the field was sent."""
        return self._given.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a text field."""
        value = self._given.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise _invalid_value(name, value)
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text field, or None if it was not sent."""
        return self.text(name) if self.has(name) else None

    def integer(self, name: str, default: int = 0) -> int:
        """Return an int64 field: a number, or a text of one."""
        value = self._given.get(name)
        if value is None:
            return default
        number = _as_integer(value)
        if number is None:
            raise _invalid_value(name, value)
        return number

    def optional_integer(self, name: str) -> int | None:
        """Return an int64 field, or None if it was not sent."""
        return self.integer(name) if self.has(name) else None

    def number(self, name: str) -> float:
        """Return a double field: NaN and the infinities are texts in JSON."""
        return self.as_number(name, self._given.get(name))

    @staticmethod
    def as_number(name: str, value: object) -> float:
        """Return the double that a value stands for."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _invalid_value(name, value)
        try:
            return float(value)
        except ValueError as error:
            raise _invalid_value(name, value) from error

    def flag(self, name: str) -> bool:
        """Return a boolean field."""
        value = self._given.get(name, False)
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise _invalid_value(name, value)

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        values = self.array(name)
        if any(not isinstance(value, str) for value in values):
            raise UnsupportedByInMemoryMlflow(f"{name} has items that are not text: {values!r}")
        return cast("list[str]", values)

    def array(self, name: str) -> list[Any]:
        """Return a list."""
        value = self._given.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _invalid_value(name, value)
        return cast("list[Any]", value)

    def objects(self, name: str, *required: str) -> list[Mapping[str, Any]]:
        """Return a list of objects that have the required fields."""
        found = self.array(name)
        for index, item in enumerate(found):
            if not isinstance(item, dict):
                raise UnsupportedByInMemoryMlflow(f"{name}[{index}] is not an object: {item!r}")
            for field in required:
                if cast("dict[str, Any]", item).get(field) in (None, ""):
                    raise invalid(f"Missing value for required parameter '{name}[{index}].{field}'.{_SEE}")
        return cast("list[Mapping[str, Any]]", found)

    def pairs(self, name: str, *, required: bool = True) -> list[tuple[str, str]]:
        """Return a list of key and value, both text; a value that is absent is empty."""
        found: list[tuple[str, str]] = []
        for item in self.objects(name, *(["key"] if required else [])):
            key, value = item.get("key") or "", item.get("value")
            if not isinstance(key, str) or not isinstance(value, str | None):
                raise UnsupportedByInMemoryMlflow(f"{name} has an item that is not text: {item!r}")
            found.append((key, value or ""))
        return found

    def choice(self, name: str, names: Mapping[str, int], default: str) -> str:
        """Return the name of an enum's value, given as name or number; MLflow drops a name that it does not know."""
        value = self._given.get(name)
        if isinstance(value, str) and value in names:
            return value
        number = None if value is None else _as_integer(value)
        return next((known for known, code in names.items() if code == number), default)


def _as_integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value) if any(ch in value for ch in ".eE") else int(value)
        except ValueError:
            return None
    if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
        return None
    if not isinstance(value, int | float):
        return None
    return int(value) if -MAX_INT64 - 1 <= value <= MAX_INT64 else None
