"""Filters on a real server: each search finds what was meant, and nothing else, whatever the values contain."""

from __future__ import annotations

import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.entities import Dataset as RunDataset
from mlflow_utilities.entities import DatasetInput, InputTag
from mlflow_utilities.entities import Metric as Point
from mlflow_utilities.errors import EndpointNotFoundError, InvalidInputError, InvalidParameterError
from mlflow_utilities.filters import Attribute, Dataset, Filter, Metric, Param, Tag

pytestmark = pytest.mark.anyio

named = Attribute("name")
what = Tag("what")
VALUES = [
    "plain",
    "it's",
    'say "x"',
    "x' AND tags.`kind` = 'other",
    'x" AND tags.`kind` = "other',
    "x\\' AND tags.b = ' AND tags.kind = 'y",
    "' OR 'a' = 'a",
    "two\nlines\t",
    "a; DROP TABLE runs --",
    "/* not a comment */",
    "100%_",
    "`key`",
    "C:\\data\\new",
    "\\\\share\\",
    "('a', 'b')",
    "$$ # [x] {y} ? :z",
    "ünï😀",
    " ",
]


@pytest.fixture
def http_library() -> str:
    """Use one HTTP library: what is sent does not depend on it."""
    return "httpx"


@pytest.fixture
async def is_2x(client: AsyncMlflowClient) -> bool:
    """Say whether the server is an MLflow 2.x."""
    return (await client.server_version()).startswith("2.")


async def run_names(client: AsyncMlflowClient, experiment_id: str, wanted: Filter) -> list[str]:
    """Return the names of the runs that fit, sorted."""
    return sorted(run.info.run_name or "" for run in await client.search_runs([experiment_id], wanted))


async def test_any_value_of_a_run_is_found_and_nothing_else(client: AsyncMlflowClient, unique_name: str) -> None:
    """Quotes, backslashes, line breaks, wildcards and attempts at another clause are values like any other."""
    experiment_id = await client.create_experiment(unique_name)
    for number, value in enumerate(VALUES):
        run = await client.create_run(experiment_id, tags={"what": value, "kind": "one"}, run_name=str(number))
        await client.log_param(run.info.run_id, "what", value)

    kind = Tag("kind") == "one"
    for number, value in enumerate(VALUES):
        assert await run_names(client, experiment_id, (what == value) & kind) == [str(number)]
        assert await run_names(client, experiment_id, (Param("what") == value) & kind) == [str(number)]
    for value in VALUES[3:7]:
        assert len(await run_names(client, experiment_id, (what != value) & kind)) == len(VALUES) - 1
        assert await run_names(client, experiment_id, (what == value) & (Tag("kind") == "other")) == []
    read = client.iter_runs([experiment_id], kind & (Param("what") != "plain"), max_results=5)
    assert len({run.info.run_id async for run in read}) == len(VALUES) - 1


async def test_a_value_with_both_quotes_is_found_by_a_pattern(client: AsyncMlflowClient, unique_name: str) -> None:
    """What `==` refuses, `like` with `_` finds, as the error says."""
    experiment_id = await client.create_experiment(unique_name)
    await client.create_run(experiment_id, tags={"what": 'it\'s "x"'}, run_name="found")
    with pytest.raises(InvalidInputError, match="use like"):
        await client.search_runs([experiment_id], what == 'it\'s "x"')
    with pytest.raises(InvalidInputError, match="use like"):
        client.iter_runs([experiment_id], what == 'it\'s "x"')

    assert await run_names(client, experiment_id, what.like('it_s "x"')) == ["found"]


async def test_each_comparison_of_runs(client: AsyncMlflowClient, unique_name: str, is_2x: bool) -> None:
    """By metric, param, tag, dataset and attribute, with every operator."""
    experiment_id = await client.create_experiment(unique_name)
    ids: dict[str, str] = {}
    for number, name in enumerate("abc"):
        run = await client.create_run(experiment_id, 1_000 + number, {"team": f"Fraud-{name}"}, name)
        ids[name] = run.info.run_id
        await client.log_batch(
            ids[name], [Point(key="loss/train", value=number / 10, timestamp=1, step=0)], {name: name}
        )
    data = DatasetInput(
        dataset=RunDataset(name="iris", digest="d1", source_type="local", source="{}"),
        tags=[InputTag(key="mlflow.data.context", value="train")],
    )
    await client.log_inputs(ids["b"], [data])
    await client.set_terminated(ids["c"], "FINISHED")
    loss, team, start = Metric("loss/train"), Tag("team"), Attribute("start_time")
    besides = start > 0 if is_2x else loss > 0  # servers 2.x answer 503 to datasets together with metrics

    expected: list[tuple[Filter, str]] = [
        (Filter(), "abc"),
        (loss == 0.1, "b"),
        (loss != 0.1, "ac"),
        (loss < 0.1, "a"),
        (loss <= 1e-1, "ab"),
        (loss > 0, "bc"),
        (loss >= 0.1, "bc"),
        (loss > -1.5e-7, "abc"),
        (loss < 1e300, "abc"),
        (Metric("none") != 1, ""),
        (Param("a") == "a", "a"),
        (Param("a") != "b", "a"),
        (team.like("Fraud%"), "abc"),
        (team.like("fraud%"), ""),
        (team.ilike("fraud-_"), "abc"),
        (Attribute("run_id") == ids["a"], "a"),
        (Attribute("run_id").in_([ids["a"], ids["b"]]), "ab"),
        (Attribute("run_id").not_in([ids["a"]]), "bc"),
        (Attribute("run_name").ilike("A"), "a"),
        (Attribute("status") == "FINISHED", "c"),
        (Attribute("status") != "FINISHED", "ab"),
        (Attribute("artifact_uri").like(f"%{ids['b']}%"), "b"),
        (Attribute("user_id") == "nobody", ""),
        (start == 1_001, "b"),
        (start != 1_001, "ac"),
        ((start >= 1_001) & (start < 1_002), "b"),
        (Attribute("end_time") > 0, "c"),
        (Dataset("name") == "iris", "b"),
        (Dataset("digest").in_(["d1", "d2"]), "b"),
        (Dataset("context").like("tr%") & besides, "b"),
        (Dataset("name") != "iris", ""),
    ]
    for wanted, names in expected:
        assert (wanted, "".join(await run_names(client, experiment_id, wanted))) == (wanted, names)

    nulls = [(Param("a").is_null(), "bc"), (Param("a").is_not_null() & (team != "x"), "a"), (team.is_null(), "")]
    for wanted, names in nulls:
        if is_2x:
            with pytest.raises(InvalidParameterError):
                await client.search_runs([experiment_id], wanted)
        else:
            assert "".join(await run_names(client, experiment_id, wanted)) == names


async def test_experiments_by_name_time_and_tag(client: AsyncMlflowClient, unique_name: str, is_2x: bool) -> None:
    """Any value of a tag, and the attributes that experiments have."""
    mine = named.like(f"{unique_name}%")
    ids = [await client.create_experiment(f"{unique_name}-it's-{n}", tags={"what": v}) for n, v in enumerate(VALUES)]

    async def found(wanted: Filter) -> list[str]:
        page = await client.search_experiments(filter_string=wanted & mine)
        return [experiment.experiment_id for experiment in page]

    for number, value in enumerate(VALUES):
        assert await found(what == value) == [ids[number]]
    assert await found(named == f"{unique_name}-it's-2") == [ids[2]]
    assert set(await found(named != f"{unique_name}-it's-2")) == set(ids) - {ids[2]}
    assert set(await found(named.ilike(f"{unique_name.upper()}-it_s%"))) == set(ids)
    read = client.iter_experiments(filter_string=mine & (what != "plain"), max_results=5)
    assert {experiment.experiment_id async for experiment in read} == set(ids[1:])
    created = (await client.get_experiment(ids[3])).creation_time or 0
    assert ids[3] in await found((Attribute("creation_time") >= created) & (Attribute("last_update_time") <= created))
    if is_2x:
        for wanted in (what.is_null(), Attribute("experiment_id") == ids[0]):
            with pytest.raises(InvalidParameterError):
                await client.search_experiments(filter_string=wanted)
        return
    assert await found(what.is_null()) == []
    assert set(await found(what.is_not_null())) == set(ids)
    assert await found(Attribute("experiment_id") == ids[1]) == [ids[1]]
    assert set(await found(Attribute("experiment_id").in_(ids[:2]))) == set(ids[:2])


async def test_registered_models_by_name_and_tag(client: AsyncMlflowClient, unique_name: str, is_2x: bool) -> None:
    """Any value of a tag, and any name, where the server has lists also one with both quotes."""
    names = [f"{unique_name}-{number:02}" for number in range(len(VALUES))]
    for name, value in zip(names, VALUES, strict=True):
        await client.create_registered_model(name, {"what": value, "kind": "one"})
    both = f"{unique_name} it's \"x\\"
    await client.create_registered_model(both)
    mine = named.like(f"{unique_name}%")

    async def found(wanted: Filter) -> list[str]:
        return [model.name for model in await client.search_registered_models(wanted & mine)]

    for name, value in zip(names, VALUES, strict=True):
        assert await found((what == value) & (Tag("kind") == "one")) == [name]
    assert await found(what.like("%data%") & (named != names[0])) == [names[12]]
    assert await found(named.ilike(names[1].upper())) == [names[1]]
    read = client.iter_registered_models(mine & (what != "plain"), 5)
    assert [model.name async for model in read] == names[1:]
    lists = [(named == both, [both]), (named.in_([both, names[4]]), [both, names[4]]), (named.not_in(names), [both])]
    for wanted, expected in lists:
        if is_2x:
            with pytest.raises(InvalidParameterError):
                await client.search_registered_models(wanted)
        else:
            assert await found(wanted) == expected


async def test_model_versions_by_attribute_and_tag(client: AsyncMlflowClient, unique_name: str, is_2x: bool) -> None:
    """Any value of a tag, any source, and numbers as numbers."""
    await client.create_registered_model(unique_name)
    run_ids = [(await client.create_run("0")).info.run_id for _ in range(2)]
    for number, value in enumerate(VALUES, 1):
        source = f"s3://bucket/it's/{number}"
        await client.create_model_version(unique_name, source, run_ids[number % 2], {"what": value})

    mine = named == unique_name

    async def found(wanted: Filter) -> list[int]:
        page = await client.search_model_versions(wanted & mine, order_by=["version_number ASC"])
        return [int(version.version) for version in page]

    everything = list(range(1, len(VALUES) + 1))
    number_of, run_id = Attribute("version_number"), Attribute("run_id")
    for position, value in enumerate(VALUES, 1):
        assert await found(what == value) == [position]
    assert await found((number_of > 2) & (number_of <= 4)) == [3, 4]
    assert await found(number_of != 1) == everything[1:]
    assert await found(number_of == 10) == [10]
    assert await found(Attribute("source_path") == "s3://bucket/it's/3") == [3]
    assert await found(Attribute("source_path").like("%/2")) == [2]
    assert await found(run_id == run_ids[1]) == everything[::2]
    assert await found(run_id.in_(run_ids)) == everything
    read = client.iter_model_versions(mine & (number_of > 1), 5, ["version_number ASC"])
    assert [int(version.version) async for version in read] == everything[1:]
    lists = [(named.in_([unique_name]), everything), (run_id.not_in(run_ids[:1]), everything[::2])]
    for wanted, expected in lists:
        if is_2x:
            with pytest.raises(InvalidParameterError):
                await client.search_model_versions(wanted)
        else:
            assert await found(wanted) == expected


async def test_logged_models_by_everything(client: AsyncMlflowClient, unique_name: str, is_2x: bool) -> None:
    """Any value and any key of params and tags, also in lists; status by its name; servers 2.x have none."""
    experiment_id = await client.create_experiment(unique_name)
    if is_2x:
        with pytest.raises(EndpointNotFoundError):
            await client.search_logged_models([experiment_id], what == "x")
        return
    values = [*VALUES, 'it\'s "x"\\']
    ids: list[str] = []
    for number, value in enumerate(values):
        keys = {"what": value, f"{value.replace('`', '').replace(chr(10), '')}": "key"}
        ids.append((await client.create_logged_model(experiment_id, f"m{number}", None, keys, keys)).model_id)

    async def found(wanted: Filter) -> set[int]:
        return {ids.index(model.model_id) for model in await client.search_logged_models([experiment_id], wanted)}

    for number, value in enumerate(values):
        key = value.replace("`", "").replace("\n", "")
        assert await found((what == value) & (Param("what") == value) & (Tag(key) == "key")) == {number}
    everything = set(range(len(values)))
    assert await found(what.in_(values[:3]) & (Attribute("name") != "m1")) == {0, 2}
    assert await found(Param("what").not_in(values[1:])) == {0}
    read = client.iter_logged_models([experiment_id], what != "plain", max_results=5)
    assert {ids.index(model.model_id) async for model in read} == everything - {0}

    run_id = (await client.create_run(experiment_id)).info.run_id
    await client.log_metric(run_id, "auc", 0.5, model_id=ids[1])
    await client.log_metric(run_id, "auc", 0.9, step=1, model_id=ids[1])
    await client.finalize_logged_model(ids[1], "READY")
    await client.finalize_logged_model(ids[2], "FAILED")
    made = await client.create_logged_model(experiment_id, "last", run_id, model_type="agent")
    ids.append(made.model_id)
    auc, status, created = Metric("auc"), Attribute("status"), Attribute("creation_timestamp")
    expected: list[tuple[Filter, set[int]]] = [
        (auc >= 0.9, {1}),
        ((auc < 0.6) & (auc > 0.6), {1}),
        (status == "READY", {1}),
        (status.in_(["READY", "FAILED"]), {1, 2}),
        ((status != "PENDING") & (auc == 0.5), {1}),
        (Attribute("model_type") == "agent", {len(values)}),
        (Attribute("source_run_id") == run_id, {len(values)}),
        (Attribute("model_id").in_(ids[:2]), {0, 1}),
        (Attribute("experiment_id") == experiment_id, everything | {len(values)}),
        (Attribute("artifact_location").like(f"%{ids[0]}%"), {0}),
        (Attribute("status_message").like("%"), set()),
        (created > (made.creation_timestamp or 0), set()),
        ((created >= 1) & (Attribute("last_updated_timestamp") >= 1), everything | {len(values)}),
    ]
    for wanted, models in expected:
        assert (wanted, await found(wanted)) == (wanted, models)
