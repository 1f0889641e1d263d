"""A service on FastAPI: EXPERIMENT=fraud uvicorn serve_fastapi:app

From the environment: MLFLOW_TRACKING_URI, EXPERIMENT, MODEL_VERSION ("*" if not set), REFRESH_INTERVAL (30 seconds);
ALLOW_PIN=1 lets a tester name the run that answers, in the header x-pin-run. /metrics needs prometheus-client.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from mlflow_utilities import MissingDependencyError, NoActiveModelError, ServingError
from mlflow_utilities.serving import ActiveModels, Telemetry
from mlflow_utilities.serving.prometheus import PrometheusTelemetry


class Inputs(BaseModel):
    """The body of a request: one list of features for each prediction."""

    inputs: list[list[float]] = Field(min_length=1)


def predict(model: Any, inputs: list[list[float]]) -> list[Any]:
    """Compute in a worker thread, and return plain values."""
    return model.predict(inputs).tolist()


def prometheus() -> Telemetry | None:
    """Return counters for /metrics, None without prometheus-client."""
    try:
        return PrometheusTelemetry()
    except MissingDependencyError:
        return None


def models_from_environment(**options: Any) -> ActiveModels:
    """Return what this service serves; the client comes from the environment, too."""
    settings: dict[str, Any] = {
        "experiment_name": os.environ["EXPERIMENT"],
        "model_version": os.environ.get("MODEL_VERSION", "*"),
        "refresh_interval": float(os.environ.get("REFRESH_INTERVAL", "30")),
        "start": "none",  # begin to listen at once: /health says when there is an answer
        "predict": predict,
        "telemetry": prometheus(),
    }
    return ActiveModels(**(settings | options))


def create_app(models: ActiveModels | None = None) -> FastAPI:
    """Return the service; `models` in place of those that the environment names."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with models or models_from_environment() as app.state.models:
            yield

    app = FastAPI(title="Predictions", lifespan=lifespan)

    @app.get("/health")
    async def health() -> JSONResponse:
        found = app.state.models.health()
        return JSONResponse(asdict(found), 200 if found.ready else 503)

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return app.state.models.status().as_dict()

    @app.post("/predict")
    async def answer(
        body: Inputs,
        x_user_id: Annotated[str | None, Header()] = None,
        x_pin_run: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        active: ActiveModels = app.state.models
        pinned = x_pin_run is not None and os.environ.get("ALLOW_PIN") == "1"
        try:
            with active.pin(x_pin_run) if pinned else nullcontext():
                prediction = await active.predict(body.inputs, key=x_user_id)
        except ValueError as error:  # the model does not take these inputs
            raise HTTPException(422, str(error)) from error
        except NoActiveModelError as error:
            if pinned:  # the tester's mistake, not an outage
                raise HTTPException(404, str(error)) from error
            raise
        return {
            "predictions": prediction.output,
            "run_id": prediction.model.run_id,
            "version": str(prediction.model.version),
            "generation": prediction.model.generation,
            "reason": prediction.reason,
        }

    @app.exception_handler(ServingError)
    async def no_answer(request: Request, error: ServingError) -> JSONResponse:
        wait = app.state.models.status().next_poll or 1.0
        body = {"error": type(error).__name__, "detail": str(error)}
        return JSONResponse(body, 503, {"Retry-After": str(max(1, math.ceil(wait)))})

    if prometheus() is not None:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        @app.get("/metrics")
        async def metrics() -> Response:
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


app = create_app()
