"""The documentation: every example runs, every method of MLflow's client is accounted for."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api

DOCS = Path(__file__).resolve().parents[2] / "docs"
README = DOCS.parent / "README.md"


def snippets(page: Path) -> list[str]:
    """Return the Python examples of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


async def run_snippets(page: Path, names: dict[str, Any]) -> None:
    """Run the examples of a page one after the other, as one session with `await` at the top level."""
    for source in snippets(page):
        await run_source(source, page, names)


async def run_source(source: str, page: Path, names: dict[str, Any]) -> None:
    """Run one example with `await` at the top level."""
    outcome = eval(compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(outcome):
        await outcome


def small_model() -> Any:
    """Return a fitted scikit-learn model."""
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])


async def save(client: AsyncMlflowClient, experiment: str, version: str) -> Any:
    """Save a small model."""
    return await mlflow_api.save_model(
        small_model(), version, mlflow_subpackage="sklearn", experiment_name=experiment, client=client
    )


@pytest.fixture
async def fresh(client: AsyncMlflowClient) -> Any:
    """Rename the experiment of the examples, so that each run of a page starts anew."""
    found = await client.get_experiment_by_name("fraud")
    if found is not None:
        await client.rename_experiment(found.experiment_id, f"fraud-{found.experiment_id}")
    return client


@pytest.mark.anyio
async def test_the_rollout_page_runs(fresh: AsyncMlflowClient) -> None:
    """Every example of the rollout page works against a real server, in order."""
    saved = [await save(fresh, "fraud", "1.4.0") for _ in range(3)]
    await mlflow_api.enable_run(saved[0].run_id, client=fresh)

    await run_snippets(
        DOCS / "how-to" / "roll-out.md", {"client": fresh, "current": saved[0].run_id, "candidate": saved[1].run_id}
    )

    history = await mlflow_api.rollout_history(experiment_name="fraud", client=fresh)
    assert history[-1].verb == "revoke_run"


@pytest.mark.anyio
async def test_the_filter_page_runs(fresh: AsyncMlflowClient, unique_name: str) -> None:
    """Every example of the filter page works against a real server."""
    experiment = await fresh.create_experiment(unique_name)

    await run_snippets(DOCS / "how-to" / "filters.md", {"client": fresh, "experiment_id": experiment})


@pytest.mark.anyio
async def test_the_saving_page_runs(fresh: AsyncMlflowClient) -> None:
    """Every example of the page on saving and loading works against a real server, in order."""
    await run_snippets(DOCS / "how-to" / "save-and-load.md", {"client": fresh, "model": small_model(), "data": [[3.0]]})


@pytest.mark.anyio
async def test_the_serving_page_runs(fresh: AsyncMlflowClient) -> None:
    """Every example of the page on serving works against a real server, in order."""
    saved = await save(fresh, "fraud", "1.4.0")
    await mlflow_api.enable_run(saved.run_id, client=fresh)

    await run_snippets(DOCS / "how-to" / "serve.md", {"client": fresh})


@pytest.mark.anyio
async def test_the_service_of_the_serving_page_answers(
    fresh: AsyncMlflowClient, server_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service answers the request of the page as the page says, and its probe is ready."""
    monkeypatch.setenv("MLFLOW_UTILITIES_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server_uri)
    saved = await save(fresh, "fraud", "1.4.0")
    await mlflow_api.enable_run(saved.run_id, client=fresh)
    names: dict[str, Any] = {}
    page = DOCS / "how-to" / "serve.md"
    await run_source(next(text for text in snippets(page) if "FastAPI(" in text), page, names)
    line = next(line for line in page.read_text().splitlines() if line.startswith("$ curl "))
    headers, body = dict(re.findall(r"-H '(.*?): (.*?)'", line)), re.findall(r"-d '(.*?)'", line)[0]

    app = names["app"]
    asgi = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=asgi, base_url="http://service") as http:
        answer = await http.post("/predict", content=body, headers=headers)
        probe = await http.get("/health")

    assert answer.json() == {"output": [pytest.approx(6.0)], "run_id": saved.run_id, "version": "1.4.0"}
    assert (probe.status_code, probe.json()["ready"]) == (200, True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "page",
    [
        "canary",
        "list-models",
        "measure-an-ab-test",
        "monitor",
        "openfeature",
        "operate-a-fleet",
        "repair",
        "several-processes",
    ],
)
async def test_pages_about_a_live_rollout_run(
    fresh: AsyncMlflowClient, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every example of these pages works against a real server, in order, where a version has an Active run."""
    monkeypatch.setenv("MLFLOW_UTILITIES_CACHE_DIR", str(tmp_path))  # no file of an earlier "fraud"
    saved = [await save(fresh, "fraud", "1.4.0") for _ in range(2)]
    await mlflow_api.enable_run(saved[0].run_id, client=fresh)
    names = {"client": fresh, "current": saved[0].run_id, "candidate": saved[1].run_id}

    assert snippets(DOCS / "how-to" / f"{page}.md")
    await run_snippets(DOCS / "how-to" / f"{page}.md", names)


@pytest.mark.anyio
async def test_the_porting_page_runs(fresh: AsyncMlflowClient, unique_name: str) -> None:
    """Each example of the page on moving over works against a real server, the address aside."""
    experiment = await fresh.create_experiment(unique_name)
    page = DOCS / "how-to" / "porting.md"
    for text in snippets(page):
        source = text.replace("http://127.0.0.1:5000", fresh.tracking_uri)
        await run_source(source, page, {"client": fresh, "experiment_id": experiment})


@pytest.mark.parametrize(
    "page", [README, DOCS / "index.md", DOCS / "how-to" / "synchronous-code.md"], ids=lambda page: page.stem
)
def test_pages_of_whole_programs_run(page: Path, server_uri: str, fraud_experiment: None) -> None:
    """The examples of README, of the front page and of synchronous code run as programs, the address aside."""
    for source in snippets(page):
        exec(compile(source.replace("http://127.0.0.1:5000", server_uri), str(page), "exec"), {})


@pytest.fixture
def fraud_experiment(server_uri: str) -> None:
    """Make the experiment that the programs name."""
    import anyio

    async def make() -> None:
        async with AsyncMlflowClient(server_uri) as client:
            await client.get_or_create_experiment("fraud")

    anyio.run(make)


def test_the_authentication_page_runs() -> None:
    """The examples of the authentication page are valid and need no server."""
    for source in snippets(DOCS / "how-to" / "authenticate.md"):
        exec(compile(source, "authenticate.md", "exec"), {})


def test_the_session_of_readme_is_a_recorded_one() -> None:
    """What the command line prints in README is what it printed when `make sessions` ran."""
    shown = re.findall(
        r"^```console\n(\$ mlflow-utilities .*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL
    )

    assert len(shown) == 1
    assert shown[0] in (DOCS / "sessions" / "rollback.txt").read_text()


def test_the_figures_of_readme_are_those_that_were_measured() -> None:
    """The table comes from benchmarks/results/latest.json, which `make bench` writes."""
    command = [sys.executable, "-m", "benchmarks.figures", "--check"]
    answer = subprocess.run(command, cwd=README.parent, capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr


def test_the_porting_page_names_every_method_of_mlflows_client() -> None:
    """A method of MlflowClient is here, or the page says why not."""
    from mlflow import MlflowClient

    text = (DOCS / "how-to" / "porting.md").read_text()
    public = [name for name, member in inspect.getmembers(MlflowClient) if isinstance(member, types.FunctionType)]
    missing = [name for name in public if not name.startswith("_") and f"`{name}`" not in text]

    assert missing == []


def test_the_porting_page_is_true() -> None:
    """What the page says is here exists, and what it says is not here does not."""
    text = (DOCS / "how-to" / "porting.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (here|not yet|never)", text, flags=re.MULTILINE)

    wrong = [name for name, state in rows if hasattr(AsyncMlflowClient, name) != (state == "here")]

    assert wrong == []
