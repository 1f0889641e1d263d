"""The same exchange with the in-memory MLflow and with a real server, and what both say, made comparable."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from mlflow_utilities.testing.in_memory.exchange import Request
from mlflow_utilities.testing.in_memory.routes import answer
from mlflow_utilities.testing.in_memory.state import State

__all__ = ["Exchange", "Said", "Twins", "get", "post"]

# What the two make up by themselves: times of their clocks, and names of runs without one.
_TIMES = frozenset(
    {
        "creation_time", "last_update_time", "creation_timestamp", "last_updated_timestamp",
        "creation_timestamp_ms", "last_updated_timestamp_ms",
    }
)  # fmt: skip
_RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request: `fields` is the query of a GET, else the JSON body; bytes are sent as they are.

    `path` is one below /api/2.0/mlflow/, or begins with a slash.

    A "$name" stands for a value that an earlier answer gave; `keep` names values of this one by their path in it,
    as in {"run": "run.info.run_id"}.
    """

    method: str
    path: str
    fields: Any = field(default_factory=dict[str, Any])
    keep: Mapping[str, str] = field(default_factory=dict[str, str])
    content_type: str | None = "application/json"

    def __str__(self) -> str:
        kind = "" if self.content_type == "application/json" else f" as {self.content_type}"
        return f"{self.method} {self.path} {self.fields}{kind}"


def post(path: str, keep: Mapping[str, str] | None = None, /, **fields: Any) -> Exchange:
    """Return a POST with a JSON body."""
    return Exchange("POST", path, fields, keep or {})


def get(path: str, keep: Mapping[str, str] | None = None, /, **fields: Any) -> Exchange:
    """Return a GET with a query."""
    return Exchange("GET", path, fields, keep or {})


@dataclass(frozen=True, slots=True)
class Said:
    """What a server said: the code of an error, or the answer without what it made up by itself."""

    status: int
    error_code: str | None = None
    value: Any = None


class Twins:
    """Both servers; names for the values that each of them gave, e.g. of a run that both created."""

    def __init__(self, uri: str, state: State | None = None) -> None:
        self.state = State() if state is None else state
        # MLflow closes the connection after some errors without saying so.
        self.http = httpx.Client(base_url=uri, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
        self._real: dict[str, str] = {}
        self._memory: dict[str, str] = {}

    def close(self) -> None:
        """Close the connection with the real server."""
        self.http.close()

    def name(self, **values: str) -> None:
        """Let "$name" stand for a value on both sides."""
        self._real.update(values)
        self._memory.update(values)

    def both(self, exchange: Exchange) -> tuple[Said, Said]:
        """Return what the real server says, and what the one in memory does."""
        return self._ask_real(exchange), self._ask_memory(exchange)

    def same(self, exchange: Exchange) -> Said:
        """Return what both say; it is an error when they differ."""
        real, memory = self.both(exchange)
        assert memory == real, f"{exchange}: " + next(
            _differences((real.status, real.error_code, real.value), (memory.status, memory.error_code, memory.value))
        )
        return real

    def _ask_real(self, exchange: Exchange) -> Said:
        path, query, body, headers = _written(exchange, self._real)
        response = self.http.request(exchange.method, path, params=query, content=body, headers=headers)
        return self._understood(exchange, response.status_code, response.content, self._real)

    def _ask_memory(self, exchange: Exchange) -> Said:
        path, query, body, headers = _written(exchange, self._memory)
        url = urlsplit(str(httpx.URL("http://test" + path, params=query)))
        request = Request(
            exchange.method, unquote(url.path), parse_qs(url.query, keep_blank_values=True), headers, body or b""
        )
        said = answer(self.state, request)
        return self._understood(exchange, said.status, said.body, self._memory)

    def _understood(self, exchange: Exchange, status: int, body: bytes, names: dict[str, str]) -> Said:
        try:
            value = json.loads(body) if body else None
        except ValueError:
            return Said(status, value=body.decode() if status < 300 else None)
        if status >= 400:
            return Said(
                status, value.get("error_code", "detail" if "detail" in value else None) if status < 500 else None
            )
        for name, path in exchange.keep.items():
            names[name] = _at(value, path)
        return Said(status, value=_comparable(value, {text: f"${name}" for name, text in names.items()}))


def _written(
    exchange: Exchange, names: Mapping[str, str]
) -> tuple[str, dict[str, Any] | None, bytes | None, dict[str, str]]:
    path = _filled(exchange.path, names)
    path = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
    headers = {} if exchange.content_type is None else {"content-type": exchange.content_type}
    if isinstance(exchange.fields, bytes):
        return path, None, exchange.fields, headers
    fields = _filled(exchange.fields, names)
    if exchange.method == "GET":
        return path, fields, None, {}
    return path, None, json.dumps(fields).encode(), headers


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    """Put values where their names stand."""
    if isinstance(value, str):
        return re.sub(r"\$(\w+)", lambda match: names.get(match[1], match[0]), value)
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if isinstance(value, dict):
        return {_filled(key, names): _filled(item, names) for key, item in value.items()}
    return value


def _at(value: Any, path: str) -> str:
    for step in path.split("."):
        value = value[int(step)] if step.isdigit() else value[step]
    return str(value)


def _comparable(value: Any, names: Mapping[str, str], key: str = "") -> Any:
    """Put names where their values stand, and leave out what the two cannot agree on."""
    if isinstance(value, dict):
        return {name: _comparable(item, names, name) for name, item in value.items()}
    if isinstance(value, list):
        items = [_comparable(item, names, "experiment_id" if key == "experiment_ids" else "") for item in value]
        # In which order tags, params and metrics are listed is nowhere promised.
        return sorted(items, key=_order) if key in ("tags", "params", "metrics", "aliases") else items
    if key in _TIMES:
        return "a time"
    if key == "next_page_token" and "experiment_ids" in (held := json.loads(base64.b64decode(value))):
        return _comparable(held, names)
    if isinstance(value, str):
        for text in sorted(names, key=len, reverse=True):
            # A short one, as the id of an experiment, may be something else elsewhere.
            if len(text) >= 16:
                value = value.replace(text, names[text])
            elif key == "experiment_id" and value == text:
                value = names[text]
            elif value.startswith("mlflow-artifacts:"):
                value = re.sub(rf"(?<=/){re.escape(text)}(?=/|$)", names[text], value)
        return "a name" if _RANDOM_NAME.fullmatch(value) else value
    return value


def _differences(real: Any, memory: Any, path: str = "") -> Iterator[str]:
    """Say where the two differ."""
    if isinstance(real, dict) and isinstance(memory, dict) and real.keys() == memory.keys():
        for key in real:
            yield from _differences(real[key], memory[key], f"{path}.{key}")
    elif isinstance(real, list | tuple) and isinstance(memory, list | tuple) and len(real) == len(memory):
        for at, (one, other) in enumerate(zip(real, memory, strict=True)):
            yield from _differences(one, other, f"{path}.{at}")
    elif real != memory:
        yield f"at {path or 'all'}, MLflow: {real!r}, in memory: {memory!r}"


def _order(item: Any) -> tuple[str, str]:
    # The history of a metric has one key, and its order counts.
    return (str(item.get("key", item.get("alias", ""))) if isinstance(item, dict) else "", "")
