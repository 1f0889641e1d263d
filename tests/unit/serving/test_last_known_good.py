"""The last-known-good file: what was written is read, and anything else is refused with the reason."""

from __future__ import annotations

import fcntl
import json
import math
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities import ArtifactError
from mlflow_utilities.rollout.codec import encode_pointer
from mlflow_utilities.rollout.document import Document, Pointer, problem
from mlflow_utilities.rollout.facts import read_facts
from mlflow_utilities.serving.last_known_good import (
    MOST_BYTES,
    Identity,
    LastKnownGood,
    StoredModel,
    as_document,
    parse,
    path_of,
    read,
    write,
)
from support.documents import documents
from support.rollouts import EXPERIMENT, SUBMODEL, active, canary, document, facts

IDENTITY = Identity("http://mlflow.example:5000", "fraud models", SUBMODEL, "^1.0")
RUN, SHADOW = "a" * 32, "b" * 32


def stored(run: str, version: str = "1.0.0", location: str | None = None, **given: Any) -> StoredModel:
    """Return a model as it is kept."""
    return StoredModel(dict(facts(run, version, **given).raw), f"runs:/{run}/model", location)


def content(**changed: Any) -> LastKnownGood:
    """Return what a service with one Active and one Canary run keeps."""
    live = {"1.0.0": (active(RUN, (0, 10_000)), canary(SHADOW, 500))}
    tags = {"note": "Grüße \N{SNOWMAN} \U0001f600 \"'\\\n\x00", "lone": "\ud800"}
    models = (stored(RUN, location="mlflow-artifacts:/7/models/m-1", tags=tags), stored(SHADOW))
    kept = LastKnownGood(IDENTITY, EXPERIMENT, SUBMODEL, document(live), models, 1_790_000_000_000)
    return replace(kept, **changed)


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with the right checksum, as the format says."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return {**rest, "sha256": sha256(text.encode()).hexdigest()}


def refused(action: Callable[[], object]) -> str:
    """Return why something is refused."""
    with pytest.raises(ArtifactError) as caught:
        action()
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of the file."""
    return path_of(tmp_path / "cache", IDENTITY)


def test_what_was_written_is_read_and_nobody_else_may_read_it(path: Path) -> None:
    """The content comes back equal; the file has mode 0600, its directory 0700, and nothing else lies there."""
    write(path, content())
    write(path, content(adopted_at=5))

    assert read(path, IDENTITY) == content(adopted_at=5)
    assert read(path, None, submodel_name=SUBMODEL) == content(adopted_at=5)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


@given(documents(), st.booleans())
def test_every_document_comes_back(found: Document, legacy: bool) -> None:
    """Any valid document is kept exactly, also generation 0, which stands for experiments without a ledger."""
    if legacy:
        found = replace(found, generation=0, parent=0)
    kept = content(document=found, models=())

    assert problem(found, found.generation) is None
    assert parse(as_document(kept)) == kept
    assert parse(json.loads(json.dumps(as_document(kept), indent=1))) == kept


def test_revoked_runs_come_back_and_older_files_have_none(path: Path) -> None:
    """A file of a release that did not remember them is read, too."""
    write(path, content(revoked=(RUN,)))
    older = sealed({name: value for name, value in as_document(content()).items() if name != "revoked"})

    assert read(path, IDENTITY).revoked == (RUN,)
    assert parse(older) == content()


def test_numbers_that_json_does_not_have_come_back(path: Path) -> None:
    """A metric that is not a number, however the server spelt it, does not keep the file from being written."""
    models = (stored(RUN, metrics={"loss": float("nan"), "gain": float("inf")}),)
    write(path, content(models=models))

    (found,) = read(path, IDENTITY).models
    metrics = read_facts(found.raw).metrics
    assert math.isnan(metrics["loss"])
    assert metrics["gain"] == math.inf


def test_identities_never_share_a_file() -> None:
    """Another server, experiment, submodel or range is another path, also when their texts run into each other."""
    identities = [
        IDENTITY,
        *(replace(IDENTITY, **{name: "x"}) for name in ("tracking_uri", "experiment", "submodel", "versions")),
        Identity("a", "bc", "d", "e"),
        Identity("ab", "c", "d", "e"),
        Identity("../..", "/", "\ud800", "\x00"),
    ]
    paths = {path_of(Path("cache"), identity) for identity in identities}

    assert len(paths) == len(identities)
    assert {path.parent for path in paths} == {Path("cache/last-known-good")}


@pytest.mark.parametrize("name", ["tracking_uri", "experiment", "submodel", "versions"])
def test_the_file_of_another_service_is_refused(path: Path, name: str) -> None:
    """The reason names what differs, and both values."""
    write(path, content())

    reason = refused(lambda: read(path, replace(IDENTITY, **{name: "another"})))

    assert f"{name} is {getattr(IDENTITY, name)!r}, not 'another'" in reason
    assert str(path) in reason


def test_a_bootstrap_document_of_another_submodel_is_refused(path: Path) -> None:
    """A file or a document that no identity is compared with must still be of the submodel that is asked for."""
    write(path, content())

    assert "of submodel 'fraud', not 'other'" in refused(lambda: read(path, None, submodel_name="other"))
    assert "of submodel 'fraud', not 'other'" in refused(lambda: parse(as_document(content()), submodel_name="other"))


def test_a_flipped_bit_anywhere_is_refused_or_changes_nothing(path: Path) -> None:
    """No single damaged bit of the file gives other content."""
    write(path, content())
    data = path.read_bytes()
    refusals = 0
    for position in range(len(data)):
        for bit in (1, 2, 32, 128):
            damaged = bytearray(data)
            damaged[position] ^= bit
            path.write_bytes(damaged)
            try:
                assert read(path, None) == content()
            except ArtifactError:
                refusals += 1
    assert refusals > 3.9 * len(data)


def test_a_file_that_ends_too_early_is_refused(path: Path) -> None:
    """Wherever the file was cut, except before its final line feed, it is refused."""
    write(path, content())
    data = path.read_bytes()
    for length in range(len(data) - 1):
        path.write_bytes(data[:length])
        refused(lambda: read(path, IDENTITY))
    path.write_bytes(data[:-1])
    assert read(path, IDENTITY) == content()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"null", b"[]", b'"text"', b"1e999", b"\xff\xfe", b"{}", b'{"format":true}', b'{"format":1.0}',
        b'{"format":' + b"9" * 5000 + b"}", b"[" * 200_000, b'{"format":1}' * 2, b'{"format":1,"sha256":1}',
        b'{"format":1,"sha256":"\xc3\x28"}',
    ],
    ids=lambda data: f"{data[:16]!r} {len(data)}",
)  # fmt: skip
def test_what_is_no_such_file_is_refused(path: Path, data: bytes) -> None:
    """Whatever lies there in place of the file is refused as an ArtifactError with the path."""
    path.parent.mkdir(parents=True)
    path.write_bytes(data)

    assert str(path) in refused(lambda: read(path, IDENTITY))


def test_a_newer_format_is_refused(path: Path) -> None:
    """A file of a later release is refused by its number, whatever else it holds."""
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 2, "something": "else"}')

    assert "its format is 2, this release knows 1" in refused(lambda: read(path, IDENTITY))


def test_a_file_too_large_is_refused_before_it_is_read(path: Path) -> None:
    """A hundred megabytes of anything are refused by their number."""
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(100_000_000)

    assert f"more than {MOST_BYTES} bytes" in refused(lambda: read(path, IDENTITY))


@pytest.mark.parametrize("kind", ["nothing", "directory", "pipe", "device", "circle", "below a file", "null byte"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A missing file, a directory, a pipe that nobody writes to, a device, a link to itself: refused at once."""
    path = tmp_path / "file"
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "circle":
            path.symlink_to(path)
        case "below a file":
            path.touch()
            path = path / "file"
        case "null byte":
            path = tmp_path / "\x00"
    with pytest.raises(ArtifactError) as caught:
        read(path, IDENTITY)
    assert isinstance(caught.value.__cause__, FileNotFoundError) == (kind == "nothing")


VALID = as_document(content())
DAMAGE: dict[str, Any] = {
    "the identity is missing": {"identity": None},
    "a part of the identity is a number": {"identity": {**VALID["identity"], "experiment": 7}},
    "a text is a number": {"experiment_id": 7},
    "the generation is a text": {"generation": "5"},
    "the generation is a truth value": {"generation": True},
    "the generation is negative": {"generation": -1},
    "the generation is another": {"generation": 6},
    "the document was shortened": {"document": VALID["document"][:-1]},
    "the document is a pointer": {"document": encode_pointer(Pointer("a", "b"))},
    "the models are an object": {"models": {}},
    "a model is a text": {"models": ["model"]},
    "a model has no URI": {"models": [{"run": VALID["models"][0]["run"], "location": None}]},
    "a location is a number": {"models": [{**VALID["models"][0], "location": 1}]},
    "the revoked runs are a text": {"revoked": RUN},
    "a revoked run is a number": {"revoked": [RUN, 7]},
    "a run is empty": {"models": [{**VALID["models"][0], "run": {}}]},
    "a run's data are a text": {"models": [{**VALID["models"][0], "run": {**VALID["models"][0]["run"], "data": "x"}}]},
    "a model is there twice": {"models": [VALID["models"][0]] * 2},
    "a run is not live": {"models": [{**VALID["models"][0], "run": facts("c" * 32).raw}]},
    "a run is of another version": {"models": [{**VALID["models"][0], "run": facts(RUN, "1.0.1").raw}]},
    "a run is of another submodel": {"models": [{**VALID["models"][0], "run": facts(RUN, submodel="other").raw}]},
}  # fmt: skip


@pytest.mark.parametrize("changed", DAMAGE.values(), ids=DAMAGE.keys())
def test_content_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    """A right checksum does not help content that no service can have written."""
    assert parse(sealed(VALID)) == content()
    assert "its checksum" not in refused(lambda: parse(sealed({**VALID, **changed})))
    assert "its checksum" in refused(lambda: parse({**VALID, **changed}))


def test_a_bootstrap_document_that_is_not_json_is_refused() -> None:
    """Values and circles that JSON does not have are refused as an ArtifactError."""
    circle: dict[str, Any] = {"format": 1}
    circle["itself"] = circle
    for bad in (circle, {"format": 1, "x": object()}, {1: 1, "format": 1}, ["format"], None, 1):
        refused(lambda bad=bad: parse(bad))  # type: ignore[misc]


def test_a_bootstrap_document_may_change_afterwards() -> None:
    """What was parsed does not share anything with what the caller gave."""
    given_document = json.loads(json.dumps(as_document(content())))
    found = parse(given_document)
    given_document["models"][0]["run"]["data"]["params"].clear()

    assert found == content()


def test_what_could_not_be_read_again_is_not_written(path: Path) -> None:
    """Content above ten megabytes, or of no live run, is refused as an OSError, and the old file stays."""
    write(path, content())
    large = (stored(RUN, tags={f"t{number}": "x" * 8000 for number in range(1300)}),)
    for models in (large, (stored("c" * 32),)):
        with pytest.raises(OSError, match=r"bytes, more than|not one that its document has live"):
            write(path, content(models=models))

    assert read(path, IDENTITY) == content()
    assert list(path.parent.iterdir()) == [path]


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(path: Path) -> None:
    """A write removes partial files that nobody has open, of this file alone."""
    write(path, content())
    dead, living, other = (
        path.with_name(name)
        for name in (f"{path.name}.1.partial", f"{path.name}.2.partial", f"{'0' * 32}.json.3.partial")
    )
    for leftover in (dead, other):
        leftover.touch()
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write(path, content())
        assert set(path.parent.iterdir()) == {path, living, other}
    write(path, content())
    assert set(path.parent.iterdir()) == {path, other}


def test_writers_of_one_file_do_not_disturb_each_other(path: Path) -> None:
    """However writers and readers meet, every write succeeds, every reading is whole, and nothing is left."""
    write(path, content(adopted_at=0))

    def take_part(number: int) -> set[int]:
        for turn in range(50):
            write(path, content(adopted_at=number * 50 + turn))
        return {read(path, IDENTITY).adopted_at for _ in range(50)}

    with ThreadPoolExecutor(8) as pool:
        seen = set().union(*pool.map(take_part, range(8)))

    assert read(path, IDENTITY).adopted_at in seen
    assert seen <= set(range(400))
    assert list(path.parent.iterdir()) == [path]
