"""LangChain: a vector store, embeddings, a retriever and a reranker. Needs ``pip install secateur[langchain]``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from pydantic import ConfigDict

from .cross_encoder import CrossEncoder
from .database import Database
from .documents import Document
from .encoder import Encoder
from .errors import UsageError
from .filters import Fields, of_mapping
from .results import Hit
from .vectors import matrix

__all__ = ["SecateurEmbeddings", "SecateurReranker", "SecateurRetriever", "SecateurVectorStore"]

Filter = str | Mapping[str, Any] | None


class SecateurEmbeddings(Embeddings):
    """An encoder as LangChain's embeddings."""

    def __init__(self, encoder: Encoder | str | os.PathLike[str] = "default") -> None:
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder(encoder)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of documents."""
        vectors: list[list[float]] = self.encoder.encode_document(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        vector: list[float] = self.encoder.encode_query(text).tolist()
        return vector


class SecateurVectorStore(VectorStore):
    """A database as LangChain's vector store. Each call that changes it is one commit.

    The database makes vectors itself, or `embedding` does, for one that was made with a ``dim``.
    """

    def __init__(self, database: Database, embedding: Embeddings | None = None) -> None:
        self.database = database
        self._embedding = embedding
        self._fields = Fields(database)

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], embedding: Embeddings | None = None, **options: Any
    ) -> SecateurVectorStore:
        """Makes an empty database. The options are those of `Database.create`; without `embedding` name an ``encoder``."""
        if embedding is not None:
            options["dim"] = len(embedding.embed_query("how long are its vectors?"))
        return cls(Database.create(path, **options), embedding)

    @property
    def embeddings(self) -> Embeddings | None:
        """What makes the vectors; `None` if the database does."""
        return self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> list[str]:
        """Adds texts, and replaces those that have the same ids. Returns the ids."""
        del options
        given = list(texts)
        keys = [str(uuid.uuid4()) for _ in given] if ids is None else [id or str(uuid.uuid4()) for id in ids]
        for what, there in (("ids", keys), ("metadatas", metadatas)):
            if there is not None and len(there) != len(given):
                raise UsageError(f"{len(given)} texts come with {len(there)} {what}")
        records: list[dict[str, Any]] = [{"id": id, "text": text} for id, text in zip(keys, given, strict=True)]
        for record, metadata in zip(records, metadatas or [], strict=False):
            record["metadata"] = dict(metadata)
        if self._embedding is not None:
            vectors = self._embedding.embed_documents(given)
            for record, vector in zip(records, vectors, strict=True):
                record["vector"] = vector
        fields: Any = {"vector": "vector"} if self._embedding is not None else None
        self.database.add_from(records, replace=True, allow_empty=True, fields=fields)
        self._fields.forget()
        return keys

    def delete(self, ids: list[str] | None = None, **options: Any) -> bool:
        """Deletes documents by their ids, or all. Ids that are not there are passed over."""
        del options
        with self.database:
            self.database.delete([one.id for one in self.database] if ids is None else ids, missing_ok=True)
        self._fields.forget()
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """The documents with these ids, in their order, without those that are not there."""
        return [_document(one) for one in self.database.get(list(ids)) if one is not None]

    def similarity_search(
        self, query: str, k: int = 4, filter: Filter = None, **options: Any
    ) -> list[LangChainDocument]:
        """The documents that are found, best first. Options are those of `Database.search`, such as ``mode="bm25"``."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter, **options)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter = None, **options: Any
    ) -> list[tuple[LangChainDocument, float]]:
        """The same with the score of each; higher is better."""
        if self._embedding is not None and options.get("mode") != "bm25":
            return self._found(self._embedding.embed_query(query), k, filter, options)
        if self._embedding is None:
            options.setdefault("mode", "dense" if self.database.dim is not None else "bm25")
        return self._found(query, k, filter, options)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter = None, **options: Any
    ) -> list[LangChainDocument]:
        """The documents whose vectors are nearest to this one."""
        return [document for document, _ in self._found(embedding, k, filter, options)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter = None,
        **options: Any,
    ) -> list[LangChainDocument]:
        """Documents that are near to a query and far from each other."""
        encoder = self.database.encoder
        if self._embedding is None and encoder is None:
            raise UsageError("the database has no vectors: make it with an encoder or an embedding")
        vector = self._embedding.embed_query(query) if self._embedding is not None else encoder.encode_query(query)  # type: ignore[union-attr]
        return self.max_marginal_relevance_search_by_vector(list(vector), k, fetch_k, lambda_mult, filter, **options)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter = None,
        **options: Any,
    ) -> list[LangChainDocument]:
        """The same for a vector."""
        found = self._found(embedding, fetch_k, filter, options)
        if not found:
            return []
        vectors = self.database.vectors([str(document.id) for document, _ in found])
        chosen = maximal_marginal_relevance(matrix(embedding), list(vectors), lambda_mult, k)
        return [found[place][0] for place in chosen]

    def _found(
        self, query: Any, k: int, filter: Filter, options: dict[str, Any]
    ) -> list[tuple[LangChainDocument, float]]:
        if isinstance(filter, Mapping):
            condition = of_mapping(filter, self._fields)
            if condition is False:
                return []
            filter = condition if isinstance(condition, str) else None
        hits = self.database.search(query, k, documents=True, filter=filter, **options)
        return [(_document(hit.document), hit.score) for hit in hits if hit.document is not None]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        metric = self.database.generations[0]["metric"] if self.database.dim is not None else None
        if metric == "l2":
            return lambda score: 1 / (1 + max(-score, 0))
        return lambda score: min(max(score, 0), 1)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Self:
        """Makes a database of texts.

        :param path: the folder of the database.
        """
        if path is None:
            raise UsageError("a database is a folder: name it by `path`")
        store = cls.create(path, embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store


class SecateurRetriever(BaseRetriever):
    """A database as LangChain's retriever: by meaning and by words, as the database searches unless told otherwise.

    ``invoke(query, k=3, filter="year > 2020")`` takes the number and the options of one call.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    database: Database
    """What is searched."""
    k: int = 4
    """The most documents."""
    options: dict[str, Any] = {}
    """Those of `Database.search`."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **options: Any
    ) -> list[LangChainDocument]:
        chosen = {**self.options, **options}
        hits = self.database.search(query, self.k if k is None else k, documents=True, **chosen)
        return [_scored(hit) for hit in hits]


class SecateurReranker(BaseDocumentCompressor):
    """A cross-encoder that keeps the best documents."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: CrossEncoder
    """What reads a query and a document together."""
    top_n: int = 3
    """How many documents are kept."""

    def compress_documents(
        self, documents: Sequence[LangChainDocument], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[LangChainDocument]:
        """The best documents, with the score in the metadata ``relevance_score``."""
        ranked = self.model.rank(query, [document.page_content for document in documents], self.top_n)
        return [_with(documents[hit["corpus_id"]], hit["score"]) for hit in ranked]


def _document(document: Document) -> LangChainDocument:
    metadata = {"title": document.title, **document.metadata} if document.title else document.metadata
    return LangChainDocument(id=document.id, page_content=document.text, metadata=metadata)


def _scored(hit: Hit) -> LangChainDocument:
    assert hit.document is not None
    return _with(_document(hit.document), hit.score, "score")


def _with(document: LangChainDocument, score: float, key: str = "relevance_score") -> LangChainDocument:
    return document.model_copy(update={"metadata": {**document.metadata, key: score}})
