"""Random exchanges with both servers: a seed gives the same ones, mostly valid, some with one thing wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from support.twins import Exchange, get, post

__all__ = ["PREPARATION", "random_exchanges"]

KEYS = ("a", "b", "a.b", "A", "é", "a b", "a/b")
TEXTS = ("", "1", "x", "it's", 'q"q', "é", " pad ", "%", "_")
QUOTED = ("'1'", "'x'", "'it''s'", '"x"', "'%'", "'x%'", "'_'", "'é'", "'A'", "''")
WRONG_KEYS = ("", "../x", "/x", "a@b", "k" * 251)
WRONG = {"key": WRONG_KEYS, "status": ("x", None)}
WRONG_VALUES = (5, None, True, ["x"], {"a": 1})
PREPARATION = [
    *(post("experiments/create", {f"e{at}": "experiment_id"}, name=f"$u e{at}") for at in range(2)),
    *(
        post(
            "runs/create",
            {f"r{at}": "run.info.run_id"},
            experiment_id=f"$e{at % 2}",
            start_time=at + 1,
            run_name=f"r{at}",
        )
        for at in range(3)
    ),
    *(
        post("logged-models", {f"m{at}": "model.info.model_id"}, experiment_id="$e0", name="m", source_run_id="$r0")
        for at in range(2)
    ),
    *(post("registered-models/create", name=name) for name in ("$u", "$u b")),
    *(post("model-versions/create", name="$u", source=f"s3://b/{at}") for at in range(3)),
]


class _Maker:
    """Makes exchanges about what PREPARATION made and about what they make themselves."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.numbers = itertools.count(100)
        self.runs = ["$r0", "$r1", "$r2"]

    def one(self, *choices: Any) -> Any:
        return self.chance.choice(choices)

    def perhaps(self, **fields: Any) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if self.chance.random() < 0.4}

    def run(self) -> str:
        return self.one(*self.runs)

    def tag(self) -> dict[str, Any]:
        return {"key": self.one(*KEYS), "value": self.one(*TEXTS)}

    def tags(self) -> list[dict[str, Any]]:
        return [{**self.tag(), "key": key} for key in self.chance.sample(KEYS, self.one(0, 1, 2))]

    def metric(self) -> dict[str, Any]:
        fields = {"key": self.one(*KEYS), "value": self.one(0, 1, -2.5, 1e300, "NaN", "-Infinity")}
        return {**fields, "timestamp": self.one(0, 1, 2), **self.perhaps(step=self.one(0, 1, -1))}

    def clause(self, *attributes: str) -> str:
        key = self.one(*attributes, "tags.a", "tags.`a b`", "tags.A")
        return f"{key} {self.one('=', '!=', 'LIKE', 'ILIKE')} {self.one(*QUOTED)}"

    def filter_of_runs(self) -> str:
        metric = f"metrics.`{self.one(*KEYS)}` {self.one('=', '!=', '>', '<=')} {self.one(0, 1, -2.5)}"
        nothing = f"{self.one('params', 'tags')}.`{self.one(*KEYS)}` IS {self.one('', 'NOT ')}NULL"
        clauses = (metric, nothing, self.clause("run_name", "status", "params.a", "user_id"), "start_time > 2")
        return " AND ".join(self.chance.sample(clauses, self.one(1, 1, 2)))

    def create_run(self) -> Exchange:
        number = next(self.numbers)
        self.runs.append(f"$r{number}")
        fields = self.perhaps(user_id=self.one(*TEXTS), tags=self.tags())
        kept = {f"r{number}": "run.info.run_id"}
        name = self.one("n", "it's", "é")
        return post(
            "runs/create", kept, experiment_id=self.one("$e0", "$e1"), start_time=number, run_name=name, **fields
        )

    def of_a_run(self) -> Exchange:
        path, fields = self.one(
            ("log-metric", self.metric()),
            ("log-parameter", self.tag()),
            ("set-tag", self.tag()),
            ("delete-tag", {"key": self.one(*KEYS)}),
            ("log-batch", self.perhaps(metrics=[self.metric(), self.metric()], params=self.tags(), tags=self.tags())),
            ("update", self.perhaps(status=self.one("FINISHED", "FAILED"), end_time=5, run_name=self.one(*TEXTS))),
            (self.one("delete", "restore", "restore"), {}),
            ("log-inputs", {"datasets": [{"dataset": {"name": "d", "digest": self.one("1", "2")}}]}),
        )
        return post(f"runs/{path}", run_id=self.run(), **fields)

    def of_a_model(self) -> Exchange:
        name = self.one("$u", "$u", "$u b", "$u none")
        version = self.one("1", "2", "3", "9")
        return self.one(
            Exchange("PATCH", "registered-models/update", {"name": name, "description": self.one(*TEXTS)}),
            post("registered-models/set-tag", name=name, **self.tag()),
            post("registered-models/alias", name=name, alias=self.one("al", "b"), version=version),
            get("registered-models/alias", name=name, alias=self.one("al", "b")),
            Exchange("DELETE", "registered-models/alias", {"name": name, "alias": "al"}),
            post("model-versions/create", name=name, source=self.one("s3://b/x", "models:/$m0"), tags=self.tags()),
            post("model-versions/set-tag", name=name, version=version, **self.tag()),
            Exchange("PATCH", "model-versions/update", {"name": name, "version": version, "description": "d"}),
            Exchange("DELETE", "model-versions/delete", {"name": name, "version": "3"}),
            get("model-versions/get", name=name, version=version),
            get("registered-models/get", name=name),
        )

    def of_a_logged_model(self) -> Exchange:
        model = self.one("$m0", "$m1", "m-none")
        return self.one(
            get(f"logged-models/{model}"),
            Exchange("PATCH", f"logged-models/{model}", {"model_id": model, "status": "LOGGED_MODEL_READY"}),
            Exchange("PATCH", f"logged-models/{model}/tags", {"tags": self.tags()}),
            Exchange("DELETE", f"logged-models/{model}/tags/{self.one('a', 'b')}", {}),
            post("runs/log-metric", run_id=self.run(), **self.metric(), model_id=model),
        )

    def of_an_experiment(self) -> Exchange:
        experiment = self.one("$e0", "$e1")
        return self.one(
            get("experiments/get", experiment_id=experiment),
            get("experiments/get-by-name", experiment_name=self.one("$u e0", "$u e1", "$u none")),
            post("experiments/set-experiment-tag", experiment_id=experiment, **self.tag()),
            post("experiments/delete-experiment-tag", experiment_id=experiment, key=self.one(*KEYS)),
            post("experiments/update", experiment_id="$e1", new_name=self.one("$u e0", "$u e1", "$u new")),
            post(f"experiments/{self.one('delete', 'restore')}", experiment_id="$e1"),
        )

    def search(self) -> Exchange:
        ids = ["$e0", "$e1"]
        own = "name LIKE '$u%' AND "
        options = self.perhaps(max_results=self.one(1, 2, 100))
        order = self.perhaps(order_by=[f"{self.one('metrics.a', 'params.a', 'tags.a', 'run_name')} DESC"])
        runs = {**options, **order, **self.perhaps(run_view_type=self.one("ALL", "DELETED_ONLY"))}
        return self.one(
            post("runs/search", experiment_ids=ids, filter=self.filter_of_runs(), **runs),
            post("runs/search", experiment_ids=ids, **runs),
            post("experiments/search", filter=own + self.clause("name"), **options),
            get("registered-models/search", filter=own + self.clause("name"), **options),
            get("model-versions/search", filter=own + self.clause("name", "run_id"), **options),
            post("logged-models/search", experiment_ids=ids, filter=self.clause("name", "model_type")),
        )

    def spoiled(self, exchange: Exchange) -> Exchange:
        """Return an exchange with one field that is missing or wrong."""
        if exchange.method == "GET" or not exchange.fields or exchange.path.endswith(("/search", "/create")):
            return exchange
        name = self.one(*exchange.fields)
        fields = {**exchange.fields, name: self.one(*WRONG.get(name, WRONG_VALUES))}
        if self.chance.random() < 0.3:
            del fields[name]
        return Exchange(exchange.method, exchange.path, fields)


def random_exchanges(seed: int, count: int) -> Iterator[Exchange]:
    """Return exchanges that come after those of PREPARATION."""
    maker = _Maker(Random(seed))
    of_runs: list[Callable[[], Exchange]] = [maker.of_a_run] * 4
    kinds = [*of_runs, maker.create_run, maker.of_a_model, maker.of_a_logged_model, maker.of_an_experiment]
    for _ in range(count):
        made = maker.one(*kinds, maker.of_a_model, maker.search, maker.search)()
        yield maker.spoiled(made) if maker.chance.random() < 0.1 else made
