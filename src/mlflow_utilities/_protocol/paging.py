"""Reading a page of results one element at a time, so that a long page never stops the event loop for long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from mlflow_utilities.errors import ProtocolError

__all__ = ["PageReader"]

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


class PageReader:
    """Iterates over the raw elements of the list `key`; `token` is known once the iteration ended."""

    def __init__(self, body: bytes, key: str) -> None:
        self._text = body.decode("utf-8", "replace").strip()
        self._key = key
        self.token: str | None = None

    def __iter__(self) -> Iterator[Any]:
        text = self._text
        if not text:
            return
        if not (text.startswith("{") and text.endswith("}")):
            raise ProtocolError(f"the answer is not a JSON object: {text[:80]!r}")
        try:
            yield from self._members(text)
        except (ValueError, IndexError) as error:
            raise ProtocolError(f"the answer is not JSON: {error}") from error

    def _members(self, text: str) -> Iterator[Any]:
        position = _skip(text, 1)
        while text[position] != "}":
            name, position = _decode(text, position)
            position = _skip(text, _expect(text, _skip(text, position), ":"))
            if name == self._key and text[position] == "[":
                position = _skip(text, position + 1)
                while text[position] != "]":
                    value, position = _decode(text, position)
                    yield value
                    position = _next(text, position, "]")
                position += 1
            else:
                value, position = _decode(text, position)
                if name == "next_page_token":
                    self.token = value or None
            position = _next(text, position, "}")


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _expect(text: str, position: int, character: str) -> int:
    if text[position] != character:
        raise ValueError(f"expected {character!r} at character {position}")
    return position + 1


def _next(text: str, position: int, end: str) -> int:
    position = _skip(text, position)
    if text[position] == ",":
        return _skip(text, position + 1)
    if text[position] != end:
        raise ValueError(f"expected ',' or {end!r} at character {position}")
    return position
