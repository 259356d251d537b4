"""LlamaIndex: a vector store, an embedding and a reranker. Needs ``pip install secateur[llama-index]``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from .cross_encoder import CrossEncoder
from .database import Database
from .documents import Document
from .encoder import Encoder
from .errors import UsageError
from .filters import Condition, Fields, both, either, negated
from .results import Hit

__all__ = ["SecateurEmbedding", "SecateurReranker", "SecateurVectorStore"]

_OPERATORS = {
    FilterOperator.EQ: "==",
    FilterOperator.NE: "!=",
    FilterOperator.GT: ">",
    FilterOperator.GTE: ">=",
    FilterOperator.LT: "<",
    FilterOperator.LTE: "<=",
    FilterOperator.IN: "in",
    FilterOperator.ANY: "in",
    FilterOperator.NIN: "not in",
    FilterOperator.ALL: "all",
    # A list matches if one of its values does.
    FilterOperator.CONTAINS: "==",
    FilterOperator.TEXT_MATCH: "contains",
    FilterOperator.IS_EMPTY: "is missing",
}
_WORDS = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
_BOTH = (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SEMANTIC_HYBRID)
# The k of reciprocal rank fusion.
_RRF = 60


class SecateurEmbedding(BaseEmbedding):
    """An encoder as LlamaIndex's embedding."""

    _encoder: Encoder = PrivateAttr()

    def __init__(self, encoder: Encoder | str | os.PathLike[str] = "default", **options: Any) -> None:
        loaded = encoder if isinstance(encoder, Encoder) else Encoder(encoder)
        super().__init__(model_name=loaded.name, **options)
        self._encoder = loaded

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it."""
        return "SecateurEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._encoder.encode_query(query).tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._encoder.encode_document(texts).tolist()
        return vectors


class SecateurVectorStore(BasePydanticVectorStore):
    """A database that was made with a ``dim`` as LlamaIndex's vector store. Each call that changes it is one commit."""

    stores_text: bool = True
    is_embedding_query: bool = True

    _database: Database = PrivateAttr()
    _fields: Fields = PrivateAttr()

    def __init__(self, database: Database, **options: Any) -> None:
        super().__init__(stores_text=True, **options)
        self._database = database
        self._fields = Fields(database)

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it."""
        return "SecateurVectorStore"

    @property
    def client(self) -> Database:
        """The database."""
        return self._database

    def add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """Adds nodes with their vectors, and replaces those that have the same ids. Returns the ids."""
        del options
        records = [
            {
                "id": node.node_id,
                "text": node.get_content(metadata_mode=MetadataMode.NONE),
                "metadata": node_to_metadata_dict(node, remove_text=True, flat_metadata=False),
                "vector": node.get_embedding(),
            }
            for node in nodes
        ]
        self._database.add_from(records, replace=True, allow_empty=True, fields={"vector": "vector"})
        self._fields.forget()
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **options: Any) -> None:
        """Deletes the nodes of a document."""
        del options
        self._delete(None, self._fields.compare("ref_doc_id", "==", ref_doc_id))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **options: Any
    ) -> None:
        """Deletes nodes by their ids, those that match filters, or those that do both."""
        del options
        if node_ids is None and filters is None:
            raise UsageError("say which nodes to delete: by ids or by filters; `clear` deletes all")
        self._delete(node_ids, self._condition(filters))

    def _delete(self, ids: list[str] | None, condition: Condition) -> None:
        found = [document.id for document in self._matching(ids, condition)]
        with self._database:
            self._database.delete(found)
        self._fields.forget()

    def clear(self) -> None:
        """Deletes all nodes."""
        self._delete(None, True)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes with some ids, those that match filters, or those that do both; all if neither is given."""
        return [_node(document) for document in self._matching(node_ids, self._condition(filters))]

    def _matching(self, ids: list[str] | None, condition: Condition) -> list[Document]:
        if condition is False:
            return []
        filter = condition if isinstance(condition, str) else None
        if ids is None:
            return list(self._database.documents(filter))
        matching = None if filter is None else {document.id for document in self._database.documents(filter)}
        found = (document for document in self._database.get(ids) if document is not None)
        return [document for document in found if matching is None or document.id in matching]

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """The nodes that are found, best first: by their vectors, by words, or by both."""
        parts = [self._condition(query.filters)]
        if query.doc_ids:
            parts.append(self._fields.compare("ref_doc_id", "in", query.doc_ids))
        condition = both(parts)
        hits = [] if condition is False else self._hits(query, condition, options)
        if query.node_ids:
            hits = [hit for hit in hits if hit.id in set(query.node_ids)]
        documents = self._database.get([hit.id for hit in hits])
        return VectorStoreQueryResult(
            nodes=[_node(document) for document in documents if document is not None],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    def _hits(self, query: VectorStoreQuery, condition: Condition, options: dict[str, Any]) -> list[Hit]:
        chosen: dict[str, Any] = {"filter": condition if isinstance(condition, str) else None, **options}
        k = len(self._database) if query.node_ids else query.similarity_top_k
        if not k:
            return []
        if query.mode in _WORDS:
            return self._database.search(_asked(query), query.sparse_top_k or k, mode="bm25", **chosen)
        if query.query_embedding is None:
            raise UsageError(f"a query in mode {query.mode.value} needs a vector: give query_embedding")
        if query.mode == VectorStoreQueryMode.DEFAULT:
            return self._database.search(query.query_embedding, k, **chosen)
        if query.mode in _BOTH:
            dense = self._database.search(query.query_embedding, max(k, 100), **chosen)
            words = self._database.search(_asked(query), query.sparse_top_k or max(k, 100), mode="bm25", **chosen)
            return _fused(dense, words, 0.5 if query.alpha is None else query.alpha)[: query.hybrid_top_k or k]
        if query.mode == VectorStoreQueryMode.MMR:
            hits = self._database.search(query.query_embedding, 4 * k, **chosen)
            vectors = self._database.vectors([hit.id for hit in hits]).tolist()
            threshold = query.mmr_threshold
            scores, places = get_top_k_mmr_embeddings(
                query.query_embedding, vectors, similarity_top_k=k, mmr_threshold=threshold
            )
            return [Hit(hits[place].id, score) for score, place in zip(scores, places, strict=True)]
        raise UsageError(f"mode {query.mode.value} is none of default, sparse, text_search, hybrid, mmr")

    def _condition(self, filters: MetadataFilters | None) -> Condition:
        if filters is None:
            return True
        parts = [
            self._condition(one) if isinstance(one, MetadataFilters) else self._comparison(one) for one in filters.filters
        ]
        if filters.condition == FilterCondition.OR:
            return either(parts)
        return negated(either(parts)) if filters.condition == FilterCondition.NOT else both(parts)

    def _comparison(self, filter: MetadataFilter) -> Condition:
        operator = _OPERATORS.get(filter.operator)
        if operator is None:
            raise UsageError(f"the filter operator {filter.operator.value} is not to be had here")
        return self._fields.compare(filter.key, operator, filter.value)


class SecateurReranker(BaseNodePostprocessor):
    """A cross-encoder that keeps the best nodes."""

    top_n: int = Field(default=3, description="How many nodes are kept.")

    _model: CrossEncoder = PrivateAttr()

    def __init__(self, model: CrossEncoder | str | os.PathLike[str], top_n: int = 3, **options: Any) -> None:
        super().__init__(top_n=top_n, **options)
        self._model = model if isinstance(model, CrossEncoder) else CrossEncoder(model)

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it."""
        return "SecateurReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise UsageError("a reranker needs the query: give query_bundle or query_str")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        ranked = self._model.rank(query_bundle.query_str, texts, self.top_n)
        return [NodeWithScore(node=nodes[hit["corpus_id"]].node, score=hit["score"]) for hit in ranked]


def _asked(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise UsageError(f"a query in mode {query.mode.value} needs words: give query_str")
    return query.query_str


def _fused(dense: list[Hit], words: list[Hit], alpha: float) -> list[Hit]:
    """By ranks: `alpha` is how much the ranking by vectors counts, 0 to 1."""
    scores: dict[str, float] = {}
    for hits, weight in ((dense, alpha), (words, 1 - alpha)):
        for rank, hit in enumerate(hits, 1):
            scores[hit.id] = scores.get(hit.id, 0.0) + weight / (_RRF + rank)
    ranked = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
    return [Hit(id, score) for id, score in ranked]


def _node(document: Document) -> BaseNode:
    node: BaseNode = metadata_dict_to_node(document.metadata, text=document.text)
    return node
