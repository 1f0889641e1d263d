"""The bytes of the ledger's values: checksum and canonical JSON, format 1."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, cast

from mlflow_utilities.rollout.document import (
    FORMAT,
    Burnt,
    Document,
    LiveEntry,
    Newer,
    OffEntry,
    Pointer,
    SlotValue,
    problem,
)
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["decode_slot", "encode_document", "encode_pointer"]

_CHECKSUM = 12
_SALT = re.compile(r"[0-9a-f]{8}")


def encode_document(document: Document) -> str:
    """Return the param value of a document: checksum and canonical JSON, ASCII only.

    The caller checks its length against `MAX_VALUE`.
    """
    body: dict[str, Any] = {
        "format": FORMAT,
        "generation": document.generation,
        "parent": document.parent,
        "op": document.op,
        "verb": document.verb,
        "who": document.who,
        "why": document.why,
        "at": document.at,
        "salt": document.salt,
        "live": {version: [_encode_live(entry) for entry in entries] for version, entries in document.live.items()},
        "off": [{"run": e.run, "status": e.status.name, "generation": e.generation} for e in document.off],
        "revoked": list(document.revoked),
    }
    if document.poll is not None:
        body["poll"] = document.poll
    if document.restores is not None:
        body["restores"] = document.restores
    return _seal(body)


def encode_pointer(pointer: Pointer) -> str:
    """Return the param value of a pointer."""
    return _seal({"format": FORMAT, "next": pointer.next, "op": pointer.op})


def decode_slot(value: str, slot: int) -> SlotValue:
    """Return what a param value says in slot number `slot`; never raises."""
    body = value[_CHECKSUM:]
    if _checksum(body) != value[:_CHECKSUM]:
        return Burnt("the checksum does not match")
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return Burnt("it is not JSON")
    if not isinstance(parsed, dict) or "format" not in parsed:
        return Burnt("it has no format")
    fields = cast("dict[str, Any]", parsed)
    if not (_is_int(fields["format"]) and fields["format"] == FORMAT):
        return Newer(f"its format is {_short(fields['format'])}, this release knows {FORMAT}")
    try:
        if "generation" not in fields and "next" in fields:
            return Pointer(next=_text(fields, "next"), op=_text(fields, "op"))
        document = _decode_document(fields)
    except _InvalidError as error:
        return Burnt(str(error))
    reason = problem(document, slot)
    return Burnt(reason) if reason else document


class _InvalidError(Exception):
    """A field is missing or of another type."""


def _decode_document(fields: dict[str, Any]) -> Document:
    salt = _text(fields, "salt")
    if not _SALT.fullmatch(salt):
        raise _InvalidError("salt is not 8 hex digits")
    live = {version: tuple(map(_decode_live, _list(entries, "live"))) for version, entries in _dict(fields, "live")}
    return Document(
        generation=_int(fields, "generation", 1),
        parent=_int(fields, "parent", 0),
        op=_text(fields, "op"),
        verb=_text(fields, "verb"),
        who=_text(fields, "who"),
        why=_text(fields, "why"),
        at=_text(fields, "at"),
        salt=salt,
        live=live,
        off=tuple(map(_decode_off, _list(fields.get("off"), "off"))),
        revoked=tuple(_string(run, "revoked") for run in _list(fields.get("revoked"), "revoked")),
        poll=_int(fields, "poll", 5, 3600) if "poll" in fields else None,
        restores=_int(fields, "restores") if "restores" in fields else None,
    )


def _decode_live(item: object) -> LiveEntry:
    fields = _entry(item)
    bounds = _list(fields.get("slots"), "slots")
    if len(bounds) % 2 or not all(map(_is_int, bounds)):
        raise _InvalidError("slots are not pairs of integers")
    pairs = tuple(zip(bounds[::2], bounds[1::2], strict=True))
    status = _status(fields, ModelStatus.Active, ModelStatus.Canary)
    return LiveEntry(_text(fields, "run"), status, pairs, _int(fields, "mirror", 0, TOTAL))


def _decode_off(item: object) -> OffEntry:
    fields = _entry(item)
    status = _status(fields, ModelStatus.Disabled, ModelStatus.New)
    return OffEntry(_text(fields, "run"), status, _int(fields, "generation"))


def _encode_live(entry: LiveEntry) -> dict[str, Any]:
    flat = [bound for pair in entry.slots for bound in pair]
    return {"run": entry.run, "status": entry.status.name, "slots": flat, "mirror": entry.mirror}


def _seal(body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return _checksum(text) + text


def _checksum(body: str) -> str:
    return sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:_CHECKSUM]


def _short(value: object) -> str:
    return repr(value)[:40] if isinstance(value, (int, float, str)) else f"a {type(value).__name__}"


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _int(fields: dict[str, Any], name: str, low: int | None = None, high: int | None = None) -> int:
    value = fields.get(name)
    if not _is_int(value):
        raise _InvalidError(f"{name} is not an integer")
    number = cast("int", value)
    if (low is not None and number < low) or (high is not None and number > high):
        raise _InvalidError(f"{name} is out of range")
    return number


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _InvalidError(f"{name} is not text")
    return value


def _text(fields: dict[str, Any], name: str) -> str:
    return _string(fields.get(name), name)


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _InvalidError(f"{name} is not a list")
    return [*value]  # pyright: ignore[reportUnknownVariableType]


def _entry(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _InvalidError("an entry is not an object")
    return cast("dict[str, Any]", value)


def _dict(fields: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    return list(_entry(fields.get(name)).items())


def _status(fields: dict[str, Any], *allowed: ModelStatus) -> ModelStatus:
    for status in allowed:
        if fields.get("status") == status.name:
            return status
    raise _InvalidError("status is not one of those allowed here")
