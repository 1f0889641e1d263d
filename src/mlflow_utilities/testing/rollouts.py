"""Rollouts for tests: described in a few words, made by the real verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.mlflow_api.values import Rollout
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version, VersionLike
from mlflow_utilities.testing.clock import FakeClock
from mlflow_utilities.testing.saved_runs import ToSave, save_run
from mlflow_utilities.testing.server import InMemoryMlflow
from mlflow_utilities.testing.stand_ins import ConstantModel, model_of
from mlflow_utilities.testing.wishes import Wanted, fulfil

__all__ = ["RolloutRun", "RolloutTestData"]


class RolloutRun:
    """A run of a `RolloutTestData`: New until one of the methods says otherwise; each returns the run itself."""

    def __init__(self, to_save: ToSave) -> None:
        self._to_save = to_save
        self._run_id: str | None = None
        self.status = ModelStatus.New
        self.test_fraction: float | None = 0.0

    def __repr__(self) -> str:
        return f"RolloutRun({self.name!r}, {str(self.version)!r}, {self.status}, run_id={self._run_id!r})"

    @property
    def name(self) -> str:
        """The run's name."""
        return self._to_save.name

    @property
    def version(self) -> Version:
        """The model's version."""
        return self._to_save.version

    @property
    def model(self) -> Any:
        """The object that a service loads, the same one each time, so that a test can look at what it was asked."""
        return self._to_save.model

    @property
    def run_id(self) -> str:
        """The run's id; InvalidInputError before `apply`."""
        if self._run_id is None:
            raise InvalidInputError(f"the run {self.name!r} does not exist yet", hint="await data.apply() first")
        return self._run_id

    def active(self, test_fraction: float | None = None) -> Self:
        """Let it be Active with this share of the requests, above 0 and up to 1; None: what the others leave."""
        if test_fraction is not None:
            test_fraction = _check(test_fraction, self.name, above_zero=True)
        return self._become(ModelStatus.Active, test_fraction)

    def canary(self, test_fraction: float = 1.0) -> Self:
        """Let it be a Canary that gets copies of this share of the requests, from 0 to 1."""
        return self._become(ModelStatus.Canary, _check(test_fraction, self.name))

    def disabled(self) -> Self:
        """Let it be Disabled."""
        return self._become(ModelStatus.Disabled, 0.0)

    def new(self) -> Self:
        """Let it be New, as right after saving."""
        return self._become(ModelStatus.New, 0.0)

    def _become(self, status: ModelStatus, test_fraction: float | None) -> Self:
        self.status = status
        self.test_fraction = test_fraction
        return self

    async def save(self, client: AsyncMlflowClient) -> str:
        """Make the run if there is none yet; called by `apply`. Returns its experiment's id."""
        self._run_id, experiment_id = await save_run(client, self._to_save)
        return experiment_id

    @property
    def is_saved(self) -> bool:
        """Whether the run exists."""
        return self._run_id is not None

    @property
    def place(self) -> tuple[str | None, str]:
        """The submodel and version whose requests it shares with others."""
        return self._to_save.submodel_name, self.version.without_build


class RolloutTestData:
    """The runs, models and statuses of one experiment, as a test wants them.

    Describe runs with `run`, make them with `await apply(server)`; describe changes on the runs, and make those with
    `await update()`. Args: the experiment's name; `server`, an InMemoryMlflow, whose clock it never waits for, or a
    client of a real server, spares giving it to `apply`.
    """

    def __init__(self, experiment_name: str, server: InMemoryMlflow | AsyncMlflowClient | None = None) -> None:
        self.experiment_name = experiment_name
        self.runs: list[RolloutRun] = []
        self._server = server
        self._experiment_id: str | None = None

    def __repr__(self) -> str:
        return f"RolloutTestData({self.experiment_name!r}, {len(self.runs)} runs)"

    @property
    def experiment_id(self) -> str:
        """The experiment's id; InvalidInputError before `apply`."""
        if self._experiment_id is None:
            raise InvalidInputError("nothing exists yet", hint="describe a run and await data.apply() first")
        return self._experiment_id

    def run(
        self,
        version: VersionLike,
        *,
        model: Any = None,
        answer: Any = UNSET,
        name: str | None = None,
        submodel_name: str | None = None,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RolloutRun:
        """Describe a run with a model; it is New until `.active()` and the like say otherwise.

        Args: `version`, e.g. "1.2.0"; `model`, an object with `predict` or a function of the data, or `answer`, what is
        always predicted; without either it predicts the run's name. `name` of the run, else its version;
        `submodel_name`, else the experiment's name; further `params`, `metrics` and `tags`.

        Raises InvalidInputError for a version, model or number that cannot be, a name that is taken, and params,
        metrics and tags in which the rollout itself is kept.
        """
        parsed = Version.parse(version)
        called = self._free_name(str(parsed)) if name is None else _checked_name(name)
        if any(run.name == called for run in self.runs):
            raise InvalidInputError(f"there are two runs {called!r}", hint="give each its own name")
        to_save = ToSave(
            experiment_name=self.experiment_name,
            submodel_name=submodel_name,
            version=parsed,
            name=called,
            model=_model(model, answer, called),
            params=params or {},
            metrics=metrics or {},
            tags=tags or {},
        )
        run = RolloutRun(to_save)
        self.runs.append(run)
        return run

    def _free_name(self, version: str) -> str:
        taken = {run.name for run in self.runs}
        names = (version if number == 1 else f"{version} #{number}" for number in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)

    async def apply(self, server: InMemoryMlflow | AsyncMlflowClient | None = None) -> list[Rollout]:
        """Make the runs that do not exist yet, then make every status and share so; returns what the verbs returned.

        `server`, or a client, is remembered for `update`. Raises InvalidInputError before anything is sent when the
        shares of a version do not make 1 or there is no server, and what the verbs raise.
        """
        self._server = server or self._server
        if self._server is None:
            raise InvalidInputError("no server is given", hint="await data.apply(server)")
        using = _client_of(self._server)
        groups = self._groups()
        fractions = {place: _shares(runs) for place, runs in groups.items()}
        for run in self.runs:
            if not run.is_saved:
                self._experiment_id = await run.save(using)
        done: list[Rollout] = []
        for (submodel, version), runs in groups.items():
            wanted = {run.run_id: Wanted(run.status, fractions[submodel, version][run.name]) for run in runs}
            done += await fulfil(using, self.experiment_name, submodel, version, wanted)
        return done

    async def update(self) -> list[Rollout]:
        """Make what was described since; arguments, result and errors are those of `apply`."""
        return await self.apply()

    def _groups(self) -> dict[tuple[str | None, str], list[RolloutRun]]:
        groups: dict[tuple[str | None, str], list[RolloutRun]] = {}
        for run in self.runs:
            groups.setdefault(run.place, []).append(run)
        return groups


def _client_of(server: InMemoryMlflow | AsyncMlflowClient) -> AsyncMlflowClient:
    if isinstance(server, InMemoryMlflow):
        return server.client(clock=FakeClock(now_ms=server.clock.now_ms()))
    return server


def _model(model: Any, answer: Any, name: str) -> Any:
    if model is not None and not isinstance(answer, Unset):
        raise InvalidInputError("both model and answer are given", hint="give one of them")
    if model is not None:
        return model_of(model)
    return ConstantModel(name if isinstance(answer, Unset) else answer)


def _check(fraction: object, name: str, *, above_zero: bool = False) -> float:
    least = "above 0" if above_zero else "from 0"
    share = float(fraction) if isinstance(fraction, int | float) and not isinstance(fraction, bool) else -1.0
    if not 0 <= share <= 1 or (above_zero and not share):
        raise InvalidInputError(f"the share of {name!r} is {fraction!r}", hint=f"use a number {least} up to 1")
    return share


def _checked_name(name: object) -> str:
    if isinstance(name, str) and name:
        return name
    raise InvalidInputError(f"the name of a run is {name!r}", hint="give text that is not empty")


def _shares(runs: list[RolloutRun]) -> dict[str, float]:
    """Return the shares by name, those that are left open filled in."""
    active = [run for run in runs if run.status is ModelStatus.Active]
    given = sum(run.test_fraction or 0.0 for run in active)
    left_open = sum(run.test_fraction is None for run in active)
    rest = (1.0 - given) / left_open if left_open else 0.0
    if active and (rest < 1e-9 if left_open else abs(given - 1.0) > 1e-9):
        shares = ", ".join(f"{run.name!r}: {run.test_fraction}" for run in active)
        raise InvalidInputError(
            f"the shares of version {runs[0].version} make {given:g} ({shares})",
            hint="let them make 1, or leave one open: .active()",
        )
    return {run.name: rest if run.test_fraction is None else run.test_fraction for run in runs}
