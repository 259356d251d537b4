"""MTEB: a whole database as its search protocol, an encoder as its encoder protocol. Needs ``pip install secateur[mteb]``.

A model that MTEB knows nothing of is measured like any other::

    import mteb
    from secateur import Encoder
    from secateur.mteb import DatabaseSearch

    task = mteb.get_task("SciFact")
    mteb.evaluate(DatabaseSearch("scifact.db", Encoder("default"), mode="hybrid"), task)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from mteb.models import ModelMeta
from mteb.types import PromptType
from numpy.typing import NDArray

from .database import Database
from .encoder import Encoder
from .options import SearchOptions, VectorOptions
from .results import Hit

__all__ = ["DatabaseSearch", "MtebEncoder", "model_meta"]


def model_meta(encoder: Encoder, *, name: str | None = None, **fields: Any) -> ModelMeta:
    """What MTEB wants to know of a model, as ``secateur model inspect --mteb`` prints it.

    :param name: in the form OWNER/NAME; ``secateur/`` and the encoder's name unless given.
    :param fields: fields of MTEB's ModelMeta that no file of a model has, such as ``adapted_from`` or ``languages``.
    """
    stated: dict[str, Any] = encoder._native.mteb_meta()
    if name is not None:
        stated["name"] = name
    return ModelMeta(**{"loader": None, **stated, **fields})


class MtebEncoder:
    """An encoder as MTEB's encoder protocol. MTEB compares the vectors itself."""

    def __init__(self, encoder: Encoder | str | os.PathLike[str], revision: str | None = None, **meta: Any) -> None:
        """
        :param encoder: an encoder, or the model that it is loaded from.
        :param revision: accepted because MTEB gives it; the fingerprint is what tells models apart.
        :param meta: as for `model_meta`.
        """
        del revision
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder(encoder)
        self._meta = model_meta(self.encoder, **meta)

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What MTEB wants to know of the model."""
        return self._meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, list[str]]],
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: PromptType | None = None,
        **options: Any,
    ) -> NDArray[np.float32]:
        """Encodes batches of texts: queries with the prompt for queries, documents with that for documents."""
        texts = [text for batch in inputs for text in batch["text"]]
        vectors: NDArray[np.float32]
        if prompt_type == PromptType.query:
            vectors = self.encoder.encode_query(texts)
        elif prompt_type == PromptType.document:
            vectors = self.encoder.encode_document(texts)
        else:
            vectors = self.encoder.encode(texts)
        return vectors

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """(A, D), (B, D) -> (A, B), a tensor of PyTorch, as MTEB wants it."""
        import torch

        return torch.from_numpy(self.encoder.similarity(_array(embeddings1), _array(embeddings2)))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """(B, D), (B, D) -> (B), a tensor of PyTorch."""
        import torch

        return torch.from_numpy(self.encoder.similarity_pairwise(_array(embeddings1), _array(embeddings2)))


class DatabaseSearch:
    """A whole database as MTEB's search protocol: its index, its words, its fusion are what is measured."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        *,
        vectors: VectorOptions | None = None,
        meta: Mapping[str, Any] | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        """
        :param path: where databases are kept: a folder with one for each task, subset and split. A folder that is there
            already is used again, so that a second run only searches. A temporary folder unless given.
        :param encoder: makes vectors; without it searches go by words.
        :param vectors: how vectors are indexed, such as ``{"index": "hnsw"}``.
        :param meta: as for `model_meta`.
        :param options: how to search. A hybrid search fuses as many hits of each index as MTEB asks for, unless
            ``candidates`` says how many.
        """
        self._folder = None if path is not None else tempfile.TemporaryDirectory(prefix="secateur-mteb-")
        self.path = Path(self._folder.name if self._folder is not None else os.fspath(path or ""))
        self.encoder = encoder if encoder is None or isinstance(encoder, Encoder) else Encoder(encoder)
        self.database: Database | None = None
        self._vectors = vectors or VectorOptions()
        self._options = options
        self._meta = _bm25_meta(meta) if self.encoder is None else model_meta(self.encoder, **(meta or {}))

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What MTEB wants to know of the encoder."""
        return self._meta

    def index(self, corpus: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, **options: Any) -> None:
        """Makes the database of a task's corpus, or opens it if it is there."""
        del options
        name = "-".join(part.replace("/", "-") for part in (task_metadata.name, hf_subset, hf_split))
        place = self.path / f"{name}.db"
        if place.exists():
            self.database = Database.open(place, encoder=self.encoder)
            if len(self.database) == len(corpus):
                return
            raise ValueError(f"{place} holds {len(self.database)} documents, the corpus of {name} {len(corpus)}: remove it")
        self.path.mkdir(parents=True, exist_ok=True)
        documents = ({"id": row["id"], "title": row.get("title") or "", "text": row["text"]} for row in corpus)
        vectors = self._vectors if self.encoder is not None else VectorOptions()
        self.database = Database.build(place, documents, encoder=self.encoder, allow_empty=True, **vectors)

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        top_k: int,
        top_ranked: Mapping[str, list[str]] | None = None,
        **options: Any,
    ) -> dict[str, dict[str, float]]:
        """Query id -> document id -> score. With `top_ranked` only those documents of a query are ranked."""
        del options
        if self.database is None:
            raise ValueError("search was called before index: there is no database yet")
        ids, texts = [row["id"] for row in queries], [row["text"] for row in queries]
        k = len(self.database) if top_ranked is not None else top_k
        chosen = SearchOptions(**self._options)
        if self.database.mode(**chosen) == "hybrid":
            chosen.setdefault("candidates", max(k, 1))
        found = self.database.search_batch(texts, max(k, 1), **chosen)
        among = {id: None if top_ranked is None else top_ranked.get(id, []) for id in ids}
        return {id: _scores(hits, among[id], top_k) for id, hits in zip(ids, found, strict=True)}


def _scores(hits: list[Hit], among: list[str] | None, k: int) -> dict[str, float]:
    if among is not None:
        wanted = set(among)
        hits = [hit for hit in hits if hit.id in wanted][:k]
    return {hit.id: hit.score for hit in hits}


def _bm25_meta(meta: Mapping[str, Any] | None) -> ModelMeta:
    stated: dict[str, Any] = dict.fromkeys(
        "release_date languages n_parameters memory_usage_mb max_tokens embed_dim license public_training_code "
        "public_training_data similarity_fn_name training_datasets loader".split()
    )
    own = {"name": "secateur/bm25", "revision": "1", "open_weights": True, "framework": [], "use_instructions": False}
    return ModelMeta(**{**stated, **own, "model_type": ["sparse"], **(meta or {})})


def _array(vectors: Any) -> NDArray[np.float32]:
    """Vectors of numpy or PyTorch."""
    if hasattr(vectors, "detach"):
        vectors = vectors.detach().cpu().float().numpy()
    return np.atleast_2d(np.asarray(vectors, dtype=np.float32))
