"""One page of a search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar, overload

__all__ = ["Page"]

T = TypeVar("T")


class Page(Sequence[T], Generic[T]):
    """The results of one page; `token` asks for the next one and is None on the last."""

    __slots__ = ("_items", "token")

    def __init__(self, items: Iterable[T], token: str | None = None) -> None:
        self._items = list(items)
        self.token = token or None

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Page):
            return self._items == other._items and self.token == other.token  # pyright: ignore[reportUnknownMemberType]
        return self._items == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Page({self._items!r}, token={self.token!r})"
