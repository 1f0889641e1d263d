"""The rows of the table: what is compared in each case, where it must be, and why it is not where that is so."""

from __future__ import annotations

from benchmarks.contenders import MLFLOW, OWN, RAW, SKINNY, in_threads
from benchmarks.table import Place, Row

__all__ = ["CASES", "ROWS", "SHORT", "TITLES", "WHY_MISSED"]

PAGE = "SDK (httpx2), a whole Page"
LEDGER = "one poll of the ledger"
LISTING = "listing 300 runs and filtering"
GIVEN = f"{MLFLOW}, requirements given"
BATCH, QUEUE = "log_batch", "async logging"
TITLES = {
    "start": "import and construct a client",
    "first run": "the same, up to the first decoded run",
    "first call": "worst stall of the loop on the first call after `async with`",
    "size": "installed size, without compiled files",
    "packages": "installed packages",
    "resident": "resident memory after start",
    "call": "one small call on the stub, decoded",
    "live": "one small call on a real MLflow server, decoded",
    "crowd": "searches for 10 runs, 64 callers at once",
    "decode": "decode a page of 1,000 wide runs",
    "fetch": "fetch and decode 1,000 wide runs",
    "iterate": "worst stall of the loop while 10,000 runs are read",
    "memory": "memory while 100,000 runs are read",
    "poll": "server CPU of one steady poll",
    "polls": "requests of one steady poll",
    "choose": "choose the model for a key",
    "status": "`change_status` of one run, time",
    "status requests": "`change_status` of one run, requests",
    "split": "`update_active_runs` of 5 runs, time",
    "split requests": "`update_active_runs` of 5 runs, requests",
    "log": "log 10,000 metrics from 50 tasks",
    "save": "save a scikit-learn model",
    "download": "find and download it",
    "load": "load it",
}
# What each case is measured with, in the order of the rounds.
CASES: dict[str, list[str]] = {
    "start": [*OWN, "imports", SKINNY, MLFLOW],
    "first run": [*OWN, SKINNY, MLFLOW],
    "first call": [*OWN],
    "installed": ["SDK (httpx)", SKINNY, MLFLOW],
    "call": [*OWN, *RAW, MLFLOW, SKINNY, in_threads(MLFLOW), in_threads(SKINNY)],
    "crowd": [*OWN, *RAW, MLFLOW, SKINNY, in_threads(MLFLOW), in_threads(SKINNY)],
    "decode": ["SDK (httpx)", MLFLOW, SKINNY],
    "fetch": [*OWN, MLFLOW, SKINNY],
    "iterate": [*OWN, PAGE, in_threads(MLFLOW), in_threads(SKINNY)],
    "memory": [*OWN],
    "log": [
        *OWN, *(f"{own}, {BATCH}" for own in OWN), MLFLOW, f"{MLFLOW}, {QUEUE}", SKINNY, f"{SKINNY}, {QUEUE}",
    ],
    "choose": ["SDK (httpx)"],
    "live": [*OWN, "raw httpx", "raw httpx2", MLFLOW],
    "change": [*OWN, MLFLOW],
    "save": [*OWN, MLFLOW, GIVEN],
}  # fmt: skip


def _against(
    title: str, case: str, others: list[str], *, what: str = "seconds", unit: str = "s", at_least: float | None = None
) -> list[Row]:
    """Return how many times as long the others take as this SDK on each library."""
    return [
        Row(TITLES[title], Place(case, other, what), Place(case, own, what), unit, at_least=at_least)
        for other in others
        for own in OWN
        if own in CASES.get(case, ())
    ]


def _shares(title: str, case: str, what: str, unit: str, at_most: float) -> list[Row]:
    own = Place(case, "SDK (httpx)", what)
    return [
        Row(TITLES[title], own, Place(case, SKINNY, what), unit, at_most=at_most),
        Row(TITLES[title], own, Place(case, MLFLOW, what), unit),
    ]


def _rows() -> list[Row]:
    rows = [
        *_against("start", "start", [SKINNY], at_least=6),
        *_against("start", "start", [MLFLOW]),
        *(
            Row(TITLES["start"], Place("start", own), Place("start", "imports"), at_most=1.4) for own in OWN
        ),
        *_against("first run", "first run", [SKINNY], at_least=4),
        *_against("first run", "first run", [MLFLOW]),
        *(Row(TITLES["first call"], Place("first call", own), at_most=0.015) for own in OWN),
        *_shares("size", "installed", "bytes", "bytes", 1 / 5),
        *_shares("packages", "installed", "packages", "", 1 / 3),
        *_shares("resident", "start", "bytes", "bytes", 1 / 2),
        *(
            Row(TITLES["call"], Place("call", own), Place("call", f"raw {library}"), at_most=1.1)
            for own, library in OWN.items()
        ),
        *(Row(TITLES["call"], Place("call", own), Place("call", "raw aiohttp")) for own in OWN),
        *_against("call", "call", [MLFLOW, SKINNY], at_least=3),
        *_against("call", "call", [in_threads(MLFLOW), in_threads(SKINNY)]),
        *_against("live", "live", ["raw httpx", "raw httpx2", MLFLOW]),
    ]  # fmt: skip
    for other, bound in {MLFLOW: 7, SKINNY: 7, in_threads(MLFLOW): None, in_threads(SKINNY): None}.items():
        rows += [
            Row(TITLES["crowd"], Place("crowd", own, "rate of 64"), Place("crowd", other, "rate of 64"), "/s", bound)
            for own in OWN
        ]
    rows += [
        Row(TITLES["crowd"], Place("crowd", own, "rate of 64"), Place("crowd", raw, "rate of 64"), "/s")
        for own, raw in (*zip(OWN, RAW, strict=False), ("SDK (httpx2)", "raw aiohttp"))
    ]
    for own, bound in {"SDK (httpx2)": 0.9, "SDK (httpx)": 0.75, **dict.fromkeys(RAW), MLFLOW: None}.items():
        rows.append(
            Row(TITLES["crowd"], Place("crowd", own, "rate of 64"), Place("crowd", own, "rate of 8"), "/s", bound)
        )
    rows += [
        *_against("decode", "decode", [MLFLOW, SKINNY], at_least=8),
        *_against("fetch", "fetch", [MLFLOW, SKINNY], at_least=5),
        *(Row(TITLES["iterate"], Place("iterate", own, "stall"), at_most=0.015) for own in OWN),
        Row(TITLES["iterate"], Place("iterate", PAGE, "stall"), label="of 1,000 runs"),
        Row(TITLES["iterate"], Place("iterate", PAGE, "collecting"), label="of which the garbage collector"),
        *(Row(TITLES["iterate"], Place("iterate", in_threads(other), "stall")) for other in (MLFLOW, SKINNY)),
        *(
            Row(TITLES["memory"], Place("memory", own, "peak"), Place("memory", own, "early"), "bytes", at_most=1.1)
            for own in OWN
        ),
        Row(TITLES["polls"], Place("poll", LEDGER, "requests"), unit="", at_most=1),
        Row(TITLES["poll"], Place("poll", LEDGER), Place("poll", LISTING), at_most=1 / 20),
        Row(TITLES["choose"], Place("choose", "SDK (httpx)"), at_most=1e-6),
    ]  # fmt: skip
    for what in ("status", "split"):
        rows += _against(what, "change", [MLFLOW], what=f"{what} seconds")
        rows += _against(f"{what} requests", "change", [MLFLOW], what=f"{what} requests", unit="")
    rows += [Row(TITLES["log"], Place("log", other), Place("log", own)) for other in (MLFLOW, SKINNY) for own in OWN]
    rows += [
        Row(TITLES["log"], Place("log", f"{other}, {QUEUE}"), Place("log", f"{own}, {BATCH}"))
        for other in (MLFLOW, SKINNY)
        for own in OWN
    ]
    for what in ("save", "download", "load"):
        rows += _against(what, "save", [MLFLOW, GIVEN] if what == "save" else [MLFLOW], what=what)
    return rows


ROWS = _rows()

# What README and the page that says why show: how many times what this SDK takes on each library the others take.
SHORT: dict[str, tuple[Place, str]] = {
    TITLES["start"]: (Place("start", SKINNY), ""),
    TITLES["first run"]: (Place("first run", SKINNY), ""),
    TITLES["call"]: (Place("call", MLFLOW), "raw"),
    TITLES["live"]: (Place("live", MLFLOW), "raw"),
    TITLES["crowd"]: (Place("crowd", MLFLOW, "rate of 64"), "raw"),
    TITLES["fetch"]: (Place("fetch", MLFLOW), ""),
    TITLES["log"]: (Place("log", MLFLOW), ""),
}

# Said in the documentation when a row is not where it must be.
WHY_MISSED: dict[str, str] = {
    TITLES[
        "start"
    ]: "Four fifths of it are the imports of the HTTP library and anyio; runs differ by a tenth around the bound.",
    TITLES[
        "first run"
    ]: "On top of the start come pydantic itself (a quarter), its first model and httpcore (a tenth each).",
    TITLES[
        "call"
    ]: "Nearly all of a call is the HTTP library's own work, and the raw library alone is not 3 times as fast as "
    "MlflowClient. On plain httpx about a third of it is httpcore's search for sniffio, four times a call, where "
    "that is not installed; httpx2 does not look for it.",
    TITLES[
        "crowd"
    ]: "The HTTP library's own work on one core, beside the decoding of ten runs for each call, limits the rate.",
}
