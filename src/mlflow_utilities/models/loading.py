"""Loading a model: from the cache, in a worker thread, with or without mlflow."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, MissingDependencyError, MlflowUtilitiesError, ModelError
from mlflow_utilities.models.cache import MAX_BYTES, held
from mlflow_utilities.models.code_paths import CodeClaim, code_paths
from mlflow_utilities.models.flavors import PYFUNC, load_with_mlflow, mlflow_is_there
from mlflow_utilities.models.mlmodel import read_flavors
from mlflow_utilities.models.native import LOADERS, is_pickle, load_native
from mlflow_utilities.models.pyfunc_files import unpickled_before
from mlflow_utilities.models.requirements import installation_hint
from mlflow_utilities.models.responsive import gc_paused, model_destroyed
from mlflow_utilities.models.threads import in_model_thread

__all__ = ["check_flavors", "download", "load", "load_claimed", "load_directory"]


async def load(
    client: AsyncMlflowClient,
    model_uri: str,
    *,
    cache_dir: str | Path | None = None,
    flavors: Collection[str] | None = None,
    max_bytes: int = MAX_BYTES,
    check_digests: bool = False,
) -> Any:
    """Load a model: the object that was saved, e.g. the scikit-learn estimator, or a pyfunc model if it has no loader.

    **Loading runs code of the model**: load only from servers whose writers you trust. `flavors` names what may be
    used ("sklearn", "pyfunc", ...); anything else is refused before a byte is unpickled, but the named flavors run
    the model's code, too. Downloads once to the cache (see `cache.held`), loads in a worker thread, by mlflow's flavor
    if mlflow is installed, else without it for sklearn, xgboost, lightgbm and onnx, which then need PyYAML.
    A cancelled caller leaves the loading to itself.

    Raises ModelError (cannot be loaded; the cause says why), MissingDependencyError, InvalidInputError,
    ArtifactError and API errors.
    """
    allowed = None if flavors is None else check_flavors(flavors)
    async with held(
        client, model_uri, cache_dir=cache_dir, max_bytes=max_bytes, check_digests=check_digests
    ) as directory:
        return await in_model_thread(lambda: load_directory(directory, model_uri, allowed), abandon=True)


async def download(client: AsyncMlflowClient, model_uri: str, directory: str | Path) -> str:
    """Download the files of a model into `directory` and return it; the cache is left alone.

    Raises InvalidInputError, ArtifactError, and API errors.
    """
    return await client.download_artifact_uri(model_uri, directory)


def check_flavors(flavors: Collection[str]) -> frozenset[str]:
    """Return flavors as MLmodel files call them. Raises InvalidInputError for anything but a list of names."""
    if isinstance(flavors, str) or not flavors or not all(isinstance(flavor, str) for flavor in flavors):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"flavors is {flavors!r}", hint='give a list such as ["sklearn"]')
    names = (flavor.removeprefix("mlflow.") for flavor in flavors)
    return frozenset(PYFUNC if name == "pyfunc" else name for name in names)


def load_directory(directory: Path, uri: str, allowed: frozenset[str] | None = None) -> object:
    """Load the model whose files lie in `directory`. Blocks, and runs code of the model: call it in a worker thread.

    `uri` names the model in errors; `allowed` are the flavors that may be used, as MLmodel files call them (pyfunc is
    "python_function"), None for any. Modules saved along with the model (`code_paths`) are given up when the returned
    object dies, or never if it cannot be weakly referenced (a dict, say): until then no model with other modules of
    the same names can be loaded.

    Raises ModelError (cannot be loaded, the cause says why; or its modules clash), ArtifactError (a file lies outside
    the model) and MissingDependencyError.
    """
    loaded, claim = load_claimed(directory, uri, allowed)
    with contextlib.suppress(TypeError):
        weakref.finalize(loaded, _given_up, claim).atexit = False
    return loaded


def _given_up(claim: CodeClaim) -> None:
    claim.release()
    model_destroyed()


def load_claimed(
    directory: Path, uri: str, allowed: frozenset[str] | None = None, *, gc_freeze: bool = True
) -> tuple[object, CodeClaim]:
    """Load as `load_directory` does, for a caller that says itself when the model and its modules are given up.

    The garbage collector is off meanwhile; `gc_freeze` keeps it from walking a large model later, see
    `responsive.GcPause`. Give the object up by `responsive.destroy`, then call `claim.release()`. Keep the files until
    then: modules may be imported late.

    Raises what `load_directory` raises; nothing is claimed then.
    """
    found = read_flavors(directory)
    usable = {name: settings for name, settings in found.items() if allowed is None or name in allowed}
    if not usable:
        raise ModelError(
            f"{uri} has the flavors {', '.join(found) or 'none'}",
            hint=f"allowed are {', '.join(sorted(allowed or ()))}",
        )
    claim = code_paths.claim(directory, usable, uri)
    try:
        with gc_paused(freeze=gc_freeze):
            return _load(directory, uri, usable), claim
    except BaseException:
        claim.release()
        raise


def _load(directory: Path, uri: str, usable: Mapping[str, Mapping[str, Any]]) -> object:
    try:
        first = next((name for name in usable if name != PYFUNC), None)
        # mlflow would unpickle the same object in one go, with the interpreter lock held.
        if first is not None and is_pickle(first, usable[first]):
            return load_native(directory, first, usable[first])
        if not mlflow_is_there():
            return _without_mlflow(directory, usable)
        if first is None:
            with unpickled_before(directory) as files:
                loaded: Any = load_with_mlflow(files, [PYFUNC])
                loaded.metadata.flavors.update(usable)
                return loaded
        return load_with_mlflow(directory, list(usable))
    except MlflowUtilitiesError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"{error.name or 'a package'} is needed to load {uri}: {error}",
            hint=installation_hint(directory, error.name),
        ) from error
    except Exception as error:
        raise ModelError(f"cannot load {uri}: {type(error).__name__}: {error}") from error


def _without_mlflow(directory: Path, usable: Mapping[str, Mapping[str, Any]]) -> object:
    flavor = next((name for name in usable if name in LOADERS), None)
    if flavor is None:
        raise MissingDependencyError(
            f"mlflow is needed to load the flavors {', '.join(usable)}", hint='pip install "mlflow-utilities[mlflow]"'
        )
    return load_native(directory, flavor, usable[flavor])
