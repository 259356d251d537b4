"""A database that is open, and what it needs to load its encoders."""

from __future__ import annotations

import os
from typing import NamedTuple, Self

from . import _native as native_module
from .encoder import Encoder
from .errors import UsageError
from .hub import locate


class Loading(NamedTuple):
    device: str | None
    batch_tokens: int | None
    cache: str | None


class Opened:
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
