"""`doctor`: is this machine fit, does the server answer, and what to do where not."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import click

from mlflow_utilities.cli.checks import Check, Outcome, environment_check, failed, proxy_check
from mlflow_utilities.cli.exits import Exit
from mlflow_utilities.cli.options import Common, common_options
from mlflow_utilities.cli.printing import print_json, shown
from mlflow_utilities.cli.probing import cache_on_disk, extras, http_library, server, way
from mlflow_utilities.cli.write_probe import WRITE_CHECKS, write_probe
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.config import Settings, read_settings
from mlflow_utilities.errors import ConfigurationError

__all__ = ["command"]

_SECONDS = 5.0
_ON_THE_WAY = ("dns", "tcp", "tls")
_OF_THE_SERVER = ("server", "auth", "version", "store", "clock")
_STYLES = {Outcome.OK: "green", Outcome.WARN: "yellow", Outcome.FAIL: "red", Outcome.SKIPPED: "bright_black"}


@click.command()
@click.option("--write", is_flag=True, help="Also write: a param, a file, in an experiment that is deleted afterwards.")
@common_options
@click.pass_obj
def command(common: Common, write: bool) -> int:
    """Check the connection to the server and this machine, and say what to do.

    Every line is ok, warn, fail or skipped. Passwords and tokens are not shown. Exits with 1 when something failed.
    """
    report = _Report(common)
    anyio.run(_examine, common, write, report)
    report.end()
    return Exit.FAILED if any(check.outcome is Outcome.FAIL for check in report.checks) else Exit.DONE


class _Report:
    """Prints each check as it comes, or all of them as one JSON document."""

    def __init__(self, common: Common) -> None:
        self.checks: list[Check] = []
        self._common = common
        self._styled = common.color and sys.stdout.isatty()

    def __call__(self, check: Check) -> None:
        """Take a check."""
        self.checks.append(check)
        if self._common.json:
            return
        click.echo(f"{self._outcome(check.outcome)}{check.name:<13}{shown(' '.join(check.found.split()))}")
        if check.advice:
            click.echo(f"{'':<21}-> {shown(' '.join(check.advice.split()))}")

    def skip(self, names: tuple[str, ...], why: str) -> None:
        """Take checks that were not made, for one reason: one line."""
        self.checks += [Check(name, Outcome.SKIPPED, why) for name in names]
        if names and not self._common.json:
            click.echo(f"{self._outcome(Outcome.SKIPPED)}{', '.join(names)}: {why}")

    def _outcome(self, outcome: Outcome) -> str:
        text = f"{outcome.value:<8}"
        return click.style(text, fg=_STYLES[outcome]) if self._styled else text

    def end(self) -> None:
        """Print what remains to be printed."""
        count = {outcome: sum(check.outcome is outcome for check in self.checks) for outcome in Outcome}
        if self._common.json:
            print_json(
                {"ok": not count[Outcome.FAIL], "checks": [check.as_dict() for check in self.checks]},
            )
        else:
            click.echo(", ".join(f"{number} {outcome.value}" for outcome, number in count.items() if number))


async def _examine(common: Common, write: bool, report: _Report) -> None:
    for check in (http_library(), extras(), cache_on_disk(os.environ), environment_check(os.environ)):
        report(check)
    try:
        settings = read_settings(os.environ, tracking_uri=common.tracking_uri)
    except ConfigurationError as error:
        report(failed("settings", error))
        report.skip(("proxy", *_ON_THE_WAY, *_OF_THE_SERVER, *WRITE_CHECKS), "the settings cannot work")
        return
    report(Check("settings", Outcome.OK, f"the server is {settings.tracking_uri}"))
    report(proxy_check(settings.proxy, settings.tracking_uri, os.environ))
    seconds = common.timeout or _SECONDS
    if not await _all_well(way(settings, seconds), _ON_THE_WAY, report):
        report.skip((*_OF_THE_SERVER, *WRITE_CHECKS), "the server is not reached")
        return
    await _ask(settings, common, seconds, write, report)


async def _ask(settings: Settings, common: Common, seconds: float, write: bool, report: _Report) -> None:
    try:
        client = AsyncMlflowClient(common.tracking_uri, timeout=seconds, max_retries=0)
    except ConfigurationError as error:
        report(failed("server", error))
        report.skip((*_OF_THE_SERVER[1:], *WRITE_CHECKS), "the settings cannot work")
        return
    async with client:
        if not await _all_well(server(client, settings), _OF_THE_SERVER, report):
            report.skip(WRITE_CHECKS, "the server does not answer as it should")
        elif write:
            await _all_well(write_probe(client), WRITE_CHECKS, report)
        else:
            report.skip(WRITE_CHECKS, "nothing is written without --write")


async def _all_well(checks: AsyncGenerator[Check], names: tuple[str, ...], report: _Report) -> bool:
    """Report each check, and those that it did not come to; return whether it came to the end."""
    seen: set[str] = set()
    last = Outcome.OK
    async with aclosing(checks) as opened:
        async for check in opened:
            report(check)
            seen.add(check.name)
            last = check.outcome
    missing = tuple(name for name in names if name not in seen)
    report.skip(missing, "something above failed")
    return not missing and last is not Outcome.FAIL
