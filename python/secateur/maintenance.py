"""Generations, tuning, checks and compaction of a database."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self, Unpack

from . import arguments
from .encoder import Encoder
from .opened import Opened, encoder_of
from .options import VectorOptions, vector_arguments
from .progress import ProgressCallback, native
from .results import CompactReport, RecallCurve, VerifyReport


class Maintained(Opened):
    """The part of `secateur.Database` that looks after it."""

    @property
    def generations(self) -> list[dict[str, Any]]:
        """The vectors of all documents under each encoder: name, dim, metric, index, encoder, is_used, ..."""
        found: list[dict[str, Any]] = self._native.generations()
        return found

    @property
    def generation_name(self) -> str | None:
        """The generation that is read; `None` in a database without vectors."""
        return self._native.generation_name

    def add_generation(
        self,
        name: str,
        encoder: Encoder | str | os.PathLike[str],
        *,
        progress: ProgressCallback | None = None,
        **vectors: Unpack[VectorOptions],
    ) -> None:
        """Encodes all documents with another encoder. Searches read it after `use_generation`, or through `generation`.

        The work can be stopped at any moment, and the same call continues it.

        >>> db = Database.build(tmp / "two.db", [("1", "Bees dance.")], encoder="default")
        >>> db.add_generation("short", Encoder("default", truncate_dim=128))
        >>> db.use_generation("short")
        >>> [(one["name"], one["dim"], one["is_used"]) for one in db.generations]
        [('original', 384, False), ('short', 128, True)]
        """
        given = encoder_of(encoder)._native
        self._native.add_generation(name, given, vector_arguments(vectors), native(progress))

    def generation(self, name: str) -> Self:
        """The database as read through a generation."""
        return self._of(self._native.generation(name), self._loading)

    def use_generation(self, name: str) -> None:
        """Makes a generation the one that is read by whoever opens the database."""
        self._native.use_generation(name)

    def drop_generation(self, name: str) -> None:
        """Removes a generation that is not in use."""
        self._native.drop_generation(name)

    def tune(self, queries: Iterable[str], *, k: int = 10, target: float = 0.95) -> RecallCurve:
        """Measures the recall of an approximate index on queries, with a growing ef.

        The least ef whose mean recall reaches the target becomes the default of searches.
        """
        self._load()
        given = arguments.texts("queries", queries, "query")
        return RecallCurve._of(self._native.tune(given, arguments.whole("k", k, 1), target))

    @property
    def recall_curve(self) -> RecallCurve | None:
        """What the last tuning measured."""
        curve = self._native.recall_curve()
        return None if curve is None else RecallCurve._of(curve)

    def set_ef_search(self, ef_search: int) -> None:
        """Sets the ef of searches that name none."""
        self._native.set_ef_search(arguments.whole("ef_search", ef_search, 1))

    def verify(self, *, k: int = 10, num_queries: int = 200) -> VerifyReport:
        """Checks every byte of every file. The first damage is an error that names its file.

        The recall of an approximate index is measured at `k`, on vectors of the database itself.

        >>> Database.build(tmp / "sound.db", [("1", "Bees dance.")]).verify().num_documents
        1
        """
        counts = arguments.whole("k", k, 1), arguments.whole("num_queries", num_queries)
        return VerifyReport._of(self._native.verify(*counts))

    def compact(self, *, memory: int | None = None, progress: ProgressCallback | None = None) -> CompactReport:
        """Reclaims the space of deleted documents and makes one segment of many. It can be stopped at any moment.

        :param memory: how many bytes it may take; 2 GiB unless given.
        """
        if memory is not None:
            memory = arguments.whole("memory", memory)
        return CompactReport(**self._native.compact(memory, native(progress)))
