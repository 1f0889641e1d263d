"""Measure every case, print the table of ratios, and write results/latest.json: make bench."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from local_server import run_server

RESULTS = Path(__file__).parent / "results" / "latest.json"
ROUNDS = 5
CASES = {
    "start": ("import and construct a client", ["httpx", "httpx2", "imports", "MlflowClient"]),
    "call": ("one small call, decoded", ["httpx", "httpx2", "raw httpx", "raw httpx2", "MlflowClient"]),
    "live": ("one small call on a real MLflow server", ["httpx", "httpx2", "raw httpx", "raw httpx2", "MlflowClient"]),
    "page": ("fetch and decode 1,000 runs", ["httpx", "httpx2", "MlflowClient"]),
}
NAMES = {"httpx": "this SDK on httpx", "httpx2": "this SDK on httpx2", "imports": "import httpx, pydantic, anyio"}


def measure(case: str, contender: str, uri: str) -> list[float]:
    """Return the seconds that a new process measured."""
    command = [sys.executable, "-m", "benchmarks.contender", case, contender, uri]
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet)
    return [float(value) for value in json.loads(answer.stdout.splitlines()[-1])]


def run_case(case: str, contenders: list[str], uri: str) -> dict[str, float]:
    """Return the median seconds of each contender; rounds alternate, so that noise meets all of them."""
    found: dict[str, list[float]] = {contender: [] for contender in contenders}
    for _ in range(ROUNDS):
        for contender in contenders:
            found[contender].append(statistics.median(measure(case, contender, uri)))
    return {contender: statistics.median(values) for contender, values in found.items()}


def versions() -> dict[str, str]:
    """Return what was measured."""
    names = ("mlflow-utilities", "httpx", "httpx2", "pydantic", "anyio", "mlflow")
    return {name: importlib.metadata.version(name) for name in names} | {"python": platform.python_version()}


def main() -> None:
    """Measure, print, write."""
    stub = subprocess.Popen([sys.executable, "-m", "benchmarks.stub"], stdout=subprocess.PIPE, text=True)
    try:
        assert stub.stdout is not None
        uri = stub.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder, run_server(Path(folder)) as server:
            results = {
                case: run_case(case, contenders, server if case == "live" else uri)
                for case, (_, contenders) in CASES.items()
            }
    finally:
        stub.terminate()
        stub.wait(10)
    print("| case | contender | median | over this SDK on httpx | over it on httpx2 |")
    print("|---|---|---|---|---|")
    for case, medians in results.items():
        for contender, seconds in medians.items():
            ratios = " | ".join(f"{seconds / medians[own]:.2f}" for own in ("httpx", "httpx2"))
            print(f"| {CASES[case][0]} | {NAMES.get(contender, contender)} | {seconds * 1e3:.2f} ms | {ratios} |")
    RESULTS.write_text(json.dumps({"versions": versions(), "median_seconds": results}, indent=2) + "\n")
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions().items()))


if __name__ == "__main__":
    main()
