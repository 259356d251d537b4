"""Datasets of Ray: their texts become vectors, and they become sets of shards. See `secateur.ray`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import ray
from ray.exceptions import RayTaskError

from . import _native, set_num_threads
from .documents import Document, Fields, source
from .encoder import Encoder
from .errors import InputError, UsageError
from .opened import build_arguments
from .options import VectorOptions
from .progress import ProgressCallback
from .ray_builds import BuildReport, Documents, Resources, cause_of, check, run, shown
from .shard_store import ShardBuilder
from .stored_files import plan_files

__all__ = ["EncodeBatches", "write_shards"]

_Path = str | os.PathLike[str]


class EncodeBatches:
    """Adds a column of vectors to batches of rows: for `Dataset.map_batches`, whose actors load the encoder once each.

    ``dataset.map_batches(EncodeBatches, num_cpus=2, compute=ray.data.ActorPoolStrategy(size=4))`` has four actors with two
    processors each; ``fn_constructor_kwargs`` takes what is said here.

    :param model: an encoder's path on each machine, or its name.
    :param text: the column of the texts.
    :param title: the column of titles, if there is one.
    :param vector: the new column, of f32 (D).
    :param kind: whether the encoder's prompt is that for documents or for queries.
    :param separator: what stands between title and text.
    :param options: those of `Encoder`. An actor that has a GPU computes on it unless ``device`` says otherwise.

    >>> EncodeBatches(vector="v")({"text": ["Bees dance.", "Bread rises."]})["v"].shape
    (2, 384)
    """

    def __init__(
        self,
        model: _Path = "default",
        *,
        text: str = "text",
        title: str | None = None,
        vector: str = "vector",
        kind: Literal["document", "query"] = "document",
        separator: str = " ",
        **options: Any,
    ) -> None:
        if kind not in ("document", "query"):
            raise UsageError(f"kind: expected document or query, got {kind!r}")
        if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
            assigned = ray.get_runtime_context().get_assigned_resources()
            set_num_threads(max(1, int(assigned.get("CPU", 1))))
            if assigned.get("GPU"):
                options.setdefault("device", "cuda:0")
        self._encoder = Encoder(model, **options)
        self._text, self._title, self._vector = text, title, vector
        self._kind, self._separator = kind, separator

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        texts = _texts(batch, self._text)
        titles = _texts(batch, self._title) if self._title is not None else [""] * len(texts)
        passages = [
            Document("", text, title).passage(self._separator) for text, title in zip(texts, titles, strict=True)
        ]
        encode = self._encoder.encode_query if self._kind == "query" else self._encoder.encode_document
        return {**batch, self._vector: encode(passages)}


def _texts(batch: Mapping[str, Any], column: str) -> list[str]:
    if column not in batch:
        raise UsageError(f"there is no column {column!r}; the columns are {', '.join(batch)}")
    return ["" if text is None else str(text) for text in batch[column]]


def write_shards(
    dataset: Any,
    out: _Path,
    num_shards: int,
    *,
    encoder: _Path | None = None,
    dim: int | None = None,
    analyzer: str | None = None,
    fields: Fields | None = None,
    device: str | None = None,
    filesystem: Any = None,
    scratch: _Path | None = None,
    num_actors: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    resources: Mapping[str, float] | None = None,
    max_retries: int = 3,
    finish: bool = True,
    progress: ProgressCallback | None = None,
    **vectors: Unpack[VectorOptions],
) -> BuildReport:
    """Writes a dataset of Ray into the shards of a set. Run again after whatever happened, it builds what is missing.

    Rows have an id, a text, and perhaps a title, a vector and metadata. Columns are called as in `secateur.documents.Documents`;
    others are metadata, and so are the fields of a column ``metadata`` of structs or JSON objects. Rows keep their order. The
    dataset must give the same rows when it is run again: another row is an error.

    :param dim: the column ``vector`` has vectors of this many numbers; `fields` may name another.
    :param encoder: makes a vector of each row, by its path on each machine or its name.

    The other options are those of `build_shards`, `ShardPlan.create` and `Database.create`.
    """
    check(encoder, num_actors, max_retries)
    if dim is not None:
        fields = Fields(**{"vector": "vector", **(fields or {})})
    if num_shards < 1:
        raise UsageError(f"num_shards is {num_shards}: a dataset is divided into at least 1 shard")
    arguments = build_arguments(encoder, dim, analyzer, True, vectors)
    parts = _parts(dataset, num_shards)
    tasks = ray.remote(_checksum).options(num_cpus=1)
    try:
        checksums = ray.get([tasks.remote(part, fields) for part in parts])
    except RayTaskError as error:
        raise cause_of(error, "the dataset cannot be read") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set"
        _native.plan_parts(os.fspath(path), arguments, sum(count for _, count in checksums), [sum_ for sum_, _ in checksums])
        plan = plan_files(path)
    here = ShardBuilder(out, plan=plan, filesystem=filesystem, scratch=scratch)
    asked = {"num_cpus": num_cpus, "num_gpus": num_gpus, "resources": dict(resources or {})}
    wanted = Resources(num_actors, asked, max_retries)
    options = {"filesystem": filesystem, "encoder": encoder, "device": wanted.device(device), "scratch": scratch}
    return run(here, options, _of_shard(parts, fields), wanted, shown(progress), finish=finish)


def _parts(dataset: Any, num_shards: int) -> list[list[Any]]:
    """The blocks of each shard's rows, as references."""
    options = dataset.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        rows = dataset.materialize()
    finally:
        options.preserve_order = before
    count = rows.count()
    bounds = [number * count // num_shards for number in range(1, num_shards)]
    parts = rows.split_at_indices(bounds) if bounds else [rows]
    return [part.to_arrow_refs() if part.count() else [] for part in parts]


def _of_shard(parts: Sequence[Sequence[Any]], fields: Fields | None) -> Callable[[int], Documents]:
    return lambda number: Documents(lambda: _rows(parts[number]), {"part": True, "fields": fields})


def _checksum(part: Sequence[Any], fields: Fields | None) -> tuple[str, int]:
    """The checksum of a shard's documents, and how many there are."""
    return _native.documents_checksum(source(_rows(part), fields))


def _rows(part: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The rows of blocks, of which one is in memory at a time."""
    for ref in part:
        for row in ray.get(ref).to_pylist():
            metadata = row.pop("metadata", None)
            if isinstance(metadata, str):
                metadata = _object(metadata)
            if isinstance(metadata, Mapping):
                # A struct has all fields of all rows.
                metadata = {name: value for name, value in metadata.items() if value is not None}
            yield {**row, "metadata": metadata} if metadata else row


def _object(text: str) -> Any:
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"the column metadata has {text!r:.60}, which is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"the column metadata has {text!r:.60}: expected a JSON object")
    return found
