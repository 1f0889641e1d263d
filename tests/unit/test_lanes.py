"""Lanes: what they do to a connection between the head and the body of an answer."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from mlflow_utilities._transport.lanes import OwnLane

pytestmark = pytest.mark.anyio


class Connection:
    """A socket that remembers its options, and may be closed already."""

    def __init__(self, *, closed: bool = False) -> None:
        self.options: list[tuple[int, int, int]] = []
        self._closed = closed

    def setsockopt(self, *option: int) -> None:
        """Remember an option."""
        if self._closed:
            raise OSError("closed")
        self.options.append(option)  # type: ignore[arg-type]


class Transport:
    """Answers with a response whose connection it has."""

    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection

    async def handle_async_request(self, request: object) -> Any:
        """Return the response."""
        stream = SimpleNamespace(get_extra_info=lambda name: self._connection if name == "socket" else None)
        return SimpleNamespace(extensions={"network_stream": stream}, request=request)


async def test_the_head_of_an_answer_is_acknowledged_at_once() -> None:
    """Where the system has the option; elsewhere nothing is done."""
    connection = Connection()
    await OwnLane(Transport(connection)).exchange("request")

    option = getattr(socket, "TCP_QUICKACK", None)
    assert connection.options == ([] if option is None else [(socket.IPPROTO_TCP, option, 1)])


@pytest.mark.parametrize("connection", [None, Connection(closed=True)], ids=["no socket", "closed"])
async def test_an_answer_without_a_usable_socket_is_returned_all_the_same(connection: Connection | None) -> None:
    """The option saves time; an answer does not depend on it."""
    response = await OwnLane(Transport(connection)).exchange("request")

    assert response.request == "request"
