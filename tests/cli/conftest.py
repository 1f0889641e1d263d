"""Fixtures of the command line's tests: the command, and projects to roll out."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient
from support.command_line import CommandLine, Ended
from support.runs import Project, make_project


@pytest.fixture
def command_line(capsys: pytest.CaptureFixture[str], server_uri: str) -> CommandLine:
    """Give the command line, run in this process, on the real server."""
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "NO_COLOR"):
        os.environ.pop(name, None)
    os.environ["MLFLOW_TRACKING_URI"] = server_uri
    from mlflow_utilities.cli.app import run

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        seen = capsys.readouterr()
        return Ended(int(code), seen.out, seen.err)

    return call


@pytest.fixture
def make(server_uri: str, unique_name: str) -> Callable[..., Project]:
    """Give a function that makes an experiment with finished runs."""

    def made(runs: int = 3, version: str = "1.0.0") -> Project:
        async def work() -> Project:
            async with AsyncMlflowClient(server_uri) as client:
                return await make_project(client, unique_name, runs, version)

        return anyio.run(work)

    return made


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    """Give an experiment with three finished runs of version 1.0.0."""
    return make()


@pytest.fixture
def free_port() -> int:
    """Give a port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
