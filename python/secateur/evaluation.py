"""Runs are measured by the field's rules: those of trec_eval, BEIR and MTEB."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import _native, arguments
from .datasets import BeirFolder, read_qrels, read_run
from .errors import UsageError

__all__ = ["Evaluation", "Qrels", "Run", "evaluate"]

Qrels = Mapping[str, Mapping[str, int]]
"""Judgments: query id -> document id -> relevance."""
Run = Mapping[str, Mapping[str, float]]
"""Answers: query id -> document id -> score, higher is better."""


@dataclass(frozen=True)
class Evaluation:
    """The measures of a run. Printed, it is a table."""

    means: dict[str, float]
    """By measure."""
    per_query: dict[str, dict[str, float]]
    """Query id -> measure -> value, for the queries that count."""
    rules: str
    """The rules that were followed."""
    num_judged: int
    """Queries with a judgment."""
    num_evaluated: int
    """Queries that the means are taken over."""
    num_missing: int
    """Judged queries that the run lacks."""
    num_unjudged: int
    """Queries of the run without a judgment; they are ignored."""
    table: str

    def __getitem__(self, measure: str) -> float:
        return self.means[measure]

    def __str__(self) -> str:
        return self.table


def evaluate(
    qrels: Qrels | BeirFolder | str | os.PathLike[str],
    run: Run | str | os.PathLike[str],
    measures: Iterable[str] = (),
    *,
    rules: str = "trec_eval",
    split: str | None = None,
    dataset: str = "",
) -> Evaluation:
    """Measures a run against judgments.

    :param qrels: judgments, a file of them, or a data set, whose `split` is taken: a `BeirFolder`, or its path.
    :param run: answers, or a file of TREC's layout.
    :param measures: ``nDCG@10``, ``Recall@100``, ``MAP``, ``MRR@10`` and ``P@10`` unless given.
    :param rules: ``trec_eval``, ``trec_eval-9``, ``beir`` or ``mteb``: how ties, missing queries and a document with the
        query's id are treated.
    :param dataset: the name of the data set, by which MTEB's rules differ; that of `qrels` if it is a data set.

    >>> found = evaluate({"q": {"a": 1, "b": 0}}, {"q": {"b": 0.9, "a": 0.8}}, ["MRR", "P@1"])
    >>> found.means
    {'MRR': 0.5, 'P@1': 0.0}
    """
    judged, dataset = judgments(qrels, split, dataset)
    wanted = arguments.texts("measures", measures, "measure")
    return Evaluation(**_native.evaluate(judged, scores(run), wanted, arguments.text("rules", rules), dataset))


def judgments(
    qrels: Qrels | BeirFolder | str | os.PathLike[str], split: str | None, dataset: str
) -> tuple[dict[str, dict[str, int]], str]:
    """Judgments for the native module, and the name of the data set."""
    if isinstance(qrels, BeirFolder):
        return qrels.qrels(split), dataset or qrels.name
    if isinstance(qrels, str | os.PathLike) and os.path.isdir(qrels):
        return judgments(BeirFolder(qrels), split, dataset)
    if split is not None:
        raise UsageError(f"split={split!r} chooses among those of a data set: give one, or leave split out")
    if isinstance(qrels, str | os.PathLike):
        return read_qrels(qrels), dataset
    return arguments.by_query("qrels", qrels, arguments.is_relevance), dataset


def scores(run: Run | str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """A run for the native module, or that of a file."""
    if isinstance(run, str | os.PathLike):
        return read_run(run)
    return arguments.by_query("run", run, arguments.is_score)
