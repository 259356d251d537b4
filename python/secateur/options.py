"""How databases are searched, and how their vectors are kept."""

from __future__ import annotations

from typing import Any, TypedDict, get_type_hints

from .arguments import of_kinds, whole
from .errors import UsageError

__all__ = ["SearchOptions", "VectorOptions"]


class SearchOptions(TypedDict, total=False):
    """How to search. What is left out is as the library says."""

    mode: str | None
    """``dense``, ``bm25`` or ``hybrid``: hybrid unless given where an encoder makes vectors, else ``bm25``."""
    filter: str | None
    """Which documents may be found, such as ``year >= 2015 and "garden" in tags``: see the guide."""
    ef_search: int | None
    """Approximate indexes: how many candidates are kept. More find more of the true hits and take longer."""
    candidates: int | None
    """``hybrid``: how many hits of each index are fused; 100, or k if that is more."""
    fusion: str | None
    """``hybrid``: ``rrf`` or ``sum``."""
    dense_weight: float | None
    """``hybrid``: how much the ranking by vectors counts; that by words counts 1."""
    k1: float | None
    """``bm25``: how slowly repeated words saturate."""
    b: float | None
    """``bm25``: how strongly long documents are discounted."""


class VectorOptions(TypedDict, total=False):
    """How vectors are compared, stored and searched."""

    metric: str | None
    """``cosine``, ``inner-product`` or ``l2``: as the encoder's authors say, unless given."""
    components: str | None
    """What is stored: ``f32``, ``f16`` or ``bf16``."""
    index: str | None
    """``flat``, which compares every vector, or ``hnsw``."""
    hnsw_m: int | None
    """Neighbors in the graph."""
    hnsw_ef_construction: int | None
    """Candidates among which neighbors are chosen."""
    hnsw_seed: int | None
    """Decides the levels of documents."""
    codes: str | None
    """What searches of the graph compare: ``int8`` or ``1bit``."""
    min_rows: int | None
    """Segments of fewer documents get no graph and are searched exactly."""
    passage_separator: str | None
    """What stands between title and text when the encoder reads them."""
    passages: str | None
    """``TOKENS,OVERLAP``, such as ``256,32``: documents are split, and a document is found by its best passage."""


_KINDS = {
    kind: {name: str(hint) for name, hint in get_type_hints(kind).items()} for kind in (SearchOptions, VectorOptions)
}


def vector_arguments(vectors: VectorOptions) -> dict[str, Any]:
    return {"metric": None, **_of_graphs(known(VectorOptions, vectors))}


def search_arguments(k: int, options: SearchOptions) -> dict[str, Any]:
    return {"k": whole("k", k, 1), **known(SearchOptions, options)}


def _of_graphs(vectors: VectorOptions) -> VectorOptions:
    """The options. Those of a graph would do nothing in an index without."""
    graph = ("hnsw_m", "hnsw_ef_construction", "hnsw_seed", "codes", "min_rows")
    idle = [name for name, value in vectors.items() if name in graph and value is not None]
    if idle and vectors.get("index") in (None, "flat"):
        raise UsageError(f"{', '.join(idle)}: nothing of an index that compares every vector: name another index")
    return vectors


def known(kind: Any, options: Any) -> Any:
    """The options. One that the kind does not have would change nothing, so it is an error."""
    unknown = options.keys() - kind.__annotations__.keys()
    if unknown:
        there_are = ", ".join(kind.__annotations__)
        raise UsageError(f"there is no option {', '.join(sorted(unknown))}; the options are {there_are}")
    of_kinds(_KINDS[kind], options)
    return options
