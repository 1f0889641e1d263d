"""What is logged to a run: metrics and their history, params, tags, inputs and outputs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_utilities._protocol.batches import split_batch
from mlflow_utilities._protocol.values import (
    MAX_PARAM,
    MAX_TAG,
    compact,
    identifier,
    integer,
    key_of,
    metric_json,
    number_json,
    pairs_json,
    stored_key,
    text,
    value_text,
)
from mlflow_utilities._unset import UNSET
from mlflow_utilities.errors import BadRequestError
from mlflow_utilities.resources._base import API, Api, decoded
from mlflow_utilities.typing import Call, Safety, TimeoutArgument

if TYPE_CHECKING:
    from mlflow_utilities.entities import Metric, Page

__all__ = ["LoggingApi"]


_POINTS = 25_000
_COMPARED = 100  # servers 2.x recognise points that are stored already only among so many metrics


class LoggingApi(Api):
    """Methods that log to runs. Keys have at most 250 characters, params 6,000, tags 8,000: longer ones raise
    InvalidInputError, because the server would cut them.
    """

    async def log_metric(
        self,
        run_id: str,
        key: str,
        value: float,
        timestamp: int | None = None,
        step: int | None = None,
        *,
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
        model_id: str | None = None,
        timeout: TimeoutArgument = UNSET,
    ) -> None:
        """Log one point of a metric (`timestamp` in ms, now if None). NaN and infinities are values.

        The same point twice is stored once. POST runs/log-metric.
        """
        body = compact(
            run_id=identifier(run_id, "run_id"),
            key=key_of(key, "key"),
            value=number_json(value, key),
            timestamp=self._clock.now_ms() if timestamp is None else integer(timestamp, "timestamp", 0),
            step=integer(step or 0, "step"),
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
            model_id=model_id,
        )
        await self._write("POST", "runs/log-metric", body, timeout)

    async def log_param(self, run_id: str, key: str, value: Any, *, timeout: TimeoutArgument = UNSET) -> Any:
        """Log a param and return its value; another value than the stored one raises InvalidParameterError.

        POST runs/log-parameter.
        """
        body = {
            "run_id": identifier(run_id, "run_id"),
            "key": key_of(key, "key"),
            "value": value_text(value, f"param {key}", MAX_PARAM),
        }
        await self._write("POST", "runs/log-parameter", body, timeout)
        return value

    async def log_batch(
        self,
        run_id: str,
        metrics: Iterable[Any] = (),
        params: Mapping[str, Any] | Iterable[Any] = (),
        tags: Mapping[str, Any] | Iterable[Any] = (),
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> None:
        """Log metrics, params and tags, in as few requests as the server's limits allow (POST runs/log-batch).

        Everything is checked before the first request. Stored in this order: params, metrics, tags. Takes `Metric`,
        `Param` and `RunTag` of this package or of MLflow; params and tags also as mappings.
        """
        run_id = identifier(run_id, "run_id")
        now = self._clock.now_ms()
        batches = split_batch(
            pairs_json(params, "param", MAX_PARAM),
            [metric_json(metric, now) for metric in metrics],
            pairs_json(tags, "tag", MAX_TAG),
        )
        for batch in batches:
            await self._log_one_batch(run_id, batch, timeout)

    async def _log_one_batch(
        self, run_id: str, batch: dict[str, list[dict[str, Any]]], timeout: TimeoutArgument
    ) -> None:
        try:
            await self._write("POST", "runs/log-batch", {"run_id": run_id, **batch}, timeout)
        except BadRequestError as error:
            metrics = batch.get("metrics", [])
            if "QueuePool" in error.message or len(metrics) <= _COMPARED:
                raise
            for part in split_batch(batch.get("params", []), metrics, batch.get("tags", []), _COMPARED):
                await self._write("POST", "runs/log-batch", {"run_id": run_id, **part}, timeout)

    async def log_inputs(
        self,
        run_id: str,
        datasets: Sequence[Any] | None = None,
        models: Sequence[Any] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> None:
        """Say which datasets (DatasetInput) and logged models (LoggedModelInput) a run used. POST runs/log-inputs."""
        body = compact(
            run_id=identifier(run_id, "run_id"),
            datasets=[_dataset_json(item) for item in datasets or ()] or None,
            models=[{"model_id": identifier(item.model_id, "model_id")} for item in models or ()] or None,
        )
        await self._write("POST", "runs/log-inputs", body, timeout)

    async def log_outputs(self, run_id: str, models: Sequence[Any], *, timeout: TimeoutArgument = UNSET) -> None:
        """Say which logged models (LoggedModelOutput) a run made; servers 3.x. POST runs/outputs.

        The server refuses the same model twice, so a lost answer is not repeated.
        """
        body = {
            "run_id": identifier(run_id, "run_id"),
            "models": [
                {"model_id": identifier(item.model_id, "model_id"), "step": integer(item.step, "step")}
                for item in models
            ],
        }
        await self._write("POST", "runs/outputs", body, timeout, Safety.CREATE)

    async def set_tag(self, run_id: str, key: str, value: Any, *, timeout: TimeoutArgument = UNSET) -> None:
        """Set a tag of a run. POST runs/set-tag."""
        body = {
            "run_id": identifier(run_id, "run_id"),
            "key": key_of(key, "key"),
            "value": value_text(value, f"tag {key}", MAX_TAG),
        }
        await self._write("POST", "runs/set-tag", body, timeout)

    async def delete_tag(self, run_id: str, key: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete a tag of a run; NotFoundError when it has none of that key. POST runs/delete-tag."""
        body = {"run_id": identifier(run_id, "run_id"), "key": stored_key(key, "key")}
        await self._once("POST", "runs/delete-tag", body, timeout)

    async def get_metric_history(
        self,
        run_id: str,
        key: str,
        max_results: int | None = None,
        page_token: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Page[Metric]:
        """Return the points of a metric, oldest first: all of them, with 25,000 for each request, or a page.

        A `max_results` asks for one page; servers 2.x ignore it. GET metrics/get-history.
        """
        if max_results is None and page_token is None:
            from mlflow_utilities.entities import Page

            return Page([point async for point in self.iter_metric_history(run_id, key, _POINTS, timeout=timeout)])
        return await self._page(_history(run_id, key, max_results)(page_token), "metrics", _metric, timeout)

    def iter_metric_history(
        self, run_id: str, key: str, max_results: int = 5000, *, timeout: TimeoutArgument = UNSET
    ) -> AsyncIterator[Metric]:
        """Iterate over the points of a metric, oldest first, `max_results` for each request."""
        return self._iterate(_history(run_id, key, max_results), "metrics", _metric, timeout)


def _metric(value: Any) -> Metric:
    from mlflow_utilities.entities import Metric

    return decoded(Metric, value)


def _history(run_id: str, key: str, max_results: int | None) -> Callable[[str | None], Call]:
    query = [("run_id", identifier(run_id, "run_id")), ("metric_key", stored_key(key, "key"))]
    if max_results is not None:
        query.append(("max_results", str(integer(max_results, "max_results", 1))))
    return lambda token: Call(
        "GET", API + "metrics/get-history", query=[*query, ("page_token", token)] if token else query
    )


def _dataset_json(item: Any) -> dict[str, Any]:
    dataset = item.dataset
    return {
        "dataset": compact(
            name=identifier(dataset.name, "the name of a dataset"),
            digest=identifier(dataset.digest, "the digest of a dataset"),
            source_type=text(dataset.source_type, "source_type"),
            source=text(dataset.source, "source"),
            schema=dataset.schema,
            profile=dataset.profile,
        ),
        "tags": [{"key": tag.key, "value": tag.value} for tag in item.tags or ()],
    }
