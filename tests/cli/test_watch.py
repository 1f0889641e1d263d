"""`watch`: what is told of a rollout and of its poll, when it ends, and that a dead server is waited for."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO

import httpx
import pytest
from rich.console import Console

from mlflow_utilities import AsyncMlflowClient, ModelStatus, mlflow_api
from mlflow_utilities.cli.commands.watch import Stop
from mlflow_utilities.cli.following import Follower
from mlflow_utilities.cli.live_view import LiveView, rendered
from mlflow_utilities.cli.options import Named
from mlflow_utilities.cli.watching import Seen, as_json, change_line, differs, duration, poll_line, rows
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.serving.values import PollError
from support.command_line import CommandLine, on_server
from support.ledgers import new_clock
from support.runs import Project, make_project
from support.transports import Fault, faulty_client

PROGRAM = [sys.executable, "-c", "from mlflow_utilities.cli import main; main()", "watch", "--interval", "0.2"]
DOWN = PollError("network", "cannot connect\nat all", 5)
DOCUMENT = Document(
    7, 6, "op", "update_active_runs", "ana", "A/B \x1b[31mtest", "2026-11-24T15:00:00Z", "salt",
    {
        "1.0.0": (LiveEntry("r" * 32, ModelStatus.Active, ((0, 10_000),), 0),),
        "1.10.0": (
            LiveEntry("a" * 32, ModelStatus.Active, ((0, 3000),), 0),
            LiveEntry("b" * 32, ModelStatus.Active, ((3000, 10_000),), 0),
            LiveEntry("c" * 32, ModelStatus.Canary, (), 2500),
        ),
    },
)  # fmt: skip
SEEN = Seen("fraud", DOCUMENT, True, None, 0.012, 1_795_000_000_000, 4.0)


@contextmanager
def watching(uri: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Watch in a process of its own, whose output is no terminal."""
    environ = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    process = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[str]) -> str:
    """Return the next line it prints, as soon as it does."""
    output: IO[str] | None = process.stdout
    assert output is not None
    return output.readline()


def enable(uri: str, run_id: str, why: str) -> None:
    """Change a rollout."""
    on_server(uri, lambda client: mlflow_api.enable_run(run_id, client=client, why=why))


def test_each_change_is_a_line(server_uri: str, project: Project) -> None:
    """What is found first, then what operators do; it ends after as many as were wished."""
    a, b, _ = project.runs
    with watching(server_uri, "-e", project.name, "--count", "3") as process:
        assert "nothing is rolled out yet" in next_line(process)
        enable(server_uri, a, "first")
        first = next_line(process)
        enable(server_uri, b, "second")
        second = next_line(process)
        assert process.wait(20) == 0

    assert f"generation 1: 1.0.0 {a[:8]} Active 1; enable_run by " in first
    assert first.endswith(": first\n")
    assert f"generation 2: 1.0.0 {b[:8]} Active 1" in second


def test_a_script_waits_for_a_generation(server_uri: str, project: Project) -> None:
    """With --json each change is one object on one line."""
    enable(server_uri, project.runs[0], "first")
    with watching(server_uri, "-e", project.name, "--until-generation", "2", "--json") as process:
        before = json.loads(next_line(process))
        enable(server_uri, project.runs[1], "second")
        after = json.loads(next_line(process))
        assert process.wait(20) == 0

    assert (before["generation"], after["generation"], after["why"]) == (1, 2, "second")
    assert after["runs"] == [{"run_id": project.runs[1], "version": "1.0.0", "status": "Active", "test_fraction": 1.0}]
    assert after["poll"]["ok"]


def test_what_is_there_already_is_not_waited_for(command_line: CommandLine, server_uri: str, project: Project) -> None:
    """A later generation than the one asked for will do."""
    enable(server_uri, project.runs[0], "first")
    enable(server_uri, project.runs[1], "second")

    ended = command_line("watch", "-e", project.name, "--until-generation", "1", "--interval", "0.2")

    assert ended.code == 0
    assert len(ended.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-e", "no such experiment"], 4, "there is no experiment"),
        ([], 3, "--experiment NAME"),
        (["-e", "x", "--interval", "0"], 2, "--interval"),
        (["-e", "x", "--count", "0"], 2, "--count"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    command_line: CommandLine, arguments: list[str], code: int, said: str
) -> None:
    """At once, and not only when polls go on failing."""
    ended = command_line("watch", *arguments)

    assert ended.code == code
    assert said in ended.err


def test_a_dead_server_is_told_and_waited_for(command_line: CommandLine, free_port: int) -> None:
    """It counts as a change; the next poll is announced."""
    ended = command_line("watch", "-e", "fraud", "--count", "1", "--tracking-uri", f"http://127.0.0.1:{free_port}")

    assert ended.code == 0
    assert "network: " in ended.out
    assert "nothing is known yet; next poll in " in ended.out


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_ends_it(server_uri: str, project: Project, terminal: bool) -> None:
    """With 130, on a terminal and without one, and no traceback."""
    ours, theirs = pty.openpty()
    errors = subprocess.PIPE if not terminal else theirs
    process = subprocess.Popen(
        [*PROGRAM, "-e", project.name, "--no-color"],
        stdout=theirs if terminal else subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "MLFLOW_TRACKING_URI": server_uri, "TERM": "xterm"},
    )
    try:
        seen = b""
        reading = ours if terminal else process.stdout
        while b"nothing is rolled out yet" not in seen:
            assert select.select([reading], [], [], 30)[0]
            seen += os.read(reading if isinstance(reading, int) else reading.fileno(), 4096)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 130
    assert b"Traceback" not in seen + (said or b"")


@pytest.mark.anyio
async def test_an_outage_is_survived_from_the_first_poll_on(server_uri: str, unique_name: str) -> None:
    """A server that refuses is asked again, ever later; then polls go on as if nothing had been."""
    async with AsyncMlflowClient(server_uri) as client:
        project = await make_project(client, unique_name)
        await mlflow_api.enable_run(project.runs[0], client=client)
    down = {1, 2, 8, 9}

    def script(number: int, request: httpx.Request) -> Fault | None:
        return Fault.REFUSE if number in down else None

    seen: list[Seen] = []

    def on_seen(now: Seen) -> bool:
        seen.append(now)
        return len(seen) == 8

    async with faulty_client(server_uri, script) as (client, _):
        await Follower(client, Named(experiment_name=unique_name), interval=0.05).run(on_seen)

    kinds = [(now.error and now.error.kind, now.generation, now.failures) for now in seen]
    assert kinds[:3] == [("network", 0, 1), ("network", 0, 2), (None, 1, 0)]
    assert ("network", 1, 1) in kinds
    assert kinds[-1] == (None, 1, 0)
    assert not seen[0].reached
    assert seen[1].wait > 0.05


@pytest.mark.anyio
async def test_the_watcher_may_stop_before_the_server_is_back(unique_name: str) -> None:
    """Nothing is waited for then; an experiment that does not exist is an error instead."""
    async with faulty_client("http://127.0.0.1:9", lambda number, request: Fault.REFUSE, clock=new_clock()) as (
        client,
        _,
    ):
        await Follower(client, Named("1"), interval=1.0).run(lambda seen: True)
    missing = httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"})
    async with faulty_client("http://127.0.0.1:9", lambda number, request: missing, clock=new_clock()) as (client, _):
        with pytest.raises(InvalidInputError, match="no experiment"):
            await Follower(client, Named(experiment_name=unique_name), interval=1.0).run(lambda seen: True)


def test_rows_are_newest_version_and_largest_share_first() -> None:
    """By precedence of versions, not by their text; canaries last."""
    assert [(row.version, row.run_id[0], row.share) for row in rows(DOCUMENT)] == [
        ("1.10.0", "b", 0.7),
        ("1.10.0", "a", 0.3),
        ("1.10.0", "c", 0.25),
        ("1.0.0", "r", 1.0),
    ]
    assert rows(None) == []


def test_news_is_another_generation_or_another_kind_of_trouble() -> None:
    """The same failure again is none; being back is."""
    down = replace(SEEN, error=DOWN)
    assert differs(None, SEEN)
    assert not differs(SEEN, replace(SEEN, took=2.0))
    assert differs(SEEN, down)
    assert not differs(down, replace(down, error=replace(DOWN, message="another text"), failures=2))
    assert differs(down, SEEN)
    assert differs(replace(SEEN, document=None, reached=False), replace(SEEN, document=None))


def test_a_line_stays_one_line_whatever_others_wrote() -> None:
    """Line ends and escape sequences of reasons and answers do not reach the terminal."""
    for text in (
        change_line(None, SEEN),
        change_line(SEEN, replace(SEEN, error=DOWN)),
        poll_line(replace(SEEN, error=DOWN, failures=3), 1.0),
    ):
        assert text.isprintable()
    assert change_line(replace(SEEN, error=DOWN), SEEN).startswith(
        "MLflow is back; generation 7: 1.10.0 bbbbbbbb Active 0.7"
    )
    assert "generation 7 stays; next poll in 4.0 s" in change_line(SEEN, replace(SEEN, error=DOWN))


def test_the_poll_says_how_it_went() -> None:
    """How long it took, when the next one comes, how many failed."""
    assert poll_line(SEEN, 3.21) == "last poll took 12 ms; next in 3.2 s"
    assert poll_line(replace(SEEN, error=DOWN, took=2.0, failures=1), 0).startswith(
        "poll failed, the last after 2.0 s;"
    )
    assert poll_line(replace(SEEN, error=DOWN, failures=3), 250).startswith("3 polls failed in a row")
    assert [duration(seconds) for seconds in (0.5, 12, 150)] == ["0.5 s", "12 s", "2.5 min"]


def test_the_picture_shows_runs_reason_and_poll() -> None:
    """Without colours it is text; markup in names is not obeyed."""
    output = io.StringIO()
    console = Console(file=output, width=120, no_color=True)
    for seen in (SEEN, replace(SEEN, submodel="[red]x", error=DOWN), replace(SEEN, document=None, reached=False)):
        console.print(rendered(seen, 2.0, 1))

    text = output.getvalue()
    assert "fraud: generation 7" in text
    assert "[red]x" in text
    assert "0.25 of copies" in text
    assert "nothing is known yet" in text
    assert "1 change seen" in text


def test_the_view_counts_changes() -> None:
    """And draws what it was shown last."""
    output = io.StringIO()
    with LiveView(False, Console(file=output, width=120, force_terminal=True)) as view:
        view.show(SEEN, changed=True)
        view.show(replace(SEEN, submodel="other"), changed=True)

    assert "asking the server" in output.getvalue()
    assert "2 changes seen" in output.getvalue()


def test_when_to_stop() -> None:
    """After so many changes, or at a generation, whichever comes first; else never."""
    stop = Stop(2, None)
    assert [stop.after(SEEN, changed=changed) for changed in (True, False, True)] == [False, False, True]
    assert [Stop(None, wanted).after(SEEN, changed=False) for wanted in (7, 6, 8)] == [True, True, False]
    assert not Stop(None, None).after(SEEN, changed=True)


def test_json_has_everything() -> None:
    """Also what went wrong."""
    value = as_json(replace(SEEN, error=DOWN, failures=2))

    assert (value["generation"], len(value["runs"]), value["revoked"]) == (7, 4, [])
    assert value["poll"] == {
        "ok": False, "took": 0.012, "next": 4.0, "failures": 2,
        "error": {"kind": "network", "message": "cannot connect\nat all"},
    }  # fmt: skip
    assert as_json(replace(SEEN, document=None))["generation"] is None
