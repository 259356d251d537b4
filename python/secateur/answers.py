"""What the native module answers, as Python programs get it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

from numpy.typing import NDArray

from .documents import Document
from .results import Explanation, Hit, Place


def is_vectors(queries: Any) -> TypeGuard[NDArray[Any]]:
    """Whether queries are vectors, an array or a list of them, and no texts."""
    return hasattr(queries, "dtype") or (isinstance(queries, list) and bool(queries) and not isinstance(queries[0], str))


def hits_of(found: list[tuple[list[str], NDArray[Any]]]) -> list[list[Hit]]:
    """The hits of each query."""
    return [[Hit(id, score) for id, score in zip(ids, scores.tolist(), strict=True)] for ids, scores in found]


def with_documents(hits: list[Hit], get: Callable[[list[str]], list[Document | None]]) -> list[Hit]:
    """Hits with their documents."""
    found = get([hit.id for hit in hits])
    return [hit._replace(document=document) for hit, document in zip(hits, found, strict=True)]


def explanation(hits: list[tuple[Any, ...]], times: dict[str, float]) -> Explanation:
    """The hits of a query with their places, and the seconds that each part took."""
    places = [Hit(id, score, None, dense and Place(*dense), bm25 and Place(*bm25)) for id, score, dense, bm25 in hits]
    return Explanation(places, times)
