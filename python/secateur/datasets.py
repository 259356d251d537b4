"""The files of the field: BEIR folders, TREC's runs and judgments, training examples, files of documents."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from . import _native, arguments, parquet
from .documents import Document, Fields, are_parquet, field_names, of_fields, records

__all__ = [
    "BeirFolder",
    "Collection",
    "Converted",
    "read_documents",
    "read_examples",
    "read_qrels",
    "read_run",
    "write_qrels",
    "write_run",
]

_Path = str | os.PathLike[str]


class BeirFolder:
    """A data set in BEIR's layout: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv``.

    >>> mini = BeirFolder(mini_dataset)
    >>> mini.splits, len(mini.queries("test")), next(iter(mini.corpus())).id
    (['test'], 12, 'garden-01')
    """

    def __init__(self, path: _Path) -> None:
        self._native = _native.BeirFolder(os.fspath(path))

    @property
    def name(self) -> str:
        """That of the folder."""
        return self._native.name

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self._native.path)

    @property
    def splits(self) -> list[str]:
        """The names of the splits."""
        return self._native.splits

    @property
    def default_split(self) -> str:
        """The split that results are reported on: ``test``, of MS MARCO ``dev``."""
        return self._native.default_split

    def corpus(self) -> Iterator[Document]:
        """The documents, each read when it is asked for."""
        return read_documents(self.path)

    def queries(self, split: str | None = None) -> dict[str, str]:
        """Query id -> text: of all queries, or of those that a split judges."""
        return self._native.queries(split)

    def qrels(self, split: str | None = None) -> dict[str, dict[str, int]]:
        """Query id -> document id -> relevance, of the default split unless one is given."""
        return self._native.qrels(self.default_split if split is None else split)

    def info(self) -> dict[str, Any]:
        """Counts of documents, queries and judgments."""
        found: dict[str, Any] = self._native.info()
        return found

    def verify(self) -> tuple[list[str], int, int]:
        """Every fault, as a line with its file and place; and the numbers of errors and of warnings."""
        return self._native.verify()

    def __repr__(self) -> str:
        return f"<secateur.BeirFolder {str(self.path)!r}>"


class Converted(NamedTuple):
    """How much of a collection was written."""

    num_documents: int
    num_queries: int
    num_judgments: int
    """Those of all splits."""


class Collection:
    """A data set in another layout: MS MARCO's files, ir_datasets' exports, or the folders of the Hugging Face hub.

    The hub's Parquet files take a package that was built with the feature ``parquet``.

    >>> folder = tmp / "marco"
    >>> folder.mkdir()
    >>> _ = (folder / "collection.tsv").write_text("7\\tBees dance.\\n8\\tBread rises.\\n")
    >>> _ = (folder / "queries.dev.tsv").write_text("1\\thow do bees talk\\n")
    >>> _ = (folder / "qrels.dev.tsv").write_text("1\\t0\\t7\\t1\\n")
    >>> marco = Collection(folder)
    >>> marco.queries(), marco.qrels()
    ({'1': 'how do bees talk'}, {'dev': {'1': {'7': 1}}})
    >>> marco.convert(tmp / "beir")
    Converted(num_documents=2, num_queries=1, num_judgments=1)
    >>> BeirFolder(tmp / "beir").qrels("dev")
    {'1': {'7': 1}}
    """

    def __init__(self, path: _Path) -> None:
        self._native = _native.Collection(os.fspath(path))
        self._path = Path(path)

    def queries(self) -> dict[str, str]:
        """Query id -> text."""
        return self._native.queries()

    def qrels(self) -> dict[str, dict[str, dict[str, int]]]:
        """Split -> query id -> document id -> relevance."""
        return self._native.qrels()

    def convert(self, out: _Path, layout: Literal["beir", "tsv"] = "beir") -> Converted:
        """Writes it in another layout, to a folder that appears whole or not at all.

        :param layout: ``beir``, or ``tsv`` as MS MARCO has it: titles go before texts, metadata are left out.
        """
        return Converted(*self._native.convert(os.fspath(out), layout))

    def __repr__(self) -> str:
        return f"<secateur.datasets.Collection {str(self._path)!r}>"


def read_documents(paths: _Path | Iterable[_Path], *, fields: Fields | None = None) -> Iterator[Document]:
    """The documents of files as the executable reads them: JSON lines, CSV, TSV, texts, folders. Parquet takes pyarrow.

    >>> path = tmp / "notes.csv"
    >>> _ = path.write_text("id,text,year\\nn1,Prune roses.,2021\\n")
    >>> list(read_documents(path))
    [Document(id='n1', text='Prune roses.', title='', metadata={'year': 2021})]
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files, names = [os.fspath(path) for path in given], field_names(fields)
    if are_parquet(files):
        return (of_fields(_native.parse_record(str(row), names)) for row in records(parquet.rows(files)))
    reader = _native.SourceDocuments(files, names)

    def documents() -> Iterator[Document]:
        while batch := reader.take():
            for record, _ in batch:
                yield of_fields(record)

    return documents()


def read_examples(path: _Path) -> Iterator[dict[str, Any]]:
    """The training examples of a file in FlagEmbedding's or Tevatron's format, with FlagEmbedding's keys.

    >>> path = tmp / "train.jsonl"
    >>> _ = path.write_text('{"query": "pruning roses", "pos": ["Prune in winter."]}\\n')
    >>> list(read_examples(path))
    [{'query': 'pruning roses', 'pos': ['Prune in winter.'], 'neg': []}]
    """
    return iter(_native.TrainingExamples(os.fspath(path)))


def read_qrels(path: _Path) -> dict[str, dict[str, int]]:
    """Reads judgments in TREC's or BEIR's layout: query id -> document id -> relevance."""
    return _native.read_qrels(os.fspath(path))


def read_run(path: _Path) -> dict[str, dict[str, float]]:
    """Reads a run in TREC's layout: query id -> document id -> score."""
    return _native.read_run(os.fspath(path))


def write_qrels(path: _Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Writes judgments in TREC's layout, whole or not at all.

    >>> write_qrels(tmp / "a.qrels", {"q": {"d": 1}})
    >>> read_qrels(tmp / "a.qrels")
    {'q': {'d': 1}}
    """
    _native.write_qrels(os.fspath(path), arguments.by_query("qrels", qrels, arguments.is_relevance))


def write_run(path: _Path, run: Mapping[str, Mapping[str, float]], *, tag: str = "secateur") -> None:
    """Writes a run in TREC's layout, whole or not at all.

    >>> write_run(tmp / "a.run", {"q": {"d": 1.5}})
    >>> read_run(tmp / "a.run")
    {'q': {'d': 1.5}}
    """
    _native.write_run(os.fspath(path), arguments.by_query("run", run, arguments.is_score), tag)
