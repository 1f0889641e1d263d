"""What a run of MLflow says about the model it made: its submodel, version, metadata and projected status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mlflow_utilities.errors import InvalidInputError, ProtocolError
from mlflow_utilities.rollout.version import Version

__all__ = [
    "ACTIVE_STATE",
    "GENERATION_TAG",
    "RESERVED_PARAMS",
    "TEST_FRACTION",
    "RunFacts",
    "read_facts",
    "version_params",
]

ACTIVE_STATE = "active_state"
TEST_FRACTION = "test_fraction"
GENERATION_TAG = "rollout.generation"
RESERVED_PARAMS = ("submodel_name", "major_version", "minor_version", "micro_version", "version")
_PROJECTED = (ACTIVE_STATE, TEST_FRACTION, GENERATION_TAG)
_SYSTEM_TAGS = ("mlflow.", "mlflow_utilities.")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as the rollout sees it. `version` and `submodel` are None when this framework did not save the run.

    `active_state` and `test_fraction` are the latest metrics, `step` is the generation that `active_state` shows.
    """

    run_id: str
    experiment_id: str
    run_status: str
    deleted: bool
    start_time: int | None
    end_time: int | None
    submodel: str | None
    version: Version | None
    active_state: float | None
    test_fraction: float | None
    step: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    raw: Mapping[str, Any]

    @property
    def model_ids(self) -> list[str]:
        """The logged models that the run made."""
        outputs = cast("Mapping[str, Any]", self.raw.get("outputs") or {})
        made = cast("Sequence[Mapping[str, Any]]", outputs.get("model_outputs") or ())
        return [str(item["model_id"]) for item in made if item.get("model_id")]

    @property
    def immutable_metadata(self) -> dict[str, str]:
        """The params that the caller gave."""
        return {key: value for key, value in self.params.items() if key not in RESERVED_PARAMS}

    @property
    def mutable_metadata(self) -> dict[str, float | str]:
        """The metrics and tags that the caller gave, numbers as metrics."""
        found: dict[str, float | str] = {k: v for k, v in self.tags.items() if not _is_own_tag(k)}
        found.update((key, value) for key, value in self.metrics.items() if key not in _PROJECTED)
        return found

    def matches(self, immutable: Mapping[str, Any] | None, mutable: Mapping[str, Any] | None) -> bool:
        """Return whether the run has all of this metadata, numbers compared as numbers."""
        if any(self.params.get(key) != str(value) for key, value in (immutable or {}).items()):
            return False
        own = self.mutable_metadata
        return all(_same(own.get(key), value) for key, value in (mutable or {}).items())


def _same(found: float | str | None, wanted: object) -> bool:
    if isinstance(found, float) and not isinstance(wanted, str):
        return found == wanted
    return found is not None and str(found) == str(wanted)


def _is_own_tag(key: str) -> bool:
    return key in _PROJECTED or key.startswith(_SYSTEM_TAGS)


def version_params(version: Version) -> dict[str, str]:
    """Return the params by which a run carries its version."""
    return {
        "major_version": str(version.major),
        "minor_version": str(version.minor),
        "micro_version": str(version.micro),
        "version": str(version),
    }


def read_facts(raw: Mapping[str, Any]) -> RunFacts:
    """Return the facts of a run as the server's JSON has it.

    Raises:
        ProtocolError: it is not a run.

    """
    try:
        info = cast("Mapping[str, Any]", raw["info"])
        data = cast("Mapping[str, Any]", raw.get("data") or {})
        params = _pairs(data.get("params"))
        points = {str(item["key"]): item for item in cast("Sequence[Mapping[str, Any]]", data.get("metrics") or ())}
        metrics = {key: float(item.get("value", 0.0)) for key, item in points.items()}
        return RunFacts(
            run_id=str(info.get("run_id") or info["run_uuid"]),
            experiment_id=str(info["experiment_id"]),
            run_status=str(info.get("status", "RUNNING")),
            deleted=info.get("lifecycle_stage") == "deleted",
            start_time=_time(info.get("start_time")),
            end_time=_time(info.get("end_time")),
            submodel=params.get("submodel_name"),
            version=_version(params),
            active_state=metrics.get(ACTIVE_STATE),
            test_fraction=metrics.get(TEST_FRACTION),
            step=int(points.get(ACTIVE_STATE, {}).get("step", 0)),
            params=params,
            metrics=metrics,
            tags=_pairs(data.get("tags")),
            raw=raw,
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the answer is not a run: {error!r}") from error


def _pairs(items: Any) -> dict[str, str]:
    return {str(item["key"]): str(item.get("value", "")) for item in cast("Sequence[Mapping[str, Any]]", items or ())}


def _time(value: Any) -> int | None:
    return None if value is None else int(value)


def _version(params: Mapping[str, str]) -> Version | None:
    text = params.get("version")
    if text is None:
        numbers = [params.get(f"{name}_version") for name in ("major", "minor", "micro")]
        if None in numbers:
            return None
        text = ".".join(map(_plain_number, cast("list[str]", numbers)))
    try:
        return Version.parse(text)
    except InvalidInputError:
        return None


def _plain_number(text: str) -> str:
    """Return an integer without the ".0" that other tools store."""
    return text.removesuffix(".0") if text.endswith(".0") else text
