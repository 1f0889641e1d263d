"""The commands of a rollout on a real server: what each changes, prints, and leaves alone."""

from __future__ import annotations

import uuid
from datetime import datetime

import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.command_line import CommandLine, generation_of, on_server, statuses_of
from support.runs import Project, legacy_run, make_project, make_run

# Every command that writes, about the runs a, b and c of a project where a is Active.
WRITING = {
    "enable": ["enable", "{b}"],
    "disable": ["disable", "{a}"],
    "canary": ["canary", "{b}"],
    "canary --share": ["canary", "{b}", "--share", "0.5"],
    "split": ["split", "{a}=0.5", "{b}=0.5", "-e", "{name}"],
    "rollback": ["rollback", "--to", "1", "-e", "{name}"],
    "revoke": ["revoke", "{a}", "--why", "wrong data"],
}


def filled(arguments: list[str], project: Project) -> list[str]:
    """Return arguments with the names of a project in place."""
    a, b, c = project.runs
    return [argument.format(a=a, b=b, c=c, name=project.name) for argument in arguments]


def two_generations(server_uri: str) -> Project:
    """Make a project whose first run was Canary, then Active."""

    async def work(client: AsyncMlflowClient) -> Project:
        project = await make_project(client, f"test-{uuid.uuid4().hex[:12]}", 3)
        await mlflow_api.canary_run(project.runs[0], client=client)
        await mlflow_api.enable_run(project.runs[0], client=client)
        return project

    return on_server(server_uri, work)


@pytest.fixture
def rolled_out(server_uri: str) -> Project:
    """Give a project with two generations."""
    return two_generations(server_uri)


@pytest.fixture(scope="module")
def untouched(server_uri: str) -> Project:
    """Give one project with two generations to all tests that show that nothing is written."""
    return two_generations(server_uri)


def test_a_rollout_by_commands(command_line: CommandLine, project: Project, server_uri: str) -> None:
    """A rollout from New to rolled back is done by commands alone, and the history tells all of it."""
    a, b, c = project.runs
    named = ("-e", project.name, "--yes")

    assert command_line("enable", a, "-y", "--why", "first").code == 0
    assert command_line("canary", b[:8], *named, "--share", "0.25").code == 0
    assert statuses_of(server_uri, project) == {a: ("Active", 1.0), b: ("Canary", 0.25), c: ("New", 0.0)}
    assert command_line("split", f"{a[:9]}=0.7", f"{b[:9]}=0.3", *named).code == 0
    assert statuses_of(server_uri, project) == {a: ("Active", 0.7), b: ("Active", 0.3), c: ("New", 0.0)}
    assert command_line("disable", a, *named).code == 0
    assert command_line("rollback", *named).code == 0
    assert statuses_of(server_uri, project) == {a: ("Active", 0.7), b: ("Active", 0.3), c: ("New", 0.0)}
    assert command_line("revoke", b, *named, "--why", "wrong data").code == 0

    history = command_line("history", "-e", project.name, "--json").json
    assert history["experiment_id"] == project.experiment_id
    assert [entry["verb"] for entry in history["history"]] == [
        "enable_run", "change_status", "update_active_runs", "disable_run", "rollback", "revoke_run",
    ]  # fmt: skip
    first, *_, last = history["history"]
    assert (first["why"], last["why"], last["revoked"]) == ("first", "wrong data", [b])
    assert last["live"] == [{"run_id": a, "version": "1.0.0", "status": "Active", "test_fraction": 1.0}]
    assert [entry["restores"] for entry in history["history"]] == [None, None, None, None, 3, None]
    newest = command_line("history", "-e", project.name, "--limit", "1").out.splitlines()
    assert len(newest) == 2
    assert f"1.0.0: {a[:8]} 1" in newest[1]


@pytest.mark.parametrize("arguments", WRITING.values(), ids=WRITING)
def test_a_dry_run_shows_the_plan_and_writes_nothing(
    command_line: CommandLine, untouched: Project, server_uri: str, arguments: list[str]
) -> None:
    """Every command that writes takes --dry-run, even beside --yes, and leaves generation and statuses as they were."""
    before = statuses_of(server_uri, untouched)

    ended = command_line(*filled(arguments, untouched), "--dry-run", "--yes", "--json")

    assert ended.code == 0, ended.err
    assert (ended.json["dry_run"], ended.json["written"]) == (True, False)
    assert (ended.json["generation"], ended.json["before"]["generation"]) == (3, 2)
    assert ended.json["before"]["live"] == [
        {"run_id": untouched.runs[0], "version": "1.0.0", "status": "Active", "test_fraction": 1.0}
    ]
    assert generation_of(server_uri, untouched) == 2
    assert statuses_of(server_uri, untouched) == before


@pytest.mark.parametrize("arguments", WRITING.values(), ids=WRITING)
def test_without_a_terminal_and_without_yes_nothing_is_written(
    command_line: CommandLine, untouched: Project, server_uri: str, arguments: list[str]
) -> None:
    """A change in production that cannot be confirmed is shown, refused with its own exit code, and not made."""
    ended = command_line(*filled(arguments, untouched), "--json")

    assert (ended.code, ended.out) == (9, "")
    assert "generation 2 becomes 3" in ended.err
    assert untouched.runs[0] in ended.err
    assert "--yes" in ended.err
    assert generation_of(server_uri, untouched) == 2


@pytest.mark.parametrize("arguments", WRITING.values(), ids=WRITING)
def test_a_change_that_was_planned_on_an_older_generation_is_a_conflict(
    command_line: CommandLine, untouched: Project, server_uri: str, arguments: list[str]
) -> None:
    """--expected-generation refuses to change what somebody else has changed since."""
    ended = command_line(*filled(arguments, untouched), "--yes", "--expected-generation", "1")

    assert (ended.code, ended.out) == (5, "")
    assert "nothing was written" in ended.err
    assert generation_of(server_uri, untouched) == 2


def test_a_dry_run_of_the_first_change_makes_no_ledger(
    command_line: CommandLine, project: Project, server_uri: str
) -> None:
    """Looking at a first rollout creates nothing at all on the server."""
    ended = command_line("enable", project.runs[0], "--dry-run")

    assert ended.code == 0
    assert ended.out.splitlines()[1].split() == [project.runs[0], "1.0.0", "not", "live", "Active", "1"]
    assert generation_of(server_uri, project) == -1


def test_a_script_makes_the_change_that_it_looked_at(
    command_line: CommandLine, project: Project, server_uri: str
) -> None:
    """The generation of a dry run binds the change to it, the first one too: the second script is too late."""
    a, b, _ = project.runs
    plan = command_line("enable", a, "--dry-run", "--json").json
    expected = ("--yes", "--expected-generation", str(plan["before"]["generation"]))

    assert command_line("enable", a, *expected).code == 0
    assert command_line("enable", b, *expected).code == 5
    assert statuses_of(server_uri, project)[a] == ("Active", 1.0)


def test_a_rollout_that_only_metrics_have_is_taken_over(
    command_line: CommandLine, server_uri: str, unique_name: str
) -> None:
    """Runs that the earlier framework made live are what a plan begins with, and what is live when nothing changes."""

    async def begin(client: AsyncMlflowClient) -> tuple[str, str]:
        experiment = await client.create_experiment(unique_name)
        live = await legacy_run(client, experiment, unique_name, (1, 0, 0), 2.0, 1.0)
        return live, await legacy_run(client, experiment, unique_name, (1, 0, 0), 1.0, 0.0)

    live, other = on_server(server_uri, begin)
    shape = {"run_id": live, "version": "1.0.0", "status": "Active", "test_fraction": 1.0}

    unchanged = command_line("enable", live, "--json")
    plan = command_line("enable", other, "--dry-run", "--json").json
    done = command_line("enable", other, "--yes", "--expected-generation", "0", "--json")

    assert (unchanged.code, unchanged.json["written"], unchanged.json["live"]) == (0, False, [shape])
    assert plan["before"] == {"generation": 0, "live": [shape]}
    assert plan["changes"] == {live: "Disabled", other: "Active"}
    assert (done.code, [run["run_id"] for run in done.json["live"]]) == (0, [other])


def test_what_is_not_about_production_is_not_asked(
    command_line: CommandLine, rolled_out: Project, server_uri: str
) -> None:
    """A run that is not live is disabled without a question, and so is a change made that is none."""
    a, b, _ = rolled_out.runs

    disabled = command_line("disable", b)
    again = command_line("enable", a)

    assert (disabled.code, again.code) == (0, 0)
    assert statuses_of(server_uri, rolled_out)[b] == ("Disabled", 0.0)
    assert "nothing was written" in again.err
    assert a in again.out
    assert generation_of(server_uri, rolled_out) == 3


def test_what_a_change_leaves_is_printed_as_json(command_line: CommandLine, project: Project) -> None:
    """A change prints the rollout it left: one JSON document of a stable shape."""
    a, _, _ = project.runs

    left = command_line("enable", a, "--yes", "--json", "--why", "first").json

    moment = datetime.fromisoformat(left.pop("at"))
    assert left.pop("at_ms") == moment.timestamp() * 1000
    assert isinstance(left.pop("who"), str)
    assert left == {
        "experiment_id": project.experiment_id,
        "submodel_name": project.name,
        "generation": 1,
        "verb": "enable_run",
        "why": "first",
        "restores": None,
        "live": [{"run_id": a, "version": "1.0.0", "status": "Active", "test_fraction": 1.0}],
        "revoked": [],
        "problem": None,
        "changes": {a: "Active"},
        "written": True,
        "dry_run": False,
        "projected": True,
        "warnings": [],
    }


def test_a_split_of_active_runs_keeps_canaries_and_says_so(
    command_line: CommandLine, project: Project, server_uri: str
) -> None:
    """Named runs that all are Active only change shares; --canary sets what is copied; weights are scaled, and told."""
    a, b, c = project.runs
    command_line("split", f"{a}=1", f"{b}=1", "-y")
    command_line("canary", c, "-y")

    shares = command_line("split", f"{a}=3", f"{b}=1", "-y")
    copied = command_line("split", f"{c}=0.1", "--canary", "-y")

    assert (shares.code, copied.code) == (0, 0)
    assert "change_test_fractions" in shares.err
    assert "add up to 4" in shares.err
    assert "add up" not in copied.err
    assert statuses_of(server_uri, project) == {a: ("Active", 0.75), b: ("Active", 0.25), c: ("Canary", 0.1)}


def test_a_split_that_promotes_a_run_disables_the_rest(
    command_line: CommandLine, rolled_out: Project, server_uri: str
) -> None:
    """As soon as one named run is not Active, the named ones become the Active runs, and the command says so."""
    a, b, c = rolled_out.runs
    command_line("canary", c, "-y")

    ended = command_line("split", f"{b}=1", f"{a}=1", "-y")

    assert "update_active_runs" in ended.err
    assert statuses_of(server_uri, rolled_out) == {a: ("Active", 0.5), b: ("Active", 0.5), c: ("Disabled", 0.0)}


def test_a_rollout_of_a_submodel(command_line: CommandLine, project: Project, server_uri: str) -> None:
    """--submodel names one of several models of an experiment, for listing, for versions as RUN, and for history."""

    async def add(client: AsyncMlflowClient) -> str:
        return await make_run(client, project.experiment_id, "other", "2.1.0")

    run = on_server(server_uri, add)
    named = ("--experiment-id", project.experiment_id, "--submodel", "other")

    enabled = command_line("enable", "2.1.0", *named, "--yes", "--json")

    assert enabled.json["live"][0]["run_id"] == run
    assert enabled.json["submodel_name"] == "other"
    assert [found["run_id"] for found in command_line("runs", *named, "--json").json["runs"]] == [run]
    assert len(command_line("history", *named, "--json").json["history"]) == 1
    assert command_line("history", "-e", project.name, "--json").json["history"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["split", "{a}=nan", "{b}=1"], 3, "finite"),
        (["split", "{a}=0", "{b}=0"], 3, "zero"),
        (["split", "{a}=1", "{a}=1"], 3, "twice"),
        (["split", "{a}=1", "{name}=1"], 3, "is not a run"),
        (["split", "{a}=much"], 2, "not a number"),
        (["split", "{a}"], 2, "RUN=SHARE"),
        (["canary", "{b}", "--share", "1.5"], 2, "range"),
        (["revoke", "{a}"], 3, "--why"),
        (["rollback", "-e", "{name}", "--to", "99"], 3, "history"),
        (["enable", "{a}", "--why", "w" * 201], 3, "200"),
        (["rollback"], 3, "--experiment"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    command_line: CommandLine, untouched: Project, server_uri: str, arguments: list[str], code: int, says: str
) -> None:
    """A bad share, run, reason or generation ends with its exit code, one sentence and a hint."""
    ended = command_line(*filled(arguments, untouched), "--yes")

    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err
    assert "error: " in ended.err
    assert "Traceback" not in ended.err
    assert generation_of(server_uri, untouched) == 2


def test_runs_of_two_versions_are_not_one_split(command_line: CommandLine, project: Project, server_uri: str) -> None:
    """A split is about one version; a run of another is refused before anything is written."""

    async def add(client: AsyncMlflowClient) -> str:
        return await make_run(client, project.experiment_id, project.name, "2.0.0")

    other = on_server(server_uri, add)

    ended = command_line("split", f"{project.runs[0]}=1", f"{other}=1", "-y")

    assert ended.code == 3
    assert "1.0.0, 2.0.0" in ended.err
