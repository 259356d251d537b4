"""Databases: documents, their vectors and the words in them, in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _native, arguments
from .answers import hits_of, with_documents
from .documents import Document, Documents, Fields, of_fields, source
from .encoder import Encoder
from .errors import DatabaseError, UsageError
from .progress import ProgressCallback, native
from .maintenance import Maintained
from .opened import Loading, build_arguments, encoder_of, folder
from .options import SearchOptions, VectorOptions, search_arguments
from .results import AddReport, Hit
from .vectors import Floats, matrix

__all__ = ["Database"]


class Database(Maintained):
    """Documents that are found by meaning, by words, or by both.

    >>> db = Database.create(tmp / "garden.db", encoder="default")
    >>> with db:
    ...     db.add([
    ...         {"id": "roses", "text": "Roses are pruned in late winter.", "year": 2021},
    ...         {"id": "bread", "text": "Bread rises overnight.", "year": 2019},
    ...     ])
    AddReport(num_added=2, num_replaced=0)
    >>> [hit.id for hit in db.search("when to cut rose bushes", k=1)]
    ['roses']
    >>> [hit.id for hit in db.search("bread", mode="bm25", filter="year < 2020")]
    ['bread']

    Changes are seen after `commit`. A ``with`` block commits at its end, or forgets the changes if it raises.

    Several threads may use one database, and several processes may have it open; one at a time may change it.
    """

    def __init__(self) -> None:
        raise TypeError("call Database.create, Database.build or Database.open")

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        dim: int | None = None,
        analyzer: str | None = None,
        **vectors: Unpack[VectorOptions],
    ) -> Self:
        """Makes an empty database in a folder that is absent or empty.

        :param encoder: makes a vector of each document. Without it, and without `dim`, searches go by words.
        :param dim: every document comes with a vector of this many numbers.
        :param analyzer: what makes words: ``english``, ``standard``, ``cjk``, or the name of one of the other languages that
            the guide lists, such as ``hindi``. It cannot be changed later.
        """
        return cls._build(path, None, encoder, dim, analyzer, False, None, vectors)

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        documents: Documents,
        *,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        dim: int | None = None,
        analyzer: str | None = None,
        fields: Fields | None = None,
        allow_empty: bool = False,
        progress: ProgressCallback | None = None,
        **vectors: Unpack[VectorOptions],
    ) -> Self:
        """Makes a database of all documents, which may be more than fit in memory. It appears when it is complete.

        After an error or a kill, the same call continues from the last stored vectors and ends with the same bytes.

        :param fields: the names of fields where they are not the usual ones. ``vector`` names that of a vector, for
            a database with a `dim`.
        :param allow_empty: take documents without title and text.

        >>> db = Database.build(tmp / "poems.db", (("poem-%d" % n, "line %d" % n) for n in range(3)))
        >>> len(db), db.search("line", k=1)[0].id
        (3, 'poem-0')
        """
        if dim is None and fields and "vector" in fields:
            raise UsageError(f"the field {fields['vector']} has vectors: say of which dim, or leave it out of fields")
        given = source(documents, fields)
        return cls._build(path, given, encoder, dim, analyzer, allow_empty, progress, vectors)

    @classmethod
    def _build(
        cls,
        path: str | os.PathLike[str],
        documents: Any,
        encoder: Encoder | str | os.PathLike[str] | None,
        dim: int | None,
        analyzer: str | None,
        allow_empty: bool,
        progress: ProgressCallback | None,
        vectors: VectorOptions,
    ) -> Self:
        made = build_arguments(encoder, dim, analyzer, allow_empty, vectors)
        built = _native.build(folder(path), made, documents, native(progress))
        return cls._of(built, Loading(None, None, None))

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        generation: str | None = None,
        device: str | None = None,
        batch_tokens: int | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Opens a database.

        The encoder that it remembers is loaded when it is needed: by the first search that is not by words, or by the
        first document. If it is not where it was, give it.

        :param generation: read these vectors in place of those in use.
        :param device: where encoders that it loads compute.
        :param cache: a folder in which fingerprints of models are remembered, so that they load faster.

        >>> Database.create(tmp / "empty.db")
        <secateur.Database ...: 0 documents>
        >>> Database.open(tmp / "absent.db")
        Traceback (most recent call last):
        ...
        secateur.errors.DatabaseError: ...absent.db...
        """
        arguments.of_kinds({"generation": "str", "device": "str"}, {"generation": generation, "device": device})
        if batch_tokens is not None:
            arguments.whole("batch_tokens", batch_tokens, 1)
        opened = _native.Database.open(folder(path), generation)
        loading = Loading(device, batch_tokens, None if cache is None else os.fspath(cache))
        self = cls._of(opened, loading)
        if encoder is not None:
            opened.set_encoder(encoder_of(encoder)._native)
        return self

    # Changes

    def add(
        self,
        documents: Documents,
        *,
        vectors: Any = None,
        fields: Fields | None = None,
        progress: ProgressCallback | None = None,
    ) -> AddReport:
        """Adds documents: all of them, or after an error none. An id that is taken, or that comes twice, is an error.

        What was changed before stays as it was. The documents may come from an iterator, 256 at a time.

        :param documents: documents of any shape: see `secateur.documents.Documents`.
        :param vectors: (B, D), a row for each document, in a database that was made with a `dim`. A C-contiguous
            array of f32 is not copied.
        :param fields: the names of fields where they are not the usual ones.

        >>> db = Database.create(tmp / "own.db", dim=2)
        >>> with db:
        ...     db.add([("north", "up"), ("east", "right")], vectors=[[0, 1], [1, 0]])
        AddReport(num_added=2, num_replaced=0)
        >>> db.search([0.9, 0.1], k=1)[0].id
        'east'
        """
        return self._add(documents, vectors, fields, False, progress)

    def upsert(
        self,
        documents: Documents,
        *,
        vectors: Any = None,
        fields: Fields | None = None,
        progress: ProgressCallback | None = None,
    ) -> AddReport:
        """Adds documents, and replaces those that have their ids. If an id comes twice, the last document counts.

        Otherwise as `add`: after an error none is added, and none is replaced.

        >>> with Database.create(tmp / "upserted.db") as db:
        ...     db.upsert([("1", "Bread rises overnight.")])
        ...     db.upsert([("1", "Bread rises for a day."), ("2", "Bees dance.")])
        AddReport(num_added=1, num_replaced=0)
        AddReport(num_added=1, num_replaced=1)
        """
        return self._add(documents, vectors, fields, True, progress)

    def _add(
        self,
        documents: Documents,
        vectors: Any,
        fields: Fields | None,
        replace: bool,
        progress: ProgressCallback | None,
    ) -> AddReport:
        self._takes_field(fields)
        self._load(all=True)
        given = source(documents, fields)
        if vectors is not None:
            if fields and "vector" in fields:
                raise UsageError(f"vectors come in the field {fields['vector']} and as vectors: leave one of them out")
            return AddReport(*self._native.add_with_vectors(given, np.ascontiguousarray(matrix(vectors)), replace))
        return AddReport(*self._native.add(given, replace, native(progress)))

    def _takes_field(self, fields: Fields | None) -> None:
        """A field with vectors is one of a database to which they are given."""
        if fields and "vector" in fields and (self.dim is None or self._native.has_encoder_record):
            made = "has no vectors" if self.dim is None else "makes vectors with its encoder"
            raise UsageError(f"{self.path} {made}: leave the field {fields['vector']!r} out of fields")

    def add_from(
        self,
        documents: Documents,
        *,
        replace: bool = False,
        fields: Fields | None = None,
        allow_empty: bool = False,
        progress: ProgressCallback | None = None,
    ) -> AddReport:
        """Adds many documents and commits them at once: all of them, or none.

        After an error or a kill, the same call continues from the last stored vectors. There must be no changes that
        are not committed.

        :param replace: replace documents that have the same ids; otherwise such an id is an error.
        :param allow_empty: take documents without title and text.
        """
        self._takes_field(fields)
        self._load(all=True)
        report = self._native.add_from(source(documents, fields), replace, allow_empty, native(progress))
        return AddReport(*report)

    def delete(
        self, ids: str | int | Iterable[str | int] | None = None, *, filter: str | None = None, missing_ok: bool = False
    ) -> int:
        """Deletes documents by their ids, or those that match a filter. Returns how many.

        A filter looks at what is committed, so there must be no other changes then.

        :param ids: an id that comes twice is one document.
        :param missing_ok: pass over ids that are not there; otherwise one is an error, and nothing is deleted.

        >>> db = Database.build(tmp / "deleted.db", [("1", "Bees dance."), ("2", "Bread rises.")])
        >>> with db:
        ...     db.delete("2")
        1
        >>> "2" in db
        False
        """
        if (ids is None) == (filter is None):
            raise UsageError("say what to delete: either ids or a filter")
        if filter is not None:
            return self._native.delete_matching(arguments.text("filter", filter))
        return self._native.delete(arguments.ids(ids), missing_ok)

    def commit(self) -> None:
        """Makes all changes visible and durable at once. A crash leaves all of them or none."""
        self._native.commit()

    def rollback(self) -> None:
        """Forgets all changes since the last commit."""
        self._native.rollback()

    @property
    def has_changes(self) -> bool:
        """Whether there are changes that are not committed."""
        return self._native.has_changes()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    # Searches

    def _found(self, queries: list[str] | Floats, arguments: dict[str, Any], documents: bool) -> list[list[Hit]]:
        if isinstance(queries, list):
            hits = hits_of(self._native.search(queries, arguments))
        else:
            hits = hits_of(self._native.search_vectors(queries, arguments))
        return [with_documents(of_query, self.get) for of_query in hits] if documents else hits

    def search_arrays(
        self, vectors: Any, k: int = 10, **options: Unpack[SearchOptions]
    ) -> tuple[list[list[str]], list[NDArray[np.float64]]]:
        """Searches for vectors (Q, D). Returns the ids and the scores of each query's hits, without objects between."""
        found = self._native.search_vectors(matrix(vectors), search_arguments(k, options))
        return [ids for ids, _ in found], [scores for _, scores in found]

    def snippet(self, text: str, query: str, max_chars: int = 160) -> tuple[str, list[tuple[int, int]]]:
        """The part of a text with the most of a query's words, and where they are in it: from which character to which.

        >>> db = Database.create(tmp / "snippets.db")
        >>> db.snippet("Bees dance. Prune roses in late winter.", "pruning a rose", 20)
        ('...Prune roses in late...', [(3, 8), (9, 14)])
        """
        given = arguments.text("text", text), arguments.text("query", query)
        return self._native.snippet(*given, arguments.whole("max_chars", max_chars))

    # Documents

    def __iter__(self) -> Iterator[Document]:
        return self.documents()

    def documents(self, filter: str | None = None) -> Iterator[Document]:
        """All documents, or those that match, in the order in which they were added, each read when it is asked for.

        It reads the state of now, and goes on reading it while the database is changed.
        """
        pages = self._native.all(filter)
        while page := pages.take():
            yield from map(of_fields, page)

    def vectors(self, ids: str | int | Iterable[str | int]) -> NDArray[np.float32]:
        """The vectors of documents as they are stored: (B, D). An id that is not there is an error."""
        return self._native.vectors(arguments.ids(ids))

    def info(self) -> dict[str, Any]:
        """What the database holds: counts, bytes, the fields of metadata, the generations.

        >>> info = Database.build(tmp / "counted.db", [{"id": 1, "text": "Bees dance.", "year": 2020}]).info()
        >>> info["num_documents"], [field["name"] for field in info["fields"]]
        (1, ['year'])
        """
        found: dict[str, Any] = self._native.info()
        return found

    def reload(self) -> None:
        """Reads the last commit of whichever process made it. There must be no changes that are not committed."""
        self._native.reload()

    @property
    def dim(self) -> int | None:
        """How many numbers a vector has; `None` without vectors."""
        return self._native.dim

    def __repr__(self) -> str:
        return f"<secateur.Database {str(self.path)!r}: {len(self)} documents>"

    def __reduce__(self) -> Any:
        if self.has_changes:
            raise DatabaseError(f"{self.path} has changes that are not committed: commit them before it is pickled")
        return _reopen, (type(self), self.path, self.generation_name, self._loading)


def _reopen(cls: type[Database], path: Path, generation: str | None, loading: Loading) -> Database:
    """What a pickled database becomes, in another process say."""
    return cls.open(path, generation=generation, **loading._asdict())
