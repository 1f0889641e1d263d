"""The FastAPI example with more to see: `/process` says which process answers.

GATE names a FIFO: a prediction lasts until somebody has opened and closed it for writing. With PRELOAD=1 the models are
loaded as soon as this is imported, in a thread that goes on.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

import serve_fastapi


def gated(model: Any, inputs: list[Any]) -> list[Any]:
    """Predict when the gate has opened."""
    Path(os.environ["GATE"]).read_bytes()
    return serve_fastapi.predict(model, inputs)


models = serve_fastapi.models_from_environment(predict=gated if "GATE" in os.environ else serve_fastapi.predict)
app = serve_fastapi.create_app(models)


@app.get("/process")
async def process() -> dict[str, int]:
    """Say which process answers."""
    return {"pid": os.getpid()}


if os.environ.get("PRELOAD") == "1":
    background, owner = ExitStack(), os.getpid()
    portal = background.enter_context(start_blocking_portal())
    background.enter_context(portal.wrap_async_context_manager(models))
    portal.call(models.wait_ready, 30.0)
    atexit.register(lambda: background.close() if os.getpid() == owner else None)
