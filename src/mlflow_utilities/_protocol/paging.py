"""Reading a page of results one element at a time, so that a long page never stops the event loop for long."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any

from mlflow_utilities.errors import ProtocolError

__all__ = ["PageReader"]

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


class PageReader:
    """Iterates over the raw elements of the list `key`; `token` is known once the iteration ended.

    Raises ProtocolError for a body that is not a JSON object, or in which `key` is not a list. A body without `key`
    has no elements: MLflow leaves empty lists out.
    """

    def __init__(self, body: bytes, key: str) -> None:
        self._body = body
        self._key = key
        self.token: str | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            text = self._body.decode().strip(" \t\n\r")
        except UnicodeDecodeError as error:
            raise ProtocolError(f"the answer is not UTF-8: {error}") from error
        if not (text.startswith("{") and text.endswith("}")):
            raise ProtocolError(f"the answer is not a JSON object: {text[:80]!r}")
        try:
            yield from self._members(text)
        except (ValueError, IndexError, RecursionError) as error:
            raise ProtocolError(f"the answer is not JSON: {error}") from error

    def _members(self, text: str) -> Iterator[Any]:
        position = _skip(text, 1)
        more = text[position] != "}"
        while more:
            _expect(text, position, '"')
            name, position = _decode(text, position)
            position = _skip(text, _expect(text, _skip(text, position), ":"))
            if name == self._key and text[position] == "[":
                position = yield from _elements(text, position)
            else:
                value, position = _decode(text, position)
                self._other_member(name, value)
            more, position = _next(text, position, "}")
        if position != len(text) - 1:
            raise ValueError(f"something follows the object at character {position + 1}")

    def _other_member(self, name: str, value: Any) -> None:
        if name == self._key and value is not None:
            raise ProtocolError(f"{name} is not a list: {str(value)[:80]}")
        if name == "next_page_token":
            if not isinstance(value, str | None):
                raise ProtocolError(f"the page token is not text: {str(value)[:80]}")
            self.token = value or None


def _elements(text: str, position: int) -> Generator[Any, None, int]:
    """Yield the elements of the list that begins at `position`; return where it ended."""
    position = _skip(text, position + 1)
    more = text[position] != "]"
    while more:
        value, position = _decode(text, position)
        yield value
        more, position = _next(text, position, "]")
    return position + 1


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _expect(text: str, position: int, character: str) -> int:
    if text[position] != character:
        raise ValueError(f"expected {character!r} at character {position}")
    return position + 1


def _next(text: str, position: int, end: str) -> tuple[bool, int]:
    """Return whether a comma promises another element, and where it begins, or where `end` is."""
    position = _skip(text, position)
    if text[position] == ",":
        return True, _skip(text, position + 1)
    _expect(text, position, end)
    return False, position
