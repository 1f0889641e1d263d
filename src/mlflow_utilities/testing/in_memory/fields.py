"""Reading the JSON of a request as MLflow's handlers do: lenient where protobuf is, and strict where they check.

A value of a wrong type ends the reading: what stands after it in the JSON is dropped, as is a nested value itself; only
fields at the top are then checked for their types.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from mlflow_utilities.testing.in_memory.refusals import Refused, invalid

__all__ = ["Enum", "Field", "Fields", "Message", "Repeated", "read"]

_HINT = " See the API docs for more information about request parameters."
_INT_BITS = {"int32": 31, "int64": 63}


class Fields(dict[str, Any]):
    """The fields of a request: a query's values are texts or lists of them; `unreadable` when the body was no JSON."""

    def __init__(self, values: Mapping[str, Any], *, query: bool = False, unreadable: bool = False) -> None:
        super().__init__(values)
        self.query = query
        self.unreadable = unreadable


@dataclass(frozen=True, slots=True)
class Enum:
    """A type whose values are names; `names` also by their numbers."""

    names: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A list of scalars ("string") or of messages."""

    of: str | Message


Type: TypeAlias = "str | Enum | Repeated | Message"


@dataclass(frozen=True, slots=True)
class Field:
    """A field at the top: its type, whether it must be there, whether a wrong type of it or of its items is refused."""

    type: Type
    required: bool = False
    checked: bool = True
    items_checked: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """The types of the fields of a nested object."""

    fields: Mapping[str, Type]


class _Unreadable(Exception):  # noqa: N818 - caught in this module
    """A value of a wrong type; what stands after it is not read."""


def read(request: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the fields that are set, in their types.

    Raises Refused for a required field that is missing or empty, and for a wrong type at the top.
    """
    message = Message({name: field.type for name, field in fields.items()})
    raw = _of_query(request, fields) if isinstance(request, Fields) and request.query else request
    _refuse_both_spellings(raw, message)
    values: dict[str, Any] = {}
    failed = False
    try:
        _fill(values, raw, message)
    except _Unreadable:
        failed = True
    for name, field in fields.items():
        value = raw.get(name)
        if name == "run_id" and value is None:
            value = raw.get("run_uuid")
        if name in raw and failed and field.checked and not _looks_right(value, field):
            shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
            kind = type(value).__name__
            raise invalid(
                f"Invalid value {shown} for parameter '{name}' supplied:  Hint: Value was of type '{kind}'.{_HINT}"
            )
        if field.required and (value is None or value == ""):
            raise invalid(f"Missing value for required parameter '{name}'.{_HINT}")
    return values


def _of_query(request: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return a query's values as JSON would hold them: lists for repeated fields, booleans for those."""
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in request:
            continue
        value: Any = request[name]
        several = isinstance(value, list)
        if isinstance(field.type, Repeated):
            value = value if several else [value]
        elif several:
            value = value[0]
        if field.type == "bool":
            if str(value).lower() not in ("true", "false"):
                raise invalid(f"Invalid boolean value: {value}, must be 'true' or 'false'.")
            value = str(value).lower() == "true"
        values[name] = value
    return values


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _refuse_both_spellings(raw: Mapping[str, Any], message: Message) -> None:
    for name, kind in message.fields.items():
        other = _camel(name)
        if name != other and name in raw and other in raw:
            raise invalid(f"Request specifies both '{name}' and '{other}'; provide only one of them.")
        inner = kind.of if isinstance(kind, Repeated) else kind
        if isinstance(inner, Message):
            for item in _objects(raw.get(name, raw.get(other))):
                _refuse_both_spellings(item, inner)


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    for item in _items(value) or [value]:
        if isinstance(item, dict):
            yield cast("dict[str, Any]", item)


def _items(value: Any) -> Sequence[Any]:
    items: list[Any] = []
    if isinstance(value, list):
        items.extend(value)  # pyright: ignore[reportUnknownArgumentType]
    return items


def _fill(values: dict[str, Any], raw: object, message: Message) -> None:
    if not isinstance(raw, dict):
        raise _Unreadable
    spellings = {_camel(name): name for name in message.fields} | {name: name for name in message.fields}
    for spelling, value in cast("dict[str, Any]", raw).items():
        name = spellings.get(spelling)
        if name is None:
            continue
        kind = message.fields[name]
        if value is None:
            values.pop(name, None)
        elif isinstance(kind, Repeated):
            _fill_list(values.setdefault(name, []), value, kind.of)
        elif isinstance(kind, Message):
            _fill(values.setdefault(name, {}), value, kind)
        elif (scalar := _scalar(value, kind)) is not None:
            values[name] = scalar


def _fill_list(values: list[Any], raw: Any, of: str | Message) -> None:
    values.clear()
    if not isinstance(raw, list):
        raise _Unreadable
    for item in _items(raw):
        if isinstance(of, Message):
            values.append({})
            _fill(values[-1], item, of)
        else:
            values.append(_scalar(item, of))


def _scalar(value: object, kind: str | Enum) -> str | int | float | bool | None:
    """Return a value in its type; None for an unknown name of an enum, which is ignored."""
    if isinstance(kind, Enum):
        return _enum(value, kind)
    if kind in _INT_BITS:
        return _integer(value, _INT_BITS[kind])
    if kind == "double":
        return _double(value)
    if isinstance(value, bool if kind == "bool" else str):
        return value
    raise _Unreadable


def _integer(value: object, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Unreadable
    if isinstance(value, str) and " " in value:
        raise _Unreadable
    try:
        number = int(value) if isinstance(value, int | str) else value
    except ValueError:
        number = _double(value)
    if isinstance(number, float):
        if not number.is_integer():
            raise _Unreadable
        number = int(number)
    if not -(2**bits) <= number < 2**bits:
        raise _Unreadable
    return number


def _double(value: object) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        raise _Unreadable
    if value == "nan" or not isinstance(value, int | float | str):
        raise _Unreadable
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise _Unreadable from None


def _enum(value: object, kind: Enum) -> str | None:
    if isinstance(value, str) and value in kind.names:
        return value
    try:
        number = int(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    for name, its_number in kind.names.items():
        if number == its_number:
            return name
    raise _Unreadable


def _looks_right(value: object, field: Field) -> bool:
    """Check as the handlers do once protobuf has refused something."""
    kind = field.type
    if isinstance(kind, Repeated):
        items = _items(value)
        return isinstance(value, list) and (not field.items_checked or all(isinstance(item, str) for item in items))
    if isinstance(kind, Message):
        return True
    if isinstance(kind, Enum) or kind in ("string", "bool"):
        return isinstance(value, bool if kind == "bool" else str)
    if not isinstance(value, int | float | str):
        raise Refused("Internal Server Error", "INTERNAL_ERROR")
    try:
        float(value) if kind == "double" else int(value)
    except (ValueError, OverflowError):
        return False
    return True
