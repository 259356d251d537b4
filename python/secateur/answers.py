"""What the native module answers, as Python programs get it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

from numpy.typing import NDArray

from .documents import Document
from .errors import UsageError
from .results import Explanation, Hit, Place
from .vectors import matrix


def is_vectors(queries: Any) -> TypeGuard[NDArray[Any]]:
    """Whether queries are vectors, an array or a list of them, and no texts. A column of a table may be of texts."""
    if hasattr(queries, "dtype"):
        return not (len(getattr(queries, "shape", ())) == 1 and any(isinstance(one, str) for one in queries[:1]))
    return isinstance(queries, list | tuple) and bool(queries) and not isinstance(queries[0], str)


def one_query(query: Any) -> Any:
    """One query, a text or a vector, as a batch."""
    if isinstance(query, str):
        return [query]
    vectors = matrix(query)
    if len(vectors) != 1:
        raise UsageError(f"query is of shape {vectors.shape}: expected one vector; search_batch takes many")
    return vectors


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
