"""The commands that read, on a real server: what they find, print, and take as a run."""

from __future__ import annotations

import os
import uuid

import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.command_line import CommandLine, on_server
from support.runs import Project, make_run


@pytest.fixture(scope="module")
def listed(server_uri: str) -> Project:
    """Give a project with runs of 1.0.0 (Active), 1.1.0 (Canary) and 2.0.0 (New), and metadata on the last."""

    async def work(client: AsyncMlflowClient) -> Project:
        name = f"test-{uuid.uuid4().hex[:12]}"
        experiment = await client.create_experiment(name)
        first = await make_run(client, experiment, name, "1.0.0")
        second = await make_run(client, experiment, name, "1.1.0")
        third = await make_run(
            client, experiment, name, "2.0.0", params={"data": "2024"}, tags={"note": "\x1b[31mred"},
            metrics={"auc": 0.91, "broken": float("nan")},
        )  # fmt: skip
        await client.log_text(third, "flavors: {}", "model/MLmodel")
        await mlflow_api.enable_run(first, client=client)
        await mlflow_api.canary_run(second, client=client)
        return Project(experiment, name, (first, second, third))

    return on_server(server_uri, work)


@pytest.fixture(scope="module")
def other(server_uri: str) -> str:
    """Give the name of an experiment without runs."""

    async def work(client: AsyncMlflowClient) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        await client.create_experiment(name)
        return name

    return on_server(server_uri, work)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {0, 1, 2}),
        (["--status", "Active"], {0}),
        (["--status", "canary"], {1}),
        (["--status", "disabled"], set()),
        (["--version", "^1"], {0, 1}),
        (["--version", "latest"], {2}),
        (["--version", "2.0.0", "--status", "new"], {2}),
        (["--limit", "1"], {2}),
    ],
)
@pytest.mark.parametrize("command", ["runs", "models"])
def test_listings_are_filtered(
    command_line: CommandLine, listed: Project, command: str, arguments: list[str], expected: set[int]
) -> None:
    """Runs and models are listed by status and by a version or a range, newest first."""
    found = command_line(command, "-e", listed.name, *arguments, "--json").json

    assert (found["experiment_id"], found["submodel_name"]) == (listed.experiment_id, listed.name)
    assert {run["run_id"] for run in found[command]} == {listed.runs[number] for number in expected}


def test_a_run_as_json(command_line: CommandLine, listed: Project) -> None:
    """A run has a stable shape: ids as text, times in ms, metadata apart, numbers that JSON lacks as text."""
    (run,) = command_line("models", "-e", listed.name, "--version", "2.0.0", "--json").json["models"]

    assert isinstance(run.pop("start_time"), int)
    assert isinstance(run.pop("end_time"), int)
    assert run == {
        "run_id": listed.runs[2],
        "experiment_id": listed.experiment_id,
        "submodel_name": listed.name,
        "version": "2.0.0",
        "status": "New",
        "test_fraction": 0.0,
        "immutable_metadata": {"data": "2024"},
        "mutable_metadata": {"auc": 0.91, "broken": "NaN", "note": "\x1b[31mred"},
        "model_uri": f"runs:/{listed.runs[2]}/model",
    }


def test_a_table_for_people(command_line: CommandLine, listed: Project) -> None:
    """Without a terminal a table is plain aligned text, whole ids included; nothing is on standard error."""
    ended = command_line("runs", "-e", listed.name, "--status", "Active")

    head, row = ended.out.splitlines()
    assert head.split() == ["RUN", "VERSION", "STATUS", "SHARE", "STARTED", "(UTC)"]
    assert row.split()[:4] == [listed.runs[0], "1.0.0", "Active", "1"]
    assert (ended.code, ended.err) == (0, "")


def test_nothing_found_is_said_on_standard_error(command_line: CommandLine, listed: Project) -> None:
    """An empty listing is no failure, and prints nothing that a program would read."""
    ended = command_line("runs", "-e", listed.name, "--version", "^9")

    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"no runs of submodel {listed.name} in experiment {listed.experiment_id} fit\n"


@pytest.mark.parametrize("command", ["runs", "models", "history"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_empty_listing_says_which_submodels_there_are(
    command_line: CommandLine, listed: Project, command: str, options: list[str]
) -> None:
    """A typo in the submodel's name is told beside the result, which is empty."""
    ended = command_line(command, "-e", listed.name, "--submodel", "typo", *options)

    assert ended.code == 0
    assert f"are of submodel {listed.name}: give --submodel" in ended.err
    assert (ended.json[command] if options else ended.out) in ([], "")


def test_an_experiment_without_runs(command_line: CommandLine, other: str) -> None:
    """Has no submodel either."""
    ended = command_line("runs", "-e", other)

    assert (ended.code, ended.out) == (0, "")
    assert "has a submodel" in ended.err


def test_one_run_is_shown(command_line: CommandLine, listed: Project) -> None:
    """`show` tells everything about a run, its files too, and does not send a terminal what the run's tags say."""
    ended = command_line("show", "2.0.0", "-e", listed.name)
    shape = command_line("show", listed.runs[2], "--json").json

    assert "auc" in ended.out
    assert "\\x1b[31mred" in ended.out
    assert "\x1b" not in ended.out
    assert (shape["run_status"], shape["deleted"], shape["revoked"], shape["generation"]) == (
        "FINISHED", False, False, 2,
    )  # fmt: skip
    assert shape["files"] == [{"path": "model/MLmodel", "is_dir": False, "size": 11}]
    assert set(shape) == {
        "run_id", "experiment_id", "submodel_name", "version", "status", "test_fraction", "immutable_metadata",
        "mutable_metadata", "start_time", "end_time", "model_uri", "run_name", "run_status", "deleted", "revoked",
        "generation", "files",
    }  # fmt: skip


def test_an_unfinished_run_is_shown_by_its_id(command_line: CommandLine, project: Project, server_uri: str) -> None:
    """A run that listings leave out can be looked at all the same."""

    async def begin(client: AsyncMlflowClient) -> str:
        return await make_run(client, project.experiment_id, project.name, "3.0.0", status="RUNNING")

    run = on_server(server_uri, begin)

    assert command_line("show", run, "--json").json["run_status"] == "RUNNING"
    refused = command_line("split", f"{run}=1", "--dry-run")
    assert (refused.code, refused.out) == (3, "")
    assert f"run {run} is RUNNING" in refused.err


@pytest.mark.parametrize("text", ["id", "prefix", "version", "capitals"])
def test_a_run_is_named_by_id_prefix_or_version(command_line: CommandLine, listed: Project, text: str) -> None:
    """RUN is a full id, the beginning of one, or a version that one run alone has."""
    run = listed.runs[1]
    named = {"id": run, "prefix": run[:8], "version": "1.1.0", "capitals": run[:9].upper()}[text]

    assert command_line("show", named, "-e", listed.name, "--json").json["run_id"] == run


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["show", "0" * 32], 4, "no run"),
        (["show", "0" * 32, "-e", "{name}"], 4, "no run"),
        (["show", "000000", "-e", "{name}"], 4, "000000"),
        (["show", "7.7.7", "-e", "{name}"], 4, "7.7.7"),
        (["show", "00000"], 3, "first 6 characters"),
        (["show", "000000"], 3, "--experiment"),
        (["show", "{run}", "-e", "{other}"], 3, "is of experiment"),
        (["show", "{run}", "--submodel", "other"], 3, "is of submodel"),
        (["split", "{run}=1", "--submodel", "other"], 3, "is of submodel"),
        (["split", "{run}=1", "-e", "{other}"], 3, "is of experiment"),
        (["runs", "-e", "\udcff"], 4, "half of a character"),
        (["runs", "-e", "no such experiment"], 4, "no such experiment"),
        (["runs", "--experiment-id", "999999999"], 4, "999999999"),
        (["runs", "-e", "{name}", "--experiment-id", "0"], 3, "not"),
        (["runs"], 3, "--experiment"),
        (["runs", "-e", "{name}", "--version", ">>1"], 3, "not a version"),
        (["runs", "-e", "{name}", "--status", "Dead"], 2, "Dead"),
        (["frobnicate"], 2, "frobnicate"),
        (["runs", "--frobnicate"], 2, "--frobnicate"),
        (["history", "--limit", "0"], 2, "range"),
    ],
)
def test_what_does_not_fit_is_told(
    command_line: CommandLine, listed: Project, other: str, arguments: list[str], code: int, says: str
) -> None:
    """A run or experiment that is not there, is another's, or cannot be, has its exit code, a sentence and a hint."""
    filled = [text.format(name=listed.name, run=listed.runs[0], other=other) for text in arguments]

    ended = command_line(*filled)

    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err
    assert [line.partition(":")[0] for line in ended.err.splitlines()] == ["error", "hint"]


def test_a_version_of_several_runs_names_none(command_line: CommandLine, project: Project) -> None:
    """A version that several runs have is refused; the message lists them and asks for an id."""
    ended = command_line("show", "1.0.0", "-e", project.name)

    assert ended.code == 3
    assert all(run in ended.err for run in project.runs)
    assert "hint: give the run id" in ended.err


def test_an_experiment_from_the_environment(command_line: CommandLine, listed: Project, project: Project) -> None:
    """MLFLOW_EXPERIMENT_NAME names the experiment; an option of either kind replaces it."""
    os.environ["MLFLOW_EXPERIMENT_NAME"] = listed.name

    assert command_line("runs", "--json").json["experiment_id"] == listed.experiment_id
    other = command_line("runs", "--experiment-id", project.experiment_id, "--json").json
    assert other["experiment_id"] == project.experiment_id


def test_a_full_id_stands_above_the_environment(command_line: CommandLine, listed: Project, other: str) -> None:
    """A full id names a run wherever it is, although the environment names another experiment."""
    os.environ["MLFLOW_EXPERIMENT_NAME"] = other

    assert command_line("show", listed.runs[1], "--json").json["run_id"] == listed.runs[1]
    assert command_line("split", f"{listed.runs[2]}=1", "--dry-run", "--json").json["submodel_name"] == listed.name


def test_a_deleted_ledger_has_its_own_exit_code(command_line: CommandLine, project: Project, server_uri: str) -> None:
    """A ledger that cannot be used is told from any other failure, with what to do."""

    async def spoil(client: AsyncMlflowClient) -> None:
        await mlflow_api.enable_run(project.runs[0], client=client)
        control = await client.get_experiment_by_name(f"mlflow-utilities/rollouts/{project.experiment_id}")
        assert control is not None
        await client.delete_experiment(control.experiment_id)

    on_server(server_uri, spoil)

    ended = command_line("runs", "-e", project.name)

    assert ended.code == 10
    assert "restore_experiment" in ended.err
