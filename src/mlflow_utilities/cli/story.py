"""The rollout that `demo` plays: small models, a service, and the commands of an operator, run for real."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import click

from mlflow_utilities import mlflow_api
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.serving import ActiveModels, Prediction

__all__ = ["clean_environ", "heading", "play"]

_EXPERIMENT = "house-prices"
_COMMAND = (sys.executable, "-c", "from mlflow_utilities.cli import main; main()")
_USERS = 100


async def play(uri: str, folder: Path) -> None:
    """Play the rollout on the server at `uri`; what is downloaded goes below `folder`."""
    environ = clean_environ(os.environ) | {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_UTILITIES_CACHE_DIR": str(folder / "cache"),
    }
    async with AsyncMlflowClient(uri, environ=environ) as client:
        await _Story(client, folder, environ).play()


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the settings of another server."""
    return {name: value for name, value in environ.items() if not name.startswith("MLFLOW_")}


class _Comparison:
    """Counts on how many copies a canary agrees with the model that answered."""

    def __init__(self) -> None:
        self.agreed = self.compared = 0
        self.done = anyio.Event()

    async def __call__(self, primary: Prediction[Any], canary: Prediction[Any], key: str | None) -> None:
        """Compare the two answers to one request."""
        self.compared += 1
        self.agreed += abs(float(primary.output[0]) - float(canary.output[0])) < 5
        if self.compared == _USERS:
            self.done.set()


class _Story:
    """The steps, each printed with the command that does it."""

    def __init__(self, client: AsyncMlflowClient, folder: Path, environ: Mapping[str, str]) -> None:
        self._client = client
        self._folder = folder
        self._environ = environ

    async def play(self) -> None:
        """Do all of it."""
        heading("save two models of version 1.0.0: each becomes a run with the status New")
        first = await self._save([0.0, 100.0, 200.0], "the one that is well known")
        challenger = await self._save([0.0, 101.0, 206.0], "the challenger")
        await self._operate("runs")

        heading("enable the first: it makes all predictions")
        await self._operate("enable", first[:8], "--why", "first release", "--yes")

        heading("the challenger becomes a canary: it gets copies of requests, and nobody sees its answers")
        await self._operate("canary", challenger[:8], "--why", "look at it on live data", "--yes")

        comparison = _Comparison()
        async with ActiveModels(
            self._client,
            experiment_name=_EXPERIMENT,
            model_version="^1",
            canary_version=None,
            on_canary=comparison,
            cache_dir=self._folder / "cache",
        ) as active:
            await self._serve(active, first, challenger, comparison)

        heading("the history: every change, who made it, and why")
        await self._operate("history")

    async def _serve(self, active: ActiveModels, first: str, challenger: str, comparison: _Comparison) -> None:
        heading(f"a service answers {_USERS} users; it found the models by itself")
        before = await self._answer(active)
        await comparison.done.wait()
        click.echo(f"the canary differs by less than 5 in {comparison.agreed} of {comparison.compared} answers")

        heading("split the requests, 70 to 30")
        await self._operate("split", f"{first[:8]}=0.7", f"{challenger[:8]}=0.3", "--why", "A/B test", "--yes")
        during = await self._answer(active)
        moved = sum(during[user] != before[user] for user in before)
        click.echo(f"{moved} users moved to the challenger, and stay with it")

        heading("roll back: one write, and every user has the model from before")
        await self._operate("rollback", "--why", "the challenger was worse", "--yes")
        after = await self._answer(active)
        click.echo("every user is back" if after == before else "not every user is back")

    async def _save(self, prices: list[float], note: str) -> str:
        model: Any = import_module("sklearn.linear_model").LinearRegression()
        model.fit([[0.0], [1.0], [2.0]], prices)
        saved = await mlflow_api.save_model(
            model,
            "1.0.0",
            mlflow_subpackage="sklearn",
            experiment_name=_EXPERIMENT,
            mutable_metadata={"note": note},
            flavor_options={"pip_requirements": ["scikit-learn"]},
            client=self._client,
        )
        click.echo(f'>>> await mlflow_api.save_model(model, "1.0.0", experiment_name="{_EXPERIMENT}")')
        click.echo(f"run {saved.run_id}  {note}")
        return saved.run_id

    async def _operate(self, *arguments: str) -> None:
        """Print a command, run it, and let it print."""
        line = (arguments[0], *arguments[1:], "--experiment", _EXPERIMENT)
        click.echo(f"$ mlflow-utilities {shlex.join(line)}")
        sys.stdout.flush()
        await anyio.run_process((*_COMMAND, *line), stdout=None, stderr=None, env=self._environ)

    async def _answer(self, active: ActiveModels) -> dict[str, str]:
        """Answer the users as a service would, and say which run answered how many."""
        status = await active.refresh()
        click.echo(
            f">>> [await active.predict([[n]], key=user) for n, user in users]  # generation {status.generation}"
        )
        answers = {f"user-{n}": await active.predict([[n % 20 / 10]], key=f"user-{n}") for n in range(_USERS)}
        for run_id, number in Counter(answer.model.run_id for answer in answers.values()).most_common():
            click.echo(f"run {run_id[:8]} answered {number} of {_USERS} users")
        return {user: answer.model.run_id for user, answer in answers.items()}


def heading(text: str) -> None:
    """Print the title of a step."""
    click.echo(f"\n== {text}")
