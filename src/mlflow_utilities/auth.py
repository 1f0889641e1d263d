"""The Authorization header: basic, a fixed bearer token, or tokens that are fetched and refreshed."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Awaitable
from typing import Protocol, cast

import anyio
import anyio.to_thread

from mlflow_utilities.config import Settings
from mlflow_utilities.errors import ConfigurationError, MlflowUtilitiesError
from mlflow_utilities.typing import TokenSource

__all__ = ["Authenticator", "make_authenticator"]


class Authenticator(Protocol):
    """Gives the Authorization header of a request."""

    async def header(self) -> tuple[bytes | None, int]:
        """Return the header's value, and a number that stands for these credentials."""
        ...

    async def refresh(self, used: int) -> bool:
        """Replace the credentials `used`, which the server refused; return whether trying again makes sense."""
        ...

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must not appear in any message."""
        ...


class FixedCredentials:
    """Credentials that never change."""

    def __init__(self, value: bytes | None, *secrets: str) -> None:
        self._value = value
        self._secrets = secrets

    async def header(self) -> tuple[bytes | None, int]:
        """Return the header's value."""
        return self._value, 0

    async def refresh(self, used: int) -> bool:
        """Return False: there is nothing newer."""
        return False

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must not appear in any message."""
        return self._secrets


class FetchedToken:
    """A bearer token from a callable; fetched once, and once more after each 401, whoever asks for it."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token: str | None = None
        self._generation = 0
        self._lock = anyio.Lock()
        self._known: tuple[str, ...] = ()

    async def header(self) -> tuple[bytes | None, int]:
        """Return the header's value; the first call fetches the token."""
        if self._token is None:
            await self.refresh(0)
        return f"Bearer {self._token}".encode(), self._generation

    async def refresh(self, used: int) -> bool:
        """Fetch a token unless somebody did since `used`; calls that wait share one fetch."""
        async with self._lock:
            if self._generation == used:
                self._token = _checked(await self._fetch())
                self._generation += 1
                self._known = (self._token, *self._known[:1])
        return True

    async def _fetch(self) -> object:
        source = self._source
        assert not isinstance(source, str)
        try:
            if inspect.iscoroutinefunction(source):
                return await source()
            # In a tuple, for trio refuses functions in threads that return something to await.
            (got,) = await anyio.to_thread.run_sync(lambda: (source(),), abandon_on_cancel=True)
            return await cast("Awaitable[object]", got) if inspect.isawaitable(got) else got
        except MlflowUtilitiesError:
            raise
        except Exception as error:
            raise ConfigurationError(f"the token callable raised {type(error).__name__}") from error

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must not appear in any message: a call may still use the token before."""
        return self._known


def _checked(token: object) -> str:
    if not isinstance(token, str) or not token:
        raise ConfigurationError(f"the token is empty, or a {type(token).__name__}", hint="give one line of text")
    if not (token.isascii() and token.isprintable()):
        raise ConfigurationError("the token holds characters that no header can hold", hint="check for a newline")
    return token


def make_authenticator(settings: Settings) -> Authenticator:
    """Return what gives the Authorization header for these settings.

    Raises:
        ConfigurationError: the token cannot be sent in a header.

    """
    if settings.username is not None:
        password = settings.password or ""
        pair = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
        return FixedCredentials(f"Basic {pair}".encode(), password, pair)
    if settings.token is None:
        return FixedCredentials(None)
    if isinstance(settings.token, str):
        token = _checked(settings.token)
        return FixedCredentials(f"Bearer {token}".encode(), token)
    return FetchedToken(settings.token)
