"""Runs of the same queries are compared: whether they differ, by how much, and on which queries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _native, arguments
from .datasets import BeirFolder
from .errors import UsageError
from .evaluation import Qrels, Run, judgments, scores

__all__ = ["Against", "Answer", "Comparison", "Difference", "MovedQuery", "compare"]


@dataclass(frozen=True)
class Difference:
    """How a run differs from the first by a measure. Probabilities are two-sided."""

    mean: float
    """Its mean less that of the first run: above 0 the run is better."""
    wins: int
    """Queries on which the run is better."""
    ties: int
    """Queries on which both are equal."""
    losses: int
    """Queries on which the first run is better."""
    t_test: float | None
    """The probability of Student's t-test of pairs. There is none of one query, or if all are ties."""
    randomization: float
    """That of Fisher's randomization test."""
    t_test_holm: float | None
    """That of the t-test, adjusted for as many tests as there are runs beside the first."""
    randomization_holm: float
    """That of the randomization test, adjusted in the same way."""

    @classmethod
    def _of(cls, found: dict[str, Any]) -> Difference:
        del found["measure"]
        return cls(**{**found, "t_test": found["t_test"] and found["t_test"]["p"]})


@dataclass(frozen=True)
class Answer:
    """A document of an answer."""

    doc_id: str
    title: str | None
    """What it is called, or how it begins, if that is known."""
    score: float
    """Its score in the run."""
    relevance: int | None
    """Its judgment, if there is one."""


@dataclass(frozen=True)
class MovedQuery:
    """A query that two runs answer differently."""

    query_id: str
    text: str | None
    """Its text, if that is known."""
    values: tuple[float, float]
    """How good the first run's answer is, and the other's."""
    answers: tuple[list[Answer], list[Answer]]
    """The best documents of the first run, and of the other."""

    @classmethod
    def _of(cls, found: dict[str, Any]) -> MovedQuery:
        first, other = ([Answer(**one) for one in answer] for answer in found["answers"])
        return cls(found["query_id"], found["text"], tuple(found["values"]), (first, other))


@dataclass(frozen=True)
class Against:
    """A run against the first."""

    by_measure: dict[str, Difference]
    moved: list[MovedQuery]
    """Where the two differ most by the first measure, most first."""


@dataclass(frozen=True)
class Comparison:
    """Runs against the first of them. Printed, it is what ``secateur compare`` prints."""

    num_queries: int
    """How many queries all runs have a value for. Means are over these."""
    means: dict[str, dict[str, float]]
    """Run -> measure -> mean."""
    against_first: dict[str, Against]
    """By run, all but the first."""
    rules: str
    """The rules that were followed."""
    text: str

    def __str__(self) -> str:
        return self.text


def compare(
    qrels: Qrels | BeirFolder | str | os.PathLike[str],
    runs: Mapping[str, Run | str | os.PathLike[str]] | Iterable[str | os.PathLike[str]],
    measures: Iterable[str] = (),
    *,
    rules: str = "trec_eval",
    split: str | None = None,
    dataset: str = "",
    permutations: int | None = None,
    seed: int | None = None,
    moved: int | None = None,
    answers: int | None = None,
) -> Comparison:
    """Compares runs with the first of them, by judgments.

    :param qrels: as for `secateur.evaluate`. The texts of a data set are shown.
    :param runs: name -> run, or -> a file of TREC's layout; or files, which are then called by their names.
    :param measures, rules, split, dataset: as for `secateur.evaluate`.
    :param permutations: ways to swap the runs' values that the randomization test tries; 100,000 unless given.
    :param seed: decides which ways are drawn.
    :param moved: queries to show, those that moved most by the first measure; 5 unless given.
    :param answers: documents of either answer to show for each; 5 unless given.

    >>> before, after = {"q": {"a": 0.1, "b": 0.5}}, {"q": {"a": 0.9, "b": 0.5}}
    >>> found = compare({"q": {"a": 1}}, {"before": before, "after": after}, ["MRR@10"])
    >>> found.means, found.against_first["after"].by_measure["MRR@10"].mean
    ({'before': {'MRR@10': 0.5}, 'after': {'MRR@10': 1.0}}, 0.5)
    """
    if isinstance(qrels, str | os.PathLike) and os.path.isdir(qrels):
        qrels = BeirFolder(qrels)
    folder = qrels._native if isinstance(qrels, BeirFolder) else None
    judged, dataset = judgments(qrels, split, dataset)
    counts = {"permutations": permutations, "seed": seed, "moved": moved, "answers": answers}
    arguments.of_kinds(dict.fromkeys(counts, "int"), counts)
    given = {
        **counts,
        "measures": arguments.texts("measures", measures, "measure"),
        "rules": rules,
        "dataset": dataset,
    }
    found = _native.compare(judged, _named(runs), given, folder)
    compared = found["found"]
    names = compared["measures"]
    return Comparison(
        compared["num_queries"],
        {run["name"]: dict(zip(names, run["means"], strict=True)) for run in compared["runs"]},
        {
            against["name"]: Against(
                {one["measure"]: Difference._of(one) for one in against["by_measure"]},
                [MovedQuery._of(one) for one in against["moved"]],
            )
            for against in compared["against_first"]
        },
        found["rules"],
        found["text"],
    )


def _named(runs: Any) -> list[tuple[str, dict[str, dict[str, float]]]]:
    """The runs with their names: of files with one name the paths."""
    if isinstance(runs, str | os.PathLike):
        raise UsageError(f"runs is one path, {os.fspath(runs)!r}: give two or more, in a list")
    if not isinstance(runs, Iterable):
        raise UsageError(f"runs is {runs!r:.40}: expected a mapping of names and runs, or a list of files")
    if not isinstance(runs, Mapping):
        paths = list(runs)
        if not all(isinstance(path, str | os.PathLike) for path in paths):
            raise UsageError("runs that are no files have no names: give a mapping of names and runs")
        names = [Path(path).name for path in paths]
        runs = dict(zip(names if len(set(names)) == len(names) else map(str, paths), paths, strict=True))
    return [(str(name), scores(run)) for name, run in runs.items()]

