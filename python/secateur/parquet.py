"""Parquet files, which the package pyarrow reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .errors import InputError

__all__ = ["is_parquet", "rows"]


def is_parquet(path: str) -> bool:
    """Whether a path ends as Parquet files do."""
    return path.lower().endswith(".parquet")


def rows(paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of files, a batch in memory at a time."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{paths[0]}: pyarrow reads Parquet files, and it is not here: pip install pyarrow") from error
    for path in paths:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(1024):
                    yield from batch.to_pylist()
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{path}: it cannot be read as Parquet: {error}") from error
