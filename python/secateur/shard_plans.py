"""Plans of sets of shards: a corpus too large for one database is divided, and its shards are built one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, Unpack

from . import _native as native_module
from .database import Database
from .documents import Documents, Fields, Source, source
from .encoder import Encoder
from .errors import UsageError
from .opened import build_arguments, encoder_of
from .options import VectorOptions
from .progress import ProgressCallback, native

__all__ = ["BuiltShard", "Corpus", "PlannedShard", "SetReport", "ShardPlan", "ShardStatus"]

Corpus = Documents | Callable[[], Documents]
"""Documents of any shape that can be read more than once, in one order: paths, a list, a table, or a function without
arguments that gives documents."""


class PlannedShard(NamedTuple):
    """The documents of a shard: consecutive ones of the corpus."""

    first: int
    """How many documents of the corpus come before."""
    num_documents: int
    """How many it has."""
    checksum: str
    """BLAKE3 over the documents, with their vectors if they come with some: 32 hexadecimal digits."""


class BuiltShard(NamedTuple):
    """A shard that is built."""

    path: Path
    """Its folder, an ordinary database."""
    num_documents: int
    """Its documents."""
    was_there: bool
    """Whether it was there already, so that nothing was done."""


class ShardStatus(NamedTuple):
    """How far a shard is."""

    number: int
    """Counted from 0."""
    path: Path
    """Its folder."""
    num_planned: int
    """Documents that it has, or will have."""
    state: Literal["missing", "unfinished", "built", "wrong"]
    """``unfinished``: its building was interrupted, or goes on. ``wrong``: what is there is no shard of this set."""
    num_documents: int | None
    """Its documents, if it is built."""
    num_bytes: int | None
    """The length of its files, or of the vectors that are kept of an unfinished one."""
    problem: str | None
    """What is wrong."""


class SetReport(NamedTuple):
    """What a finished set holds."""

    num_shards: int
    num_documents: int
    """Documents of all shards."""
    num_bytes: int
    """The length of their files."""


class ShardPlan:
    """Which documents of a corpus go into which shard, and the settings of all shards. It is a folder.

    Shards are built in any order, at the same time, on any machines that have the plan and the corpus.

    >>> notes = [("1", "Prune roses."), ("2", "Bread rises."), ("3", "Bees dance.")]
    >>> plan = ShardPlan.create(tmp / "garden.set", notes, 2)
    >>> [shard.num_documents for shard in plan.shards]
    [1, 2]
    >>> for number in range(plan.num_shards):
    ...     built = plan.build(number, notes)
    >>> built.num_documents, plan.build(1, notes).was_there
    (2, True)
    >>> plan.finish().num_documents
    3
    >>> ShardSet.open(plan.path).search("dancing bees", k=1)[0].id
    '3'
    """

    _native: native_module.ShardPlan

    def __init__(self) -> None:
        raise TypeError("call ShardPlan.create or ShardPlan.open")

    @classmethod
    def _of(cls, plan: native_module.ShardPlan) -> Self:
        self = cls.__new__(cls)
        self._native = plan
        return self

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        documents: Corpus,
        num_shards: int,
        *,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        dim: int | None = None,
        analyzer: str | None = None,
        fields: Fields | None = None,
        num_documents: int | None = None,
        allow_empty: bool = False,
        progress: ProgressCallback | None = None,
        **vectors: Unpack[VectorOptions],
    ) -> Self:
        """Makes the folder of a set. The documents are read twice: to count them, and for checksums.

        Shard i of N gets the documents from i·n/N to (i+1)·n/N of n. Paths are remembered, so that `build` and
        ``secateur shards build`` read them again.

        :param encoder: makes a vector of each document, as in `Database.create`.
        :param dim: every document comes with a vector of this many numbers; `fields` names the field.
        :param num_documents: how many there are, if it is known: then they are read once.
        :param allow_empty: take documents without title and text.

        >>> ShardPlan.create(tmp / "mini.set", mini_dataset, 4).num_documents
        63
        """
        arguments = build_arguments(encoder, dim, analyzer, allow_empty, vectors)
        if num_shards < 1:
            raise UsageError(f"num_shards is {num_shards}: a corpus is divided into at least 1 shard")
        tell = native(progress)
        were_counted = num_documents is None
        if num_documents is None:
            num_documents = native_module.count_documents(read(documents, fields), allow_empty, tell)
        if num_documents < 0:
            raise UsageError(f"num_documents is {num_documents}: expected 0 or more")
        counts = num_shards, num_documents, were_counted
        return cls._of(native_module.plan_shards(os.fspath(path), arguments, counts, read(documents, fields), tell))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """The plan of the set in a folder."""
        return cls._of(native_module.ShardPlan.open(os.fspath(path)))

    @property
    def path(self) -> Path:
        """The folder of the set."""
        return Path(self._native.path)

    @property
    def num_documents(self) -> int:
        """How many documents the corpus has."""
        return self._native.num_documents

    @property
    def num_shards(self) -> int:
        """How many shards the set has."""
        return len(self.shards)

    @property
    def shards(self) -> list[PlannedShard]:
        """The documents of each shard."""
        return [PlannedShard(*shard) for shard in self._native.shards()]

    @property
    def files(self) -> list[Path]:
        """The files and folders that the corpus was read from; none if the documents came from somewhere else."""
        return [Path(file) for file in self._native.files()]

    def shard_path(self, number: int) -> Path:
        """The folder of a shard, which need not be there."""
        return Path(self._native.shard_path(_counted(number)))

    def load_encoder(
        self, *, device: str | None = None, batch_tokens: int | None = None, cache: str | os.PathLike[str] | None = None
    ) -> Encoder | None:
        """The encoder that the set is planned with, loaded from where it was; `None` if there is none.

        :param device: where it computes: ``cpu`` unless given.
        :param cache: a folder in which fingerprints of models are remembered.
        """
        path = self._native.settings_path()
        return Database.open(path, device=device, batch_tokens=batch_tokens, cache=cache).encoder

    def build(
        self,
        number: int,
        documents: Corpus | None = None,
        *,
        part: bool = False,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        files: Iterable[str | os.PathLike[str]] | None = None,
        fields: Fields | None = None,
        progress: ProgressCallback | None = None,
    ) -> BuiltShard:
        """Builds a shard, unless it is there. It appears when it is whole.

        After an error or a kill the same call continues from the last stored vectors, and ends with the same bytes.

        :param documents: the whole corpus, in the order in which it was planned. Without it, the files are read that
            were planned with.
        :param part: `documents` are those of this shard alone.
        :param encoder: the one that the set is planned with; it is loaded from where it was unless given.
        :param files: where the planned files are now.
        """
        if documents is not None and files is not None:
            raise UsageError("give either documents, or the files that the plan remembers")
        if part and documents is None:
            raise UsageError("part is said of documents: give those of the shard")
        number = _counted(number)
        path = self.shard_path(number)
        if encoder is None and not path.exists():
            given = self.load_encoder()
        else:
            given = None if encoder is None else encoder_of(encoder)
        corpus = {
            "is_part": part,
            "source": None if documents is None else read(documents, fields, once=True),
            "files": None if files is None else [os.fspath(file) for file in files],
        }
        loaded = None if given is None else given._native
        built = self._native.build(number, loaded, corpus, native(progress))
        return BuiltShard(path, *built)

    def status(self) -> list[ShardStatus]:
        """How far each shard is. Opens those that are there, and reads no documents.

        >>> ShardPlan.create(tmp / "planned.set", [("1", "Prune roses.")], 1).status()[0].state
        'missing'
        """
        return [ShardStatus(**{**found, "path": Path(found["path"])}) for found in self._native.status()]

    def finish(self) -> SetReport:
        """Checks that all shards are there and fit each other, and writes the manifest, last.

        To be called again after shards were changed.

        >>> plan = ShardPlan.create(tmp / "early.set", [("1", "Prune roses.")], 1)
        >>> plan.finish()
        Traceback (most recent call last):
        ...
        secateur.errors.DatabaseError: shard 0 is not built: ...
        """
        return SetReport(*self._native.finish())

    def verify(self) -> SetReport:
        """Checks every byte of a finished set. The first damage is an error. Ctrl-C is heard between two shards."""
        return SetReport(*self._native.verify())

    @property
    def is_finished(self) -> bool:
        """Whether the set is finished, and its shards are those that it was finished with."""
        return self._native.is_finished()

    def __repr__(self) -> str:
        return f"<secateur.ShardPlan {str(self.path)!r}: {self.num_documents} documents in {self.num_shards} shards>"

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self.path)


def _reopen(cls: type[ShardPlan], path: Path) -> ShardPlan:
    return cls.open(path)


def _counted(number: int) -> int:
    if number < 0:
        raise UsageError(f"there is no shard {number}: shards are counted from 0")
    return number


def read(documents: Corpus, fields: Fields | None, *, once: bool = False) -> Source:
    """The documents of a corpus from its beginning on, for the native module."""
    if hasattr(documents, "__next__") and not once:
        kind = type(documents).__name__
        raise UsageError(f"documents are read more than once, and a {kind} only once: give a function that makes one")
    given = documents() if callable(documents) else documents
    return source(given, fields)
