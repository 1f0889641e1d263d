"""Who is measured, by the names that results have, and which environment each runs in."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MLFLOW", "OWN", "RAW", "ROOT", "SKINNY", "in_threads", "python_of"]

ROOT = Path(__file__).resolve().parents[1]
OWN = {"SDK (httpx)": "httpx", "SDK (httpx2)": "httpx2"}
RAW = {"raw httpx": "httpx", "raw httpx2": "httpx2", "raw aiohttp": "aiohttp"}
MLFLOW = "MlflowClient (mlflow)"
SKINNY = "MlflowClient (mlflow-skinny)"


def in_threads(contender: str) -> str:
    """Return the name of MlflowClient called through asyncio.to_thread."""
    return f"{contender}, to_thread"


def python_of(contender: str, needs_models: bool = False) -> str:
    """Return the interpreter of a contender; what saves and loads models needs mlflow and scikit-learn beside it."""
    if contender.startswith(SKINNY):
        place = ".venv-skinny"
    else:
        place = ".venv" if needs_models or contender.startswith(MLFLOW) else ".venv-bare"
    return str(ROOT / place / "bin" / "python")
