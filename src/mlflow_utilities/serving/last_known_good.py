"""The last-known-good file: what a service served last, so that it can start while MLflow is down. It blocks.

One JSON object: `format`, `sha256` over all the rest in canonical form, whose it is, the ledger's document as the
ledger has it, and the runs of the models. A bootstrap document is the same object.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from mlflow_utilities.errors import ArtifactError, ProtocolError
from mlflow_utilities.rollout.codec import decode_slot, encode_document
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.facts import read_facts
from mlflow_utilities.serving.whole_file import read_file, write_file

__all__ = ["MOST_BYTES", "Identity", "LastKnownGood", "StoredModel", "as_document", "parse", "path_of", "read", "write"]

MOST_BYTES = 10_000_000
_FORMAT = 1
_DIRECTORY = "last-known-good"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose last-known-good it is. `experiment` is the name or id that the service was given, for which no server is
    asked; `versions` the text of its version range.
    """

    tracking_uri: str
    experiment: str
    submodel: str
    versions: str


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that was served: its run as the server's JSON, its URI, and where its artifacts were, if known."""

    raw: Mapping[str, Any]
    model_uri: str
    location: str | None = None


@dataclass(frozen=True, slots=True)
class LastKnownGood:
    """What a service served: a generation and its models. `adopted_at` is in ms since 1970, UTC.

    `revoked` are the ids of runs that must not answer, whether this generation or a later one revoked them.
    """

    identity: Identity
    experiment_id: str
    submodel_name: str
    document: Document
    models: tuple[StoredModel, ...]
    adopted_at: int
    revoked: tuple[str, ...] = ()


def path_of(directory: Path, identity: Identity) -> Path:
    """Return the file of an identity below the cache directory; two identities never share one."""
    return directory / _DIRECTORY / f"{sha256(_canonical(asdict(identity))).hexdigest()[:32]}.json"


def read(path: Path, identity: Identity | None, *, submodel_name: str | None = None) -> LastKnownGood:
    """Read a file that `write` made.

    Args:
        path: the file.
        identity: whose it must be; None for a bootstrap file, which any service may be given.
        submodel_name: the submodel it must be of, where no identity says so; None: any.

    Raises:
        ArtifactError: it is missing (then `__cause__` is a FileNotFoundError), cannot be read, has more than 10 MB, is
            damaged, is of a newer release, or belongs to another service.

    """
    data = read_file(path, MOST_BYTES)
    try:
        found = _parsed(_loaded(data))
        _check_owner(found, identity, submodel_name)
    except ArtifactError as error:
        raise ArtifactError(f"cannot use {path}: {error.message}", hint=error.hint) from error
    return found


def write(path: Path, lkg: LastKnownGood) -> None:
    """Write the file, so that whatever happens the old one or the new one is there, whole, for its owner alone.

    Raises:
        OSError: it cannot be written; the old file stays.
        ArtifactError: (an OSError) it would have more than 10 MB, or could not be read again.

    """
    document = as_document(lkg)
    parse(document)
    data = _canonical(document) + b"\n"
    if len(data) > MOST_BYTES:
        raise ArtifactError(f"the last-known-good file would have {len(data)} bytes, more than {MOST_BYTES}")
    write_file(path, data)


def as_document(lkg: LastKnownGood) -> dict[str, Any]:
    """Return the content of the file as plain values: a bootstrap document, to be kept as it is."""
    # Generation 0, which stands for experiments without a ledger, is none that a ledger could hold.
    stored = replace(lkg.document, generation=max(lkg.document.generation, 1))
    content: dict[str, Any] = {
        "format": _FORMAT,
        "identity": asdict(lkg.identity),
        "experiment_id": lkg.experiment_id,
        "submodel_name": lkg.submodel_name,
        "generation": lkg.document.generation,
        "document": encode_document(stored),
        "models": [
            {"run": model.raw, "model_uri": model.model_uri, "location": model.location} for model in lkg.models
        ],
        "adopted_at": lkg.adopted_at,
        "revoked": list(lkg.revoked),
    }
    return {**content, "sha256": _digest(content)}


def parse(document: Mapping[str, Any], *, submodel_name: str | None = None) -> LastKnownGood:
    """Return what a bootstrap document says, as `as_document` made it.

    Raises:
        ArtifactError: it is damaged, of a newer release, or of another submodel than `submodel_name`.

    """
    # A copy: whoever gave it may change theirs later.
    found = _parsed(_loaded(_canonical(document)))
    _check_owner(found, None, submodel_name)
    return found


def _canonical(value: object) -> bytes:
    try:
        plain: object = dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"it has values that are not JSON: {error}") from error


def _loaded(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"it is not JSON: {error}", hint="remove it; it is written again") from error


def _digest(content: Mapping[str, Any]) -> str:
    return sha256(_canonical({key: value for key, value in content.items() if key != "sha256"})).hexdigest()


def _parsed(value: object) -> LastKnownGood:
    content = _checked(value)
    identity = content.get("identity")
    found = LastKnownGood(
        identity=Identity(**{field.name: _take(identity, field.name, str) for field in fields(Identity)}),
        experiment_id=_take(content, "experiment_id", str),
        submodel_name=_take(content, "submodel_name", str),
        document=_document(_take(content, "document", str), _take(content, "generation", int)),
        models=tuple(_model(item) for item in cast("list[object]", _take(content, "models", list))),
        adopted_at=_take(content, "adopted_at", int),
        revoked=_revoked(content.get("revoked", [])),
    )
    _check_models(found)
    return found


def _checked(value: object) -> Mapping[str, Any]:
    """Return the content if it is of a known format and unchanged."""
    format_number = _take(value, "format", int)
    if format_number > _FORMAT:
        raise ArtifactError(f"its format is {format_number}, this release knows {_FORMAT}", hint="update the package")
    if format_number != _FORMAT:
        raise ArtifactError(f"its format is {format_number}, and there is none of that number")
    content = cast("Mapping[str, Any]", value)
    if _take(content, "sha256", str) != _digest(content):
        raise ArtifactError("its checksum does not match", hint="it was damaged, or changed by hand")
    return content


def _take(value: object, name: str, kind: type[T]) -> T:
    if not isinstance(value, dict):
        raise ArtifactError(f"it has {type(value).__name__} in place of an object, where {name} should be")
    found = cast("dict[str, object]", value).get(name)
    if not isinstance(found, kind) or isinstance(found, bool):
        raise ArtifactError(f"{name} is missing, or not of type {kind.__name__}")
    return found


def _document(value: str, generation: int) -> Document:
    decoded = decode_slot(value, max(generation, 1))
    if not isinstance(decoded, Document) or generation < 0:
        raise ArtifactError(f"its ledger document cannot be used: {getattr(decoded, 'reason', 'it is none')}")
    return decoded if generation else replace(decoded, generation=0)


def _revoked(value: object) -> tuple[str, ...]:
    found = cast("list[object]", value) if isinstance(value, list) else [None]
    runs = tuple(run for run in found if isinstance(run, str))
    if len(runs) != len(found):
        raise ArtifactError("revoked is not a list of run ids")
    return runs


def _model(value: object) -> StoredModel:
    location = _take(value, "location", object)
    if not isinstance(location, str | None):
        raise ArtifactError("location is not text")
    run = cast("dict[str, Any]", _take(value, "run", dict))
    return StoredModel(run, _take(value, "model_uri", str), location)


def _check_models(found: LastKnownGood) -> None:
    seen: set[str] = set()
    for model in found.models:
        try:
            facts = read_facts(model.raw)
        except ProtocolError as error:
            raise ArtifactError(f"it has a model whose run cannot be used: {error}") from error
        live = found.document.find(facts.run_id)
        version = facts.version.without_build if facts.version else None
        if live is None or live[0] != version or facts.run_id in seen:
            raise ArtifactError(f"run {facts.run_id} of version {version} is not one that its document has live")
        if not _same(facts.submodel or "", found.submodel_name):
            raise ArtifactError(f"run {facts.run_id} is of submodel {facts.submodel!r}, not {found.submodel_name!r}")
        seen.add(facts.run_id)


def _check_owner(found: LastKnownGood, identity: Identity | None, submodel_name: str | None) -> None:
    for field in fields(Identity) if identity else ():
        has, wanted = getattr(found.identity, field.name), getattr(identity, field.name)
        if has != wanted:
            raise ArtifactError(f"it is of another service: {field.name} is {has!r}, not {wanted!r}")
    if submodel_name is not None and not _same(found.submodel_name, submodel_name):
        raise ArtifactError(f"it is of submodel {found.submodel_name!r}, not {submodel_name!r}")


def _same(one: str, other: str) -> bool:
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
