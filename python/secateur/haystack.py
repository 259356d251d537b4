"""Haystack: a document store, embedders and retrievers. Needs ``pip install secateur[haystack]``.

Haystack loads pipelines of its own modules alone, unless it is told to trust others::

    from haystack.core.serialization import allow_deserialization_module

    allow_deserialization_module("secateur.haystack")
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

from haystack import Document as HaystackDocument
from haystack import component, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError

from .database import Database
from .documents import Document
from .encoder import Encoder
from .filters import Condition, Fields, both, either, negated
from .haystack_metadata import MetadataStore
from .results import Hit

__all__ = [
    "SecateurBM25Retriever",
    "SecateurDocumentEmbedder",
    "SecateurDocumentStore",
    "SecateurEmbeddingRetriever",
    "SecateurTextEmbedder",
]

_WITHOUT = "without_embedding"
_ORDERED = (">", ">=", "<", "<=")


class SecateurDocumentStore(MetadataStore):
    """A database as Haystack's document store. Each call that changes it is one commit."""

    def __init__(self, path: str | os.PathLike[str], embedding_dim: int = 768, **options: Any) -> None:
        """
        :param path: the folder of the database, which is made if it is not there.
        :param embedding_dim: how many numbers an embedding has.
        :param options: those of `Database.create`.
        """
        self.path, self.embedding_dim, self._options = os.fspath(path), embedding_dim, options
        there = Path(path).exists()
        self.database = Database.open(path) if there else Database.create(path, dim=embedding_dim, **options)
        self._fields = Fields(self.database)

    def to_dict(self) -> dict[str, Any]:
        """Where it is, for a pipeline's file."""
        found: dict[str, Any] = default_to_dict(
            self, path=self.path, embedding_dim=self.embedding_dim, **self._options
        )
        return found

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SecateurDocumentStore:
        """Opens it again."""
        store: SecateurDocumentStore = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """How many documents there are."""
        return len(self.database)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[HaystackDocument]:
        """The documents that match, or all."""
        return self._with_vectors(self._matching(filters))

    def write_documents(
        self, documents: list[HaystackDocument], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Writes documents. Returns how many. An id that is taken is an error, unless the policy says otherwise."""
        if not isinstance(documents, list) or not all(isinstance(one, HaystackDocument) for one in documents):
            raise ValueError("documents: expected a list of Haystack's documents")
        if policy == DuplicatePolicy.SKIP:
            documents = [one for one in documents if one.id not in self.database]
        elif policy != DuplicatePolicy.OVERWRITE:
            taken = next((one.id for one in documents if one.id in self.database), None)
            if taken is not None:
                raise DuplicateDocumentError(f"there is a document {taken} already: overwrite it, or skip it")
        unique = list({one.id: one for one in documents}.values())
        self.database.add_from(
            map(self._record, unique), replace=True, allow_empty=True, fields={"vector": "vector"}
        )
        self._fields.forget()
        return len(unique)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Deletes documents. Ids that are not there are passed over."""
        self._delete(document_ids)

    def search(
        self, query: str | list[float], top_k: int, filters: dict[str, Any] | None = None, **options: Any
    ) -> list[HaystackDocument]:
        """The documents that are found by words, or by a vector, with their scores."""
        condition = self.condition(filters)
        if not isinstance(query, str):
            # What has no embedding is found by words alone.
            condition = both([condition, self._fields.compare(_WITHOUT, "is missing")])
        if condition is False or top_k == 0:
            return []
        options["filter"] = condition if isinstance(condition, str) else None
        hits = self.database.search(query, top_k, documents=True, **options)
        return self._of_hits(hits)

    def condition(self, filters: dict[str, Any] | None) -> Condition:
        """Haystack's filters in the language of the database."""
        if not filters:
            return True
        if "field" in filters:
            return self._comparison(filters)
        for key in ("operator", "conditions"):
            if key not in filters:
                raise FilterError(f"{filters}: the key {key!r} is missing")
        parts = [self.condition(one) if "field" in one or "conditions" in one else self._comparison(one) for one in filters["conditions"]]
        match filters["operator"]:
            case "AND":
                return both(parts)
            case "OR":
                return either(parts)
            case "NOT":
                return negated(both(parts))
        raise FilterError(f"the operator {filters['operator']!r} is none of AND, OR, NOT")

    def _comparison(self, filter: dict[str, Any]) -> Condition:
        for key in ("field", "operator", "value"):
            if key not in filter:
                raise FilterError(f"{filter}: the key {key!r} is missing")
        field, operator, value = filter["field"], filter["operator"], filter["value"]
        field = field if field.startswith("meta.") or field == "content" else f"meta.{field}"
        if operator in ("in", "not in"):
            if not isinstance(value, list):
                raise FilterError(f"{operator} takes a list, got {value!r}")
        elif operator in _ORDERED:
            if isinstance(value, list) or isinstance(value, str) and not _is_date(value):
                raise FilterError(f"{operator} takes a number or a date as ISO 8601 writes it, got {value!r}")
            if value is None:
                return False
        elif operator not in ("==", "!="):
            raise FilterError(f"the operator {operator!r} is none of ==, !=, {', '.join(_ORDERED)}, in, not in")
        if value is None:
            missing = self._fields.compare(field, "is missing")
            return missing if operator == "==" else negated(missing)
        return self._fields.compare(field, operator, value)

    def _record(self, document: HaystackDocument) -> dict[str, Any]:
        metadata: dict[str, Any] = {"meta": document.meta}
        if document.content is None:
            metadata["without_content"] = True
        if document.embedding is None:
            metadata[_WITHOUT] = True
        if document.blob is not None:
            metadata["blob"] = document.blob.to_dict()
        if document.sparse_embedding is not None:
            metadata["sparse_embedding"] = document.sparse_embedding.to_dict()
        vector = document.embedding or [0.0] * self.embedding_dim
        return {"id": document.id, "text": document.content or "", "metadata": metadata, "vector": vector}

    def _with_vectors(self, documents: list[Document]) -> list[HaystackDocument]:
        vectors = self.database.vectors([one.id for one in documents]).tolist()
        return [_document(one, vector) for one, vector in zip(documents, vectors, strict=True)]

    def _of_hits(self, hits: list[Hit]) -> list[HaystackDocument]:
        found = self._with_vectors([hit.document for hit in hits if hit.document is not None])
        for document, hit in zip(found, hits, strict=True):
            document.score = hit.score
        return found


def _document(document: Document, vector: list[float]) -> HaystackDocument:
    metadata = document.metadata
    fields: dict[str, Any] = {"id": document.id, "meta": metadata.get("meta", {})}
    fields["content"] = None if metadata.get("without_content") else document.text
    fields["embedding"] = None if metadata.get(_WITHOUT) else vector
    for name in ("blob", "sparse_embedding"):
        if name in metadata:
            fields[name] = metadata[name]
    found: HaystackDocument = HaystackDocument.from_dict(fields)
    return found


def _is_date(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


@component
class SecateurTextEmbedder:
    """Encodes a query."""

    def __init__(self, model: str = "default") -> None:
        self.model = model
        self._encoder: Encoder | None = None

    def warm_up(self) -> None:
        """Loads the model."""
        self._encoder = self._encoder or Encoder(self.model)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """The vector of a query."""
        self.warm_up()
        assert self._encoder is not None
        return {"embedding": self._encoder.encode_query(text).tolist()}


@component
class SecateurDocumentEmbedder:
    """Encodes documents: those fields of `meta` that are named, and the content."""

    def __init__(
        self, model: str = "default", meta_fields_to_embed: list[str] | None = None, embedding_separator: str = "\n"
    ) -> None:
        self.model, self.meta_fields_to_embed, self.embedding_separator = model, meta_fields_to_embed, embedding_separator
        self._encoder: Encoder | None = None

    def warm_up(self) -> None:
        """Loads the model."""
        self._encoder = self._encoder or Encoder(self.model)

    @component.output_types(documents=list[HaystackDocument])
    def run(self, documents: list[HaystackDocument]) -> dict[str, list[HaystackDocument]]:
        """The documents with their vectors."""
        self.warm_up()
        assert self._encoder is not None
        texts = []
        for document in documents:
            meta = [str(document.meta[name]) for name in self.meta_fields_to_embed or [] if document.meta.get(name)]
            texts.append(self.embedding_separator.join([*meta, document.content or ""]))
        vectors = self._encoder.encode_document(texts).tolist()
        return {"documents": [_embedded(document, vector) for document, vector in zip(documents, vectors, strict=True)]}


def _embedded(document: HaystackDocument, vector: list[float]) -> HaystackDocument:
    found: HaystackDocument = HaystackDocument.from_dict({**document.to_dict(flatten=False), "embedding": vector})
    return found


class _Retriever:
    """What both retrievers do."""

    def __init__(
        self, document_store: SecateurDocumentStore, filters: dict[str, Any] | None = None, top_k: int = 10
    ) -> None:
        self.document_store, self.filters, self.top_k = document_store, filters, top_k

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline's file."""
        store = self.document_store.to_dict()
        found: dict[str, Any] = default_to_dict(self, document_store=store, filters=self.filters, top_k=self.top_k)
        return found

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Opens the store again."""
        parameters = data["init_parameters"]
        parameters["document_store"] = SecateurDocumentStore.from_dict(parameters["document_store"])
        return default_from_dict(cls, data)

    def _found(
        self, query: str | list[float], filters: dict[str, Any] | None, top_k: int | None, **options: Any
    ) -> dict[str, list[HaystackDocument]]:
        k = self.top_k if top_k is None else top_k
        return {"documents": self.document_store.search(query, k, filters or self.filters, **options)}


@component
class SecateurEmbeddingRetriever(_Retriever):
    """Finds documents by their vectors."""

    @component.output_types(documents=list[HaystackDocument])
    def run(
        self, query_embedding: list[float], filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[HaystackDocument]]:
        """The documents nearest to a vector, with their scores."""
        return self._found(query_embedding, filters, top_k)


@component
class SecateurBM25Retriever(_Retriever):
    """Finds documents by their words."""

    @component.output_types(documents=list[HaystackDocument])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[HaystackDocument]]:
        """The documents that have a query's words, with their scores."""
        return self._found(query, filters, top_k, mode="bm25")
