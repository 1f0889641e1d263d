"""Measure every case, print the table of ratios, and write results/latest.json: make bench.

--quick repeats little and writes nothing; names of cases after it measure those alone.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contenders import ROOT, SKINNY, python_of
from benchmarks.rows import CASES, LEDGER, LISTING, ROWS
from benchmarks.table import table

RESULTS = Path(__file__).parent / "results"
# Rounds, and repetitions in each, of a full run and of a quick one. Without an entry: 5 rounds, 1 repetition.
ROUNDS = {
    "crowd": 3,
    "live": 3,
    "decode": 4,
    "fetch": 4,
    "first call": 7,
    "installed": 1,
    "iterate": 3,
    "memory": 1,
    "log": 2,
    "change": 2,
    "save": 2,
}
TIMES = {
    "call": (300, 100), "live": (60, 20), "crowd": (768, 256), "decode": (3, 2), "fetch": (3, 2),
    "log": (10_000, 500), "change": (8, 2),
}  # fmt: skip
ON_A_REAL_SERVER = ("live", "change", "save")
PACKAGES = ("mlflow-utilities", "httpx", "httpx2", "aiohttp", "pydantic", "anyio")
# MlflowClient is much slower than the others: so many repetitions fewer tell its speed as well.
FEWER_OF_MLFLOW = {"crowd": 4, "log": 5}

Found = dict[str, dict[str, dict[str, list[float]]]]


def measure(case: str, contender: str, uri: str, times: int) -> dict[str, float]:
    """Return what a new process measured."""
    if contender.startswith("MlflowClient"):
        times //= FEWER_OF_MLFLOW.get(case, 1)
    python = python_of(contender, needs_models=case in ("save",))
    command = [python, "-m", "benchmarks.contender", case, contender, uri, str(times)]
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    if answer.returncode:
        sys.exit(f"{case}, {contender}: {answer.stderr}")
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def run_case(case: str, uri: str, quick: bool) -> dict[str, dict[str, list[float]]]:
    """Measure each contender in turn, round after round, so that noise meets all of them."""
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in CASES[case]}
    full, few = TIMES.get(case, (1, 1))
    begin = time.perf_counter()
    for _ in range(1 if quick else ROUNDS.get(case, 5)):
        for contender in CASES[case]:
            for what, value in measure(case, contender, uri, few if quick else full).items():
                found[contender][what].append(value)
    print(f"{case}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    return found


def run_polling() -> dict[str, dict[str, list[float]]]:
    """Measure what a poll costs a real server; benchmarks.polling asserts that it is one request."""
    subprocess.run([sys.executable, "-m", "benchmarks.polling"], cwd=ROOT, check=True, capture_output=True)
    stored = json.loads((RESULTS / "polling.json").read_text())
    found = stored["median_cpu_milliseconds"]
    return {
        LEDGER: {"seconds": [found["poll"] / 1000], "requests": [float(stored["requests_of_a_poll"])]},
        LISTING: {"seconds": [found["list"] / 1000]},
    }


@contextmanager
def stub() -> Generator[str]:
    """Run the stub in a process of its own, and give its address."""
    process = subprocess.Popen([python_of(""), "-m", "benchmarks.stub"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def versions() -> dict[str, str]:
    """Return what was measured, by what the environments have."""
    found = _versions_in(python_of(""), PACKAGES) | {"mlflow": importlib.metadata.version("mlflow")}
    return found | _versions_in(python_of(SKINNY), ("mlflow-skinny",)) | {"python": platform.python_version()}


def _versions_in(python: str, names: tuple[str, ...]) -> dict[str, str]:
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    found: dict[str, str] = json.loads(subprocess.check_output([python, "-c", code], text=True))
    return found


def run_all(wanted: list[str], quick: bool) -> Found:
    """Measure all cases that are wanted: first those on the stub, then those on a real server."""
    results: Found = {}
    with stub() as uri:
        for case in wanted:
            if case in CASES and case not in ON_A_REAL_SERVER:
                results[case] = run_case(case, uri, quick)
    real = [case for case in ON_A_REAL_SERVER if case in wanted]
    if real:
        sys.path.insert(0, str(ROOT / "examples"))
        from local_server import run_server

        with tempfile.TemporaryDirectory() as folder, run_server(Path(folder)) as server:
            for case in real:
                results[case] = run_case(case, server, quick)
    if "poll" in wanted:
        results["poll"] = run_polling()
    return results


def main() -> None:
    """Measure, print, write."""
    arguments = sys.argv[1:]
    quick = "--quick" in arguments
    wanted = [name for name in arguments if name != "--quick"] or [*CASES, *([] if quick else ["poll"])]
    if unknown := set(wanted) - {*CASES, "poll"}:
        sys.exit(f"there is no case {sorted(unknown)}; the cases are {', '.join(CASES)}, poll")
    results = run_all(wanted, quick)
    rows = [row for row in ROWS if row.measured.case in wanted]
    print(table(rows, results))
    known = versions()
    print("\n" + ", ".join(f"{name} {version}" for name, version in known.items()))
    if not quick and len(wanted) > len(CASES):
        text = json.dumps({"versions": known, "measured": results}, indent=1)
        (RESULTS / "latest.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
