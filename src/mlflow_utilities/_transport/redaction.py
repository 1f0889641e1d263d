"""Keeping secrets out of errors: servers, proxies and libraries repeat what they were sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar
from urllib.parse import quote, quote_plus

from mlflow_utilities.errors import MlflowUtilitiesError

__all__ = ["redact"]

E = TypeVar("E", bound=MlflowUtilitiesError)

_SHORTEST = 4


def redact(error: E, secrets: Iterable[str]) -> E:
    """Replace the secrets in the messages of an error, and of the errors that led to it.

    Secrets shorter than four characters stay: replacing each "a" would hide nothing.
    """
    forms = _spellings(secrets)
    for link in _chain(error):
        if any(form in str(link) or form in repr(link) for form in forms):
            link.args = tuple(_without(item, forms) if isinstance(item, str) else item for item in link.args)
            if isinstance(link, MlflowUtilitiesError):
                link.message = _without(link.message, forms)
    return error


def _spellings(secrets: Iterable[str]) -> list[str]:
    """Return the secrets as they may appear in a text: as they are, quoted for a URL, escaped by repr."""
    found = {
        form
        for secret in secrets
        for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1])
        if len(secret) >= _SHORTEST
    }
    return sorted(found, key=len, reverse=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__]


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
