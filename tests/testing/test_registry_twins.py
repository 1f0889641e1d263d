"""Registry, logged models and artifacts: the in-memory MLflow says what a real server says."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mlflow_utilities.testing.in_memory.state import State
from support.twins import Exchange, Twins, get, post

LONG = "x" * 100_001
TOKEN = "eyJvZmZzZXQiOiAxfQ=="
FLAVORS = {"f": {"a": 1, "config": 2}}
SAID = json.dumps({"run_id": "$x", "artifact_path": "m", "flavors": FLAVORS, "utc_time_created": "t"})
FILES = "/api/2.0/mlflow-artifacts/artifacts"


def patch(path: str, keep: dict[str, str] | None = None, /, **fields: Any) -> Exchange:
    """Return a PATCH with a JSON body."""
    return Exchange("PATCH", path, fields, keep or {})


def delete(path: str, /, **fields: Any) -> Exchange:
    """Return a DELETE with a JSON body."""
    return Exchange("DELETE", path, fields)


def put(path: str, content: bytes = b"content") -> Exchange:
    """Return the writing of an artifact."""
    return Exchange("PUT", f"{FILES}/{path}", content, content_type=None)


def tags(**values: str) -> list[dict[str, str]]:
    """Return tags as they are sent."""
    return [{"key": key, "value": value} for key, value in values.items()]


def version(**fields: Any) -> Exchange:
    """Return the creation of a version of the model $u."""
    return post("model-versions/create", **{"name": "$u", **fields})


def stage(**fields: Any) -> Exchange:
    """Return the move of a version of the model $u to a stage."""
    return post("model-versions/transition-stage", name="$u", **fields)


def made(**fields: Any) -> Exchange:
    """Return the creation of a logged model."""
    return post("logged-models", {"o": "model.info.model_id"}, **fields)


@pytest.fixture(scope="module")
def twins(server_uri: str) -> Iterator[Twins]:
    """Give both servers with the same registered models, versions, logged models and artifacts."""
    twins = Twins(server_uri, State(now_ms=itertools.count(1_700_000_000_000, 1000).__next__))
    twins.name(p=f"twins-{uuid.uuid4().hex[:12]}")
    for exchange in _population():
        assert twins.same(exchange).status == 200
    yield twins
    twins.close()


def _population() -> Iterator[Exchange]:
    yield post("experiments/create", {"e": "experiment_id"}, name="$p")
    yield post("runs/create", {"r": "run.info.run_id"}, experiment_id="$e", run_name="first")
    for name in ("a", "B", "c"):
        yield post("registered-models/create", name=f"$p {name}", tags=tags(n=name, kind="it's"), description=name)
    yield post("registered-models/create", name="$p prompt", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])
    for at in range(4):
        given = tags(stage=f"s{at % 2}") if at else []
        path = f"s3://bucket/{at}"
        yield post("model-versions/create", name="$p a", source=path, tags=given, description=f"number {at}")
    yield post("model-versions/create", name="$p B", source="s3://bucket/0", run_id="$r", run_link="https://x/y")
    yield post("model-versions/transition-stage", name="$p a", version="2", stage="production")
    yield post("model-versions/transition-stage", name="$p a", version="3", stage="Staging")
    yield post("registered-models/alias", name="$p a", alias="champion", version="2")
    yield post("registered-models/alias", name="$p a", alias="Best_1", version="4")
    for at in range(4):
        yield post(
            "logged-models", {f"m{at}": "model.info.model_id"}, experiment_id="$e", name=f"model-{at % 2}",
            model_type="t" if at else "", source_run_id="$r", params=tags(lr=f"0.{at}", depth="3"),
            tags=tags(k=f"v{at}", only=str(at)) if at < 3 else [],
        )  # fmt: skip
    for at, values in enumerate(([1, 2], [5], [0.5, "NaN"])):
        metrics = [
            {"key": "acc", "value": value, "timestamp": 10 + step, "step": step, "model_id": f"$m{at}"}
            for step, value in enumerate(values)
        ]
        if at == 1:
            metrics[0] |= {"dataset_name": "d", "dataset_digest": "x"}
        yield post("runs/log-batch", run_id="$r", metrics=metrics)
    yield patch("logged-models/$m1", model_id="$m1", status="LOGGED_MODEL_READY")
    yield delete("logged-models/$m3")
    for path in ("a.txt", "folder/b.json", "folder/deep/c.bin"):
        yield put(f"$e/$r/artifacts/{path}")
    yield put("$e/models/$m1/artifacts/MLmodel", b"flavors: {}")


def _ours(text: str) -> str:
    """Return a filter of what these tests made."""
    return f"name LIKE '$p%' AND {text}" if text else "name LIKE '$p%'"


def models(text: str = "", **fields: Any) -> Exchange:
    """Return a search of registered models."""
    return get("registered-models/search", filter=_ours(text), **fields)


def versions(text: str = "", **fields: Any) -> Exchange:
    """Return a search of their versions."""
    return get("model-versions/search", filter=_ours(text), **fields)


def logged(text: str = "", **fields: Any) -> Exchange:
    """Return a search of logged models."""
    return post("logged-models/search", experiment_ids=["$e"], filter=text, **fields)


MODEL_FILTERS = [
    "status IS NULL", "tags.k IS NOT NULL AND other = 'x'",
    "", "name = '$p a'", "name != '$p a'", "name LIKE '%a'", "name ILIKE '%b'", "name LIKE '%b'",
    "name IN ('$p a', '$p B')",
    "name NOT IN ('$p a')", "name IN ()", "name IN (1)", "name > 'a'", "name = 1", "name", "name IS NULL", "Name = 'x'",
    "attribute.name = '$p a'", "attributes.name = '$p a'", "`name` = 'x'", "tags.n = 'a'", "tag.n != 'a'",
    "tags.n LIKE '_'", "tags.n ILIKE 'B'", "tags.kind = \"it's\"", "tags.`n` = 'c'", "tags.'n' = 'c'",
    "tags.missing = 'x'",
    "tags.n IN ('a')", "tags.n > 'a'", "tags.n = 'a' AND tags.kind LIKE 'it%'", "tags.n != 'a' AND tags.n != 'B'",
    "tags.n = 1", "params.x = 'y'", "description = 'a'", "creation_timestamp > 1", "tags.n = 'a' OR name = 'x'",
    "tags.`mlflow.prompt.is_prompt` = 'true'", "tags.`mlflow.prompt.is_prompt` != 'true'",
    "tags.`mlflow.prompt.is_prompt` = 'false'", "tags.`mlflow.prompt.is_prompt` != 'false'", "(name = 'x')", "nonsense",
]  # fmt: skip
VERSION_FILTERS = [
    "", "name = '$p a'", "name IN ('$p B', '$p c')", "name ILIKE '%b'", "version_number = 2", "version_number > 1",
    "version_number <= '2'", "version_number != \"3\"", "version_number > 1.5", "version_number = 'x'",
    "version_number LIKE '2'", "version_number IN (1)", "run_id = '$r'", "run_id IN ('$r', 'x')",
    "run_id NOT IN ('$r')",
    "run_id LIKE '%'", "run_id != '$r'", "run_id = ''", "source_path = 's3://bucket/0'", "source_path LIKE '%bucket/_'",
    "source_path IN ('s3://bucket/0')", "source_path ILIKE 'S3%'", "tags.stage = 's1'", "tags.stage != 's1'",
    "tag.stage LIKE 's_'", "tags.stage IN ('s1')", "tags.missing != 'x'", "current_stage = 'Production'",
    "status = 'READY'", "aliases = 'champion'", "attribute.version_number = 1", "creation_timestamp > 1",
    "version_number = 1 AND tags.stage = 's1'", "version_number >= 2 AND version_number < 4", "run_id > 'x'",
]  # fmt: skip
LOGGED_FILTERS = [
    "", "name = 'model-0'", "name != 'model-0'", "name LIKE 'model%'", "name ILIKE 'MODEL-1'", "name LIKE 'MODEL-1'",
    "name IN ('model-0')", "name NOT IN ('model-0', 'x')", "name IN 'model-0'", "name NOT IN 1", "name = ('model-0')",
    "params.lr != ('0.1', '0.2')", "tags.k ILIKE ('v1')", "attributes.name = 'model-0'", "attribute.name = 'model-0'",
    "name = \"model-0\"", "model_id = '$m1'", "model_type = 't'", "model_type = ''", "source_run_id = '$r'",
    "experiment_id = '$e'", "status = 2", "status = '2'", "status != 2", "status = 'READY'",
    "lifecycle_stage = 'active'",
    "lifecycle_stage = 'deleted'", "artifact_location LIKE '%$m0%'", "creation_timestamp > 0", "creation_time > 0",
    "creation_timestamp_ms < 0", "last_updated_timestamp >= 1", "creation_timestamp = 'x'", "name > 'a'",
    "metrics.acc > 1", "metrics.acc >= 5", "metrics.acc = 1", "metrics.acc = 0", "metrics.acc != 5",
    "metrics.`acc` < 1",
    "metrics.acc LIKE '1'", "metrics.missing > 0", "metrics.acc > 0 AND metrics.acc < 1", "params.lr = '0.1'",
    "params.lr = 0.1", "params.lr != '0.1'", "params.lr LIKE '0%'", "params.depth = 3", "params.lr IN ('0.1', '0.2')",
    "params.missing = 'x'", "tags.k = 'v1'", "tags.`k` = 'v1'", "tags.k != 'v1'", "tags.k ILIKE 'V_'", "tags.only = 1",
    "tags.k = 'v0' AND params.lr = '0.0'", "tags.k = 'v0' OR params.lr = '0.0'", "metric.acc > 1", "foo = 'x'",
    "nonsense", "name = 'x';", "name like 'model%'", "tags.k not in ('v1')",
]  # fmt: skip
ORDERED = [
    *(models(order_by=order) for order in (
        ["name DESC"], ["name"], ["timestamp DESC"], ["last_updated_timestamp ASC"], ["creation_timestamp"],
        ["name", "name DESC"], ["timestamp", "last_updated_timestamp"], ["description"], ["name up"], ["tags.n"], [""],
    )),
    *(versions(order_by=order) for order in (
        ["name DESC"], ["version_number"], ["version_number DESC", "name"], ["creation_timestamp"],
        ["last_updated_timestamp DESC"], ["run_id"], ["name", "name"], ["attribute.name DESC"], ["source_path"],
        ["x y"],
    )),
    *(logged(order_by=[{"field_name": name, "ascending": way} for name, way in order]) for order in (
        [("name", True)], [("name", False), ("creation_timestamp", True)], [("creation_time", False)],
        [("metrics.acc", True)], [("metrics.acc", False)], [("metrics.missing", True)], [("params.lr", True)],
        [("status", False)], [("nonsense", True)], [("model_type", True), ("creation_timestamp", False)],
    )),
    logged(order_by=[{"field_name": "metrics.acc", "dataset_name": "d"}]),
    logged(order_by=[{"field_name": "metrics.acc", "dataset_name": "d", "dataset_digest": "y", "ascending": False}]),
    logged(order_by=["name"]),
]  # fmt: skip
PAGES = [
    models(max_results=1), models(max_results=3), models(max_results=4), models(max_results=1, page_token=TOKEN),
    models(max_results=1000), models(max_results=1001), models(max_results="x"), models(page_token="x"),
    versions(max_results=1), versions(max_results=0), versions(max_results=-1), versions(max_results=200_001),
    versions(max_results=2, page_token=TOKEN), versions(page_token="e30="),
    logged(max_results=3), logged(max_results=0), logged(page_token="x"), logged(page_token=TOKEN),
    logged(max_results="x"), logged(datasets=[{"dataset_name": "d"}]), logged(datasets=[{"dataset_digest": "x"}]),
    logged(datasets=[{"dataset_name": "d", "dataset_digest": "x"}]),
    logged("metrics.acc > 1", datasets=[{"dataset_name": "d", "dataset_digest": "x"}]),
    post("logged-models/search"), post("logged-models/search", experiment_ids=[]),
    post("logged-models/search", experiment_ids=["x"]), post("logged-models/search", experiment_ids="0"),
]  # fmt: skip
READS = [
    get("registered-models/get", name="$p a"), get("registered-models/get", name="$p c"), get("registered-models/get"),
    get("registered-models/get", name=""), get("registered-models/get", name="$p none"),
    get("registered-models/get", name="a/b"), get("registered-models/get", name="."),
    get("registered-models/get-latest-versions", name="$p a"),
    get("registered-models/get-latest-versions", name="$p c"),
    get("registered-models/get-latest-versions", name="$p a", stages=["production", "None"]),
    post("registered-models/get-latest-versions", name="$p a", stages=["Archived"]),
    post("registered-models/get-latest-versions", name="$p a", stages=["x"]),
    post("registered-models/get-latest-versions", name="$p a", stages="Production"),
    post("registered-models/get-latest-versions", name="$p none", stages=["x"]),
    get("registered-models/alias", name="$p a", alias="champion"),
    get("registered-models/alias", name="$p a", alias="x"),
    get("registered-models/alias", name="$p a", alias="latest"),
    get("registered-models/alias", name="$p c", alias="Latest"),
    get("registered-models/alias", name="$p a", alias="CHAMPION"),
    get("registered-models/alias", name="$p a", alias="a b"),
    get("registered-models/alias", name="$p a"), get("registered-models/alias", name="$p none", alias="champion"),
    get("registered-models/alias", name="$p a", alias="v1"), get("model-versions/get", name="$p a", version="2"),
    get("model-versions/get", name="$p a", version="02"), get("model-versions/get", name="$p a", version="x"),
    get("model-versions/get", name="$p a", version="99"), get("model-versions/get", name="$p a"),
    get("model-versions/get", name="$p none", version="1"), get("model-versions/get", name="$p B", version="1"),
    get("model-versions/get-download-uri", name="$p a", version="1"),
    get("model-versions/get-download-uri", name="$p a"),
    get("model-versions/get-download-uri"), get("model-versions/get-download-uri", name="$p a", version="9"),
    get("logged-models/$m0"), get("logged-models/$m1"), get("logged-models/$m3"), get("logged-models/m-none"),
    get("logged-models/$m3", allow_deleted="true"), get("logged-models/$m2"),
    get("artifacts/list", run_id="$r"), get("artifacts/list", run_id="$r", path="folder"),
    get("artifacts/list", run_id="$r", path="folder/"), get("artifacts/list", run_id="$r", path="a.txt"),
    get("artifacts/list", run_id="$r", path="missing"), get("artifacts/list", run_id="$r", path="../x"),
    get("artifacts/list", run_id="$r", path="/etc"), get("artifacts/list"), get("artifacts/list", run_id="none"),
    get("artifacts/list", run_uuid="$r", path="folder/deep"), get("logged-models/$m1/artifacts/directories"),
    get("logged-models/$m1/artifacts/directories", artifact_directory_path="x"),
    get("logged-models/$m1/artifacts/directories", artifact_directory_path=".."),
    get("logged-models/$m3/artifacts/directories"), get("logged-models/m-none/artifacts/directories"),
    get("/get-artifact", run_id="$r", path="a.txt"), get("/get-artifact", run_uuid="$r", path="folder/b.json"),
    get("/get-artifact", run_id="$r", path="folder"), get("/get-artifact", run_id="$r", path="missing"),
    get("/get-artifact", run_id="$r", path="../x"), get("/get-artifact", run_id="none", path="a.txt"),
    get("/get-artifact", run_id="$r"), get("/model-versions/get-artifact", name="$p a", version="77", path="x"),
    get("/ajax-api/2.0/mlflow/logged-models/$m1/artifacts/files", artifact_file_path="MLmodel"),
    get("/ajax-api/2.0/mlflow/logged-models/$m1/artifacts/files", artifact_file_path="x"),
    get("/ajax-api/2.0/mlflow/logged-models/$m1/artifacts/files"),
    get(f"{FILES}/$e/$r/artifacts/a.txt"), get(f"{FILES}/$e/$r/artifacts//a.txt"),
    get(f"{FILES}/$e/$r/artifacts/folder"),
    get(f"{FILES}/$e/$r/artifacts/none"), get(f"{FILES}/$e/$r/artifacts/folder/./b.json"),
    get(f"{FILES}/$e/$r/artifacts/%252e%252e/x"), get(f"{FILES}/$e/$r/artifacts/a%23b"), get(f"{FILES}/%2Fetc/passwd"),
    get(f"{FILES}/C:/x"), get(FILES, path="$e/$r/artifacts"), get(FILES, path="$e/$r/artifacts/folder/"),
    get(FILES, path="$e/$r/artifacts/a.txt"), get(FILES, path="$e/none"), get(FILES, path="../x"),
    get(FILES, path="/x"),
    get(FILES, path="%2e%2e/x"), get("/api/2.0/mlflow-artifacts/presigned/$e/$r/artifacts/a.txt"),
    post("/api/2.0/mlflow-artifacts/mpu/create/$e/x", path="x", num_parts=2),
    post("/api/2.0/mlflow-artifacts/mpu/complete/$e/x", path="x", upload_id="1", parts=[{"part_number": 1}]),
    post("/api/2.0/mlflow-artifacts/mpu/abort/$e/../x", path="x", upload_id="1"),
    post("artifacts/presigned-upload-url", run_id="$r", path="x"), post("artifacts/presigned-upload-url", path="x"),
    post("artifacts/presigned-upload-url", model_id="$m1", path="x"),
    post("artifacts/presigned-upload-url", run_id="$r"),
    post("artifacts/presigned-download-url", run_id="$r", path="x"),
    post("artifacts/presigned-download-url", run_id="$r", path="x", expiration=0),
]  # fmt: skip

# On a registered model $u, a run $x of experiment $y and a logged model $l of their own.
WRITES: dict[str, list[Exchange]] = {
    "models created": [
        post("registered-models/create", name="$u"), post("registered-models/create"),
        post("registered-models/create", name=""), post("registered-models/create", name=" "),
        post("registered-models/create", name="$u/x"), post("registered-models/create", name="$u:x"),
        post("registered-models/create", name=".."), post("registered-models/create", name=1),
        post("registered-models/create", name="$u 2", tags=tags(a="1") + tags(a="2")),
        post("registered-models/create", name="$u 3", tags=[{"key": "a//b", "value": "x"}]),
        post("registered-models/create", name="$u 3", tags=[{"value": "x"}]),
        post("registered-models/create", name="$u 3", tags=[{"key": "a"}]),
        post("registered-models/create", name="$u 4", tags=tags(a=LONG)),
        post("registered-models/create", name="$u 4", tags="x"),
        post("registered-models/create", name="$u 4", tags=[{"key": 1}]),
        post("registered-models/create", name="$u", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}]),
        get("registered-models/get", name="$u 2"), get("registered-models/get", name="$u 4"),
    ],
    "models changed": [
        patch("registered-models/update", name="$u", description="new"), patch("registered-models/update", name="$u"),
        patch("registered-models/update", name="$u", description=1), patch("registered-models/update", name="$u none"),
        post("registered-models/rename", name="$u", new_name="$u other"), get("registered-models/get", name="$u"),
        get("model-versions/get", name="$u other", version="1"), post("registered-models/rename", name="$u other"),
        post("registered-models/rename", name="$u other", new_name="$u other"),
        post("registered-models/rename", name="$u other", new_name="$p a"),
        post("registered-models/rename", name="$u none", new_name="$u"),
        post("registered-models/rename", name="$u other", new_name="a/b"),
        get("registered-models/alias", name="$u other", alias="first"),
        delete("registered-models/delete", name="$u other"), delete("registered-models/delete", name="$u other"),
        delete("registered-models/delete"), post("registered-models/create", name="$u other"),
        post("model-versions/create", name="$u other", source="s3://b/x"),
    ],
    "tags of models": [
        post("registered-models/set-tag", name="$u", key="k", value="v"),
        post("registered-models/set-tag", name="$u", key="k"),
        post("registered-models/set-tag", name="$u", key="", value="v"),
        post("registered-models/set-tag", name="$u", value="v"),
        post("registered-models/set-tag", name="$u", key="a@b", value="v"),
        post("registered-models/set-tag", name="$u", key="k" * 251),
        post("registered-models/set-tag", name="$u", key="long", value=LONG),
        post("registered-models/set-tag", name="$u", key="k", value=1),
        post("registered-models/set-tag", name="$u none", key="k", value="v"),
        delete("registered-models/delete-tag", name="$u", key="none"),
        delete("registered-models/delete-tag", name="$u none", key="k"),
        delete("registered-models/delete-tag", name="$u", key="a//b"),
        post("registered-models/set-tag", name="$u", key="other/k", value="é"),
        delete("registered-models/delete-tag", name="$u", key="k"),
        delete("registered-models/delete-tag", name="$u"),
    ],
    "tags of versions": [
        post("model-versions/set-tag", name="$u", version="1", key="k", value="v"),
        post("model-versions/set-tag", name="$u", version="x", key="k", value="v"),
        post("model-versions/set-tag", name="$u", version="9", key="k", value="v"),
        post("model-versions/set-tag", name="$u", version=1, key="k", value="v"),
        post("model-versions/set-tag", name="$u", version="1", key="a@b", value="v"),
        post("model-versions/set-tag", name="$u", version="1", key="k", value=LONG),
        post("model-versions/set-tag", name="$u", version="1"),
        post("model-versions/set-tag", name="$u", version="1", key="empty"),
        delete("model-versions/delete-tag", name="$u", version="1", key="none"),
        delete("model-versions/delete-tag", name="$u", version="9", key="k"),
        delete("model-versions/delete-tag", name="$u", version="1", key="k"),
        get("model-versions/get", name="$u", version="1"),
    ],
    "aliases": [
        *(post("registered-models/alias", name="$u", alias=alias, version="1") for alias in
          ("a", "A", "a-b_c", "a b", "a.b", "", "latest", "LATEST", "v1", "V22", "v1x", "x" * 255, "x" * 256, "é")),
        post("registered-models/alias", name="$u", alias="a", version="2"),
        post("registered-models/alias", name="$u", alias="a", version="9"),
        post("registered-models/alias", name="$u", alias="a", version="x"),
        post("registered-models/alias", name="$u none", alias="a", version="1"),
        post("registered-models/alias", name="$u", alias="a", version=1),
        post("registered-models/alias", name="$u", alias="a"),
        get("registered-models/get", name="$u"), get("model-versions/get", name="$u", version="1"),
        delete("registered-models/alias", name="$u", alias="none"),
        delete("registered-models/alias", name="$u", alias="a"),
        delete("registered-models/alias", name="$u none", alias="a"),
        delete("registered-models/alias", name="$u", alias="a b"),
        delete("registered-models/alias", name="$u"), get("registered-models/alias", name="$u", alias="a"),
        delete("model-versions/delete", name="$u", version="1"), get("registered-models/alias", name="$u", alias="A"),
    ],
    "stages": [
        *(stage(version="1", stage=name) for name in ("staging", "PRODUCTION", "none", "Archived", "x", "")),
        stage(version="2", stage="Production"),
        stage(version="1", stage="Production", archive_existing_versions=True),
        get("model-versions/get", name="$u", version="2"), get("registered-models/get", name="$u"),
        stage(version="1", stage="Archived", archive_existing_versions=True),
        stage(version="1", stage="Staging", archive_existing_versions="yes"),
        stage(version="9", stage="Production", archive_existing_versions=True),
        stage(version="x", stage="Production"),
        get("model-versions/search", filter="name = '$u'"), get("registered-models/get-latest-versions", name="$u"),
    ],
    "versions changed": [
        patch("model-versions/update", name="$u", version="1", description="new"),
        patch("model-versions/update", name="$u", version="1"),
        patch("model-versions/update", name="$u", version="1", description=""),
        patch("model-versions/update", name="$u", version="9"),
        patch("model-versions/update", name="$u", version="1", description=1),
        patch("model-versions/update", name="$u"),
        delete("model-versions/delete", name="$u", version="2"),
        delete("model-versions/delete", name="$u", version="2"),
        delete("model-versions/delete", name="$u", version="x"), delete("model-versions/delete", name="$u"),
        get("model-versions/get", name="$u", version="2"), version(source="s3://b/again"),
        get("registered-models/get", name="$u"),
        get("registered-models/alias", name="$u", alias="latest"),
    ],
    "sources": [
        version(source="s3://b/x", run_id="none"), version(source="gs://b/x"), version(source="dbfs:/x"),
        version(source=""), version(),
        version(source="s3://b/../x"), version(source="s3://b/%2e%2e/x"), version(source="s3:/b/../x"),
        version(source="s3://b//x"),
        version(source="s3://b/x/"), version(source="/tmp/x"), version(source="/tmp/x", run_id="$x"),
        version(source="x"),
        version(source="file:///tmp/x"), version(source="file:///tmp/x", run_id="$x"), version(source="file://host/x"),
        version(source="http://host/x"), version(source="https://host/x"), version(source="ftp://h/x"),
        version(source="mlflow-artifacts://host/x"), version(source="hdfs://h/x"),
        version(source="wasbs://c@a.blob.core.windows.net/x"),
        version(source="mlflow-artifacts:/$y/$x/artifacts/model"),
        version(source="mlflow-artifacts:/$y/$x/artifacts/model", run_id="$x"),
        version(source="mlflow-artifacts:/$y/$x/artifacts", run_id="$x"),
        version(source="mlflow-artifacts:/$y/other", run_id="$x"),
        version(source="mlflow-artifacts:/$y/$x/artifacts/../../x", run_id="$x"),
        version(source="mlflow-artifacts:/$y/x", run_id="none"),
        version(source="mlflow-artifacts:/$y/models/$l/artifacts", model_id="$l"),
        version(source="mlflow-artifacts:/$y/other", model_id="$l"),
        version(source="mlflow-artifacts:/$y/models/$l/artifacts", model_id="m-none"),
        version(source="s3://b/x", model_id="m-none"),
        version(source="s3://b/x", model_id="$l"), version(source="s3://b/x", model_id="$l", run_id="given"),
        version(source="runs:/$x/model"), version(source="runs:/$x/model", run_id="$x"),
        version(source="runs:/other/model", run_id="$x"),
        version(source="runs:/$x/model", model_id="$l"), version(source="runs://$x/model", run_id="$x"),
        version(source="runs:/", run_id="$x"),
        version(source="models:/$l"), version(source="models:/$l", model_id="$l"),
        version(source="models:/$l", model_id="m-other"),
        version(source="models:/m-none", model_id="m-none"),
        version(source="models:/$l", model_id="$l", run_id="given"),
        version(source="models://x/$l", model_id="$l"), version(source="models:/$u/1"),
        version(source="models:/$u/1", run_id=""),
        version(source="models:/$u/1", run_id="other"), version(source="models:/$u/1", model_id="$l"),
        version(source="models:/$u/99"),
        version(source="models:/$u none/1"), version(source="models:/$u@first"), version(source="models:/$u@none"),
        version(source="models:/$u/latest"), version(source="models:/$u/Production"),
        version(source="models:/$u/nothing"),
        version(source="models:/$p prompt/1"), version(source="models:/"), version(source="models:/a/b/c"),
        version(source="models:/a@"),
        version(source="models:/$u/ "), version(name="$u none", source="s3://b/x"),
        version(name="a/b", source="s3://b/x"),
        version(source="s3://b/x", tags=tags(a="1") + tags(a="2")),
        version(source="s3://b/x", tags=[{"key": "a@b", "value": "1"}]),
        version(source="s3://b/x", tags=tags(a=LONG)), version(source="s3://b/x", tags="x"), version(source=1),
        version(source="x", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}]),
        get("logged-models/$l"), get("model-versions/search", filter="name = '$u'", order_by=["version_number"]),
        *(get("model-versions/get-download-uri", name="$u", version=str(number)) for number in range(1, 20)),
    ],
    "logged models": [
        post("logged-models", {"n": "model.info.model_id"}, experiment_id="$y"), post("logged-models"),
        made(experiment_id="none"),
        made(experiment_id="987654321"), made(experiment_id="$y", name=""),
        *(made(experiment_id="$y", name=name) for name in ("a/b", "a:b", "a.b", "a%b", "a'b", 'a"b', "a b", "é", 1)),
        made(experiment_id="$y", params=tags(a="1") + tags(a="1")),
        made(experiment_id="$y", tags=tags(a="1") + tags(a="2")),
        made(experiment_id="$y", tags=[{"key": "a@'`b", "value": ""}], params=[{"key": "x"}]),
        made(experiment_id="$y", tags="x"), made(experiment_id=1), made(experiment_id="$y", tags=[{"key": 1}]),
        patch("logged-models/$n", model_id="$n", status="LOGGED_MODEL_UPLOAD_FAILED"),
        patch("logged-models/$n", model_id="$n", status=2),
        patch("logged-models/$n", status="LOGGED_MODEL_READY"), patch("logged-models/$n", model_id="$n"),
        patch("logged-models/$n", model_id="$n", status="x"),
        patch("logged-models/$n", model_id="$n", status="1"),
        patch("logged-models/$l", model_id="$n", status="LOGGED_MODEL_READY"),
        patch("logged-models/$n", model_id="$n", status=0),
        patch("logged-models/x", model_id="x", status=1), get("logged-models/$n"), get("logged-models/$l"),
        post("logged-models/$n/params", model_id="$n", params=tags(p="1", q="2")),
        post("logged-models/$n/params", model_id="$n", params=tags(p="1")),
        post("logged-models/$n/params", params=tags(z="1")), post("logged-models/$n/params", model_id="$n"),
        post("logged-models/x/params", model_id="x", params=tags(z="1")),
        patch("logged-models/$n/tags", tags=tags(a="1", b="2")),
        patch("logged-models/$n/tags", tags=tags(a="3") + tags(a="4")), patch("logged-models/$n/tags"),
        patch("logged-models/x/tags", tags=tags(a="1")), delete("logged-models/$n/tags/a"),
        delete("logged-models/$n/tags/a"), delete("logged-models/x/tags/a"),
        get("logged-models/$n"), delete("logged-models/$n"), delete("logged-models/$n"), delete("logged-models/x"),
        get("logged-models/$n"),
        patch("logged-models/$n/tags", tags=tags(c="1")), patch("logged-models/$n", model_id="$n", status=2),
        get("logged-models/$n", allow_deleted="true"),
    ],
    "metrics of logged models": [
        post("runs/log-metric", run_id="$x", key="m", value=1, timestamp=1, model_id="$l", dataset_name="d"),
        post("runs/log-metric", run_id="$x", key="m", value=1, timestamp=1, model_id="$l"),
        post("runs/log-metric", run_id="$x", key="m", value="NaN", timestamp=2, model_id="$l"),
        post("runs/log-metric", run_id="$x", key="m", value="Infinity", timestamp=3, model_id="$l"),
        post("runs/log-metric", run_id="$x", key="m", value=2, timestamp=1, model_id="$l"),
        post("runs/log-metric", run_id="$x", key="m", value=2, timestamp=1, model_id="none"),
        post("logged-models/search", experiment_ids=["$y"], filter="metrics.m = 1"),
        post("logged-models/search", experiment_ids=["$y"], filter="metrics.m = 0"), get("logged-models/$l"),
    ],
    "what MLflow 2 says of models": [
        post("runs/log-model", run_id="$x", model_json=SAID),
        post("runs/log-model", run_id="$x", model_json="{}"), post("runs/log-model", run_id="$x", model_json="x"),
        post("runs/log-model", run_id="$x"),
        post("runs/log-model", run_id="none", model_json=SAID),
        get("runs/get", run_id="$x"),
    ],
    "artifacts": [
        put("$y/a.txt"), put("$y/a.txt", b"other"), put("$y/empty", b""), put("$y/sp ace+plus&x", b"1"),
        put("$y/%C3%A9", b"2"), put("$y/pct%2520x", b"3"),
        put("$y/d/e/f", b"4"), put("$y/d/"), put("$y/d//x"), put("$y/d/../x"), put("$y/%2e%2e/x"), put("$y/./x"),
        put("$y/a%23b"), put("%2Fabs"),
        put("$y/.artifact.uploading.x"), put("$y/d"), put("$y/a.txt/below"), put("$y/C:x"), put("$y/tab%09x", b"5"),
        put("$y/q%3Fx", b"6"),
        get(f"{FILES}/$y/a.txt"), get(f"{FILES}/$y/empty"), get(f"{FILES}/$y/sp ace+plus&x"), get(f"{FILES}/$y/%C3%A9"),
        get(f"{FILES}/$y/pct x"),
        get(f"{FILES}/$y/q%3Fx"), get(FILES, path="$y"), get(FILES, path="$y/d"),
        Exchange("DELETE", f"{FILES}/$y/d/e/f"),
        get(FILES, path="$y/d/e"), get(FILES, path="$y/d"), Exchange("DELETE", f"{FILES}/$y/none"),
        Exchange("DELETE", f"{FILES}/$y/%2e%2e/x"),
        Exchange("DELETE", f"{FILES}/$y/d"), get(FILES, path="$y"), Exchange("DELETE", f"{FILES}/$y/a.txt"),
        get(f"{FILES}/$y/a.txt"), get(FILES, path="$y"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", MODEL_FILTERS)
def test_a_filter_of_registered_models(twins: Twins, text: str) -> None:
    """Both find the same models, or refuse the filter with the same code."""
    twins.same(models(text))


@pytest.mark.parametrize("text", VERSION_FILTERS)
def test_a_filter_of_versions(twins: Twins, text: str) -> None:
    """Both find the same versions, or refuse the filter with the same code."""
    twins.same(versions(text))


@pytest.mark.parametrize("text", LOGGED_FILTERS)
def test_a_filter_of_logged_models(twins: Twins, text: str) -> None:
    """Both find the same logged models, or refuse the filter with the same code."""
    twins.same(logged(text))


@pytest.mark.parametrize("exchange", [*ORDERED, *PAGES, *READS], ids=str)
def test_what_is_read(twins: Twins, exchange: Exchange) -> None:
    """Both answer the same, or refuse with the same code."""
    twins.same(exchange)


@pytest.mark.parametrize("exchanges", WRITES.values(), ids=WRITES)
def test_what_is_written(twins: Twins, exchanges: list[Exchange]) -> None:
    """On things of their own, both do and refuse the same."""
    twins.name(u=f"twins-{uuid.uuid4().hex}")
    for exchange in (
        post("experiments/create", {"y": "experiment_id"}, name="$u"),
        post("runs/create", {"x": "run.info.run_id"}, experiment_id="$y", start_time=1, run_name="first"),
        post("logged-models", {"l": "model.info.model_id"}, experiment_id="$y", name="own", source_run_id="$x"),
        post("registered-models/create", name="$u"),
        post("model-versions/create", name="$u", source="s3://b/1", run_id="$x"),
        post("model-versions/create", name="$u", source="s3://b/2"),
        post("registered-models/alias", name="$u", alias="first", version="1"),
    ):
        assert twins.same(exchange).status == 200
    for exchange in exchanges:
        twins.same(exchange)


@pytest.mark.parametrize(
    "searched",
    [
        post("logged-models/search", experiment_ids=["$e"], max_results=1, order_by=[{"field_name": "name"}]),
        models(max_results=1),
        versions(max_results=2),
    ],
    ids=str,
)
def test_pages_follow_each_other(twins: Twins, searched: Exchange) -> None:
    """The token of each page leads to the same next one on both, until there is none."""
    pages = 0
    while True:
        pages += 1
        if "next_page_token" not in twins.same(searched).value:
            break
        twins.same(replace(searched, keep={"t": "next_page_token"}))
        searched = replace(searched, fields={**searched.fields, "page_token": "$t"})
    assert pages == 3
