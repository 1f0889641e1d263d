"""`history`: every change of a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlflow_utilities.cli.options import Common, Named, common_options, experiment_options
from mlflow_utilities.cli.printing import fraction, print_json, print_table, say
from mlflow_utilities.cli.running import run_with_client
from mlflow_utilities.cli.shapes import entry_shape
from mlflow_utilities.cli.targets import find_submodel, submodel_hint

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.mlflow_api import RolloutEntry

__all__ = ["command"]

_COLUMNS = ("generation", "at (UTC)", "who", "verb", "live", "why")


@click.command("history")
@click.option("--limit", type=click.IntRange(min=1), metavar="NUMBER", help="At most so many generations, the newest.")
@experiment_options
@common_options
@click.pass_obj
def command(common: Common, named: Named, limit: int | None) -> None:
    """Show every change of a rollout: who, when, why.

    Oldest first. Runs are shown by the first 8 characters of their ids.
    """

    async def work(client: AsyncMlflowClient) -> tuple[str, str, list[RolloutEntry], str]:
        from mlflow_utilities.mlflow_api import rollout_history

        ledger = await find_submodel(client, named)
        entries = await rollout_history(**named.names, client=client)
        hint = "" if entries else await submodel_hint(client, ledger)
        return ledger.experiment.experiment_id, ledger.submodel, entries, hint

    experiment_id, submodel, entries, hint = run_with_client(common, work)
    entries = entries[-limit:] if limit else entries
    if common.json:
        shapes = [entry_shape(entry) for entry in entries]
        print_json({"experiment_id": experiment_id, "submodel_name": submodel, "history": shapes})
    else:
        rows = [_row(entry) for entry in entries]
        print_table(common, _COLUMNS, rows, empty=f"nothing of submodel {submodel} was ever live")
    if hint:
        say(f"hint: {hint}")


def _row(entry: RolloutEntry) -> tuple[object, ...]:
    if entry.problem is not None:
        return entry.generation, "", "", "", f"no rollout: {entry.problem}", ""
    restores = f" to {entry.restores}" if entry.restores is not None else ""
    at = entry.at.replace("T", " ").removesuffix("Z")
    return entry.generation, at, entry.who, entry.verb + restores, _live(entry), " ".join(entry.why.split())


def _live(entry: RolloutEntry) -> str:
    parts: dict[str, list[str]] = {}
    for run in entry.live:
        canary = " Canary" if run.status.name == "Canary" else ""
        parts.setdefault(str(run.version), []).append(f"{run.run_id[:8]}{canary} {fraction(run.test_fraction)}")
    return "; ".join(f"{version}: {', '.join(runs)}" for version, runs in parts.items()) or "nothing"
