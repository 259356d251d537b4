"""What calls answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from .documents import Document

__all__ = ["AddReport", "CompactReport", "Explanation", "Hit", "Place", "Recall", "RecallCurve", "VerifyReport"]


class Place(NamedTuple):
    """A hit's place in one ranking."""

    rank: int | None
    """Counted from 1. None for a document that only the other index found."""
    score: float
    """The score there."""


class Hit(NamedTuple):
    """A document that was found. Equal scores are ordered by id, descending, as trec_eval orders them."""

    id: str
    """The document's."""
    score: float
    """Higher is better. What it means depends on the mode and the metric."""
    document: Document | None = None
    """The document, if it was asked for."""
    dense: Place | None = None
    """Its place in the ranking by vectors, if that was asked for."""
    bm25: Place | None = None
    """Its place in the ranking by words, if that was asked for."""


class Explanation(NamedTuple):
    """The hits of a query, and the seconds that each part of the search took."""

    hits: list[Hit]
    times: dict[str, float]


class AddReport(NamedTuple):
    """What became of documents."""

    num_added: int
    """Documents that are new."""
    num_replaced: int
    """Documents that replaced others."""


class Recall(NamedTuple):
    """The share of the true hits that an approximate search finds."""

    ef_search: int
    mean: float
    """Over the queries."""
    percentile_5: float
    """19 in 20 queries have at least this recall."""


@dataclass(frozen=True)
class RecallCurve:
    """What searches with a growing ef find."""

    k: int
    num_queries: int
    ef_search: int
    """The least ef that finds enough; now the default."""
    points: list[Recall]

    @classmethod
    def _of(cls, found: dict[str, Any]) -> RecallCurve:
        points = [Recall(**point) for point in found["points"]]
        return cls(found["k"], found["num_queries"], found["ef_search"], points)


@dataclass(frozen=True)
class VerifyReport:
    """A database that is sound."""

    num_documents: int
    num_files: int
    num_bytes: int
    recall: Recall | None
    """Of an approximate index on vectors of the database itself, at the default ef."""

    @classmethod
    def _of(cls, found: dict[str, Any]) -> VerifyReport:
        recall = found["recall"]
        counts = found["num_documents"], found["num_files"], found["num_bytes"]
        return cls(*counts, None if recall is None else Recall(**recall))


class CompactReport(NamedTuple):
    """A compaction: each pair is before and after."""

    num_segments: list[int]
    num_rows: list[int]
    num_bytes: list[int]
