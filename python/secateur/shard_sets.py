"""Finished sets of shards, which answer as one database of the same documents."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack, overload

from numpy.typing import NDArray

from . import _native as native_module
from .answers import explanation, hits_of, is_vectors, with_documents
from .documents import Document, of_fields
from .encoder import Encoder
from .errors import UsageError
from .hub import locate
from .opened import Loading, encoder_of
from .options import SearchOptions, search_arguments
from .results import Explanation, Hit
from .vectors import matrix

__all__ = ["ShardSet"]


class ShardSet:
    """A finished set of shards, as its manifest has it: see `ShardPlan`.

    Exact searches, searches by words and hybrid searches answer as one database of the same documents, with the same scores.

    >>> plan = ShardPlan.create(tmp / "all.set", mini_dataset, 3, encoder="default")
    >>> for number in range(3):
    ...     _ = plan.build(number)
    >>> _ = plan.finish()
    >>> db = Database.build(tmp / "all.db", mini_dataset, encoder="default")
    >>> ShardSet.open(plan.path).search("pruning a rose") == db.search("pruning a rose")
    True

    Several threads may use one set.
    """

    _native: native_module.ShardSet
    _loading: Loading
    _generation: str | None

    def __init__(self) -> None:
        raise TypeError("call ShardSet.open")

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
        """Opens a finished set. A shard that is missing, or is another one than the manifest has, is an error.

        The encoder that it remembers is loaded by the first search that needs it. If it is not where it was, give it.

        :param generation: read these vectors in place of those in use.
        :param device: where an encoder that it loads computes.
        :param cache: a folder in which fingerprints of models are remembered, so that they load faster.
        """
        self = cls.__new__(cls)
        self._native = native_module.ShardSet.open(os.fspath(path), generation)
        self._loading = Loading(device, batch_tokens, None if cache is None else os.fspath(cache))
        self._generation = generation
        if encoder is not None:
            self._native.set_encoder(encoder_of(encoder)._native)
        return self

    def _load(self) -> None:
        if self._native.has_encoder_record and self._native.encoder is None:
            self._native.load_encoder(locate, {"name": None, **self._loading._asdict()})

    def _load_for(self, mode: str | None) -> None:
        if mode != "bm25":
            self._load()

    def search(
        self,
        query: str | Sequence[float] | NDArray[Any],
        k: int = 10,
        *,
        documents: bool = False,
        **options: Unpack[SearchOptions],
    ) -> list[Hit]:
        """Searches for a text, or for a vector of your own, as `Database.search`."""
        queries: Any = [query] if isinstance(query, str) else matrix(query)
        return self.search_batch(queries, k, documents=documents, **options)[0]

    def search_batch(
        self,
        queries: Iterable[str] | NDArray[Any],
        k: int = 10,
        *,
        documents: bool = False,
        **options: Unpack[SearchOptions],
    ) -> list[list[Hit]]:
        """Searches for many texts at once, or for many vectors (Q, D), as `Database.search_batch`."""
        if isinstance(queries, str):
            raise UsageError("queries is one text: give a list, or call search")
        if is_vectors(queries):
            hits = hits_of(self._native.search_vectors(matrix(queries), search_arguments(k, options)))
        else:
            self._load_for(options.get("mode"))
            hits = hits_of(self._native.search(list(queries), search_arguments(k, options)))
        return [with_documents(of_query, self.get) for of_query in hits] if documents else hits

    def explain(self, query: str, k: int = 10, **options: Unpack[SearchOptions]) -> Explanation:
        """Searches, and says of each hit where it stands in the merged ranking by vectors and by words.

        Times are those of the shard that took longest.
        """
        self._load_for(options.get("mode"))
        return explanation(*self._native.explain(query, search_arguments(k, options)))

    def run(
        self, queries: Mapping[str, str], k: int = 1000, **options: Unpack[SearchOptions]
    ) -> dict[str, dict[str, float]]:
        """Answers the queries of a data set: query id -> document id -> score, as `secateur.evaluate` takes it."""
        hits = self.search_batch(list(queries.values()), k, **options)
        return {id: {hit.id: hit.score for hit in found} for id, found in zip(queries, hits, strict=True)}

    def mode(self, **options: Unpack[SearchOptions]) -> str:
        """Which index answers a search with these options."""
        return self._native.mode(search_arguments(1, options))

    @overload
    def get(self, ids: str) -> Document | None: ...
    @overload
    def get(self, ids: list[str] | tuple[str, ...]) -> list[Document | None]: ...

    def get(self, ids: str | list[str] | tuple[str, ...]) -> Document | None | list[Document | None]:
        """The document with an id, or those with some ids, in their order; `None` for an id that is not there."""
        if isinstance(ids, str):
            return self.get([ids])[0]
        found = self._native.documents(list(ids))
        return [None if fields is None else of_fields(fields) for fields in found]

    def __getitem__(self, id: str) -> Document:
        document = self.get(id)
        if document is None:
            raise KeyError(id)
        return document

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._native.contains([id])[0]

    def __len__(self) -> int:
        return len(self._native)

    def __bool__(self) -> bool:
        return True

    @property
    def num_shards(self) -> int:
        """How many shards there are."""
        return self._native.num_shards

    @property
    def encoder(self) -> Encoder | None:
        """The encoder of the vectors; `None` if no encoder makes them."""
        self._load()
        found = self._native.encoder
        return None if found is None else Encoder._of(found)

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self._native.path)

    def __repr__(self) -> str:
        return f"<secateur.ShardSet {str(self.path)!r}: {len(self)} documents in {self.num_shards} shards>"

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self.path, self._generation, self._loading)


def _reopen(cls: type[ShardSet], path: Path, generation: str | None, loading: Loading) -> ShardSet:
    """What a pickled set becomes, in another process say."""
    return cls.open(path, generation=generation, **loading._asdict())
