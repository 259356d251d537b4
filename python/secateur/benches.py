"""Encoders, indexes and modes side by side: quality, latency, size and cost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _native, arguments
from .datasets import BeirFolder
from .encoder import Encoder
from .errors import UsageError
from .hub import locate
from .progress import ProgressCallback, native

__all__ = ["BenchReport", "bench"]

_Path = str | os.PathLike[str]


@dataclass(frozen=True)
class BenchReport:
    """What a bench found. Printed, it is the table of ``secateur bench``."""

    results: dict[str, Any]
    """All of it, as results.json has it. The guide to benches names the fields."""
    out: Path
    """The folder, with ``report.html``, ``report.md``, ``results.json``, and the answers as run files in ``runs/``."""
    breaches: list[str]
    """What is worse than the limits that were given allow, a sentence each."""
    text: str

    @property
    def cells(self) -> list[dict[str, Any]]:
        """What was measured of each combination of data set, encoder, index and mode."""
        found: list[dict[str, Any]] = self.results["cells"]
        return found

    @property
    def recommendation(self) -> str:
        """Which combination answers best within the time that was given, in a sentence."""
        return str(self.results["summary"]["sentence"])

    def __str__(self) -> str:
        return self.text


def bench(
    datasets: BeirFolder | _Path | Iterable[BeirFolder | _Path] | Mapping[str, BeirFolder | _Path],
    out: _Path,
    *,
    encoders: Encoder | _Path | Iterable[Encoder | _Path] | Mapping[str, Encoder | _Path] = (),
    indexes: Iterable[str] = ("flat", "hnsw"),
    modes: Iterable[str] | None = None,
    reranker: _Path | None = None,
    rerank_top: int = 100,
    device: str | None = None,
    split: str | None = None,
    rules: str = "mteb",
    max_queries: int | None = None,
    k: int | None = None,
    timed_queries: int | None = None,
    warm_up: int | None = None,
    repetitions: int | None = None,
    concurrency: int | None = None,
    rate: float | None = None,
    seed: int | None = None,
    within: float | None = None,
    discard: bool = False,
    baseline: _Path | None = None,
    max_ndcg_drop: float | None = None,
    max_latency_ratio: float | None = None,
    progress: ProgressCallback | None = None,
) -> BenchReport:
    """Measures every data set with every encoder, index and mode, as ``secateur bench`` does.

    :param datasets: BEIR folders, perhaps with the names they are to have.
    :param out: the folder of what is measured and built. The same call goes on after an interruption.
    :param encoders: the one first that the others are compared with: `Encoder` or what it is loaded from, perhaps with
        names.
    :param indexes: ``flat``, ``hnsw``, or with what differs from their defaults: ``flat-f16``, ``hnsw-1bit``, ``hnsw-ef50``.
    :param modes: ``dense``, ``bm25``, ``hybrid``: all of them unless given, without encoders ``bm25``.
    :param reranker: a cross-encoder that ranks the best `rerank_top` documents anew.
    :param device: where models that it loads compute; an `Encoder` computes where it does.
    :param k: documents that a timed search asks for; 10 unless given. Measures look at 100.
    :param timed_queries: the most queries of a data set that are timed; 200 unless given.
    :param warm_up: queries that are answered before any is timed; 20 unless given.
    :param repetitions: how often each of them is timed; 3 unless given.
    :param concurrency: clients that ask at the same time.
    :param rate: queries a second that arrive, whether earlier ones are answered or not.
    :param seed: decides which queries are timed, and in which order.
    :param within: the milliseconds within which a recommendation answers 19 of 20 queries; 100 unless given.
    :param discard: remove the databases of a data set when it is done.
    :param baseline: the folder of an earlier bench, or its results.json. What is worse than `max_ndcg_drop` and
        `max_latency_ratio` allow is in the report's `breaches`.

    It computes on a pool of the process, of as many threads as there are cores, whatever `set_num_threads` says. Ctrl-C
    is heard between two combinations, and while texts are encoded.

    >>> report = bench(mini_dataset, tmp / "bench", modes=["bm25"], repetitions=1)
    >>> [cell["key"]["mode"] for cell in report.cells], round(report.cells[0]["quality"]["means"]["nDCG@10"]["mean"], 1)
    (['bm25'], 0.6)
    """
    models = [(name, _model(encoder)) for name, encoder in _named(encoders, _name_of)]
    if modes is None:
        modes = ["dense", "bm25", "hybrid"] if models else ["bm25"]
    if baseline is None and (max_ndcg_drop is not None or max_latency_ratio is not None):
        raise UsageError("max_ndcg_drop and max_latency_ratio compare with an earlier bench: name it as baseline")
    counts = {
        "rerank_top": rerank_top,
        "max_queries": max_queries,
        "k": k,
        "timed_queries": timed_queries,
        "warm_up": warm_up,
        "repetitions": repetitions,
        "concurrency": concurrency,
        "seed": seed,
    }
    numbers = {
        "rate": rate,
        "within": within,
        "max_ndcg_drop": max_ndcg_drop,
        "max_latency_ratio": max_latency_ratio,
    }
    names = {"device": device, "split": split, "rules": rules}
    for kind, given in (("int", counts), ("float", numbers), ("str", names), ("bool", {"discard": discard})):
        arguments.of_kinds(dict.fromkeys(given, kind), given)
    described = {
        **counts,
        **numbers,
        **names,
        "datasets": [(name, _folder(dataset)) for name, dataset in _named(datasets, lambda _: None)],
        "encoders": models,
        "indexes": arguments.texts("indexes", indexes, "index"),
        "modes": arguments.texts("modes", modes, "mode"),
        "reranker": None if reranker is None else locate(reranker),
        "discard": discard,
        "baseline": None if baseline is None else os.fspath(baseline),
        "program": _native.__file__,
    }
    return BenchReport(**_native.bench(os.fspath(out), described, native(progress)), out=Path(out))


def _named(given: Any, name: Any) -> list[tuple[Any, Any]]:
    """What is given, with names: those of a mapping, or as `name` says."""
    if isinstance(given, Mapping):
        return list(given.items())
    if isinstance(given, str | os.PathLike | Encoder | BeirFolder):
        given = [given]
    if not isinstance(given, Iterable):
        raise UsageError(f"{given!r:.40} is none of: a name or path, an iterable of them, a mapping")
    return [(name(one), one) for one in given]


def _name_of(encoder: Any) -> str:
    return encoder.name if isinstance(encoder, Encoder) else Path(encoder).name


def _model(encoder: Any) -> Any:
    return encoder._native if isinstance(encoder, Encoder) else locate(encoder)


def _folder(dataset: Any) -> str:
    return os.fspath(dataset.path if isinstance(dataset, BeirFolder) else dataset)
