"""The Authorization header."""

from __future__ import annotations

import functools
import threading
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mlflow_utilities.auth import Authenticator, make_authenticator
from mlflow_utilities.config import Settings
from mlflow_utilities.errors import ClientStateError, ConfigurationError

pytestmark = pytest.mark.anyio


def authenticator(**options: Any) -> Authenticator:
    """Make what gives the header for these settings."""
    return make_authenticator(Settings("http://mlflow.test", **options))


async def test_no_credentials_send_no_header() -> None:
    """And there is nothing to refresh or to hide."""
    nobody = authenticator()
    assert await nobody.header() == (None, 0)
    assert not await nobody.refresh(0)
    assert nobody.secrets() == ()


async def test_user_and_password_are_basic() -> None:
    """As UTF-8; the password and its encoded pair are secret."""
    basic = authenticator(username="änne", password="p:w")
    assert await basic.header() == (b"Basic w6RubmU6cDp3", 0)
    assert not await basic.refresh(0)
    assert basic.secrets() == ("p:w", "w6RubmU6cDp3")


async def test_a_text_is_a_bearer_token() -> None:
    """It never changes."""
    bearer = authenticator(token="abc")
    assert await bearer.header() == (b"Bearer abc", 0)
    assert not await bearer.refresh(0)
    assert bearer.secrets() == ("abc",)


class AsyncSource:
    """An object whose call is async."""

    async def __call__(self) -> str:
        """Return a token."""
        await checkpoint()
        return "abc"


async def as_function() -> str:
    """Return a token."""
    await checkpoint()
    return "abc"


async def with_argument(token: str) -> str:
    """Return a given token."""
    return token


@pytest.mark.parametrize(
    "source",
    [lambda: "abc", as_function, AsyncSource(), functools.partial(with_argument, "abc"), "abc".lower],
    ids=["function", "async function", "object", "partial", "method"],
)
async def test_a_token_may_come_from_anything_callable(source: Any) -> None:
    """Sync ones run in a worker thread, async ones on the loop."""
    assert await authenticator(token=source).header() == (b"Bearer abc", 1)


async def test_a_sync_callable_does_not_run_on_the_event_loop() -> None:
    """It may read a file or ask a server."""
    threads: list[int] = []

    def source() -> str:
        threads.append(threading.get_ident())
        return "abc"

    await authenticator(token=source).header()
    assert threads != [threading.get_ident()]


async def test_a_callable_that_hangs_holds_nobody_up() -> None:
    """A call that runs out of time does not wait for the thread."""
    begun, end = threading.Event(), threading.Event()

    def source() -> str:
        begun.set()
        end.wait(60)
        return "abc"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(authenticator(token=source).header)
        assert await anyio.to_thread.run_sync(begun.wait, 60)
        tasks.cancel_scope.cancel()
    assert not end.is_set()
    end.set()


async def test_callers_share_a_fetch() -> None:
    """The first token, and the one after a refusal, are fetched once for all who wait."""
    fetched = 0

    async def source() -> str:
        nonlocal fetched
        fetched += 1
        await anyio.wait_all_tasks_blocked()
        return f"token-{fetched}"

    fetching = authenticator(token=source)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(fetching.header)
    assert await fetching.header() == (b"Bearer token-1", 1)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(fetching.refresh, 1)
    assert await fetching.header() == (b"Bearer token-2", 2)
    assert fetched == 2
    assert fetching.secrets() == ("token-2", "token-1")


async def test_a_cancelled_fetch_is_taken_over() -> None:
    """Who fetched may go away; the next one fetches."""
    calls = 0

    async def source() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await anyio.sleep_forever()
        return "abc"

    fetching = authenticator(token=source)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetching.header)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()

    assert await fetching.header() == (b"Bearer abc", 1)


@pytest.mark.parametrize(
    ("returned", "match"),
    [(None, "is empty, or a NoneType"), ("", "is empty"), (b"abc", "or a bytes"), ("a\nb", "no header can hold")],
)
async def test_what_is_no_token_is_refused(returned: Any, match: str) -> None:
    """The error says what the callable gave, but for the token itself."""
    with pytest.raises(ConfigurationError, match=match):
        await authenticator(token=lambda: returned).header()


async def test_a_callable_that_fails_is_named() -> None:
    """Its own error is the cause; errors of this package pass as they are."""

    def broken() -> str:
        raise OSError("no such file")

    def ours() -> str:
        raise ClientStateError("closed")

    with pytest.raises(ConfigurationError, match="the token callable raised OSError") as caught:
        await authenticator(token=broken).header()
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(ClientStateError):
        await authenticator(token=ours).header()


@pytest.mark.parametrize("token", ["a\nb", "ä", "a\0"])
def test_a_text_that_no_header_can_hold_is_refused(token: str) -> None:
    """At construction, and without showing it."""
    with pytest.raises(ConfigurationError, match="no header can hold"):
        authenticator(token=token)
