"""What a database and a set of shards are asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, overload

from numpy.typing import NDArray

from . import _native as native_module
from . import arguments
from .answers import explanation, is_vectors, one_query
from .documents import Document, of_fields
from .encoder import Encoder
from .errors import UsageError
from .options import SearchOptions, search_arguments
from .results import Explanation, Hit
from .vectors import Floats, matrix


class Searching:
    """The part of `secateur.Database` and of `secateur.ShardSet` that answers."""

    _native: native_module.Database | native_module.ShardSet

    @abstractmethod
    def _load(self) -> None:
        """Loads the encoder of the vectors that are read, if there is one and it is not loaded yet."""

    @abstractmethod
    def _found(self, queries: list[str] | Floats, arguments: dict[str, Any], documents: bool) -> list[list[Hit]]:
        """The hits of texts or of vectors (Q, D)."""

    def search(
        self,
        query: str | Sequence[float] | NDArray[Any],
        k: int = 10,
        *,
        documents: bool = False,
        **options: Unpack[SearchOptions],
    ) -> list[Hit]:
        """Searches for a text, or for a vector of your own. Returns at most `k` hits, best first.

        :param documents: read the document of each hit, too.

        >>> db = Database.build(tmp / "searched.db", [("1", "Bees dance."), ("2", "Bread rises.")])
        >>> db.search("dancing", documents=True)[0].document.text
        'Bees dance.'
        """
        return self.search_batch(one_query(query), k, documents=documents, **options)[0]

    def search_batch(
        self,
        queries: Iterable[str] | NDArray[Any],
        k: int = 10,
        *,
        documents: bool = False,
        **options: Unpack[SearchOptions],
    ) -> list[list[Hit]]:
        """Searches for many texts at once, or for many vectors (Q, D). Returns the hits of each.

        Vectors in f32 are read where they lie, if the numbers of each row are side by side.
        """
        if is_vectors(queries):
            return self._found(matrix(queries), search_arguments(k, options), documents)
        self._load_for(options.get("mode"))
        return self._found(arguments.texts("queries", queries, "query"), search_arguments(k, options), documents)

    def explain(self, query: str, k: int = 10, **options: Unpack[SearchOptions]) -> Explanation:
        """Searches, and says of each hit where it stands in the ranking by vectors and by words.

        In a set of shards the rankings are the merged ones, and times those of the shard that took longest.

        >>> db = Database.build(tmp / "explained.db", [("1", "Bees dance."), ("2", "Bread rises.")])
        >>> db.explain("dancing").hits[0].bm25.rank
        1
        """
        self._load_for(options.get("mode"))
        return explanation(*self._native.explain(arguments.text("query", query), search_arguments(k, options)))

    def run(
        self, queries: Mapping[str, str], k: int = 1000, **options: Unpack[SearchOptions]
    ) -> dict[str, dict[str, float]]:
        """Answers the queries of a data set: query id -> document id -> score, as `secateur.evaluate` takes it."""
        if not isinstance(queries, Mapping):
            raise UsageError(f"queries is {queries!r:.40}: expected a mapping of query ids and texts")
        hits = self.search_batch(list(queries.values()), k, **options)
        return {id: {hit.id: hit.score for hit in found} for id, found in zip(queries, hits, strict=True)}

    def mode(self, **options: Unpack[SearchOptions]) -> str:
        """Which index answers a search with these options."""
        return self._native.mode(search_arguments(1, options))

    def _load_for(self, mode: str | None) -> None:
        if mode != "bm25":
            self._load()

    @overload
    def get(self, ids: str | int) -> Document | None: ...
    @overload
    def get(self, ids: list[Any] | tuple[Any, ...] | NDArray[Any]) -> list[Document | None]: ...

    def get(self, ids: str | int | list[Any] | tuple[Any, ...] | NDArray[Any]) -> Document | None | list[Document | None]:
        """The document with an id, or those with some ids, in their order; `None` for an id that is not there.

        An integer is the id that it is where documents are added: 7 is "7".

        >>> db = Database.build(tmp / "got.db", [("1", "Bees dance.")])
        >>> db.get("1").text, db.get(["2", "1"])[0]
        ('Bees dance.', None)
        """
        found = self._native.documents(arguments.ids(ids))
        documents = [None if fields is None else of_fields(fields) for fields in found]
        return documents[0] if arguments.is_id(ids) else documents

    def __getitem__(self, id: str | int) -> Document:
        document = self.get(id)
        if document is None:
            raise KeyError(id)
        return document

    def __contains__(self, id: object) -> bool:
        return arguments.is_id(id) and self._native.contains(arguments.ids(id))[0]

    def __len__(self) -> int:
        return len(self._native)

    def __bool__(self) -> bool:
        return True

    @property
    def encoder(self) -> Encoder | None:
        """The encoder of the vectors that are read; `None` if no encoder makes them."""
        self._load()
        found = self._native.encoder
        return None if found is None else Encoder._of(found)

    @property
    def path(self) -> Path:
        """The folder, or what names the servers."""
        return Path(self._native.path)
