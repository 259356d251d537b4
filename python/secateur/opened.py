"""A database that is open, and what it needs to load its encoders."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Self

from . import _native as native_module
from .arguments import of_kinds
from .encoder import Encoder
from .errors import UsageError
from .hub import locate
from .options import VectorOptions, known, vector_arguments
from .searching import Searching


class Loading(NamedTuple):
    device: str | None
    batch_tokens: int | None
    cache: str | None


class Opened(Searching):
    """What the parts of `secateur.Database` share."""

    _native: native_module.Database
    _loading: Loading

    @classmethod
    def _of(cls, opened: native_module.Database, loading: Loading) -> Self:
        self = cls.__new__(cls)
        self._native = opened
        self._loading = loading
        return self

    def _load(self, *, all: bool = False) -> None:
        """Loads the encoder of the vectors that are read, or those of all generations, where they are not yet."""
        if self._native.has_encoder_record and (all or self._native.encoder is None):
            self._native.load_encoders(all, locate, {"name": None, **self._loading._asdict()})


def folder(path: str | os.PathLike[str]) -> str:
    """The folder of a database, for the native module."""
    found = os.fspath(path)
    if not isinstance(found, str):
        raise UsageError(f"path is {found!r:.40}: expected a string or a path of pathlib")
    if not found or "\0" in found:
        raise UsageError(f"path is {found!r:.40}: expected the name of a folder")
    return found


def encoder_of(encoder: Encoder | str | os.PathLike[str]) -> Encoder:
    return encoder if isinstance(encoder, Encoder) else Encoder(encoder)


def build_arguments(
    encoder: Encoder | str | os.PathLike[str] | None,
    dim: int | None,
    analyzer: str | None,
    allow_empty: bool,
    vectors: VectorOptions,
) -> dict[str, Any]:
    """The settings of a database, or of a set's shards, for the native module."""
    known(VectorOptions, vectors)
    if encoder is None and dim is None and vectors:
        what = ", ".join(sorted(vectors))
        raise UsageError(f"{what} does nothing without vectors: name an encoder or a dim")
    of_kinds(
        {"dim": "int", "analyzer": "str", "allow_empty": "bool"},
        {"dim": dim, "analyzer": analyzer, "allow_empty": allow_empty},
    )
    return {
        "encoder": None if encoder is None else encoder_of(encoder)._native,
        "dim": dim,
        "analyzer": analyzer,
        "allow_empty": allow_empty,
        "vectors": vector_arguments(vectors),
    }
