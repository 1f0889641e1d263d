"""A service on Starlette: EXPERIMENT=fraud uvicorn serve_starlette:app

From the environment: MLFLOW_TRACKING_URI, EXPERIMENT, MODEL_VERSION ("*" if not set), REFRESH_INTERVAL (30 seconds);
ALLOW_PIN=1 lets a tester name the run that answers, in the header x-pin-run.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mlflow_utilities import NoActiveModelError, ServingError
from mlflow_utilities.serving import ActiveModels


def predict(model: Any, inputs: list[Any]) -> list[Any]:
    """Compute in a worker thread, and return plain values."""
    return model.predict(inputs).tolist()


def models_from_environment(**options: Any) -> ActiveModels:
    """Return what this service serves; the client comes from the environment, too."""
    settings: dict[str, Any] = {
        "experiment_name": os.environ["EXPERIMENT"],
        "model_version": os.environ.get("MODEL_VERSION", "*"),
        "refresh_interval": float(os.environ.get("REFRESH_INTERVAL", "30")),
        "start": "none",  # begin to listen at once: /health says when there is an answer
        "predict": predict,
    }
    return ActiveModels(**(settings | options))


async def health(request: Request) -> JSONResponse:
    """Say whether requests can be answered."""
    found = request.app.state.models.health()
    return JSONResponse(asdict(found), 200 if found.ready else 503)


async def status(request: Request) -> JSONResponse:
    """Show everything."""
    return JSONResponse(request.app.state.models.status().as_dict())


async def answer(request: Request) -> JSONResponse:
    """Predict with the model of the user that the header x-user-id names."""
    active: ActiveModels = request.app.state.models
    run = request.headers.get("x-pin-run") if os.environ.get("ALLOW_PIN") == "1" else None
    try:
        body = await request.json()
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, list) or not inputs:
            raise ValueError('the body must be {"inputs": [...]}')
        with active.pin(run) if run is not None else nullcontext():
            prediction = await active.predict(inputs, key=request.headers.get("x-user-id"))
    except ValueError as error:  # no JSON, or inputs that the model does not take
        return JSONResponse({"detail": str(error)}, 422)
    except NoActiveModelError as error:
        if run is not None:  # the tester's mistake, not an outage
            return JSONResponse({"detail": str(error)}, 404)
        raise
    return JSONResponse(
        {
            "predictions": prediction.output,
            "run_id": prediction.model.run_id,
            "version": str(prediction.model.version),
            "generation": prediction.model.generation,
            "reason": prediction.reason,
        }
    )


async def no_answer(request: Request, error: Exception) -> JSONResponse:
    """Say why there is no model, and when to come back."""
    wait = request.app.state.models.status().next_poll or 1.0
    body = {"error": type(error).__name__, "detail": str(error)}
    return JSONResponse(body, 503, {"Retry-After": str(max(1, math.ceil(wait)))})


def create_app(models: ActiveModels | None = None) -> Starlette:
    """Return the service; `models` in place of those that the environment names."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with models or models_from_environment() as app.state.models:
            yield

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/status", status),
            Route("/predict", answer, methods=["POST"]),
        ],
        exception_handlers={ServingError: no_answer},
        lifespan=lifespan,
    )


app = create_app()
