"""Options that commands share, and what they say."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import click

__all__ = [
    "Common",
    "FiniteRange",
    "Named",
    "Names",
    "Writing",
    "common_of",
    "common_options",
    "experiment_options",
    "named_of",
    "writing_command",
    "writing_options",
]

F = TypeVar("F", bound=Callable[..., Any])
_DEBUG = "MLFLOW_UTILITIES_DEBUG"


class FiniteRange(click.FloatRange):
    """A number within limits; "nan", which is within any limits, and "inf" are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


@dataclass(slots=True)
class Common:
    """Options of every command. `timeout` is in seconds for one call with its repetitions; None leaves the default."""

    tracking_uri: str | None = None
    json: bool = False
    color: bool = True
    timeout: float | None = None
    debug: bool = False


class Names(TypedDict):
    """Arguments of the verbs."""

    experiment_id: str | None
    experiment_name: str | None
    submodel_name: str | None


@dataclass(frozen=True, slots=True)
class Named:
    """The submodel that a command is about; `given` tells options of the command from environment variables."""

    experiment_id: str | None = None
    experiment_name: str | None = None
    submodel_name: str | None = None
    given: bool = False

    @property
    def names(self) -> Names:
        """The arguments by which the verbs name it."""
        return Names(
            experiment_id=self.experiment_id,
            experiment_name=self.experiment_name,
            submodel_name=self.submodel_name,
        )

    @property
    def known(self) -> bool:
        """Whether an experiment is named."""
        return self.experiment_id is not None or self.experiment_name is not None


@dataclass(frozen=True, slots=True)
class Writing:
    """How a change is made."""

    dry_run: bool = False
    yes: bool = False
    why: str = ""
    expected_generation: int | None = None


def common_options(function: F) -> F:
    """Add the options of every command; they work before and after the command's name, and reach it as `Common`."""
    for option in reversed(
        (
            click.option(
                "--tracking-uri",
                metavar="URI",
                help="Address of the MLflow server.  [env: MLFLOW_TRACKING_URI]",
                expose_value=False,
                callback=_store,
            ),
            click.option(
                "--timeout",
                type=FiniteRange(min=0, min_open=True),
                metavar="SECONDS",
                help="Time for one call to the server, with its repetitions.  [default: 30]",
                expose_value=False,
                callback=_store,
            ),
            click.option(
                "--json",
                is_flag=True,
                default=None,
                help="Print one JSON document instead of tables.",
                expose_value=False,
                callback=_store,
            ),
            click.option(
                "--no-color",
                is_flag=True,
                default=None,
                help="No colours.  [env: NO_COLOR]",
                expose_value=False,
                callback=_store,
            ),
            click.option(
                "--debug",
                is_flag=True,
                default=None,
                help=f"Show the traceback of an error.  [env: {_DEBUG}]",
                expose_value=False,
                callback=_store,
            ),
        )
    ):
        function = option(function)
    return function


def common_of(environ: Mapping[str, str]) -> Common:
    """Return what the environment says of the options of every command."""
    return Common(color=not environ.get("NO_COLOR"), debug=bool(environ.get(_DEBUG)))


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    common = context.ensure_object(Common)
    if value is None:
        return
    if parameter.name == "no_color":
        common.color = not value
    else:
        setattr(common, str(parameter.name), value)


def experiment_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--experiment`, `--experiment-id` and `--submodel`, which reach the command as `named`."""

    @click.option("--experiment", "-e", metavar="NAME", help="Name of the experiment.  [env: MLFLOW_EXPERIMENT_NAME]")
    @click.option("--experiment-id", metavar="ID", help="Id of the experiment.  [env: MLFLOW_EXPERIMENT_ID]")
    @click.option("--submodel", metavar="NAME", help="Name of the submodel.  [default: the experiment's name]")
    @functools.wraps(function)
    def wrapped(
        *args: Any, experiment: str | None, experiment_id: str | None, submodel: str | None, **kwargs: Any
    ) -> Any:
        return function(*args, named=named_of(experiment, experiment_id, submodel), **kwargs)

    return wrapped


def named_of(experiment: str | None, experiment_id: str | None, submodel: str | None) -> Named:
    """Return what options name, else what the environment variables of MLflow's client do."""
    given = experiment is not None or experiment_id is not None
    if not given:
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or None
        experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or None
    return Named(experiment_id, experiment, submodel, given)


def writing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--dry-run`, `--yes`, `--why` and `--expected-generation`, which reach the command as `writing`."""

    @click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
    @click.option("--yes", "-y", is_flag=True, help="Do not ask before a change in production.")
    @click.option("--why", default="", metavar="TEXT", help="Reason, for the history; at most 200 characters.")
    @click.option(
        "--expected-generation",
        type=click.IntRange(min=0),
        metavar="NUMBER",
        help="Refuse if the rollout is at another generation.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, dry_run: bool, yes: bool, why: str, expected_generation: int | None, **kwargs: Any) -> Any:
        return function(*args, writing=Writing(dry_run, yes, why, expected_generation), **kwargs)

    return wrapped


def writing_command(
    name: str, *own: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command that changes a rollout: it takes its `own` parameters, and the options of all such commands."""

    def made(function: Callable[..., None]) -> click.Command:
        decorated: Callable[..., Any] = experiment_options(writing_options(common_options(click.pass_obj(function))))
        for add in reversed(own):
            decorated = add(decorated)
        return click.command(name)(decorated)

    return made
