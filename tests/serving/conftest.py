"""Fixtures of services: an operator's client, a service's, and models to serve."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.clock import SteppedClock
from support.serving import ServedProject, make_served_project


@pytest.fixture
async def operator(server_uri: str) -> AsyncIterator[AsyncMlflowClient]:
    """Give the client of an operator."""
    async with AsyncMlflowClient(server_uri) as client:
        yield client


@pytest.fixture
async def client(server_uri: str) -> AsyncIterator[AsyncMlflowClient]:
    """Give the client of a service, for which no time passes by itself: it polls when a test says refresh()."""
    async with AsyncMlflowClient(server_uri, clock=SteppedClock()) as client:
        yield client


@pytest.fixture
async def project(operator: AsyncMlflowClient, unique_name: str) -> ServedProject:
    """Give two runs of 1.0.0 with models, the first of which is Active."""
    made = await make_served_project(operator, unique_name)
    await mlflow_api.enable_run(made.runs["a"], client=operator)
    return made
