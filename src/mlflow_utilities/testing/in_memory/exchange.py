"""A request and an answer, whatever carried them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow_utilities.testing.in_memory.refusals import Refused

__all__ = ["Answer", "Request", "html", "json_answer", "refusal"]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `path` begins with a slash and is decoded, header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def json_answer(value: Mapping[str, Any], status: int = 200) -> Answer:
    """Return an answer as MLflow's handlers give it, without their indentation, which takes most of the time."""
    body = json.dumps(value).encode()
    return Answer(status, body, {"content-type": "application/json"})


def refusal(refused: Refused) -> Answer:
    """Return the answer that says no."""
    return json_answer({"error_code": refused.error_code, "message": refused.message}, refused.status)


def html(status: int, title: str) -> Answer:
    """Return the web framework's own page, as for an unknown route."""
    page = f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n"
    return Answer(status, page.encode(), {"content-type": "text/html; charset=utf-8"})
