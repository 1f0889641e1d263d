"""Typed search filters: comparisons of `Attribute`, `Metric`, `Param`, `Tag` and `Dataset`, combined with `&`.

    (Metric("auc") >= 0.9) & (Param("lr") == "0.1") & Tag("team").like("fraud%")

MLflow's filter language has AND only, and no escaping. So a value can never become part of the filter here: it is
quoted in a way that MLflow reads back unchanged, or refused with InvalidInputError before anything is sent.
"""

from __future__ import annotations

from mlflow_utilities.filters.clauses import Filter
from mlflow_utilities.filters.fields import Attribute, Dataset, Metric, Param, Tag
from mlflow_utilities.filters.rendering import render_filter

__all__ = ["Attribute", "Dataset", "Filter", "Metric", "Param", "Tag", "render_filter"]
