"""Documents of the ledger for tests: the published example, small ones, arbitrary valid ones, sealed JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st

from mlflow_utilities.rollout.document import Document, LiveEntry, OffEntry
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["EXAMPLE", "EXAMPLE_VALUE", "active", "body_of", "canary", "document", "documents", "seal", "sealed"]

RUNS = [digit * 2 * 16 for digit in "0123456789abcdef"]

EXAMPLE_VALUE = (
    '8e316969da4b{"at":"2026-11-23T09:30:00Z","format":1,"generation":18,"live":{"1.4.0":['
    '{"mirror":0,"run":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","slots":[0,7000],"status":"Active"},'
    '{"mirror":0,"run":"1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b","slots":[7000,10000],"status":"Active"},'
    '{"mirror":500,"run":"2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c","slots":[],"status":"Canary"}]},'
    '"off":[{"generation":18,"run":"3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d","status":"Disabled"}],'
    '"op":"9f2c4e1ab07d3356","parent":17,"poll":30,"revoked":[],"salt":"5f1c9a77","verb":"update_active_runs",'
    '"who":"ana@example.org","why":"1.5 B looks good"}'
)


def active(run: str, *bounds: int) -> LiveEntry:
    """Return an Active run with the slots from, to, from, to, ...; all of them by default."""
    flat = bounds or (0, TOTAL)
    return LiveEntry(run, ModelStatus.Active, tuple(zip(flat[::2], flat[1::2], strict=True)), 0)


def canary(run: str, mirror: int = 500) -> LiveEntry:
    """Return a Canary run."""
    return LiveEntry(run, ModelStatus.Canary, (), mirror)


def document(generation: int = 1, live: Mapping[str, tuple[LiveEntry, ...]] | None = None, **fields: Any) -> Document:
    """Return a valid document, by default with one Active run."""
    given: dict[str, Any] = {
        "parent": generation - 1,
        "op": f"{generation:016x}",
        "verb": "enable_run",
        "who": "ana",
        "why": "",
        "at": "2026-11-23T09:30:00Z",
        "salt": "5f1c9a77",
        "live": {"1.0.0": (active(RUNS[0]),)} if live is None else live,
    }
    return Document(generation, **{**given, **fields})


EXAMPLE = document(
    18,
    {
        "1.4.0": (
            active("0a" * 16, 0, 7000),
            active("1b" * 16, 7000, TOTAL),
            canary("2c" * 16),
        )
    },
    op="9f2c4e1ab07d3356",
    verb="update_active_runs",
    who="ana@example.org",
    why="1.5 B looks good",
    off=(OffEntry("3d" * 16, ModelStatus.Disabled, 18),),
    poll=30,
)


def seal(body: str) -> str:
    """Return the value with the right checksum before any text."""
    return sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:12] + body


def sealed(fields: object) -> str:
    """Return the value of an object, canonical and with the right checksum."""
    return seal(json.dumps(fields, sort_keys=True, separators=(",", ":")))


def body_of(value: str) -> dict[str, Any]:
    """Return the JSON of a value."""
    return dict(json.loads(value[12:]))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Draw a valid document: splits of up to four runs, canaries, runs that left, revoked ones."""
    runs = list(draw(st.permutations(RUNS)))
    live: dict[str, tuple[LiveEntry, ...]] = {}
    for version in draw(st.lists(st.sampled_from(["1.0.0", "1.4.0", "2.0.0-rc.1"]), unique=True)):
        cuts = sorted(draw(st.sets(st.integers(1, TOTAL - 1), max_size=5)))
        pairs = list(zip([0, *cuts], [*cuts, TOTAL], strict=True))
        count = draw(st.integers(0, min(3, len(pairs))))
        owned = [tuple(pairs[index::count]) for index in range(count)]
        entries = [LiveEntry(runs.pop(), ModelStatus.Active, ranges, 0) for ranges in owned]
        mirrors = draw(st.lists(st.integers(0, TOTAL), min_size=0 if entries else 1, max_size=2))
        live[version] = (*entries, *(canary(runs.pop(), mirror) for mirror in mirrors))
    generation = draw(st.integers(1, 999_999_999))
    gone = draw(st.lists(st.sampled_from(runs), unique=True)) if runs else []
    status = st.sampled_from([ModelStatus.Disabled, ModelStatus.New])
    return document(
        generation,
        live,
        parent=draw(st.integers(0, generation - 1)),
        op=draw(st.from_regex(r"[0-9a-f]{16}", fullmatch=True)),
        who=draw(st.text(max_size=100)),
        why=draw(st.text(max_size=200)),
        off=tuple(OffEntry(run, draw(status), draw(st.integers(1, generation))) for run in gone),
        revoked=tuple(draw(st.lists(st.sampled_from(runs), unique=True))) if runs else (),
        poll=draw(st.none() | st.integers(5, 3600)),
        restores=draw(st.none() | st.integers(1, generation)),
    )
