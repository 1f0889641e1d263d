"""`show`: one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlflow_utilities.cli.arguments import run_argument
from mlflow_utilities.cli.options import Common, Named, common_options, experiment_options
from mlflow_utilities.cli.printing import fraction, moment, print_json, print_table
from mlflow_utilities.cli.running import run_with_client
from mlflow_utilities.cli.shapes import run_shape
from mlflow_utilities.cli.targets import find_run, find_submodel, no_run
from mlflow_utilities.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.rollout.facts import RunFacts

__all__ = ["command"]


@click.command("show")
@run_argument
@experiment_options
@common_options
@click.pass_obj
def command(common: Common, run: str, named: Named) -> None:
    """Show one run: version, status, share, metadata, metrics, files.

    A run that is not finished, or deleted, is shown too when its full id is given.
    """

    async def work(client: AsyncMlflowClient) -> dict[str, Any]:
        return await _look(client, await find_run(client, run, named))

    shape = run_with_client(common, work)
    if common.json:
        print_json(shape)
        return
    print_table(common, ("field", "value"), list(_fields(shape)))


async def _look(client: AsyncMlflowClient, run_id: str) -> dict[str, Any]:
    from mlflow_utilities.rollout.calls import read_run
    from mlflow_utilities.rollout.facts import read_facts
    from mlflow_utilities.rollout.listing import Listed
    from mlflow_utilities.rollout.status_rule import decide
    from mlflow_utilities.rollout.versioned_runs import model_of

    try:
        facts = read_facts(await read_run(client, run_id))
    except NotFoundError as error:
        raise no_run(run_id) from error
    if facts.version is None or facts.submodel is None:
        raise InvalidInputError(
            f"run {run_id} has no submodel and semantic version: this framework did not save it",
            hint="the MLflow UI shows it",
        )
    ledger = await find_submodel(client, Named(facts.experiment_id, None, facts.submodel))
    document = (await ledger.walk(client)).document
    listed = Listed(facts, facts.version, *decide(run_id, document, facts.active_state, facts.test_fraction))
    model = model_of(listed, None)
    return {
        **run_shape(model),
        "run_name": str(facts.raw["info"].get("run_name", "")),
        "run_status": facts.run_status,
        "deleted": facts.deleted,
        "revoked": document is not None and run_id in document.revoked,
        "generation": document.generation if document else 0,
        "files": await _files(client, facts, model.model_uri),
    }


async def _files(client: AsyncMlflowClient, facts: RunFacts, uri: str) -> list[dict[str, Any]]:
    """Return the first level of the model's files."""
    if uri.startswith("models:/"):
        found = await client.list_logged_model_artifacts(uri.removeprefix("models:/"))
    else:
        found = await client.list_artifacts(facts.run_id, "model")
    return [{"path": file.path, "is_dir": file.is_dir, "size": file.file_size} for file in found]


def _fields(shape: dict[str, Any]) -> list[tuple[str, object]]:
    state = shape["status"] + (f" {fraction(shape['test_fraction'])}" if shape["test_fraction"] else "")
    ended = shape["run_status"] + (", deleted" if shape["deleted"] else "")
    rows: list[tuple[str, object]] = [
        ("run", shape["run_id"]),
        ("name", shape["run_name"]),
        ("experiment", shape["experiment_id"]),
        ("submodel", shape["submodel_name"]),
        ("version", shape["version"]),
        ("status", state + (", revoked" if shape["revoked"] else "")),
        ("training", ended),
        ("started (UTC)", moment(shape["start_time"])),
        ("ended (UTC)", moment(shape["end_time"])),
        ("model", shape["model_uri"]),
    ]
    rows.extend((f"immutable {key}", value) for key, value in sorted(shape["immutable_metadata"].items()))
    rows.extend((f"mutable {key}", value) for key, value in sorted(shape["mutable_metadata"].items()))
    rows.extend(("directory" if file["is_dir"] else "file", _file(file)) for file in shape["files"])
    return rows


def _file(file: dict[str, Any]) -> str:
    return file["path"] if file["size"] is None else f"{file['path']}  {file['size']:,} bytes"
