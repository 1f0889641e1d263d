"""`cache`: the models on this machine, and room for others."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import click

from mlflow_utilities.cli.cleaning import age, age_of, bytes_of, size, to_prune
from mlflow_utilities.cli.confirming import confirm
from mlflow_utilities.cli.exits import Exit
from mlflow_utilities.cli.options import Common, common_options
from mlflow_utilities.cli.printing import print_json, print_table, say
from mlflow_utilities.models.cache import default_cache_dir
from mlflow_utilities.models.cache_directory import CacheDirectory
from mlflow_utilities.models.cache_values import Kept
from mlflow_utilities.stores.files import os_errors

__all__ = ["command"]


def _bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the bytes that an option says."""
    found = None if value is None else bytes_of(value)
    if value is not None and found is None:
        raise click.BadParameter(f"{value!r} is not a size: give 10GB, 512MiB or a number of bytes")
    return found


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that an option says."""
    found = None if value is None else age_of(value)
    if value is not None and found is None:
        raise click.BadParameter(f"{value!r} is not an age: give 30d, 12h, 90m or 45s")
    return found


def _directory(ctx: click.Context, param: click.Parameter, value: str | None) -> Path:
    """Return the directory that an option says, else that of every process on this machine."""
    if value == "":
        raise click.BadParameter("it is empty: it would be the directory you are in")
    return default_cache_dir(os.environ) if value is None else Path(value)


class _Cache:
    """The cache, as the commands look at it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = CacheDirectory(root)
        with os_errors(f"read the model cache {root}"):
            self.kept = sorted(self.directory.contents(), key=lambda item: item.used, reverse=True)
        self.in_use = {item.key for item in self.kept if self.directory.is_in_use(item.key)}

    @property
    def size(self) -> int:
        """Bytes of all models."""
        return sum(item.size for item in self.kept)

    def state(self, item: Kept) -> str:
        """Return how a model is."""
        return "in use" if item.key in self.in_use else "idle" if item.complete else "damaged"

    def as_dict(self, item: Kept) -> dict[str, object]:
        """Return a model as plain values: bytes, and when it was used in ms since 1970."""
        path = self.root / "models" / item.key
        return {
            "model_uri": item.uri,
            "size": item.size,
            "files": item.files,
            "used": int(item.used * 1000) or None,
            "state": self.state(item),
            "server": item.server,
            "location": item.location,
            "path": str(path / "files"),
        }

    def cells(self, item: Kept) -> tuple[object, ...]:
        """Return a model as a row of the table."""
        used = age(time.time() - item.used) if item.used else "never"
        return (item.uri or f"{item.key[:12]}...", size(item.size), used, self.state(item))


_COLUMNS = ("model", "size", "used", "state")


@click.group()
@click.option(
    "--cache-dir",
    type=click.Path(file_okay=False),
    callback=_directory,
    help="Directory of the cache.  [env: MLFLOW_UTILITIES_CACHE_DIR; default: in your cache directory]",
)
@common_options
@click.pass_context
def command(ctx: click.Context, cache_dir: Path) -> None:
    """Show and clean the cache of downloaded models. No server is asked."""
    ctx.meta[_ROOT] = cache_dir


_ROOT = "mlflow_utilities.cache_dir"


def _root() -> Path:
    root: Path = click.get_current_context().meta[_ROOT]
    return root


@command.command("list")
@common_options
@click.pass_obj
def list_models(common: Common) -> None:
    """List the models in the cache, used last first."""
    cache = _Cache(_root())
    if common.json:
        print_json([cache.as_dict(item) for item in cache.kept])
        return
    rows = [cache.cells(item) for item in cache.kept]
    print_table(common, _COLUMNS, rows, empty=f"no models in {cache.root}")


@command.command("size")
@common_options
@click.pass_obj
def show_size(common: Common) -> None:
    """Show how much room the models take, and how much is left on the disk."""
    cache = _Cache(_root())
    free = _free(cache.root)
    if common.json:
        print_json({"path": str(cache.root), "models": len(cache.kept), "size": cache.size, "free": free})
        return
    models = "1 model" if len(cache.kept) == 1 else f"{len(cache.kept)} models"
    left = "" if free is None else f"; {size(free)} free on the disk"
    click.echo(f"{size(cache.size)} in {models}{left}")


@command.command()
@common_options
@click.pass_obj
def path(common: Common) -> None:
    """Print the directory of the cache."""
    if common.json:
        print_json({"path": str(_root())})
    else:
        click.echo(str(_root()))


@command.command()
@click.option(
    "--older-than", callback=_seconds, metavar="AGE", help="Remove models not used for so long: 30d, 12h, 90m."
)
@click.option("--max-bytes", callback=_bytes, metavar="SIZE", help="Remove the least used until so much is left: 10GB.")
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@common_options
@click.pass_obj
def prune(common: Common, older_than: float | None, max_bytes: int | None, dry_run: bool, yes: bool) -> None:
    """Remove models that were not used for long, or do not fit; damaged ones too. Models in use stay."""
    if older_than is None and max_bytes is None:
        raise click.UsageError("say what goes: --older-than, --max-bytes, or both; `cache clear` removes all")
    cache = _Cache(_root())
    _remove(common, cache, to_prune(cache.kept, cache.in_use, time.time(), older_than, max_bytes), dry_run, yes)


@command.command()
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@common_options
@click.pass_obj
def clear(common: Common, dry_run: bool, yes: bool) -> None:
    """Remove every model that is not in use, and what is left of downloads that ended early."""
    cache = _Cache(_root())
    _remove(common, cache, [item for item in cache.kept if item.key not in cache.in_use], dry_run, yes)
    if not dry_run:
        with os_errors(f"write the model cache {cache.root}"):
            cache.directory.clean()


@command.command()
@click.option("--remove", is_flag=True, help="Remove what is damaged, unless it is in use.")
@common_options
@click.pass_obj
def verify(common: Common, remove: bool) -> int:
    """Read every file and compare its SHA-256 with that of the download; exit with 1 when one is damaged."""
    cache = _Cache(_root())
    damaged = [item for item in cache.kept if not cache.directory.is_intact(item.key)]
    with os_errors(f"write the model cache {cache.root}"):
        gone = [item for item in damaged if remove and cache.directory.remove(item.key)]
    if common.json:
        print_json(
            {
                "models": len(cache.kept),
                "damaged": [cache.as_dict(item) for item in damaged],
                "removed": [cache.as_dict(item) for item in gone],
            }
        )
        return Exit.FAILED if damaged else Exit.DONE
    if damaged:
        print_table(common, _COLUMNS, [(*cache.cells(item)[:3], "damaged") for item in damaged])
    click.echo(f"{len(cache.kept) - len(damaged)} of {len(cache.kept)} models are intact")
    if damaged and len(gone) < len(damaged):
        say("hint: `cache verify --remove` removes what is damaged; it is downloaded again when it is needed")
    return Exit.FAILED if damaged else Exit.DONE


def _remove(common: Common, cache: _Cache, going: list[Kept], dry_run: bool, yes: bool) -> None:
    """Show what goes, ask, and remove it; what came into use meanwhile stays."""
    total = size(sum(item.size for item in going))
    models = "1 model" if len(going) == 1 else f"{len(going)} models"
    if going and not common.json:
        print_table(common, _COLUMNS, [cache.cells(item) for item in going], err=not dry_run)
    if going and not dry_run and not yes:
        confirm(f"Remove {models}, {total}?", about="this removes models")
    gone: list[Kept] = []
    if not dry_run:
        with os_errors(f"write the model cache {cache.root}"):
            gone = [item for item in going if cache.directory.remove(item.key)]
    if common.json:
        print_json(
            {
                "dry_run": dry_run,
                "removed": [cache.as_dict(item) for item in (going if dry_run else gone)],
                "in_use": [cache.as_dict(item) for item in cache.kept if item.key in cache.in_use],
            }
        )
    elif dry_run:
        click.echo(f"would remove {models}, {total}; {_staying(cache)}")
    else:
        removed = size(sum(item.size for item in gone))
        click.echo(f"removed {len(gone)} of {len(cache.kept)} models, {removed}; {_staying(cache)}")


def _staying(cache: _Cache) -> str:
    return f"{len(cache.in_use)} in use" if cache.in_use else "none is in use"


def _free(directory: Path) -> int | None:
    try:
        return shutil.disk_usage(next(each for each in (directory, *directory.parents) if each.exists())).free
    except (OSError, StopIteration):
        return None
