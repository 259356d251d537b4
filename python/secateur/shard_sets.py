"""Finished sets of shards, which answer as one database of the same documents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, Self

from . import _native as native_module
from .answers import hits_of
from .documents import of_fields
from .encoder import Encoder
from .hub import locate
from .opened import Loading, encoder_of, folder
from .results import Hit
from .searching import Searching
from .vectors import Floats

__all__ = ["MissingShard", "ShardSet"]


class MissingShard(NamedTuple):
    """A shard that gave no answer."""

    number: int
    """Counted from 0."""
    place: str
    """Where it is."""
    problem: str
    """Why there is no answer."""


class ShardSet(Searching):
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
    _reopened: tuple[Any, ...]

    def __init__(self) -> None:
        raise TypeError("call ShardSet.open or ShardSet.connect")

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
        opened = native_module.ShardSet.open(folder(path), generation)
        return cls._of(opened, encoder, Loading(device, batch_tokens, _text(cache)), (cls, path, generation, None))

    @classmethod
    def connect(
        cls,
        path: str | os.PathLike[str],
        *,
        partial: bool = False,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        generation: str | None = None,
        device: str | None = None,
        batch_tokens: int | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Opens a set whose shards are servers: ``secateur serve`` answers for each, and a file names them.

        The guide describes the file. Answers are those of the folders, with the same scores. Each is of one state of each
        shard; if one of them has changed meanwhile, the search starts anew, once.

        :param partial: leave out shards that give no answer: `missing` says which.

        >>> ShardSet.connect(tmp / "servers.json")
        Traceback (most recent call last):
        ...
        secateur.errors.InputError: ...servers.json...
        """
        opened = native_module.ShardSet.connect(os.fspath(path), generation, partial)
        return cls._of(opened, encoder, Loading(device, batch_tokens, _text(cache)), (cls, path, generation, partial))

    @classmethod
    def _of(
        cls,
        opened: native_module.ShardSet,
        encoder: Encoder | str | os.PathLike[str] | None,
        loading: Loading,
        reopened: tuple[Any, ...],
    ) -> Self:
        self = cls.__new__(cls)
        self._native = opened
        self._loading = loading
        self._reopened = reopened
        if encoder is not None:
            opened.set_encoder(encoder_of(encoder)._native)
        return self

    def _load(self) -> None:
        if self._native.has_encoder_record and self._native.encoder is None:
            self._native.load_encoder(locate, {"name": None, **self._loading._asdict()})

    def _found(self, queries: list[str] | Floats, arguments: dict[str, Any], documents: bool) -> list[list[Hit]]:
        if isinstance(queries, list):
            answers = self._native.search(queries, arguments, documents)
        else:
            answers = self._native.search_vectors(queries, arguments, documents)
        hits = hits_of([found for found, _ in answers])
        if not documents:
            return hits
        read = [[fields and of_fields(fields) for fields in found or ()] for _, found in answers]
        return [
            [hit._replace(document=document) for hit, document in zip(of_query, found, strict=True)]
            for of_query, found in zip(hits, read, strict=True)
        ]

    @property
    def num_shards(self) -> int:
        """How many shards there are."""
        return self._native.num_shards

    @property
    def missing(self) -> list[MissingShard]:
        """The shards that the last answer lacks: none unless the set was opened with ``partial=True``."""
        return [MissingShard(*shard) for shard in self._native.missing() or ()]

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<secateur.{name} {str(self.path)!r}: {len(self)} documents in {self.num_shards} shards>"

    def __reduce__(self) -> Any:
        return _reopen, (*self._reopened, self._loading)


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _reopen(
    cls: type[ShardSet], path: Path, generation: str | None, partial: bool | None, loading: Loading
) -> ShardSet:
    """What a pickled set becomes, in another process say."""
    if partial is None:
        return cls.open(path, generation=generation, **loading._asdict())
    return cls.connect(path, partial=partial, generation=generation, **loading._asdict())
